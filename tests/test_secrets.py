"""A key is shown nowhere, wherever the server quotes it, however it is spelt and however it got
there.

Over real sockets, and for what a user sees by the program itself. Not here: what a proxy is told
(`test_proxies`), and where keys are kept (`test_keys`).
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, urlencode

import pytest
from websockets.asyncio.server import ServerConnection

from rtchat.endpoint import Endpoint, endpoint, shown_url
from rtchat.errors import LinkError, RealtimeError, UsageError
from rtchat.transport import open_connection
from tests.faulty import Port, http, saying, sockets, tcp
from tests.program import Program, Ran, background

KEY = "sk-0123456789/abc+def&Z"
BASIC = b64encode(f"user:{KEY}".encode()).decode()

FORMS = {
    "as it is": KEY,
    "escaped slash": KEY.replace("/", "\\/"),
    "as Go has it": KEY.replace("&", "\\u0026"),
    "url": quote(KEY, safe=""),
    "url, small letters": quote(KEY, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    "path": quote(KEY),
    "html": KEY.replace("&", "&amp;"),
    "base64": b64encode(KEY.encode()).decode(),
    "base64 for URLs": urlsafe_b64encode(KEY.encode()).decode(),
    "basic": BASIC,
    "basic, no name": b64encode(f":{KEY}".encode()).decode(),
    "basic, short name": b64encode(f"me:{KEY}".encode()).decode(),
}
"""How a server may quote the key."""

CARRIERS: dict[str, list[tuple[str, str]]] = {
    "key": [],
    "bearer": [("Authorization", f"Bearer {KEY}")],
    "basic": [("authorization", f"Basic {BASIC}")],
    "azure": [("api-key", KEY)],
    "gateway": [("X-Gateway-Api-Key", KEY)],
    "google": [("x-goog-api-key", KEY)],
    "token": [("X-Auth-Token", f"Token token={KEY}")],
    "secret": [("CF-Access-Client-Secret", KEY)],
    "cookie": [("Cookie", f"a=b; session={KEY}; c=d")],
    "parameter": [],
}
"""How the key gets to the server: headers, or the two ways without."""


def carried(how: str, url: str) -> Endpoint:
    """An endpoint with the key in it."""
    if how == "parameter":
        url = f"{url}?{urlencode({'api-key': KEY})}"
    return endpoint(url=url, api_key=KEY if how == "key" else "", headers=CARRIERS[how])


def pieces(text: str) -> list[str]:
    """What of the key is in a text: its characters four by four, as they are and in base64."""
    spelt = [KEY, *(b64encode(b"-" * n + KEY.encode()).decode()[4:-4] for n in range(3))]
    runs = {form[at : at + 8] for form in spelt for at in range(len(form) - 7)}
    return [run for run in runs if run in text]


# --------------------------------------------------------------------------------- what is redacted


@pytest.mark.parametrize("how", CARRIERS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_a_key_is_taken_out(how: str, form: str) -> None:
    where = carried(how, "wss://a.example/r")
    shown = where.redact(f"before {form} after")
    assert pieces(shown) == []
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "[key]" in shown


def test_what_is_no_secret_stays() -> None:
    headers = [
        ("OpenAI-Beta", "realtime=v1-0123456789"),
        ("OpenAI-Project", "proj_0123456789ab"),
        ("X-Trace", "trace-0123456789"),
        ("X-Author", "somebody-0123456789"),
        ("X-Keyboard", "keyboard-0123456789"),
    ]
    where = endpoint(url="ws://a.example/?deployment=mine-1&max_tokens=1000", headers=headers)
    text = " ".join([*(value for _, value in headers), "mine-1"])
    assert (where.secrets, where.redact(text)) == ((), text)


def test_a_short_key_does_not_spoil_what_is_like_its_base64() -> None:
    where = endpoint(url="wss://a.example/", api_key="sk-1")
    text = b64encode(b"some sk-1 or other").decode()
    assert where.redact(text) == text


def test_a_basic_header_that_is_none_is_a_key_all_the_same() -> None:
    where = endpoint(url="wss://a.example/", headers=[("Authorization", "Basic no-base-64")])
    assert where.redact("no-base-64") == "[key]"


@pytest.mark.parametrize("how", CARRIERS)
def test_no_key_crosses_a_network_unencrypted(how: str) -> None:
    with pytest.raises(UsageError) as caught:
        carried(how, "ws://a.example/r")
    assert str(caught.value).startswith("refusing to send a key over plain ws:// to a.example")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://a/r?model=m", "wss://a/r?model=m"),
        ("wss://a/r?api-key=K&x=1", "wss://a/r?api-key=[key]&x=1"),
        ("wss://a/r?x=1&Access_Token=K#f", "wss://a/r?x=1&Access_Token=[key]#f"),
        ("wss://a/?sig=K&key=", "wss://a/?sig=[key]&key="),
        ("wss://me:K@a/r@b", "wss://[key]@a/r@b"),
        ("https://K@[nonsense", "https://[key]@[nonsense"),
    ],
)
def test_a_url_is_shown_without_its_keys(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_a_url_that_will_not_do_is_shown_without_its_keys() -> None:
    with pytest.raises(UsageError) as caught:
        endpoint(url=f"https://a.example/r?api-key={quote(KEY)}")
    assert str(caught.value).startswith("'https://a.example/r?api-key=[key]' is not a WebSocket")
    where = carried("parameter", "wss://a.example/r")
    assert repr(where) == "Endpoint('wss://a.example/r?api-key=[key]')"


# -------------------------------------------------------------------------------- over real sockets

Server: TypeAlias = AbstractAsyncContextManager[str] | AbstractAsyncContextManager[Port]


async def said_of(server: Server, how: str) -> list[str]:
    """All that the Python API says of a connection to a server that quotes the key."""
    said: list[str] = []
    async with server as place:
        url = place if isinstance(place, str) else f"ws://{place.address}/"
        try:
            async with open_connection(carried(how, url)) as connection:
                connection.on("event", lambda event: said.append(json.dumps(event)))
                while "the end" not in said:
                    try:
                        said += [json.dumps(event) async for event in connection]
                        said.append("the end")
                    except RealtimeError as error:
                        said.append(f"{error} {error!r} {error.event}")
        except LinkError as error:
            said.append(f"{error} {error!r} {error.problem}")
    return said


PLACES: dict[str, Callable[[str], Server]] = {
    "body": lambda form: tcp(http("401 Unauthorized", f"bad key {form}".encode())),
    "json body": lambda form: tcp(
        http("403 Forbidden", json.dumps({"error": {"message": f"bad key {form}"}}).encode())
    ),
    "location": lambda form: tcp(http("302 Found", b"", f"Location: wss://b.example/{form}")),
    "reason": lambda form: sockets(saying(code=4000, reason=f"bad key {form}")),
    "error": lambda form: sockets(
        saying(f'{{"type": "error", "error": {{"message": "bad key {form}", "code": "{form}"}}}}')
    ),
    "event": lambda form: sockets(saying(f'{{"type": "x", "y": ["bad key {form}"], "{form}": 1}}')),
    "not JSON": lambda form: sockets(saying(f"bad key {form}")),
    "binary": lambda form: sockets(saying(f"bad key {form}".encode())),
}


@pytest.mark.parametrize("how", ["key", "basic", "azure", "parameter"])
@pytest.mark.parametrize("place", PLACES)
def test_no_place_shows_a_key(place: str, how: str) -> None:
    for form in FORMS.values():
        said = asyncio.run(said_of(PLACES[place](form), how))
        assert said
        assert pieces(" ".join(said)) == []


# --------------------------------------------------------------------------------- by the program

SESSION = {"type": "realtime", "id": "s", "model": "m"}
IDS = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
QUOTES: dict[str, list[dict[str, object] | str | bytes]] = {
    "an error": [{"type": "error", "error": {"type": "x", "message": f"no: {KEY}", "code": KEY}}],
    "an unknown event": [{"type": KEY, "x": {KEY: [KEY]}}],
    "no JSON": [f"{{{KEY}"],
    "a binary frame": [KEY.encode()],
    "a delta": [
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_text.delta", "delta": f"It is {KEY}.", **IDS},
        {"type": "response.output_text.done", "text": f"It is {KEY}.", **IDS},
        {"type": "response.done", "response": {"id": "r", "status": "completed"}},
    ],
    "a failed reply": [
        {"type": "response.created", "response": {"id": "r"}},
        {
            "type": "response.done",
            "response": {
                "id": "r",
                "status": "failed",
                "status_details": {"error": {"code": "invalid_api_key", "message": f"no: {KEY}"}},
            },
        },
    ],
}


def quoting(place: str) -> AbstractAsyncContextManager[str]:
    """A server that quotes the key there, once it is asked."""

    async def talk(client: ServerConnection) -> None:
        model = KEY if place == "the session" else "m"
        for kind in ("session.created", "session.updated"):
            session = SESSION | {"model": model}
            await client.send(json.dumps({"type": kind, "session": session}))
            await client.recv()
        while json.loads(await client.recv())["type"] != "response.create":
            pass
        for event in QUOTES.get(place, []):
            await client.send(json.dumps(event) if isinstance(event, dict) else event)
        if place != "a delta":
            await client.close(4000, f"no: {KEY}")
        await client.wait_closed()

    return sockets(talk)


def shown(ran: Ran, trace: Path) -> str:
    return ran.text + ran.err + trace.read_text()


@pytest.mark.parametrize("shape", ["--plain", "--render=always", "--json", "--events"])
@pytest.mark.parametrize("place", [*QUOTES, "the session", "a close"])
def test_nothing_that_the_program_writes_has_the_key(
    tmp_path: Path, place: str, shape: str
) -> None:
    with background(lambda: quoting(place)) as url:
        ran = Program(tmp_path).run(
            *("once", "hi", "--url", url, "--verbose", "--trace", "trace.jsonl", shape),
            environ={"OPENAI_API_KEY": KEY, "RTCHAT_DEBUG": "1"},
        )
    text = shown(ran, tmp_path / "trace.jsonl")
    assert pieces(text) == []
    assert "[key]" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--header", f"api-key: {KEY}"],
        ["--header", f"Authorization: Basic {BASIC}"],
        ["--header", f"Authorization: {KEY}"],
    ],
)
def test_a_header_is_as_secret_as_the_key(tmp_path: Path, arguments: list[str]) -> None:
    with background(lambda: quoting("an error")) as url:
        ran = Program(tmp_path).run(
            *("once", f"Is it {KEY}?", "--url", url, "-v", "--trace", "trace.jsonl", *arguments)
        )
    text = shown(ran, tmp_path / "trace.jsonl")
    assert "Is it [key]?" in text
    assert pieces(text) == []


# ------------------------------------------------------------------------------ what is said of it


def test_it_is_said_where_settings_and_key_come_from(tmp_path: Path) -> None:
    program = Program(tmp_path)
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    with background(lambda: quoting("a delta")) as url:
        ran = program.run("once", "hi", "--url", url, "--verbose")
        assert ran.err.split("\n")[:2] == [
            f"settings from {tmp_path / '.env'}",
            "key from OPENAI_API_KEY in .env",
        ]
        piped = program.run("talk", "--url", url, "--verbose", stdin=b"hi\n")
        assert piped.err.count("key from") == 1
        assert "key from" not in program.run("once", "hi", "--url", url).err
        (tmp_path / ".env").unlink()
        none = program.run("once", "hi", "--url", url, "--verbose")
        assert none.err.startswith("key from nowhere\n")


def test_a_dotenv_of_a_folder_above_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    below = tmp_path / "below"
    below.mkdir()
    assert Program(below).run("once", "hi").error.startswith("rtchat: no key: set OPENAI_API_KEY")


def test_no_option_takes_a_key(tmp_path: Path) -> None:
    program = Program(tmp_path)
    for command in ("talk", "once", "serve", "keys set", "config show"):
        ran = program.run(*command.split(), "--help")
        assert ran.code == 0
        assert "--api-key " not in ran.text
        assert "--key " not in ran.text
