"""Replaying and checking recordings.

Tests of real recordings, which are not part of the project, are skipped if there are none.
"""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtchat.app.replay import report
from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from rtchat.trace.reading import Recorded, Recording
from rtchat.trace.wire_only import WireReplay
from tests.chunks import seeds
from tests.program import PATIENCE, Program, Ran, background
from tests.terminal import Terminal
from tests.test_recordings import FOLDER

SCRIPT: dict[str, object] = {
    "model": "scripted",
    "rule": [
        {"match": "odd", "text": "\x1b[31mred\x07 \u202e [bold] \U0001f469\u200d\U0001f680\n\n"},
        {"match": "long", "text": "# Title\n\n" + "some *words* and\nmore\n\n" * 200, "chunk": 7},
        {"match": "broken", "fail": {"code": "server_error", "message": "Oh no."}},
        {"match": "limit", "text": "Half", "incomplete": "max_output_tokens"},
        {"match": "cut", "times": 1, "text": "Half an", "close": {"code": 1006}},
        {"match": "refuse", "error": {"code": "invalid_value", "message": "Not that."}},
        {"match": "soon", "times": 1, "fail": {
            "code": "rate_limit_exceeded", "message": "Please try again in 0.1s."
        }},
        {"match": "again", "times": 1, "close": {"code": 1011, "reason": "oops"}},
        {"match": "forever", "text": "word " * 10_000, "chunk": 5, "delay": 0.01},
        {"text": "Hello there.", "usage": {"input": 7, "cached": 2, "output": 3}},
    ],
}  # fmt: skip


@pytest.fixture
def url() -> Iterator[str]:
    with background(lambda: run_server(ScriptEngine(read_script(SCRIPT)))) as url:
        yield url


@pytest.fixture
def program(tmp_path: Path, url: str) -> Program:
    program = Program(tmp_path)
    program.environ["RTCHAT_URL"] = url
    return program


def replayed(program: Program, *options: str) -> Ran:
    return program.run("replay", "trace.jsonl", *options)


def checked(program: Program) -> list[str]:
    """The report of `--check` without its first line."""
    return replayed(program, "--check").text.splitlines()[1:]


# ------------------------------------------------------------------------------------------ showing


@pytest.mark.parametrize(
    "question",
    ["hi", "odd", "long", "broken", "limit", "cut", "refuse", "soon", "again"],
)
def test_a_replayed_reply_is_identical(program: Program, question: str) -> None:
    first = program.run("once", question, "--trace", "trace.jsonl")
    again = replayed(program, "--speed", "inf")
    assert first.out == again.out
    assert again.code == 0
    assert "Traceback" not in again.err


def test_a_replayed_conversation_is_identical(program: Program) -> None:
    lines = b"hi\ncut\nbroken\nagain\nlimit\nsoon\nodd\n"
    first = program.run("talk", "--trace", "trace.jsonl", stdin=lines)
    again = replayed(program, "--speed", "inf")
    assert first.code == 1
    assert first.out == again.out
    questions = [line for line in again.err.splitlines() if line.startswith(SYMBOL)]
    assert questions == [f"{SYMBOL} {line}" for line in lines.decode().split()]


SYMBOL = "›"  # noqa: RUF001 - as at the prompt


def test_the_question_and_statistics_are_shown(program: Program) -> None:
    first = program.run("once", "hi", "--trace", "trace.jsonl")
    again = replayed(program, "--speed", "inf")
    question, stats = again.err.splitlines()
    assert question == f"{SYMBOL} hi"
    digits = re.compile(r"\d\.\d+ s")  # the recording begins before the connection
    assert digits.sub("", stats) == digits.sub("", first.err.rstrip())
    assert replayed(program, "--speed", "inf", "--quiet").err == ""


@pytest.mark.parametrize(("seconds", "speed"), [(1.0, "1"), (100.0, "100"), (1e6, "inf")])
def test_a_replay_has_the_recorded_pace(program: Program, seconds: float, speed: str) -> None:
    _write(program.home / "trace.jsonl", *_turn(0.0, seconds))
    began = time.monotonic()
    assert replayed(program, "--speed", speed).text == "Hello.\n"
    assert time.monotonic() - began >= seconds / float(speed)


def test_long_pauses_between_turns_are_shortened(program: Program) -> None:
    _write(program.home / "trace.jsonl", *_turn(0.0, 0.0), *_turn(100_000.0, 0.0)[3:])
    assert replayed(program, "--speed", "100").text == "Hello.\nHello.\n"


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "fast"])
def test_an_invalid_speed_is_a_usage_error(program: Program, speed: str) -> None:
    _write(program.home / "trace.jsonl", *_turn(0.0, 0.0))
    ran = replayed(program, "--speed", speed)
    assert (ran.code, ran.out) == (2, b"")
    assert "speed" in ran.error


def test_a_recording_can_come_from_a_pipe(program: Program) -> None:
    program.run("once", "hi", "--trace", "trace.jsonl")
    trace = (program.home / "trace.jsonl").read_bytes()
    assert program.run("replay", "-", stdin=trace).text == "Hello there.\n"


def test_a_replay_needs_no_key_and_no_server(tmp_path: Path) -> None:
    _write(tmp_path / "trace.jsonl", *_turn(0.0, 0.0))
    ran = replayed(Program(tmp_path))
    assert (ran.code, ran.text) == (0, "Hello.\n")


def test_an_invalid_recording_is_a_usage_error(program: Program) -> None:
    (program.home / "trace.jsonl").write_text("hello\n")
    for options in ((), ("--check",)):
        ran = replayed(program, *options)
        assert (ran.code, ran.out) == (2, b"")
        assert ran.error == "rtchat: line 1 of the trace trace.jsonl is not JSON"
        assert "--trace" in ran.hint


def test_an_incomplete_recording_can_be_replayed(program: Program) -> None:
    with program.start("once", "forever", "--trace", "trace.jsonl", "--no-stdin") as process:
        assert process.stdout is not None
        process.stdout.read(50)
        process.kill()
    trace = program.home / "trace.jsonl"
    trace.write_bytes(trace.read_bytes()[:-20])
    ran = replayed(program, "--speed", "inf")
    assert ran.code == 0
    assert ran.text.startswith("word word ")
    assert ran.text.endswith("\n")
    assert " of trace.jsonl is incomplete and was ignored" in ran.err
    assert "the recording ends before the reply does" in ran.err
    assert replayed(program, "--check").code == 1


def test_a_closed_output_pipe_ends_the_replay_quietly(program: Program) -> None:
    _write(program.home / "trace.jsonl", *_turn(0.0, 0.0, "word\n" * 100_000))
    ran = program.shell("rtchat replay trace.jsonl | head -1; exit ${PIPESTATUS[0]}")
    assert (ran.code, ran.text) == (141, "word\n")
    assert "rtchat: " not in ran.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("option", ["--plain", "--check"])
def test_a_full_disk_is_reported(program: Program, option: str) -> None:
    _write(program.home / "trace.jsonl", *_turn(0.0, 0.0))
    ran = program.shell(f"rtchat replay trace.jsonl {option} >/dev/full")
    assert ran.code == 6
    assert ran.error.startswith("rtchat: stdout cannot be written (No space left on device)")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_replay(program: Program, number: int, code: int) -> None:
    _write(program.home / "trace.jsonl", *_turn(0.0, 0.1), *_turn(0.2, 1000.0)[3:])
    with program.start("replay", "trace.jsonl") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"Hello.\n"
        process.send_signal(number)
        assert process.wait(PATIENCE) == code
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


# ------------------------------------------------------------------------------------- the terminal


class _ReplayProgram(Program):
    """Runs `replay` in place of `talk`."""

    def command(self, *arguments: str) -> list[str]:
        assert arguments[0] == "talk"
        return super().command("replay", *arguments[1:])


def test_a_replay_on_a_terminal_looks_like_a_conversation(tmp_path: Path) -> None:
    _write(tmp_path / "trace.jsonl", *_turn(0.5, 0.5, "Some **bold** text.\n\n- a list\n"))
    terminal = Terminal(_ReplayProgram(tmp_path), ["trace.jsonl"], {})
    terminal.shows(f"{SYMBOL} hello", "╭─ m ", "Ctrl-C stops")
    terminal.shows("Some bold text.", "• a list", "m · first token 0.5")
    assert terminal.ends() == 0
    lines = terminal.lines()
    place = lines.index(f"{SYMBOL} hello")
    assert lines[place:-1] == [f"{SYMBOL} hello", "", "Some bold text.", "", "• a list", ""]


def test_ctrl_c_restores_the_terminal(tmp_path: Path) -> None:
    _write(tmp_path / "trace.jsonl", *_turn(0.0, 1000.0))
    terminal = Terminal(_ReplayProgram(tmp_path), ["trace.jsonl"], {})
    terminal.shows("Ctrl-C stops")
    assert terminal.screen.cursor.hidden
    terminal.types("\x03")
    assert terminal.ends() == 130
    assert not terminal.screen.cursor.hidden
    assert not any("╭" in line for line in terminal.lines())


# ----------------------------------------------------------------------------------------- checking


def test_a_recording_without_problems(program: Program) -> None:
    program.run("once", "hi", "--system", "Be brief.", "--trace", "trace.jsonl")
    ran = replayed(program, "--check")
    head, ready, question, reply, summary = ran.text.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert head.startswith("recorded by rtchat 0.1.0: ")
    assert ready.endswith("  ready: gpt-realtime-2.1")
    assert question.endswith("  question: hi")
    assert "  reply completed · 12 characters · gpt-realtime-2.1 · first token 0." in reply
    assert reply.endswith(" · 7 in (2 cached) · 3 out")
    assert summary == "replies: 1, completed: 1, ignored: 0, differences: 0"


@pytest.mark.parametrize(
    ("lines", "reply", "summary"),
    [
        ("broken", "the reply failed: Oh no.", "completed: 0"),
        (
            "limit",
            "the reply reached the output limit · hint: increase --max-output-tokens",
            "completed: 0",
        ),
        ("refuse", "reply failed · 0 characters · Not that. (session", "completed: 0"),
        ("cut", "reply incomplete · 7 characters", "completed: 0"),
        ("hi\ncut\nhi", "turns replayed: 2", "replies: 3, completed: 2"),
        ("hi\nagain\nhi", "turns replayed: 2", "replies: 3, completed: 3"),
        ("soon", "rate limit; retrying in 0.1 s", "completed: 1"),
        ("hi\nbroken\nsoon\ncut\nagain", "question: again", "replies: 5, completed: 3"),
    ],
)
def test_a_replay_sends_what_was_sent(
    program: Program, lines: str, reply: str, summary: str
) -> None:
    """The replay sends what was sent, whatever goes wrong."""
    program.run("talk", "--trace", "trace.jsonl", stdin=f"{lines}\n".encode())
    found = checked(program)
    assert any(reply in line for line in found), found
    assert summary in found[-1]
    assert found[-1].endswith("ignored: 0, differences: 0")


def test_a_recording_of_a_continued_conversation(program: Program) -> None:
    program.run("once", "hi")
    program.run("once", "--continue", "hi again", "--trace", "trace.jsonl")
    ran = replayed(program, "--check")
    assert ran.code == 0
    assert "ready: gpt-realtime-2.1, turns replayed: 1" in ran.text
    assert ran.text.endswith("differences: 0\n")


def test_several_sessions_without_local_events(program: Program) -> None:
    """The reasons for new sessions are not known, but the questions and replies are."""
    _write(
        program.home / "trace.jsonl",
        *_turn(0.0, 0.0),
        *_turn(1.0, 0.0, question="something else"),
        *_session_start(2.0, model="n"),
        *(_sent(_item(*item)) for item in (("user", "something else"), ("assistant", "Hello."))),
        *_turn(3.0, 0.0)[3:],
        *_failed(4.0),
        _sent(_ASK),
        *_answer(5.0, 0.0, "Hello."),
    )
    lines = [line[7:] for line in checked(program)]
    assert "info: model set to n" in lines
    questions = [line.partition(": ")[2] for line in lines if line.startswith("question")]
    assert questions == ["hello", "something else", "hello", "hello", "(asked again)"]
    assert "replies: 5, completed: 4, ignored: 0, differences: 0" in checked(program)[-1]


def test_a_stopped_reply(program: Program) -> None:
    with program.start("once", "forever", "--trace", "trace.jsonl", "--no-stdin") as process:
        assert process.stdout is not None
        process.stdout.read(50)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    ran = replayed(program, "--check")
    assert ran.code == 1
    assert "  reply cancelled · " in ran.text
    assert ran.text.endswith("differences: 0\n")


def test_reasons_of_lost_connections_are_reported(program: Program) -> None:
    lost = {"t": 0.0, "direction": "lost", "raw": "nothing listens at a.example"}
    _write(program.home / "trace.jsonl", lost, *_turn(1.0, 0.0), lost)
    lines = checked(program)
    assert "    1  nothing listens at a.example; retrying in 0.5 s" in lines
    assert "   10  error: nothing listens at a.example" in lines
    (program.home / "trace.jsonl").write_text(json.dumps(lost))
    assert checked(program) == [
        "    0  the recording contains no session",
        "    1  error: nothing listens at a.example",
        "replies: 0, completed: 0, ignored: 0, differences: 0, exit code: 4",
    ]


def test_unknown_events_have_line_numbers(program: Program) -> None:
    _write(
        program.home / "trace.jsonl",
        *_session_start(0.0),
        _received({"type": "response.sung", "note": "a\x1b[31m"}),
        {"t": 0.0, "direction": "received", "raw": "<html>\x1b"},
        _received({"type": "rate_limits.updated", "rate_limits": 5}),
        *_turn(0.0, 0.0)[3:],
    )
    ran = replayed(program, "--check")
    assert ran.code == 1
    assert ran.text.splitlines()[1:] == [
        "    3  ready: m",
        "    4  ignored response.sung: unknown event type",
        "    5  ignored a frame: invalid JSON: Expecting value: line 1 column 1 (char 0)",
        "    6  ignored rate_limits.updated: rate_limits is a int",
        "    8  question: hello",
        "   11  reply completed · 6 characters · m · first token 0.00 s · 0.0 s",
        "replies: 1, completed: 1, ignored: 3, differences: 0",
    ]


def test_events_sent_by_other_programs(program: Program) -> None:
    """Without local events, only invalid events are reported."""
    item = _item("user", "hello")
    _write(
        program.home / "trace.jsonl",
        *_session_start(0.0),
        _sent(item | {"item": item["item"] | {"id": "i1"}}),
        *(_sent({"type": "input_audio_buffer.clear"}) for _ in range(3)),
        _sent({"type": "response.create"}),
        *_answer(0.0, 0.0, "Hello."),
        _sent({"type": "conversation.item.delete", "item_id": "i1", "unknown": {"to": "us"}}),
        *(_sent({"type": "conversation.item.sing"}) for _ in range(2)),
        _sent({"type": "response.cancel", "response_id": 5}),
    )
    ran = replayed(program, "--check")
    assert ran.code == 1
    assert "cannot be compared" in ran.text.splitlines()[0]
    assert checked(program) == [
        "    3  ready: m",
        "    8  question: hello",
        "   11  reply completed · 6 characters · m · first token 0.00 s · 0.0 s",
        "   13  sent conversation.item.sing, which is not an event of the API (2 times)",
        "   15  sent response.cancel, which is not an event of the API",
        "replies: 1, completed: 1, ignored: 0, differences: 3",
    ]


def checked_lines(*lines: Line) -> list[str]:
    """The report of `--check` on these lines, without its first line and the summary."""
    events = [
        Recorded(number, line["t"], line["direction"], line["data"])
        for number, line in enumerate(lines, start=1)
    ]
    (_, *found, _), _ = report(Recording("", events))
    return [line[7:] for line in found]


_HEARD = "conversation.item.input_audio_transcription.completed"


def test_spoken_turns_without_local_events(program: Program) -> None:
    """An unrequested response is a reply to speech, whose transcript may come late."""
    heard = _received({"type": _HEARD, "item_id": "u", "transcript": "What is the time?"})
    begun, *rest = _answer(0.0, 0.0, "It is noon.")
    commit = _sent({"type": "input_audio_buffer.commit"})
    output = {"type": "function_call_output", "call_id": "c", "output": "x"}
    add = _sent({"type": "conversation.item.create", "item": output})
    part = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    image = _item("user", "")
    image["item"]["content"] = [part]
    assert checked_lines(
        *_session_start(0.0),
        *(heard, begun, *rest),
        *(begun, heard, *rest),
        *(commit, _sent(_ASK), *_answer(1.0, 0.0, "One.")),
        *(add, _sent(_ASK), *_answer(2.0, 0.0, "Two.")),
        *(_sent(image), _sent(_ASK), *_answer(3.0, 0.0, "Three.")),
    ) == [
        "ready: m",
        "heard: What is the time?",
        "question: (spoken)",
        "reply completed · 11 characters · m · first token 0.00 s · 0.0 s",
        "question: (spoken)",
        "reply completed · 11 characters · m · first token 0.00 s · 0.0 s",
        "heard: What is the time?",
        "question: (spoken)",
        "reply completed · 4 characters · m · first token 1.00 s · 1.0 s",
        "question: (tool output)",
        "reply completed · 4 characters · m · first token 1.00 s · 1.0 s",
        "question: (image)",
        "reply completed · 6 characters · m · first token 1.00 s · 1.0 s",
    ]


def test_a_transcription_without_local_events(program: Program) -> None:
    session = {"type": "transcription", "id": "s", "model": "w"}
    assert checked_lines(
        _received({"type": "session.created", "session": session}),
        _sent({"type": "session.update", "session": {"type": "transcription"}}),
        _received({"type": "session.updated", "session": session}),
        _sent({"type": "input_audio_buffer.append", "audio": ""}),
        _sent({"type": "input_audio_buffer.commit"}),
        _received({"type": "input_audio_buffer.committed", "item_id": "u"}),
        _received({"type": _HEARD, "item_id": "u", "transcript": "What was said."}),
        _received({"type": "input_audio_buffer.cleared"}),
        _received({"type": "response.created", "response": {"id": "r"}}),
    ) == ["ready: w", "reply completed · 14 characters · w · first token 0.00 s · 0.0 s"]


def test_a_wait_for_a_rate_limit_without_local_events(program: Program) -> None:
    error = {"code": "rate_limit_exceeded", "message": "Please try again in 0.5s."}
    done = {"id": "r", "status": "failed", "status_details": {"error": error}}
    limited = _received({"type": "response.done", "response": done})
    ask = (_sent(_item("user", "hello")), _sent(_ASK))
    assert checked_lines(
        *_session_start(0.0), *ask, limited, _sent(_ASK), *_answer(0.0, 0.0, "Hello.")
    ) == [
        "ready: m",
        "question: hello",
        "rate limit; retrying in 0.5 s",
        "reply completed · 6 characters · m · first token 0.00 s · 0.0 s",
    ]


def test_an_event_with_many_unknown_fields(program: Program) -> None:
    odd = {f"field_{number}": 1 for number in range(25)}
    assert checked_lines(*_session_start(0.0), _sent(_ASK | odd)) == [
        "ready: m",
        "sent response.create, which is not an event of the API",
    ]


def test_an_error_finds_the_command_that_caused_it(program: Program) -> None:
    """An error refers to a command by the id in the recording."""
    error = {"type": "error", "error": {"message": "Not that.", "event_id": "theirs"}}
    _write(
        program.home / "trace.jsonl",
        *_session_start(0.0),
        _sent(_item("user", "hello")),
        _sent(_ASK | {"event_id": "theirs"}),
        _received(error),
    )
    assert "    6  reply failed · 0 characters · Not that. (session s)" in checked(program)


def test_a_refused_question(program: Program) -> None:
    """The response to it, which begins anyway, does not answer another question."""
    error = {"type": "error", "error": {"message": "Not that.", "event_id": "theirs"}}
    _write(
        program.home / "trace.jsonl",
        *_session_start(0.0),
        _sent(_item("user", "hello") | {"event_id": "theirs"}),
        _sent(_ASK),
        _received(error),
        *_answer(0.0, 0.0, "Hello.")[:1],
        _sent({"type": "response.cancel", "response_id": "r0.0"}),
        *_answer(0.0, 0.0, "Hello.")[1:],
        *_turn(1.0, 0.0)[3:],
    )
    assert checked(program) == [
        "    3  ready: m",
        "    5  question: hello",
        "    6  reply failed · 0 characters · Not that. (session s)",
        "   12  question: hello",
        "   15  reply completed · 6 characters · m · first token 0.00 s · 0.0 s",
        "replies: 2, completed: 1, ignored: 0, differences: 0",
    ]


# ---------------------------------------------------------------------- real and damaged recordings

NAMES = sorted(path.stem for path in FOLDER.glob("*.jsonl")) or ["none"]


@pytest.mark.parametrize("name", NAMES)
def test_a_real_session(tmp_path: Path, name: str) -> None:
    path = FOLDER / f"{name}.jsonl"
    if not path.exists():
        pytest.skip("the recordings are not here")
    program = Program(tmp_path)
    ran = program.run("replay", str(path), "--check")
    assert ran.code == 0, ran.text
    assert "ignored: 0" in ran.text
    shown = program.run("replay", str(path), "-q")
    lines = [json.loads(line)["data"] for line in path.read_text(encoding="utf-8").splitlines()]
    replies = [line["response"] for line in lines if line["type"] == "response.done"]
    said = ("\n\n".join(_spoken(reply)) for reply in replies)
    assert shown.text == "".join(f"{text}\n" for text in said if text)
    assert (shown.code, shown.err) == (0, "")


def _spoken(response: dict[str, Any]) -> Iterator[str]:
    for item in response["output"]:
        for part in item.get("content", ()):
            yield part.get("text") or part["transcript"]


@seeds(12, 40)
def test_damaged_recordings_can_be_replayed(seed: int) -> None:
    """Lines are missing, repeated, reordered or changed."""
    rng = random.Random(seed)
    lines = [*_turn(0.0, 0.1), *_turn(1.0, 0.1), *_failed(2.0), *_turn(3.0, 0.1)]
    lines.append({"t": 3.5, "direction": "lost", "raw": "gone"})
    lines.append(_sent({"type": "response.cancel"}))
    for _ in range(30):
        lines = rng.choices(lines, k=len(lines)) if rng.random() < 0.5 else lines
        rng.shuffle(lines)
        events = [
            Recorded(
                number,
                None,
                line["direction"] if rng.random() < 0.9 else rng.choice(("sent", "received")),
                _damaged(line.get("data", line.get("raw")), rng),
            )
            for number, line in enumerate(lines, start=1)
        ]
        list(WireReplay(events).steps())
        report(Recording("", events))


def _damaged(data: Any, rng: random.Random) -> Any:
    if rng.random() < 0.9 or not isinstance(data, dict):
        return data
    junk: Any = rng.choice((None, 5, "x", [], {}, [{}]))
    return data | {rng.choice(list(data)): junk}


# ------------------------------------------------------------------------------------------- traces

_ASK = {"type": "response.create", "response": {"output_modalities": ["text"]}}

Line = dict[str, Any]


def _write(path: Path, *lines: Line) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


def _sent(data: Line, t: float = 0.0) -> Line:
    return {"t": t, "direction": "sent", "data": data}


def _received(data: Line, t: float = 0.0) -> Line:
    return {"t": t, "direction": "received", "data": data}


def _item(role: str, text: str) -> Line:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": text}]
    item = {"type": "message", "role": role, "content": content}
    return {"type": "conversation.item.create", "item": item}


def _session_start(t: float, *, model: str = "m") -> list[Line]:
    session = {"type": "realtime", "id": "s", "model": model}
    options = {"type": "realtime", "output_modalities": ["text"]}
    return [
        _received({"type": "session.created", "session": session}, t),
        _sent({"type": "session.update", "session": options}, t),
        _received({"type": "session.updated", "session": session}, t),
    ]


def _answer(t: float, seconds: float, text: str) -> list[Line]:
    ids = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    response = {"id": f"r{t}", "status": "completed"}
    ids["response_id"] = response["id"]
    return [
        _received({"type": "response.created", "response": {"id": response["id"]}}, t),
        _received({"type": "response.output_text.delta", "delta": text} | ids, t + seconds),
        _received({"type": "response.done", "response": response}, t + seconds),
    ]


def _turn(t: float, seconds: float, text: str = "Hello.", *, question: str = "hello") -> list[Line]:
    """A session with a question, and its reply `seconds` later."""
    ask = [_sent(_item("user", question), t), _sent(_ASK, t)]
    return [*_session_start(t), *ask, *_answer(t, seconds, text)]


def _failed(t: float) -> list[Line]:
    error = {"code": "server_error", "message": "Oh no."}
    done = {"id": f"r{t}", "status": "failed", "status_details": {"error": error}}
    ask = [_sent(_item("user", "hello"), t), _sent(_ASK, t)]
    return [*ask, _received({"type": "response.done", "response": done}, t)]
