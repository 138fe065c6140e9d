"""Where a run connects to, and which keys and headers may be sent there.

A key goes only to a host that a source at least as trusted as the key's has named. Options, the
environment, the config file and kept keys are all the user's own, and so is what comes with rtchat;
the `.env` of the working directory is not. So a host that `.env` names gets no key, nor anything
that may contain one, except from `.env` itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias, cast
from urllib.parse import quote, urlsplit, urlunsplit

from rtchat.client.endpoint import BEARER, names_a_key, shown_url
from rtchat.config.parsers import Headers, header_value
from rtchat.config.sources import DotenvOrigin, Sources
from rtchat.core.errors import UsageError
from rtchat.core.values import OPENAI_URL
from rtchat.system.network import is_loopback

if TYPE_CHECKING:
    from rtchat.config.file import Given, Table

DEFAULT_PROFILE = "default"
"""The name of the key that is kept for runs without a profile."""

Stored: TypeAlias = Callable[[str], tuple[str, str] | None]
"""Returns the key kept for a profile and where it is kept, or None."""

_PLACEHOLDER = r"\{([A-Z][A-Z0-9_]*)\}"
_ACCOUNT = {
    "OpenAI-Organization": "OPENAI_ORG_ID",
    "OpenAI-Project": "OPENAI_PROJECT_ID",
    "OpenAI-Safety-Identifier": "OPENAI_SAFETY_IDENTIFIER",
}


class _OwnHost(DotenvOrigin):
    """The origin of an address whose host would be the same without `.env`."""

    __slots__ = ()


def host_origin(values: Table) -> DotenvOrigin | None:
    """The variable of `.env` that names the host; None if the user does, or nothing is sent."""
    if _is_local(values) or "url" not in values:
        return None
    origin = values["url"][1]
    if isinstance(origin, DotenvOrigin) and not isinstance(origin, _OwnHost):
        return origin
    return None


def _is_local(values: Table) -> bool:
    return "local" in values and values["local"][0] is True


# ------------------------------------------------------------------------------------- the address


def add_base_url(values: Table, sources: Sources) -> None:
    """Use `OPENAI_BASE_URL`, as other OpenAI programs do, if no other address is given."""
    base = sources.get("OPENAI_BASE_URL")
    if "url" in values or not base:
        return
    origin = sources.origin("OPENAI_BASE_URL")
    try:
        parts = urlsplit(base)
    except ValueError:  # which may quote a password
        message = f"{origin}: {shown_url(base)!r} is not a URL"
        raise UsageError(message, hint="write it as https://host/v1") from None
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    url = urlunsplit(parts._replace(scheme=scheme, path=parts.path.rstrip("/") + "/realtime"))
    values["url"] = url, origin


def fill(values: Table, sources: Sources) -> None:
    """Replace the placeholders in the URL and the model by the variables that they name.

    What `.env` gives, or gives the host of, is filled from `.env` alone: anything else could be a
    key.
    """
    if "url" in values:
        url, origin = str(values["url"][0]), values["url"][1]
        culprit = _host_variable(url, values, sources)
        if culprit and not isinstance(origin, DotenvOrigin):
            values["url"] = url, culprit
            if shown_url(url) != url:
                raise _refusal(f"the key in the URL of {origin}", values)
        only_dotenv = isinstance(values["url"][1], DotenvOrigin)
        filled = _filled("url", (url, origin), sources, only_dotenv=only_dotenv)
        if filled != url:
            filled = re.sub("^http(s?)://", r"ws\1://", filled)
        values["url"] = filled, values["url"][1]
    if "model" in values:
        model, origin = values["model"]
        only_dotenv = isinstance(origin, DotenvOrigin) or host_origin(values) is not None
        filled = _filled("model", (model, origin), sources, only_dotenv=only_dotenv)
        values["model"] = filled, origin
        if "{model}" in _head(url := str(values.get("url", ("", ""))[0])) and only_dotenv:
            values["url"] = url.replace("{model}", quote(filled, safe="")), values["url"][1]


def own_url(values: Table, profile: str, sources: Sources) -> str:
    """The address without `.env`, if that is easy to tell; `values` are those of the files."""
    if profile or ("url" not in values and sources.is_outer("OPENAI_BASE_URL")):
        return ""
    return str(values.get("url", (OPENAI_URL, ""))[0])


def recognise(values: Table, own: str) -> None:
    """Trust a `.env` that only names the host that would be used anyway."""
    origin = host_origin(values)
    if origin is not None and own and _host(own) == _host(str(values["url"][0])):
        values["url"] = values["url"][0], _OwnHost(origin)


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


def _host_variable(url: str, values: Table, sources: Sources) -> DotenvOrigin | None:
    """The variable of `.env` that would become part of the host."""
    head = _head(url)
    origins = [sources.origin(name) for name in re.findall(_PLACEHOLDER, head)]
    if "{model}" in head and "model" in values:
        origins.append(values["model"][1])
    return next((origin for origin in origins if isinstance(origin, DotenvOrigin)), None)


def _filled(key: str, given: Given, sources: Sources, *, only_dotenv: bool) -> str:
    def variable(found: re.Match[str]) -> str:
        content = sources.find(found[1], only_dotenv=only_dotenv)
        if not content:
            place = "in .env" if only_dotenv else "in the environment or in .env"
            hint = f"the {key} of {given[1]} needs it, {place}"
            raise UsageError(f"{found[1]} is not set", hint=hint)
        return content.rstrip("/")

    return re.sub(_PLACEHOLDER, variable, str(given[0]))


# ------------------------------------------------------------------------------- what is sent there


def set_headers(values: Table, sources: Sources, *, is_foreign: bool) -> None:
    """Add the headers of the account, unless the profile is for another vendor, and leave out what
    is not meant for a host that `.env` names."""
    by_dotenv = host_origin(values) is not None
    if by_dotenv:
        _withhold(values, sources)
    if is_foreign:
        return
    account = tuple(
        (name, header_value(text, origin), origin)
        for name, variable in _ACCOUNT.items()
        if (origin := sources.origin(variable))
        and (text := sources.get(variable))
        and (isinstance(origin, DotenvOrigin) or not by_dotenv)
    )
    if account:
        headers, origin = values.get("headers", ((), ""))
        origins = filter(None, (*(place for _, _, place in account), origin))
        own = cast("Headers", headers)
        values["headers"] = ((*((n, text) for n, text, _ in account), *own), ", ".join(origins))


def _withhold(values: Table, sources: Sources) -> None:
    """Leave out the headers of the config file; refuse options of this run that contain a key."""
    headers, origin = cast("tuple[Headers, str]", values.get("headers", ((), "")))
    if headers and origin != "--header":
        del values["headers"]
        sources.warn(f"the headers of {origin} are not sent to a host that .env names")
    elif any(_carries_key(name, values) for name, _ in headers):
        raise _refusal("the key in --header", values)
    for of in ("session", "response"):
        fields, origin = values.get(of, ({}, ""))
        if _has_key(fields):
            raise _refusal(f"the key in the {of} options of {origin}", values)


def _carries_key(name: str, values: Table) -> bool:
    key_header = str(values.get("key_header", (BEARER, ""))[0]).partition(":")[0]
    return names_a_key(name) or name.lower() == key_header.lower()


def _has_key(value: object) -> bool:
    """Whether an option, such as a remote MCP server among the tools, contains a key."""
    if isinstance(value, Mapping):
        return any(
            _has_key(inner) or (isinstance(inner, str) and names_a_key(str(name)))
            for name, inner in value.items()
        )
    return isinstance(value, list) and any(map(_has_key, value))


def ask_before_tools(values: Table, profile_origin: str, sources: Sources) -> None:
    """Ask before every tool call if `.env` sets the server, the profile or the instructions."""
    instructions = values.get("system", ("", ""))[1]
    origins = (host_origin(values), instructions, profile_origin)
    culprit = next((origin for origin in origins if isinstance(origin, DotenvOrigin)), None)
    if culprit is not None and values.pop("allow_tools", None) is not None:
        sources.warn(f"allowed tools still need your approval, because of {culprit}")


# --------------------------------------------------------------------------------------------- keys


def find_key(
    values: Table, profile: str, sources: Sources, stored: Stored | None, *, needs_key: bool
) -> tuple[str, str]:
    """The key of a run and where it comes from; both empty without one.

    Raises:
        UsageError: the run needs a key, and there is none that may be sent to this host.
    """
    command = values.pop("api_key_command", None)
    variables = cast("tuple[str, ...]", values.get("key_env", (("OPENAI_API_KEY",), ""))[0])
    by_dotenv = host_origin(values)
    for variable in variables:
        origin = sources.origin(variable, only_dotenv=by_dotenv is not None)
        text = sources.find(variable, only_dotenv=by_dotenv is not None)
        if key := header_value(text, origin):
            return key, origin
    if _is_local(values):
        return "", ""
    if by_dotenv is None:
        key, origin = _kept_key(profile, command, stored)
        if key:
            return key, origin
    if not needs_key:
        return "", ""
    if by_dotenv and _is_remote(values):
        _refuse_own_key(values, variables, profile, command, stored, sources)
    if _wants_key(values):
        raise _no_key(variables, profile, by_dotenv)
    return "", ""


def _no_key(variables: tuple[str, ...], profile: str, by_dotenv: str | None) -> UsageError:
    place = "in .env" if by_dotenv else "in the environment or in .env"
    ways = [f"set {' or '.join(variables)} ({place})"] if variables else []
    if not by_dotenv:
        ways.append(f"keep one with rtchat keys set {profile}".rstrip())
    return UsageError("no key", hint=", ".join([*ways, "or use --local"]))


def _kept_key(profile: str, command: Given | None, stored: Stored | None) -> tuple[str, str]:
    """The key from a password manager or the key store, and its origin; both empty without one."""
    if command is not None:
        from rtchat.config.keys import run_key_command

        words, origin = command
        key = run_key_command(cast("tuple[str, ...]", words))
        return header_value(key, "the key of api_key_command"), f"api_key_command of {origin}"
    key, origin = (stored and stored(profile or DEFAULT_PROFILE)) or ("", "")
    return header_value(key, f"the key in {origin}"), origin


def _refuse_own_key(
    values: Table,
    variables: tuple[str, ...],
    profile: str,
    command: Given | None,
    stored: Stored | None,
    sources: Sources,
) -> None:
    """Say why the user's key for this run is not sent. `api_key_command` is not run to find out."""
    owner = next(filter(sources.find, variables), "")  # in the environment, as `.env` has none
    if not owner and command is not None:
        owner = f"api_key_command of {command[1]}"
    if not owner:
        _, owner = _kept_key(profile, None, stored)
    if owner:
        raise _refusal(f"the key from {owner}", values)


def _wants_key(values: Table) -> bool:
    """Whether the server is sure to need a key, as far as that can be known."""
    if "url" not in values:
        return True
    return bool(values.get("key_env", ((), ""))[0]) and _is_remote(values)


def _is_remote(values: Table) -> bool:
    try:
        return not is_loopback(urlsplit(str(values["url"][0])).hostname)
    except ValueError:
        return False  # reported elsewhere


def _refusal(what: str, values: Table) -> UsageError:
    url, origin = str(values["url"][0]), values["url"][1]
    return UsageError(
        f"{what} is not sent to {shown_url(url)}, because {origin} names that host",
        hint=f"--url {shown_url(url)} allows it, --no-env ignores .env",
    )


def tell_host(values: Table, sources: Sources) -> None:
    """Say that `.env` set the address."""
    origin = values.get("url", ("", ""))[1]
    if isinstance(origin, DotenvOrigin) and not _is_local(values):
        rule = ": your own keys are not sent there (use --url to allow that)"
        rule = "" if isinstance(origin, _OwnHost) else rule
        sources.warn(f"{origin} sets the address to {shown_url(str(values['url'][0]))}{rule}")
