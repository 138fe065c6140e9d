"""Finds damage in audio files that decoders do not report, from the structure of the files.

A finding is a text that follows "the file is"; it is empty if the file seems complete.
"""

from __future__ import annotations

import struct
from typing import BinaryIO
from zlib import crc32

from rtchat.audio.file_format import FileFormat, skip_id3
from rtchat.core.mpeg_audio import mp3_frame, mp3_frame_seconds
from rtchat.core.values import value

_MIN_SHOWN_SECONDS = 0.05
_SEARCHED = 65536
"""Bytes that are searched at a time for the next frame."""
_MP3_TOLERANCE = 0.5
"""Seconds of silence that decoders may remove from the start and the end."""
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")
"""What may follow the last frame of an MP3 file."""


def incomplete(seconds: float = 0.0) -> str:
    """The finding that audio is missing: `seconds` of it, or an unknown amount at the end."""
    if seconds < _MIN_SHOWN_SECONDS:
        return "incomplete: its end is missing"
    return f"incomplete: {seconds:.1f} s of its audio are missing"


def damaged(seconds: float = 0.0) -> str:
    """The finding that parts of a file are unreadable: `seconds` of audio, or an unknown amount."""
    amount = "some" if seconds < _MIN_SHOWN_SECONDS else f"{seconds:.1f} s"
    return f"damaged: {amount} of its audio could not be read"


def find_damage(file: BinaryIO, known: FileFormat, seconds: float) -> str:
    """Find damage in a file whose decoded audio is `seconds` long."""
    match known.demuxer:
        case "ogg":
            return _check_ogg(file)
        case "mp3":
            return _check_mp3(file, seconds)
        case "au":
            return _check_au(file, seconds)
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
    """A file of chunks. `header` is the layout of a name and a size; `is_whole` is whether the size
    includes this header. A chunk begins at a multiple of `align` bytes. `audio` is the start of the
    name of a chunk with audio."""

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
    """Ogg's CRC-32: that of zlib with the bits of each byte in the other order, and without its two
    inversions."""
    reverse = crc32(page.translate(_REVERSED_BITS), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(reverse.to_bytes(4, "little").translate(_REVERSED_BITS), "big")


# --------------------------------------------------------------------------------------------- MP3


def _check_mp3(file: BinaryIO, seconds: float) -> str:
    """Compare the frames in the file with their number in the first one, and with the audio."""
    found = _count_frames(file)
    if found.is_broken or not found.count:
        return damaged() if found.is_broken else ""
    if missing := max(0, found.declared - found.count):
        return incomplete(missing * found.frame_seconds)
    if found.is_cut and not found.declared:
        return incomplete()
    # `soundfile` estimates the length of a file that does not state it, and ends there.
    undecoded = found.count * found.frame_seconds - seconds
    return damaged(undecoded) if undecoded > _MP3_TOLERANCE else ""


@value
class _Frames:
    """The frames of an MP3 file."""

    count: int
    """The number of complete frames."""
    declared: int
    """Their number as the first one states it; 0 if it does not."""
    frame_seconds: float
    is_broken: bool
    """Whether there is something else between them."""
    is_cut: bool
    """Whether the last one is incomplete."""


def _count_frames(file: BinaryIO) -> _Frames:
    """Follow the frames from one to the next."""
    size, place = _size(file), skip_id3(file)
    file.seek(place)
    first = file.read(256)
    count, is_broken, is_cut = 0, False, False
    while place < size:
        file.seek(place)
        if length := mp3_frame(file.read(4)):
            is_cut = place + length > size
            count += not is_cut
            place += length
        elif (after := skip_id3(file, place)) > place:
            place = after
        elif (found := _next_frame(file, place)) is not None:
            is_broken = is_broken or count > 0
            place = found
        else:
            is_cut = size - place < 4
            break
    duration = mp3_frame_seconds(first) if mp3_frame(first) else 0.0
    return _Frames(count, _declared_frames(first), duration, is_broken, is_cut)


def _declared_frames(frame: bytes) -> int:
    """The number of frames, including this first one, which states it; 0 if it does not."""
    for name in (b"Xing", b"Info"):
        at = frame.find(name)
        if at > 0 and len(frame) >= at + 12 and frame[at + 7] & 1:
            return 1 + int.from_bytes(frame[at + 8 : at + 12], "big")
    return 0


def _next_frame(file: BinaryIO, place: int) -> int | None:
    """The position of the next frame that is followed by another one or by the end of the file;
    None if only tags or padding follow."""
    file.seek(place)
    if file.read(16).startswith(_TAGS):
        return None
    while True:
        file.seek(place)
        data = file.read(_SEARCHED + 4)
        at = 0
        while (at := data.find(b"\xff", at, _SEARCHED)) >= 0:
            if length := mp3_frame(data[at : at + 4]):
                file.seek(place + at + length)
                if (after := file.read(4)) == b"" or mp3_frame(after):
                    return place + at
            at += 1
        if len(data) <= _SEARCHED:
            return None
        place += _SEARCHED
