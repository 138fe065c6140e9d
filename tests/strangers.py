"""Clients of the server that do not keep to any manners: bare sockets, written to by hand.

Not here: any test, and clients that do (`loopback`).
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

PATIENCE = 60.0
TEXT, BINARY, CONTINUATION, CLOSE, PING = 1, 2, 0, 8, 9
_REQUEST = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def frame(payload: bytes, opcode: int = TEXT, *, ends: bool = True) -> bytes:
    """A frame as a client masks it, with zeros."""
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


class Stranger:
    """A bare connection."""

    def __init__(self, url: str, *, small: bool = False) -> None:
        parts = urlsplit(url)
        self.socket = socket.socket()
        if small:  # what the server sends has little room here
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((parts.hostname, parts.port))
        if parts.scheme == "wss":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)

    def shake_hands(self, request: bytes = _REQUEST) -> bytes:
        """Ask for a WebSocket; the head of the answer."""
        self.socket.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head:
            byte = self.socket.recv(1)
            if not byte:
                break
            head += byte
        return head

    def ends(self) -> bytes:
        """Read to the end; what came."""
        came = bytearray()
        with suppress(ConnectionError):
            while piece := self.socket.recv(1 << 16):
                came += piece
        return bytes(came)

    def close(self) -> None:
        self.socket.close()


@contextmanager
def stranger(url: str, *, shakes: bool = True, small: bool = False) -> Iterator[Stranger]:
    """A connection, with a session unless it never `shakes` hands."""
    one = Stranger(url, small=small)
    try:
        if shakes:
            assert one.shake_hands().startswith(b"HTTP/1.1 101 ")
        yield one
    finally:
        one.close()


@contextmanager
def flooding(url: str, first: bytes, again: bytes, *, reads: bool = True) -> Iterator[Stranger]:
    """One that sends as fast as it can while the block runs, and perhaps reads nothing."""
    with stranger(url) as one:
        over = threading.Event()

        def send() -> None:
            data = first
            with suppress(OSError):
                while not over.is_set():
                    one.socket.sendall(data)
                    data = again

        def read() -> None:
            with suppress(OSError):
                while one.socket.recv(1 << 16):
                    pass

        threads = [threading.Thread(target=send)]
        threads += [threading.Thread(target=read)] if reads else []
        for thread in threads:
            thread.start()
        try:
            yield one
        finally:
            over.set()
            with suppress(OSError):
                one.socket.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(PATIENCE)
