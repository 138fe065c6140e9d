"""A simulated Realtime server.

It is correct; deviations change the frames that it is about to send. Each frame records which
response it belongs to, whatever its ids are, so that `known` can determine what a client knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

STEP = 0.01
"""Seconds between two frames, and on the way to the server."""
MARK = "rtchat_request"
"""The metadata field that names the request of a response."""

Data: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A call of a tool."""

    name: str
    arguments: Data


@dataclass(frozen=True)
class Answer:
    """What a response of the server contains; `status` is its end."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    status: str = "completed"


@dataclass(eq=False)
class Response:
    """A response; `turn` is the number of the question, None if it was not requested."""

    answer: Answer
    turn: int | None
    id: str
    mark: str = ""
    calls: list[Data] = field(default_factory=list)
    """The items of its calls."""
    ids: set[str] = field(default_factory=set)
    """The ids of it that the client has received."""

    @property
    def text(self) -> str:
        return self.answer.text


@dataclass(eq=False)
class Frame:
    """A frame before it is sent."""

    data: Data
    response: Response | None = None
    piece: str = ""
    """The text that it adds."""
    call: Data | None = None
    """The call that it is about, one of those of the response."""
    pause: float = STEP
    """Seconds after the frame before it."""
    is_binary: bool = False
    error: str = ""
    """The error that it reports, which may have ended the response."""

    @property
    def type(self) -> str:
        """Its GA type."""
        name: str = self.data["type"]
        return GA.get(name, name)

    def copy(self, **fields: object) -> Frame:
        """The same frame again, with these fields."""
        return replace(self, data=deepcopy(self.data) | fields)


BETA = {
    "conversation.item.added": "conversation.item.created",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
}
"""The names of events before GA."""
GA = {beta: ga for ga, beta in BETA.items()}
ENDS = ("response.done", "response.cancelled")

Transform: TypeAlias = Callable[["Server", str, list[Frame]], list[Frame]]
"""Changes the frames that a server is about to send at a stage: "open", "configured", "item",
"commit", "response" or "cancel"."""


@dataclass(frozen=True)
class Features:
    """What a correct server may do or omit."""

    echoes: bool = True
    """Whether it echoes the metadata of a request."""
    confirms: bool = True
    """Whether it confirms the items that it has received."""


class Server:
    """The server's side of one connection. `script` has what it answers to each question, one
    answer after another; `numbers` counts the ids of all connections."""

    def __init__(
        self,
        script: Sequence[Sequence[Answer]],
        transforms: Iterable[Transform],
        features: Features,
        numbers: Iterable[int],
        *,
        speaks: bool = False,
        listens: bool = False,
    ) -> None:
        self.features = features
        self.queue: list[tuple[float, Frame]] = []
        """The frames to send, and when."""
        self.now = 0.0
        self.active: Response | None = None
        self.asked: list[Data] = []
        """The items that the client added."""
        self.unanswered: dict[str, Data] = {}
        """The calls without an output, by their ids."""
        self.wrong: list[str] = []
        """What the client did wrong."""
        self._ids: dict[str, set[str]] = {}
        """The ids that the client has received for each call."""
        self.request = ""
        """The event id of the last `response.create`."""
        self.responses: list[Response] = []
        self._script = script
        self._transforms = list(transforms)
        self._numbers = iter(numbers)
        self._speaks = speaks
        self._listens = listens
        """Whether it makes a turn of the first audio, and replies to it."""

    def new_id(self, kind: str) -> str:
        """An id that was not used before."""
        return f"{kind}_{next(self._numbers)}"

    def say(self, stage: str, frames: list[Frame]) -> None:
        """Send these frames, changed by the transforms."""
        frames = [frame.copy(event_id=self.new_id("event")) for frame in frames]
        for transform in self._transforms:
            frames = transform(self, stage, frames)
        for frame in frames:
            self._note_ids(frame)
        # Events of other stages do not wait for the end of a response.
        waits = stage == "response"
        dues = (due for due, frame in self.queue if waits or frame.response is None)
        last = max([self.now, *dues])
        for frame in frames:
            last += frame.pause
            self.queue.append((last, frame))
        self.queue.sort(key=lambda each: each[0])

    def _note_ids(self, frame: Frame) -> None:
        """Note the ids that the client may use for a response or a call: those that it received."""
        data, response = frame.data, frame.response
        if response is not None:
            body = data.get("response") or {}
            response.ids |= {str(data.get("response_id") or body.get("id") or response.id)}
        output = (data.get("response") or {}).get("output") or ()
        made = [item for item in output if item.get("type") == "function_call"]
        named = [*zip(response.calls, made, strict=False)] if response is not None else []
        if frame.call is not None:
            named.append((frame.call, data.get("item") or data))
        for call, item in named:
            ids = {item.get("call_id"), item.get("id"), item.get("item_id")} - {None, ""}
            self._ids.setdefault(call["call_id"], set()).update(ids)

    def session(self, kind: str) -> list[Frame]:
        """`session.created` or `session.updated`."""
        session = {"type": "realtime", "id": "sess_1", "object": "realtime.session", "model": "m"}
        return [Frame({"type": f"session.{kind}", "session": session})]

    def open(self) -> None:
        """The client has connected."""
        self.say("open", self.session("created"))

    def take_frame(self) -> Frame:
        """The next frame, as it is sent."""
        _, frame = self.queue.pop(0)
        is_end = frame.response is self.active and frame.type in ENDS
        if is_end or (self.active is not None and not self._is_pending(self.active)):
            self.active = None
        return frame

    def _is_pending(self, response: Response) -> bool:
        return any(frame.response is response for _, frame in self.queue)

    def handle(self, event: Data) -> None:
        """The client has sent this event."""
        match event["type"]:
            case "session.update":
                self.say("configured", self.session("updated"))
            case "conversation.item.create":
                self._add(event["item"])
            case "input_audio_buffer.commit":
                self._commit(self.new_id("item"))
            case "response.create":
                self._create(event)
            case "response.cancel":
                self._cancel(event)
            case "input_audio_buffer.append" if self._listens:
                self._listens = False
                self._hear()
            case "input_audio_buffer.append" | "conversation.item.truncate":
                pass
            case other:
                self.wrong.append(f"unexpected {other}")

    def _add(self, item: Data) -> None:
        item = {"id": self.new_id("item"), "status": "completed"} | item
        if item["type"] == "function_call":
            self.unanswered[item["call_id"]] = item
            self._ids[item["call_id"]] = {item["call_id"]}
        if item["type"] == "function_call_output":
            self._take_output(item["call_id"])
        self.asked.append(item)
        self.say("item", self.confirmation(item))

    def _take_output(self, call_id: str) -> None:
        known = (own for own in self.unanswered if call_id in self._ids.get(own, ()) or {call_id})
        if self.unanswered.pop(next(known, ""), None) is None:
            self.wrong.append(f"an output for {call_id}, which has one or does not exist")

    def confirmation(self, item: Data) -> list[Frame]:
        """The events that confirm an item."""
        if not self.features.confirms:
            return []
        return [
            Frame({"type": f"conversation.item.{what}", "item": item}) for what in ("added", "done")
        ]

    def _hear(self) -> None:
        item_id = self.new_id("item")
        buffer = {"item_id": item_id}
        started = buffer | {"type": "input_audio_buffer.speech_started", "audio_start_ms": 0}
        stopped = buffer | {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 500}
        self.say("speech", [Frame(started), Frame(stopped)])
        self._commit(item_id)
        self.respond(self._script[0][0], 1)

    def _commit(self, item_id: str) -> None:
        part = {"type": "input_audio", "transcript": None}
        item = {"id": item_id, "type": "message", "role": "user", "content": [part]}
        self.asked.append(item)
        place = {"item_id": item_id, "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        committed = Frame({"type": "input_audio_buffer.committed", "item_id": item_id})
        words = f"question {self._question()}"
        transcript = [
            Frame({"type": f"{kind}.delta", "delta": words} | place),
            Frame({"type": f"{kind}.completed", "transcript": words} | place),
        ]
        self.say("commit", [committed, *self.confirmation(item), *transcript])

    def _question(self) -> int:
        """The number of the last question, from 1: items that are sent again count, too."""
        return sum(item.get("role") == "user" for item in self.asked)

    def _create(self, event: Data) -> None:
        self.request = event["event_id"]
        if self.active is not None:
            error = {
                "type": "invalid_request_error",
                "code": "conversation_already_has_active_response",
                "message": "Conversation already has an active response",
                "event_id": event["event_id"],
            }
            self.say("busy", [Frame({"type": "error", "error": error})])
            return
        if self.unanswered:
            self.wrong.append(f"a request while calls have no output: {list(self.unanswered)}")
        number = self._question()
        after = 0
        for item in reversed(self.asked):
            if item.get("role") == "user":
                break
            after += item["type"] == "function_call_output"
        answers = self._script[number - 1]
        answer = answers[min(1, after) if len(answers) > 1 else 0]
        metadata = (event.get("response") or {}).get("metadata") or {}
        self.respond(answer, number, str(metadata.get(MARK, "")))

    def respond(self, answer: Answer, turn: int | None, mark: str = "") -> Response:
        """Begin a response."""
        response = Response(answer, turn, self.new_id("resp"), mark)
        self.active = response
        self.say("response", self.frames(response))
        self.responses.append(response)
        if response.calls and turn is not None:
            self.unanswered |= {call["call_id"]: call for call in response.calls}
        if not self._is_pending(response):
            self.active = None
        return response

    def _cancel(self, event: Data) -> None:
        response = self.active
        if response is None or event.get("response_id", response.id) not in response.ids:
            error = {
                "type": "invalid_request_error",
                "code": "response_cancel_not_active",
                "message": "Cancellation failed: no active response found",
                "event_id": event["event_id"],
            }
            self.say("nothing to cancel", [Frame({"type": "error", "error": error})])
            return
        left = [frame for _, frame in self.queue if frame.response is not response]
        self.queue = [(self.now + number * STEP, frame) for number, frame in enumerate(left, 1)]
        self.active = None
        self.say("cancel", [self.end(response, "cancelled", [])])

    # ----------------------------------------------------------------------------------- a response

    def frames(self, response: Response) -> list[Frame]:
        """All events of a response, in the order of the API."""
        body = self._body(response, "in_progress")
        created = Frame({"type": "response.created", "response": body}, response)
        frames, output = [created], []
        if response.text:
            more, item = self._message(response)
            frames += more
            output.append(item)
        for index, call in enumerate(response.answer.calls, len(output)):
            more, item = self._call(response, call, index)
            frames += more
            output.append(item)
        limits = Frame({"type": "rate_limits.updated", "rate_limits": []}, response)
        return [*frames, self.end(response, response.answer.status, output), limits]

    def end(self, response: Response, status: str, output: list[Data]) -> Frame:
        """`response.done`."""
        error = {"code": "server_error", "message": "Oh no."}
        details = {
            "completed": None,
            "cancelled": {"type": status, "reason": "client_cancelled"},
            "incomplete": {"type": status, "reason": "max_output_tokens"},
            "failed": {"type": status, "error": error},
        }[status]
        body = self._body(response, status) | {"status_details": details, "output": output}
        usage = {"total_tokens": 3, "input_tokens": 1, "output_tokens": 2}
        return Frame({"type": "response.done", "response": body | {"usage": usage}}, response)

    def _body(self, response: Response, status: str) -> Data:
        body: Data = {"id": response.id, "object": "realtime.response", "status": status}
        is_echoed = self.features.echoes and response.mark
        return body | {"metadata": {MARK: response.mark} if is_echoed else None, "output": []}

    def _message(self, response: Response) -> tuple[list[Frame], Data]:
        item_id = self.new_id("item")
        of = {"response_id": response.id, "output_index": 0}
        place = of | {"item_id": item_id, "content_index": 0}
        item: Data = {"id": item_id, "type": "message", "role": "assistant", "content": []}
        text = response.text
        if self._speaks:
            stem, field = "response.output_audio_transcript", "transcript"
            part: Data = {"type": "audio", "transcript": text}
            content = {"type": "output_audio", "transcript": text}
        else:
            stem, field = "response.output_text", "text"
            part, content = {"type": "text", "text": text}, {"type": "output_text", "text": text}
        whole = item | {"status": "completed", "content": [content]}
        pieces = [text[at : at + 7] for at in range(0, len(text), 7)]

        def frame(kind: str, piece: str = "", **fields: object) -> Frame:
            return Frame({"type": kind} | place | fields, response, piece)

        deltas = [frame(f"{stem}.delta", piece, delta=piece) for piece in pieces]
        if self._speaks:
            sound = [frame("response.output_audio.delta", delta="AAAA") for _ in deltas]
            deltas = [each for pair in zip(deltas, sound, strict=True) for each in pair]
            deltas.append(frame("response.output_audio.done"))
        added = item | {"status": "in_progress"}
        kinds = "response.output_item.added", "response.output_item.done"
        return [
            Frame({"type": kinds[0], "item": added} | of, response),
            frame("response.content_part.added", part=part | {field: ""}),
            *deltas,
            frame(f"{stem}.done", **{field: text}),
            frame("response.content_part.done", part=part),
            Frame({"type": kinds[1], "item": whole} | of, response),
        ], whole

    def _call(self, response: Response, call: Call, index: int) -> tuple[list[Frame], Data]:
        item_id, call_id = self.new_id("item"), self.new_id("call")
        of = {"response_id": response.id, "output_index": index}
        arguments = json.dumps(call.arguments)
        item = {"id": item_id, "type": "function_call", "name": call.name, "call_id": call_id}
        whole = item | {"arguments": arguments, "status": "completed"}
        response.calls.append(whole)
        place = of | {"item_id": item_id, "call_id": call_id}
        kind = "response.function_call_arguments"
        pieces = arguments[:5], arguments[5:]
        more = {"name": call.name, "arguments": arguments}
        added = item | {"arguments": "", "status": "in_progress"}
        frames = [
            Frame({"type": "response.output_item.added", "item": added} | of, response),
            *(Frame({"type": f"{kind}.delta", "delta": p} | place, response, p) for p in pieces),
            Frame({"type": f"{kind}.done"} | place | more, response),
            Frame({"type": "response.output_item.done", "item": whole} | of, response),
        ]
        return [replace(frame, call=whole) for frame in frames], whole
