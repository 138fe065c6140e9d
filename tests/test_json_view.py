"""One JSON object for each reply."""

from __future__ import annotations

import json
from io import BytesIO, StringIO

import pytest

from rtchat.core.effects import (
    Notice,
    QuestionAsked,
    ReplyOver,
    TextArrived,
    Timing,
    UserTranscript,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.values import Message, Part, RemoteCall, SessionInfo, Status, ToolCall, Usage
from rtchat.ui.json_view import JsonView, as_json
from rtchat.ui.plain_view import StatusWriter
from tests.json_output import check

_FULL = ReplyOver(
    Status.FAILED,
    "Ä",
    "m",
    "max_output_tokens",
    Problem(ExitCode.LIMIT, "what happened", "what to do", "rate_limit_exceeded"),
    "resp_1",
    "conv_1",
    Usage(57, 16, 48, 105),
    Timing(0.3124, 0.21, 1.9),
    (ToolCall("now", "c", '{"a": 1}', "i", "completed"),),
    remote_calls=(
        RemoteCall("docs", "search", "{}", "found"),
        RemoteCall("docs", "search", "{}", "", "HTTP 500"),
    ),
    session=SessionInfo("sess_1", "m-2026", "wss://a.example/v1/realtime"),
)
_FULL_JSON = {
    "version": 1,
    "heard": None,
    "text": "Ä",
    "parsed": None,
    "extracted": None,
    "messages": None,
    "status": "failed",
    "reason": "max_output_tokens",
    "response_id": "resp_1",
    "conversation_id": "conv_1",
    "model": "m",
    "response_model": "m-2026",
    "session_id": "sess_1",
    "url": "wss://a.example/v1/realtime",
    "usage": {
        "input_tokens": 57,
        "cached_tokens": 16,
        "output_tokens": 48,
        "total_tokens": 105,
        "cost_usd": None,
    },
    "transcription": None,
    "timing": {"connect_ms": 312, "first_token_ms": 210, "total_ms": 1900},
    "tool_calls": [{"name": "now", "call_id": "c", "arguments": '{"a": 1}'}],
    "mcp_calls": [
        {
            "server": "docs",
            "name": "search",
            "arguments": "{}",
            "output": "found",
            "error": None,
        },
        {
            "server": "docs",
            "name": "search",
            "arguments": "{}",
            "output": None,
            "error": "HTTP 500",
        },
    ],
    "error": {
        "code": "rate_limit_exceeded",
        "message": "what happened",
        "hint": "what to do",
    },
}
_BARE = ReplyOver(Status.COMPLETED, "", "m")
_BARE_JSON: dict[str, object] = {
    "version": 1,
    "heard": None,
    "text": "",
    "parsed": None,
    "extracted": None,
    "messages": None,
    "status": "completed",
    "reason": None,
    "response_id": None,
    "conversation_id": None,
    "model": "m",
    "response_model": None,
    "session_id": None,
    "url": None,
    "usage": None,
    "transcription": None,
    "timing": {"connect_ms": None, "first_token_ms": None, "total_ms": None},
    "tool_calls": [],
    "mcp_calls": [],
    "error": None,
}


@pytest.mark.parametrize(("over", "data"), [(_FULL, _FULL_JSON), (_BARE, _BARE_JSON)])
def test_the_object_of_a_reply(over: ReplyOver, data: dict[str, object]) -> None:
    assert as_json(over) == data
    assert list(as_json(over)) == list(data)
    check("reply", as_json(over))


def test_the_phases_of_a_reply() -> None:
    messages = (
        Message("assistant", (Part("text", "Let me look."),), phase="commentary"),
        Message("assistant", (Part("text", "It is five."),), phase="final_answer"),
        Message("assistant", (Part("text", "Or six."),)),
    )
    over = ReplyOver(Status.COMPLETED, "Let me look.", "m", messages=messages)
    check("reply", as_json(over))
    assert as_json(over)["messages"] == [
        {"phase": "commentary", "text": "Let me look."},
        {"phase": "final_answer", "text": "It is five."},
        {"phase": None, "text": "Or six."},
    ]


def test_an_error_without_a_code_or_a_hint() -> None:
    problem = Problem(ExitCode.REPLY, "boom")
    over = ReplyOver(Status.FAILED, "", "m", problem=problem)
    assert as_json(over) == _BARE_JSON | {
        "status": "failed",
        "error": {"code": None, "message": "boom", "hint": None},
    }


def test_stdout_has_one_line_per_reply_and_nothing_else() -> None:
    out, err = BytesIO(), StringIO()
    view = JsonView(out, StatusWriter(err))
    for update in (
        QuestionAsked("q", "m"),
        TextArrived("Ä"),
        _FULL,
        Notice("info", "a line"),
        _BARE,
    ):
        view.show(update)
        view.tick()
    first, second, end = out.getvalue().split(b"\n")
    assert "Ä".encode() in first
    assert [json.loads(first), json.loads(second), end] == [_FULL_JSON, _BARE_JSON, b""]
    assert err.getvalue() == (
        "rtchat: what happened\nhint: what to do\n"
        "m-2026 (asked for m) · first token 0.21 s · 1.9 s · 28 tok/s"
        " · 57 in (16 cached) · 48 out\n"
        "a line\n"
    )


def test_a_transcript_belongs_to_its_own_reply_only() -> None:
    out, err = BytesIO(), StringIO()
    view = JsonView(out, StatusWriter(err))
    spoken, late = QuestionAsked("", "m", spoken=True), UserTranscript("much too\nlate")
    for update in (
        spoken,
        UserTranscript("is it?"),
        _BARE,
        spoken,
        _BARE,
        late,
        QuestionAsked("q", "m"),
        _BARE,
    ):
        view.show(update)
    heard = [json.loads(line)["heard"] for line in out.getvalue().splitlines()]
    assert (heard, err.getvalue()) == (
        ["is it?", None, None],
        "you said: is it?\nyou said: much too late\n",
    )


def test_a_model_name_that_is_not_valid_unicode() -> None:
    """Python turns bytes of the command line that are not UTF-8 into lone surrogates."""
    out = BytesIO()
    JsonView(out, StatusWriter(None)).show(ReplyOver(Status.COMPLETED, "", "m\udcff"))
    assert json.loads(out.getvalue()) == _BARE_JSON | {"model": "m�"}
