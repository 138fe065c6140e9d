"""Misbehaving clients of the server: raw sockets. Well-behaved clients are in `loopback`."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.program import PATIENCE

TEXT, BINARY, CONTINUATION, CLOSE, PING = 1, 2, 0, 8, 9
_REQUEST = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def frame(payload: bytes, opcode: int = TEXT, *, ends: bool = True) -> bytes:
    """A client's frame, masked with zeros."""
    head = bytes([(0x80 if ends else 0) | opcode])
    size = len(payload)
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", size)
    return head + bytes(4) + payload


def event(kind: str, **fields: object) -> bytes:
    """An event as a frame."""
    return frame(json.dumps({"type": kind, **fields}).encode())


class RawClient:
    """A raw TCP or TLS connection."""

    def __init__(self, url: str, *, small: bool = False) -> None:
        parts = urlsplit(url)
        self.socket = socket.socket()
        if small:  # a small receive buffer
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((parts.hostname, parts.port))
        if parts.scheme == "wss":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)

    def handshake(self, request: bytes = _REQUEST) -> bytes:
        """Send a WebSocket handshake. Returns the head of the response."""
        self.socket.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            byte = self.socket.recv(1)
            if not byte:
                break
            head += byte
        return head

    def read_to_end(self) -> bytes:
        """Read until the connection ends. Returns all data."""
        received = bytearray()
        with suppress(ConnectionError):
            while piece := self.socket.recv(1 << 16):
                received += piece
        return bytes(received)

    def close(self) -> None:
        self.socket.close()


@contextmanager
def raw_client(url: str, *, handshake: bool = True, small: bool = False) -> Iterator[RawClient]:
    """A connection; with `handshake`, a WebSocket."""
    client = RawClient(url, small=small)
    try:
        if handshake:
            assert client.handshake().startswith(b"HTTP/1.1 101 ")
        yield client
    finally:
        client.close()


@contextmanager
def flooding(url: str, first: bytes, again: bytes, *, reads: bool = True) -> Iterator[RawClient]:
    """A client that sends as fast as it can for the duration of the block. With `reads`, it also
    reads."""
    with raw_client(url) as client:
        stop = threading.Event()

        def send() -> None:
            data = first
            with suppress(OSError):
                while not stop.is_set():
                    client.socket.sendall(data)
                    data = again

        def read() -> None:
            with suppress(OSError):
                while client.socket.recv(1 << 16):
                    pass

        threads = [threading.Thread(target=send)]
        threads += [threading.Thread(target=read)] if reads else []
        for thread in threads:
            thread.start()
        try:
            yield client
        finally:
            stop.set()
            with suppress(OSError):
                client.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(PATIENCE)
