"""Records the audio of replies and translations to files."""

from __future__ import annotations

import asyncio
import os
import queue
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from rtchat.app.environment import Environment
from rtchat.core.effects import Update, error_notice
from rtchat.core.errors import ExitCode, OutputError, Problem, UsageError, writing_stdout
from rtchat.core.events import PlaybackCut
from rtchat.core.ports import Player
from rtchat.system.files import shown_name
from rtchat.system.loop import post_to
from rtchat.system.worker import Worker
from rtchat.ui.plain_view import StatusWriter

if TYPE_CHECKING:
    from rtchat.audio.output_file import AudioWriter
    from rtchat.audio.wav import WavStream

_CLOSE_TIMEOUT = 5.0
"""Seconds to wait at exit for audio that is not recorded yet."""


class Recorder:
    """Records the audio of replies in a thread. `begin` returns the file for each item, which may
    be the same one; one file is open at a time. After a failure nothing more is recorded."""

    def __init__(self, begin: Callable[[], AudioWriter | WavStream]) -> None:
        self._begin = begin
        self._worker = Worker("recording", limit=10_000)
        self.is_empty = True
        self.failure: OutputError | None = None
        self.is_failure_reported = False
        self.stdout_failure: OSError | None = None
        """Why stdout, if the audio goes there, cannot be written. A running session reports it."""
        self._is_closed = False
        self._item: str | None = None
        self._file: AudioWriter | WavStream | None = None
        self._on_failure: Callable[[], object] = lambda: None

    async def watch(self, show: Callable[[Update], None]) -> None:
        """Wait for the recording to fail, and show why."""
        failed, loop = asyncio.Event(), asyncio.get_running_loop()
        self._on_failure = lambda: post_to(loop, failed.set)
        await failed.wait()
        assert self.failure is not None
        self.is_failure_reported = True
        show(error_notice(self.failure.problem))

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Record audio of an item."""
        self._do(partial(self._write, item_id, audio))

    def end(self, item_id: str) -> None:
        """End an item. On some servers the next one has the same id, or none."""
        self._do(self._end)

    def stop(self) -> None:
        """Do nothing: audio that was not played is recorded too."""

    def close(self) -> None:
        """Write the remaining audio and complete the file, within a few seconds."""
        if not self._is_closed:
            self._is_closed = True
            self._do(self._close)
        if not self._worker.close(_CLOSE_TIMEOUT):
            self._fail(f"the recording could not be finished within {_CLOSE_TIMEOUT:g} s")

    def _do(self, job: Callable[[], None]) -> None:
        if self.failure is None:
            try:
                self._worker.do(job)
            except queue.Full:
                self._fail("the recording was stopped because the disk is too slow")

    def _fail(self, message: str) -> None:
        self._failed(OutputError(message, hint="record to another disk"))

    def _failed(self, failure: OutputError) -> None:
        if self.failure is None:
            self.failure = failure
            with suppress(RuntimeError):  # the loop is closed
                self._on_failure()

    # The following methods run in the thread.

    def _write(self, item_id: str, audio: bytes) -> None:
        if self.failure is not None or self.stdout_failure is not None:
            return
        try:
            if self._file is None or item_id != self._item:
                before, self._item, self._file = self._file, item_id, self._begin()
                if before is not None and before is not self._file:
                    before.close()
            self._file.write(audio)
        except OutputError as error:
            self._failed(error)
        except OSError as error:
            self.stdout_failure = error
        else:
            self.is_empty = False

    def _end(self) -> None:
        self._item = None

    def _close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OutputError as error:
                self._failed(error)


class TeePlayer:
    """Combines a speaker and a recorder. The speaker decides how much was played."""

    def __init__(self, speaker: Player, recorder: Player) -> None:
        self._speaker = speaker
        self._recorder = recorder

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Play audio with both."""
        self._speaker.play(item_id, content_index, audio)
        self._recorder.play(item_id, content_index, audio)

    def end(self, item_id: str) -> None:
        """End an item with both."""
        self._speaker.end(item_id)
        self._recorder.end(item_id)

    def stop(self) -> PlaybackCut | None:
        """Stop playback."""
        self._recorder.stop()
        return self._speaker.stop()


@contextmanager
def recorder_of(
    path: Path, environment: Environment, *, is_folder: bool, source: str | None = None
) -> Iterator[Recorder]:
    """A recorder into one file, into stdout (`-`), or into a folder with a file for each reply.
    `source` is the file with the speech that the session is about, or `-`.

    Raises:
        UsageError: the recording would overwrite `source`, or its format is not supported.
        OutputError: it cannot be written.
    """
    from rtchat.app.files import check_folder
    from rtchat.audio.encoded_file import ENDINGS, writer_of
    from rtchat.audio.wav import WavStream, WavWriter, prepare_folder

    with ExitStack() as files:
        if is_folder:
            hint = "use the name of a folder; each reply is saved in it"
            check_folder(path, "--audio-out", ENDINGS, hint)
            prepare_folder(path)
            recorder = Recorder(lambda: files.enter_context(WavWriter.next_in(path)))
        elif is_stdout(path):
            stream = WavStream(environment.stdout.buffer)
            recorder = Recorder(lambda: stream)
        else:
            _check_other(path, source, environment.stdin)
            file = files.enter_context(writer_of(path))
            recorder = Recorder(lambda: file)
        files.callback(recorder.close)
        yield recorder


def _check_other(path: Path, source: str | None, stdin: int | None) -> None:
    """Raise UsageError if `path` is the same file as `source`, also by another name."""
    read = stdin if source == "-" else source
    try:
        about = None if read is None else os.stat(read)
        is_same = about is not None and os.path.samestat(about, path.stat())
    except (OSError, ValueError):  # it does not exist, or its error is reported when it is opened
        return
    if is_same and about is not None and stat.S_ISREG(about.st_mode):
        message = f"the recording would overwrite {shown_name(path)}, which is read"
        raise UsageError(message, hint="record to another file with --audio-out")


def is_stdout(path: Path | None) -> bool:
    """Whether audio is recorded to stdout."""
    return str(path) == "-"


def text_environment(path: Path | None, environment: Environment, *, is_text: bool) -> Environment:
    """The environment for the text of the replies, which goes to stderr if their audio goes to
    stdout. `is_text` is whether it is shown as text rather than as JSON.

    Raises:
        UsageError: stdout is a terminal, or JSON is written there.
    """
    if not is_stdout(path):
        return environment
    if not is_text:
        message = "--audio-out - cannot be combined with --json or --events"
        raise UsageError(message, hint="record to a file, such as --audio-out reply.wav")
    if environment.stdout_is_terminal:
        message = "audio cannot be written to a terminal"
        raise UsageError(message, hint="pipe it, as in `--audio-out - | aplay`, or name a file")
    return replace(
        environment,
        stdout=environment.stderr or TextIOWrapper(BytesIO()),
        stdout_is_terminal=environment.stderr_is_terminal,
    )


def no_audio(source: str, path: Path) -> Problem:
    """The problem if `source`, such as "the reply", has no audio to record."""
    name = "stdout" if is_stdout(path) else shown_name(path)
    message = f"{source} contains no audio, so nothing was written to {name}"
    return Problem(ExitCode.REPLY, message, hint="choose a model with audio output")


def finish_recording(recorder: Recorder, code: ExitCode, status: StatusWriter) -> ExitCode:
    """Close the recording. Return its exit code if only the recording failed.

    Raises:
        BrokenPipeError, OutputError: the audio goes to stdout, which failed after the session.
    """
    recorder.close()
    if recorder.stdout_failure is not None and code is ExitCode.OK:
        with writing_stdout():
            raise recorder.stdout_failure
    if recorder.failure is None:
        return code
    if not recorder.is_failure_reported:
        status.show(error_notice(recorder.failure.problem))
    return recorder.failure.exit if code is ExitCode.OK else code
