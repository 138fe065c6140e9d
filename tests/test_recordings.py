"""Replays recorded sessions through the decoder and the conversation and checks the output.

The recordings are not part of the project; without them the tests are skipped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rtchat.core.conversation import Conversation
from rtchat.core.effects import Effect, ReplyOver, Show, TextArrived
from rtchat.core.events import ConnectionOpened, Started, UserSaid
from rtchat.core.mode import Mode
from rtchat.core.values import Options, Status, Usage
from rtchat.wire import decode
from tests.playbook import Playbook

FOLDER = Path(__file__).parents[2] / "shared" / "recordings"
NAMES = (
    "azure-voice-live-beta-text-turn",
    "azure-voice-live-beta-tool-round",
    "openai-gpt-realtime-2.1-tool-round",
    "openai-gpt-realtime-tool-round",
    "openai-history-seeding",
    "openai-text-in-audio-out",
    "xai-history-seeding",
    "xai-tool-round",
)
"""The recordings with typed questions; in the others the user speaks."""


def read(name: str) -> list[tuple[str, dict[str, Any]]]:
    path = FOLDER / f"{name}.jsonl"
    if not path.exists():
        pytest.skip("the recordings are not available")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(line["direction"], line["data"]) for line in lines]


def spoken(response: dict[str, Any]) -> str:
    """The complete text of a response, from its final event."""
    parts = [part for item in response["output"] for part in item.get("content", ())]
    return "\n\n".join(part.get("text") or part["transcript"] for part in parts)


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_turn(name: str) -> None:
    lines = read(name)
    asked = max(index for index, (_, data) in enumerate(lines) if _first_ask(data, lines, index))
    play = Playbook(Conversation("m", Options(modality="text"), mode=Mode.CHAT))
    effects: list[Effect] = [*play.handle(Started()), *play.handle(ConnectionOpened())]
    for index, (direction, data) in enumerate(lines):
        if index == asked:
            effects += play.handle(UserSaid("the question"))
        if direction == "received":
            for event in decode(data):
                effects += play.handle(event)
    shown = [effect.update for effect in effects if isinstance(effect, Show)]
    (over,) = [update for update in shown if isinstance(update, ReplyOver)]
    done = next(data for _, data in lines[asked:] if data["type"] == "response.done")
    usage = done["response"].get("usage") or done["usage"]
    calls = [item for item in done["response"]["output"] if item["type"] == "function_call"]
    assert over.status is (Status.INCOMPLETE if calls else Status.COMPLETED)
    assert [call.call_id for call in over.tool_calls] == [call["call_id"] for call in calls]
    assert over.text == spoken(done["response"])
    assert over.text == "".join(u.text for u in shown if isinstance(u, TextArrived))
    assert over.usage == Usage(
        usage["input_tokens"],
        usage["input_token_details"].get("cached_tokens", 0),
        usage["output_tokens"],
        usage["total_tokens"],
        audio_output=usage["output_token_details"].get("audio_tokens", 0),
    )


def _first_ask(data: dict[str, Any], lines: list[tuple[str, dict[str, Any]]], index: int) -> bool:
    earlier = [line["type"] for _, line in lines[:index]]
    return data["type"] == "response.create" and "response.create" not in earlier
