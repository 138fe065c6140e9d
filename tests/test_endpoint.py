"""Endpoints: the URL, headers and keys that are sent, and what is refused before sending."""

from __future__ import annotations

import re

import pytest

from rtchat.client.endpoint import Endpoint, endpoint
from rtchat.core.errors import UsageError

KEY = "sk-0123456789abcdef"
BEARER = (("Authorization", f"Bearer {KEY}"),)


@pytest.mark.parametrize(
    ("url", "model", "full"),
    [
        ("wss://a.example/v1/realtime", "", "wss://a.example/v1/realtime"),
        ("wss://a.example/v1/realtime", "gpt-x", "wss://a.example/v1/realtime?model=gpt-x"),
        ("wss://a.example", "gpt-x", "wss://a.example?model=gpt-x"),
        ("WSS://A.example/?", "gpt-x", "wss://A.example/?model=gpt-x"),
        ("ws://127.0.0.1:8765/r?b=1&a=%20&b", "m", "ws://127.0.0.1:8765/r?b=1&a=%20&b&model=m"),
        ("ws://[::1]:8765/r", "gpt://f/m-1", "ws://[::1]:8765/r?model=gpt://f/m-1"),
        ("wss://a.example/r", "ä&b=c #", "wss://a.example/r?model=%C3%A4%26b%3Dc+%23"),
        ("wss://a.example/r?model=theirs", "ours", "wss://a.example/r?model=theirs"),
        ("wss://a.example/r?model=", "ours", "wss://a.example/r?model="),
        ("wss://a.example/r?deployment=d", "ours", "wss://a.example/r?deployment=d"),
        ("wss://a.example/r?call_id=rtc_1", "ours", "wss://a.example/r?call_id=rtc_1"),
        ("wss://bücher.example/@r", "", "wss://bücher.example/@r"),
    ],
)
def test_a_url_gets_the_model_unless_it_names_one(url: str, model: str, full: str) -> None:
    assert endpoint(model, url=url) == Endpoint(full)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "wss:",
        "wss://",
        "wss:///path",
        "a.example/v1/realtime",
        "https://a.example/v1/realtime",
        "wss://a.example:0/",
        "wss://a.example:65536/",
        "wss://a.example:port/",
        "wss://[::1/",
        "wss://[nonsense]/",
        "wss://a..example/",
        f"wss://{'a' * 64}.example/",
        "wss://a.example/a b",
        "wss://a.example/\r\nX: y",
        "wss://a.example/#fragment",
    ],
)
def test_an_invalid_websocket_url(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        endpoint(url=url)
    assert repr(url) in caught.value.message
    assert "wss://" in caught.value.hint


def test_a_password_in_the_url_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError) as caught:
        endpoint(url="wss://me:hunter2@a.example:99999/")
    assert "password" in caught.value.message
    assert "--header" in caught.value.hint
    assert not re.search("me:|hunter2", str(caught.value))


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:1", "127.0.0.1", "127.8.9.1:8765", "[::1]", "[::1]:8765"]
)
def test_a_key_may_be_sent_unencrypted_to_loopback(host: str) -> None:
    url = f"ws://{host}/r"
    assert endpoint(url=url, api_key=KEY) == Endpoint(url, BEARER, (), (KEY,))


@pytest.mark.parametrize(
    "host", ["a.example", "10.0.0.1", "localhost.a.example", "127.0.0.1.a.example", "[fe80::1]"]
)
def test_a_key_is_not_sent_unencrypted_over_a_network(host: str) -> None:
    url = f"ws://{host}/r"
    name = host.strip("[]")
    with pytest.raises(UsageError) as caught:
        endpoint(url=url, api_key=KEY)
    assert name in caught.value.message
    assert "--insecure" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        endpoint(url=url, api_key=KEY, auth="subprotocol")
    assert name in caught.value.message
    assert "--insecure" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        endpoint(url=url, headers=[("Api-Key", KEY)])
    assert name in caught.value.message
    assert "--insecure" in caught.value.hint
    assert endpoint(url=url, headers=[("X-Color", "red")]) == Endpoint(url, (("X-Color", "red"),))
    assert endpoint(url=url, api_key=KEY, insecure=True) == Endpoint(url, BEARER, (), (KEY,))


def test_the_key_is_sent_in_the_authorization_header() -> None:
    assert endpoint(api_key=KEY, headers=[("OpenAI-Project", "p")]) == Endpoint(
        "wss://api.openai.com/v1/realtime", (*BEARER, ("OpenAI-Project", "p")), (), (KEY,)
    )


def test_a_users_header_replaces_the_key() -> None:
    headers = (("authorization", "Basic dXNlcjpwYXNzd29yZA=="),)
    assert endpoint(api_key=KEY, headers=headers) == Endpoint(
        "wss://api.openai.com/v1/realtime",
        headers,
        (),
        (KEY, "dXNlcjpwYXNzd29yZA==", "user:password"),
    )


def test_a_client_secret_is_sent_as_a_subprotocol() -> None:
    assert endpoint(api_key="ek_0123456789", auth="subprotocol") == Endpoint(
        "wss://api.openai.com/v1/realtime",
        (),
        ("realtime", "openai-insecure-api-key.ek_0123456789"),
        ("ek_0123456789",),
    )


def test_the_older_dialect_has_a_header() -> None:
    assert endpoint(beta=True).headers == (("OpenAI-Beta", "realtime=v1"),)


@pytest.mark.parametrize("spoilt", ["\n", "\r\nX-Other: 1", "é", "“", "\0"])
def test_a_key_with_an_invalid_character_is_refused_and_not_shown(spoilt: str) -> None:
    with pytest.raises(UsageError) as caught:
        endpoint(api_key=KEY + spoilt)
    assert "'Authorization'" in caught.value.message
    assert "key" in caught.value.hint
    assert KEY not in str(caught.value)
    with pytest.raises(UsageError) as caught:
        endpoint(api_key=KEY + spoilt, auth="subprotocol")
    assert "the key" in caught.value.message
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("header", [("X-Name", "日本"), ("X-Name", "a\nb"), ("X Name", "a")])
def test_an_invalid_header_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        endpoint(headers=[header])
    assert repr(header[0]) in caught.value.message
    assert "--header" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        (KEY, "[key] is wrong, [key]!"),
        ("sk-1", "[key] is wrong, [key]!"),
        ("0123456789abcdef", "[key] is wrong, [key]!"),
        ("test", "test is wrong, test!"),
        ("0", "0 is wrong, 0!"),
        ("-", "- is wrong, -!"),
    ],
)
def test_a_key_is_redacted_but_a_word_is_not(key: str, shown: str) -> None:
    where = endpoint(url="wss://a.example", api_key=key)
    assert where.redact(f"{key} is wrong, {key}!") == shown


def test_every_kind_of_key_is_redacted() -> None:
    headers = [("api-key", "azure-0123"), ("Authorization", "Bearer entra-4567"), ("api-key", " ")]
    where = endpoint(url="wss://a.example", api_key=KEY, headers=headers)
    assert where.redact(f"azure-0123, entra-4567, {KEY}") == "[key], [key], [key]"


def test_an_endpoint_shows_no_key() -> None:
    where = endpoint(url="wss://a.example/r", api_key=KEY, headers=[("X-Name", "value")])
    assert repr(where) == "Endpoint('wss://a.example/r')"
