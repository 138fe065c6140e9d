"""Where a Realtime server is, and how a key gets there: URL, headers, sub-protocols.

Everything that can be wrong with them is a `UsageError` here, before anything is sent, and no
message has a key in it. Not here: the connection (`transport`), or where settings come from.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit, urlunsplit

from rtchat.errors import UsageError
from rtchat.values import OPENAI_URL, value

Auth: TypeAlias = Literal["header", "subprotocol"]


@value
class Endpoint:
    """Where to connect and what to say in the handshake."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"

    def redact(self, text: str) -> str:
        """The text without the keys, should the server quote one."""
        for secret in self.secrets:
            text = text.replace(secret, "[key]")
        return text


_KEY_HEADERS = frozenset({"authorization", "api-key", "x-api-key"})
_TOKEN = re.compile(r"[-\w!#$%&'*+.^`|~]+", re.ASCII)


def endpoint(
    model: str = "",
    *,
    url: str = OPENAI_URL,
    api_key: str = "",
    headers: Iterable[tuple[str, str]] = (),
    auth: Auth = "header",
    beta: bool = False,
    insecure: bool = False,
) -> Endpoint:
    """Check and put together an endpoint.

    `auth` "subprotocol" sends the key the way a browser must, which is meant for short-lived client
    secrets. `beta` adds the header that servers of the older dialect ask for; OpenAI's refuses it.
    A header `Authorization` takes the place of the key. Raises `UsageError` if the URL is not a
    WebSocket URL, a key cannot be sent, or it would cross a network unencrypted.
    """
    parts = _split(url)
    out = list(headers)
    subprotocols: tuple[str, ...] = ()
    if api_key and auth == "subprotocol":
        subprotocols = ("realtime", f"openai-insecure-api-key.{api_key}")
    elif api_key and "authorization" not in (name.lower() for name, _ in out):
        out.insert(0, ("Authorization", f"Bearer {api_key}"))
    keys = [api_key, *_keys(out)]
    if any(keys) and parts.scheme == "ws" and not (insecure or is_loopback(parts)):
        raise UsageError(
            f"refusing to send a key over plain ws:// to {parts.hostname}",
            hint="use wss://, or --insecure if that network is yours",
        )
    if beta:
        out.append(("OpenAI-Beta", "realtime=v1"))
    _check(out, subprotocols)
    query = parts.query
    if model and not parse_qs(query, keep_blank_values=True).keys() & _NAMES_A_MODEL:
        query = "&".join(filter(None, (query, urlencode({"model": model}, safe=":/"))))
    secrets = tuple(dict.fromkeys(key for key in keys if _is_secret(key)))
    return Endpoint(urlunsplit(parts._replace(query=query)), tuple(out), subprotocols, secrets)


_NAMES_A_MODEL = frozenset({"model", "deployment", "call_id"})


def _split(url: str) -> SplitResult:
    if re.match(r"[^/]*//[^/?#]*@", url):
        raise UsageError(
            "the URL has a name or a password in it, which would be shown",
            hint="send it with --header 'Authorization: Basic …'",
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host.encode("idna")
        is_sound = url.isprintable() and " " not in url and parts.port != 0
        if is_sound and host and parts.scheme in ("ws", "wss") and not parts.fragment:
            return parts
    except ValueError:
        pass  # an impossible port, address or name: the same mistake
    raise UsageError(
        f"{url!r} is not a WebSocket URL",
        hint="write it as wss://host/path, or ws:// for this machine",
    )


def _keys(headers: Iterable[tuple[str, str]]) -> list[str]:
    """The keys in headers: the last word, as the first may be "Bearer"."""
    contents = (content for name, content in headers if name.lower() in _KEY_HEADERS)
    return [word for content in contents for word in content.split()[-1:]]


def _is_secret(key: str) -> bool:
    # Local servers are given keys such as "test": to take that out of replies would spoil them.
    return len(key) >= 16 or (len(key) >= 4 and not key.isalnum())


def _check(headers: Iterable[tuple[str, str]], subprotocols: Iterable[str]) -> None:
    """What the library would refuse with the key in its message, or send as it is."""
    for name, content in headers:
        if not (_TOKEN.fullmatch(name) and content.isascii() and content.isprintable()):
            hint = "check OPENAI_API_KEY" if name == "Authorization" else "check --header"
            raise UsageError(f"the header {name!r} has a character that cannot be sent", hint=hint)
    if not all(_TOKEN.fullmatch(name) for name in subprotocols):
        raise UsageError("the key has a character that no sub-protocol has", hint="check the key")


def is_loopback(url: SplitResult) -> bool:
    """Whether a URL leads to this machine."""
    host = url.hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
