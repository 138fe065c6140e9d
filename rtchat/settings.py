"""The settings of a run, and where each comes from.

`resolve` puts together what was given: an option outranks the environment, that the `.env` of the
working directory, that the profile, that the config file, that the default. It is handed all of
them as mappings: only `cli` reads argv and the environment. Not here: what a setting does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit, urlunsplit

from rtchat.errors import UsageError
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
    """What a run was told. Times are seconds."""

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
    trace: Path | None = None
    insecure: bool = False
    local: bool = False
    quiet: bool = False
    verbose: bool = False
    key: Secret = field(default_factory=Secret)

    def __repr__(self) -> str:
        return f"Settings({self.url!r}, {self.model!r})"  # a header may hold a key

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
    "trace": "RTCHAT_TRACE",
}
"""The settings that the environment, or `.env`, can give, and their names there."""

_CONFIG_ONLY = ("headers", "color", "insecure", "local")
_CONFIG_KEYS = frozenset({*ENVIRONMENT, *_CONFIG_ONLY})


def resolve(
    options: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    dotenv: Path | None = None,
    config: Path | None = None,
) -> Settings:
    """The settings of a run. An option that was not given is absent, or None.

    `dotenv` and `config` are files that may be missing; `RTCHAT_CONFIG` names one that may not.

    Raises:
        UsageError: something given cannot be read or cannot work; the message names where it
        stands.
    """
    file_values = _read_dotenv(dotenv)
    outer = {**file_values, **{key: value for key, value in environ.items() if value}}
    named = outer.get("RTCHAT_CONFIG")
    common, profiles = _read_config(Path(named) if named else config, required=bool(named))
    given = {key: value for key, value in options.items() if value is not None}

    values: dict[str, object] = dict(common)
    profile = given.pop("profile", None) or outer.get("RTCHAT_PROFILE")
    if profile:
        values |= _profile(str(profile), profiles)
    for key, variable in ENVIRONMENT.items():
        if outer.get(variable):
            values[key] = _parse(key, outer[variable], variable)
    for key, given_value in given.items():
        option = "header" if key == "headers" else key.replace("_", "-")
        values[key] = _parse(key, given_value, f"--{option}")
    if "url" not in values and outer.get("OPENAI_BASE_URL"):
        values["url"] = _from_base_url(outer["OPENAI_BASE_URL"])
    values["headers"] = (*_account_headers(outer), *cast("_Headers", values.get("headers", ())))
    secret = Secret(_header_value(outer, "OPENAI_API_KEY"))
    settings = Settings(**values, key=secret)  # type: ignore[arg-type] # each was parsed
    if not (settings.key or settings.local or "url" in values):
        raise UsageError(
            "no key", hint="set OPENAI_API_KEY (in the environment or in .env), or use --local"
        )
    return settings


_Headers = tuple[tuple[str, str], ...]


def _account_headers(outer: Mapping[str, str]) -> _Headers:
    names = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
    return tuple((name, _header_value(outer, key)) for name, key in names.items() if outer.get(key))


def _header_value(outer: Mapping[str, str], variable: str) -> str:
    text = outer.get(variable, "").strip()
    if not (text.isascii() and text.isprintable()):
        hint = "set it again, without line breaks and quotation marks"
        raise UsageError(f"{variable} has characters that no HTTP header can carry", hint=hint)
    return text


def _from_base_url(base: str) -> str:
    try:
        parts = urlsplit(base)
    except ValueError as error:
        hint = "write it as https://host/v1"
        raise UsageError(f"OPENAI_BASE_URL: {base!r} is not a URL", hint=hint) from error
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit(parts._replace(scheme=scheme, path=parts.path.rstrip("/") + "/realtime"))


# ------------------------------------------------------------------------------------------- files


def _read_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"{what} cannot be read ({error.strerror})", hint="mend or remove it"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} is not UTF-8 text", hint="mend or remove it") from error


def _read_dotenv(path: Path | None) -> dict[str, str]:
    if path is None or not path.exists():
        return {}
    text = _read_text(path, ".env")
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
) -> tuple[dict[str, object], dict[str, dict[str, object]]]:
    if path is None or not (required or path.exists()):
        return {}, {}
    import tomllib

    text = _read_text(path, str(path))
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

    def read(self, table: Mapping[str, object], name: str) -> dict[str, object]:
        out: dict[str, object] = {}
        for key, entry in table.items():
            place = self.place(name, key)
            if key not in _CONFIG_KEYS:
                known = ", ".join(sorted(_CONFIG_KEYS))
                raise UsageError(f"{place}: no setting {key!r}", hint=f"the settings are {known}")
            out[key] = _parse(key, entry, place)
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


def _profile(name: str, profiles: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
    if name in profiles:
        return profiles[name]
    known = f"there are {', '.join(sorted(profiles))}" if profiles else "the config file has none"
    raise UsageError(f"no profile {name!r}", hint=known)


# ------------------------------------------------------------------------------------------ values


def _parse(key: str, value: object, place: str) -> object:
    """A value as its setting wants it, whether it came as text or as a TOML value."""
    try:
        return _PARSERS[key](value)
    except (ValueError, TypeError) as error:
        shown = "this" if key == "headers" else repr(value)  # a header may hold a key
        raise UsageError(f"{place}: {shown} will not do", hint=str(error)) from None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("it must be text")
    return value


def _number(value: object) -> float:
    """A number, or text that is one; else NaN."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _seconds(value: object) -> float:
    seconds = _number(value)
    if not 0 < seconds < 1e6:
        raise ValueError("it must be a number of seconds, more than 0 and less than a million")
    return seconds


def _tokens(value: object) -> int | Literal["inf"]:
    if value == "inf":
        return "inf"
    tokens = _number(value)
    if not (1 <= tokens < 1e9 and tokens.is_integer()):
        raise ValueError('it must be a number of tokens, 1 or more, or "inf"')
    return int(tokens)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("it must be true or false")
    return value


def _choice(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError(f"it must be one of {', '.join(words)}")
        return str(value)

    return parse


def _instructions(value: object) -> str:
    text = _text(value)
    if not text.startswith("@"):
        return text
    if text == "@":
        raise ValueError("a file is written @FILE")
    return _read_text(Path(text[1:]), text[1:])


def _headers(value: object) -> _Headers:
    if isinstance(value, dict):
        pairs = [(str(name), content) for name, content in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [
            (name.strip(), content.strip()) for name, _, content in (_colon(line) for line in value)
        ]
    else:
        pairs = [("", value)]
    for name, content in pairs:
        if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name) or not _is_header_value(content):
            raise ValueError("a header is written 'Name: value'")
    return tuple(pairs)


def _colon(line: object) -> tuple[str, str, str]:
    return str(line).partition(":")


def _is_header_value(content: object) -> bool:
    return isinstance(content, str) and bool(content) and content.isprintable()


_PARSERS: dict[str, Callable[[object], object]] = {
    "model": _text,
    "url": _text,
    "dialect": _choice("auto", "ga", "beta"),
    "system": _instructions,
    "max_output_tokens": _tokens,
    "connect_timeout": _seconds,
    "timeout": _seconds,
    "headers": _headers,
    "render": _choice("auto", "always", "never"),
    "color": _choice("auto", "always", "never"),
    "trace": lambda value: Path(_text(value)),
    "insecure": _flag,
    "local": _flag,
    "quiet": _flag,
    "verbose": _flag,
}
