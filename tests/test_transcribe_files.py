"""`transcribe` with several files and folders, and into files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from rtchat.app.transcript_files import jobs_of, write_transcript
from rtchat.core.errors import OutputError, UsageError
from rtchat.ui.transcript_formats import NO_SPEECH
from tests.faulty import HELLO, READY, Close, Step, error, frame, sockets
from tests.program import Program, Ran, background
from tests.sounds import tone, write_wav
from tests.test_voice_faults import AudioServer, Steps, committed, heard

_COMMIT = "input_audio_buffer.commit"
_FAILED = frame(
    "conversation.item.input_audio_transcription.failed",
    item_id="u",
    content_index=0,
    error={"message": "noise"},
)


class Recordings:
    """A folder with two recordings, b.wav and a.wav, and a server that transcribes them."""

    def __init__(self, folder: Path, server: AudioServer, url: str) -> None:
        self.folder = folder
        self.server = server
        self._program = Program(folder)
        self._url = url
        for name in ("b", "a"):
            write_wav(folder / f"{name}.wav", tone(440, 0.5))

    def run(self, *arguments: str, stdout: int | IO[bytes] = subprocess.PIPE) -> Ran:
        options = ["--url", self._url, "-m", "w"]
        return self._program.run("transcribe", *arguments, *options, stdout=stdout)

    def written(self, folder: str = "out") -> dict[str, str]:
        """The files in a folder, and their contents."""
        return {file.name: file.read_text() for file in sorted((self.folder / folder).iterdir())}


@pytest.fixture
def recordings(tmp_path: Path) -> Iterator[Recordings]:
    server = AudioServer({})
    with background(lambda: sockets(server.talk)) as url:
        yield Recordings(tmp_path, server, url)


def test_several_files_are_printed_one_after_another(recordings: Recordings) -> None:
    ran = recordings.run("b.wav", "a.wav")
    assert (ran.code, ran.text) == (0, "==> b.wav <==\nWhen?\n\n==> a.wav <==\nWhen?\n")
    assert "reconnected" not in ran.err


def test_each_file_of_a_folder_has_a_transcript(recordings: Recordings) -> None:
    (recordings.folder / "notes.txt").write_text("no audio")
    (recordings.folder / ".hidden.wav").write_text("no audio")
    (recordings.folder / "folder.wav").mkdir()
    (recordings.folder / "loop.wav").symlink_to("loop.wav")
    os.mkfifo(recordings.folder / "pipe.wav")
    ran = recordings.run(".", "-o", "out/deep", "-f", "srt")
    assert (ran.code, ran.text) == (0, "")
    written = recordings.written("out/deep")
    assert list(written) == ["a.srt", "b.srt"]
    assert all(text.startswith("1\n00:00:00,000 --> ") for text in written.values())
    assert os.stat(recordings.folder / "out/deep/a.srt").st_mode & 0o077 == 0


def test_the_sound_of_each_kind_of_file_of_a_folder_is_transcribed(tmp_path: Path) -> None:
    kinds = ["3gp", "AVI", "M4B", "m4a", "mkv", "mp3", "mpg", "opus", "ts", "wav", "weba", "wmv"]
    names = sorted(f"a.{kind}" for kind in kinds)
    for name in (*names, "a", "a.jpg", "a.pdf", "a.srt", "a.txt", "a.wav.part", "wav"):
        (tmp_path / name).touch()
    jobs = jobs_of([str(tmp_path)], None, "txt", overwrites=False)
    assert [Path(job.source).name for job in jobs] == names


def test_a_file_that_fails_does_not_stop_the_others(recordings: Recordings) -> None:
    (recordings.folder / "c.wav").write_text("no audio")
    ran = recordings.run("missing.wav", "c.wav", "a.wav", "-o", "out")
    assert (ran.code, recordings.written()) == (1, {"a.txt": "When?\n"})
    failed = [line for line in ran.err.splitlines() if "failed: " in line]
    assert [line.rpartition(" ")[2] for line in failed] == ["missing.wav", "c.wav"]


def test_an_existing_transcript_is_not_overwritten(recordings: Recordings) -> None:
    (recordings.folder / "out").mkdir()
    (recordings.folder / "out/a.txt").write_text("mine")
    ran = recordings.run("a.wav", "b.wav", "-o", "out")
    assert (ran.code, recordings.written()) == (0, {"a.txt": "mine", "b.txt": "When?\n"})
    assert "--force" in ran.err
    ran = recordings.run("a.wav", "-o", "out")
    assert (ran.code, recordings.written()["a.txt"]) == (2, "mine")
    assert "--force" in ran.err
    ran = recordings.run("a.wav", "b.wav", "-o", "out", "--force")
    assert (ran.code, recordings.written()) == (0, {"a.txt": "When?\n", "b.txt": "When?\n"})


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.wav", "deep/A.wav", "-o", "out"],
        ["a.wav", "a.wav", "-o", "out"],
        ["a.wav", "b.wav", "-f", "srt"],
        ["a.wav", "b.wav", "--json"],
        ["a.wav", "-"],
        ["-", "-o", "out"],
        ["-o", "out"],
        ["empty"],
        ["a.wav", "-o", "b.wav/out"],
        ["a.wav", "-o", "b.wav"],
        ["a.wav", "-o", "a.srt"],
        ["a.wav", "-o", ".", "--force", "-f", "tsv"],
        [""],
        ["a.wav", "", "-o", "out"],
        ["https://example.org/a.wav"],
        ["a.wav", "-o", "-"],
        ["a.wav", "--force"],
        ["speech.txt", "-o", ".", "--force", "--raw", "24000"],
    ],
)
def test_unusable_combinations_are_refused(recordings: Recordings, arguments: list[str]) -> None:
    for name in ("deep", "empty", "a.tsv"):
        (recordings.folder / name).mkdir()
    write_wav(recordings.folder / "deep/A.wav", tone(440, 0.5))
    (recordings.folder / "speech.txt").write_bytes(tone(440, 0.5))
    ran = recordings.run(*arguments)
    assert (ran.code in (2, 6), ran.text, recordings.server.appended) == (True, "", [])
    assert not any((recordings.folder / name).exists() for name in ("out", "a.srt", "-"))
    assert (recordings.folder / "speech.txt").read_bytes() == tone(440, 0.5)


def test_a_transcript_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out/a.txt"
    target.parent.mkdir()
    write_transcript(target, b"one", overwrites=False)
    with pytest.raises(UsageError):
        write_transcript(target, b"two", overwrites=False)
    (tmp_path / "out/folder.txt").mkdir()
    with pytest.raises(OutputError):
        write_transcript(tmp_path / "out/folder.txt", b"two", overwrites=True)
    assert sorted(os.listdir(tmp_path / "out")) == ["a.txt", "folder.txt"]
    assert target.read_bytes() == b"one"


def test_a_transcript_may_have_the_longest_name(tmp_path: Path) -> None:
    target = tmp_path / f"{'a' * 251}.txt"
    write_transcript(target, b"one", overwrites=False)
    assert target.read_bytes() == b"one"


@pytest.mark.parametrize("options", [[], ["-f", "srt"], ["-o", "out"]])
def test_silence_is_reported(recordings: Recordings, options: list[str]) -> None:
    recordings.server.on[_COMMIT] = [(committed(), heard(""))]
    ran = recordings.run("a.wav", *options)
    assert (ran.code, ran.text.strip()) == (0, "")
    assert NO_SPEECH.text in ran.err


def test_a_failed_transcription_is_not_silence(recordings: Recordings) -> None:
    recordings.server.on[_COMMIT] = [(committed(), _FAILED)]
    ran = recordings.run("a.wav")
    assert ran.code == 1
    assert NO_SPEECH.text not in ran.err


def test_a_failure_of_all_files_ends_at_the_first(recordings: Recordings) -> None:
    refusal = _FAILED.replace('"noise"', '"no money", "code": "insufficient_quota"')
    recordings.server.on[_COMMIT] = [(committed(), refusal)]
    ran = recordings.run("a.wav", "b.wav", "-o", "out")
    assert (ran.code, len(recordings.server.updates)) == (5, 1)


@pytest.mark.parametrize(
    ("event", "right", "wrong", "code"),
    [
        ("session.update", READY, error("invalid_value", "Unsupported language."), 2),
        ("hello", HELLO, Close(1008, "no transcription here"), 4),
    ],
)
def test_files_that_fail_for_the_same_reason_end_the_run(
    recordings: Recordings, event: str, right: Steps, wrong: Step, code: int
) -> None:
    write_wav(recordings.folder / "c.wav", tone(440, 0.5))
    write_wav(recordings.folder / "d.wav", tone(440, 0.5))
    recordings.server.on[event] = [right, *[(wrong,)] * 9]
    ran = recordings.run("a.wav", "b.wav", "c.wav", "d.wav", "-o", "out")
    assert (ran.code, list(recordings.written())) == (code, ["a.txt"])
    failed = [line for line in ran.err.splitlines() if "failed: " in line]
    assert [line.rpartition(" ")[2] for line in failed] == ["b.wav", "c.wav"]
    assert "1 of 4 files" in ran.err


def test_the_files_after_lost_output_are_not_transcribed(recordings: Recordings) -> None:
    with open("/dev/full", "wb") as full:
        ran = recordings.run("a.wav", "b.wav", "a.wav", stdout=full)
    assert ran.code == 6
    assert len(recordings.server.updates) <= 1
