"""The settings of a run, and where each comes from.

`resolve` puts together what was given: an option outranks the environment, that the `.env` of the
working directory, that the profile, that the config file, that the default. It is handed all of
them as mappings: only `cli` reads argv and the environment. Not here: what one value may look like
(`parsing`), where keys are kept (`keys`), what a setting does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Literal, TypeAlias, cast
from urllib.parse import urlsplit, urlunsplit

from rtchat.endpoint import shown_url
from rtchat.errors import UsageError
from rtchat.parsing import Headers, header_value, parse, read_text
from rtchat.values import OPENAI_URL, Dialect, value

Render = Literal["auto", "always", "never"]
Color = Literal["auto", "always", "never"]


class Secret:
    """A key. It shows itself to nobody; `reveal` is for the handshake."""

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """The key itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(set)" if self._text else "Secret()"


@value
class Settings:
    """What a run was told. Times are seconds.

    What is keyword-only tells where that came from, and is no part of a comparison.
    """

    model: str = "gpt-realtime-2.1"
    url: str = OPENAI_URL
    dialect: Literal["auto", "ga", "beta"] = "auto"
    system: str | None = None
    max_output_tokens: int | Literal["inf"] | None = None
    connect_timeout: float = 10.0
    timeout: float = 60.0
    headers: tuple[tuple[str, str], ...] = ()
    render: Render = "auto"
    color: Color = "auto"
    history: bool = True
    trace: Path | None = None
    trace_audio: bool = False
    ca_bundle: Path | None = None
    insecure: bool = False
    local: bool = False
    quiet: bool = False
    verbose: bool = False
    key: Secret = field(default_factory=Secret)
    origins: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Of each setting above, where its value comes from, in words; of `key` only if there is
    one."""
    dotenv: Path | None = field(default=None, kw_only=True)
    """The `.env` that was read."""

    def __repr__(self) -> str:
        return f"Settings({self.model!r})"  # a header, and even the URL, may hold a key

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Of every setting; the key is none."""
        return tuple(name for name in cls.__match_args__ if name != "key")

    @property
    def forced_dialect(self) -> Dialect | None:
        """The dialect, unless it is to be found out."""
        return None if self.dialect == "auto" else Dialect(self.dialect)


ENVIRONMENT = {
    "model": "RTCHAT_MODEL",
    "url": "RTCHAT_URL",
    "dialect": "RTCHAT_DIALECT",
    "system": "RTCHAT_SYSTEM",
    "max_output_tokens": "RTCHAT_MAX_OUTPUT_TOKENS",
    "connect_timeout": "RTCHAT_CONNECT_TIMEOUT",
    "timeout": "RTCHAT_TIMEOUT",
    "render": "RTCHAT_RENDER",
    "history": "RTCHAT_HISTORY",
    "trace": "RTCHAT_TRACE",
    "ca_bundle": "RTCHAT_CA_BUNDLE",
}
"""The settings that the environment, or `.env`, can give, and their names there."""

DEFAULT_PROFILE = "default"
"""The name of the key that is kept for runs without a profile."""

_CONFIG_ONLY = ("headers", "color", "insecure", "local", "api_key_command")
_CONFIG_KEYS = frozenset({*ENVIRONMENT, *_CONFIG_ONLY})

_Given: TypeAlias = tuple[object, str]
"""A value, and where it comes from."""

Stored: TypeAlias = Callable[[str], tuple[str, str] | None]
"""The key kept for a profile, and where; None if there is none."""


def resolve(
    options: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    dotenv: Path | None = None,
    config: Path | None = None,
    stored: Stored | None = None,
    needs_key: bool = True,
) -> Settings:
    """The settings of a run. An option that was not given is absent, or None.

    `dotenv` and `config` are files that may be missing; `RTCHAT_CONFIG` names one that may not.
    `stored` is asked for a key only if nothing else gives one.

    Raises:
        UsageError: something given cannot be read or cannot work; the message names where it
        stands.
    """
    outer = _Outer(environ, dotenv)
    values, profile = _values(options, outer, config)
    command = values.pop("api_key_command", None)
    is_local = "local" in values and values["local"][0] is True
    secret, source = _environment_key(outer)
    if not (secret or is_local):
        secret, source = _kept_key(profile, command, stored)
    if needs_key and not (secret or is_local or "url" in values):
        raise UsageError("no key", hint=_NO_KEY.format(f" {profile}" if profile else ""))
    origins = dict.fromkeys(Settings.names(), "the default")
    origins |= {key: origin for key, (_, origin) in values.items()}
    if secret:
        origins["key"] = source
    return Settings(
        **{key: parsed for key, (parsed, _) in values.items()},  # type: ignore[arg-type] # each was parsed
        key=Secret(secret),
        origins=origins,
        dotenv=outer.dotenv,
    )


_NO_KEY = (
    "set OPENAI_API_KEY (in the environment or in .env), keep one with rtchat keys set{}, "
    "or use --local"
)


def _values(
    options: Mapping[str, object], outer: _Outer, config: Path | None
) -> tuple[dict[str, _Given], str]:
    """All that was given but the key, and the name of the profile, if any."""
    named = outer.get("RTCHAT_CONFIG")
    common, profiles = _read_config(Path(named) if named else config, required=bool(named))
    given = {key: value for key, value in options.items() if value is not None}
    profile = str(given.pop("profile", "") or outer.get("RTCHAT_PROFILE"))

    values = dict(common)
    if profile:
        values |= _profile(profile, profiles)
    for key, variable in ENVIRONMENT.items():
        if text := outer.get(variable):
            values[key] = (parse(key, text, variable), outer.origin(variable))
    for key, given_value in given.items():
        option = _OPTIONS.get(key, "--" + key.replace("_", "-"))
        values[key] = (parse(key, given_value, option), option)
    if "url" not in values and outer.get("OPENAI_BASE_URL"):
        values["url"] = _base_url(outer)
    if account := _account(outer):
        headers, origin = values.get("headers", ((), ""))
        origins = [outer.origin(_ACCOUNT[name]) for name, _ in account]
        joined = (*account, *cast("Headers", headers))
        values["headers"] = (joined, ", ".join(filter(None, (*origins, origin))))
    return values, profile


def config_path(environ: Mapping[str, str], *, dotenv: Path | None, usual: Path) -> Path:
    """The config file that counts, whether or not it is there."""
    named = _Outer(environ, dotenv).get("RTCHAT_CONFIG")
    return Path(named) if named else usual


def check_config(path: Path) -> None:
    """Raise a UsageError that names the line if a config file cannot work."""
    _read_config(path, required=True)


class _Outer:
    """The environment and, behind it, the `.env`."""

    def __init__(self, environ: Mapping[str, str], dotenv: Path | None) -> None:
        self._environ = environ
        self.dotenv = dotenv.absolute() if dotenv is not None and dotenv.exists() else None
        self._file = _read_dotenv(self.dotenv)

    def get(self, variable: str) -> str:
        """What a variable says; nothing if it is empty or not set."""
        return self._environ.get(variable) or self._file.get(variable, "")

    def origin(self, variable: str) -> str:
        """Where it says so."""
        return variable if self._environ.get(variable) else f"{variable} in .env"


_OPTIONS = {"headers": "--header", "history": "--no-history"}
_ACCOUNT = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}


def _account(outer: _Outer) -> Headers:
    return tuple(
        (name, header_value(outer.get(variable), variable))
        for name, variable in _ACCOUNT.items()
        if outer.get(variable)
    )


def _base_url(outer: _Outer) -> _Given:
    base = outer.get("OPENAI_BASE_URL")
    try:
        parts = urlsplit(base)
    except ValueError:  # which may quote a password
        message = f"OPENAI_BASE_URL: {shown_url(base)!r} is not a URL"
        raise UsageError(message, hint="write it as https://host/v1") from None
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    url = urlunsplit(parts._replace(scheme=scheme, path=parts.path.rstrip("/") + "/realtime"))
    return url, outer.origin("OPENAI_BASE_URL")


# --------------------------------------------------------------------------------------------- keys


def _environment_key(outer: _Outer) -> tuple[str, str]:
    variable = "OPENAI_API_KEY"
    return header_value(outer.get(variable), variable), outer.origin(variable)


def _kept_key(profile: str, command: _Given | None, stored: Stored | None) -> tuple[str, str]:
    """The key that a command gives, else the one that is kept; none, if there is neither."""
    if command is not None:
        from rtchat.keys import ask

        words, origin = command
        key = ask(cast("tuple[str, ...]", words))
        return header_value(key, "the key of api_key_command"), f"api_key_command of {origin}"
    key, origin = (stored and stored(profile or DEFAULT_PROFILE)) or ("", "")
    return header_value(key, f"the key in {origin}"), origin


# ------------------------------------------------------------------------------------------- files


def _read_dotenv(path: Path | None) -> dict[str, str]:
    if path is None or not path.exists():
        return {}
    text = read_text(path, ".env")
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    for binding in parse_stream(StringIO(text)):
        if binding.error:
            raise UsageError(
                f".env line {binding.original.line} cannot be read",
                hint="write NAME=value on a line",
            )
    return {key: value for key, value in dotenv_values(stream=StringIO(text)).items() if value}


def _read_config(
    path: Path | None, *, required: bool
) -> tuple[dict[str, _Given], dict[str, dict[str, _Given]]]:
    if path is None or not (required or path.exists()):
        return {}, {}
    import tomllib

    text = read_text(path, str(path))
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML ({error})", hint="mend or remove it") from error
    profiles = data.pop("profiles", {})
    file = _ConfigFile(path, text)
    if not isinstance(profiles, dict):
        raise UsageError(
            f"{file.place('', 'profiles')}: profiles are tables", hint="[profiles.NAME]"
        )
    for name, table in profiles.items():
        if not isinstance(table, dict):
            where = file.place("profiles", name)
            raise UsageError(f"{where}: a profile is a table", hint=f"[profiles.{name}]")
    return file.read(data, ""), {
        name: file.read(table, f"profiles.{name}") for name, table in profiles.items()
    }


@dataclass(frozen=True)
class _ConfigFile:
    path: Path
    text: str

    def read(self, table: Mapping[str, object], name: str) -> dict[str, _Given]:
        _, _, profile = name.partition(".")
        out: dict[str, _Given] = {}
        for key, entry in table.items():
            place = self.place(name, key)
            if key not in _CONFIG_KEYS:
                known = ", ".join(sorted(_CONFIG_KEYS))
                raise UsageError(f"{place}: no setting {key!r}", hint=f"the settings are {known}")
            origin = f"profile {profile} in {place}" if profile else place
            out[key] = (parse(key, entry, place), origin)
        return out

    def place(self, table: str, key: str) -> str:
        """The file and the line where a key of a table stands."""
        current = ""
        for number, line in enumerate(self.text.split("\n"), start=1):
            if header := re.match(r"\s*\[+\s*([^]]*?)\s*\]", line):
                current = header[1].replace('"', "")
                if f"{current}.".startswith(f"{table}.{key}.".lstrip(".")):
                    return f"{self.path} line {number}"
            elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
                return f"{self.path} line {number}"
        parent, _, name = table.rpartition(".")  # else it is inside of something on one line
        return self.place(parent, name) if table else str(self.path)


def _profile(name: str, profiles: Mapping[str, dict[str, _Given]]) -> dict[str, _Given]:
    if name in profiles:
        return profiles[name]
    known = f"there are {', '.join(sorted(profiles))}" if profiles else "the config file has none"
    raise UsageError(f"no profile {name!r}", hint=known)
