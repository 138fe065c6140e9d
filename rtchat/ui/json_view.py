"""`--json`: one object on stdout for each reply, or each turn of a transcription; everything else
goes to stderr as usual."""

from __future__ import annotations

from typing import BinaryIO

from rtchat.core.effects import (
    QuestionAsked,
    ReplyOver,
    SourceArrived,
    Timing,
    TurnTranscribed,
    Update,
    UserTranscript,
)
from rtchat.core.json_output import VERSION
from rtchat.core.ports import View
from rtchat.core.text import write_json
from rtchat.core.values import JsonObject, Message, RemoteCall, ToolCall, TranscriptDetails, Usage
from rtchat.ui.plain_view import StatusWriter


class JsonView(View):
    """Replies as JSON lines on `out`, everything else to `status`."""

    def __init__(self, out: BinaryIO, status: StatusWriter) -> None:
        self._out = out
        self._status_writer = status
        self._transcript: str | None = None

    def show(self, update: Update) -> None:
        """Write a reply once it is over. Readers wait for that line, so a transcript that arrives
        later goes to stderr only."""
        match update:
            case QuestionAsked():
                self._transcript = None
            case UserTranscript(text):
                self._transcript = text
            case SourceArrived(text):
                self._transcript = (self._transcript or "") + text
            case ReplyOver():
                self.write(update)
            case _:
                pass
        self._status_writer.show(update)

    def write(self, over: ReplyOver, fields: JsonObject | None = None) -> None:
        """Write the object of a reply; `fields` replaces some of its fields."""
        data = as_json(over, self._transcript) | dict(fields or {})
        self._out.write((write_json(data) + "\n").encode())
        self._out.flush()
        self._transcript = None


def turn_as_json(turn: TurnTranscribed) -> dict[str, object]:
    """The JSON object for a turn of a transcription. Times are in seconds; unknown values are
    null."""
    segments = [
        {name: getattr(segment, name) for name in ("id", "speaker", "text", "start", "end")}
        for segment in turn.segments
    ]
    return {
        "version": VERSION,
        "item_id": turn.item_id or None,
        "text": turn.text,
        "start": _seconds(turn.start_ms),
        "end": _seconds(turn.end_ms),
        "words": [{"text": w.text, "start": w.start, "end": w.end} for w in turn.words],
        "segments": segments,
        **_transcription(turn.details),
        "error": turn.error or None,
    }


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def as_json(over: ReplyOver, heard: str | None = None) -> dict[str, object]:
    """The JSON object for a reply; `heard` is the transcript of a spoken question. Unknown values
    are null."""
    problem = over.problem
    error = problem and {
        "code": problem.code or None,
        "message": problem.message,
        "hint": problem.hint or None,
    }
    return {
        "version": VERSION,
        "heard": heard,
        "text": over.text,
        "parsed": None,
        "extracted": None,
        "messages": [_message(message) for message in over.messages] or None,
        "status": over.status.value,
        "reason": over.reason or None,
        "response_id": over.response_id,
        "conversation_id": over.conversation_id,
        "model": over.model,
        "response_model": over.session.model or None,
        "session_id": over.session.id or None,
        "url": over.session.url or None,
        "usage": _usage(over.usage, over.cost),
        "transcription": over.transcript and _transcription(over.transcript),
        "timing": _timing(over.timing),
        "tool_calls": [_tool_call(call) for call in over.tool_calls],
        "mcp_calls": [_mcp_call(call) for call in over.remote_calls],
        "error": error,
    }


def _usage(usage: Usage | None, cost: float | None) -> dict[str, object] | None:
    if usage is None:
        return None
    return {**usage.as_json(), "cost_usd": None if cost is None else round(cost, 8)}


def _transcription(transcript: TranscriptDetails) -> dict[str, object]:
    usage = _usage(transcript.usage, transcript.cost)
    return {"model": transcript.model or None, "usage": usage, **transcript.fields}


def _timing(timing: Timing) -> dict[str, int | None]:
    def milliseconds(seconds: float | None) -> int | None:
        return None if seconds is None else round(seconds * 1000)

    return {
        "connect_ms": milliseconds(timing.connect),
        "first_token_ms": milliseconds(timing.first_token),
        "total_ms": milliseconds(timing.total),
    }


def _message(message: Message) -> dict[str, str | None]:
    return {"phase": message.phase or None, "text": message.text}


def _tool_call(call: ToolCall) -> dict[str, str]:
    return {"name": call.name, "call_id": call.call_id, "arguments": call.arguments}


def _mcp_call(call: RemoteCall) -> dict[str, str | None]:
    return {
        "server": call.server,
        "name": call.name,
        "arguments": call.arguments,
        "output": call.output or None,
        "error": call.error or None,
    }
