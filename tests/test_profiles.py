"""The profiles that come with rtchat: where each leads, and what its handshake says."""

from __future__ import annotations

import asyncio
import re
import shlex
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request

from rtchat.app.environment import Environment
from rtchat.app.wiring import server_of
from rtchat.client.endpoint import Endpoint, endpoint
from rtchat.config.file import Config, all_profiles
from rtchat.config.resolve import resolve
from rtchat.config.settings import Secret, Settings
from rtchat.config.table import Values
from rtchat.core.errors import UsageError
from rtchat.core.values import JsonObject
from tests.program import Program, two_lines

KEY = "key-0123456789abcdef"
OPENAI_KEY = "sk-of-openai-0123456789"
_PLACES = {
    "AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com/",
    "AZURE_VOICELIVE_ENDPOINT": "https://res.cognitiveservices.azure.com",
    "YANDEX_FOLDER_ID": "b1g",
}
_BEARER = ("Authorization", f"Bearer {KEY}")
_API_KEY = ("api-key", KEY)
_BETA = ("OpenAI-Beta", "realtime=v1")

_EXPECTED: dict[str, tuple[str, str, tuple[tuple[str, str], ...], str]] = {
    "openai": (
        "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1",
        "OPENAI_API_KEY",
        (_BEARER,),
        "auto",
    ),
    "azure": (
        "wss://res.openai.azure.com/openai/v1/realtime?model=gpt-realtime-2.1",
        "AZURE_OPENAI_API_KEY",
        (_API_KEY,),
        "ga",
    ),
    "azure-entra": (
        "wss://res.openai.azure.com/openai/v1/realtime?model=gpt-realtime-2.1",
        "",
        (_BEARER,),
        "ga",
    ),
    "azure-preview": (
        "wss://res.openai.azure.com/openai/realtime"
        "?api-version=2025-04-01-preview&deployment=gpt-realtime-2.1",
        "AZURE_OPENAI_API_KEY",
        (_API_KEY, _BETA),
        "beta",
    ),
    "azure-voice-live": (
        "wss://res.cognitiveservices.azure.com/voice-live/realtime"
        "?api-version=2025-10-01&model=gpt-realtime",
        "AZURE_VOICELIVE_API_KEY",
        (_API_KEY, _BETA),
        "beta",
    ),
    "xai": (
        "wss://api.x.ai/v1/realtime?model=grok-voice-latest",
        "XAI_API_KEY",
        (_BEARER,),
        "xai",
    ),
    "dashscope": (
        "wss://dashscope.aliyuncs.com/api-ws/v1/realtime?model=qwen3.5-omni-flash-realtime",
        "DASHSCOPE_API_KEY",
        (_BEARER,),
        "qwen",
    ),
    "dashscope-intl": (
        "wss://dashscope-intl.aliyuncs.com/api-ws/v1/realtime?model=qwen3.5-omni-flash-realtime",
        "DASHSCOPE_API_KEY",
        (_BEARER,),
        "qwen",
    ),
    "yandex": (
        "wss://ai.api.cloud.yandex.net/v1/realtime?model=gpt://b1g/speech-realtime-250923",
        "YANDEX_API_KEY",
        (("Authorization", f"Api-Key {KEY}"),),
        "ga",
    ),
    "inworld": (
        "wss://api.inworld.ai/api/v1/realtime/session"
        "?key=[new]&protocol=realtime&model=gpt-realtime-2.1",
        "INWORLD_API_KEY",
        (("Authorization", f"Basic {KEY}"),),
        "ga",
    ),
    "localai": (
        "ws://127.0.0.1:8080/v1/realtime?model=gpt-realtime-2.1",
        "LOCALAI_API_KEY",
        (_BEARER,),
        "ga",
    ),
    "speaches": (
        "ws://127.0.0.1:8000/v1/realtime?model=gpt-realtime-2.1",
        "SPEACHES_API_KEY",
        (_BEARER, _BETA),
        "beta",
    ),
    "hf": ("ws://127.0.0.1:8765/v1/realtime?model=gpt-realtime-2.1", "", (), "ga"),
    "litellm": (
        "ws://127.0.0.1:4000/v1/realtime?model=gpt-realtime-2.1",
        "LITELLM_API_KEY",
        (_BEARER,),
        "auto",
    ),
}
"""Of each profile: the URL, the variable with the key, the headers and the dialect."""


def _token_command(folder: Path, token: str) -> str:
    script = folder / "token.py"
    script.write_text(f"print({token!r})\n")
    return shlex.join([sys.executable, str(script)])


def _settled(folder: Path, name: str) -> Settings:
    """The settings of a profile, with its key wherever it looks for it."""
    variable = _EXPECTED[name][1]
    config = folder / "config.toml"
    if name == "azure-entra":
        command = _token_command(folder, KEY)
        config.write_text(f"[profiles.azure-entra]\napi_key_command = {command!r}\n")
    environ = _PLACES | ({variable: KEY} if variable else {})
    return resolve({"profile": name}, environ, config=config)


def _endpoint(settings: Settings) -> Endpoint:
    return endpoint(
        settings.model,
        url=settings.url,
        api_key=settings.key.reveal(),
        headers=settings.headers,
        key_header=settings.key_header,
        beta=settings.dialect == "beta",
    )


def test_every_profile_is_tried() -> None:
    assert set(_EXPECTED) == set(all_profiles(Config(Values(), {})))


@pytest.mark.parametrize("name", _EXPECTED)
def test_a_profile_leads_to_its_server(tmp_path: Path, name: str) -> None:
    url, _, headers, dialect = _EXPECTED[name]
    settings = _settled(tmp_path, name)
    where = _endpoint(settings)
    assert re.sub(r"key=[0-9a-f]{32}&", "key=[new]&", where.url) == url
    assert (where.headers, settings.dialect) == (headers, dialect)
    if headers:
        assert where.redact(f"no {KEY}!") == "no [key]!"


@pytest.mark.parametrize("name", _EXPECTED)
def test_a_handshake_over_a_real_socket(tmp_path: Path, name: str) -> None:
    url, _, headers, _ = _EXPECTED[name]
    seen: list[Request] = []

    async def ignore(socket: ServerConnection) -> None:
        assert socket.request is not None
        seen.append(socket.request)
        await socket.close()

    async def run() -> None:
        async with serve(ignore, "127.0.0.1", 0) as server, AsyncExitStack() as stack:
            port = server.sockets[0].getsockname()[1]
            settings = _settled(tmp_path, name)
            url_here = re.sub(r"^wss?://[^/]+", f"ws://127.0.0.1:{port}", settings.url)
            here = replace(settings, url=url_here)
            connect, _ = server_of(here, _streams(tmp_path), stack)
            async with connect(settings.model) as link:
                await link.receive()

    asyncio.run(run())
    (request,) = seen
    path = re.sub(r"^wss?://[^/]+", "", url)
    assert re.sub(r"key=[0-9a-f]{32}&", "key=[new]&", request.path) == path
    sent = {header.lower(): content for header, content in request.headers.raw_items()}
    expected = {header.lower(): content for header, content in headers}
    about_us = {"authorization", "api-key", "openai-beta", "openai-organization"}
    assert {header: sent[header] for header in about_us & sent.keys()} == expected


def _streams(folder: Path) -> Environment:
    return Environment(None, StringIO(), None, folder, folder, folder, {})


def test_every_inworld_session_is_a_new_one() -> None:
    settings = resolve({"profile": "inworld"}, {"INWORLD_API_KEY": KEY})
    assert _endpoint(settings).url != _endpoint(settings).url
    assert settings.session == {"model": "openai/gpt-4o-mini"}


# ----------------------------------------------------------------------------- whose key goes where


@pytest.mark.parametrize("name", sorted(set(_EXPECTED) - {"openai"}))
def test_nothing_of_openai_s_goes_to_others(tmp_path: Path, name: str) -> None:
    """Neither the key, nor what a command of the file's gives, nor the account."""
    config = tmp_path / "config.toml"
    command = _token_command(tmp_path, OPENAI_KEY)
    own = "[profiles.azure-entra]\napi_key_command = 'true'\n" if name == "azure-entra" else ""
    config.write_text(
        f"api_key_command = {command!r}\nkey_env = 'OPENAI_API_KEY'\n"
        f"key_header = 'X-Mine: {{key}}'\nheaders = {{Authorization = 'Bearer sk-x'}}\n{own}"
    )
    environ = _PLACES | {
        "OPENAI_API_KEY": OPENAI_KEY,
        "OPENAI_ORG_ID": "org",
        "OPENAI_PROJECT_ID": "proj",
        "OPENAI_SAFETY_IDENTIFIER": "hash",
    }
    if name == "azure-entra":
        with pytest.raises(UsageError, match="printed no key"):
            resolve({"profile": name}, environ, config=config)
        return
    settings = resolve({"profile": name}, environ, config=config, needs_key=False)
    assert (settings.key, settings.headers) == (Secret(), ())


def test_openai_s_own_profile_has_the_account() -> None:
    environ = {
        "OPENAI_API_KEY": KEY,
        "OPENAI_ORG_ID": "org",
        "OPENAI_PROJECT_ID": "proj",
        "OPENAI_SAFETY_IDENTIFIER": "hash",
    }
    assert _endpoint(resolve({"profile": "openai"}, environ)).headers == (
        _BEARER,
        ("OpenAI-Organization", "org"),
        ("OpenAI-Project", "proj"),
        ("OpenAI-Safety-Identifier", "hash"),
    )


def test_a_profile_of_one_s_own_may_say_that_the_key_is_for_it(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    environ = {"OPENAI_API_KEY": OPENAI_KEY, "MINE": KEY}
    config.write_text('[profiles.p]\nurl = "wss://a.example/r"\n')
    assert resolve({"profile": "p"}, environ, config=config).key == Secret()
    config.write_text('[profiles.p]\nurl = "wss://a.example/r"\nkey_env = "OPENAI_API_KEY"\n')
    assert resolve({"profile": "p"}, environ, config=config).key == Secret(OPENAI_KEY)
    config.write_text('[profiles.p]\nurl = "wss://a.example/r"\nkey_env = ["NONE", "MINE"]\n')
    settings = resolve({"profile": "p"}, environ, config=config)
    assert (settings.key, settings.origins["key"]) == (Secret(KEY), "MINE")
    config.write_text('[profiles.p]\nurl = "wss://eu.api.openai.com/v1/realtime"\n')
    assert resolve({"profile": "p"}, environ, config=config).key == Secret(OPENAI_KEY)
    config.write_text('[profiles.p]\nurl = "wss://openai.com.evil.example/v1/realtime"\n')
    assert resolve({"profile": "p"}, environ, config=config).key == Secret()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("xai", "set XAI_API_KEY in the environment or in .env, run `rtchat keys set xai`"),
        ("openai", "set OPENAI_API_KEY in the environment or in .env, run `rtchat keys set"),
    ],
)
def test_a_service_wants_a_key(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve({"profile": name}, {"OTHER_API_KEY": "x"})
    assert caught.value.hint.startswith(hint)
    kept = {name: KEY}
    stored = resolve({"profile": name}, {}, stored=lambda profile: (kept[profile], "a safe"))
    assert (stored.key, stored.origins["key"]) == (Secret(KEY), "a safe")


@pytest.mark.parametrize("name", ["localai", "speaches", "hf", "litellm"])
def test_a_server_on_this_machine_may_want_none(name: str) -> None:
    assert resolve({"profile": name}, {"OPENAI_API_KEY": OPENAI_KEY}).key == Secret()


# ------------------------------------------------------------------------------------- laid over it


def test_the_config_file_is_laid_over_a_profile(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        'model = "common"\ntimeout = 5\n'
        '[profiles.xai]\nmodel = "grok-2"\nheaders = {X-Team = "1"}\n'
        '[profiles.xai.session]\naudio.output.voice = "ara"\n'
        '[profiles.inworld.session]\naudio.output.voice = "Clive"\n'
    )
    settings = resolve({"profile": "xai"}, {"XAI_API_KEY": KEY}, config=config)
    assert settings == Settings(
        model="grok-2",
        url="wss://api.x.ai/v1/realtime",
        dialect="xai",
        timeout=5.0,
        headers=(("X-Team", "1"),),
        session={"audio": {"output": {"voice": "ara"}}},
        key_env=("XAI_API_KEY",),
        key=Secret(KEY),
    )
    assert settings.origins["url"] == "profile xai (built in)"
    assert settings.origins["model"] == f"profile xai in {config} line 4"
    settings = resolve({"profile": "inworld"}, {"INWORLD_API_KEY": KEY}, config=config)
    expected: JsonObject = {
        "model": "openai/gpt-4o-mini",
        "audio": {"output": {"voice": "Clive"}},
    }
    assert settings.session == expected


def test_an_option_and_the_environment_outrank_a_profile() -> None:
    environ = {"XAI_API_KEY": KEY, "RTCHAT_MODEL": "grok-3"}
    options = {"profile": "xai", "url": "wss://proxy.example/r", "dialect": "ga"}
    settings = resolve(options, environ)
    assert _endpoint(settings) == Endpoint(
        "wss://proxy.example/r?model=grok-3", (_BEARER,), (), (KEY,)
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "azure",
            "AZURE_OPENAI_ENDPOINT is not set, but the url of profile azure (built in) needs it",
        ),
        (
            "yandex",
            "YANDEX_FOLDER_ID is not set, but the model of profile yandex (built in) needs it",
        ),
    ],
)
def test_what_an_address_needs_is_named(name: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve({"profile": name}, {"AZURE_OPENAI_API_KEY": KEY, "YANDEX_API_KEY": KEY})
    assert caught.value.message == words
    assert ".env" in caught.value.hint


def test_a_dotenv_may_have_it(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("AZURE_OPENAI_ENDPOINT=http://127.0.0.1:1/\nAZURE_OPENAI_API_KEY=k\n")
    settings = resolve({"profile": "azure"}, {}, dotenv=dotenv)
    assert (settings.url, settings.key) == ("ws://127.0.0.1:1/openai/v1/realtime", Secret("k"))


def test_a_profile_of_a_dotenv_is_warned_of_with_its_whole_address(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("RTCHAT_PROFILE=azure\n")
    warnings: list[str] = []

    def warn(text: str, hint: str) -> None:
        warnings.append(two_lines(text, hint))

    environ = {"AZURE_OPENAI_ENDPOINT": "https://a.example", "AZURE_OPENAI_API_KEY": KEY}
    settings = resolve({}, environ, dotenv=dotenv, warn=warn)
    (warning,) = warnings
    assert warning.startswith("RTCHAT_PROFILE in .env sets the address to ")
    assert settings.url in warning
    warnings.clear()
    with pytest.raises(UsageError, match="AZURE_OPENAI_ENDPOINT is not set"):
        resolve({}, {}, dotenv=dotenv, warn=warn)
    assert warnings == []


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("key_env = 5", "the name of a variable, or a list of such names"),
        ("key_env = ['a b']", "the name of a variable, or a list of such names"),
        ("key_header = 'x'", "'Name: {key}', or 'Authorization: Scheme {key}'"),
        ("key_header = 'X Y: {key}'", "'Name: {key}', or 'Authorization: Scheme"),
    ],
)
def test_a_profile_that_will_not_do_names_the_line(tmp_path: Path, line: str, hint: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f"[profiles.xai]\n{line}\n")
    with pytest.raises(UsageError) as caught:
        resolve({"profile": "xai"}, {"XAI_API_KEY": KEY}, config=config)
    message = str(caught.value)
    assert message.startswith(f"{config} line 2: ")
    assert hint in message


@pytest.mark.parametrize(
    ("key_header", "headers"),
    [
        ("Authorization: Basic {key}", (("Authorization", f"Basic {KEY}"),)),
        ("x-portkey-api-key:{key}", (("x-portkey-api-key", KEY),)),
    ],
)
def test_a_key_may_go_in_any_header(key_header: str, headers: tuple[tuple[str, str], ...]) -> None:
    url = "wss://a.example/r"
    assert endpoint(url=url, api_key=KEY, key_header=key_header).headers == headers
    given = [(headers[0][0].upper(), "mine")]
    where = endpoint(url=url, api_key=KEY, key_header=key_header, headers=given)
    assert where.headers == tuple(given)


def test_a_model_in_the_url_is_quoted() -> None:
    assert endpoint("a&b/ö", url="wss://a.example/{model}?deployment={model}") == Endpoint(
        "wss://a.example/a%26b%2F%C3%B6?deployment=a%26b%2F%C3%B6"
    )


# ---------------------------------------------------------------------------------- they are listed


def test_they_are_listed_with_those_of_the_file(tmp_path: Path) -> None:
    program = Program(tmp_path)
    config = tmp_path / "mine.toml"
    config.write_text(
        '[profiles.xai]\nmodel = "m"\n[profiles.work]\nurl = "wss://a.example/r?token=hunter2"\n'
        'api_key_command = "pass show work"\n[profiles.eu]\ndialect = "ga"\n'
    )
    ran = program.run("config", "profiles", environ={"RTCHAT_CONFIG": str(config)})
    rows = {line.split()[0]: re.split(r" {2,}", line)[1:] for line in ran.text.splitlines()}
    assert set(rows) == {*_EXPECTED, "work", "eu"}
    assert rows["xai"] == ["wss://api.x.ai/v1/realtime", "XAI_API_KEY", "xai"]
    assert rows["work"] == ["wss://a.example/r?token=[key]", "api_key_command", "auto"]
    assert rows["eu"] == ["wss://api.openai.com/v1/realtime", "OPENAI_API_KEY", "ga"]
    assert rows["hf"] == ["ws://127.0.0.1:8765/v1/realtime", "a stored key", "ga"]
    assert rows["azure-entra"][1] == "api_key_command"
    listed = Program(tmp_path).run("config", "profiles")
    assert {line.split()[0] for line in listed.text.splitlines()} == set(_EXPECTED)
