"""`once` and `talk` from scripts: what goes where, and every exit code of the contract."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.faulty import http, tcp
from tests.program import Program, background, without_ids

SCRIPT: dict[str, object] = {
    "model": "scripted",
    "rule": [
        {"match": "no newline", "text": "exactly\nthis", "chunk": 3},
        {"match": "newline", "text": "with one\n"},
        {"match": "odd", "text": "\x1b[31mred\x07 \u202e [bold] \U0001f469\u200d\U0001f680"},
        {"match": "broken", "fail": {"code": "server_error", "message": "Oh no."}},
        {"match": "quota", "fail": {"code": "insufficient_quota", "message": "No credit."}},
        {"match": "limit", "text": "Half", "incomplete": "max_output_tokens"},
        {"match": "filter", "text": "Half", "incomplete": "content_filter"},
        {"match": "cut", "times": 1, "text": "Half an", "close": {"code": 1006}},
        {"match": "refuse", "error": {"code": "invalid_value", "message": "Not that."}},
        {"match": "forever", "text": "word " * 10_000, "chunk": 5, "delay": 0.01},
        {"match": "stall", "text": "Half", "stall": True},
        {"match": "soon", "times": 1, "fail": {
            "code": "rate_limit_exceeded", "message": "Please try again in 0.1s."
        }},
        {"match": "later", "fail": {
            "code": "rate_limit_exceeded", "message": "Please try again in 1m2s."
        }},
        {"match": "again", "times": 1, "close": {"code": 1011, "reason": "oops"}},
        {"regex": "(?s)^.{1000000}", "text": "That was long."},
        {"text": "Hello there.", "usage": {"input": 7, "cached": 2, "output": 3}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A scripted server; what a rule may do once it may do once in this module."""
    with background(
        lambda: run_server(ScriptEngine(read_script(SCRIPT)), api_key="sk-good")
    ) as url:
        yield url


@pytest.fixture
def program(tmp_path: Path, url: str) -> Program:
    program = Program(tmp_path)
    program.environ |= {"RTCHAT_URL": url, "OPENAI_API_KEY": "sk-good"}
    return program


# ----------------------------------------------------------------------------------- stdout, stderr


def test_stdout_is_the_text_byte_for_byte_and_one_newline(program: Program) -> None:
    assert program.run("once", "no newline").out == b"exactly\nthis\n"
    assert program.run("once", "newline").out == b"with one\n"


def test_a_pipe_gets_what_the_model_said_unchanged(program: Program) -> None:
    expected = "\x1b[31mred\x07 \u202e [bold] \U0001f469\u200d\U0001f680\n"
    assert program.run("once", "odd").text == expected


def test_what_is_about_the_reply_goes_to_stderr(program: Program) -> None:
    ran = program.run("once", "hi")
    assert ran.text == "Hello there.\n"
    assert ran.err.startswith("gpt-realtime-2.1 · first token ")
    assert ran.err.endswith(" · 7 in (2 cached) · 3 out\n")
    assert program.run("once", "hi", "--quiet").err == ""


def test_without_a_command_a_pipe_is_once(program: Program) -> None:
    ran = program.run("-q", stdin=b"hi\n")
    assert (ran.code, ran.text) == (0, "Hello there.\n")


def test_json_is_one_object_for_a_reply(program: Program) -> None:
    ran = program.run("once", "hi", "--json", "-q")
    reply = json.loads(ran.text)
    assert ran.text.count("\n") == 1
    timing = reply.pop("timing")
    assert reply.pop("response_id").startswith("resp_")
    assert reply.pop("conversation_id").startswith("conv_")
    assert reply.pop("session_id").startswith("sess_")
    assert reply.pop("url").startswith("ws://127.0.0.1:")
    assert reply == {
        "version": 1,
        "heard": None,
        "text": "Hello there.",
        "parsed": None,
        "extracted": None,
        "messages": None,
        "status": "completed",
        "reason": None,
        "model": "gpt-realtime-2.1",
        "response_model": "gpt-realtime-2.1",
        "mcp_calls": [],
        "transcription": None,
        "usage": {
            "input_tokens": 7,
            "cached_tokens": 2,
            "output_tokens": 3,
            "total_tokens": 10,
            "cost_usd": None,
        },
        "tool_calls": [],
        "error": None,
    }
    assert timing["connect_ms"] >= 0
    assert timing["total_ms"] >= timing["first_token_ms"] >= 0


def test_json_says_what_went_wrong_too(program: Program) -> None:
    ran = program.run("once", "quota", "--json", "-q")
    reply = json.loads(ran.text)
    assert ran.code == 5
    assert (reply["text"], reply["status"]) == ("", "failed")
    assert reply["error"] == {
        "code": "insufficient_quota",
        "message": "the reply failed: No credit.",
        "hint": "check the plan and billing of your account",
    }


def test_events_are_all_of_the_servers_and_nothing_else(program: Program) -> None:
    ran = program.run("once", "hi", "--events", "-q")
    types = [json.loads(line)["type"] for line in ran.text.splitlines()]
    assert types[:2] == ["session.created", "session.updated"]
    assert types[-1] == "response.done"
    assert "response.output_text.delta" in types


def test_a_trace_has_both_directions_and_no_key(program: Program) -> None:
    ran = program.run("once", "hi", "--trace", "trace.jsonl")
    text = (program.home / "trace.jsonl").read_text()
    header, *lines = [json.loads(line) for line in text.splitlines()]
    assert ran.code == 0
    assert header["format"] == 2
    directions = {"setup", "local", "sent", "received", "end"}
    assert {line["direction"] for line in lines} == directions
    assert "sk-good" not in text


def test_a_key_that_is_pasted_into_the_prompt_is_not_in_the_trace(program: Program) -> None:
    program.run("once", "is sk-good mine?", "--trace", "trace.jsonl")
    text = (program.home / "trace.jsonl").read_text()
    assert "is [key] mine?" in text
    assert "sk-good" not in text


def test_verbose_says_more(program: Program) -> None:
    err = program.run("once", "hi", "-v").err
    assert "connecting to gpt-realtime-2.1" in err
    assert "connected in" in err


# --------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("prompt", "code", "out", "error"),
    [
        ("broken", 1, "", "rtchat: the reply failed: Oh no."),
        ("refuse", 1, "", "rtchat: Not that."),
        (
            "limit",
            1,
            "Half\n",
            "rtchat: the reply reached the output limit",
        ),
        ("filter", 1, "Half\n", "rtchat: the reply was stopped by the content filter"),
        (
            "quota",
            5,
            "",
            "rtchat: the reply failed: No credit.",
        ),
        (
            "later",
            5,
            "",
            "rtchat: the reply failed: Please try again in 1m2s.",
        ),
    ],
)
def test_a_reply_that_fails_is_a_line_and_a_code(
    program: Program, prompt: str, code: int, out: str, error: str
) -> None:
    ran = program.run("once", prompt)
    assert (ran.code, ran.text, without_ids(ran.error)) == (code, out, error)


def test_a_connection_lost_in_mid_reply_keeps_what_arrived(program: Program) -> None:
    ran = program.run("once", "cut")
    assert (ran.code, ran.text) == (4, "Half an\n")
    assert ran.error.startswith("rtchat: connection lost (1006)")


def test_a_connection_lost_before_the_reply_is_made_again(program: Program) -> None:
    ran = program.run("once", "again")
    assert (ran.code, ran.text) == (0, "Hello there.\n")
    assert "connection lost (1011 oops); retrying in 0.5 s" in ran.err


def test_a_short_rate_limit_is_waited_out(program: Program) -> None:
    ran = program.run("once", "soon")
    assert (ran.code, ran.text) == (0, "Hello there.\n")
    assert "rate limit; retrying in 0.1 s" in ran.err


def test_a_server_that_goes_silent_in_mid_reply(program: Program) -> None:
    ran = program.run("once", "stall", "--timeout", "2")
    assert (ran.code, ran.text) == (4, "Half\n")
    assert "no response for 2 s" in ran.error


def test_a_wrong_key_is_3_and_is_not_shown(program: Program) -> None:
    ran = program.run("once", "hi", environ={"OPENAI_API_KEY": "sk-wrong-key"})
    assert ran.code == 3
    assert "OPENAI_API_KEY" in ran.hint
    assert "sk-wrong-key" not in ran.err


def test_nobody_there_is_4(program: Program) -> None:
    ran = program.run("once", "hi", "--url", "ws://127.0.0.1:1/v1/realtime")
    assert ran.code == 4
    assert ran.error == "rtchat: 127.0.0.1:1 refused the connection"
    assert "--url" in ran.hint


def test_no_key_names_both_ways_out(program: Program) -> None:
    del program.environ["RTCHAT_URL"], program.environ["OPENAI_API_KEY"]
    ran = program.run("once", "hi")
    assert ran.code == 2
    assert "OPENAI_API_KEY" in ran.hint
    assert "--local" in ran.hint


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", 4, "is not a WebSocket server"),
        (http("200 OK", b"<html>"), 4, "HTTP 200"),
        (http("401 Unauthorized"), 3, "HTTP 401"),
        (http("403 Forbidden"), 3, "HTTP 403"),
        (http("404 Not Found"), 4, "HTTP 404"),
        (http("429 Too Many Requests", b"", "Retry-After: 3000"), 5, "HTTP 429"),
        (http("500 Oops", b"a\nb", "Retry-After: 3000"), 4, "HTTP 500 (a b)"),
        (http("307 Moved", b"", "Location: ws://192.0.2.1/"), 4, "redirect to ws://192.0.2.1/"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_server_of_another_kind_is_a_line_and_a_code(
    program: Program, answer: bytes, code: int, says: str
) -> None:
    with background(lambda: tcp(answer)) as port:
        ran = program.run("once", "hi", "--url", f"ws://{port.address}/v1/realtime")
    assert ran.code == code
    assert says in ran.error
    assert ran.out == b""
    assert len(port.heads) <= 1


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["once", "hi", "--bogus"], "no such option: --bogus"),
        (["onse", "hi"], "unknown command 'onse'"),
        (["once", "hi", "-p", "nobody"], "unknown profile 'nobody'"),
        (["once", "hi", "--url", "https://x.example"], "is not a WebSocket URL"),
        (["once", "hi", "--url", "ws://x.example/v1"], "refusing to send a key over plain ws://"),
        (["once", "hi", "--timeout", "soon"], "'soon' for --timeout"),
        (["once", "hi", "-H", "no colon"], "--header"),
        (["once", ""], "the prompt is empty"),
        (["once", " "], "the prompt is empty"),
        (["once"], "there is no prompt"),
        (["once", "hi", "--json", "--events"], "--json and --events"),
        (["once", "hi", "-s", "@missing"], "file not found: missing"),
    ],
)
def test_wrong_usage_is_a_line_and_2(program: Program, arguments: list[str], says: str) -> None:
    ran = program.run(*arguments)
    assert ran.code == 2
    assert says in ran.error
    assert ran.out == b""


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"caf\xe9", "stdin is not UTF-8 text (byte 4)"),
        (b"a\0b", "stdin contains a NUL byte"),
        (b"\n", "there is no prompt"),
    ],
)
def test_stdin_that_is_no_prompt(program: Program, data: bytes, says: str) -> None:
    ran = program.run("once", stdin=data)
    assert ran.code == 2
    assert says in ran.error


def test_an_unwritable_trace(program: Program) -> None:
    ran = program.run("once", "hi", "--trace", "no/such/folder")
    assert ran.code == 6
    assert "the trace no/such/folder cannot be written" in ran.error


def test_a_full_disk_under_the_trace_is_said_and_the_reply_is_whole(program: Program) -> None:
    ran = program.run("once", "hi", "-q", "--trace", "/dev/full")
    assert (ran.code, ran.text) == (6, "Hello there.\n")
    assert "No space left on device" in ran.error


def test_a_prompt_of_five_megabytes(program: Program) -> None:
    ran = program.run("once", "-q", stdin=b"word " * 1_000_000)
    assert (ran.code, ran.text) == (0, "That was long.\n")


# ------------------------------------------------------------------------------------------ streams


def test_prompt_and_pipe_are_joined_by_a_blank_line(program: Program) -> None:
    program.environ["RTCHAT_TRACE"] = "trace.jsonl"
    program.run("once", "explain", stdin=b"the text\n")
    trace = (program.home / "trace.jsonl").read_text()
    assert json.dumps("explain\n\nthe text") in trace


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("rtchat once hi <&-", 0),
        ("rtchat talk <&-", 0),
        ("rtchat once hi >&-", 6),
        ("rtchat once hi >/dev/full", 6),
        ("rtchat once hi --json >/dev/full", 6),
        ("rtchat once hi --events >/dev/full", 6),
        ("rtchat config show >/dev/full", 6),
        ("rtchat config path >/dev/full", 6),
        ("rtchat --help >/dev/full", 6),
        ("rtchat serve --engine echo --port 0 >/dev/full", 6),
        ("rtchat once hi 2>&-", 0),
        ("rtchat once hi 2>/dev/full", 0),
        ("echo hi | rtchat | cat", 0),
        ("set -o pipefail; rtchat once forever | head -c 1", 141),
    ],
)
def test_streams_that_are_closed_or_full(program: Program, line: str, code: int) -> None:
    ran = program.shell(line)
    assert ran.code == code
    assert "Traceback" not in ran.err
    assert "Exception" not in ran.err
    assert len([text for text in ran.err.splitlines() if text.startswith("rtchat: ")]) == (
        code == 6
    )


def test_talk_from_a_pipe_answers_each_line_in_one_session(program: Program) -> None:
    program.environ["RTCHAT_TRACE"] = "trace.jsonl"
    ran = program.run("talk", "-q", stdin=b"hi\n\nno newline\nnewline")
    assert (ran.code, ran.text) == (0, "Hello there.\nexactly\nthis\nwith one\n")
    assert (program.home / "trace.jsonl").read_text().count('"session.created"') == 1


def test_talk_from_a_pipe_answers_each_line_as_it_comes(program: Program) -> None:
    with program.start("talk", "-q") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(b"hi\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"Hello there.\n"
        process.stdin.close()
        assert process.wait() == 0


def test_commands_are_for_people_a_pipe_may_say_anything(program: Program) -> None:
    ran = program.run("talk", "-q", stdin=b"/exit\nhi\n")
    assert (ran.code, ran.text) == (0, "Hello there.\nHello there.\n")


def test_talk_from_a_pipe_goes_on_after_a_failure_and_says_1(program: Program) -> None:
    ran = program.run("talk", "-q", stdin=b"broken\nquota\nhi\n")
    assert (ran.code, ran.text) == (1, "Hello there.\n")
    assert without_ids(ran.err).splitlines() == [
        "rtchat: the reply failed: Oh no.",
        "rtchat: the reply failed: No credit.",
        "hint: check the plan and billing of your account",
    ]


def test_a_line_that_is_not_text_ends_the_input_after_what_came_before(program: Program) -> None:
    ran = program.run("talk", "-q", stdin=b"hi\n\xff\nhi\n")
    assert (ran.code, ran.text) == (2, "Hello there.\n")
    assert "not UTF-8" in ran.error


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_keeps_what_arrived(program: Program, number: int, code: int) -> None:
    with program.start("once", "forever", "--no-stdin") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(9) == b"word word"
        process.send_signal(number)
        rest = process.stdout.read()
        err = process.stderr.read().decode()
        assert process.wait() == code
    assert rest.endswith(b"\n")
    assert not rest.endswith(b"\n\n")
    assert "Traceback" not in err
    assert "interrupted" in err


def test_the_key_is_in_no_process_list(program: Program) -> None:
    program.may_fork = False
    with program.start("once", "forever", "--no-stdin") as process:
        assert process.stdout is not None
        process.stdout.read(1)
        listed = subprocess.run(
            ["ps", "-o", "args=", "-p", str(process.pid)], capture_output=True, check=True
        )
        process.terminate()
    assert b"once forever" in listed.stdout
    assert b"sk-good" not in listed.stdout


def test_a_question_that_is_too_large_for_the_server(program: Program) -> None:
    ran = program.run("once", "--no-history", stdin=b"a" * 26_000_000)
    assert (ran.code, ran.out) == (4, b"")
    assert "connection lost (1009 " in ran.error
    assert ran.hint
