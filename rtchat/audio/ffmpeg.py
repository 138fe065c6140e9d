"""Decodes files by the program ffmpeg.

ffmpeg gets an open file and its format, which the first bytes tell. It opens no other file and no
network connection, whatever the file says.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from math import isfinite
from threading import Lock, Thread
from typing import IO, BinaryIO

from rtchat.audio.completeness import damaged, incomplete
from rtchat.audio.file_format import FileFormat
from rtchat.audio.pcm import RATE, WIDTH
from rtchat.core.errors import UsageError
from rtchat.system.files import shown_name

_PROGRAM = "ffmpeg"
_PIECE = RATE // 10 * WIDTH
"""Bytes of decoded audio read at a time: 100 ms."""
_PROBE_TIMEOUT = 10.0
"""Seconds that ffprobe may take to read a header."""
_START_TIMEOUT = 1.0
"""Seconds to wait at exit for a program that is being started. It may be on a drive that does not
answer."""
_MAX_LINE = 1000
"""Bytes of ffmpeg's log that are read as one line."""
_MAX_KEPT = 100
"""How many errors and how many streams of the log are kept."""
_TOLERANCES = {"mov": 0.5, "matroska": 0.5, "flv": 0.5, "flac": 0.05}
"""By how many seconds the audio of an undamaged file may be shorter than the file says, by the
demuxer. For other formats, ffmpeg only estimates the length."""
_LATE = "aresample=first_pts=0:min_comp=0.01:min_hard_comp=1000000"
_FILTERS = {
    "mov": "aresample=async=1:first_pts=0",
    **dict.fromkeys(("matroska", "flv", "asf"), _LATE),
}
"""By the demuxer. Silence fills the time before a sound that begins later than the picture, so that
the times of the text are those of the file; in MPEG-4 files, it fills gaps, too. In the others, the
times may go back, as in joined files, and filling gaps would drop that audio."""

_NO_INDEX = ("moov atom not found", "Missing packet table")
"""The beginnings of messages about an MPEG-4 or CAF file without the index of its audio."""


def find() -> str | None:
    """The path of ffmpeg; None if it is not installed."""
    return shutil.which(_PROGRAM)


def decode(
    file: BinaryIO, name: str, known: FileFormat, report: Callable[[str], None]
) -> Iterator[bytes]:
    """Decode the first audio stream to PCM16, mono, 24 kHz. Calls `report` with a finding of
    `completeness` if the file is damaged.

    Raises:
        UsageError: nothing in the file can be decoded, or ffmpeg cannot be run or crashes.
    """
    file.seek(0)
    command = [
        *(find() or _PROGRAM, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info"),
        # /dev/fd/0 is the open file: its name cannot be mistaken for an option or a protocol.
        *("-protocol_whitelist", "file", "-f", known.demuxer, "-i", "file:/dev/fd/0"),
        *("-map", "0:a:0", "-af", _FILTERS.get(known.demuxer, "anull")),
        *("-ac", "1", "-ar", str(RATE), "-f", "s16le", "pipe:1"),
    ]
    size = 0
    with ExitStack() as stack:
        try:
            process = stack.enter_context(_started(command, file, subprocess.PIPE))
        except OSError as error:
            message = f"ffmpeg, which {name} needs, cannot be run ({error.strerror})"
            raise UsageError(message, hint="check that `ffmpeg -version` works") from error
        assert process.stdout is not None
        assert process.stderr is not None
        log = _Log(process.stderr, known)
        while piece := process.stdout.read(_PIECE):
            size += len(piece)
            yield piece
        code = process.wait()
        log.join()
    if not size:
        raise log.failure(name, code)
    if finding := log.finding(size / WIDTH / RATE, failed=code != 0):
        report(finding)


def duration(file: BinaryIO, known: FileFormat) -> float:
    """The length in seconds that the file says; 0 if it does not, or without ffprobe."""
    program = shutil.which("ffprobe")
    if program is None:
        return 0.0
    file.seek(0)
    command = [
        *(program, "-v", "quiet", "-protocol_whitelist", "file", "-f", known.demuxer),
        *("-show_entries", "format=duration", "-of", "csv=p=0", "file:/dev/fd/0"),
    ]
    try:
        with _started(command, file, subprocess.DEVNULL) as process:
            seconds = float(process.communicate(timeout=_PROBE_TIMEOUT)[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0.0
    return seconds if isfinite(seconds) and seconds > 0 else 0.0


@contextmanager
def _started(
    command: Sequence[str], file: BinaryIO, stderr: int
) -> Generator[subprocess.Popen[bytes]]:
    """A program that reads `file`; it ends with the context. Raises OSError."""
    start = partial(
        subprocess.Popen,
        command,
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C is for rtchat
    )
    started: Future[subprocess.Popen[bytes]] = Future()
    # Ctrl-C interrupts only the main thread: no program is lost while it starts.
    Thread(target=_start, args=(start, started), daemon=True).start()
    process = started.result()
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
        _RUNNING.discard(process)


def _start(
    start: Callable[[], subprocess.Popen[bytes]], started: Future[subprocess.Popen[bytes]]
) -> None:
    with _LOCK:
        try:
            process = start()
        except Exception as error:  # raised in the other thread
            started.set_exception(error)
            return
        _RUNNING.add(process)
    started.set_result(process)


_RUNNING: set[subprocess.Popen[bytes]] = set()
_LOCK = Lock()
"""Held while a program starts: none may run that is not in the set."""


def kill_all() -> None:
    """At exit, kill the programs that still run, such as one that hangs while a thread waits for
    it, and start no others. There is no time limit for decoding: a file on a slow network drive may
    take long."""
    _LOCK.acquire(timeout=_START_TIMEOUT)  # never released
    for process in list(_RUNNING):
        process.kill()


class _Log:
    """What ffmpeg writes to stderr, read by a thread of its own.

    `-loglevel level+info` marks each line: `[aac @ 0x5581] [error] …`, `[info]   Duration: …`.
    """

    _LINE = re.compile(r"(?:\[(?P<part>[^\]]*?)(?: @ \w+)?\] )?\[(?P<level>\w+)\] (?P<text>.*)")
    _DURATION = re.compile(r" *Duration: (\d+):(\d\d):(\d\d\.\d+)(?:, start: (\d+\.\d+))?")
    _STREAM = re.compile(r" *Stream #0:\d+.*?: (\w+): (\w+)")

    def __init__(self, stream: IO[bytes], known: FileFormat) -> None:
        self._known = known
        self._errors: list[tuple[str, str]] = []
        """For each of the first errors, the part of ffmpeg that reports it, and its text."""
        self._duration = 0.0
        self._is_input = True
        self._is_readable = False
        self._streams: list[tuple[str, str]] = []
        """The kind and the codec of each stream of the file."""
        self._thread = Thread(target=self._run, args=(stream,), daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the log."""
        self._thread.join()

    def _run(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(_MAX_LINE):
                self._note(line.decode(errors="replace").rstrip())

    def _note(self, line: str) -> None:
        if (found := self._LINE.match(line)) is None:
            return
        level, text = found["level"], found["text"]
        if level in ("error", "fatal") or "Packet corrupt" in text:
            if len(self._errors) < _MAX_KEPT:
                self._errors.append((found["part"] or "", text))
        elif text.startswith("Output #0"):
            self._is_input = False
        elif level == "info" and self._is_input:
            self._note_input(text)

    def _note_input(self, text: str) -> None:
        if text.startswith("Input #0"):
            self._is_readable = True
        elif duration := self._DURATION.match(text):
            hours, minutes, seconds, start = duration.groups()
            end = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
            self._duration = end - float(start or 0)
        elif (stream := self._STREAM.match(text)) and len(self._streams) < _MAX_KEPT:
            self._streams.append((stream[1], stream[2]))

    def failure(self, name: str, code: int) -> UsageError:
        """The error if nothing was decoded. `code` is the exit code of ffmpeg, negative for a
        signal."""
        if code < 0 or (code and not self._errors):
            why = f"signal {-code}" if code < 0 else f"exit code {code}"
            message = f"ffmpeg, which {name} needs, failed ({why})"
            return UsageError(message, hint="check that `ffmpeg -version` works")
        kinds = [kind for kind, _ in self._streams]
        if self._is_readable and "Audio" not in kinds:
            return UsageError(f"{name} contains no audio", hint="use a file with audio")
        if any(text.startswith(_NO_INDEX) for _, text in self._errors):
            message = f"{name} cannot be read: its index, which is at its end, is missing"
            hint = "it was cut off or is still being written; use a complete copy of it"
            return UsageError(message, hint=hint)
        why = f" ({shown_name(self._errors[0][1])})" if self._errors else ""
        message = f"{name} is damaged: nothing in this {self._known.name} file can be read{why}"
        return UsageError(message, hint="use a complete copy of it")

    def finding(self, seconds: float, *, failed: bool) -> str:
        """What is wrong with a file of which `seconds` were decoded; empty if nothing is."""
        others = {codec for kind, codec in self._streams if kind != "Audio"}
        errors = [text for part, text in self._errors if part not in others and "s16le" not in part]
        tolerance = _TOLERANCES.get(self._known.demuxer, 0.0)
        # If there are other streams, such as pictures, the length is that of the longest one.
        missing = self._duration - seconds if tolerance and len(self._streams) == 1 else 0.0
        if missing > tolerance:
            return incomplete(missing)
        return damaged(missing) if errors or failed else ""
