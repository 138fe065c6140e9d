"""The address of a Realtime server, how the key is sent there, and which certificates to trust.

Invalid settings raise `UsageError` here, before anything is sent. No message contains a key.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import SplitResult, parse_qs, parse_qsl, quote, urlencode, urlsplit, urlunsplit

from rtchat.core.errors import CHECK_KEY, UsageError
from rtchat.core.redaction import Redactor, is_secret
from rtchat.core.values import OPENAI_URL, value
from rtchat.system.network import is_loopback

if TYPE_CHECKING:
    import ssl

Auth: TypeAlias = Literal["header", "subprotocol"]
BEARER = "Authorization: Bearer {key}"
"""The default header for the key."""


@value
class Endpoint:
    """A server's URL, and the headers, sub-protocols and secrets of the handshake."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    subprotocols: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    key_hint: str = CHECK_KEY
    """What to do if the server refuses the key."""

    def __repr__(self) -> str:
        return f"Endpoint({shown_url(self.url)!r})"

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self.url.startswith("wss:")

    @property
    def redactor(self) -> Redactor:
        """Removes the keys from what a server sends."""
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
    translates: bool = False,
    key_hint: str = CHECK_KEY,
) -> Endpoint:
    """Check the settings of a connection and return its endpoint.

    `auth` "subprotocol" sends the key as browsers do, which is meant for short-lived client
    secrets. Otherwise `key_header` is the header for the key, with `{key}` as its placeholder; a
    header in `headers` with the same name, or `Authorization`, replaces it. `beta` adds the header
    that servers of the older dialect require; OpenAI's server refuses it. `transcribes` asks for a
    transcription session, whose model is not part of the URL, and `translates` for a translation
    session, which has another path. In the URL, `{model}` stands for the model and `{session}`
    for a new unique id. `key_hint` is the hint if the server refuses the key.

    Raises:
        UsageError: the URL is not a WebSocket URL, the key cannot be sent, or it would be sent over
            a network unencrypted.
    """
    parts = _split(_fill_placeholders(url, model))
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
            hint="use wss://, or --insecure on a trusted network",
        )
    if beta:
        out.append(("OpenAI-Beta", "realtime=v1"))
    _check_characters(out, subprotocols)
    query = parts.query
    path = parts.path.rstrip("/")
    if translates and path.endswith("/realtime"):
        parts = parts._replace(path=f"{path}/translations")
    present = parse_qs(query, keep_blank_values=True).keys()
    if transcribes and "intent" not in present:
        query = "&".join(filter(None, (query, _TRANSCRIPTION_QUERY)))
    elif model and not transcribes and not present & _MODEL_PARAMETERS:
        query = "&".join(filter(None, (query, urlencode({"model": model}, safe=":/"))))
    secrets = tuple(dict.fromkeys(filter(is_secret, keys)))
    full = urlunsplit(parts._replace(query=query))
    return Endpoint(full, tuple(out), subprotocols, secrets, key_hint)


def realtime_url(base: str) -> str:
    """The Realtime URL for the base URL of an API, such as `https://host/v1`. If it is already a
    Realtime URL, it is only converted to a WebSocket URL.

    Raises:
        ValueError: the base is not a URL. The message may contain a password.
    """
    parts = urlsplit(base)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    path = parts.path.rstrip("/")
    if not is_realtime_path(path):
        path += "/realtime"
    return urlunsplit(parts._replace(scheme=scheme, path=path))


def is_realtime_path(path: str) -> bool:
    """Whether the path of a URL is that of a Realtime endpoint."""
    return re.search(_REALTIME, path) is not None


_REALTIME = r"/realtime(/translations|/session)?/*$"


def http_endpoint(endpoint: Endpoint, path: str) -> Endpoint:
    """The endpoint for an HTTP request to a path below that of the Realtime API."""
    parts = urlsplit(endpoint.url)
    given = filter(None, parts.query.split("&"))
    query = "&".join(each for each in given if each.partition("=")[0] not in _SESSION_PARAMETERS)
    url = urlunsplit(parts._replace(path=parts.path.rstrip("/") + path, query=query))
    return replace(endpoint, url=url)


def models_endpoint(endpoint: Endpoint) -> Endpoint | None:
    """The endpoint that lists the models of a server; None if its address is not known."""
    parts = urlsplit(endpoint.url)
    if not is_realtime_path(parts.path):
        return None
    base = re.sub(_REALTIME, "", parts.path)
    url = urlunsplit(parts._replace(path=base or "/"))
    return http_endpoint(replace(endpoint, url=url), "/models")


def _fill_placeholders(url: str, model: str) -> str:
    if "{session}" in url:
        from uuid import uuid4

        url = url.replace("{session}", uuid4().hex)
    return url.replace("{model}", quote(model, safe=""))


_TRANSCRIPTION_QUERY = "intent=transcription"
_MODEL_PARAMETERS = frozenset({"model", "deployment", "call_id"})
_SESSION_PARAMETERS = _MODEL_PARAMETERS | {"intent"}
"""The query parameters that only apply to sessions."""


def _is_ascii_host(host: str) -> bool:
    labels = host.split(".")
    return host.isascii() and all(0 < len(label) < 64 for label in labels)


def _split(url: str) -> SplitResult:
    if re.match(r"[^/]*//[^/?#]*@", url):
        raise UsageError(
            "the URL contains a user name or password, which would be shown",
            hint="send them with --header 'Authorization: Basic …'",
        )
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not _is_ascii_host(host):
            host.encode("idna")  # slow to load
        is_valid = url.isprintable() and " " not in url and parts.port != 0
        if is_valid and host and parts.scheme in ("ws", "wss") and not parts.fragment:
            return parts
    except ValueError:
        pass  # an invalid port, address or name: the same error
    raise UsageError(
        f"{shown_url(url)!r} is not a WebSocket URL",
        hint="use wss://host/path, or ws:// for this machine",
    )


_SECRET_NAME = r"(?i)auth(?!ors?$)|key(?![a-z])|token(?!s$)|secret|passw|cookie|credential|sig$"
"""The names of headers and URL parameters that contain a key."""


def names_a_key(name: str) -> bool:
    """Whether a header or URL parameter with this name contains a key."""
    return re.search(_SECRET_NAME, name) is not None


def shown_url(url: str) -> str:
    """A URL, valid or not, without passwords and keys."""

    def hide(found: re.Match[str]) -> str:
        return f"{found[1]}=[key]" if names_a_key(found[1]) else found[0]

    url = re.sub(r"(?<=//)[^/?#]*@", "[key]@", url)
    return re.sub(r"(?<=[?&])([^=&#]*)=[^&#]+", hide, url)


def _keys(headers: Iterable[tuple[str, str]]) -> list[str]:
    """The keys in headers, without a scheme such as "Bearer", and decoded if it is "Basic"."""
    keys = []
    for name, content in headers:
        if not names_a_key(name):
            continue
        scheme, _, rest = content.strip().partition(" ")
        for word in re.split(r"[\s,;]+", rest if rest and scheme.isalnum() else content):
            keys += [word, word.partition("=")[2].strip('"=')]
        if scheme.lower() == "basic":
            keys += _decode_basic(rest)
    return [key for key in keys if key]


def _decode_basic(basic: str) -> list[str]:
    try:
        pair = b64decode(basic).decode()
    except ValueError:
        return []
    return [pair, pair.partition(":")[2]]


def keys_of_query(query: str) -> list[str]:
    """The keys in the query part of a URL."""
    return [text for name, text in parse_qsl(query) if names_a_key(name)]


def _check_characters(headers: Iterable[tuple[str, str]], subprotocols: Iterable[str]) -> None:
    """Refuse what the library would refuse with the key in its message, or would send unchecked."""
    for name, content in headers:
        if not (re.fullmatch(_TOKEN, name) and content.isascii() and content.isprintable()):
            hint = "check the key" if names_a_key(name) else "check --header"
            raise UsageError(f"the header {name!r} contains an invalid character", hint=hint)
    if not all(re.fullmatch(_TOKEN, name) for name in subprotocols):
        raise UsageError("the key contains an invalid character", hint="check the key")


def tls_context(ca_bundle: Path | None, environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """A TLS context that trusts the certificate authorities in a PEM file; None for the system's.

    `ca_bundle` replaces all other authorities. Without it, the file that SSL_CERT_FILE names is
    used, together with SSL_CERT_DIR.

    Raises:
        UsageError: the file cannot be read or contains no certificates. OpenSSL would silently
            ignore SSL_CERT_FILE then.
    """
    if ca_bundle is not None:
        file, name = str(ca_bundle), "the CA bundle"
    elif file := environ.get("SSL_CERT_FILE", ""):
        name = "SSL_CERT_FILE"
    else:
        return None
    import ssl

    hint = "use a PEM file of certificate authorities"
    try:
        context = ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        raise UsageError(f"{name} {file} contains no certificates", hint=hint) from error
    except OSError as error:
        raise UsageError(f"{name} {file} cannot be read ({error.strerror})", hint=hint) from error
    if ca_bundle is None:
        context.load_default_certs()  # for SSL_CERT_DIR
    return context
