"""The program with long recordings: pieces, limits, faults and interruptions."""

from __future__ import annotations

import json
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faulty import sockets
from tests.marked_audio import MarkServer, expected, write_recording
from tests.program import PATIENCE, Program, background
from tests.sounds import SECOND
from tests.terminal import Terminal

SECONDS = 190
"""The length of the recordings: three pieces."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recording") / "long.wav", SECONDS)


@contextmanager
def served(server: MarkServer, home: Path) -> Iterator[Program]:
    """The program, with a server."""
    program = Program(home)
    with background(lambda: sockets(server.talk, refuse=server.refuse)) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


def kept(program: Program) -> list[Path]:
    """The files with the pieces of interrupted transcriptions."""
    return [path for path in program.home.rglob("transcripts/*") if path.is_file()]


def test_a_long_file_is_transcribed_in_several_sessions(recording: Path, tmp_path: Path) -> None:
    server = MarkServer()
    with served(server, tmp_path) as program:
        ran = program.run("transcribe", str(recording))
    assert (ran.code, ran.text.split()) == (0, expected(SECONDS))
    assert len(server.heard) == 3
    assert server.most > 1
    assert kept(program) == []


@pytest.mark.full
def test_the_turns_of_a_long_file_have_its_times(recording: Path, tmp_path: Path) -> None:
    with served(MarkServer(), tmp_path) as program:
        ran = program.run("transcribe", str(recording), "--json")
    turns = [json.loads(line) for line in ran.text.splitlines()]
    assert " ".join(turn["text"] for turn in turns).split() == expected(SECONDS)
    for turn in turns:
        first, last = (int(turn["text"].split()[index]) - 1000 for index in (0, -1))
        assert turn["start"] <= first < turn["start"] + 1
        assert last < turn["end"] <= last + 1


@pytest.mark.full
@pytest.mark.parametrize("refuses_by", ["error", "http"])
def test_a_server_may_allow_fewer_sessions(
    recording: Path, tmp_path: Path, refuses_by: str
) -> None:
    server = MarkServer(sessions=2, refuses_by=refuses_by)
    with served(server, tmp_path) as program:
        ran = program.run("transcribe", str(recording))
    assert (ran.code, ran.text.split()) == (0, expected(SECONDS))
    assert "rtchat: " not in ran.err
    assert server.most <= 2


@pytest.mark.full
@pytest.mark.parametrize("fault", ["reset", "failed", "rate_limit_exceeded"])
def test_a_piece_that_fails_once_is_tried_again(
    recording: Path, tmp_path: Path, fault: str
) -> None:
    server = MarkServer(faults={"1130": fault})
    with served(server, tmp_path) as program:
        ran = program.run("transcribe", str(recording))
    assert (ran.code, ran.text.split()) == (0, expected(SECONDS))
    assert "rtchat: " not in ran.err
    assert len(server.heard) == 4


@pytest.mark.full
def test_the_place_of_a_piece_that_fails_is_reported(recording: Path, tmp_path: Path) -> None:
    server = MarkServer(faults={"1130": "failed"}, always=True)
    with served(server, tmp_path) as program:
        ran = program.run("transcribe", str(recording))
        words = ran.text.split()
        assert (ran.code, len(words) < SECONDS) == (1, True)
        assert "1:29 to 2:58" in ran.err
        server.heal()
        again = program.run("transcribe", str(recording))
    assert (again.code, again.text.split()) == (0, expected(SECONDS))
    assert len(server.heard) == 3 + 1 + 1
    assert kept(program) == []


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.full),
        pytest.param(signal.SIGTERM, marks=pytest.mark.full),
        signal.SIGKILL,
    ],
)
def test_an_interrupted_transcription_is_continued(
    recording: Path, tmp_path: Path, number: signal.Signals
) -> None:
    server = MarkServer(sessions=1)
    server.hold_at("1130")
    with served(server, tmp_path) as program:
        process = program.start("transcribe", str(recording))
        with process:
            assert process.stdout is not None
            assert process.stdout.read(5)
            server.wait_for_hold()
            process.send_signal(number)
            process.communicate(timeout=PATIENCE)
        assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
        (file,) = kept(program)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        server.heal()
        ran = program.run("transcribe", str(recording))
        assert (ran.code, ran.text.split()) == (0, expected(SECONDS))
        assert "--no-resume" in ran.err
        assert [words[0] for words in server.heard].count("1000") == 1
    assert kept(program) == []


def _interrupted(program: Program, server: MarkServer, *arguments: str) -> str:
    """What Ctrl-C prints on stderr while the server does not answer."""
    with program.start("transcribe", *arguments) as process:
        server.wait_for_hold()
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert err is not None
    return err.decode()


@pytest.mark.parametrize(
    ("held", "options", "named"),
    [
        ("1000", [], []),
        ("1130", [], ["hint: "]),
        pytest.param("1000", ["-o", "out"], [], marks=pytest.mark.full),
        pytest.param("1130", ["-o", "out"], ["hint: "], marks=pytest.mark.full),
        pytest.param("1130", ["--no-resume"], ["hint: ", "without --no-resume"]),
        pytest.param("1130", ["--no-history"], [], marks=pytest.mark.full),
        pytest.param("1130", ["--speakers"], [], marks=pytest.mark.full),
        pytest.param("1130", ["--trace", "t.jsonl"], [], marks=pytest.mark.full),
    ],
    ids=str,
)
def test_ctrl_c_says_whether_a_part_is_kept_and_how_to_get_the_rest(
    recording: Path, tmp_path: Path, held: str, options: list[str], named: list[str]
) -> None:
    server = MarkServer(sessions=1)
    server.hold_at(held)
    with served(server, tmp_path) as program:
        err = _interrupted(program, server, str(recording), *options)
        assert (len(kept(program)), err.count(" kept")) == (bool(named), 1)
    found = [each for each in ("hint: ", "without --no-resume", "--force") if each in err]
    assert found == named


@pytest.mark.full
def test_a_part_that_cannot_be_written_is_not_said_to_be_kept(
    recording: Path, tmp_path: Path
) -> None:
    server = MarkServer(sessions=1)
    server.hold_at("1130")
    (tmp_path / ".local").write_text("no folder")
    with served(server, tmp_path) as program:
        err = _interrupted(program, server, str(recording))
    assert "nothing of" in err
    assert "hint: " not in err


@pytest.mark.full
@pytest.mark.parametrize("options", [[], ["--force"]])
def test_a_transcript_with_a_gap_can_be_completed(
    recording: Path, tmp_path: Path, options: list[str]
) -> None:
    server = MarkServer(faults={"1130": "failed"}, always=True)
    arguments = ["transcribe", str(recording), "-o", "out", *options]
    with served(server, tmp_path) as program:
        ran = program.run(*arguments)
        assert (ran.code, "and --force" in ran.err) == (1, not options)
        server.heal()
        server.heard.clear()
        assert program.run(*arguments, "--force").code == 0
    assert (tmp_path / "out/long.txt").read_text().split() == expected(SECONDS)
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["-o", "out"], "same command"),
        pytest.param(["-o", "out", "--force"], "only these", marks=pytest.mark.full),
        pytest.param([], "only these", marks=pytest.mark.full),
    ],
)
def test_ctrl_c_says_which_files_are_left(tmp_path: Path, options: list[str], hint: str) -> None:
    server = MarkServer()
    server.hold_at("1001")
    for name, seconds in (("a", 1), ("b", 2), ("c", 1)):
        write_recording(tmp_path / f"{name}.wav", seconds)
    with served(server, tmp_path) as program:
        err = _interrupted(program, server, "a.wav", "b.wav", "c.wav", *options)
    assert "the last 2 of 3 files" in err
    assert hint in err


@pytest.mark.full
def test_the_progress_is_a_line_on_the_terminal(recording: Path, tmp_path: Path) -> None:
    server = MarkServer(sessions=1)
    server.hold_at("1130")
    with served(server, tmp_path) as program:
        options = [str(recording), "--url", program.environ["RTCHAT_URL"]]
        terminal = Terminal(program, options, {}, verb="transcribe")
        terminal.shows("1088", "of 3:10")
        terminal.types("\x03")
        assert terminal.ends() == 130
    lines = " ".join(terminal.lines())
    assert "of 3:10" not in lines
    assert " ".join(expected(89)[-5:]) in " ".join(lines.split())


def test_a_truncated_recording_is_transcribed_and_reported(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(recording.read_bytes()[: -20 * SECOND])
    with served(MarkServer(), tmp_path) as program:
        ran = program.run("transcribe", "a.wav")
    assert (ran.code, ran.text.split()) == (1, expected(SECONDS - 20))
    assert ran.error
    assert kept(program) == []


@pytest.mark.full
def test_a_reader_that_goes_away_ends_the_transcription(recording: Path, tmp_path: Path) -> None:
    server = MarkServer(sessions=1)
    server.hold_at("1130")
    with served(server, tmp_path) as program:
        process = program.start("transcribe", str(recording))
        with process:
            assert process.stdout is not None
            assert process.stdout.read(5)
            server.wait_for_hold()
            process.stdout.close()
            server.heal()
            process.wait(timeout=PATIENCE)
        assert process.returncode == 141
        assert len(kept(program)) == 1


def test_pieces_are_kept_if_their_text_is_not_read(recording: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    with (
        served(MarkServer(), tmp_path) as program,
        program.start("transcribe", str(recording), stdout=writing) as process,
    ):
        assert process.stderr is not None
        assert any(b"first token" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
        assert len(kept(program)) == 1
    os.close(reading)
    os.close(writing)


@pytest.mark.full
def test_pieces_are_kept_until_the_transcript_is_written(recording: Path, tmp_path: Path) -> None:
    """Without a disk that fails, another transcript of the same name keeps this from being
    written."""
    server = MarkServer(sessions=1)
    server.hold_at("1130")
    options = ["transcribe", str(recording), "-o", "out"]
    with served(server, tmp_path) as program:
        process = program.start(*options)
        with process:
            server.wait_for_hold()
            (tmp_path / "out/long.txt").write_text("mine")
            server.heal()
            process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert (tmp_path / "out/long.txt").read_text() == "mine"
        assert len(kept(program)) == 1
        heard = len(server.heard)
        ran = program.run(*options, "--force")
        assert (ran.code, len(server.heard)) == (0, heard)
        assert (tmp_path / "out/long.txt").read_text().split() == expected(SECONDS)
    assert kept(program) == []


def test_a_quota_that_is_used_up_ends_the_transcription(recording: Path, tmp_path: Path) -> None:
    server = MarkServer(faults={"1130": "insufficient_quota"}, always=True)
    with served(server, tmp_path) as program:
        ran = program.run("transcribe", str(recording))
    assert (ran.code, sum("1130" in words for words in server.heard)) == (5, 1)


@pytest.mark.full
@pytest.mark.parametrize("option", ["--no-resume", "--model", "--no-history"])
def test_an_interrupted_transcription_is_not_continued(
    recording: Path, tmp_path: Path, option: str
) -> None:
    """With `--no-resume`, with other settings, or if nothing was kept."""
    server = MarkServer(faults={"1130": "failed"}, always=True)
    first = [option] if option == "--no-history" else []
    with served(server, tmp_path) as program:
        assert program.run("transcribe", str(recording), *first).code == 1
        assert len(kept(program)) == (option != "--no-history")
        server.heal()
        server.heard.clear()
        again = [option, "another"] if option == "--model" else [option]
        ran = program.run("transcribe", str(recording), *again)
    assert (ran.code, ran.text.split()) == (0, expected(SECONDS))
    assert len(server.heard) == 3


@pytest.mark.full
def test_a_changed_file_is_transcribed_anew(recording: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(recording.read_bytes())
    server = MarkServer(faults={"1130": "failed"}, always=True)
    with served(server, tmp_path) as program:
        assert program.run("transcribe", "a.wav").code == 1
        write_recording(file, SECONDS + 1)
        server.heal()
        server.heard.clear()
        ran = program.run("transcribe", "a.wav")
    assert (ran.code, ran.text.split()) == (0, expected(SECONDS + 1))
    assert len(server.heard) == 3
