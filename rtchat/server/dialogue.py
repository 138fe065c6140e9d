"""One client's conversation with the server: frames in, frames out.

The order of the events is that of OpenAI's server, recorded. Deterministic and without I/O: ids and
the time come from outside, and what an engine says is handed in piece by piece, so that a test
needs no socket. Not here: sockets, tasks and keys (`realtime`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, assert_never

from rtchat.effects import AddItem, Cancel, Command, Configure, Delete, Reply, Retrieve, Truncate
from rtchat.events import (
    ChannelDone,
    Delta,
    ItemAdded,
    ItemDeleted,
    ItemDone,
    ItemRetrieved,
    OutputAdded,
    OutputDone,
    PartAdded,
    PartDone,
    ReplyEnded,
    ReplyStarted,
    ServerEvent,
    ServerProblem,
    SessionCreated,
    SessionUpdated,
)
from rtchat.server.engine import Answer, Engine, Finish, Prompt
from rtchat.values import (
    Channel,
    Dialect,
    Item,
    Message,
    Options,
    OtherItem,
    Part,
    Status,
    ToolCall,
    ToolOutput,
    value,
)
from rtchat.wire.answers import encode_event, write_session
from rtchat.wire.fields import write_frame
from rtchat.wire.requests import (
    INVALID_REQUEST,
    ITEM_REFERENCE,
    Request,
    decode_command,
    merge_options,
    model_asked,
    read_reply,
    read_request,
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


@dataclass
class _Reply:
    id: str
    options: Options
    conversation_id: str | None
    item_id: str
    previous_item_id: str | None = None
    texts: list[str] = field(default_factory=list)
    has_output: bool = False

    @property
    def is_out_of_band(self) -> bool:
        return self.conversation_id is None

    def item(self, status: str, *, empty: bool = False) -> Message:
        parts = () if empty else (Part("text", "".join(self.texts)),)
        return Message("assistant", parts, self.item_id, status)


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
        self._replies: dict[str, _Reply] = {}

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

    def say(self, reply_id: str, text: str) -> list[str]:
        """The next text of a reply; nothing if it has ended meanwhile."""
        reply = self._replies.get(reply_id)
        if reply is None:
            return []
        frames = [] if reply.has_output else [*self._begin_output(reply)]
        reply.texts.append(text)
        return [*frames, *self._write(Delta(Channel.TEXT, text, reply.id, reply.item_id))]

    def finish(self, reply_id: str, finish: Finish) -> list[str]:
        """The end of a reply; nothing if it has ended before."""
        reply = self._replies.pop(reply_id, None)
        if reply is None:
            return []
        frames: list[str] = []
        if finish.status is Status.COMPLETED and not reply.has_output:
            frames.extend(self._begin_output(reply))
        if reply.has_output:
            frames.extend(self._end_output(reply, finish.status))
        frames.extend(self._write(self._ended(reply, finish), reply.options))
        return frames

    # ----------------------------------------------------------------------------------- commands

    def _obey(self, command: Command) -> Iterator[Output]:
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
        if model is not None and model != self._model:
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
        reply = _Reply(
            self._new_id("resp"),
            options,
            None if request.out_of_band else self._id,
            self._new_id("item"),
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
        )

    def _resolve(self, item: Item) -> Item:
        if isinstance(item, OtherItem) and item.type == ITEM_REFERENCE:
            return self._items[self._find(item.id, "reference")]
        return item

    def _running(self) -> _Reply | None:
        replies = self._replies.values()
        return next((reply for reply in replies if not reply.is_out_of_band), None)

    def _cancel(self, response_id: str) -> Iterator[Output]:
        reply = self._replies.get(response_id) if response_id else self._running()
        if reply is None:
            message = "Cancellation failed: no such response is active."
            raise _RefusedError("response_cancel_not_active", message)
        yield from self.finish(reply.id, Finish(Status.CANCELLED, "client_cancelled"))
        yield Halt(reply.id)

    def _begin_output(self, reply: _Reply) -> Iterator[str]:
        reply.has_output = True
        item = reply.item("in_progress", empty=True)
        yield from self._write(OutputAdded(reply.id, 0, item))
        if not reply.is_out_of_band:
            reply.previous_item_id = self._items[-1].id if self._items else None
            self._items.append(item)
            yield from self._write(ItemAdded(item, reply.previous_item_id))
        yield from self._write(PartAdded(reply.id, reply.item_id, 0, 0, Part("text")))

    def _end_output(self, reply: _Reply, status: Status) -> Iterator[str]:
        item = reply.item("completed" if status is Status.COMPLETED else "incomplete")
        part = Part("text", item.text)
        yield from self._write(ChannelDone(Channel.TEXT, item.text, reply.id, reply.item_id))
        yield from self._write(PartDone(reply.id, reply.item_id, 0, 0, part))
        if not reply.is_out_of_band:
            # A client may have deleted it meanwhile.
            self._items = [item if known.id == item.id else known for known in self._items]
            yield from self._write(ItemDone(item, reply.previous_item_id))
        yield from self._write(OutputDone(reply.id, 0, item))

    def _ended(self, reply: _Reply, finish: Finish) -> ReplyEnded:
        item = reply.item("completed" if finish.status is Status.COMPLETED else "incomplete")
        return ReplyEnded(
            reply.id,
            finish.status,
            finish.reason,
            finish.code,
            finish.message,
            (item,) if reply.has_output else (),
            finish.usage,
            reply.conversation_id,
        )

    def _session(self, make: type[SessionCreated | SessionUpdated]) -> ServerEvent:
        fields = write_session(
            session_id=self._session_id,
            model=self._model,
            expires_at=self._expires_at,
            options=self._options,
        )
        return make(self._session_id, self._model, self._dialect, self._expires_at, fields)

    def _write(self, event: ServerEvent, options: Options = _NOTHING) -> Iterator[str]:
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
        case ToolOutput():
            return replace(item, id=item_id)
        case OtherItem():
            return replace(item, id=item_id, fields={**item.fields, "id": item_id})
    assert_never(item)
