"""The settings of a run, and where each comes from.

`resolve` puts together what was given. Precedence: option > environment > `.env` of the working
directory > profile > config file > default. It is handed all of them as mappings: only `cli` reads
argv and the environment. `sources` decides what a `.env` may set, `destination` where a key may go,
`parsing` what a value may look like; `config` reads the config file and profiles, `keys` the kept
keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from rtchat.client.endpoint import BEARER, shown_url
from rtchat.config import destination
from rtchat.config.destination import Stored
from rtchat.config.parsers import parse
from rtchat.config.sources import DotenvOrigin, Sources, Tell
from rtchat.core.dotted_keys import merged
from rtchat.core.errors import UsageError
from rtchat.core.values import OPENAI_URL, Dialect, JsonObject, value
from rtchat.system.folders import why_unreachable

if TYPE_CHECKING:
    from rtchat.config.file import Table
    from rtchat.core.pricing import Rate

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
    max_tool_calls: int = 100
    """In one reply."""
    max_tool_bytes: int = 2_000_000
    """Of the calls and outputs of one turn."""
    max_reply_bytes: int = 4_000_000
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


def resolve(
    options: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    dotenv: Path | None = None,
    config: Path | None = None,
    stored: Stored | None = None,
    needs_key: bool = True,
    warn: Tell = lambda _: None,
    note: Tell = lambda _: None,
) -> Settings:
    """The settings of a run. An option that was not given is absent, or None.

    `dotenv` and `config` are files that may be missing; `RTCHAT_CONFIG` names one that may not.
    `stored` is asked for a key only if nothing else gives one. `warn` is told, once each, what of
    the `.env` is ignored and what follows from it, `note` what cannot be read.

    Raises:
        UsageError: something given cannot be read or cannot work; the message names where it
        stands.
    """
    sources = Sources(environ, dotenv, warn)
    values, profile = _values(options, sources, config, note)
    key, source = destination.find_key(values, profile, sources, stored, needs_key=needs_key)
    destination.tell_host(values, sources)
    origins = dict.fromkeys(Settings.names(), "the default")
    origins |= {key: origin for key, (_, origin) in values.items()}
    if key:
        origins["key"] = source
    return Settings(
        **{key: parsed for key, (parsed, _) in values.items()},  # type: ignore[arg-type] # each was parsed
        key=Secret(key),
        origins=origins,
        dotenv=sources.dotenv,
    )


def _values(
    options: Mapping[str, object], sources: Sources, config: Path | None, note: Tell
) -> tuple[Table, str]:
    """All that was given but the key, and the name of the profile, if any."""
    given = {key: value for key, value in options.items() if value is not None}
    profile = str(given.pop("profile", ""))
    profile_origin = "--profile"
    if not profile:
        profile, profile_origin = sources.get("RTCHAT_PROFILE"), sources.origin("RTCHAT_PROFILE")
    has_own_url = bool(given.get("url") or sources.get(ENVIRONMENT["url"]))
    values, is_foreign = _from_files(
        sources, config, note, profile, profile_origin, has_own_url=has_own_url
    )
    own_url = destination.own_url(values, profile, sources)
    for key, variable in ENVIRONMENT.items():
        if text := sources.get(variable):
            origin = sources.origin(variable)
            values[key] = (parse(key, text, origin), origin)
    _set_options(values, given)
    for key, given_value in given.items():
        option = _OPTIONS.get(key, "--" + key.replace("_", "-"))
        values[key] = (parse(key, given_value, option), option)
    _check_options(values)
    destination.add_base_url(values, sources)
    destination.fill(values, sources)
    destination.recognise(values, own_url)
    destination.set_headers(values, sources, is_foreign=is_foreign)
    destination.ask_before_tools(values, profile_origin, sources)
    return values, profile


def _from_files(
    sources: Sources,
    config: Path | None,
    note: Tell,
    profile: str,
    profile_origin: str,
    *,
    has_own_url: bool,
) -> tuple[Table, bool]:
    """What the config file and a profile say, and whether the profile leads to another vendor, who
    is to be told nothing that is meant for OpenAI."""
    named = sources.get("RTCHAT_CONFIG")
    path = Path(named) if named else config
    if path is not None and not named and (problem := why_unreachable(path)):
        note(problem)
        path = None
    if not (profile or named or (path is not None and path.exists())):
        return {}, False
    from rtchat.config.file import layered, read_config

    read = read_config(path, required=bool(named))
    if not profile:
        return dict(read.common), False
    above = read.profile(profile)
    common = read.common
    leads_on = "url" in above and not has_own_url
    if leads_on and isinstance(profile_origin, DotenvOrigin):
        shown = shown_url(str(above["url"][0]))
        sources.warn(f"{profile_origin} sets the address to {shown}, that of profile {profile}")
    is_foreign = leads_on and not re.match(_OPENAI, str(above["url"][0]))
    if is_foreign:
        common = {key: given for key, given in common.items() if key not in _ABOUT_KEYS}
        above = {"key_env": ((), "the default"), **above}
    return layered(common, above), is_foreign


_OPENAI = r"wss://([\w-]+\.)*openai\.com([:/?]|$)"
_ABOUT_KEYS = frozenset({"key_env", "key_header", "api_key_command", "headers"})


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


def config_path(
    environ: Mapping[str, str], *, dotenv: Path | None, usual: Path, warn: Tell = lambda _: None
) -> Path:
    """The config file that counts, whether or not it is there."""
    named = Sources(environ, dotenv, warn).get("RTCHAT_CONFIG")
    return Path(named) if named else usual


def check_config(path: Path) -> None:
    """Raise a UsageError that names the line if a config file cannot work."""
    from rtchat.config.file import read_config

    read_config(path, required=True)


_OPTIONS = {"headers": "--header", "history": "--no-history"}
