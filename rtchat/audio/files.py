"""Reads audio files and converts them to PCM16, mono, 24 kHz, the format of the API.

WAV files are read by `wav_reader.py`, other formats by `soundfile`. Anything but PCM16, mono,
24 kHz needs the extra `audio`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import closing
from typing import TypeAlias

from rtchat.audio.c_stderr import silence_libraries
from rtchat.audio.conversion import converter, missing_package
from rtchat.audio.input_file import InputFile, Source, name_of, opened
from rtchat.audio.pcm import RATE, WIDTH
from rtchat.audio.wav_reader import PIECE_SECONDS, read_header, read_samples
from rtchat.core.errors import UsageError
from rtchat.system.loop import post_to

MAX_MINUTES = 30
"""The maximum length of audio that `read` accepts, in minutes."""

Warn: TypeAlias = Callable[[str], None]


def _ignore_warning(_: str) -> None:
    """The default `warn`: discard the warning."""


def read(source: Source, warn: Warn = _ignore_warning) -> bytes:
    """Read a whole file. Calls `warn` if it is shorter than its header says.

    Raises:
        UsageError: the file cannot be read, has no audio or is too long, or its format needs the
            extra `audio`, which is not installed.
    """
    audio = bytearray()
    for piece in stream(source, warn):
        audio += piece
        if len(audio) > MAX_MINUTES * 60 * RATE * WIDTH:
            message = f"{name_of(source)} is longer than {MAX_MINUTES} minutes"
            raise UsageError(message, hint="use a shorter part of it, or `rtchat transcribe`")
    return bytes(audio)


def stream(source: Source, warn: Warn = _ignore_warning) -> Generator[bytes]:
    """Read a file or an endless stream in pieces of about 100 ms. Blocks while no data is
    available. Warns and raises UsageError like `read`."""
    with opened(source) as file:
        head = file.read(12)
        if not head:
            raise UsageError(f"{file.name} is empty", hint="use a file with audio")
        wav_format = read_header(file) if head[:4] == b"RIFF" and head[8:] == b"WAVE" else None
        pieces = _decode(file) if wav_format is None else read_samples(file, wav_format, warn)
        has_audio = False
        for piece in filter(None, pieces):
            has_audio = True
            yield piece
        if not has_audio:
            raise UsageError(f"{file.name} contains no audio", hint="use a file with audio")


async def stream_async(source: Source, warn: Warn = _ignore_warning) -> AsyncGenerator[bytes]:
    """Like `stream`, but reads in a daemon thread, which does not delay the end of the program.
    Calls `warn` on the event loop."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | Exception] = asyncio.Queue()
    room = threading.Semaphore(50)  # the number of pieces read ahead
    is_over = threading.Event()

    def put(piece: bytes | Exception) -> None:
        room.acquire()
        post_to(loop, queue.put_nowait, piece)

    def warn_on_loop(text: str) -> None:
        post_to(loop, warn, text)

    def run() -> None:
        try:
            with closing(stream(source, warn_on_loop)) as pieces:
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


def _decode(file: InputFile) -> Iterator[bytes]:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: without libsndfile
        raise missing_package(
            f"{file.name} is not an uncompressed WAV file", "soundfile"
        ) from error
    silence_libraries()
    try:
        with file.as_file() as seekable, soundfile.SoundFile(seekable) as audio_file:
            convert = converter(audio_file.samplerate, file.name)
            # Prevents a seek after each read, which would change the decoded audio of an MP3.
            audio_file.seekable = lambda: False
            size = max(1, round(audio_file.samplerate * PIECE_SECONDS))
            while len(block := audio_file.read(size, dtype="float32", always_2d=True)):
                yield convert(block.mean(axis=1))
            yield convert(None)
    except (soundfile.SoundFileError, ValueError) as error:
        message = f"{file.name} is not an audio file, or is damaged"
        raise UsageError(message, hint="use a WAV, FLAC, OGG or MP3 file") from error
