"""The fields of `--json`: each object that a test prints is checked against one table."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import ValidationError

from rtchat.core.effects import ReplyOver, TurnTranscribed
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.json_output import OUTPUTS, VERSION, Fields
from rtchat.core.values import Status, TranscriptDetails, TranscriptSegment, TranscriptWord, Usage
from rtchat.ui.json_view import as_json, turn_as_json
from tests import generate
from tests.json_output import check, check_lines
from tests.program import Program

_FIRST = {
    "reply": (
        "version heard text parsed extracted messages status reason response_id conversation_id "
        "model response_model session_id url usage transcription timing tool_calls mcp_calls error"
    ),
    "turn": "version item_id text segments model usage languages logprobs error",
    "conversation": "version id title began updated model turns",
    "match": "version id title began updated model turns turn snippet",
    "report": "version ok stages settings error",
}
"""The fields of version 1. If one of them is removed or renamed, the version has to grow."""


def test_version_1_keeps_its_fields() -> None:
    assert VERSION == 1
    for name, fields in _FIRST.items():
        assert set(fields.split()) <= set(OUTPUTS[name].fields)


def test_every_field_is_documented() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert generate.json_reference() in readme
    for output in OUTPUTS.values():
        assert all(_helps(output.fields))


def _helps(fields: Fields) -> list[str]:
    return [text for each in fields.values() for text in (each.help, *_helps(each.fields or {}))]


def test_a_failed_reply_and_what_it_heard() -> None:
    problem = Problem(ExitCode.REPLY, "boom")
    details = TranscriptDetails("w", Usage(seconds=1.5), 0.1, {"languages": [{"code": "en"}]})
    over = ReplyOver(Status.FAILED, "", "m", problem=problem, transcript=details)
    check("reply", as_json(over, "is it?"))


def test_the_turns_of_a_transcription() -> None:
    segment = TranscriptSegment("s", "Hi", "A", 0.0, 1.5)
    check("turn", turn_as_json(TurnTranscribed("i", "Hi", segments=(segment,))))
    word = TranscriptWord("Hi", 0.5, 1.0)
    timed = turn_as_json(TurnTranscribed("i", "Hi", words=(word,), start_ms=1500, end_ms=2750))
    check("turn", timed)
    assert (timed["start"], timed["end"]) == (1.5, 2.75)
    check("turn", turn_as_json(TurnTranscribed("", "", error="noise")))


@pytest.mark.parametrize(
    "change", [{"more": 1}, {"text": None}, {"version": 2}, {"status": "done"}, {"usage": {}}]
)
def test_an_object_that_differs_is_found(change: dict[str, object]) -> None:
    good = as_json(ReplyOver(Status.COMPLETED, "", "m"))
    check("reply", good)
    with pytest.raises(ValidationError):
        check("reply", good | change)


def test_each_command_prints_its_kind(program: Program) -> None:
    """`Program.run` checks each line; this checks that it does."""
    with pytest.raises(ValidationError):
        check_lines(["history", "list", "--json"], b"{}\n")
    check_lines(["history", "list"], b"{}\n")
    check_lines(["history", "list", "--json"], b"{")
