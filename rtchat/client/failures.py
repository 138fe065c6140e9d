"""Why a connection could not be made or ended, with an exit code and whether to try again."""

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
    ProxyError,
)
from websockets.http11 import Response

from rtchat.client.endpoint import Endpoint
from rtchat.client.proxies import proxy_of
from rtchat.core.errors import ExitCode, LinkError, Problem
from rtchat.core.events import ConnectionLost, Retry
from rtchat.core.text import on_a_line, shortened
from rtchat.wire import read_error_body

MOST_QUOTED = 500
"""Characters of what a server said that an error quotes."""


class ConnectError(LinkError):
    """A connection could not be made, or was lost; `lost` says whether to try again."""

    def __init__(self, lost: ConnectionLost) -> None:
        problem = lost.problem
        super().__init__(problem.message, hint=problem.hint, code=problem.code)
        self.exit = problem.exit
        self.lost = lost


IN_ORDER = frozenset({1000, 1001, 1005})
"""Close codes of a connection that ended in order."""
_NEVER_AGAIN = frozenset({1002, 1003, 1007, 1008, 1009, 3000, *range(4000, 5000)})
_CLOSE_HINTS = {
    1006: "check the network, then try again",
    1009: "a message was too large: send, or ask for, less at a time",
    3000: "check OPENAI_API_KEY",
}


def explain_close(code: int, reason: str) -> ConnectionLost:
    """What a close code means (RFC 6455 §7.4; 3000 and 4000 up are OpenAI's)."""
    retry = Retry.NEVER if code in _NEVER_AGAIN else Retry.ALWAYS
    exit_code = ExitCode.REFUSED if code == 3000 else ExitCode.LINK
    hint = _CLOSE_HINTS.get(
        code, "check --url and --model" if retry is Retry.NEVER else "try again"
    )
    if "insufficient_quota" in reason:
        exit_code, retry = ExitCode.LIMIT, Retry.NEVER
        hint = "check the plan and the billing of your account"
    because = f" {quoted}" if (quoted := _quote(reason)) else ""
    problem = Problem(exit_code, f"connection lost ({code}{because})", hint, str(code))
    return ConnectionLost(problem, retry, at_once=code == 1001)


def explain(error: Exception, endpoint: Endpoint, open_timeout: float = 10.0) -> ConnectionLost:
    """Why a connection could not be made."""
    if isinstance(error, InvalidStatus):
        return _explain_status(error.response, endpoint)
    host = urlsplit(endpoint.url).netloc
    if is_of_proxy(error, endpoint):
        return _explain_proxy(error, host)
    match error:
        case TimeoutError():
            message = f"no answer from {host} within {open_timeout:g} s"
            return _lost(message, "check the network, or raise --connect-timeout")
        case InvalidHandshake():
            return _lost(f"{host} does not answer as a WebSocket server", "check --url")
        case ssl.SSLCertVerificationError():
            why = error.verify_message.rstrip(".")
            message = f"the certificate of {host} is not trusted ({why})"
            return _lost(message, _DISTRUST.get(error.verify_code, _UNKNOWN_CA), Retry.NEVER)
        case ssl.SSLError():
            message = f"no TLS with {host} ({error.reason})"
            return _lost(message, "is it ws:// instead of wss://?", Retry.NEVER)
        case socket.gaierror():
            return _lost(f"{host} cannot be found", "check --url and the network")
        # asyncio joins the failures of a name with several addresses, such as localhost, into one.
        case OSError() if f"[Errno {errno.ECONNREFUSED}]" in str(error):
            return _lost(f"nothing listens at {host}", "check --url, or start the server")
        case _:
            why = _quote(endpoint.redact(str(error)))
            return _lost(f"no connection to {host} ({why})", "check --url and the network")


_UNKNOWN_CA = "name the authority that signed it with --ca-bundle or SSL_CERT_FILE"
_TIME, _NAME = "tell whoever runs the server, or set this computer's clock", "check --url"
_DISTRUST = {9: _TIME, 10: _TIME, 62: _NAME, 64: _NAME}
"""What to do about a certificate that is not valid yet or any more, or is another host's; OpenSSL's
codes (x509_vfy.h)."""


def _lost(message: str, hint: str, retry: Retry = Retry.IF_IT_WORKED) -> ConnectionLost:
    return ConnectionLost(Problem(ExitCode.LINK, message, hint), retry)


def is_of_proxy(error: Exception, endpoint: Endpoint) -> bool:
    """Whether it was the proxy that could not be reached, or its URL that cannot be read."""
    if isinstance(error, InvalidProxy | ProxyError | ImportError):
        return True
    if isinstance(error, TimeoutError | ssl.SSLError):
        return False
    return isinstance(error, OSError | ValueError) and proxy_of(endpoint) is not None


def _explain_proxy(error: Exception, host: str) -> ConnectionLost:
    # What the library says of a proxy can quote its URL, and that a password.
    hint, retry = "check HTTPS_PROXY and ALL_PROXY", Retry.NEVER
    match error:
        case InvalidProxyStatus():
            status = error.response.status_code
            what = f"the proxy refused to connect to {host} (HTTP {status})"
            if status == 407:
                hint = "name it as http://name:password@host:port in HTTPS_PROXY"
            if status >= 500:
                retry = Retry.IF_IT_WORKED
        case InvalidProxy(msg=why):
            what = f"the proxy to {host} cannot be used ({why})"
        case ImportError():
            what = f"the proxy to {host} speaks SOCKS, and python-socks is not there"
            hint = 'pip install "rtchat[socks]"'
        case _:
            what, retry = f"the proxy to {host} cannot be used", Retry.IF_IT_WORKED
    return _lost(what, hint, retry)


_STATUSES: dict[int, tuple[ExitCode, str, Retry]] = {
    400: (ExitCode.LINK, "check --url and --model", Retry.NEVER),
    401: (ExitCode.REFUSED, "check OPENAI_API_KEY", Retry.NEVER),
    403: (ExitCode.REFUSED, "check that the key may use this model", Retry.NEVER),
    404: (ExitCode.LINK, "check --url and --model", Retry.NEVER),
    429: (ExitCode.LIMIT, "wait a little, or check the plan of your account", Retry.ALWAYS),
}


def _explain_status(response: Response, endpoint: Endpoint) -> ConnectionLost:
    status = response.status_code
    exit_code, hint, retry = _STATUSES.get(status, (ExitCode.LINK, "check --url", Retry.NEVER))
    if status >= 500:
        hint, retry = "try again later", Retry.ALWAYS
    message = f"the server answered HTTP {status}"
    body = bytes(response.body or b"")
    if 300 <= status < 400:
        place = _quote(endpoint.redact(_header(response, "Location"))) or "nowhere"
        message = f"{message}, a redirect to {place}"
        hint = "if that is the right place, name it with --url"
    elif gist := _quote(endpoint.redact(read_error_body(body) or body.decode(errors="replace"))):
        message = f"{message} ({gist})"
    problem = Problem(exit_code, message, hint, str(status))
    return ConnectionLost(problem, retry, retry_after=_retry_after(response))


def _quote(text: str) -> str:
    """What a server said, on one line, harmless and not too long. Redact it before it is cut."""
    return shortened(on_a_line(text), MOST_QUOTED)


def _header(response: Response, name: str) -> str:
    # A server may send several, and then the library's `get` raises.
    return next(iter(response.headers.get_all(name)), "")


def _retry_after(response: Response) -> float | None:
    """The wait that a server asks for: seconds, or a date, by its own clock (RFC 9110 §10.2.3)."""
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
