"""Recordings: WAV files that are valid at every moment while they are written, and encoded ones."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from rtchat.app.recording import Recorder, finish_recording
from rtchat.audio.encoded_file import writer_of
from rtchat.audio.files import read
from rtchat.audio.pcm import RATE
from rtchat.audio.wav import WavStream, WavWriter, prepare_folder
from rtchat.core.errors import ExitCode, OutputError, UsageError
from rtchat.ui.plain_view import StatusWriter
from tests.program import Program
from tests.sounds import frequency, tone, write_wav
from tests.test_audio import needs_audio

TONE = tone(440, 0.1)


def content(path: Path) -> bytes:
    """Read a WAV with the standard library."""
    with wave.open(str(path), "rb") as file:
        layout = (file.getnchannels(), file.getsampwidth(), file.getframerate())
        assert layout == (1, 2, RATE)
        return file.readframes(file.getnframes())


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(OutputError) as caught:
        act()
    assert caught.value.hint
    return caught.value.message


def test_a_recording_is_valid_after_each_write(tmp_path: Path) -> None:
    path = tmp_path / "answer.wav"
    with WavWriter(path) as writer:
        for number in range(1, 4):
            writer.write(TONE)
            assert content(path) == TONE * number
        writer.write(b"")
    writer.close()
    assert (content(path), read(path)) == (TONE * 3, TONE * 3)
    size = path.stat().st_size
    assert path.read_bytes()[4:8] == (size - 8).to_bytes(4, "little")


_WRITES = """
import sys
from pathlib import Path
from rtchat.app.recording import Recorder, finish_recording
from rtchat.audio.encoded_file import writer_of
writer = writer_of(Path(sys.argv[1]))
for number in range(1_000_000):
    writer.write(bytes([number % 256]) * 4800)
    print(number, flush=True)
"""


@pytest.mark.parametrize("lines", [1, 3, 50, 400])
def test_a_killed_process_leaves_a_valid_recording(tmp_path: Path, lines: int) -> None:
    path = tmp_path / "answer.wav"
    child = subprocess.Popen([sys.executable, "-c", _WRITES, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child:
        printed = [int(child.stdout.readline()) for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
    audio = content(path)
    assert len(audio) % 4800 == 0
    pieces = [audio[start : start + 4800] for start in range(0, len(audio), 4800)]
    assert len(pieces) > printed[-1]
    assert pieces == [bytes([number % 256]) * 4800 for number in range(len(pieces))]
    assert len(read(path)) >= len(audio)


ENDINGS = [".wav", *(pytest.param(each, marks=needs_audio) for each in (".flac", ".ogg", ".mp3"))]


@needs_audio
@pytest.mark.parametrize("ending", [".flac", ".ogg", ".mp3"])
def test_a_killed_process_leaves_an_encoded_recording(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"answer{ending}"
    child = subprocess.Popen([sys.executable, "-c", _WRITES, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child:
        for _ in range(150):  # 15 s
            child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    assert len(read(path)) / 2 / RATE > 10


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_existing_file_is_kept_until_audio_arrives(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"answer{ending}"
    older = b"an older, longer recording" * 9999
    path.write_bytes(older)
    writer_of(path).close()
    assert path.read_bytes() == older
    with writer_of(path) as writer:
        writer.write(TONE)
    assert older[:99] not in path.read_bytes()
    assert path.stat().st_size < len(older)
    assert read(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_audio_there_is_no_file(tmp_path: Path, ending: str) -> None:
    with writer_of(tmp_path / f"answer{ending}") as writer:
        writer.write(b"")
    assert list(tmp_path.iterdir()) == []


@needs_audio
@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3", "A.MP3", "a.wav", "a", "a.b.WAV"])
def test_a_recording_is_encoded_as_its_ending_says(tmp_path: Path, name: str) -> None:
    import soundfile

    with writer_of(tmp_path / name) as writer:
        for _ in range(20):
            writer.write(TONE)
    writer.close()
    info = soundfile.info(tmp_path / name)
    ending = Path(name).suffix.lower()
    assert info.format == {".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}.get(ending, "WAV")
    problems: list[object] = []
    audio = read(tmp_path / name, problems.append)
    assert problems == []
    assert len(audio) / 2 / RATE == pytest.approx(2.0, abs=0.06)
    assert frequency(audio[RATE:-RATE]) == pytest.approx(440, rel=0.01)


@pytest.mark.parametrize("name", ["a.opus", "a.m4a", "a.txt", "a.wav.bak", "a.\n"])
def test_an_unknown_ending_is_refused_with_those_that_are_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        writer_of(tmp_path / name)
    assert "\n" not in caught.value.message
    for ending in (".wav", ".flac", ".ogg", ".mp3"):
        assert ending in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UsageError, match="needs the package soundfile") as caught:
        writer_of(tmp_path / "a.mp3")
    assert "[audio]" in caught.value.hint


def test_the_recordings_of_a_folder_are_numbered_and_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    prepare_folder(folder)
    prepare_folder(folder)
    for name in ("reply-1.wav", "reply-007.wav", "reply-x.wav", "reply-009.txt", "else.wav"):
        (folder / name).write_bytes(b"mine")
    with WavWriter.next_in(folder) as one, WavWriter.next_in(folder) as other:
        for writer in (one, other):
            writer.write(TONE)
    assert [writer.path.name for writer in (one, other)] == ["reply-008.wav", "reply-009.wav"]
    assert content(folder / "reply-009.wav") == TONE
    (folder / "reply-999.wav").touch()
    with WavWriter.next_in(folder) as writer:
        assert writer.path.name == "reply-1000.wav"


def test_concurrent_writers_get_separate_files(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        writers = list(threads.map(WavWriter.next_in, [tmp_path] * 200))
    for number, writer in enumerate(writers, start=1):
        with writer:
            writer.write(number.to_bytes(2, "little"))
    found = sorted(content(path) for path in tmp_path.iterdir())
    assert found == sorted(number.to_bytes(2, "little") for number in range(1, 201))


def test_an_unwritable_path_is_an_output_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    for path, cause in {
        tmp_path: f"{tmp_path} cannot be written (Is a directory)",
        tmp_path / "no" / "x.wav": "x.wav cannot be written (No such file or directory)",
        tmp_path / "file" / "x.wav": "x.wav cannot be written (Not a directory)",
        tmp_path / "a\0": "(embedded null byte)",
        tmp_path / "fifo": "fifo cannot be written (No such device or address)",
        Path("/dev/full/x"): "/dev/full/x cannot be written (Not a directory)",
    }.items():
        assert cause in refusal(partial(WavWriter, path))
    assert "x cannot be written (Not a directory)" in refusal(
        lambda: prepare_folder(tmp_path / "file" / "x")
    )
    assert refusal(lambda: prepare_folder(Path("/proc"))).startswith("/proc cannot be written (")
    assert "file cannot be written (File exists)" in refusal(
        lambda: prepare_folder(tmp_path / "file")
    )
    missing = refusal(lambda: WavWriter.next_in(tmp_path / "no"))
    assert "(No such file or directory)" in missing


def test_a_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert "is not a regular file" in refusal(lambda: WavWriter(tmp_path / "fifo"))
    finally:
        os.close(reader)


def test_a_full_disk_is_an_output_error() -> None:
    with WavWriter(Path("/dev/full")) as writer:
        said = refusal(lambda: writer.write(TONE))
    assert said == "/dev/full cannot be written (No space left on device)"


@needs_audio
@pytest.mark.parametrize("ending", [".flac", ".ogg", ".mp3"])
def test_a_full_disk_is_an_output_error_of_an_encoder_too(tmp_path: Path, ending: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))

    writer = writer_of(tmp_path / f"answer{ending}")

    def record() -> None:
        for _ in range(100):
            writer.write(TONE)

    try:
        assert "(File too large)" in refusal(record)
        writer.close()  # the error was reported
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_stdout_that_cannot_be_written_ends_the_recording(gone: int) -> None:
    with open(gone, "wb", buffering=0, closefd=False) as out:
        stream = WavStream(out)
        recorder = Recorder(lambda: stream)
        for item in ("a", "b"):
            recorder.play(item, 0, TONE)
        recorder.close()
    status = StatusWriter(None)
    assert finish_recording(recorder, ExitCode.PIPE, status) is ExitCode.PIPE, "it was reported"
    with pytest.raises(BrokenPipeError):
        finish_recording(recorder, ExitCode.OK, status)


def test_a_recording_stays_valid_when_the_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "answer.wav"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with WavWriter(path) as writer:
        writer.write(TONE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (44 + len(TONE) + 100, before[1]))
        try:
            assert "(File too large)" in refusal(lambda: writer.write(TONE))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert content(path) == TONE


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_full_disk_leaves_no_empty_recording(tmp_path: Path, ending: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = writer_of(tmp_path / f"answer{ending}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        refusal(partial(writer.write, TONE * 100))
        writer.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "said", "recording"),
    [
        (["once", "--audio-in"], "said.wav", "./said.wav"),
        (["once", "--audio-in"], "-", "said.wav"),
        (["translate", "--to", "es"], "said.wav", "symlink.wav"),
        (["translate", "--to", "es"], "said.wav", "hardlink.wav"),
    ],
)
def test_the_speech_that_is_read_is_not_overwritten(
    tmp_path: Path, command: list[str], said: str, recording: str
) -> None:
    path = write_wav(tmp_path / "said.wav", TONE)
    (tmp_path / "symlink.wav").symlink_to(path)
    (tmp_path / "hardlink.wav").hardlink_to(path)
    arguments = (*command, said, "--audio-out", recording, "--url", "ws://127.0.0.1:1")
    with path.open("rb") as file:
        stdin = file if said == "-" else subprocess.DEVNULL
        ran = Program(tmp_path).run(*arguments, stdin=stdin)
    assert (ran.code, ran.text) == (2, "")
    assert "--audio-out" in ran.hint
    assert content(path) == TONE
