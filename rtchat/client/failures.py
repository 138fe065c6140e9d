"""Why connecting failed or a connection was closed, with an exit code and whether to try again."""

from __future__ import annotations

import errno
import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from websockets.exceptions import (
    InvalidHandshake,
    InvalidProxy,
    InvalidProxyStatus,
    InvalidStatus,
    NegotiationError,
    ProxyError,
)
from websockets.http11 import Response

from rtchat.client.endpoint import Endpoint
from rtchat.client.proxies import proxy_of
from rtchat.core.errors import CHECK_KEY, ExitCode, LinkError, Problem
from rtchat.core.events import ConnectionLost, Retry
from rtchat.core.text import on_a_line, shortened
from rtchat.wire import read_error_body

MAX_QUOTE = 500
"""Characters of a server's text that an error message quotes."""


class ConnectError(LinkError):
    """A connection failed or was lost; `lost` says whether to try again."""

    def __init__(self, lost: ConnectionLost) -> None:
        problem = lost.problem
        super().__init__(problem.message, hint=problem.hint, code=problem.code)
        self.exit = problem.exit
        self.lost = lost


NORMAL_CLOSE = frozenset({1000, 1001, 1005})
"""Close codes of a connection that was closed normally."""
_NO_RETRY = frozenset({1002, 1003, 1007, 1008, 1009, 3000, *range(4000, 5000)})
_CLOSE_HINTS = {
    1006: "check the network and try again",
    1009: "send or request less data at a time",
    3000: CHECK_KEY,
}


def explain_close(code: int, reason: str, key_hint: str = CHECK_KEY) -> ConnectionLost:
    """Why a connection was closed (RFC 6455 §7.4; codes 3000 and from 4000 are OpenAI's).
    `key_hint` is the hint if the server refuses the key."""
    retry = Retry.NEVER if code in _NO_RETRY else Retry.ALWAYS
    exit_code = ExitCode.REFUSED if code == 3000 else ExitCode.LINK
    hint = _CLOSE_HINTS.get(
        code, "check --url and --model" if retry is Retry.NEVER else "try again"
    )
    if "insufficient_quota" in reason:
        exit_code, retry = ExitCode.LIMIT, Retry.NEVER
        hint = "check the plan and billing of your account"
    detail = f" {quoted}" if (quoted := _quote(reason)) else ""
    problem = Problem(exit_code, f"connection lost ({code}{detail})", hint, str(code))
    problem = problem.about_key(key_hint)
    return ConnectionLost(problem, retry, at_once=code == 1001)


def explain(error: Exception, endpoint: Endpoint, open_timeout: float = 10.0) -> ConnectionLost:
    """Why connecting failed. `open_timeout` is in seconds."""
    if isinstance(error, InvalidStatus):
        return _explain_status(error.response, endpoint)
    host = urlsplit(endpoint.url).netloc
    if is_proxy_error(error, endpoint):
        return _explain_proxy(error, host)
    match error:
        case TimeoutError():
            message = f"timed out: no response from {host} for {open_timeout:g} s"
            return _connection_lost(message, "check the network, or increase --connect-timeout")
        case NegotiationError():
            why = _quote(endpoint.redact(str(error)))
            message = f"{host} accepted an extension or subprotocol that was not requested ({why})"
            return _connection_lost(message, "check --url")
        case InvalidHandshake():
            return _connection_lost(f"{host} is not a WebSocket server", "check --url")
        case ssl.SSLCertVerificationError():
            why = error.verify_message.rstrip(".")
            message = f"the certificate of {host} is not trusted ({why})"
            hint = _CERTIFICATE_HINTS.get(error.verify_code, _UNKNOWN_CA)
            return _connection_lost(message, hint, Retry.NEVER)
        case ssl.SSLError():
            return _connection_lost(
                f"TLS with {host} failed ({error.reason})", TLS_HINT, Retry.NEVER
            )
        case socket.gaierror():
            return _connection_lost(f"host {host} not found", "check --url and the network")
        # asyncio combines the errors of a name with several addresses, such as localhost.
        case OSError() if f"[Errno {errno.ECONNREFUSED}]" in str(error):
            return _connection_lost(
                f"{host} refused the connection", "check --url, or start the server"
            )
        case _:
            why = _quote(endpoint.redact(str(error)))
            return _connection_lost(
                f"cannot connect to {host} ({why})", "check --url and the network"
            )


TLS_HINT = "check whether the server needs ws:// instead of wss://"
_UNKNOWN_CA = "add its certificate authority with --ca-bundle or SSL_CERT_FILE"
_TIME, _NAME = "contact the server's operator, or check this computer's clock", "check --url"
_CERTIFICATE_HINTS = {9: _TIME, 10: _TIME, 62: _NAME, 64: _NAME}
"""Hints for a certificate that is not yet valid, has expired, or belongs to another host, by
OpenSSL's codes (x509_vfy.h)."""


def _connection_lost(message: str, hint: str, retry: Retry = Retry.IF_IT_WORKED) -> ConnectionLost:
    return ConnectionLost(Problem(ExitCode.LINK, message, hint), retry)


def is_proxy_error(error: Exception, endpoint: Endpoint) -> bool:
    """Whether the error is about the proxy: it is unreachable, or its URL is invalid."""
    if isinstance(error, InvalidProxy | ProxyError | ImportError):
        return True
    if isinstance(error, TimeoutError | ssl.SSLError):
        return False
    return isinstance(error, OSError | ValueError) and proxy_of(endpoint) is not None


def _explain_proxy(error: Exception, host: str) -> ConnectionLost:
    # The library's messages can quote the proxy's URL with its password.
    hint, retry = "check HTTPS_PROXY and ALL_PROXY", Retry.NEVER
    match error:
        case InvalidProxyStatus():
            status = error.response.status_code
            what = f"the proxy refused to connect to {host} (HTTP {status})"
            if status == 407:
                hint = "set HTTPS_PROXY to http://name:password@host:port"
            if status >= 500:
                retry = Retry.IF_IT_WORKED
        case InvalidProxy(msg=why):
            what = f"the proxy for {host} cannot be used ({why})"
        case ImportError():
            what = f"the proxy for {host} uses SOCKS, but python-socks is not installed"
            from rtchat.system.installation import extra_hint  # would delay every start

            hint = extra_hint("socks")
        case _:
            what, retry = f"the proxy for {host} cannot be used", Retry.IF_IT_WORKED
    return _connection_lost(what, hint, retry)


_STATUSES: dict[int, tuple[ExitCode, str, Retry]] = {
    400: (ExitCode.LINK, "check --url and --model", Retry.NEVER),
    401: (ExitCode.REFUSED, CHECK_KEY, Retry.NEVER),
    402: (ExitCode.LIMIT, "check the plan and the billing of your account", Retry.NEVER),
    403: (ExitCode.REFUSED, "check that your key has access to this model", Retry.NEVER),
    404: (ExitCode.LINK, "check --url and --model", Retry.NEVER),
    429: (ExitCode.LIMIT, "wait and try again, or check your account's plan", Retry.ALWAYS),
}


def _explain_status(response: Response, endpoint: Endpoint) -> ConnectionLost:
    status = response.status_code
    exit_code, hint, retry = _STATUSES.get(status, (ExitCode.LINK, "check --url", Retry.NEVER))
    if status >= 500:
        hint, retry = "try again later", Retry.ALWAYS
    message = f"the server responded with HTTP {status}"
    body = bytes(response.body or b"")
    if 300 <= status < 400:
        # The query may contain a key.
        target = (
            _quote(endpoint.redact(_header(response, "Location").partition("?")[0])) or "no URL"
        )
        message = f"{message}, a redirect to {target}"
        hint = "if this is the right server, use its address with --url"
    elif text := _quote(endpoint.redact(read_error_body(body))):
        message = f"{message} ({text})"
    problem = Problem(exit_code, message, hint, str(status)).about_key(endpoint.key_hint)
    return ConnectionLost(problem, retry, retry_after=_retry_after(response))


def _quote(text: str) -> str:
    """A server's text on one line, escaped and shortened. It must already be redacted."""
    return shortened(on_a_line(text), MAX_QUOTE)


def _header(response: Response, name: str) -> str:
    # If a server sends the header several times, the library's `get` raises.
    return next(iter(response.headers.get_all(name)), "")


def _retry_after(response: Response) -> float | None:
    """The wait in seconds that a server asks for, or None (RFC 9110 §10.2.3).

    It may be a date, which is compared with the server's own clock.
    """
    header = _header(response, "Retry-After")
    try:
        seconds = float(header)
    except ValueError:
        until, sent = _date(header), _date(_header(response, "Date"))
        if until is None or sent is None:
            return None
        seconds = max(0.0, (until - sent).total_seconds())
    return seconds if 0 <= seconds <= 3600 else None


def _date(header: str) -> datetime | None:
    try:
        return parsedate_to_datetime(header).replace(tzinfo=UTC)
    except ValueError:
        return None
