"""Reads audio files and pipes as PCM16, mono, 24 kHz, the format of the API.

Uncompressed WAV and raw PCM are read by `wav_reader.py`, all else by `decoding.py`. Anything but
PCM16, mono, 24 kHz needs the extra `audio` or the program ffmpeg.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import closing

from rtchat.audio.decoding import decode
from rtchat.audio.input_file import InputFile, Source, name_of, opened
from rtchat.audio.pcm import RATE, WIDTH
from rtchat.audio.wav_reader import WavFormat, read_header, read_samples
from rtchat.core.errors import ExitCode, Problem, RtchatError, UsageError
from rtchat.system.loop import post_to

MAX_MINUTES = 30
"""The maximum length of audio that `read` accepts, in minutes."""


class IncompleteFileError(RtchatError):
    """A file is truncated or damaged: not all of its audio could be read."""

    exit = ExitCode.REPLY


def read(
    source: Source, report: Callable[[Problem], None] = lambda _: None, raw: int | None = None
) -> bytes:
    """Read a whole file. Calls `report` if it is truncated or damaged, and returns what can be
    read. `raw` is the sample rate of a file without a header: PCM16, mono.

    Raises:
        UsageError: the file cannot be read, has no audio or is too long, or its format needs a
            package or a program that is not installed.
    """
    audio = bytearray()
    try:
        for piece in stream(source, raw):
            audio += piece
            if len(audio) > MAX_MINUTES * 60 * RATE * WIDTH:
                message = f"{name_of(source)} is longer than {MAX_MINUTES} minutes"
                raise UsageError(message, hint="use a shorter part of it, or `rtchat transcribe`")
    except IncompleteFileError as error:
        report(error.problem)
    return bytes(audio)


def stream(source: Source, raw: int | None = None) -> Generator[bytes]:
    """Read a file or an endless stream in pieces of about 100 ms. Blocks while no data is
    available. `raw` is as for `read`.

    Raises:
        UsageError: as for `read`.
        IncompleteFileError: the file is truncated or damaged. Raised after the last piece.
    """
    findings: list[str] = []
    with opened(source) as file:
        has_audio = False
        for piece in filter(None, _decode(file, raw, findings.append)):
            has_audio = True
            yield piece
    if not has_audio:
        message = f"is {findings[-1]}" if findings else "contains no audio"
        raise UsageError(f"{file.name} {message}", hint="use a file with audio")
    if findings:
        hint = "what could be read was used; for the rest, use a complete copy of the file"
        raise IncompleteFileError(f"{file.name} is {findings[-1]}", hint=hint)


def _decode(file: InputFile, raw: int | None, report: Callable[[str], None]) -> Iterator[bytes]:
    """The decoder of a file, chosen by its first bytes."""
    wav_format = read_header(file) if raw is None else WavFormat("i2", raw, 1)
    if wav_format is not None:
        return read_samples(file, wav_format, report)
    if not file.head:
        raise UsageError(f"{file.name} is empty", hint="use a file with audio")
    return decode(file, report)


async def stream_async(source: Source, raw: int | None = None) -> AsyncGenerator[bytes]:
    """Like `stream`, but reads in a daemon thread, which does not delay the end of the program."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | Exception] = asyncio.Queue()
    room = threading.Semaphore(50)  # the number of pieces read ahead
    is_over = threading.Event()

    def put(piece: bytes | Exception) -> None:
        room.acquire()
        post_to(loop, queue.put_nowait, piece)

    def run() -> None:
        try:
            with closing(stream(source, raw)) as pieces:
                for piece in pieces:
                    put(piece)
                    if is_over.is_set() or loop.is_closed():
                        return
            put(b"")
        except Exception as error:  # re-raised on the loop
            put(error)

    threading.Thread(target=run, name="audio", daemon=True).start()
    try:
        while piece := await queue.get():
            room.release()
            if isinstance(piece, Exception):
                raise piece
            yield piece
    finally:
        is_over.set()
        room.release()
