"""Follows the frames of an audio file from one to the next."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

from rtchat.audio.file_format import skip_id3
from rtchat.core.values import value

FrameLength = Callable[[bytes], int]
"""The length of the frame that begins with these bytes; 0 if they are no header."""
_HEADER = 6
"""Bytes that every header fits in."""
_FIRST = 256
"""Bytes of the first frame that are kept: it may say how many frames follow."""
_SEARCHED = 65536
"""Bytes that are searched at a time for the next frame."""
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")
"""What may follow the last frame."""


@value
class Frames:
    """The frames of a file."""

    count: int
    """The number of complete frames."""
    first: bytes
    """The first bytes of the first frame."""
    is_broken: bool
    """Whether there is anything else between them, except tags."""
    is_cut: bool
    """Whether the last frame is incomplete."""


def follow_frames(
    file: BinaryIO, frame_length: FrameLength, start: int, sync: re.Pattern[bytes] | None
) -> Frames:
    """Find the frames of a file from byte `start` on. `sync` matches the beginning of each frame,
    by which the next one is found after other data; without it, the search ends there."""
    size, place = file.seek(0, 2), skip_id3(file, start)
    file.seek(place)
    first = file.read(_FIRST)
    count, is_broken, is_cut = 0, False, False
    while place < size:
        file.seek(place)
        if length := frame_length(file.read(_HEADER)):
            is_cut = place + length > size
            count += not is_cut
            place += length
        elif (after := skip_id3(file, place)) > place:
            place = after
        elif (found := _next_frame(file, frame_length, place, sync)) is not None:
            is_broken = is_broken or count > 0
            place = found
        else:
            file.seek(place)
            rest = file.read(_HEADER)
            is_cut = len(rest) < _HEADER and (sync is None or rest[:1] == sync.pattern[:1])
            is_broken = is_broken or not (sync or is_cut)
            break
    return Frames(count, first, is_broken, is_cut)


def _next_frame(
    file: BinaryIO, frame_length: FrameLength, place: int, sync: re.Pattern[bytes] | None
) -> int | None:
    """The position of the next frame that is followed by another one or by the end of the file;
    None if only tags or padding follow."""
    file.seek(place)
    if sync is None or file.read(16).startswith(_TAGS):
        return None
    while True:
        file.seek(place)
        data = file.read(_SEARCHED + _HEADER)
        found = sync.search(data)
        while found is not None:
            at = found.start()
            if length := frame_length(data[at : at + _HEADER]):
                file.seek(place + at + length)
                if (after := file.read(_HEADER)) == b"" or frame_length(after):
                    return place + at
            found = sync.search(data, at + 1)
        if len(data) <= _SEARCHED:
            return None
        place += _SEARCHED
