"""Where a Realtime server is, how a key gets there (URL, headers, sub-protocols), whom it trusts.

Everything that can be wrong with them is a `UsageError` here, before anything is sent, and no
message has a key in it.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import SplitResult, parse_qs, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from rtchat.core.errors import UsageError
from rtchat.core.redaction import Redactor, is_secret
from rtchat.core.values import OPENAI_URL, value
from rtchat.system.network import is_loopback

if TYPE_CHECKING:
    import ssl

Auth: TypeAlias = Literal["header", "subprotocol"]
BEARER = "Authorization: Bearer {key}"
"""The header that has the key, where a server does not want it otherwise."""


@value
class Endpoint:
    """Where to connect and what to say in the handshake."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Endpoint({shown_url(self.url)!r})"

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS protects it."""
        return self.url.startswith("wss:")

    @property
    def redactor(self) -> Redactor:
        """Removes the keys from what a server sends, should it quote one."""
        return _redactor(self.secrets)

    def redact(self, text: str) -> str:
        """A complete text without the keys."""
        return self.redactor.redact(text)


@lru_cache(maxsize=8)
def _redactor(secrets: tuple[str, ...]) -> Redactor:
    return Redactor(secrets)


_TOKEN = r"[-0-9A-Za-z_!#$%&'*+.^`|~]+"


def endpoint(
    model: str = "",
    *,
    url: str = OPENAI_URL,
    api_key: str = "",
    headers: Iterable[tuple[str, str]] = (),
    auth: Auth = "header",
    key_header: str = BEARER,
    beta: bool = False,
    insecure: bool = False,
    transcribes: bool = False,
) -> Endpoint:
    """Check and put together an endpoint.

    `auth` "subprotocol" sends the key the way a browser must, which is meant for short-lived client
    secrets. `key_header` is the header that has the key otherwise, with `{key}` for it; one of the
    same name, or `Authorization`, among `headers` takes its place. `beta` adds the header that
    servers of the older dialect ask for; OpenAI's refuses it. `transcribes` asks for a
    transcription session, whose model is no part of the URL. In the URL `{model}` stands for the
    model, `{session}` for something new. Raises `UsageError` if the URL is not a WebSocket URL, a
    key cannot be sent, or it would cross a network unencrypted.
    """
    parts = _split(_filled(url, model))
    out = list(headers)
    subprotocols: tuple[str, ...] = ()
    if api_key and auth == "subprotocol":
        subprotocols = ("realtime", f"openai-insecure-api-key.{api_key}")
    elif api_key:
        name, _, content = key_header.partition(":")
        if not {"authorization", name.lower()} & {given.lower() for given, _ in out}:
            out.insert(0, (name, content.strip().replace("{key}", api_key)))
    keys = [api_key, *_keys(out), *keys_of_query(parts.query)]
    if any(keys) and parts.scheme == "ws" and not (insecure or is_loopback(parts.hostname)):
        raise UsageError(
            f"refusing to send a key over plain ws:// to {parts.hostname}",
            hint="use wss://, or --insecure if that network is yours",
        )
    if beta:
        out.append(("OpenAI-Beta", "realtime=v1"))
    _check(out, subprotocols)
    query = parts.query
    if transcribes:
        query = "&".join(filter(None, (query, _TRANSCRIBES)))
    elif model and not parse_qs(query, keep_blank_values=True).keys() & _NAMES_A_MODEL:
        query = "&".join(filter(None, (query, urlencode({"model": model}, safe=":/"))))
    secrets = tuple(dict.fromkeys(filter(is_secret, keys)))
    return Endpoint(urlunsplit(parts._replace(query=query)), tuple(out), subprotocols, secrets)


def _filled(url: str, model: str) -> str:
    if "{session}" in url:
        from uuid import uuid4

        url = url.replace("{session}", uuid4().hex)
    return url.replace("{model}", quote(model, safe=""))


_TRANSCRIBES = "intent=transcription"
_NAMES_A_MODEL = frozenset({"model", "deployment", "call_id"})


def _is_plain(host: str) -> bool:
    labels = host.split(".")
    return host.isascii() and all(0 < len(label) < 64 for label in labels)


def _split(url: str) -> SplitResult:
    if re.match(r"[^/]*//[^/?#]*@", url):
        raise UsageError(
            "the URL has a name or a password in it, which would be shown",
            hint="send it with --header 'Authorization: Basic …'",
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not _is_plain(host):
            host.encode("idna")  # which takes a while to load
        is_sound = url.isprintable() and " " not in url and parts.port != 0
        if is_sound and host and parts.scheme in ("ws", "wss") and not parts.fragment:
            return parts
    except ValueError:
        pass  # an impossible port, address or name: the same mistake
    raise UsageError(
        f"{shown_url(url)!r} is not a WebSocket URL",
        hint="write it as wss://host/path, or ws:// for this machine",
    )


_SECRET_NAME = r"(?i)auth(?!ors?$)|key(?![a-z])|token(?!s$)|secret|passw|cookie|credential|sig$"
"""What a header, or a parameter of a URL, may be called that carries a key."""


def names_a_key(name: str) -> bool:
    """Whether a header, or a parameter of a URL, of this name carries a key."""
    return re.search(_SECRET_NAME, name) is not None


def shown_url(url: str) -> str:
    """A URL, or what was meant to be one, without passwords and keys."""

    def hide(found: re.Match[str]) -> str:
        return f"{found[1]}=[key]" if names_a_key(found[1]) else found[0]

    url = re.sub(r"(?<=//)[^/?#]*@", "[key]@", url)
    return re.sub(r"(?<=[?&])([^=&#]*)=[^&#]+", hide, url)


def _keys(headers: Iterable[tuple[str, str]]) -> list[str]:
    """The keys in headers: of several words the first may be "Bearer", and "Basic" wraps them."""
    keys = []
    for name, content in headers:
        if not names_a_key(name):
            continue
        scheme, _, rest = content.strip().partition(" ")
        for word in re.split(r"[\s,;]+", rest if rest and scheme.isalnum() else content):
            keys += [word, word.partition("=")[2].strip('"=')]
        if scheme.lower() == "basic":
            keys += _unwrapped(rest)
    return [key for key in keys if key]


def _unwrapped(basic: str) -> list[str]:
    try:
        pair = b64decode(basic).decode()
    except ValueError:
        return []
    return [pair, pair.partition(":")[2]]


def keys_of_query(query: str) -> list[str]:
    """The keys in the query of a URL."""
    return [text for name, text in parse_qsl(query) if names_a_key(name)]


def _check(headers: Iterable[tuple[str, str]], subprotocols: Iterable[str]) -> None:
    """What the library would refuse with the key in its message, or send as it is."""
    for name, content in headers:
        if not (re.fullmatch(_TOKEN, name) and content.isascii() and content.isprintable()):
            hint = "check the key" if names_a_key(name) else "check --header"
            raise UsageError(f"the header {name!r} has a character that cannot be sent", hint=hint)
    if not all(re.fullmatch(_TOKEN, name) for name in subprotocols):
        raise UsageError("the key has a character that no sub-protocol has", hint="check the key")


def trust(ca_bundle: Path | None, environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """Whom to trust: the authorities in a PEM file, and no others; None for the system's.

    Raises:
        UsageError: the file, or that of SSL_CERT_FILE, is none; OpenSSL would pass over the latter
            in silence.
    """
    if ca_bundle is not None:
        file, name = str(ca_bundle), "the CA bundle"
    elif file := environ.get("SSL_CERT_FILE", ""):
        name = "SSL_CERT_FILE"
    else:
        return None
    import ssl

    hint = "name a PEM file of certificate authorities"
    try:
        context = ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        raise UsageError(f"{name} {file} holds no certificate", hint=hint) from error
    except OSError as error:
        raise UsageError(f"{name} {file} cannot be read ({error.strerror})", hint=hint) from error
    if ca_bundle is None:
        context.load_default_certs()  # SSL_CERT_DIR counts as well
    return context
