"""Where a run connects to, and which keys and headers may be sent there.

A key is sent to a host only if the source of the host is trusted at least as much as the source of
the key. Options, the environment, the config file and the stored keys belong to the user, and the
built-in profiles are trusted as well; the `.env` of the working directory is not. So a host set in
`.env` receives no key, and nothing that may contain a key, except from `.env` itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias
from urllib.parse import quote, urlsplit, urlunsplit

from rtchat.client.endpoint import (
    is_realtime_path,
    names_a_key,
    realtime_url,
    shown_url,
)
from rtchat.config import variables
from rtchat.config.parsers import header_value
from rtchat.config.settings import API_KEY_COMMAND, PROFILE, Settings
from rtchat.config.sources import DotenvOrigin, Sources
from rtchat.config.table import Setting, Values
from rtchat.core.errors import UsageError
from rtchat.system.network import is_loopback

DEFAULT_PROFILE = "default"
"""The name under which the key for runs without a profile is stored."""

Stored: TypeAlias = Callable[[str], tuple[str, str] | None]
"""Returns the stored key of a profile and where it is stored, or None."""

_PLACEHOLDER = r"\{([A-Z][A-Z0-9_]*)\}"
_ACCOUNT = {
    "OpenAI-Organization": variables.ORGANIZATION,
    "OpenAI-Project": variables.PROJECT,
    "OpenAI-Safety-Identifier": variables.SAFETY_IDENTIFIER,
}


class NoKeyError(UsageError):
    """There is no key for a server that requires one.

    `profile` is the name under which a key can be stored; empty if a stored key would not be sent
    there. `variables` are those that may contain the key.
    """

    def __init__(
        self, hint: str, profile: str, variables: tuple[str, ...], *, is_openai: bool
    ) -> None:
        super().__init__("there is no key", hint=hint)
        self.profile = profile
        self.variables = variables
        self.is_openai = is_openai


class _OwnHost(DotenvOrigin):
    """The origin of an address whose host would be the same without `.env`."""

    __slots__ = ()


def host_origin(values: Values) -> DotenvOrigin | None:
    """The variable in `.env` that sets the host; None if the user sets it, or nothing is sent."""
    if values[Settings.local]:
        return None
    origin = values.origin(Settings.url)
    if isinstance(origin, DotenvOrigin) and not isinstance(origin, _OwnHost):
        return origin
    return None


# ------------------------------------------------------------------------------------- the address


def add_base_url(values: Values, sources: Sources) -> None:
    """Use `OPENAI_BASE_URL`, as other OpenAI programs do, if no other address is given."""
    base = sources.get(variables.BASE_URL)
    if Settings.url in values or not base:
        return
    origin = sources.origin(variables.BASE_URL.name)
    try:
        url = realtime_url(base)
    except ValueError:  # its message may quote a password
        message = f"invalid value {shown_url(base)!r} for {origin} (expected a URL)"
        raise UsageError(message, hint="write it as https://host/v1") from None
    values.set(Settings.url, url, origin)


def fill(values: Values, sources: Sources) -> None:
    """Replace the placeholders in the URL and in the model by the values of the variables.

    If `.env` sets the value, or the host, only variables of `.env` are used: others may contain a
    key.
    """
    if Settings.url in values:
        _fill_url(values, sources)
    if Settings.model in values:
        _fill_model(values, sources)


def _fill_model(values: Values, sources: Sources) -> None:
    origin = values.origin(Settings.model)
    only_dotenv = isinstance(origin, DotenvOrigin) or host_origin(values) is not None
    model = values[Settings.model]
    model = _filled(Settings.model, model, origin, sources, only_dotenv=only_dotenv)
    values.set(Settings.model, model, origin)
    url = values[Settings.url]
    if "{model}" in _head(url) and only_dotenv:
        url = url.replace("{model}", quote(model, safe=""))
        values.set(Settings.url, url, values.origin(Settings.url))


def _fill_url(values: Values, sources: Sources) -> None:
    url, named_by = values[Settings.url], values.origin(Settings.url)
    origin = named_by
    if not isinstance(origin, DotenvOrigin) and (variable := _host_variable(url, values, sources)):
        origin = variable
        values.set(Settings.url, url, origin)
        if shown_url(url) != url:
            raise _refusal(f"the key in the URL of {named_by}", values)
    only_dotenv = isinstance(origin, DotenvOrigin)
    filled = _filled(Settings.url, url, named_by, sources, only_dotenv=only_dotenv)
    if filled != url:
        filled = re.sub("^http(s?)://", r"ws\1://", filled)
    values.set(Settings.url, filled, origin)


def own_url(values: Values, profile: str, sources: Sources) -> str:
    """The address that would be used without `.env`; empty if it is not known."""
    if profile or (Settings.url not in values and sources.is_outer(variables.BASE_URL.name)):
        return ""
    return values[Settings.url]


def trust_own_host(values: Values, own: str) -> None:
    """Trust a `.env` that sets the same host as would be used without it."""
    origin = host_origin(values)
    url = values[Settings.url]
    if origin is not None and own and _host(own) == _host(url):
        values.set(Settings.url, url, _OwnHost(origin))


def _host(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.scheme, parts.netloc.lower()


def _head(url: str) -> str:
    """The part of a URL before the path, which determines the host."""
    found = re.match(r"([^/?#]*//)?[^/?#]*", url)
    return found[0] if found else ""


def _host_variable(url: str, values: Values, sources: Sources) -> DotenvOrigin | None:
    """The variable in `.env` that would become part of the host."""
    head = _head(url)
    origins = [sources.origin(name) for name in re.findall(_PLACEHOLDER, head)]
    if "{model}" in head:
        origins.append(values.origin(Settings.model))
    return next((origin for origin in origins if isinstance(origin, DotenvOrigin)), None)


def _filled(
    setting: Setting[str], text: str, origin: str, sources: Sources, *, only_dotenv: bool
) -> str:
    def variable(found: re.Match[str]) -> str:
        content = sources.find(found[1], only_dotenv=only_dotenv)
        if not content:
            place = "in .env" if only_dotenv else "in the environment or in .env"
            message = f"{found[1]} is not set, but the {setting.name} of {origin} needs it"
            raise UsageError(message, hint=f"set it {place}")
        return content.rstrip("/")

    address = re.match(_PLACEHOLDER, text)
    if setting is not Settings.url or address is None:
        return re.sub(_PLACEHOLDER, variable, text)
    return _joined(variable(address), re.sub(_PLACEHOLDER, variable, text[address.end() :]))


def _joined(address: str, rest: str) -> str:
    """The URL of a profile: the user's address, and the path and query that follow it. The address
    may contain a part of that path, or be the complete URL."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address + rest  # reported elsewhere
    if is_realtime_path(parts.path):
        return realtime_url(address)
    _, _, path = rest.partition("/")
    before, repeated, _ = f"{parts.path}/".partition(f"/{path.partition('/')[0]}/")
    if not (path and repeated):
        return address + rest
    return urlunsplit(parts._replace(path=before, query="", fragment="")) + rest


# ------------------------------------------------------------------------------- what is sent there


def set_headers(values: Values, sources: Sources, *, is_foreign: bool) -> None:
    """Add the headers of the OpenAI account, unless the profile is for another vendor. If `.env`
    sets the host, omit the headers that the host must not receive."""
    by_dotenv = host_origin(values) is not None
    if by_dotenv:
        _leave_out_headers(values, sources)
    if is_foreign:
        return
    account = tuple(
        (name, header_value(text, origin), origin)
        for name, variable in _ACCOUNT.items()
        if (origin := sources.origin(variable.name))
        and (text := sources.get(variable))
        and (isinstance(origin, DotenvOrigin) or not by_dotenv)
    )
    if account:
        own = values[Settings.headers]
        origins = [*(origin for *_, origin in account), values.origin(Settings.headers)]
        both = (*((name, text) for name, text, _ in account), *own)
        values.set(Settings.headers, both, ", ".join(filter(None, origins)))


def _leave_out_headers(values: Values, sources: Sources) -> None:
    """Omit the headers of the config file. Raise UsageError if an option contains a key."""
    headers, origin = values[Settings.headers], values.origin(Settings.headers)
    if headers and origin != Settings.headers.option:
        values.remove(Settings.headers)
        sources.warn(f"the headers of {origin} are not sent to a host that .env sets")
    elif any(_carries_key(name, values) for name, _ in headers):
        raise _refusal(f"the key in {Settings.headers.option}", values)
    for setting in (Settings.session, Settings.response):
        if _has_key(values[setting]):
            what = f"the key in the {setting.name} options of {values.origin(setting)}"
            raise _refusal(what, values)


def _carries_key(name: str, values: Values) -> bool:
    key_header, _, _ = values[Settings.key_header].partition(":")
    return names_a_key(name) or name.lower() == key_header.lower()


def _has_key(value: object) -> bool:
    """Whether an option, such as a remote MCP server among the tools, contains a key."""
    if isinstance(value, Mapping):
        return any(
            _has_key(inner) or (isinstance(inner, str) and names_a_key(str(name)))
            for name, inner in value.items()
        )
    return isinstance(value, list) and any(map(_has_key, value))


def ask_before_tools(values: Values, sources: Sources) -> None:
    """Ask before every tool call if `.env` sets the server, the profile or the instructions."""
    origins = (host_origin(values), values.origin(Settings.system), values.origin(PROFILE))
    cause = next((origin for origin in origins if isinstance(origin, DotenvOrigin)), None)
    if cause is not None and Settings.allow_tools in values:
        values.remove(Settings.allow_tools)
        sources.warn(f"allowed tools still need your approval because of {cause}")


# --------------------------------------------------------------------------------------------- keys


def find_key(
    values: Values, sources: Sources, stored: Stored | None, *, needs_key: bool
) -> tuple[str, str]:
    """The key of a run and where it comes from; both empty without one.

    Raises:
        UsageError: the run needs a key, and there is none that may be sent to this host.
    """
    by_dotenv = host_origin(values)
    names = values[Settings.key_env]
    for variable in names:
        origin = sources.origin(variable, only_dotenv=by_dotenv is not None)
        text = sources.find(variable, only_dotenv=by_dotenv is not None)
        if key := header_value(text, origin):
            return key, origin
    if values[Settings.local]:
        return "", ""
    if by_dotenv is None:
        key, origin = _stored_key(values, stored)
        if key:
            return key, origin
    if not needs_key:
        return "", ""
    if by_dotenv and _is_remote(values):
        _refuse_own_key(values, stored, sources)
    if _wants_key(values):
        raise _no_key(values)
    return "", ""


def key_hint(values: Values, origin: str) -> str:
    """What to do if the server refuses the key from this origin or, without one, requires a key."""
    if origin.partition(" ")[0] in values[Settings.key_env] or origin == _command_origin(values):
        return f"check {origin}"
    if origin:
        return f"run `{_store_command(values)}` to replace the key in {origin}"
    if any(_carries_key(name, values) for name, _ in values[Settings.headers]):
        return f"check the key in {values.origin(Settings.headers)}"
    if shown_url(values[Settings.url]) != values[Settings.url]:
        return f"check the key in the URL of {values.origin(Settings.url)}"
    return ", or ".join(_ways_to_give_key(values))


def _no_key(values: Values) -> NoKeyError:
    others = ("use --local for the built-in model", "or use --url for another server")
    hint = ", ".join([*_ways_to_give_key(values), *others])
    profile = "" if host_origin(values) else values[PROFILE] or DEFAULT_PROFILE
    is_openai = values[Settings.url] == Settings.url.default
    return NoKeyError(hint, profile, values[Settings.key_env], is_openai=is_openai)


def _ways_to_give_key(values: Values) -> list[str]:
    names, by_dotenv = values[Settings.key_env], host_origin(values)
    place = "in .env" if by_dotenv else "in the environment or in .env"
    ways = [f"set {' or '.join(names)} {place}"] if names else []
    return ways if by_dotenv else [*ways, f"run `{_store_command(values)}` to store one"]


def _store_command(values: Values) -> str:
    return f"rtchat keys set {values[PROFILE]}".rstrip()


def _stored_key(values: Values, stored: Stored | None) -> tuple[str, str]:
    """The key from a password manager or the key store, and its origin; both empty without one."""
    if API_KEY_COMMAND in values:
        from rtchat.config.keys import run_key_command

        command = values[API_KEY_COMMAND]
        key = header_value(run_key_command(command), "the key of api_key_command")
        return key, _command_origin(values)
    key, origin = (stored and stored(values[PROFILE] or DEFAULT_PROFILE)) or ("", "")
    return header_value(key, f"the key in {origin}"), origin


def _command_origin(values: Values) -> str:
    return f"api_key_command of {values.origin(API_KEY_COMMAND)}"


def _refuse_own_key(values: Values, stored: Stored | None, sources: Sources) -> None:
    """Raise UsageError if the user has a key for this run. `api_key_command` is not run."""
    names = values[Settings.key_env]
    owner = next(filter(sources.find, names), "")  # in the environment, as `.env` has none
    if not owner and API_KEY_COMMAND in values:
        owner = _command_origin(values)
    elif not owner:
        _, owner = _stored_key(values, stored)
    if owner:
        raise _refusal(f"the key from {owner}", values)


def _wants_key(values: Values) -> bool:
    """Whether the server is known to require a key."""
    if Settings.url not in values:
        return True
    is_key_named = Settings.key_env in values and bool(values[Settings.key_env])
    return is_key_named and _is_remote(values)


def _is_remote(values: Values) -> bool:
    try:
        return not is_loopback(urlsplit(values[Settings.url]).hostname)
    except ValueError:
        return False  # reported elsewhere


def _refusal(what: str, values: Values) -> UsageError:
    url, origin = shown_url(values[Settings.url]), values.origin(Settings.url)
    return UsageError(
        f"{what} is not sent to {url}, because {origin} sets that host",
        hint=f"use --url {url} to allow it, or --no-env to ignore .env",
    )


def warn_of_profile(values: Values, sources: Sources) -> None:
    """Warn that `.env` chose the profile that sets the address."""
    origin = values.origin(PROFILE)
    is_told_elsewhere = isinstance(values.origin(Settings.url), DotenvOrigin)
    if isinstance(origin, DotenvOrigin) and not is_told_elsewhere:
        url = shown_url(values[Settings.url])
        sources.warn(f"{origin} sets the address to {url} (profile {values[PROFILE]})")


def warn_of_host(values: Values, sources: Sources) -> None:
    """Warn that `.env` set the address."""
    origin = values.origin(Settings.url)
    if isinstance(origin, DotenvOrigin) and not values[Settings.local]:
        message = f"{origin} sets the address to {shown_url(values[Settings.url])}"
        if isinstance(origin, _OwnHost):
            sources.warn(message)
        else:
            hint = "use --url to send your own keys there"
            sources.warn(f"{message}; your own keys are not sent there", hint)
