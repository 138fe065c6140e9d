"""The lower stages of a connection, one at a time: DNS, TCP and TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from rtchat.client.endpoint import Endpoint
from rtchat.client.failures import TLS_HINT, ConnectError, explain
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import ConnectionLost, Retry

CLOSE_TIMEOUT = 2.0
"""Seconds that a server has to close the connection."""


class Probe:
    """A TCP connection, opened stage by stage. Failures are explained as in `transport`."""

    def __init__(self, where: Endpoint, timeout: float) -> None:
        url = urlsplit(where.url)
        self._host = url.hostname or ""
        self._port = url.port or (443 if url.scheme == "wss" else 80)
        self._where = where
        self._timeout = timeout
        self._addresses: list[str] = []
        self._writer: asyncio.StreamWriter | None = None

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, UnicodeError) as error:
            raise ConnectError(explain(error, self._where, self._timeout)) from error

    async def resolve(self) -> str:
        """Look up the host name. Returns its addresses."""
        loop = asyncio.get_running_loop()
        with self._errors_translated():
            async with asyncio.timeout(self._timeout):
                found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        self._addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        return ", ".join(self._addresses)

    async def connect(self) -> str:
        """Connect to the first address that accepts. Returns the address and port."""
        refused = 0
        with self._errors_translated():
            async with asyncio.timeout(self._timeout):
                for address in self._addresses:
                    try:
                        _, self._writer = await asyncio.open_connection(address, self._port)
                    except OSError:
                        refused += 1
                        if refused == len(self._addresses):
                            raise
                    else:
                        return f"{address} port {self._port}"
        raise AssertionError("DNS returned no address")

    async def start_tls(self, context: ssl.SSLContext) -> str:
        """Start TLS. Returns its version and the issuer and expiry date of the certificate."""
        assert self._writer is not None
        with self._errors_translated():
            try:
                async with asyncio.timeout(self._timeout):
                    await self._writer.start_tls(context, server_hostname=self._host)
            except ConnectionError as error:
                message = f"TLS with {self._host} failed (it closed the connection)"
                problem = Problem(ExitCode.LINK, message, TLS_HINT)
                raise ConnectError(ConnectionLost(problem, Retry.NEVER)) from error
        tls = self._writer.get_extra_info("ssl_object")
        return ", ".join((tls.version(), *_describe_certificate(tls.getpeercert())))

    async def close(self) -> None:
        """Close the connection."""
        if self._writer is None:
            return
        self._writer.close()
        with suppress(OSError):  # a timeout is one
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._writer.wait_closed()


def _describe_certificate(certificate: Mapping[str, Any]) -> Iterator[str]:
    names = dict(pair for group in certificate.get("issuer", ()) for pair in group)
    issuer = names.get("organizationName") or names.get("commonName") or "an unnamed authority"
    yield f"issued by {issuer}"
    if until := certificate.get("notAfter"):
        expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(until), UTC)
        yield f"expires {expires:%Y-%m-%d}"
