"""What a client can know about a response from the frames that it received.

The tests of deviations expect exactly that. So what they expect depends on the frames, not on the
deviation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.deviations.server import ENDS, Data, Frame, Response

BETWEEN = "\n\n"


@dataclass
class KnownCall:
    """A call as far as it is known."""

    name: str = ""
    arguments: str = ""
    pieces: str = ""
    """The arguments as far as they were streamed."""
    is_complete: bool = False
    """Whether an event said that it is complete."""
    call_ids: set[str] = field(default_factory=set)
    item_ids: set[str] = field(default_factory=set)

    @property
    def all_arguments(self) -> Any:
        """The arguments as an object; None if they are not known. A complete call without any has
        none."""
        text = self.arguments or self.pieces or ("{}" if self.is_complete else "")
        try:
            return json.loads(text)
        except ValueError:
            return None


@dataclass
class KnownResponse:
    """What is known of a response. `shown` is its text as far as it could be shown at once, and
    `text` the final one; `status` is None if the server did not end the response."""

    shown: str = ""
    text: str = ""
    has_audio: bool = False
    status: str | None = None
    error: str = ""
    """The error that ended it."""
    calls: list[KnownCall] = field(default_factory=list)

    @property
    def complete_calls(self) -> list[KnownCall]:
        """The calls that can be made."""
        if self.status not in ("completed", None) or self.error:
            return []
        return [call for call in self.calls if call.name and call.all_arguments is not None]

    @property
    def answered_calls(self) -> list[KnownCall]:
        """The calls that get an output, even if they cannot be made."""
        if self.status not in ("completed", None) or self.error:
            return []
        made = self.complete_calls
        return [call for call in self.calls if call in made or call.is_complete]

    @property
    def is_silent(self) -> bool:
        """Whether the client has no reason to think that it is over."""
        return self.status is None and not self.error and not self.answered_calls


def distinct(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames without those that are evidently repeated: the same one again, or the same event
    under its other name. Event ids tell only if a server does not always send the same one."""
    last: Data = {}
    ids_vary = False
    names: dict[str, str] = {}
    for frame in frames:
        if names.setdefault(frame.type, frame.data["type"]) != frame.data["type"]:
            continue
        event_id, before = frame.data.get("event_id"), last.get("event_id")
        is_repeated = bool(event_id) and ids_vary and frame.data == last
        ids_vary = ids_vary or (bool(last) and event_id != before)
        last = frame.data
        if not is_repeated:
            yield frame


def known_response(response: Response, frames: Sequence[Frame]) -> KnownResponse:
    """What these frames, received until the turn was over, say about a response."""
    known = KnownResponse(calls=[KnownCall() for _ in response.calls])
    final = ""
    for frame in frames:
        if frame.response is not response:
            continue
        known.error = frame.error
        if frame.error:
            continue
        known.has_audio |= frame.type == "response.output_audio.delta"
        if not final and frame.call is None:
            known.shown += frame.piece
        if whole := _text(frame):
            final = whole
            if whole.startswith(known.shown):
                known.shown = whole
        for call, item in zip(known.calls, response.calls, strict=True):
            if frame.call is item:
                _note(call, frame)
        if frame.type in ENDS:
            _end(known, frame)
            break
    known.text = final or known.shown
    return known


def _end(known: KnownResponse, frame: Frame) -> None:
    body = frame.data.get("response") or {}
    made = [item for item in body.get("output") or () if item.get("type") == "function_call"]
    for call, item in zip(known.calls, made, strict=False):
        _add(call, item)
        call.is_complete = True
    default = "cancelled" if frame.type == "response.cancelled" else "completed"
    known.status = body.get("status") or default


def _text(frame: Frame) -> str:
    """The whole text of a message, if a frame has it."""
    data = frame.data
    match frame.type:
        case "response.output_text.done":
            return str(data.get("text") or "")
        case "response.output_audio_transcript.done":
            return str(data.get("transcript") or "")
        case "response.content_part.done":
            return _of_part(data.get("part"))
        case "response.output_item.done":
            return _of_item(data.get("item"))
        case "response.done":
            items = (data.get("response") or {}).get("output") or ()
            return "".join(map(_of_item, items))
        case _:
            return ""


def _of_item(item: Data | None) -> str:
    return "".join(map(_of_part, (item or {}).get("content") or ()))


def _of_part(part: Data | None) -> str:
    return str((part or {}).get("text") or (part or {}).get("transcript") or "")


def _note(call: KnownCall, frame: Frame) -> None:
    data = frame.data
    if frame.type == "response.function_call_arguments.delta":
        call.pieces += frame.piece
        return
    item = data.get("item") or data
    call.is_complete |= frame.type == "response.output_item.done"
    _add(call, item | {"id": item.get("id") or data.get("item_id")})


def _add(call: KnownCall, item: Data) -> None:
    call.name = call.name or item.get("name") or ""
    call.call_ids |= {item.get("call_id") or ""} - {""}
    call.item_ids |= {item.get("id") or ""} - {""}
    arguments = item.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or "")
    call.arguments = call.arguments or text.replace('""', "")
