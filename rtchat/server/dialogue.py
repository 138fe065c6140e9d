"""One client's conversation with the server: frames in, frames out.

The order of the events is that of OpenAI's server, recorded. Deterministic and without I/O: ids and
the time come from outside, and what an engine says is handed in piece by piece, so that a test
needs no socket. Not here: what a reply is made of (`growing`); sockets, tasks and keys
(`realtime`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias, assert_never

from rtchat.effects import AddItem, Cancel, Configure, Delete, Reply, Retrieve, Truncate
from rtchat.events import (
    ItemAdded,
    ItemDeleted,
    ItemDone,
    ItemRetrieved,
    ReplyStarted,
    ServerEvent,
    ServerProblem,
    SessionCreated,
    SessionUpdated,
)
from rtchat.server.engine import Answer, CallPiece, Engine, Finish, Prompt
from rtchat.server.growing import GrowingReply
from rtchat.values import (
    Approval,
    ApprovalAnswer,
    Dialect,
    Item,
    Message,
    Options,
    OtherItem,
    Status,
    ToolCall,
    ToolOutput,
    value,
)
from rtchat.wire.answers import Said, encode_event, write_session
from rtchat.wire.fields import write_frame
from rtchat.wire.requests import (
    INVALID_REQUEST,
    ITEM_REFERENCE,
    Asked,
    Request,
    decode_command,
    merge_options,
    model_asked,
    read_reply,
    read_request,
    read_tools,
)

_NOTHING = Options()
SESSION_SECONDS = 3600
"""How long a session lasts."""


@value
class Begin:
    """Hand the pieces of this answer to `say` and `finish`, as they come."""

    reply_id: str
    answer: Answer


@value
class Halt:
    """This reply has ended; whatever its engine still says is dropped."""

    reply_id: str


Output: TypeAlias = str | Begin | Halt
"""A frame to send, or something to do about an engine."""


class _RefusedError(Exception):
    """A command cannot be obeyed: the client is told in an `error` event."""

    def __init__(self, code: str, message: str, param: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.problem = ServerProblem(message, kind or INVALID_REQUEST, code, param)


class Dialogue:
    """The server's end of one connection.

    `new_id` makes an id from its prefix (`item` → `item_…`), `now` is in Unix seconds.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        new_id: Callable[[str], str],
        now: float,
        model: str = "",
        dialect: Dialect = Dialect.GA,
        seconds: float = SESSION_SECONDS,
    ) -> None:
        self._engine = engine
        self._new_id = new_id
        self._model = model or engine.model
        self._dialect = dialect
        self._options = Options(engine.instructions)
        self._session_id = new_id("sess")
        self._id = new_id("conv")
        self._expires_at = int(now + seconds)
        self._items: list[Item] = []
        self._replies: dict[str, GrowingReply] = {}

    def open(self) -> list[str]:
        """The frames that greet the client."""
        return [*self._write(self._session(SessionCreated))]

    def receive(self, frame: str | bytes) -> Sequence[Output]:
        """What the client sent. Whatever it is, nothing raises."""
        data = read_request(frame)
        if isinstance(data, ServerProblem):
            return [*self.refuse(data)]
        command = decode_command(data, self._dialect)
        if isinstance(command, ServerProblem):
            return [*self.refuse(command)]
        event_id = data.get("event_id")
        named = event_id if isinstance(event_id, str) else ""
        try:
            return [*self._obey(command)]
        except _RefusedError as refused:
            return self.refuse(replace(refused.problem, event_id=named))

    def refuse(self, problem: ServerProblem) -> list[str]:
        """The frames of an `error` event."""
        return [*self._write(problem)]

    def say(self, reply_id: str, piece: str | CallPiece) -> list[str]:
        """The next piece of a reply; nothing if it has ended meanwhile."""
        reply = self._replies.get(reply_id)
        if reply is None:
            return []
        return [frame for event in reply.add(piece) for frame in self._write(event)]

    def finish(self, reply_id: str, finish: Finish) -> list[str]:
        """The end of a reply; nothing if it has ended before."""
        reply = self._replies.pop(reply_id, None)
        if reply is None:
            return []
        events = reply.end(finish)
        return [frame for event in events for frame in self._write(event, reply.options)]

    # ----------------------------------------------------------------------------------- commands

    def _obey(self, command: Asked) -> Iterator[Output]:
        match command:
            case Configure(options):
                return self._configure(options)
            case AddItem(item, previous):
                return self._add_item(item, previous)
            case Reply(options):
                return self._reply(read_reply(options))
            case Cancel(response_id):
                return self._cancel(response_id)
            case Retrieve(item_id):
                return self._write(ItemRetrieved(self._items[self._find(item_id, "retrieve")]))
            case Delete(item_id):
                del self._items[self._find(item_id, "delete")]
                return self._write(ItemDeleted(item_id))
            case Truncate(item_id):
                self._find(item_id, "truncate")
                raise _RefusedError(
                    "invalid_value", "Only audio can be truncated: this item is text.", "item_id"
                )
        assert_never(command)

    def _configure(self, options: Options) -> Iterator[str]:
        model = model_asked(options)
        # An alias will do: the example of OpenAI's own client asks for one of a dated model.
        if model is not None and not f"{self._model}-".startswith(f"{model}-"):
            message = f"A session keeps its model: this one has '{self._model}'."
            raise _RefusedError("invalid_value", message, "session.model")
        if options.instructions == "":  # as OpenAI's server does: nothing said is nothing changed
            options = replace(options, instructions=None)
        self._options = merge_options(self._options, options)
        return self._write(self._session(SessionUpdated))

    def _add_item(self, item: Item, previous: str | None) -> Iterator[str]:
        if item.id and any(known.id == item.id for known in self._items):
            message = f"The conversation has an item '{item.id}' already."
            raise _RefusedError("item_create_duplicate_item_id", message, "item.id")
        index = self._place_after(previous)
        item = _complete(item, item.id or self._new_id("item"))
        self._items.insert(index, item)
        before = self._items[index - 1].id if index else None
        yield from self._write(ItemAdded(item, before))
        yield from self._write(ItemDone(item, before))

    def _place_after(self, previous: str | None) -> int:
        if previous is None:
            return len(self._items)
        if previous == "root":
            return 0
        for index, item in enumerate(self._items):
            if item.id == previous:
                return index + 1
        message = f"The conversation has no item '{previous}' to put this one after."
        raise _RefusedError("item_create_invalid_previous_item_id", message, "previous_item_id")

    def _find(self, item_id: str, verb: str) -> int:
        for index, item in enumerate(self._items):
            if item.id == item_id:
                return index
        message = f"The conversation has no item '{item_id}'."
        raise _RefusedError(f"item_{verb}_invalid_item_id", message, "item_id")

    # ------------------------------------------------------------------------------------ replies

    def _reply(self, request: Request) -> Iterator[Output]:
        running = self._running()
        if running is not None and not request.out_of_band:
            message = f"The conversation has an active response already: {running.id}."
            raise _RefusedError("conversation_already_has_active_response", message)
        options = self._reply_options(request)
        prompt = self._prompt(request, options)
        reply = GrowingReply(
            self._new_id("resp"),
            options,
            None if request.out_of_band else self._id,
            self._items,
            self._new_id,
        )
        answer: Answer | None = None
        if options.modality == "text":
            answered = self._engine.answer(prompt)
            if isinstance(answered, ServerProblem):
                raise _RefusedError(answered.code, answered.message, answered.param, answered.kind)
            answer = answered
        self._replies[reply.id] = reply
        yield from self._write(ReplyStarted(reply.id, reply.conversation_id), options)
        if answer is None:
            yield from self.finish(reply.id, _NO_VOICE)
        else:
            yield Begin(reply.id, answer)

    def _reply_options(self, request: Request) -> Options:
        # Tools, truncation and the like are the session's; a response repeats only its own.
        session = replace(self._options, modality=self._options.modality or "audio", other={})
        return merge_options(session, request.options)

    def _prompt(self, request: Request, options: Options) -> Prompt:
        items = self._items if request.input is None else request.input
        most = options.max_output_tokens
        return Prompt(
            options.instructions or self._engine.instructions,
            tuple(self._resolve(item) for item in items),
            most if isinstance(most, int) else None,
            read_tools(merge_options(self._options, request.options)),
        )

    def _resolve(self, item: Item) -> Item:
        if isinstance(item, OtherItem) and item.type == ITEM_REFERENCE:
            return self._items[self._find(item.id, "reference")]
        return item

    def _running(self) -> GrowingReply | None:
        replies = self._replies.values()
        return next((reply for reply in replies if not reply.is_out_of_band), None)

    def _cancel(self, response_id: str) -> Iterator[Output]:
        reply = self._replies.get(response_id) if response_id else self._running()
        if reply is None:
            message = "Cancellation failed: no such response is active."
            raise _RefusedError("response_cancel_not_active", message)
        yield from self.finish(reply.id, Finish(Status.CANCELLED, "client_cancelled"))
        yield Halt(reply.id)

    def _session(self, make: type[SessionCreated | SessionUpdated]) -> ServerEvent:
        fields = write_session(
            session_id=self._session_id,
            model=self._model,
            expires_at=self._expires_at,
            options=self._options,
        )
        return make(self._session_id, self._model, self._dialect, self._expires_at, fields)

    def _write(self, event: Said, options: Options = _NOTHING) -> Iterator[str]:
        data = encode_event(event, self._new_id("event"), self._dialect, options)
        if data is not None:
            yield write_frame(data)


_NO_VOICE = Finish(
    Status.FAILED,
    code="audio_not_supported",
    message="This server has no voice: ask for text (output modalities: text).",
)


def _complete(item: Item, item_id: str) -> Item:
    match item:
        case Message() | ToolCall():
            return replace(item, id=item_id, status=item.status or "completed")
        case ToolOutput() | Approval() | ApprovalAnswer():
            return replace(item, id=item_id)
        case OtherItem():
            return replace(item, id=item_id, fields={**item.fields, "id": item_id})
    assert_never(item)
