"""Where each setting comes from, and what is said about one that cannot work."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rtchat.client.transport import endpoint
from rtchat.config.resolve import resolve
from rtchat.config.settings import Secret, Settings, attributes, rows
from rtchat.core.errors import ExitCode, UsageError
from rtchat.core.values import Dialect
from tests.program import words_of

_KEY = "sk-very-secret"
_HAS_KEY = {"OPENAI_API_KEY": _KEY}
_DEFAULT = Settings(key=Secret(_KEY))


class Place:
    """A working directory and a config folder."""

    def __init__(self, folder: Path) -> None:
        self.dotenv = folder / ".env"
        self.config = folder / "config.toml"

    def resolve(
        self, options: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
    ) -> Settings:
        """The settings, with a key in the environment."""
        return resolve(
            options or {},
            _HAS_KEY | dict(environ or {}),
            dotenv=self.dotenv,
            config=self.config,
        )

    def refuse(
        self, options: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
    ) -> str:
        """What is said about settings that cannot work."""
        with pytest.raises(UsageError) as caught:
            self.resolve(options, environ)
        assert caught.value.exit is ExitCode.USAGE
        assert _KEY not in f"{caught.value!s} {caught.value!r} {caught.value.problem!r}"
        return words_of(caught.value)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# -------------------------------------------------------------------------------------- precedence


def test_without_anything_but_a_key_it_is_the_defaults(place: Place) -> None:
    assert place.resolve() == _DEFAULT
    assert resolve({}, _HAS_KEY) == _DEFAULT


_VALUES: dict[str, tuple[Sequence[str], Sequence[object]]] = {
    "model": (["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "e"]),
    "url": (
        [f"ws://localhost/{name}" for name in "abcde"],
        [f"ws://localhost/{name}" for name in "abcde"],
    ),
    "dialect": (["ga", "beta", "qwen", "xai", "ga"], ["ga", "beta", "qwen", "xai", "ga"]),
    "system": (["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "e"]),
    "max_output_tokens": (["1", "2", "inf", "4", "5"], [1, 2, "inf", 4, 5]),
    "context": (["1", "2", "3", "4", "5"], [1, 2, 3, 4, 5]),
    "image_detail": (["auto", "low", "high", "auto", "low"],) * 2,
    "connect_timeout": (["1", "2.5", "3", "4", "5"], [1.0, 2.5, 3.0, 4.0, 5.0]),
    "timeout": (["1", "2", "3", "4", "5"], [1.0, 2.0, 3.0, 4.0, 5.0]),
    "render": (["always", "never"] * 2 + ["always"], ["always", "never"] * 2 + ["always"]),
    "theme": (["dark", "light", "mono", "dark", "light"],) * 2,
    "trace": (["a", "b", "c", "d", "e"], [Path("a"), Path("b"), Path("c"), Path("d"), Path("e")]),
    "history": (["off", "on", "off", "on", "off"], [False, True, False, True, False]),
    "status": (["off", "on", "off", "on", "off"], [False, True, False, True, False]),
    "title": (["off", "on", "off", "on", "off"], [False, True, False, True, False]),
    "notify": (["off", "bell", "auto", "off", "bell"],) * 2,
    "editing_mode": (["vi", "emacs", "auto", "vi", "emacs"],) * 2,
    "ca_bundle": (["a", "b", "c", "d", "e"], [Path(name) for name in "abcde"]),
    "vad": (["off", "server"] * 2 + ["off"], ["off", "server"] * 2 + ["off"]),
    "aec": (["off", "on", "off", "on", "off"], [False, True, False, True, False]),
    "input_device": (["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "e"]),
    "output_device": (["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "e"]),
    "language": (["de", "EN", "fra", "es", "pt"], ["de", "en", "fra", "es", "pt"]),
    "translate_to": (["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "e"]),
    "keep_audio": (["on", "off", "on", "off", "on"], [True, False, True, False, True]),
}
"""Of each setting: as text for the option, environment, .env, profile and config, and as read."""


_NOT_OF_DOTENV = {"trace", "ca_bundle"}


_ROWS = {row.name: row for row in attributes()}
_VARIABLES = {row.name: row.variable.name for row in attributes() if row.variable is not None}


def test_every_variable_is_tried() -> None:
    assert _VALUES.keys() == _VARIABLES.keys()


@pytest.mark.parametrize("key", _VALUES)
@pytest.mark.parametrize("first", range(6))
def test_the_first_that_says_something_is_heard(place: Place, key: str, first: int) -> None:
    texts, values = _VALUES[key]
    variable = _VARIABLES[key]
    options = {key: texts[0], "profile": "p"} if first <= 0 else {key: None, "profile": "p"}
    environ = {variable: texts[1]} if first <= 1 else {variable: ""}
    place.dotenv.write_text(f"{variable}={texts[2]}\n" if first <= 2 else f"{variable}=\n")
    profile = f'{key} = "{texts[3]}"\n' if first <= 3 else ""
    common = f'{key} = "{texts[4]}"\n' if first <= 4 else ""
    place.config.write_text(f"{common}[profiles.p]\n{profile}[profiles.q]\nmodel = 'q'\n")
    default = getattr(_DEFAULT, key)
    if first == 2 and key in _NOT_OF_DOTENV:
        first = 3
    expected = [*values, default][first]
    settings = place.resolve(options, environ)
    has_no_key = key == "url" and first == 2
    is_another_vendor_s = key == "url" and first == 3
    given = replace(_DEFAULT, key=Secret(), key_env=()) if is_another_vendor_s else _DEFAULT
    if has_no_key:
        given = replace(given, key=Secret())
    assert settings == replace(given, **{key: expected})
    line = 3 if common else 2
    file = f"profile p in {place.config} line {line}", f"{place.config} line 1"
    origins = (_ROWS[key].option, variable, f"{variable} in .env", *file, "default")
    assert settings.origins[key] == origins[first]


def test_toml_has_numbers_tables_and_truths(place: Place) -> None:
    place.config.write_text(
        "max_output_tokens = 5\ntimeout = 1.5\nconnect_timeout = 2\n"
        'insecure = true\nlocal = true\ncolor = "never"\nheaders = {X-One = "1"}\n'
    )
    assert place.resolve() == replace(
        _DEFAULT,
        max_output_tokens=5,
        timeout=1.5,
        connect_timeout=2.0,
        insecure=True,
        local=True,
        color="never",
        headers=(("X-One", "1"),),
    )


def test_options_that_are_only_options(place: Place) -> None:
    options = {
        "headers": ["X-One: 1", "X-Two:2 : 3"],
        "color": "always",
        "quiet": True,
        "verbose": True,
        "insecure": True,
        "local": True,
    }
    assert place.resolve(options) == replace(
        _DEFAULT,
        headers=(("X-One", "1"), ("X-Two", "2 : 3")),
        color="always",
        quiet=True,
        verbose=True,
        insecure=True,
        local=True,
    )


def test_the_account_goes_into_headers(place: Place) -> None:
    environ = {"OPENAI_ORG_ID": "org", "OPENAI_PROJECT_ID": "proj"}
    headers = (("OpenAI-Organization", "org"), ("OpenAI-Project", "proj"), ("X-One", "1"))
    assert place.resolve({"headers": ["X-One: 1"]}, environ) == replace(_DEFAULT, headers=headers)


@pytest.mark.parametrize(
    ("dialect", "forced"), [("auto", None), ("ga", Dialect.GA), ("beta", Dialect.BETA)]
)
def test_a_dialect_may_be_forced(place: Place, dialect: str, forced: Dialect | None) -> None:
    assert place.resolve({"dialect": dialect}).forced_dialect is forced


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.openai.com/v1", "wss://api.openai.com/v1/realtime"),
        ("https://eu.api.openai.com/v1/", "wss://eu.api.openai.com/v1/realtime"),
        ("http://127.0.0.1:4010/v1", "ws://127.0.0.1:4010/v1/realtime"),
        ("http://[::1]:4010", "ws://[::1]:4010/realtime"),
        ("wss://host/openai/v1?x=1", "wss://host/openai/v1/realtime?x=1"),
    ],
)
def test_the_address_may_be_that_of_other_openai_programs(
    place: Place, base: str, url: str
) -> None:
    environ = {"OPENAI_BASE_URL": base}
    assert place.resolve({}, environ) == replace(_DEFAULT, url=url)
    assert place.resolve({"url": "ws://b"}, environ) == replace(_DEFAULT, url="ws://b")
    place.config.write_text('url = "ws://c"')
    assert place.resolve({}, environ) == replace(_DEFAULT, url="ws://c")


def test_a_bad_base_address_is_named(place: Place) -> None:
    message = (
        "invalid value 'http://[x' for OPENAI_BASE_URL (expected a URL)\n"
        "hint: write it as https://host/v1"
    )
    assert place.refuse({}, {"OPENAI_BASE_URL": "http://[x"}) == message
    message = message.replace("//", "//[key]@", 1)
    assert place.refuse({}, {"OPENAI_BASE_URL": "http://me:hunter2@[x"}) == message
    assert place.resolve({"url": "ws://b"}, {"OPENAI_BASE_URL": "http://[x"}).url == "ws://b"


def test_the_config_file_may_be_elsewhere(place: Place, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('model = "other"')
    place.config.write_text('model = "usual"')
    assert place.resolve() == replace(_DEFAULT, model="usual")
    environ = {"RTCHAT_CONFIG": str(other)}
    assert place.resolve({}, environ) == replace(_DEFAULT, model="other")


@pytest.mark.parametrize("how", ["option", "environment", "dotenv"])
def test_a_profile_may_be_chosen(place: Place, how: str) -> None:
    place.config.write_text('model = "m"\n[profiles.work]\nurl = "wss://work"\n')
    if how == "dotenv":
        place.dotenv.write_text("RTCHAT_PROFILE=work")
    options = {"profile": "work"} if how == "option" else {}
    environ = {"RTCHAT_PROFILE": "work" if how == "environment" else ""}
    assert place.resolve(options, environ) == Settings(model="m", url="wss://work", key_env=())


# --------------------------------------------------------------------------------------------- keys


def test_dotenv_gives_what_the_environment_does_not(place: Place) -> None:
    place.dotenv.write_text("OPENAI_API_KEY=sk-file\nRTCHAT_MODEL=file\n")
    given = {"OPENAI_API_KEY": "", "RTCHAT_MODEL": "outer"}
    settings = resolve({}, given, dotenv=place.dotenv)
    assert settings == Settings(model="outer", key=Secret("sk-file"))
    assert given == {"OPENAI_API_KEY": "", "RTCHAT_MODEL": "outer"}
    assert place.resolve() == replace(_DEFAULT, model="file")


def test_a_key_shows_itself_to_nobody(place: Place) -> None:
    settings = place.resolve({"headers": [f"X-Key: {_KEY}"]})
    where = endpoint(settings.model, url=settings.url, api_key=settings.key.reveal())
    for thing in (settings, settings.key, where):
        assert _KEY not in f"{thing!r} {thing!s}"
    assert settings.key.reveal() == _KEY
    assert (repr(Secret(_KEY)), repr(Secret())) == ("Secret(set)", "Secret()")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"


@pytest.mark.parametrize(("profile", "command"), [("", "keys set"), ("p", "keys set p")])
def test_no_key_names_the_ways_out(place: Place, profile: str, command: str) -> None:
    place.config.write_text("[profiles.p]")
    with pytest.raises(UsageError) as caught:
        resolve({"profile": profile or None}, {"OPENAI_API_KEY": " "}, config=place.config)
    assert caught.value.message == "there is no key"
    for way in ("OPENAI_API_KEY", f"`rtchat {command}`", "--local"):
        assert way in caught.value.hint
    settings = resolve({}, {}, needs_key=False)
    assert (settings.key, settings.origins.get("key")) == (Secret(), None)


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        ({"local": True}, {}),
        ({"url": "ws://127.0.0.1/"}, {}),
        ({}, {"RTCHAT_URL": "ws://127.0.0.1/"}),
        ({}, {"OPENAI_BASE_URL": "http://127.0.0.1/v1"}),
    ],
)
def test_another_server_may_need_none(
    options: Mapping[str, object], environ: Mapping[str, str]
) -> None:
    assert not resolve(options, environ).key


@pytest.mark.parametrize("bad", [f"{_KEY}\nX-Evil: 1", f"“{_KEY}”", f"{_KEY}\x00"])
def test_a_key_that_no_header_can_carry(place: Place, bad: str) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        message = f"{name} contains characters that are not allowed in an HTTP header\n"
        assert place.refuse({}, {name: bad}).startswith(message)
    assert place.resolve({}, {"OPENAI_API_KEY": f" {_KEY}\r\n"}) == _DEFAULT


class Kept:
    """Keys that are kept, and which were asked for."""

    def __init__(self, **keys: str) -> None:
        self._keys = keys
        self.asked: list[str] = []

    def __call__(self, profile: str) -> tuple[str, str] | None:
        self.asked.append(profile)
        return (self._keys[profile], "a safe") if profile in self._keys else None


def command_that_prints(folder: Path, text: str, code: int = 0) -> str:
    """A password manager."""
    script = folder / "manager.py"
    script.write_text(f"import sys\nsys.stdout.write({text!r})\nsys.exit({code})\n")
    return shlex.join([sys.executable, str(script)])


@pytest.mark.parametrize("first", range(6))
def test_the_first_that_has_a_key_is_heard(place: Place, tmp_path: Path, first: int) -> None:
    environ = {"OPENAI_API_KEY": "sk-outer" if first <= 0 else ""}
    place.dotenv.write_text("OPENAI_API_KEY=sk-dotenv\n" if first <= 1 else "")
    command = f"api_key_command = {command_that_prints(tmp_path, 'sk-command')!r}\n"
    place.config.write_text(
        f"{command if first == 3 else ''}[profiles.p]\n{command if first <= 2 else ''}"
    )
    kept = Kept(p="sk-kept", default="sk-default") if first <= 4 else Kept(default="sk-default")
    settings = resolve(
        {"profile": "p"},
        environ,
        dotenv=place.dotenv,
        config=place.config,
        stored=kept,
        needs_key=False,
    )
    assert (settings.key.reveal(), settings.origins.get("key")) == [
        ("sk-outer", "OPENAI_API_KEY"),
        ("sk-dotenv", "OPENAI_API_KEY in .env"),
        ("sk-command", f"api_key_command of profile p in {place.config} line 2"),
        ("sk-command", f"api_key_command of {place.config} line 1"),
        ("sk-kept", "a safe"),
        ("", None),
    ][first]
    assert kept.asked == (["p"] if first >= 4 else [])


def test_without_a_profile_there_is_a_key_too() -> None:
    kept = Kept(default="sk-default")
    settings = resolve({}, {}, stored=kept)
    assert settings == Settings(key=Secret("sk-default"))
    assert resolve({"url": "ws://127.0.0.1/"}, {}, stored=kept).key == Secret("sk-default")
    assert not resolve({"url": "ws://127.0.0.1/"}, {}, stored=Kept()).key


def test_the_embedded_model_needs_no_key_from_anywhere(place: Place) -> None:
    place.config.write_text('api_key_command = "false"')
    kept = Kept(default="sk-default")
    settings = resolve({"local": True}, {}, config=place.config, stored=kept)
    assert (settings, kept.asked) == (Settings(local=True), [])


def test_a_kept_key_that_no_header_can_carry(place: Place, tmp_path: Path) -> None:
    words = "contains characters that are not allowed in an HTTP header"
    with pytest.raises(UsageError, match=f"^the key in a safe {words}"):
        resolve({}, {}, stored=Kept(default="“sk”"))
    place.config.write_text(f"api_key_command = {command_that_prints(tmp_path, '“sk”')!r}")
    with pytest.raises(UsageError, match=f"^the key of api_key_command {words}"):
        resolve({}, {}, config=place.config)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("api_key_command = ''", "text"),
        ("api_key_command = ['hunter2']", "text"),
        ("api_key_command = ' '", "a command"),
        ('api_key_command = "hunter2 \'open"', "no closing quotation"),
    ],
)
def test_a_command_that_is_none_is_not_shown(place: Place, line: str, expected: str) -> None:
    place.config.write_text(line)
    message = place.refuse()
    assert message.startswith(f"{place.config} line 1: ")
    assert "api_key_command" in message
    assert expected in message
    assert "hunter2" not in message


def test_a_command_comes_from_the_config_file_alone(place: Place) -> None:
    place.dotenv.write_text("RTCHAT_API_KEY_COMMAND=false\napi_key_command=false\n")
    environ = {"RTCHAT_API_KEY_COMMAND": "false", "API_KEY_COMMAND": "false"}
    settings = resolve({"url": "ws://127.0.0.1/"}, environ, dotenv=place.dotenv)
    assert settings == Settings(url="ws://127.0.0.1/")


# ------------------------------------------------------------------------------------------ origins


def test_every_setting_says_where_it_comes_from(place: Place) -> None:
    place.dotenv.write_text("RTCHAT_MODEL=m\nOPENAI_ORG_ID=org\n")
    place.config.write_text("insecure = true\n[profiles.p]\nrender = 'never'\nheaders = {X = '1'}")
    environ = {"OPENAI_PROJECT_ID": "proj", "OPENAI_BASE_URL": "http://a"}
    settings = place.resolve({"timeout": "5", "profile": "p"}, environ)
    assert settings.origins == dict.fromkeys(_ROWS, "default") | {
        "model": "RTCHAT_MODEL in .env",
        "url": "OPENAI_BASE_URL",
        "timeout": "--timeout",
        "render": f"profile p in {place.config} line 3",
        "headers": f"OPENAI_ORG_ID in .env, OPENAI_PROJECT_ID, profile p in {place.config} line 4",
        "insecure": f"{place.config} line 1",
        "key": "OPENAI_API_KEY",
    }
    assert settings.dotenv == place.dotenv
    assert place.resolve({"headers": ["X: 2"]}).origins["headers"].endswith(".env, --header")


def test_a_dotenv_that_is_not_there_was_not_read(place: Place) -> None:
    assert place.resolve().dotenv is None


# -------------------------------------------------------------------------------- what cannot work

_SECONDS = "a number of seconds"
_TOKENS = "a number of tokens"


@pytest.mark.parametrize(
    ("key", "bad", "expected"),
    [
        ("dialect", "gamma", "one of auto, ga, beta, qwen, xai"),
        ("render", "sometimes", "one of auto, always, never"),
        ("max_output_tokens", "0", _TOKENS),
        ("context", "0", _TOKENS),
        ("context", "inf", _TOKENS),
        ("max_output_tokens", "-1", _TOKENS),
        ("max_output_tokens", "many", _TOKENS),
        ("max_output_tokens", "1.5", _TOKENS),
        ("max_output_tokens", "9" * 5000, _TOKENS),
        ("timeout", "0", _SECONDS),
        ("timeout", "nan", _SECONDS),
        ("timeout", "inf", _SECONDS),
        ("timeout", "soon", _SECONDS),
        ("connect_timeout", "-1", _SECONDS),
        ("system", "@", "@FILE"),
    ],
)
def test_a_value_that_is_not_valid(place: Place, key: str, bad: str, expected: str) -> None:
    """The message names the value, what is expected, and where the value is."""
    variable = _VARIABLES[key]
    place.config.write_text(f'\n{key} = "{bad}"')
    for message, where in (
        (place.refuse({key: bad}), f"--{key.replace('_', '-')}"),
        (place.refuse({}, {variable: bad}), variable),
        (place.refuse(), f"{place.config} line 2"),
    ):
        assert where in message
        assert repr(bad) in message
        assert expected in message


@pytest.mark.parametrize(
    ("line", "shown", "expected"),
    [
        ("model = 5", "5", "text"),
        ('model = ""', "''", "text"),
        ('trace = "a\\u0000b"', r"'a\x00b'", "text"),
        ("timeout = true", "True", _SECONDS),
        ("timeout = []", "[]", _SECONDS),
        ("max_output_tokens = true", "True", _TOKENS),
        ("max_output_tokens = 1.5", "1.5", _TOKENS),
        ("dialect = ['ga']", "['ga']", "one of auto, ga, beta, qwen, xai"),
        ('insecure = "yes"', "'yes'", "on or off"),
        ('history = "maybe"', "'maybe'", "on or off"),
        ("color = 1", "1", "one of auto, always, never"),
        ("headers = {X = 5}", "", "'Name: value'"),
        ("headers = 'X: 1'", "", "'Name: value'"),
    ],
)
def test_a_toml_value_that_is_not_valid(place: Place, line: str, shown: str, expected: str) -> None:
    place.config.write_text(f"# mine\n[profiles.p]\n{line}\n")
    message = place.refuse()
    assert message.startswith(f"{place.config} line 3: ")
    assert line.partition(" ")[0] in message
    assert shown in message
    assert expected in message


@pytest.mark.parametrize("bad", [f"{_KEY}", f"X:{_KEY}\n", f"X Y: {_KEY}", f": {_KEY}", "X:"])
def test_a_bad_header_is_not_shown_as_it_may_hold_a_key(place: Place, bad: str) -> None:
    if bad.endswith("\n"):
        bad += "Y: 1"
    message = place.refuse({"headers": ["A: 1", bad]})
    assert "--header" in message
    assert "'Name: value'" in message


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ('modle = "x"', 1, "modle"),
        ('# one\n\nmodel = "x"\n  key = "sk"', 4, "key"),
        ('model = "x"\n[profiles.a]\nurl = "ws://a"\n[profiles.b]\nmodle = "x"', 5, "modle"),
        ('[profiles.a]\nmodel = "modle = 5"\n[profiles."b c"]\n"modle" = 5', 4, "modle"),
        ("[profile.a]\nmodel = 'x'", 1, "profile"),
        ("model = 'x'\n[profiles.a.deep]\nx = 1", 2, "deep"),
        ("[profiles]\na = {modle = 'x'}", 2, "modle"),
        ("\nprofiles.a.modle = 'x'", 2, "modle"),
    ],
)
def test_an_unknown_key_names_its_line(place: Place, text: str, line: int, key: str) -> None:
    place.config.write_text(text)
    assert place.refuse().startswith(f"{place.config} line {line}: unknown setting {key!r}\nhint: ")


def test_an_unknown_key_in_disguise_names_the_file(place: Place) -> None:
    place.config.write_text('"mod\\u006ce" = 5')
    assert place.refuse().startswith(f"{place.config}: unknown setting 'modle'\nhint: ")


def test_an_unknown_key_names_the_nearest_or_all(place: Place) -> None:
    place.config.write_text("modle = 5")
    assert place.refuse().endswith("did you mean model?")
    place.config.write_text("x = 5")
    message = place.refuse()
    assert all(row.name in message for row in rows() if row.in_file)
    assert "trace_audio" not in message


def test_profiles_are_tables(place: Place) -> None:
    place.config.write_text("model = 'x'\nprofiles = 5")
    assert place.refuse() == (
        f"{place.config} line 2: profiles must be tables\nhint: write each as [profiles.NAME]"
    )
    place.config.write_text("[profiles]\na = 5")
    assert place.refuse() == (
        f"{place.config} line 2: a profile must be a table\nhint: write it as [profiles.a]"
    )


def test_an_unknown_profile_names_the_nearest(place: Place) -> None:
    assert place.refuse({"profile": "xia"}) == "unknown profile 'xia'\nhint: did you mean xai?"
    place.config.write_text("[profiles.work]\n[profiles.home]\n")
    assert place.refuse({"profile": "wrok"}) == "unknown profile 'wrok'\nhint: did you mean work?"
    message = "unknown profile '7'\nhint: run `rtchat config profiles` to list the profiles"
    assert place.refuse({"profile": "7"}) == message
    assert place.refuse({}, {"RTCHAT_PROFILE": "7"}) == message


_REPAIR = "hint: repair or remove the file"


def test_a_config_file_that_cannot_be_read(place: Place, tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    message = f"file not found: {missing}\nhint: check the file name"
    assert place.refuse({}, {"RTCHAT_CONFIG": str(missing)}) == message
    place.config.write_bytes(b"model = '\xff'")
    assert place.refuse().startswith(f"{place.config} is not UTF-8 text\nhint: save it as UTF-8")
    place.config.write_text("model = ")
    assert place.refuse() == (
        f"{place.config} is not TOML (Invalid value (at end of document))\n{_REPAIR}"
    )
    place.config.unlink()
    place.config.mkdir()
    assert place.refuse().startswith(f"{place.config} cannot be read (Is a directory)\n")


def test_a_dotenv_that_leads_nowhere(place: Place, tmp_path: Path) -> None:
    place.dotenv.symlink_to(tmp_path / "nowhere")
    assert place.resolve() == _DEFAULT
    assert place.resolve().dotenv is None


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
def test_instructions_without_end_are_refused(place: Place) -> None:
    assert (
        place.refuse({"system": "@/dev/zero"}) == "/dev/zero is too large\nhint: use a smaller file"
    )


def test_instructions_from_a_file(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "system.txt"
    file.write_text("Be brief.\nÄ\n", encoding="utf-8")
    assert place.resolve({"system": f"@{file}"}) == replace(_DEFAULT, system="Be brief.\nÄ\n")
    file.write_bytes(b"\xff")
    refused = place.refuse({"system": f"@{file}"})
    assert refused.startswith(f"{file} is not UTF-8 text\nhint: save it as UTF-8")
    file.unlink()
    message = f"file not found: {file}\nhint: check the file name"
    assert place.refuse({"system": f"@{file}"}) == message
    assert place.refuse({}, {"RTCHAT_SYSTEM": f"@{file}"}) == message


def test_a_byte_order_mark_is_no_text(place: Place, tmp_path: Path) -> None:
    mark = "\ufeff"
    place.dotenv.write_text(f"{mark}RTCHAT_MODEL=m\n", encoding="utf-8")
    place.config.write_text(f'{mark}timeout = 5\r\n[profiles.a]\r\nmodel = "x"', encoding="utf-8")
    (tmp_path / "s").write_text(f"{mark}Be brief.", encoding="utf-8")
    expected = replace(_DEFAULT, model="m", timeout=5.0, system="Be brief.")
    assert place.resolve({"system": f"@{tmp_path / 's'}"}) == expected
