"""What a `.env` may decide, and where a key goes: over every setting and every source of both."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import hypothesis
import pytest
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection

from rtchat.client.endpoint import endpoint
from rtchat.config import variables
from rtchat.config.resolve import resolve
from rtchat.config.settings import Settings, attributes, rows
from rtchat.core.errors import UsageError
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from tests.faulty import done, sockets
from tests.program import PATIENCE, Program, Ran, background, two_lines, words_of

KEY = "sk-0123456789abcdef"
OTHER_KEY = "sk-of-the-folder-9876"


@dataclass
class Resolved:
    """What came of some settings."""

    settings: Settings | None
    error: str
    warnings: list[str]

    def has(self, secret: str) -> bool:
        """Whether it would be sent to the server."""
        if self.settings is None:
            return False
        settings = self.settings
        where = endpoint(
            settings.model,
            url=settings.url,
            api_key=settings.key.reveal(),
            headers=settings.headers,
            key_header=settings.key_header,
            insecure=True,
        )
        said = (where.url, where.headers, settings.session, settings.response, settings.system)
        return secret in str(said)


@dataclass
class Given:
    """Everything that settings come from."""

    folder: Path
    options: dict[str, object] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    dotenv: dict[str, str] = field(default_factory=dict)
    config: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    def resolve(self, *, needs_key: bool = True) -> Resolved:
        dotenv, config = self.folder / ".env", self.folder / "config.toml"
        dotenv.write_text("".join(f"{name}={text}\n" for name, text in self.dotenv.items()))
        config.write_text("\n".join(self.config))
        warnings: list[str] = []

        def stored(profile: str) -> tuple[str, str] | None:
            return (self.kept[profile], "a safe") if profile in self.kept else None

        try:
            settings = resolve(
                self.options,
                self.environ,
                dotenv=dotenv,
                config=config,
                stored=stored,
                needs_key=needs_key,
                warn=lambda *said: warnings.append(two_lines(*said)),
            )
        except UsageError as error:
            return Resolved(None, words_of(error), warnings)
        return Resolved(settings, "", warnings)


# --------------------------------------------------------------------------- what a .env may decide

_ONLY_OPTIONS_AND_CONFIG = {
    *("headers", "color", "trace_audio", "insecure", "local", "quiet", "verbose", "voice"),
    *("session", "response", "max_cost", "tools", "mcp", "allow_tools", "max_tool_rounds"),
    *("prices", "key_env", "key_header", "api_key_command"),
    *("aliases", "styles", "output_schema", "extract", "extract_lang"),
    *("max_tool_calls", "max_tool_bytes", "max_reply_bytes", "warn_tokens"),
    *("raw", "transcription_prompt"),
}
"""Settings without a variable, so that neither the environment nor a `.env` sets them."""
_OTHER_VARIABLES = {
    *("OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_SAFETY_IDENTIFIER"),
    *("RTCHAT_CONFIG", "RTCHAT_PROFILE"),
}
_NAMES_A_FILE = {"RTCHAT_CONFIG", "RTCHAT_TRACE", "RTCHAT_CA_BUNDLE"}
"""Or what is in a file that is read, written, run or trusted."""
_SAMPLES = {
    "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    "OPENAI_ORG_ID": "org",
    "OPENAI_PROJECT_ID": "project",
    "OPENAI_SAFETY_IDENTIFIER": "hash",
    "RTCHAT_AEC": "off",
    "RTCHAT_CONNECT_TIMEOUT": "5",
    "RTCHAT_DIALECT": "beta",
    "RTCHAT_HISTORY": "off",
    "RTCHAT_IMAGE_DETAIL": "low",
    "RTCHAT_INPUT_DEVICE": "USB",
    "RTCHAT_KEEP_AUDIO": "on",
    "RTCHAT_LANGUAGE": "de",
    "RTCHAT_MAX_OUTPUT_TOKENS": "5",
    "RTCHAT_CONTEXT": "5000",
    "RTCHAT_MODEL": "other",
    "RTCHAT_OUTPUT_DEVICE": "USB",
    "RTCHAT_PROFILE": "xai",
    "RTCHAT_RENDER": "never",
    "RTCHAT_STATUS": "off",
    "RTCHAT_TITLE": "off",
    "RTCHAT_NOTIFY": "bell",
    "RTCHAT_EDITING_MODE": "vi",
    "RTCHAT_SYSTEM": "Be brief.",
    "RTCHAT_THEME": "mono",
    "RTCHAT_TIMEOUT": "5",
    "RTCHAT_URL": "ws://127.0.0.1:1",
    "RTCHAT_TRANSLATE_TO": "es",
    "RTCHAT_VAD": "off",
}
"""What a `.env` may set, and to what."""


_FROM_DOTENV = {
    variable.name: variable.dotenv
    for variable in (
        *(row.variable for row in rows() if row.variable is not None),
        *(variables.BASE_URL, variables.ORGANIZATION, variables.PROJECT),
        *(variables.SAFETY_IDENTIFIER, variables.CONFIG),
    )
}
"""Whether a `.env` may set each variable that decides about settings."""


def test_every_setting_says_whether_a_dotenv_may_set_it() -> None:
    """Adding a setting fails here until it is clear that somebody else's `.env` can name no file
    with it."""
    names = {row.name for row in attributes() if row.variable is not None}
    assert {*(row.name for row in attributes()), "api_key_command"} == {
        *names,
        *_ONLY_OPTIONS_AND_CONFIG,
    }
    own = {row.variable.name for row in attributes() if row.variable is not None}
    assert _FROM_DOTENV.keys() == {*own, *_OTHER_VARIABLES}
    assert {name for name, may in _FROM_DOTENV.items() if may == "no"} == _NAMES_A_FILE
    assert {name for name, may in _FROM_DOTENV.items() if may == "text"} == {"RTCHAT_SYSTEM"}
    assert _SAMPLES.keys() == _FROM_DOTENV.keys() - _NAMES_A_FILE


def test_a_setting_has_no_variable_and_no_trust_unless_its_row_says_so(tmp_path: Path) -> None:
    named = {row.variable.name for row in rows() if row.variable is not None}
    others = {f"RTCHAT_{row.name.upper()}": "x" for row in rows()}
    others = {name: text for name, text in others.items() if name not in named}
    assert "RTCHAT_TOOLS" in others
    given = Given(tmp_path, kept={"default": KEY})
    before = given.resolve()
    given.dotenv, given.environ = dict(others), dict(others)
    assert given.resolve() == before


@pytest.mark.parametrize("variable", _FROM_DOTENV)
def test_a_dotenv_sets_what_it_may(tmp_path: Path, variable: str) -> None:
    given = Given(tmp_path, environ={"XAI_API_KEY": KEY}, kept={"default": KEY, "xai": KEY})
    before = given.resolve().settings
    sample = _SAMPLES.get(variable, str(tmp_path / "victim"))
    given.dotenv[variable] = sample
    found = given.resolve()
    ignored = [line for line in found.warnings if "is ignored" in line]
    if variable in _NAMES_A_FILE:
        assert (found.settings, len(ignored)) == (before, 1)
        assert ignored[0].startswith(
            f"{variable} in .env is ignored, because it names a file\nhint: "
        )
    else:
        assert found.settings != before
        assert ignored == []
    if variable != "RTCHAT_CONFIG":  # which has to exist
        given.dotenv, given.environ[variable] = {}, sample
        assert given.resolve().settings != before


@pytest.mark.parametrize("variable", _FROM_DOTENV)
def test_no_value_of_a_dotenv_is_a_file(tmp_path: Path, variable: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(KEY)
    given = Given(tmp_path, {"url": "ws://127.0.0.1:1"}, dotenv={variable: f"@{secret}"})
    found = given.resolve(needs_key=False)
    assert not found.has(KEY)
    assert KEY not in found.error + "".join(found.warnings)
    if variable == "RTCHAT_SYSTEM":
        assert found.settings == Settings(url="ws://127.0.0.1:1")
        assert found.warnings == [
            "RTCHAT_SYSTEM in .env is ignored, because it names a file\n"
            "hint: set it in the environment or with an option"
        ]


@pytest.mark.parametrize("reference", ["{AWS_SECRET}", "${AWS_SECRET}", "x${AWS_SECRET}y"])
@pytest.mark.parametrize("variable", [*_SAMPLES, "OPENAI_API_KEY", "PLACE"])
def test_a_dotenv_does_not_see_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, reference: str
) -> None:
    monkeypatch.setenv("AWS_SECRET", KEY)  # where the library would look
    given = Given(
        tmp_path,
        environ={"AWS_SECRET": KEY},
        dotenv={variable: reference, "RTCHAT_SYSTEM": "x"} | {variable: reference},
        config=["url = 'ws://127.0.0.1/{PLACE}'"] if variable == "PLACE" else [],
    )
    found = given.resolve(needs_key=False)
    assert not found.has(KEY)
    assert KEY not in found.error + "".join(found.warnings)


def test_a_dotenv_may_refer_to_itself(tmp_path: Path) -> None:
    dotenv = {"HOST": "127.0.0.1", "RTCHAT_URL": "ws://${HOST}/${PATH_:-x}/{HOST}"}
    found = Given(tmp_path, environ={"HOST": "evil", "PATH_": "y"}, dotenv=dotenv).resolve()
    assert found.settings == Settings(url="ws://127.0.0.1/x/127.0.0.1")


def test_a_reference_that_leads_out_of_a_dotenv_is_said(tmp_path: Path) -> None:
    dotenv = {"OPENAI_API_KEY": "${MINE}", "UNUSED": "${MINE}"}
    found = Given(tmp_path, {"url": "ws://127.0.0.1"}, {"MINE": KEY}, dotenv).resolve()
    assert found.settings == Settings(url="ws://127.0.0.1")
    assert found.warnings == [
        "OPENAI_API_KEY in .env is ignored, because it refers to MINE, which that file does not set"
    ]


_BY_PROCESSES = {
    **dict.fromkeys(("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"), "/nowhere.pem"),
    **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:1"),
    **dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"), "evil"),
    **dict.fromkeys(("VISUAL", "EDITOR", "PAGER", "RTCHAT_API_KEY_COMMAND"), "touch PWNED"),
    **dict.fromkeys(("RTCHAT_TOOLS", "RTCHAT_MCP", "RTCHAT_ALLOW_TOOLS"), "evil.py"),
    **dict.fromkeys(("RTCHAT_DEBUG", "RTCHAT_INSECURE", "RTCHAT_LOCAL", "RTCHAT_DOTENV"), "1"),
    **dict.fromkeys(("PATH", "PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD"), "."),
}


def test_what_others_read_does_not_come_from_a_dotenv(tmp_path: Path) -> None:
    program = Program(tmp_path)
    for name in ("config", "evil/rtchat/config"):
        (tmp_path / f"{name}.toml").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.toml").write_text("model = 'evil'\n")
    (tmp_path / ".env").write_text("".join(f"{k}={v}\n" for k, v in _BY_PROCESSES.items()))
    with background(lambda: run_server(EchoEngine())) as url:
        ran = program.run("once", "hi", "--url", url, "-q")
    assert (ran.code, ran.text, ran.err) == (0, "hi\n", "")
    edited = program.run("config", "edit", environ={"VISUAL": "true"})
    assert (edited.code, edited.err) == (0, "")
    assert "evil" not in program.run("config", "show").text
    assert not (tmp_path / "PWNED").exists()
    assert sorted(path.name for path in (tmp_path / "evil").rglob("*")) == ["config.toml", "rtchat"]


# ----------------------------------------------------------------------------- hosts and their keys


@dataclass(frozen=True)
class Host:
    """How a host is named; in all of it %s is the host, and a profile is p. `by` is the variable of
    `.env` that names it."""

    options: Mapping[str, object] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    dotenv: Mapping[str, str] = field(default_factory=dict)
    profile: str = ""
    """The address in the user's profile."""
    config: str = ""
    by: str = ""

    @property
    def has_profile(self) -> bool:
        return bool(self.profile)


_HOSTS = {
    "nobody": Host(),
    "option": Host(options={"url": "wss://%s/v1"}, dotenv={"RTCHAT_URL": "wss://evil.example"}),
    "environment": Host(
        environ={"RTCHAT_URL": "wss://%s/v1"}, dotenv={"RTCHAT_URL": "wss://evil.example"}
    ),
    "base URL of the environment": Host(
        environ={"OPENAI_BASE_URL": "https://%s/v1"},
        dotenv={"OPENAI_BASE_URL": "https://evil.example"},
    ),
    "config": Host(config="wss://%s/v1", dotenv={"OPENAI_BASE_URL": "https://evil.example"}),
    "config, a path in .env": Host(config="wss://%s/v1/{PART}?{PART}", dotenv={"PART": "x"}),
    "profile": Host(options={"profile": "p"}, profile="wss://%s/v1"),
    "profile chosen in .env": Host(dotenv={"RTCHAT_PROFILE": "p"}, profile="wss://%s/v1"),
    "variable of the environment": Host(
        options={"profile": "p"},
        profile="{PLACE}/v1",
        environ={"PLACE": "https://%s/"},
        dotenv={"PLACE": "https://evil.example"},
    ),
    "URL in .env": Host(dotenv={"RTCHAT_URL": "wss://%s/v1"}, by="RTCHAT_URL"),
    "URL in .env over the config": Host(
        dotenv={"RTCHAT_URL": "wss://%s/v1"}, config="wss://mine.example", by="RTCHAT_URL"
    ),
    "URL in .env over a profile": Host(
        dotenv={"RTCHAT_URL": "wss://%s/v1", "RTCHAT_PROFILE": "p"},
        profile="wss://mine.example",
        by="RTCHAT_URL",
    ),
    "base URL in .env": Host(dotenv={"OPENAI_BASE_URL": "https://%s/v1"}, by="OPENAI_BASE_URL"),
    "variable in .env": Host(
        options={"profile": "p"}, profile="{PLACE}/v1", dotenv={"PLACE": "https://%s"}, by="PLACE"
    ),
    "host in .env": Host(config="wss://{PLACE}/v1", dotenv={"PLACE": "%s"}, by="PLACE"),
    "port in .env": Host(config="wss://%s:{PORT}/v1", dotenv={"PORT": "80"}, by="PORT"),
    "end of the host in .env": Host(config="wss://%s{END}", dotenv={"END": "/v1"}, by="END"),
    "variable of a URL of the environment in .env": Host(
        environ={"RTCHAT_URL": "wss://{PLACE}/v1"}, dotenv={"PLACE": "%s"}, by="PLACE"
    ),
    "model in .env": Host(
        config="wss://{model}/v1", dotenv={"RTCHAT_MODEL": "%s"}, by="RTCHAT_MODEL"
    ),
}
_KEYS = (
    *("environment", "command", "kept", "config header", "option header", "session"),
    *("key header", "account", ".env"),
)
_ASKED_FOR = {"option header", "session", "key header"}
"""Those that somebody gave for this very thing: not to send them is an error."""


def _given(folder: Path, host: Host, name: str, key: str) -> Given:
    def filled(texts: Mapping[str, object]) -> dict[str, str]:
        return {key: str(text).replace("%s", name) for key, text in texts.items()}

    given = Given(
        folder,
        {**filled(host.options)},
        filled(host.environ),
        filled(host.dotenv),
    )
    about = _add_key(given, key, "p" if host.has_profile else "default")
    if host.config:
        given.config.append(f"url = '{host.config.replace('%s', name)}'")
    if host.has_profile:
        given.config.append("[profiles.p]")
        given.config.append(f"url = '{host.profile.replace('%s', name)}'")
        given.config.append("key_env = 'OPENAI_API_KEY'")
    given.config += about
    return given


def _add_key(given: Given, key: str, profile: str) -> list[str]:
    """Have a key come from there; gives what the config says of it."""
    script = f"open({str(given.folder / 'ran')!r}, 'w'); print({KEY!r})"
    match key:
        case "environment":
            given.environ["OPENAI_API_KEY"] = KEY
        case "command":
            command = shlex.join([sys.executable, "-c", script])
            return [f"api_key_command = {json.dumps(command)}"]
        case "kept":
            given.kept[profile] = KEY
        case "config header":
            return [f"headers = {{ X-Team = '{KEY}' }}"]
        case "option header":
            given.options["headers"] = [f"X-Api-Key: {KEY}"]
        case "key header":
            given.options["headers"] = [f"X-Mine: {KEY}"]
            return ["key_header = 'X-Mine: {key}'"]
        case "session":
            server = {"type": "mcp", "server_label": "a", "server_url": "https://a.example"}
            given.options["set"] = [f"tools={json.dumps([{**server, 'authorization': KEY}])}"]
        case "account":
            given.environ["OPENAI_ORG_ID"] = KEY
        case _:
            given.dotenv["OPENAI_API_KEY"] = OTHER_KEY
    return []


@pytest.mark.parametrize("name", ["host.example", "127.0.0.1", "localhost"])
@pytest.mark.parametrize("key", _KEYS)
@pytest.mark.parametrize("host", _HOSTS)
def test_a_key_goes_where_a_source_as_trusted_leads(
    tmp_path: Path, host: str, key: str, name: str
) -> None:
    row = _HOSTS[host]
    given = _given(tmp_path, row, name, key)
    found = given.resolve(needs_key=key in ("environment", "command", "kept"))
    lines = [line for line in found.warnings if "sets the address" in line]
    if not row.by:
        assert found.error == ""
        is_foreign = row.has_profile and key == "account"
        assert found.has(OTHER_KEY if key == ".env" else KEY) is not is_foreign
        assert len(lines) == (host == "profile chosen in .env")
        return
    assert not found.has(KEY)
    assert not (tmp_path / "ran").exists()
    if key == ".env":
        assert found.has(OTHER_KEY)
    if found.error:
        assert key in _ASKED_FOR or name == "host.example"
        assert f"because {row.by} in .env sets that host" in found.error
        assert "\nhint: use --url wss://" in found.error
        assert lines == []
        _is_sent_by_an_option(given)
        return
    assert key not in _ASKED_FOR
    assert key in ("account", "config header", ".env") or name != "host.example"
    assert found.settings is not None
    assert len(lines) == 1
    assert lines[0].startswith(f"{row.by} in .env sets the address to {found.settings.url}; ")
    assert any("the headers of" in line for line in found.warnings) is (key == "config header")


def _is_sent_by_an_option(given: Given) -> None:
    found = given.resolve()
    url = found.error.partition("use --url ")[2].partition(" ")[0]
    given.options["url"] = url
    again = given.resolve(needs_key=False)
    assert (again.error, again.has(KEY), again.warnings) == ("", True, [])


_SECRET = "s3cret-of-the-user"
_USERS: Sequence[tuple[Mapping[str, str], str, set[str]]] = (
    ({"OPENAI_API_KEY": _SECRET, "OPENAI_ORG_ID": _SECRET}, "", {"api.openai.com"}),
    (
        {"OPENAI_API_KEY": _SECRET, "OPENAI_BASE_URL": "https://mine.example"},
        f"headers = {{ X-Team = '{_SECRET}' }}",
        {"mine.example"},
    ),
    (
        {"AZURE_OPENAI_API_KEY": _SECRET, "XAI_API_KEY": _SECRET, "RTCHAT_PROFILE": "azure"},
        f"[profiles.p]\nurl = 'wss://mine.example/{{PART}}?key={_SECRET}'",
        {"mine.example", "api.x.ai"},
    ),
    (
        {"MY_KEY": _SECRET, "PLACE": "mine.example"},
        "url = 'wss://{PLACE}/{PART}'\nkey_env = 'MY_KEY'\nmodel = '{MY_KEY}'\n"
        f"session.tools = [{{type = 'mcp', server_label = 'a', server_url = 'https://a.example', "
        f"authorization = '{_SECRET}'}}]\n[profiles.p]\nurl = 'wss://{{HOST}}/?token={_SECRET}'",
        {"mine.example"},
    ),
)
"""What a user has in the environment and the config file, and where that may go."""
_EVIL = (
    *("evil.example", "//evil.example", "https://evil.example", "wss://evil.example/v1"),
    *("wss://mine.example@evil.example", "wss://evil.example/{MY_KEY}", "x{OPENAI_API_KEY}"),
    *("${OPENAI_API_KEY}", "${MY_KEY:-}", "{XAI_API_KEY}", "{model}", "{HOST}", "${HOST}"),
    *("wss://{HOST}", "wss://mine.example.{HOST}", "p", "xai", "azure", "@secret.txt", "on", "5"),
)


@hypothesis.settings(max_examples=400)
@hypothesis.given(
    user=st.sampled_from(_USERS),
    dotenv=st.dictionaries(
        st.sampled_from(
            [
                *_FROM_DOTENV,
                *("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "XAI_API_KEY", "MY_KEY"),
                *("OPENAI_API_KEY", "HOST", "PLACE", "PART"),
            ]
        ),
        st.sampled_from(_EVIL),
        max_size=5,
    ),
    needs_key=st.booleans(),
)
def test_whatever_a_dotenv_says_a_secret_stays_with_its_hosts(
    tmp_path_factory: pytest.TempPathFactory,
    user: tuple[Mapping[str, str], str, set[str]],
    dotenv: dict[str, str],
    needs_key: bool,
) -> None:
    environ, config, hosts = user
    folder = tmp_path_factory.mktemp("trust")
    everything = Given(folder, environ=dict(environ), dotenv=dotenv, config=[config])
    found = everything.resolve(needs_key=needs_key)
    assert _SECRET not in found.error + "".join(found.warnings)
    if found.settings is None:
        return
    assert (found.settings.trace, found.settings.ca_bundle) == (None, None)
    try:
        has_secret = found.has(_SECRET)
    except UsageError:  # what is no URL leads nowhere
        return
    assert not has_secret or urlsplit(found.settings.url).hostname in hosts


def test_the_error_names_where_the_key_comes_from(tmp_path: Path) -> None:
    host = _HOSTS["URL in .env"]
    names = {
        "environment": "the key from OPENAI_API_KEY",
        "command": f"the key from api_key_command of {tmp_path / 'config.toml'} line 1",
        "kept": "the key from a safe",
        "option header": "the key in --header",
        "session": "the key in the session options of --set",
    }
    for key, what in names.items():
        assert _given(tmp_path, host, "host.example", key).resolve().error == (
            f"{what} is not sent to wss://host.example/v1, because RTCHAT_URL in .env sets that"
            " host\nhint: use --url wss://host.example/v1 to allow it, or --no-env to ignore .env"
        )


@pytest.mark.parametrize(
    ("given", "url", "is_own"),
    [
        ({}, "wss://api.openai.com/v1/realtime", True),
        ({}, "wss://API.openai.com/v1/realtime?x=1", True),
        ({}, "ws://api.openai.com/v1/realtime", False),
        ({}, "wss://api.openai.com.evil.example/v1/realtime", False),
        ({}, "wss://api.openai.com:81/v1/realtime", False),
        ({"environ": {"OPENAI_BASE_URL": "https://a.example"}}, "wss://api.openai.com/v1", False),
        ({"config": ["url = 'wss://a.example/v1'"]}, "wss://api.openai.com/v1/realtime", False),
        ({"config": ["url = 'wss://a.example/v1'"]}, "wss://a.example/v2", True),
        ({"config": ["[profiles.p]"], "options": {"profile": "p"}}, "wss://api.openai.com", False),
        ({"config": ["url = 'wss://{model}/v1'"]}, "wss://{model}/v1", True),
        ({"config": ["url = 'wss://{PLACE}/v1'"]}, "wss://{PLACE}/v1", False),
    ],
)
def test_a_host_where_the_run_would_lead_anyway_gets_its_key(
    tmp_path: Path, given: Mapping[str, Any], url: str, is_own: bool
) -> None:
    """It is named by a source as trusted as the key's, too."""
    everything = Given(tmp_path, **given)
    everything.environ |= {"OPENAI_API_KEY": KEY, "PLACE": "mine.example"}
    everything.dotenv |= {"RTCHAT_URL": url, "PLACE": "evil.example"}
    found = everything.resolve()
    assert found.has(KEY) is is_own
    lines = [line for line in found.warnings if "sets the address" in line]
    assert (found.error == "", len(lines)) == (is_own, is_own)


def test_a_key_in_the_address_does_not_go_to_a_host_of_a_dotenv(tmp_path: Path) -> None:
    for url in (f"wss://{{PLACE}}/v1?api-key={KEY}", "wss://{PLACE}/{MY_KEY}"):
        given = Given(tmp_path, environ={"MY_KEY": KEY}, config=[f"url = '{url}'"])
        given.dotenv["PLACE"] = "127.0.0.1"
        found = given.resolve()
        assert (found.settings, KEY in found.error) == (None, False)
        given.environ["PLACE"] = "127.0.0.1"
        assert given.resolve().has(KEY)


def test_a_model_of_the_user_s_is_not_filled_for_a_host_of_a_dotenv(tmp_path: Path) -> None:
    given = Given(tmp_path, environ={"MY_KEY": KEY}, config=["model = 'x/{MY_KEY}'"])
    given.dotenv["RTCHAT_URL"] = "ws://127.0.0.1"
    assert given.resolve().error == (
        f"MY_KEY is not set, but the model of {tmp_path / 'config.toml'} line 1 needs it\n"
        "hint: set it in .env"
    )


def test_no_key_at_all_says_where_one_would_count(tmp_path: Path) -> None:
    given = Given(tmp_path, {"profile": "azure"}, dotenv={"AZURE_OPENAI_ENDPOINT": "https://a.b"})
    hint = "set AZURE_OPENAI_API_KEY in .env, use --local"
    assert given.resolve().error.startswith(f"there is no key\nhint: {hint}")


def test_the_embedded_model_is_no_host(tmp_path: Path) -> None:
    given = Given(tmp_path, {"local": True}, dotenv={"RTCHAT_URL": "wss://evil.example"})
    found = given.resolve()
    assert (found.error, found.warnings) == ("", [])


@pytest.mark.parametrize(
    ("dotenv", "is_asked"),
    [
        ({"RTCHAT_URL": "ws://127.0.0.1"}, True),
        ({"OPENAI_BASE_URL": "http://127.0.0.1"}, True),
        ({"RTCHAT_SYSTEM": "Call it."}, True),
        ({"RTCHAT_PROFILE": "mine"}, True),
        ({"RTCHAT_TIMEOUT": "5", "OPENAI_API_KEY": KEY}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("how", ["option", "config"])
def test_no_tool_runs_unasked_where_a_dotenv_decides_what_is_called(
    tmp_path: Path, dotenv: Mapping[str, str], is_asked: bool, how: str
) -> None:
    given = Given(tmp_path, dotenv=dict(dotenv), kept={"default": KEY, "mine": KEY})
    given.config = ["[profiles.mine]"]
    if how == "option":
        given.options["allow_tools"] = ["shell"]
    else:
        given.config = ["allow_tools = ['shell']", *given.config]
    found = given.resolve()
    assert found.settings is not None
    assert found.settings.allow_tools == (() if is_asked else ("shell",))
    assert any("allowed tools" in line for line in found.warnings) is is_asked


# ------------------------------------------------------------------------------- the program


def write(program: Program, *lines: str) -> None:
    (program.home / ".env").write_text("\n".join(lines) + "\n")


class Listener:
    """A server that replies with nothing, and keeps what it was told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def talk(self, client: ServerConnection) -> None:
        assert client.request is not None
        self.heard.append(f"{client.request.path} {list(client.request.headers.raw_items())}")
        session = {"type": "realtime", "id": "s"}
        await client.send(json.dumps({"type": "session.created", "session": session}))
        async for frame in client:
            self.heard.append(str(frame))
            kind = json.loads(frame)["type"]
            if kind == "session.update":
                await client.send(json.dumps({"type": "session.updated", "session": session}))
            if kind == "response.create":
                await client.send(done())

    def meet(
        self, program: Program, pattern: str, *arguments: str, environ: Mapping[str, str]
    ) -> Ran:
        """Run the program where a `.env` names this server; %s is the host and port."""
        with background(lambda: sockets(self.talk)) as url:
            write(program, pattern.replace("%s", url.removeprefix("ws://").partition("/")[0]))
            return program.run(*arguments, environ=environ)


def test_a_config_file_of_the_folder_runs_no_command(program: Program) -> None:
    write(program, "RTCHAT_CONFIG=evil.toml")
    (program.home / "evil.toml").write_text("""api_key_command = "sh -c 'id > PWNED'"\n""")
    for command in ("once hi", "doctor", "transcribe x.wav", "config show", "config edit"):
        ran = program.run(*command.split(), environ={"VISUAL": "true"})
        assert ran.err.splitlines()[:2] == [
            "rtchat: RTCHAT_CONFIG in .env is ignored, because it names a file",
            "hint: set it in the environment or with an option",
        ]
        assert not (program.home / "PWNED").exists()


@pytest.mark.parametrize("pattern", ["RTCHAT_URL=ws://%s/v1", "OPENAI_BASE_URL=http://%s/v1"])
@pytest.mark.parametrize("arguments", [("once", "hi"), ("talk",), ("doctor",)])
@pytest.mark.parametrize("source", ["environment", "kept", "command"])
def test_a_server_of_the_folder_gets_no_key(
    program: Program, pattern: str, arguments: Sequence[str], source: str
) -> None:
    environ = {"OPENAI_API_KEY": KEY} if source == "environment" else {}
    if source == "kept":
        program.run("keys", "set", stdin=KEY.encode())
    if source == "command":
        config = program.home / ".config" / "rtchat" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f"api_key_command = 'echo {KEY}'\n")
    listener = Listener()
    ran = listener.meet(program, pattern, *arguments, environ=environ)
    variable = pattern.partition("=")[0]
    assert KEY not in "".join(listener.heard) + ran.err + ran.text
    line = f"rtchat: {variable} in .env sets the address to ws://127.0.0.1:"
    assert len([text for text in ran.err.splitlines() if text.startswith(line)]) == 1


@pytest.mark.parametrize(
    "line", ["RTCHAT_URL=wss://evil.invalid", "OPENAI_BASE_URL=//evil.invalid"]
)
@pytest.mark.parametrize("arguments", [("once", "hi"), ("once", "-q", "hi"), ("doctor",)])
def test_a_host_far_away_is_refused_the_key(
    program: Program, line: str, arguments: Sequence[str]
) -> None:
    write(program, line)
    ran = program.run(*arguments, environ={"OPENAI_API_KEY": KEY})
    assert ran.code == 2
    assert ran.error.startswith("rtchat: the key from OPENAI_API_KEY is not sent to ")
    assert "evil.invalid" in ran.error


def test_a_folder_replaces_no_file(program: Program) -> None:
    victim = program.home / "victim.txt"
    victim.write_text("mine\n")
    write(program, "RTCHAT_TRACE=victim.txt")
    with background(lambda: run_server(EchoEngine())) as url:
        ran = program.run("once", "hi", "-q", "--url", url)
    assert (ran.code, ran.text, victim.read_text()) == (0, "hi\n", "mine\n")
    assert ran.error.startswith("rtchat: RTCHAT_TRACE in .env is ignored")


def test_a_folder_has_no_file_sent(program: Program) -> None:
    (program.home / "secret.txt").write_text(KEY)
    write(program, "RTCHAT_SYSTEM=@secret.txt")
    listener = Listener()
    with background(lambda: sockets(listener.talk)) as url:
        ran = program.run("once", "hi", "--url", url)
    assert any("session.update" in frame for frame in listener.heard)
    assert KEY not in "".join(listener.heard)
    line = "rtchat: RTCHAT_SYSTEM in .env is ignored"
    assert ran.err.splitlines()[0].startswith(line)


def test_the_python_api_reads_no_dotenv_and_no_key(program: Program) -> None:
    listener = Listener()
    code = (
        "import asyncio, sys, rtchat\n"
        "async def main():\n"
        "    async with rtchat.connect(url=sys.argv[1]) as rt: print((await anext(rt))['type'])\n"
        "asyncio.run(main())\n"
    )
    write(program, f"OPENAI_API_KEY={OTHER_KEY}", "RTCHAT_URL=wss://evil.invalid")
    with background(lambda: sockets(listener.talk)) as url:
        done = subprocess.run(
            [sys.executable, "-c", code, url],
            env=program.environ | {"OPENAI_API_KEY": KEY},
            cwd=program.home,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert (done.stdout, done.stderr) == ("session.created\n", "")
    assert len(listener.heard) == 1
    assert "authorization" not in listener.heard[0].lower()


def _a_folder(path: Path) -> None:
    path.mkdir()


def _a_pipe(path: Path) -> None:
    os.mkfifo(path)


def _a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _a_loop(path: Path) -> None:
    path.symlink_to(path.name)


def _of_windows(path: Path) -> None:
    path.write_text("RTCHAT_MODEL=x\n", encoding="utf-16")


def _in_latin_1(path: Path) -> None:
    path.write_bytes(b"RTCHAT_MODEL=caf\xe9\n")


def _too_large(path: Path) -> None:
    path.write_text("#" * 2**20 + "\nRTCHAT_MODEL=x\n")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_a_folder, "it is not a regular file"),
        (_a_pipe, "it is not a regular file"),
        (_a_device, "it is not a regular file"),
        (_a_loop, "Too many levels of symbolic links"),
        (_of_windows, "it is not UTF-8 text"),
        (_in_latin_1, "it is not UTF-8 text"),
        (_too_large, "it is too large"),
    ],
)
def test_a_dotenv_that_cannot_be_used_is_a_warning(
    program: Program, make: object, why: str
) -> None:
    assert callable(make)
    make(program.home / ".env")
    with background(lambda: run_server(EchoEngine())) as url:
        ran = program.run("once", "hi", "--url", url, "-q")
        assert (ran.code, ran.text) == (0, "hi\n")
        assert ran.error == f"rtchat: .env is ignored ({why})"
        assert program.run("once", "hi", "--url", url, "-q", "--no-env").err == ""


def test_lines_of_a_dotenv_that_are_none_are_a_warning(program: Program) -> None:
    write(program, "# mine", "model: x", "RTCHAT_URL = 'open", "RTCHAT_MODEL=m", "export A B")
    ran = program.run("config", "show")
    assert ran.code == 0
    assert ran.error == "rtchat: .env line 2 and 2 more ignored (expected NAME=value)"
    assert "RTCHAT_MODEL in .env" in ran.text
    write(program, "model: x")
    ran = program.run("config", "show")
    assert ran.error == "rtchat: .env line 1 ignored (expected NAME=value)"


@pytest.mark.parametrize(
    "command",
    [
        *("once hi", "talk", "transcribe x.wav", "translate x.wav --to es", "doctor"),
        *("config show", "config path", "config profiles", "config edit"),
    ],
)
def test_a_dotenv_can_be_left_out(program: Program, command: str) -> None:
    write(program, "RTCHAT_CONFIG=evil.toml", "RTCHAT_TIMEOUT=soon")
    environ = {"VISUAL": "true"}
    assert ".env" in program.run(*command.split(), environ=environ).err
    assert ".env is" not in program.run(*command.split(), "--no-env", environ=environ).err
    off = program.run(*command.split(), environ=environ | {"RTCHAT_DOTENV": "off"})
    assert "ignored" not in off.err
    on = program.run(*command.split(), environ=environ | {"RTCHAT_DOTENV": "on"})
    assert "RTCHAT_CONFIG in .env is ignored" in on.err
    bad = program.run(*command.split(), environ=environ | {"RTCHAT_DOTENV": "no"})
    assert "'no' for RTCHAT_DOTENV" in bad.err
    assert bad.code == 2


def test_a_value_of_a_dotenv_that_will_not_do_says_where_it_is(program: Program) -> None:
    write(program, "RTCHAT_TIMEOUT=soon")
    ran = program.run("once", "hi")
    assert (ran.code, "RTCHAT_TIMEOUT in .env" in ran.error) == (2, True)


def test_the_key_of_a_dotenv_goes_to_its_host(program: Program) -> None:
    with background(lambda: run_server(EchoEngine(), api_key=OTHER_KEY)) as url:
        write(program, f"RTCHAT_URL={url}", f"OPENAI_API_KEY={OTHER_KEY}")
        ran = program.run("once", "hi", "-q", environ={"OPENAI_API_KEY": KEY})
    assert (ran.code, ran.text) == (0, "hi\n")
