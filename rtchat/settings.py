"""The settings of a run, and where each comes from.

`resolve` puts together what was given: an option outranks the environment, that the `.env` of the
working directory, that the profile, that the config file, that the default. It is handed all of
them as mappings: only `cli` reads argv and the environment. Not here: what one value may look like
(`parsing`), the config file and profiles (`config`), where keys are kept (`keys`), what a setting
does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, cast
from urllib.parse import urlsplit, urlunsplit

from rtchat.dotted import merged
from rtchat.endpoint import BEARER, is_loopback, shown_url
from rtchat.errors import UsageError
from rtchat.parsing import Headers, header_value, parse, read_text
from rtchat.values import OPENAI_URL, Dialect, JsonObject, value

if TYPE_CHECKING:
    from rtchat.config import Given, Table
    from rtchat.prices import Rate

Render = Literal["auto", "always", "never"]
Color = Literal["auto", "always", "never"]
Vad = Literal["server", "semantic", "off"]


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
    dialect: Literal["auto", "ga", "beta", "qwen", "xai"] = "auto"
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
    voice: bool = False
    vad: Vad | None = None
    """Who ends a turn that is spoken; off is the user's own key, None what suits."""
    input_device: str | None = None
    """A number of `rtchat devices`, or part of a name."""
    output_device: str | None = None
    keep_audio: bool = False
    """History has the audio itself beside the words."""
    session: JsonObject = field(default_factory=dict)
    """Options of the session, in the shape of the API; see `wire.options`."""
    response: JsonObject = field(default_factory=dict)
    """Options of every reply."""
    max_cost: float | None = None
    """US dollars."""
    tools: tuple[Path, ...] = ()
    """Python files."""
    mcp: tuple[str, ...] = ()
    """The commands of MCP servers."""
    allow_tools: tuple[str, ...] = ()
    """The tools that run without anybody being asked."""
    max_tool_rounds: int = 10
    prices: Mapping[str, Rate] = field(default_factory=dict)
    key_env: tuple[str, ...] = ("OPENAI_API_KEY",)
    """The variables that may have the key."""
    key_header: str = BEARER
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
    "vad": "RTCHAT_VAD",
    "input_device": "RTCHAT_INPUT_DEVICE",
    "output_device": "RTCHAT_OUTPUT_DEVICE",
    "keep_audio": "RTCHAT_KEEP_AUDIO",
}
"""The settings that the environment, or `.env`, can give, and their names there."""

DEFAULT_PROFILE = "default"
"""The name of the key that is kept for runs without a profile."""

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
    variables = cast("tuple[str, ...]", values.get("key_env", (("OPENAI_API_KEY",), ""))[0])
    secret, source = _environment_key(outer, variables)
    if not (secret or is_local):
        secret, source = _kept_key(profile, command, stored)
    if needs_key and not (secret or is_local) and _wants_key(values):
        name = f" {profile}" if profile else ""
        way = f"set {' or '.join(variables)} (in the environment or in .env), " if variables else ""
        raise UsageError("no key", hint=f"{way}keep one with rtchat keys set{name}, or use --local")
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


def _values(options: Mapping[str, object], outer: _Outer, config: Path | None) -> tuple[Table, str]:
    """All that was given but the key, and the name of the profile, if any."""
    given = {key: value for key, value in options.items() if value is not None}
    profile = str(given.pop("profile", "") or outer.get("RTCHAT_PROFILE"))
    has_own_url = bool(given.get("url") or outer.get(ENVIRONMENT["url"]))
    values, is_foreign = _from_files(outer, config, profile, has_own_url=has_own_url)
    for key, variable in ENVIRONMENT.items():
        if text := outer.get(variable):
            values[key] = (parse(key, text, variable), outer.origin(variable))
    _set_options(values, given)
    for key, given_value in given.items():
        option = _OPTIONS.get(key, "--" + key.replace("_", "-"))
        values[key] = (parse(key, given_value, option), option)
    _check_options(values)
    if "url" not in values and outer.get("OPENAI_BASE_URL"):
        values["url"] = _base_url(outer)
    for key in values.keys() & {"url", "model"}:
        values[key] = _filled(key, values[key], outer)
    if not is_foreign and (account := _account(outer)):
        headers, origin = values.get("headers", ((), ""))
        origins = [outer.origin(_ACCOUNT[name]) for name, _ in account]
        joined = (*account, *cast("Headers", headers))
        values["headers"] = (joined, ", ".join(filter(None, (*origins, origin))))
    return values, profile


def _from_files(
    outer: _Outer, config: Path | None, profile: str, *, has_own_url: bool
) -> tuple[Table, bool]:
    """What the config file and a profile say, and whether the profile leads to another vendor, who
    is to be told nothing that is meant for OpenAI."""
    named = outer.get("RTCHAT_CONFIG")
    path = Path(named) if named else config
    if not (profile or named or (path is not None and path.exists())):
        return {}, False
    from rtchat.config import layered, read_config

    read = read_config(path, required=bool(named))
    if not profile:
        return dict(read.common), False
    above = read.profile(profile)
    common = read.common
    leads_on = "url" in above and not has_own_url
    is_foreign = leads_on and not re.match(_OPENAI, str(above["url"][0]))
    if is_foreign:
        common = {key: given for key, given in common.items() if key not in _ABOUT_KEYS}
        above = {"key_env": ((), "the default"), **above}
    return layered(common, above), is_foreign


_OPENAI = r"wss://([\w-]+\.)*openai\.com([:/?]|$)"
_ABOUT_KEYS = frozenset({"key_env", "key_header", "api_key_command", "headers"})
_PLACEHOLDER = r"\{([A-Z][A-Z0-9_]*)\}"


def _filled(key: str, given: Given, outer: _Outer) -> Given:
    """A URL or a model with the variables that it names."""
    text, origin = str(given[0]), given[1]

    def variable(found: re.Match[str]) -> str:
        content = outer.get(found[1])
        if not content:
            hint = f"the {key} of {origin} needs it, in the environment or in .env"
            raise UsageError(f"{found[1]} is not set", hint=hint)
        return content.rstrip("/")

    filled = re.sub(_PLACEHOLDER, variable, text)
    if key == "url" and filled != text:
        filled = re.sub("^http(s?)://", r"ws\1://", filled)
    return filled, origin


def _set_options(values: Table, given: dict[str, object]) -> None:
    """What --set and --reasoning say of the session and of replies."""
    lines = [str(line) for line in cast("Sequence[object]", given.pop("set", ()))]
    if "reasoning" in given:
        lines.append(f"reasoning.effort={given.pop('reasoning')}")
    if not lines:
        return
    from rtchat.wire import options

    for line in lines:
        name, sign, text = line.partition("=")
        if not (name and sign):
            raise UsageError(f"--set {name}: no value", hint="write it as --set KEY=VALUE")
        of, key = options.split(name.strip())
        if of == "session" and key in options.AT_THE_START:
            raise UsageError(f"--set {key}", hint=f"use {options.AT_THE_START[key]}")
        try:
            change = options.change(of, key, options.read_value(text))
        except options.OptionError as error:
            raise UsageError(f"--set {error}") from None
        before, origin = values.get(of, ({}, ""))
        origin = origin if origin.endswith("--set") else f"{origin}, --set".lstrip(", ")
        values[of] = (merged(cast("JsonObject", before), change), origin)


def _check_options(values: Table) -> None:
    """Whether the options fit together, wherever each of them comes from."""
    if not values.keys() & {"session", "response"}:
        return
    from rtchat.wire import options

    for of in ("session", "response"):
        fields, origin = values.get(of, ({}, ""))
        try:
            options.check(of, cast("JsonObject", fields))
        except options.OptionError as error:
            raise UsageError(f"{origin}: {error}") from None


def _wants_key(values: Table) -> bool:
    """Whether nothing can come of it without a key, as far as one can know of another server."""
    if "url" not in values:
        return True
    if not cast("tuple[str, ...]", values.get("key_env", ((), ""))[0]):
        return False
    try:
        return not is_loopback(urlsplit(str(values["url"][0])))
    except ValueError:
        return False  # which is another mistake


def config_path(environ: Mapping[str, str], *, dotenv: Path | None, usual: Path) -> Path:
    """The config file that counts, whether or not it is there."""
    named = _Outer(environ, dotenv).get("RTCHAT_CONFIG")
    return Path(named) if named else usual


def check_config(path: Path) -> None:
    """Raise a UsageError that names the line if a config file cannot work."""
    from rtchat.config import read_config

    read_config(path, required=True)


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
_ACCOUNT = {
    "OpenAI-Organization": "OPENAI_ORG_ID",
    "OpenAI-Project": "OPENAI_PROJECT_ID",
    "OpenAI-Safety-Identifier": "OPENAI_SAFETY_IDENTIFIER",
}


def _account(outer: _Outer) -> Headers:
    return tuple(
        (name, header_value(outer.get(variable), variable))
        for name, variable in _ACCOUNT.items()
        if outer.get(variable)
    )


def _base_url(outer: _Outer) -> Given:
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


def _environment_key(outer: _Outer, variables: Sequence[str]) -> tuple[str, str]:
    for variable in variables:
        if key := header_value(outer.get(variable), variable):
            return key, outer.origin(variable)
    return "", ""


def _kept_key(profile: str, command: Given | None, stored: Stored | None) -> tuple[str, str]:
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
