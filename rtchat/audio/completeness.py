"""Finds damage in audio files that decoders do not report, from the structure of the files.

A finding is a text that follows "the file is"; it is empty if the file seems complete.
"""

from __future__ import annotations

import re
import struct
from typing import BinaryIO
from zlib import crc32

from rtchat.audio.file_format import FileFormat, ts_packet
from rtchat.audio.frames import FrameLength, follow_frames
from rtchat.core.audio_frames import (
    ac3_frame,
    adts_frame,
    amr_frame,
    amr_wb_frame,
    mpeg_frame,
    mpeg_frame_seconds,
)
from rtchat.core.values import value

_MIN_SHOWN_SECONDS = 0.05
"""Shorter lengths would be shown as 0.0 s."""
_MPEG_TOLERANCE_SECONDS = 0.5
"""How much silence decoders may remove from the start and the end."""


def incomplete(seconds: float = 0.0) -> str:
    """The finding that audio is missing: `seconds` of it, or an unknown amount at the end."""
    if seconds < _MIN_SHOWN_SECONDS:
        return "incomplete: its end is missing"
    return f"incomplete: {seconds:.1f} s of its audio are missing"


def says_how_much(finding: str) -> bool:
    """Whether a finding says how much audio is missing."""
    return finding.startswith("incomplete") and finding != incomplete()


def damaged(seconds: float = 0.0) -> str:
    """The finding that parts of a file are unreadable: `seconds` of audio, or an unknown amount."""
    amount = "some" if seconds < _MIN_SHOWN_SECONDS else f"{seconds:.1f} s"
    return f"damaged: {amount} of its audio could not be read"


def find_damage(file: BinaryIO, known: FileFormat, seconds: float) -> str:
    """Find damage in a file whose decoded audio is `seconds` long."""
    match known.demuxer:
        case "ogg":
            return _check_ogg(file)
        case "mov":
            return _check_boxes(file)
        case "flv":
            return _check_flash(file)
        case "mpegts":
            return _check_packets(file)
        case "au":
            return _check_au(file, seconds)
        case _ if known.name in _FRAMED:
            return _check_frames(file, _FRAMED[known.name], seconds)
        case layout if layout in _CHUNKED:
            return _check_chunks(file, _CHUNKED[layout], seconds)
        case _:
            return ""


def _missing(size: int, start: int, end: int, seconds: float) -> str:
    """The finding for audio that should extend from `start` to `end` in a file of `size` bytes."""
    if end <= size:
        return ""
    return incomplete(seconds * (end - size) / (size - start) if size > start else 0.0)


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)


# ------------------------------------------------------------------------------------------ chunks


@value
class _Chunks:
    """A file of chunks, the first of which begins at byte `first`. `header` is the layout of a
    chunk's name and size; `is_whole` is whether the size includes this header. Chunks begin at
    multiples of `align` bytes. The name of a chunk with audio begins with `audio`."""

    first: int
    header: str
    align: int
    audio: bytes
    is_whole: bool = False


_CHUNKED = {
    "wav": _Chunks(12, "<4sI", 2, b"data"),
    "avi": _Chunks(12, "<4sI", 2, b"LIST"),
    "aiff": _Chunks(12, ">4sI", 2, b"SSND"),
    "caf": _Chunks(8, ">4sq", 1, b"data"),
    "w64": _Chunks(40, "<16sQ", 8, b"data", is_whole=True),
}
_UNKNOWN_SIZES = (0, -1, 0xFFFF_FFFF)


def _check_chunks(file: BinaryIO, chunks: _Chunks, seconds: float) -> str:
    size, place, declared = _size(file), chunks.first, 0
    length = struct.calcsize(chunks.header)
    while place + length <= size:
        file.seek(place)
        name, content = struct.unpack(chunks.header, file.read(length))
        if name == b"ds64":  # of RF64, in which the size of the next chunk may be unknown
            declared = int.from_bytes(file.read(16)[8:], "little")
        elif content == 0xFFFF_FFFF and declared:
            content = declared
        if content in _UNKNOWN_SIZES or content < 0:
            break
        end = place + content + (0 if chunks.is_whole else length)
        if name.startswith(chunks.audio) and end > size:
            return _missing(size, place + length, end, seconds)
        place = max(end + -end % chunks.align, place + length)
    return ""


def _check_au(file: BinaryIO, seconds: float) -> str:
    file.seek(0)
    header = file.read(12)
    if len(header) < 12:
        return ""
    _, start, length = struct.unpack(">4sII", header)
    return "" if length in _UNKNOWN_SIZES else _missing(_size(file), start, start + length, seconds)


# --------------------------------------------------------------------------------------------- Ogg


_OGG_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST_PAGE, _LAST_PAGE = 2, 4
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _check_ogg(file: BinaryIO) -> str:
    """Check that all pages are there and undamaged, up to the last page of each stream."""
    file.seek(0)
    number_of: dict[int, int] = {}
    unfinished: set[int] = set()
    while header := file.read(_OGG_HEADER.size):
        if len(header) < _OGG_HEADER.size:
            return incomplete()
        magic, _, flags, _, serial, number, checksum, segments = _OGG_HEADER.unpack(header)
        if magic != b"OggS":
            return damaged()
        table = file.read(segments)
        body = file.read(sum(table))
        if len(table) < segments or len(body) < sum(table):
            return incomplete()
        page = header[:22] + bytes(4) + header[26:] + table + body
        if flags & _FIRST_PAGE:  # files may be joined
            number_of.pop(serial, None)
        is_next = number == number_of.get(serial, number - 1) + 1
        if not is_next or _ogg_checksum(page) != checksum:
            return damaged()
        number_of[serial] = number
        (unfinished.discard if flags & _LAST_PAGE else unfinished.add)(serial)
    return incomplete() if unfinished else ""


def _ogg_checksum(page: bytes) -> int:
    """Ogg's CRC-32. Unlike zlib's, it takes the bits of each byte in the opposite order, and does
    not invert the first and the last value."""
    reverse = crc32(page.translate(_REVERSED_BITS), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(reverse.to_bytes(4, "little").translate(_REVERSED_BITS), "big")


# ------------------------------------------------------------------------------------------ frames


@value
class _Framed:
    """A file of frames. The first one begins at byte `start`. `sync` matches the fixed bits at the
    beginning of each frame; None if there are none. Its first byte stands for itself."""

    frame_length: FrameLength
    sync: re.Pattern[bytes] | None = None
    start: int = 0


_MPEG = _Framed(mpeg_frame, re.compile(b"\xff[\xe0-\xff][^\xf0-\xff]"))
_FRAMED = {
    "MP3": _MPEG,
    "MPEG audio": _MPEG,
    "AAC": _Framed(adts_frame, re.compile(b"\xff[\xf0\xf1\xf8\xf9]")),
    "AC-3": _Framed(ac3_frame, re.compile(b"\x0b\x77")),
    "AMR": _Framed(amr_frame, start=6),
    "AMR-WB": _Framed(amr_wb_frame, start=9),
}
"""By the name of the format. DTS is not listed, because DTS-HD has frames of two kinds."""


def _check_frames(file: BinaryIO, framed: _Framed, seconds: float) -> str:
    """Check that all frames are complete; for MPEG audio also that there are as many as the first
    frame says, and that all of them were decoded."""
    found = follow_frames(file, framed.frame_length, framed.start, framed.sync)
    if found.is_broken or not found.count:
        return damaged() if found.is_broken else ""
    is_mpeg = framed.frame_length is mpeg_frame
    frame_seconds = mpeg_frame_seconds(found.first) if is_mpeg and mpeg_frame(found.first) else 0.0
    declared = _declared_frames(found.first) if is_mpeg else 0
    if declared > found.count:
        return incomplete((declared - found.count) * frame_seconds)
    if found.is_cut and not declared:
        return incomplete()
    # `soundfile` estimates the length of an MP3 that does not state it, and ends there.
    undecoded = found.count * frame_seconds - seconds
    return damaged(undecoded) if undecoded > _MPEG_TOLERANCE_SECONDS else ""


def _declared_frames(frame: bytes) -> int:
    """The number of frames that the first frame says the file has, itself included; 0 if it does
    not say it."""
    for name in (b"Xing", b"Info"):
        at = frame.find(name)
        if at > 0 and len(frame) >= at + 12 and frame[at + 7] & 1:
            return 1 + int.from_bytes(frame[at + 8 : at + 12], "big")
    return 0


# ------------------------------------------------------------------------- boxes, tags and packets


def _check_boxes(file: BinaryIO) -> str:
    """Check that the last box of an MPEG-4 file is complete."""
    size, place = _size(file), 0
    while place < size:
        file.seek(place)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        if length < 8:  # 0: the box extends to the end of the file; 1 to 7 are invalid
            return ""
        place += length
    return incomplete() if place > size else ""


def _check_flash(file: BinaryIO) -> str:
    """Check that the last tag of a Flash video is complete."""
    size, place = _size(file), 13
    while place < size:
        file.seek(place + 1)
        place += 11 + int.from_bytes(file.read(3), "big") + 4
    return incomplete() if place > size else ""


def _check_packets(file: BinaryIO) -> str:
    """Check that the last packet of an MPEG-TS file is complete."""
    file.seek(0)
    length = ts_packet(file.read(1024))
    return incomplete() if length and _size(file) % length else ""
