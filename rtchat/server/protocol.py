"""One client's session with the server: frames in, frames out.

The order of the events matches recordings of OpenAI's server. Deterministic and without I/O: the
caller provides ids and the time, and passes in the output of engines and voices piece by piece, so
tests need no socket.
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
from rtchat.server.audio_input import Step as AudioStep
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
"""The maximum length of a session."""
MAX_RESPONSES = 32
"""The maximum number of concurrent responses of a client. All but one are out of band."""
MAX_ITEMS = 10_000
"""The maximum number of items in a conversation. Each response reads all of them."""
NO_VOICE = "This server does not support audio"
"""The default reason for refusing audio."""


@value
class StartResponse:
    """Pass the pieces of this answer to `add_piece` and `finish` as they arrive."""

    response_id: str
    answer: Answer


@value
class StopResponse:
    """This response has ended: stop its engine and its voice."""

    response_id: str


Output: TypeAlias = str | StartResponse | Speak | Transcribe | StopResponse
"""A frame to send, or an action for an engine or a voice."""


@value
class Decoded:
    """A client's event: the command, or the problem with it."""

    command: ClientRequest | ev.ServerProblem
    event_id: str = ""


@dataclass
class _Waiting:
    """A response that starts as soon as these items have their transcripts."""

    prompt: ModelInput
    awaiting_transcript: set[str]


class ProtocolSession:
    """The server's end of one connection.

    `new_id` makes an id from a prefix (`item` → `item_…`), `now` is in Unix seconds, and `voice`
    may be the reason for refusing audio. `transcribes`: the session is for transcription only.
    `budget` is shared by all sessions; the caller updates it from `held`.
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
        self._responses: dict[str, ResponseBuilder] = {}
        self._waiting: dict[str, _Waiting] = {}
        """By the id of the response."""
        self._turns: dict[str, bool | None] = {}
        """Turns that wait for a response, by item id: whether the transcript has words, or None if
        there is no transcript yet."""
        self._audio_input = AudioInput(voice, self._items, new_id, self._session())

    def open(self) -> list[Output]:
        """The first frames for the client."""
        return [*self._write([self._session_event(ev.SessionCreated)])]

    @property
    def held(self) -> int:
        """The approximate size of the items, audio and responses in memory, in bytes."""
        responses = sum(response.size for response in self._responses.values())
        return self._items.size + self._options_size + self._audio_input.size + responses

    @property
    def untranscribed_bytes(self) -> int:
        """The size of the audio not yet transcribed."""
        return self._audio_input.untranscribed_bytes

    def release(self) -> None:
        """Free the memory of the session after the client has disconnected."""
        self._items = Items()
        self._options = _NOTHING
        self._options_size = 0
        self._responses.clear()
        self._waiting.clear()
        self._audio_input = AudioInput(NO_VOICE, self._items, self._new_id, {})

    def receive(self, frame: str | bytes) -> Sequence[Output]:
        """Handle a frame from the client. Never raises."""
        return self.execute(self.decode(frame))

    def decode(self, frame: str | bytes) -> Decoded:
        """Decode an event. The first half of `receive`."""
        data = read_request(frame)
        if isinstance(data, ev.ServerProblem):
            return Decoded(data)
        event_id = data.get("event_id")
        command = decode_command(data, self._dialect, transcribes=self._transcribes)
        return Decoded(command, event_id if isinstance(event_id, str) else "")

    def execute(self, decoded: Decoded) -> Sequence[Output]:
        """Carry out a decoded command. The second half of `receive`."""
        command = decoded.command
        if isinstance(command, ev.ServerProblem):
            return self.refuse(command)
        try:
            return [*self._execute(command)]
        except InvalidItemError as refused:
            param = refused.problem.param
            if self._dialect is Dialect.BETA:
                param = param_to_beta(param)
            return self.refuse(replace(refused.problem, event_id=decoded.event_id, param=param))

    def refuse(self, problem: ev.ServerProblem) -> list[Output]:
        """The frames of an `error` event."""
        return [*self._write([problem])]

    def add_piece(self, response_id: str, piece: str | CallPiece) -> list[Output]:
        """Add a piece to a response. Does nothing if the response has ended."""
        outputs = self._extend(response_id, lambda response: response.add(piece))
        if response_id in self._responses and self.held > self._limits.session_bytes:
            failed = Finish(Status.FAILED, code=_TOO_LARGE, message=self._too_large())
            outputs += self._extend(response_id, lambda response: response.abort(failed))
            outputs.append(StopResponse(response_id))
        return outputs

    def finish(self, response_id: str, finish: Finish) -> list[Output]:
        """End a response. Does nothing if it has already ended."""
        return self._extend(response_id, lambda response: response.end(finish))

    def add_audio(self, response_id: str, audio: bytes) -> list[Output]:
        """Add audio of a `Speak`."""
        return self._extend(response_id, lambda response: response.add_audio(audio))

    def end_speech(self, response_id: str, failure: str = "") -> list[Output]:
        """End a `Speak`, or fail it if `failure` is not empty."""
        if not failure:
            return self._extend(response_id, ResponseBuilder.end_speech)
        outputs = self._extend(response_id, lambda response: response.abort(_failed(failure)))
        return [*outputs, StopResponse(response_id)] if outputs else []

    def add_transcript(self, item_id: str, piece: str) -> list[Output]:
        """Add a piece of transcript to a `Transcribe`."""
        return [*self._write(self._audio_input.add_transcript(item_id, piece))]

    def end_transcript(self, item_id: str, failure: str = "") -> list[Output]:
        """End a `Transcribe`, or fail it if `failure` is not empty."""
        outputs: list[Output] = []
        if failure and item_id in self._turns:  # its response reports the failure
            del self._turns[item_id]
            outputs += self._respond()
        item, events = self._audio_input.end_transcript(item_id, failure)
        outputs += self._write(events)
        for response_id, waiting in [*self._waiting.items()]:
            if item_id not in waiting.awaiting_transcript:
                continue
            waiting.awaiting_transcript.remove(item_id)
            items = tuple(
                item if existing.id == item_id else existing for existing in waiting.prompt.items
            )
            waiting.prompt = replace(waiting.prompt, items=items)
            if failure:
                outputs += self.finish(response_id, _failed(failure))
            elif not waiting.awaiting_transcript:
                del self._waiting[response_id]
                outputs += self._start_late(response_id, waiting.prompt)
        if item_id in self._turns:
            self._turns[item_id] = self._has_words(item)
            outputs += self._answer_turns()
        return outputs

    def _has_words(self, item: Item) -> bool:
        assert isinstance(item, Message)  # only messages have audio
        return item.text.strip() != "" and any(existing is item for existing in self._items)

    def _answer_turns(self) -> list[Output]:
        """Create one response for all turns with a transcript, unless none of them has words.

        If speech interrupts responses, wait until the user has finished speaking and all
        transcripts are complete.
        """
        is_unfinished = self._audio_input.is_speech_active or None in self._turns.values()
        if self._audio_input.interrupts and is_unfinished:
            return []
        answered = [item_id for item_id, words in self._turns.items() if words is not None]
        has_words = any(self._turns.pop(item_id) for item_id in answered)
        return self._respond() if has_words else []

    def _extend(
        self, response_id: str, step: Callable[[ResponseBuilder], Iterable[BuildStep]]
    ) -> list[Output]:
        response = self._responses.get(response_id)
        if response is None:
            return []
        outputs = [*self._write(step(response), response.options)]
        if response.is_over:
            del self._responses[response_id]
            self._waiting.pop(response_id, None)
        return outputs

    # ------------------------------------------------------------------------------------ commands

    def _execute(self, command: ClientRequest) -> Iterable[Output]:
        match command:
            case fx.Configure(options):
                return self._configure(options)
            case fx.AddItem(item, previous):
                return self._add_item(item, previous)
            case fx.CreateResponse(options):
                return self._create_response(read_reply(options))
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
                return self._handle_audio(self._audio_input.execute(command))
            case fx.CommitAudio() | fx.ClearAudio():
                return self._handle_audio(self._audio_input.execute(command))
        assert_never(command)

    def _check_room(self, more: int) -> None:
        """Raises `InvalidItemError` if `more` bytes would exceed the limit of this session or of
        all sessions together."""
        if self.held + more > self._limits.session_bytes:
            raise InvalidItemError(_TOO_LARGE, self._too_large())
        if self._budget.used + more > self._budget.max_bytes:
            message = "The server is out of memory. Please try again later."
            raise InvalidItemError("server_overloaded", message, kind="server_error")

    def _too_large(self) -> str:
        limit = self._limits.session_bytes // MB
        return f"Session too large: the limit is {limit} MB. Delete items or start a new session."

    def _configure(self, options: Options) -> Iterator[Output]:
        model = model_asked(options)
        # Accept an alias of a dated model, as in the example of OpenAI's own client.
        if model is not None and not f"{self._model}-".startswith(f"{model}-"):
            message = f"Cannot update the model of a session: it is '{self._model}'."
            raise InvalidItemError("invalid_value", message, "session.model")
        check_formats(options, "session")
        self._check_room(size_of(options))
        if options.instructions == "":  # as with OpenAI's server, empty means unchanged
            options = replace(options, instructions=None)
        self._options = merge_options(self._options, options)
        self._options_size = size_of(self._options)
        self._audio_input.configure(self._session())
        yield from self._write([self._session_event(ev.SessionUpdated)])
        yield from self._answer_turns()

    def _add_item(self, item: Item, previous: str | None) -> Iterator[Output]:
        check_images(item, "item", allow_urls=self._limits.image_urls)
        if len(self._items) >= MAX_ITEMS:
            message = f"Session too large: the limit is {MAX_ITEMS} items. Delete items first."
            raise InvalidItemError(_TOO_LARGE, message)
        self._check_room(size_of(item))
        item = complete(item, item.id or self._new_id("item"))
        if self._audio_input.reserves(item.id):
            message = f"Error adding item: an item with ID '{item.id}' is being transcribed."
            raise InvalidItemError("item_create_duplicate_item_id", message, "item.id")
        item, audio = self._audio_input.split_audio(item, "item")
        before = self._items.insert(item, previous)
        yield from self._write([ev.ItemAdded(item, before), ev.ItemDone(item, before)])
        if audio:
            yield self._audio_input.start_transcription(item, audio)

    def _handle_audio(self, steps: Iterable[AudioStep]) -> Iterator[Output]:
        """Send the events of the audio input, and interrupt or create responses."""
        for step in steps:
            match step:
                case Transcribe():
                    yield step
                case TurnOver(item_id):
                    self._turns[item_id] = None
                case _:
                    yield from self._write([step])
            active = self._active()
            if isinstance(step, ev.SpeechStarted) and self._audio_input.interrupts and active:
                yield from self._abort(active, "turn_detected")
        yield from self._answer_turns()

    def _respond(self) -> list[Output]:
        try:
            return [
                *self._create_response(Request(out_of_band=False, input=None, options=_NOTHING))
            ]
        except InvalidItemError as refused:
            return self.refuse(refused.problem)

    # ----------------------------------------------------------------------------------- responses

    def _create_response(self, request: Request) -> Iterator[Output]:
        active = self._active()
        if active is not None and not request.out_of_band:
            message = f"Conversation already has an active response: {active.id}."
            raise InvalidItemError("conversation_already_has_active_response", message)
        if len(self._responses) >= MAX_RESPONSES:
            message = f"Too many active responses: the limit is {MAX_RESPONSES}."
            raise InvalidItemError("too_many_active_responses", message)
        check_formats(request.options, "response")
        self._check_room(size_of(request))
        options = self._response_options(request)
        prompt, audio = self._prompt(request, options)
        awaiting_transcript = {item.id for item in prompt.items} & {
            *self._audio_input.awaiting_transcript,
            *audio,
        }
        response = ResponseBuilder(
            self._new_id("resp"),
            options,
            None if request.out_of_band else self._id,
            self._items,
            self._new_id,
        )
        response.size += size_of(request.input)
        voice = self._voice if options.modality == "audio" else None
        answer: Answer | None = None
        if not awaiting_transcript and not isinstance(voice, str):
            answered = self._engine.answer(self._with_transcripts(prompt))
            if isinstance(answered, ev.ServerProblem):
                raise InvalidItemError(
                    answered.code, answered.message, answered.param, answered.kind
                )
            answer = answered
        self._responses[response.id] = response
        if not request.out_of_band:
            self._turns.clear()  # this response answers all of them
        yield from self._write([ev.ReplyStarted(response.id, response.conversation_id)], options)
        if isinstance(voice, str):
            yield from self.finish(response.id, _no_voice(voice))
        elif answer is not None:
            yield StartResponse(response.id, answer)
        else:
            self._waiting[response.id] = _Waiting(prompt, awaiting_transcript)
            for item in prompt.items:
                if item.id in audio:
                    yield self._audio_input.start_transcription(item, audio[item.id])

    def _response_options(self, request: Request) -> Options:
        # A response object contains only its own settings and the audio format and voice, not the
        # session's tools or truncation.
        output = Fields(self._session(), []).fields("audio").fields("output").data
        format_and_voice = {"format": output["format"], "voice": output["voice"]}
        modality = self._options.modality or "audio"
        session = replace(
            self._options, modality=modality, other={"audio": {"output": format_and_voice}}
        )
        return merge_options(session, request.options)

    def _prompt(self, request: Request, options: Options) -> tuple[ModelInput, dict[str, bytes]]:
        """The prompt, and the audio to transcribe first, by item id."""
        items = [*self._items]
        audio: dict[str, bytes] = {}
        if request.input is not None:
            items = []
            for index, item in enumerate(request.input):
                existing = self._resolve(item)
                path = f"response.input[{index}]"
                if existing is item:
                    check_images(item, path, allow_urls=self._limits.image_urls)
                read, audio_data = self._audio_input.split_audio(existing, path)
                # The id may also be that of another item in the conversation.
                if audio_data or (existing is item and item.id):
                    read = complete(read, self._new_id("item"))
                if audio_data:
                    audio[read.id] = audio_data
                items.append(read)
        limit = options.max_output_tokens
        prompt = ModelInput(
            options.instructions or self._engine.instructions,
            tuple(items),
            limit if isinstance(limit, int) else None,
            read_tools(merge_options(self._options, request.options)),
            options.modality == "audio",
        )
        return prompt, audio

    def _with_transcripts(self, prompt: ModelInput) -> ModelInput:
        """The prompt with all audio replaced by transcripts, for engines that read text."""
        if isinstance(self._voice, str):
            return prompt
        return replace(prompt, items=tuple(as_text(item) for item in prompt.items))

    def _start_late(self, response_id: str, prompt: ModelInput) -> list[Output]:
        answered = self._engine.answer(self._with_transcripts(prompt))
        if isinstance(answered, ev.ServerProblem):
            finish = Finish(Status.FAILED, code=answered.code, message=answered.message)
            return self.finish(response_id, finish)
        return [StartResponse(response_id, answered)]

    def _resolve(self, item: Item) -> Item:
        if isinstance(item, OtherItem) and item.type == ITEM_REFERENCE:
            return self._items.find(item.id, "reference")
        return item

    def _active(self) -> ResponseBuilder | None:
        responses = self._responses.values()
        return next((response for response in responses if not response.is_out_of_band), None)

    def _cancel(self, response_id: str) -> Iterator[Output]:
        response = self._responses.get(response_id) if response_id else self._active()
        if response is None:
            message = "Cancellation failed: no active response found."
            raise InvalidItemError("response_cancel_not_active", message)
        return self._abort(response, "client_cancelled")

    def _abort(self, response: ResponseBuilder, reason: str) -> Iterator[Output]:
        yield from self._extend(
            response.id, lambda response: response.abort(Finish(Status.CANCELLED, reason))
        )
        yield StopResponse(response.id)

    # ------------------------------------------------------------------------------------- writing

    def _session(self) -> JsonObject:
        write = (
            write_transcription if self._transcribes else partial(write_session, model=self._model)
        )
        return write(
            session_id=self._session_id, expires_at=self._expires_at, options=self._options
        )

    def _session_event(
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


def _no_voice(why: str) -> Finish:
    message = f"{why}. Use output modality 'text' instead."
    return Finish(Status.FAILED, code="audio_not_supported", message=message)


def _failed(why: str) -> Finish:
    return Finish(Status.FAILED, code="server_error", message=why)
