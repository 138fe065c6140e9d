"""The program with audio files and pipes: questions, replies, history, transcription and errors."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rtchat.audio.files import read as read_audio
from tests.faulty import sockets
from tests.program import PATIENCE, Program, background, piped
from tests.script_server import scripted_server
from tests.sounds import SECOND, silence, tone, wav_audio, write_wav
from tests.terminal import PROMPT, Terminal
from tests.test_recorded_servers import playing
from tests.test_recordings import read
from tests.test_voice_faults import AudioServer, Steps

SCRIPT: dict[str, object] = {
    "model": "scripted",
    "heard": ["What is the time?", "And the date?", "Go on."],
    "rule": [
        {"match": "time", "text": "It is noon."},
        {"match": "French", "text": "Midi."},
        {"match": "forever", "text": "word. " * 2_000, "chunk": 6, "delay": 0.02},
        {"match": "cut", "text": "Half an answer. And", "close": {"code": 1006}},
        {"text": "I see."},
    ],
}


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    with scripted_server(SCRIPT) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


def length(path: Path) -> float:
    """The length of a WAV file in seconds."""
    return len(wav_audio(path)) / SECOND


# ------------------------------------------------------------------------------------------- files


def test_a_spoken_question_is_answered_in_text(program: Program) -> None:
    write_wav(program.home / "question.wav", tone(440, 1.0))
    ran = program.run("once", "--audio-in", "question.wav")
    assert (ran.code, ran.text) == (0, "It is noon.\n")
    assert "you said: What is the time?" in ran.err


def test_a_text_question_is_answered_in_speech(program: Program) -> None:
    ran = program.run("once", "the time?", "--audio-out", "answer.wav")
    assert (ran.code, ran.text) == (0, "It is noon.\n")
    assert length(program.home / "answer.wav") > 0.3


@pytest.mark.parametrize("name", ["answer.flac", "answer.ogg", "answer.mp3"])
def test_a_spoken_answer_is_encoded(program: Program, name: str) -> None:
    pytest.importorskip("soundfile")
    ran = program.run("once", "the time?", "--audio-out", name)
    assert (ran.code, ran.text) == (0, "It is noon.\n")
    assert len(read_audio(program.home / name)) / SECOND > 0.3


def test_a_spoken_answer_may_be_piped(program: Program) -> None:
    ran = program.run("once", "the time?", "--audio-out", "-")
    assert ran.code == 0
    assert "It is noon.\n" in ran.err
    with piped(ran.out) as pipe:
        assert len(read_audio(pipe)) / SECOND > 0.3


def test_a_reader_of_a_spoken_answer_may_go_away(program: Program) -> None:
    command = (
        "rtchat once forever --audio-out - --no-stdin | head -c 1000 | wc -c; echo ${PIPESTATUS[0]}"
    )
    assert program.shell(command).text == "1000\n141\n"


def test_no_audio_is_written_to_a_terminal(program: Program) -> None:
    terminal = Terminal(program, ["the time?", "--audio-out", "-"], {}, verb="once")
    terminal.shows("terminal")
    assert terminal.ends() == 2


def test_a_spoken_question_is_answered_in_speech(program: Program) -> None:
    write_wav(program.home / "question.wav", tone(440, 1.0))
    ran = program.run("once", "--audio-in", "question.wav", "--audio-out", "answer.wav", "--json")
    report = json.loads(ran.text)
    assert (ran.code, report["heard"], report["text"]) == (0, "What is the time?", "It is noon.")
    assert length(program.home / "answer.wav") > 0.3


def test_the_text_of_a_question_precedes_its_audio(program: Program) -> None:
    write_wav(program.home / "question.wav", tone(440, 1.0))
    ran = program.run("once", "In French:", "--audio-in", "question.wav")
    assert ran.text in ("It is noon.\n", "Midi.\n")  # the script may match either part
    shown = program.run("history", "show", "1")
    assert "In French:" in shown.text


def test_a_spoken_question_may_be_piped(program: Program) -> None:
    file = write_wav(program.home / "question.wav", tone(440, 1.0))
    ran = program.run("once", "--audio-in", "-", stdin=file.read_bytes())
    assert (ran.code, ran.text) == (0, "It is noon.\n")


@pytest.mark.parametrize(
    ("prompt", "piped", "asked"),
    [
        (["In French:"], b"and short\n", "In French:\n\nand short"),
        ([], b"In French:\n", "In French:"),
        (["-"], b"In French:\n", "In French:"),
        (["In French:"], b"", "In French:"),
        ([], b"", ""),
    ],
)
def test_piped_text_is_sent_with_an_audio_file(
    program: Program, prompt: list[str], piped: bytes, asked: str
) -> None:
    write_wav(program.home / "question.wav", tone(440, 1.0))
    options = ("--audio-in", "question.wav", "--trace", "trace.jsonl")
    assert program.run("once", *prompt, *options, stdin=piped).code == 0
    lines = (program.home / "trace.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    sent = [event["data"] for event in map(json.loads, lines) if event["direction"] == "sent"]
    items = [event["item"] for event in sent if event["type"] == "conversation.item.create"]
    assert [item["content"][0]["text"] for item in items] == ([asked] if asked else [])


def test_without_a_microphone_piped_lines_are_answered(program: Program) -> None:
    if program.run("devices").code == 0:
        pytest.skip("this machine has a sound device")
    ran = program.run("talk", "--voice", stdin=b"the time?\n")
    assert (ran.code, ran.text) == (2, "It is noon.\n")
    assert ran.error  # one error for both microphone and speaker


def test_each_piped_line_is_answered_in_its_own_audio_file(program: Program) -> None:
    ran = program.run("talk", "--audio-out", "said", stdin=b"the time?\nwell\n")
    assert (ran.code, ran.text) == (0, "It is noon.\nI see.\n")
    files = sorted((program.home / "said").iterdir())
    assert [file.name for file in files] == ["reply-001.wav", "reply-002.wav"]
    assert all(length(file) > 0.2 for file in files)


@pytest.mark.parametrize("name", ["-", "replies.wav", "replies.MP3", "question.wav"])
def test_a_conversation_is_recorded_to_a_folder(program: Program, name: str) -> None:
    before = sorted(program.home.iterdir())
    ran = program.run("talk", "--audio-out", name, stdin=b"the time?\n")
    assert (ran.code, ran.text) == (2, "")
    assert f"--audio-out needs the name of a folder, not {name}" in ran.error
    assert sorted(program.home.iterdir()) == before


def test_piped_lines_are_text_even_if_voice_is_configured(program: Program) -> None:
    (program.home / "rtchat.toml").write_text("voice = true\n")
    environ = {"RTCHAT_CONFIG": "rtchat.toml"}
    ran = program.run("talk", stdin=b"the time?\n", environ=environ)
    assert (ran.code, ran.text) == (0, "It is noon.\n")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
)
def test_an_interrupted_reply_is_a_valid_wav(
    program: Program, number: signal.Signals, code: int
) -> None:
    process = program.start("once", "forever", "--audio-out", "answer.wav", "--no-stdin")
    with process:
        assert process.stdout is not None
        assert process.stdout.read(200)
        answer = program.home / "answer.wav"
        while not (answer.exists() and answer.stat().st_size > SECOND):
            assert process.stdout.read(6)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert length(answer) > 0.9


def test_a_reply_cut_off_by_the_server_is_a_valid_wav(program: Program) -> None:
    ran = program.run("once", "cut", "--audio-out", "answer.wav")
    assert ran.code == 4
    assert length(program.home / "answer.wav") > 0.0


def test_a_reply_without_audio_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"an older one")
    lines = read("azure-voice-live-beta-text-turn")
    with background(partial(playing, lines, [])) as url:
        ran = Program(tmp_path).run("once", "hi", "--url", url, "--audio-out", "a.wav")
        piped = Program(tmp_path).run("once", "hi", "--url", url, "--audio-out", "-")
    assert ran.code == 1
    assert ran.text
    assert ran.error.startswith(
        "rtchat: the reply contains no audio, so nothing was written to a.wav"
    )
    assert (piped.code, piped.out) == (1, b"")
    assert "to stdout" in piped.error
    assert (tmp_path / "a.wav").read_bytes() == b"an older one"


def test_a_spoken_conversation_can_be_continued(program: Program) -> None:
    write_wav(program.home / "question.wav", tone(440, 1.0))
    assert program.run("once", "--audio-in", "question.wav").code == 0
    ran = program.run("once", "--continue", "well?")
    assert (ran.code, ran.text) == (0, "I see.\n")
    shown = program.run("history", "show", "1").text
    assert shown.index("What is the time?") < shown.index("It is noon.") < shown.index("I see.")
    assert "What is the time?" in program.run("history", "list").text


def test_a_trace_of_a_spoken_conversation_can_be_replayed(program: Program) -> None:
    write_wav(program.home / "question.wav", tone(440, 1.0))
    traced = ("--trace", "t.jsonl")
    asked = ("once", "Well:", "--audio-in", "question.wav", "--audio-out", "a.wav")
    assert program.run(*asked, *traced).code == 0
    checked = program.run("replay", "--check", "t.jsonl")
    assert checked.code == 0
    assert "question: Well:" in checked.text
    assert "heard: What is the time?" in checked.text
    assert "differences: 0" in checked.text
    shown = program.run("replay", "--speed", "1000", "t.jsonl")
    assert (shown.code, shown.text) == (0, "It is noon.\n")
    assert program.run("transcribe", "question.wav", "--vad", "off", *traced).code == 0
    shown = program.run("replay", "--speed", "1000", "t-2.jsonl")
    assert (shown.code, shown.text) == (0, "And the date?\n")
    assert "differences: 0" in program.run("replay", "--check", "t.jsonl").text


def test_audio_is_stored_only_with_keep_audio(program: Program) -> None:
    write_wav(program.home / "question.wav", tone(440, 1.0))
    for options in ([], ["--keep-audio"]):
        ran = program.run("once", "--audio-in", "question.wav", "--audio-out", "a.wav", *options)
        assert ran.code == 0
    assert program.run("history", "export", "1", "--audio", "one").code != 0
    assert program.run("history", "export", "2", "--audio", "two").code == 0
    files = sorted(path.name for path in (program.home / "two").iterdir())
    assert [name.split("-")[1] for name in files] == ["user.wav", "assistant.wav"]
    assert length(program.home / "two" / files[0]) == 1.0


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--audio-in", "no.wav"], 2, "no.wav"),
        (["--audio-in", "text.wav"], 2, "text.wav"),
        (["--audio-in", "empty.wav"], 2, "empty.wav"),
        (["--audio-in", "."], 2, "."),
        (["--audio-in", "-"], 2, "stdin"),
        (["hi", "--audio-out", "no/answer.wav"], 6, "no/answer.wav"),
        (["hi", "--audio-out", "."], 6, "."),
        (["hi", "--audio-out", "/dev/full"], 6, "/dev/full"),
        (["hi", "--audio-out", "-", "--json"], 2, "--audio-out -"),
        (["hi", "--audio-out", "-", "--events"], 2, "--audio-out -"),
        (["hi", "--audio-out", "a.opus"], 2, ".opus"),
        (["-", "--audio-in", "good.wav"], 2, "no prompt"),
        (
            ["hi", "--audio-out", "a.wav", "--set", "audio.output.format.type=audio/mpeg"],
            2,
            "audio/pcm",
        ),
    ],
)
def test_unreadable_and_unwritable_files_are_errors_of_one_line(
    program: Program, arguments: list[str], code: int, says: str
) -> None:
    (program.home / "text.wav").write_text("hello")
    (program.home / "empty.wav").write_bytes(b"")
    write_wav(program.home / "good.wav", tone(440, 1.0))
    ran = program.run("once", *arguments)
    assert ran.code == code
    assert says in ran.error


def test_push_to_talk_needs_a_terminal(program: Program) -> None:
    ran = program.run("talk", "--voice", "--vad", "off", stdin=b"hi\n")
    assert (ran.code, ran.text) == (2, "")
    assert ran.error == "rtchat: ending turns with Ctrl-T requires a terminal"
    assert "--vad server" in ran.hint


def test_a_failed_recording_at_a_terminal_sets_the_exit_code(program: Program) -> None:
    terminal = Terminal(program, ["--audio-out", "said"], {})
    terminal.shows("connected in", PROMPT)
    (program.home / "said").rmdir()
    terminal.types("the time?\r")
    terminal.shows("cannot be written")  # before, during or after the reply
    terminal.shows("It is noon.", "first token", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 6


def test_a_question_that_is_too_short_is_refused(program: Program) -> None:
    write_wav(program.home / "short.wav", tone(440, 0.05))
    ran = program.run("once", "--audio-in", "short.wav")
    assert ran.code == 1
    assert "100" in ran.error


@pytest.mark.parametrize(
    ("deltas", "frames"),
    [
        (["AQI=", "AwQ="], 2),
        (["AQID", "BAU="], 2),
        (["AQI=", "not base64", "AwQ="], 2),
        (["", "AQI="], 1),
        ([7, None, "AQI="], 1),
    ],
    ids=["good", "odd", "no base64", "empty", "no text"],
)
def test_valid_audio_is_kept_if_the_server_sends_invalid_audio(
    tmp_path: Path, deltas: list[Any], frames: int
) -> None:
    place = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    says = [{"type": "response.output_audio.delta", "delta": delta, **place} for delta in deltas]
    lines: list[tuple[str, dict[str, Any]]] = [
        ("received", {"type": "session.created", "session": {"type": "realtime", "id": "s"}}),
        ("sent", {"type": "session.update"}),
        ("received", {"type": "session.updated", "session": {"type": "realtime", "id": "s"}}),
        ("sent", {"type": "response.create"}),
        ("received", {"type": "response.created", "response": {"id": "r"}}),
        *(("received", data) for data in says),
        (
            "received",
            {"type": "response.output_audio_transcript.done", "transcript": "Hi.", **place},
        ),
        ("received", {"type": "response.done", "response": {"id": "r", "status": "completed"}}),
    ]
    with background(partial(playing, lines, [])) as url:
        ran = Program(tmp_path).run("once", "hi", "--url", url, "--audio-out", "a.wav")
    assert (ran.code, ran.text) == (0, "Hi.\n")
    assert len(wav_audio(tmp_path / "a.wav")) == 2 * frames


# -------------------------------------------------------------------------------- recorded servers


def test_a_recorded_reply_is_saved_completely(tmp_path: Path) -> None:
    lines = read("openai-text-in-audio-out")
    with background(partial(playing, lines, [])) as url:
        program = Program(tmp_path)
        ran = program.run("once", "Hi", "--url", url, "--audio-out", "answer.wav")
    assert (ran.code, ran.text) == (0, "Hi there!\n")
    deltas = [data["delta"] for _, data in lines if data["type"] == "response.output_audio.delta"]
    samples = sum(len(delta) * 3 // 4 - delta.count("=") for delta in deltas) // 2
    assert deltas
    assert length(tmp_path / "answer.wav") == samples / 24_000


# ----------------------------------------------------------------------------------- transcription


def test_a_file_is_transcribed(program: Program) -> None:
    said = b"".join([tone(440, 1.0), silence(1.5), tone(440, 1.0), silence(1.5)])
    write_wav(program.home / "said.wav", said)
    ran = program.run("transcribe", "said.wav", "--vad", "server")
    assert (ran.code, ran.text) == (0, "What is the time?\nAnd the date?\n")


def test_raw_audio_is_transcribed(program: Program) -> None:
    pytest.importorskip("soxr")
    raw = tone(440, 1.0, rate=16_000)
    (program.home / "said").write_bytes(raw)
    options = ("--raw", "16000", "--vad", "off")
    assert program.run("transcribe", "said", *options).text == "What is the time?\n"
    assert program.run("transcribe", "-", *options, stdin=raw).text == "And the date?\n"
    ran = program.run("once", "--audio-in", "-", "--raw", "24000", stdin=tone(440, 1.0))
    assert (ran.code, ran.text) == (0, "I see.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["transcribe", "-", "--raw", "7999"], "8000 to 48000"),
        (["transcribe", "-", "--raw", "1.5"], "8000 to 48000"),
        (["transcribe", "-", "--raw", "16000"], "no audio"),
        (["translate", "-", "--to", "es", "--raw", "1"], "8000 to 48000"),
        (["once", "hi", "--raw", "16000"], "--audio-in"),
    ],
)
def test_raw_audio_that_cannot_be_read_is_a_usage_error(
    program: Program, arguments: list[str], says: str
) -> None:
    ran = program.run(*arguments, stdin=b"")
    assert ran.code == 2
    assert says in ran.error


def test_a_pipe_is_transcribed(program: Program) -> None:
    file = write_wav(program.home / "said.wav", tone(440, 1.0))
    ran = program.run("transcribe", "-", "--vad", "off", stdin=file.read_bytes())
    assert (ran.code, ran.text) == (0, "What is the time?\n")


class HalfSecond(AudioServer):
    """A server that signals when it has received half a second of audio."""

    def __init__(self) -> None:
        super().__init__({})
        self.half = threading.Event()

    def _next(self, kind: str, right: Steps) -> Steps:
        if self.appended[-1] >= SECOND // 2:
            self.half.set()
        return super()._next(kind, right)


def test_a_pipe_ended_by_ctrl_c_is_transcribed_completely(tmp_path: Path) -> None:
    file = write_wav(tmp_path / "said.wav", tone(440, 1.0))
    server = HalfSecond()
    with background(lambda: sockets(server.talk)) as url:
        command = ("transcribe", "-", "--vad", "off", "--url", url)
        with Program(tmp_path).start(*command) as process:
            assert process.stdin is not None
            process.stdin.write(file.read_bytes()[:30_000])
            process.stdin.flush()
            assert server.half.wait(PATIENCE)
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, b"When?\n")


@pytest.mark.parametrize("audio", [silence(1.0), b""], ids=["silence", "nothing"])
def test_silence_has_no_transcription(program: Program, audio: bytes) -> None:
    write_wav(program.home / "said.wav", audio)
    ran = program.run("transcribe", "said.wav", "--vad", "server")
    assert ran.text == ""
    assert ran.code == (0 if audio else 2)


@pytest.mark.parametrize("command", [("once", "--audio-in"), ("transcribe",)])
def test_a_truncated_recording_is_used_and_reported(
    program: Program, command: tuple[str, ...]
) -> None:
    file = write_wav(program.home / "cut.wav", tone(440, 2.0))
    file.write_bytes(file.read_bytes()[: -SECOND // 2])
    ran = program.run(*command, "cut.wav")
    assert ran.code == 1
    assert ran.text
    assert "cut.wav is incomplete: 0.5 s" in ran.error


def test_transcribing_an_invalid_file_is_an_error_of_one_line(program: Program) -> None:
    (program.home / "text.wav").write_text("hello" * 100)
    ran = program.run("transcribe", "text.wav")
    assert (ran.code, ran.text) == (2, "")
    assert "text.wav" in ran.error


def test_transcription_without_a_server_fails(tmp_path: Path) -> None:
    write_wav(tmp_path / "said.wav", tone(440, 1.0))
    ran = Program(tmp_path).run("transcribe", "said.wav", "--url", "ws://127.0.0.1:1/v1/realtime")
    assert (ran.code, ran.text) == (4, "")
    assert "127.0.0.1:1" in ran.error
