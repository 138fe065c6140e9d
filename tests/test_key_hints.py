"""The hint for a refused key names the key that was sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtchat.config.resolve import resolve
from tests.faulty import Close, FaultyServer, error, http, sockets, tcp
from tests.program import Program, background

_KEY = "key-0123456789abcdef"
_SERVER = {"url": "ws://127.0.0.1:1/v1/realtime"}


def hint(options: dict[str, object], environ: dict[str, str], **more: object) -> str:
    """The hint of a run with these options and variables."""
    return resolve(options, environ, **more).key_hint  # type: ignore[arg-type] # as given


def test_a_variable() -> None:
    assert hint({"profile": "xai"}, {"XAI_API_KEY": _KEY}) == "check XAI_API_KEY"
    assert hint({}, {"OPENAI_API_KEY": _KEY}) == "check OPENAI_API_KEY"


def test_a_variable_of_the_dotenv(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"XAI_API_KEY={_KEY}\n")
    assert hint({"profile": "xai"}, {}, dotenv=dotenv) == "check XAI_API_KEY in .env"


def test_a_stored_key_is_to_be_replaced() -> None:
    found = hint({"profile": "xai"}, {}, stored=lambda _: (_KEY, "the system keyring"))
    assert "`rtchat keys set xai`" in found
    assert "the system keyring" in found


def test_a_password_manager(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"api_key_command = 'echo {_KEY}'\n")
    found = hint({}, {}, config=config)
    assert found.startswith("check api_key_command of ")
    assert str(config) in found


def test_a_key_among_the_headers_or_in_the_url() -> None:
    headers: dict[str, object] = {**_SERVER, "headers": [f"api-key: {_KEY}"]}
    assert hint(headers, {}) == "check the key in --header"
    assert hint({"url": f"wss://a.example/r?api-key={_KEY}"}, {}) == (
        "check the key in the URL of --url"
    )


def test_without_a_key_the_hint_says_how_to_set_one() -> None:
    found = hint({"profile": "litellm"}, {})
    assert "LITELLM_API_KEY" in found
    assert "`rtchat keys set litellm`" in found
    assert "OPENAI_API_KEY" in hint(dict(_SERVER), {})


@pytest.mark.parametrize("close", [Close(1011), Close(3000, "invalid_api_key")])
@pytest.mark.parametrize("command", ["once", "doctor"])
def test_a_refusal_names_the_key_of_the_profile(tmp_path: Path, command: str, close: Close) -> None:
    refusal = error("invalid_api_key", "Incorrect API key provided: xai-abc***")
    steps = (close,) if close.code == 3000 else (refusal, close)
    server = FaultyServer(greetings=(steps,))
    with background(lambda: sockets(server.talk)) as url:
        question = ["Hi"] if command == "once" else []
        environ = {"XAI_API_KEY": _KEY}
        ran = Program(tmp_path).run(command, "-p", "xai", "--url", url, *question, environ=environ)
    assert (ran.code, ran.hint) == (3, "check XAI_API_KEY")


@pytest.mark.parametrize("command", [("once", "Hi"), ("keys", "mint")])
def test_an_http_refusal_names_the_key_of_the_profile(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    with background(lambda: tcp(http("401 Unauthorized"))) as port:
        url = f"ws://{port.address}/v1/realtime"
        ran = Program(tmp_path).run(
            *command, "-p", "xai", "--url", url, environ={"XAI_API_KEY": _KEY}
        )
    assert (ran.code, ran.hint) == (3, "check XAI_API_KEY")
