"""Records the audio of replies and translations to files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rtchat.app.audio_io import Recorder
from rtchat.core.effects import error_notice
from rtchat.core.errors import ExitCode, UsageError
from rtchat.ui.plain_view import StatusWriter


@contextmanager
def recorder_of(path: Path, *, is_folder: bool) -> Iterator[Recorder]:
    """A recorder into one file, or into a folder with a file for each reply."""
    from rtchat.audio.wav import WavWriter, prepare

    with ExitStack() as files:
        if is_folder:
            prepare(path)
            recorder = Recorder(lambda: files.enter_context(WavWriter.next_in(path)))
        else:
            if str(path) == "-":
                raise UsageError(
                    "--audio-out - cannot be used, because the text is written to stdout",
                    hint="use a file name",
                )
            file = files.enter_context(WavWriter(path))
            recorder = Recorder(lambda: file)
        files.callback(recorder.close)
        yield recorder


def finish_recording(recorder: Recorder, code: ExitCode, status: StatusWriter) -> ExitCode:
    """Close the recording. Return its exit code if only the recording failed."""
    recorder.close()
    if recorder.failure is None:
        return code
    if not recorder.is_failure_reported:
        status.show(error_notice(recorder.failure.problem))
    return recorder.failure.exit if code is ExitCode.OK else code
