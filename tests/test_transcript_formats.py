"""`transcribe --format`: the program with a scripted server, and what the views write."""

from __future__ import annotations

import json
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, cast

import pytest
import srt as other_srt
import webvtt

from rtchat.core.effects import ReplyOver, TurnTranscribed
from rtchat.core.subtitles import TranscriptFormat
from rtchat.core.values import Status, TranscriptSegment
from rtchat.ui.plain_view import StatusWriter
from rtchat.ui.transcript_formats import ESTIMATED, transcript_view
from tests.faulty import Step, frame, sockets
from tests.program import Program, background
from tests.sounds import tone, write_wav
from tests.test_translate_runs import DIARIZE, TOLD, transcribed
from tests.test_voice_faults import AudioServer, committed, heard

_BUFFER = "input_audio_buffer"
SPOKEN: tuple[Step, ...] = (
    frame(f"{_BUFFER}.speech_started", item_id="u", audio_start_ms=100),
    frame(f"{_BUFFER}.speech_stopped", item_id="u", audio_end_ms=900),
    committed(),
    heard("When does it start?"),
)


def test_subtitles_have_the_times_of_turns(tmp_path: Path) -> None:
    code, text = transcribed(tmp_path, "-f", "srt", steps=SPOKEN)
    (cue,) = other_srt.parse(text)
    assert (code, cue.start.total_seconds(), cue.end.total_seconds()) == (0, 0.1, 0.9)
    code, text = transcribed(tmp_path, "--format", "vtt", steps=SPOKEN)
    (caption,) = webvtt.from_string(text).captions
    assert (code, caption.start, caption.text) == (0, "00:00:00.100", "When does it start?")


def test_subtitles_name_the_speakers(tmp_path: Path) -> None:
    code, text = transcribed(tmp_path, "-m", DIARIZE, "-f", "srt")
    assert code == 0
    assert [cue.content for cue in other_srt.parse(text)] == [
        "A: When does it start?",
        "B: At noon.",
        "B: Or so.",
    ]
    code, text = transcribed(tmp_path, "-m", DIARIZE, "-f", "vtt")
    assert [each.voice for each in webvtt.from_string(text).captions] == ["A", "B", "B"]


def test_a_table_has_a_line_for_each_turn(tmp_path: Path) -> None:
    rows = ["start\tend\ttext\tspeaker", "100\t900\tWhen does it start?\t"]
    assert transcribed(tmp_path, "-f", "tsv", steps=SPOKEN) == (0, "\n".join([*rows, ""]))
    code, text = transcribed(tmp_path, "-m", DIARIZE, "-f", "tsv")
    assert (code, text.splitlines()[2]) == (0, "1000\t1500\tAt noon.\tB")


def test_json_is_a_format(tmp_path: Path) -> None:
    code, text = transcribed(tmp_path, "-f", "json", "--json", steps=TOLD)
    assert (code, json.loads(text)["version"]) == (0, 1)


@pytest.mark.parametrize("arguments", [["-f", "srt", "--json"], ["-f", "text"], ["-f", "docx"]])
def test_an_unusable_format_is_refused(program: Program, arguments: list[str]) -> None:
    ran = program.run("transcribe", "a.wav", *arguments)
    assert (ran.code, ran.text) == (2, "")
    assert arguments[1] in ran.err


def written(format: str, *turns: TurnTranscribed, is_terminal: bool = False) -> tuple[str, str]:
    """What a view writes to both streams."""
    out, err = BytesIO(), StringIO()
    status = StatusWriter(err)
    view = transcript_view(cast("TranscriptFormat", format), out, status, is_terminal=is_terminal)
    for turn in turns:
        view.show(turn)
    view.show(ReplyOver(Status.COMPLETED, "", "w"))
    view.close()
    return out.getvalue().decode(), err.getvalue()


@pytest.mark.parametrize(
    ("format", "header"),
    [("srt", ""), ("vtt", "WEBVTT\n\n"), ("tsv", "start\tend\ttext\tspeaker\n"), ("json", "")],
)
def test_a_transcript_without_words_is_a_valid_file(format: str, header: str) -> None:
    assert written(format)[0] == header


def test_cues_are_numbered_through_all_turns() -> None:
    turns = [TurnTranscribed("u", "Go.", start_ms=s, end_ms=s + 500) for s in (0, 1000)]
    assert [cue.index for cue in other_srt.parse(written("srt", *turns)[0])] == [1, 2]


@pytest.mark.parametrize(("end_ms", "is_estimated"), [(900, False), (None, True)])
def test_estimated_times_are_reported(end_ms: int | None, is_estimated: bool) -> None:
    turn = TurnTranscribed("u", "Go.", start_ms=0, end_ms=end_ms)
    assert (ESTIMATED.text in written("vtt", turn)[1]) is is_estimated


@pytest.mark.parametrize("format", ["srt", "vtt", "json", "tsv"])
def test_a_transcript_cannot_control_the_terminal(format: str) -> None:
    segment = TranscriptSegment("s", "\x9b2J\x1b[2J\tb\r\nc", "\x1b[31m", 0, 1)
    turn = TurnTranscribed("u", segment.text, segments=(segment,), start_ms=0, end_ms=1)
    text = written(format, turn, is_terminal=True)[0]
    assert not {"\x1b", "\x9b", "\r"} & set(text)


def test_a_row_of_a_table_is_one_line() -> None:
    turn = TurnTranscribed("u", "a\tb\nc", start_ms=None, end_ms=None)
    empty = TurnTranscribed("u", "", error="noise")
    assert written("tsv", turn, empty)[0].splitlines()[1:] == ["\t\ta b c\t"]


# ---------------------------------------------------------------- the options of the transcription


def asked(tmp_path: Path, *options: str) -> dict[str, Any]:
    """The transcription options that the program asks for."""
    write_wav(tmp_path / "q.wav", tone(440, 1.0))
    server = AudioServer({"input_audio_buffer.commit": [(committed(), heard("Hi"))]})
    with background(lambda: sockets(server.talk)) as url:
        ran = Program(tmp_path).run("transcribe", "q.wav", "--url", url, *options)
    assert ran.code == 0, ran.err
    (session,) = server.updates
    transcription: dict[str, Any] = session["audio"]["input"]["transcription"]
    return transcription


def test_the_server_is_told_the_language_and_the_words(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("WebVTT, Nguyen")
    options = asked(tmp_path, "--language", "DE", "--prompt", "@words.txt", "-m", "w")
    assert options == {"model": "w", "language": "de", "prompt": "WebVTT, Nguyen"}


@pytest.mark.parametrize(
    ("options", "model"),
    [
        ([], "gpt-live-transcribe"),
        (["-f", "json"], "gpt-live-transcribe"),
        (["-f", "srt"], "gpt-4o-transcribe"),
        (["--speakers"], DIARIZE),
        (["--speakers", "-f", "vtt"], DIARIZE),
        (["--speakers", "-m", "mine"], "mine"),
    ],
)
def test_the_model_fits_the_options(tmp_path: Path, options: list[str], model: str) -> None:
    assert asked(tmp_path, *options)["model"] == model


def test_another_servers_model_may_tell_speakers_apart(tmp_path: Path) -> None:
    text = "A: When does it start?\nB: At noon. Or so.\n"
    assert transcribed(tmp_path, "-m", "w", "--speakers") == (0, text)


@pytest.mark.parametrize(
    "options",
    [
        ["--language", "german"],
        ["--local", "--language", "de"],
        ["--local", "--prompt", "WebVTT"],
        ["--local", "--speakers"],
        ["--speakers", "-m", "whisper-1"],
        ["--prompt", "@missing.txt"],
    ],
)
def test_what_a_model_cannot_do_is_refused_before_any_work(
    program: Program, options: list[str]
) -> None:
    program.environ |= {"OPENAI_API_KEY": "sk-test"}
    ran = program.run("transcribe", "missing.wav", *options)
    assert (ran.code, ran.text) == (2, "")
    assert "missing.wav" not in ran.err


def test_the_error_names_where_the_language_is_set(program: Program) -> None:
    program.environ |= {"RTCHAT_LANGUAGE": "de"}
    ran = program.run("transcribe", "missing.wav", "--local")
    assert (ran.code, "RTCHAT_LANGUAGE" in ran.hint) == (2, True)


def test_the_model_of_the_session_is_shown(tmp_path: Path) -> None:
    """A server may use another model than the one that was asked for."""
    transcription = {"model": "whisper-large"}
    session = {
        "type": "transcription",
        "id": "s",
        "audio": {"input": {"transcription": transcription}},
    }
    updated = frame("session.updated", session=session)
    write_wav(tmp_path / "q.wav", tone(440, 1.0))
    server = AudioServer({"session.update": [(updated,)]})
    with background(lambda: sockets(server.talk)) as url:
        ran = Program(tmp_path).run("transcribe", "q.wav", "--url", url, "-m", "w", "-v")
    assert ran.code == 0
    assert "whisper-large" in ran.err
