"""A GET or POST request to the server of an endpoint, with the same proxy, TLS settings and errors
as a WebSocket connection.

The WebSocket library opens the connection and reads the response; only the request is different.
"""

from __future__ import annotations

import asyncio
import ssl

from websockets.asyncio.client import ClientConnection
from websockets.datastructures import Headers, HeadersLike
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.http11 import Request
from websockets.protocol import State

from rtchat.client.endpoint import Endpoint
from rtchat.client.failures import ConnectError, explain, is_proxy_error
from rtchat.client.transport import USER_AGENT, OpenSocket, proxy_and_tls
from rtchat.core.text import compact_json
from rtchat.core.values import JsonObject


async def get(endpoint: Endpoint, *, timeout: float, tls: ssl.SSLContext | None = None) -> bytes:
    """The body of the response to a GET request. See `post`."""
    return await _request(endpoint, None, timeout, tls)


async def post(
    endpoint: Endpoint, data: JsonObject, *, timeout: float, tls: ssl.SSLContext | None = None
) -> bytes:
    """The body of the response to a POST request with a JSON object. `timeout` is the total time in
    seconds; `tls` is the result of `endpoint.tls_context`. Redirects are not followed.

    Raises:
        ConnectError: there is no response, or its status is not 2xx.
    """
    return await _request(endpoint, compact_json(data).encode(), timeout, tls)


async def _request(
    endpoint: Endpoint, body: bytes | None, timeout: float, tls: ssl.SSLContext | None
) -> bytes:
    """The body of the response to a POST request or, without a body, to a GET request."""
    try:
        await OpenSocket(
            endpoint.url,
            additional_headers=endpoint.headers,
            user_agent_header=USER_AGENT,
            open_timeout=timeout,
            compression=None,
            create_connection=_connection(body),
            **proxy_and_tls(endpoint, tls),
        )
    except InvalidStatus as error:
        if 200 <= error.response.status_code < 300:
            return bytes(error.response.body)
        raise ConnectError(explain(error, endpoint, timeout)) from error
    except (OSError, InvalidHandshake, ImportError, ValueError) as error:
        # A proxy error can quote the proxy's URL with its password, so it is not chained.
        cause = None if is_proxy_error(error, endpoint) else error
        raise ConnectError(explain(error, endpoint, timeout)) from cause
    raise AssertionError("an HTTP request opened a WebSocket connection")


def _connection(body: bytes | None) -> type[ClientConnection]:
    """A class of connections that send such a request. The handshake always raises
    `InvalidStatus`, with the response."""
    method = "GET" if body is None else "POST"

    class RequestWithBody(Request):
        def serialize(self) -> bytes:
            return super().serialize() + (body or b"")

    class Connection(ClientConnection):
        async def handshake(
            self,
            additional_headers: HeadersLike | None = None,
            user_agent_header: str | None = USER_AGENT,
        ) -> None:
            upgrade = self.protocol.connect()
            headers = Headers(
                {
                    "Host": upgrade.headers["Host"],
                    "Connection": "close",
                    "User-Agent": str(user_agent_header),
                }
            )
            if body is not None:
                headers["Content-Type"] = "application/json"
                headers["Content-Length"] = str(len(body))
            headers.update(additional_headers or ())
            async with self.send_context(expected_state=State.CONNECTING):
                self.protocol.send_request(RequestWithBody(upgrade.path, headers, method))
            ends = (self.response_rcvd, self.connection_lost_waiter)
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            assert self.protocol.handshake_exc is not None
            raise self.protocol.handshake_exc

    return Connection
