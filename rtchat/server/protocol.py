"""One client's conversation with the server: frames in, frames out.

The order of the events is that of OpenAI's server, recorded. Deterministic and without I/O: ids and
the time come from outside, and what an engine says and a voice hears and speaks is handed in piece
by piece, so that a test needs no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, assert_never

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.text import compact_json
from rtchat.core.values import Dialect, Item, JsonObject, Message, Options, OtherItem, Status, value
from rtchat.server.audio_input import AudioInput, Transcribe, TurnOver, as_text, check_formats
from rtchat.server.audio_input import Step as Spoke
from rtchat.server.engine import Answer, CallPiece, Engine, Finish, ModelInput
from rtchat.server.images import check_images
from rtchat.server.items import InvalidItemError, Items, complete
from rtchat.server.limits import MB, MemoryBudget, ServerLimits, size_of
from rtchat.server.response import BuildStep, ResponseBuilder, Speak
from rtchat.server.voice import Voice
from rtchat.wire.beta import param_to_beta
from rtchat.wire.client_events import (
    ITEM_REFERENCE,
    ClientRequest,
    Request,
    decode_command,
    merge_options,
    model_asked,
    read_reply,
    read_request,
    read_tools,
)
from rtchat.wire.fields import Fields
from rtchat.wire.server_events import encode_event
from rtchat.wire.session_object import write_session, write_transcription

_NOTHING = Options()
_DEFAULTS = ServerLimits()
SESSION_SECONDS = 3600
"""How long a session lasts."""
MOST_REPLIES = 32
"""Responses that a client may have at once: all but one of them are out of the conversation."""
MOST_ITEMS = 10_000
"""How many items a client may add: each response reads all of them."""
NO_VOICE = "This server has no voice"
"""Why it is not heard and not spoken with, if nobody knows better."""


@value
class StartResponse:
    """Hand the pieces of this answer to `say` and `finish`, as they come."""

    reply_id: str
    answer: Answer


@value
class StopResponse:
    """This reply has ended; whatever its engine or its voice still says is dropped."""

    reply_id: str


Output: TypeAlias = str | StartResponse | Speak | Transcribe | StopResponse
"""A frame to send, or something to do about an engine or a voice."""


@value
class Decoded:
    """An event of a client: the command, or what is wrong with it."""

    command: ClientRequest | ev.ServerProblem
    event_id: str = ""


@dataclass
class _Waiting:
    """A reply whose engine is asked as soon as these items have been heard."""

    prompt: ModelInput
    awaiting_transcript: set[str]


class ProtocolSession:
    """The server's end of one connection.

    `new_id` makes an id from its prefix (`item` → `item_…`), `now` is in Unix seconds, `voice` may
    be the reason for having none. `transcribes`: the session is for transcription only. `budget`
    is that of all sessions; the caller keeps it up to date with what this one has `held`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        new_id: Callable[[str], str],
        now: float,
        voice: Voice | str = NO_VOICE,
        model: str = "",
        dialect: Dialect = Dialect.GA,
        seconds: float = SESSION_SECONDS,
        transcribes: bool = False,
        limits: ServerLimits = _DEFAULTS,
        budget: MemoryBudget | None = None,
    ) -> None:
        self._limits = limits
        self._budget = budget or MemoryBudget(limits.total_bytes)
        self._engine = engine
        self._new_id = new_id
        self._voice = voice
        self._model = model or engine.model
        self._dialect = dialect
        self._transcribes = transcribes
        self._options = Options(None if transcribes else engine.instructions)
        self._options_size = size_of(self._options)
        self._session_id = new_id("sess")
        self._id = new_id("conv")
        self._expires_at = int(now + seconds)
        self._items = Items()
        self._replies: dict[str, ResponseBuilder] = {}
        self._waiting: dict[str, _Waiting] = {}
        """By the id of the reply."""
        self._turns: dict[str, bool | None] = {}
        """Turns that wait for a response, by item id: whether they have words, None if not yet
        known."""
        self._audio_input = AudioInput(voice, self._items, new_id, self._session())

    def open(self) -> list[Output]:
        """The frames that greet the client."""
        return [*self._write([self._told(ev.SessionCreated)])]

    @property
    def held(self) -> int:
        """Roughly how many bytes of items, audio and responses it keeps."""
        replies = sum(reply.size for reply in self._replies.values())
        return self._items.size + self._options_size + self._audio_input.size + replies

    @property
    def untranscribed_bytes(self) -> int:
        """The part of it that is audio waiting to be recognised."""
        return self._audio_input.untranscribed_bytes

    def forget(self) -> None:
        """The client has gone: free what is held."""
        self._items = Items()
        self._options = _NOTHING
        self._options_size = 0
        self._replies.clear()
        self._waiting.clear()
        self._audio_input = AudioInput(NO_VOICE, self._items, self._new_id, {})

    def receive(self, frame: str | bytes) -> Sequence[Output]:
        """What the client sent. Whatever it is, nothing raises."""
        return self.obey(self.decode(frame))

    def decode(self, frame: str | bytes) -> Decoded:
        """Decode an event: the first half of `receive`."""
        data = read_request(frame)
        if isinstance(data, ev.ServerProblem):
            return Decoded(data)
        event_id = data.get("event_id")
        command = decode_command(data, self._dialect, transcribes=self._transcribes)
        return Decoded(command, event_id if isinstance(event_id, str) else "")

    def obey(self, decoded: Decoded) -> Sequence[Output]:
        """Carry out a decoded command: the second half of `receive`."""
        command = decoded.command
        if isinstance(command, ev.ServerProblem):
            return self.refuse(command)
        try:
            return [*self._obey(command)]
        except InvalidItemError as refused:
            param = refused.problem.param
            if self._dialect is Dialect.BETA:
                param = param_to_beta(param)
            return self.refuse(replace(refused.problem, event_id=decoded.event_id, param=param))

    def refuse(self, problem: ev.ServerProblem) -> list[Output]:
        """The frames of an `error` event."""
        return [*self._write([problem])]

    def say(self, reply_id: str, piece: str | CallPiece) -> list[Output]:
        """The next piece of a reply; nothing if it has ended meanwhile."""
        outputs = self._grow(reply_id, lambda reply: reply.add(piece))
        if reply_id in self._replies and self.held > self._limits.session_bytes:
            failed = Finish(Status.FAILED, code=_TOO_LARGE, message=self._too_large())
            outputs += self._grow(reply_id, lambda reply: reply.cut(failed))
            outputs.append(StopResponse(reply_id))
        return outputs

    def finish(self, reply_id: str, finish: Finish) -> list[Output]:
        """There are no more pieces of a reply; nothing if it has ended before."""
        return self._grow(reply_id, lambda reply: reply.end(finish))

    def sound(self, reply_id: str, audio: bytes) -> list[Output]:
        """The next audio of a `Speak`."""
        return self._grow(reply_id, lambda reply: reply.sound(audio))

    def spoken(self, reply_id: str, failure: str = "") -> list[Output]:
        """A `Speak` has been done, or has failed."""
        if not failure:
            return self._grow(reply_id, ResponseBuilder.spoken)
        outputs = self._grow(reply_id, lambda reply: reply.cut(_failed(failure)))
        return [*outputs, StopResponse(reply_id)] if outputs else []

    def hear(self, item_id: str, piece: str) -> list[Output]:
        """The next words of a `Transcribe`."""
        return [*self._write(self._audio_input.hear(item_id, piece))]

    def heard(self, item_id: str, failure: str = "") -> list[Output]:
        """A `Transcribe` has been done, or has failed."""
        outputs: list[Output] = []
        if failure and item_id in self._turns:  # its response reports the failure
            del self._turns[item_id]
            outputs += self._respond()
        item, events = self._audio_input.heard(item_id, failure)
        outputs += self._write(events)
        for reply_id, waiting in [*self._waiting.items()]:
            if item_id not in waiting.awaiting_transcript:
                continue
            waiting.awaiting_transcript.remove(item_id)
            items = tuple(item if known.id == item_id else known for known in waiting.prompt.items)
            waiting.prompt = replace(waiting.prompt, items=items)
            if failure:
                outputs += self.finish(reply_id, _failed(failure))
            elif not waiting.awaiting_transcript:
                del self._waiting[reply_id]
                outputs += self._ask_late(reply_id, waiting.prompt)
        if item_id in self._turns:
            self._turns[item_id] = self._has_words(item)
            outputs += self._answer_turns()
        return outputs

    def _has_words(self, item: Item) -> bool:
        assert isinstance(item, Message)  # only messages have audio
        return item.text.strip() != "" and any(known is item for known in self._items)

    def _answer_turns(self) -> list[Output]:
        """Respond to turns whose words are known, once for all of them, unless there are none.

        A response that speech would interrupt waits until that is over, and its words are known:
        they may be none.
        """
        is_open = self._audio_input.is_spoken_to or None in self._turns.values()
        if self._audio_input.interrupts and is_open:
            return []
        answered = [item_id for item_id, words in self._turns.items() if words is not None]
        has_words = any(self._turns.pop(item_id) for item_id in answered)
        return self._respond() if has_words else []

    def _grow(
        self, reply_id: str, step: Callable[[ResponseBuilder], Iterable[BuildStep]]
    ) -> list[Output]:
        reply = self._replies.get(reply_id)
        if reply is None:
            return []
        outputs = [*self._write(step(reply), reply.options)]
        if reply.is_over:
            del self._replies[reply_id]
            self._waiting.pop(reply_id, None)
        return outputs

    # ----------------------------------------------------------------------------------- commands

    def _obey(self, command: ClientRequest) -> Iterable[Output]:
        match command:
            case fx.Configure(options):
                return self._configure(options)
            case fx.AddItem(item, previous):
                return self._add_item(item, previous)
            case fx.CreateResponse(options):
                return self._reply(read_reply(options))
            case fx.Cancel(response_id):
                return self._cancel(response_id)
            case fx.Retrieve(item_id):
                return self._write([ev.ItemRetrieved(self._items.find(item_id, "retrieve"))])
            case fx.Delete(item_id):
                self._items.delete(item_id)
                return self._write([ev.ItemDeleted(item_id)])
            case fx.Truncate(item_id, index, end):
                self._items.truncate(item_id, index, end)
                return self._write([ev.ItemTruncated(item_id, index, end)])
            case fx.AppendAudio(audio):
                self._check_room(len(audio))
                return self._attend(self._audio_input.obey(command))
            case fx.CommitAudio() | fx.ClearAudio():
                return self._attend(self._audio_input.obey(command))
        assert_never(command)

    def _check_room(self, more: int) -> None:
        """Raises `InvalidItemError` if this many more bytes exceed the limit of the session, or of
        all sessions together."""
        if self.held + more > self._limits.session_bytes:
            raise InvalidItemError(_TOO_LARGE, self._too_large())
        if self._budget.held + more > self._budget.most:
            message = "The server is busy: it has no memory left for this. Try again later."
            raise InvalidItemError("server_overloaded", message, kind="server_error")

    def _too_large(self) -> str:
        most = self._limits.session_bytes // MB
        return (
            f"The session is full: it may hold {most} MB. Delete items, or start another session."
        )

    def _configure(self, options: Options) -> Iterator[Output]:
        model = model_asked(options)
        # An alias will do: the example of OpenAI's own client asks for one of a dated model.
        if model is not None and not f"{self._model}-".startswith(f"{model}-"):
            message = f"A session keeps its model: this one has '{self._model}'."
            raise InvalidItemError("invalid_value", message, "session.model")
        check_formats(options, "session")
        self._check_room(size_of(options))
        if options.instructions == "":  # as OpenAI's server does: nothing said is nothing changed
            options = replace(options, instructions=None)
        self._options = merge_options(self._options, options)
        self._options_size = size_of(self._options)
        self._audio_input.configure(self._session())
        yield from self._write([self._told(ev.SessionUpdated)])
        yield from self._answer_turns()

    def _add_item(self, item: Item, previous: str | None) -> Iterator[Output]:
        check_images(item, "item", allow_urls=self._limits.image_urls)
        if len(self._items) >= MOST_ITEMS:
            message = f"The session is full: it may hold {MOST_ITEMS} items. Delete some of them."
            raise InvalidItemError(_TOO_LARGE, message)
        self._check_room(size_of(item))
        item = complete(item, item.id or self._new_id("item"))
        if self._audio_input.reserves(item.id):
            message = f"The conversation has an item '{item.id}' whose audio is being heard."
            raise InvalidItemError("item_create_duplicate_item_id", message, "item.id")
        item, audio = self._audio_input.split(item, "item")
        before = self._items.insert(item, previous)
        yield from self._write([ev.ItemAdded(item, before), ev.ItemDone(item, before)])
        if audio:
            yield self._audio_input.begin(item, audio)

    def _attend(self, steps: Iterable[Spoke]) -> Iterator[Output]:
        """To what the user says."""
        for step in steps:
            match step:
                case Transcribe():
                    yield step
                case TurnOver(item_id):
                    self._turns[item_id] = None
                case _:
                    yield from self._write([step])
            running = self._running()
            if isinstance(step, ev.SpeechStarted) and self._audio_input.interrupts and running:
                yield from self._cut(running, "turn_detected")
        yield from self._answer_turns()

    def _respond(self) -> list[Output]:
        try:
            return [*self._reply(Request(out_of_band=False, input=None, options=_NOTHING))]
        except InvalidItemError as refused:
            return self.refuse(refused.problem)

    # ------------------------------------------------------------------------------------ replies

    def _reply(self, request: Request) -> Iterator[Output]:
        running = self._running()
        if running is not None and not request.out_of_band:
            message = f"The conversation has an active response already: {running.id}."
            raise InvalidItemError("conversation_already_has_active_response", message)
        if len(self._replies) >= MOST_REPLIES:
            message = f"{MOST_REPLIES} responses are active: wait until one of them is done."
            raise InvalidItemError("too_many_active_responses", message)
        check_formats(request.options, "response")
        self._check_room(size_of(request))
        options = self._reply_options(request)
        prompt, audio = self._prompt(request, options)
        awaiting_transcript = {item.id for item in prompt.items} & {
            *self._audio_input.awaiting_transcript,
            *audio,
        }
        reply = ResponseBuilder(
            self._new_id("resp"),
            options,
            None if request.out_of_band else self._id,
            self._items,
            self._new_id,
        )
        reply.size += size_of(request.input)
        mute = self._voice if options.modality == "audio" else None
        answer: Answer | None = None
        if not awaiting_transcript and not isinstance(mute, str):
            answered = self._engine.answer(self._readable(prompt))
            if isinstance(answered, ev.ServerProblem):
                raise InvalidItemError(
                    answered.code, answered.message, answered.param, answered.kind
                )
            answer = answered
        self._replies[reply.id] = reply
        if not request.out_of_band:
            self._turns.clear()  # this response answers all of them
        yield from self._write([ev.ReplyStarted(reply.id, reply.conversation_id)], options)
        if isinstance(mute, str):
            yield from self.finish(reply.id, _mute(mute))
        elif answer is not None:
            yield StartResponse(reply.id, answer)
        else:
            self._waiting[reply.id] = _Waiting(prompt, awaiting_transcript)
            for item in prompt.items:
                if item.id in audio:
                    yield self._audio_input.begin(item, audio[item.id])

    def _reply_options(self, request: Request) -> Options:
        # Tools, truncation and the like are the session's; a response repeats only its own, and how
        # it sounds.
        output = Fields(self._session(), []).fields("audio").fields("output").data
        sound = {"format": output["format"], "voice": output["voice"]}
        modality = self._options.modality or "audio"
        session = replace(self._options, modality=modality, other={"audio": {"output": sound}})
        return merge_options(session, request.options)

    def _prompt(self, request: Request, options: Options) -> tuple[ModelInput, dict[str, bytes]]:
        """What to ask the engine, and the audio in it by the id of its item."""
        items = [*self._items]
        audio: dict[str, bytes] = {}
        if request.input is not None:
            items = []
            for index, item in enumerate(request.input):
                known = self._resolve(item)
                path = f"response.input[{index}]"
                if known is item:
                    check_images(item, path, allow_urls=self._limits.image_urls)
                read, sound = self._audio_input.split(known, path)
                # It may have the id of an item of the conversation, and is another.
                if sound or (known is item and item.id):
                    read = complete(read, self._new_id("item"))
                if sound:
                    audio[read.id] = sound
                items.append(read)
        most = options.max_output_tokens
        prompt = ModelInput(
            options.instructions or self._engine.instructions,
            tuple(items),
            most if isinstance(most, int) else None,
            read_tools(merge_options(self._options, request.options)),
            options.modality == "audio",
        )
        return prompt, audio

    def _readable(self, prompt: ModelInput) -> ModelInput:
        """For an engine, which reads: what was said aloud as its words."""
        if isinstance(self._voice, str):
            return prompt
        return replace(prompt, items=tuple(as_text(item) for item in prompt.items))

    def _ask_late(self, reply_id: str, prompt: ModelInput) -> list[Output]:
        answered = self._engine.answer(self._readable(prompt))
        if isinstance(answered, ev.ServerProblem):
            finish = Finish(Status.FAILED, code=answered.code, message=answered.message)
            return self.finish(reply_id, finish)
        return [StartResponse(reply_id, answered)]

    def _resolve(self, item: Item) -> Item:
        if isinstance(item, OtherItem) and item.type == ITEM_REFERENCE:
            return self._items.find(item.id, "reference")
        return item

    def _running(self) -> ResponseBuilder | None:
        replies = self._replies.values()
        return next((reply for reply in replies if not reply.is_out_of_band), None)

    def _cancel(self, response_id: str) -> Iterator[Output]:
        reply = self._replies.get(response_id) if response_id else self._running()
        if reply is None:
            message = "Cancellation failed: no such response is active."
            raise InvalidItemError("response_cancel_not_active", message)
        return self._cut(reply, "client_cancelled")

    def _cut(self, reply: ResponseBuilder, reason: str) -> Iterator[Output]:
        yield from self._grow(reply.id, lambda reply: reply.cut(Finish(Status.CANCELLED, reason)))
        yield StopResponse(reply.id)

    # ------------------------------------------------------------------------------------ writing

    def _session(self) -> JsonObject:
        write = (
            write_transcription if self._transcribes else partial(write_session, model=self._model)
        )
        return write(
            session_id=self._session_id, expires_at=self._expires_at, options=self._options
        )

    def _told(
        self, make: type[ev.SessionCreated | ev.SessionUpdated]
    ) -> ev.SessionCreated | ev.SessionUpdated:
        model = "" if self._transcribes else self._model
        return make(self._session_id, model, self._dialect, self._expires_at, self._session())

    def _write(self, steps: Iterable[BuildStep], options: Options = _NOTHING) -> Iterator[Output]:
        for step in steps:
            if isinstance(step, Speak):
                yield step
                continue
            data = encode_event(step, self._new_id("event"), self._dialect, options)
            if data is not None:
                yield compact_json(data)


_TOO_LARGE = "session_too_large"


def _mute(why: str) -> Finish:
    message = f"{why}; or ask for text (output modalities: text)."
    return Finish(Status.FAILED, code="audio_not_supported", message=message)


def _failed(why: str) -> Finish:
    return Finish(Status.FAILED, code="server_error", message=why)
