"""Small generated files to attach."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from rtchat.core.errors import UsageError
from rtchat.inputs.attachments import read

BY = "×"  # noqa: RUF001 - between two sides
JPEG = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300" + "01" * 64 + "ffc0000b080001000101011100"
    "ffc40014000100000000000000000000000000000009ffc40014100100000000000000000000000000000000"
    "ffda0008010100003f0037ffd9"
)
"""One grey pixel, in as few bytes as possible."""


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int = 3, height: int = 2) -> bytes:
    """A black image; a very large one has only the header of its size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + bytes(width)) * height) if width * height < 1e8 else b""
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def write(folder: Path, name: str, data: bytes | str) -> Path:
    """Write a file with this content."""
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def refusal(path: Path) -> str:
    """The error message when this file is attached."""
    with pytest.raises(UsageError) as caught:
        read(path)
    return str(caught.value)
