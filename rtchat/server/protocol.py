"""One client's session with the server: frames in, frames out.

The order of the events matches recordings of OpenAI's server. Deterministic and without I/O: the
caller provides ids and the time, and passes in the output of engines and voices piece by piece, so
tests need no socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.values import Dialect, Item, JsonObject, Options, Status, value
from rtchat.server.audio_formats import check_formats
from rtchat.server.audio_input import (
    AudioInput,
    ReplyDue,
    ReplyLikely,
    Transcribe,
    Transcribed,
    TranscribeEarly,
)
from rtchat.server.audio_input import Step as AudioStep
from rtchat.server.engine import CallPiece, Engine, Finish
from rtchat.server.images import check_images
from rtchat.server.items import CommandError, Items, complete
from rtchat.server.limits import MB, MemoryBudget, ServerLimits, size_of
from rtchat.server.outputs import EventEncoder, Output
from rtchat.server.responses import Responses
from rtchat.server.session_config import SessionConfig
from rtchat.server.voice import Voice
from rtchat.wire.beta import param_to_beta
from rtchat.wire.client_events import (
    ClientRequest,
    Request,
    decode_command,
    read_reply,
    read_request,
)
from rtchat.wire.server_events import ServerMessage

_DEFAULTS = ServerLimits()
SESSION_SECONDS = 3600
"""The maximum length of a session."""
MAX_ITEMS = 10_000
"""The maximum number of items in a conversation. Each response reads all of them."""
NO_VOICE = "This server does not support audio"
"""The default reason for refusing audio."""


@value
class Decoded:
    """A client's event: the command, or the problem with it."""

    command: ClientRequest | ev.ServerProblem
    event_id: str = ""


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
        self._new_id = new_id
        self._dialect = dialect
        self._transcribes = transcribes
        self._encoder = EventEncoder(dialect, new_id)
        self._config = SessionConfig(
            new_id("sess"),
            int(now + seconds),
            model or engine.model,
            dialect,
            Options(None if transcribes else engine.instructions),
            is_model_fixed=bool(model),
            transcribes=transcribes,
        )
        conversation_id = new_id("conv")
        self._items = Items()
        self._audio_input = AudioInput(voice, self._items, new_id, self._config.session_object())
        self._responses = Responses(
            conversation_id,
            engine=engine,
            voice=voice,
            items=self._items,
            audio_input=self._audio_input,
            config=self._config,
            encoder=self._encoder,
            new_id=new_id,
            allow_image_urls=limits.image_urls,
        )
        self._turns: dict[str, bool | None] = {}
        """Turns that wait for a response, by item id: whether the transcript has words, or None if
        there is no transcript yet."""

    def open(self) -> list[Output]:
        """The first frames for the client."""
        return self._write(self._config.event(ev.SessionCreated))

    def check_options(self, options: Options) -> None:
        """Raises `CommandError` if the session cannot have these options."""
        check_formats(options, "session")
        self._audio_input.check_languages(options, "session")
        self._responses.check_voice(options, "session")
        self._config.check_limit(options, "session")
        self._check_room(size_of(options))

    def configure(self, options: Options) -> None:
        """Merge options into those of the session, after `check_options`."""
        self._config.update(options)
        self._audio_input.configure(self._config.session_object())

    def session_object(self) -> JsonObject:
        """The complete session object."""
        return self._config.session_object()

    @property
    def held(self) -> int:
        """The approximate size of the items, audio and responses in memory, in bytes."""
        parts = (self._items, self._config, self._audio_input, self._responses)
        return sum(part.size for part in parts)

    @property
    def untranscribed_bytes(self) -> int:
        """The size of the audio not yet transcribed."""
        return self._audio_input.untranscribed_bytes

    def release(self) -> None:
        """Free the memory of the session after the client has disconnected."""
        self._items.clear()
        self._config.clear()
        self._audio_input.clear()
        self._responses.clear()

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
        except CommandError as refused:
            param = refused.problem.param
            if self._dialect is Dialect.BETA:
                param = param_to_beta(param)
            return self.refuse(replace(refused.problem, event_id=decoded.event_id, param=param))

    def refuse(self, problem: ev.ServerProblem) -> list[Output]:
        """The frames of an `error` event."""
        return self._write(problem)

    def add_piece(self, response_id: str, piece: str | CallPiece) -> list[Output]:
        """Add a piece to a response. Does nothing if the response has ended."""
        outputs = self._responses.add_piece(response_id, piece)
        if response_id in self._responses and self.held > self._limits.session_bytes:
            failed = Finish(Status.FAILED, code=_TOO_LARGE, message=self._too_large())
            outputs += self._responses.abort(response_id, failed)
        return outputs

    def finish(self, response_id: str, finish: Finish) -> list[Output]:
        """End a response. Does nothing if it has already ended."""
        return self._responses.finish(response_id, finish)

    def add_audio(self, response_id: str, audio: bytes) -> list[Output]:
        """Add audio of a `Speak`."""
        return self._responses.add_audio(response_id, audio)

    def end_speech(self, response_id: str, failure: str = "") -> list[Output]:
        """End a `Speak`, or fail it if `failure` is not empty."""
        return self._responses.end_speech(response_id, failure)

    def add_early_transcript(self, item_id: str, text: str | None) -> list[Output]:
        """Add the result of a `TranscribeEarly`; None if it has none."""
        return [*self._handle_audio(self._audio_input.add_early_transcript(item_id, text))]

    def add_transcript(self, item_id: str, piece: str) -> list[Output]:
        """Add a piece of transcript to a `Transcribe`."""
        return self._write(*self._audio_input.add_transcript(item_id, piece))

    def end_transcript(self, item_id: str, failure: str = "") -> list[Output]:
        """End a `Transcribe`, or fail it if `failure` is not empty."""
        outputs: list[Output] = []
        if failure and item_id in self._turns:  # its response reports the failure
            del self._turns[item_id]
            outputs += self._respond()
        item, events = self._audio_input.end_transcript(item_id, failure)
        outputs += self._write(*events)
        outputs += self._responses.end_transcript(item, failure)
        if item_id in self._turns:
            self._turns[item_id] = item.text.strip() != "" and item in self._items
            outputs += self._answer_turns()
        return outputs

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
                return self._responses.cancel(response_id)
            case fx.Retrieve(item_id):
                return self._write(ev.ItemRetrieved(self._items.find(item_id, "retrieve")))
            case fx.Delete(item_id):
                self._items.delete(item_id)
                return self._write(ev.ItemDeleted(item_id))
            case fx.Truncate(item_id, index, end):
                self._items.truncate(item_id, index, end)
                return self._write(ev.ItemTruncated(item_id, index, end))
            case fx.AppendAudio(audio):
                self._check_room(len(audio))
                return self._handle_audio(self._audio_input.execute(command))
            case fx.CommitAudio() | fx.ClearAudio():
                return self._handle_audio(self._audio_input.execute(command))
        assert_never(command)

    def _check_room(self, more: int) -> None:
        """Raises `CommandError` if `more` bytes would exceed the limit of this session or of
        all sessions together."""
        if self.held + more > self._limits.session_bytes:
            raise CommandError(_TOO_LARGE, self._too_large())
        if self._budget.used + more > self._budget.max_bytes:
            message = "The server is out of memory. Please try again later."
            raise CommandError("server_overloaded", message, kind="server_error")

    def _too_large(self) -> str:
        limit = self._limits.session_bytes // MB
        return f"Session too large: the limit is {limit} MB. Delete items or start a new session."

    def _configure(self, options: Options) -> Iterator[Output]:
        self.check_options(options)
        self.configure(options)
        yield from self._write(self._config.event(ev.SessionUpdated))
        yield from self._answer_turns()

    def _add_item(self, item: Item, previous: str | None) -> Iterator[Output]:
        check_images(item, "item", allow_urls=self._limits.image_urls)
        if len(self._items) >= MAX_ITEMS:
            message = f"Session too large: the limit is {MAX_ITEMS} items. Delete items first."
            raise CommandError(_TOO_LARGE, message)
        self._check_room(size_of(item))
        item = complete(item, item.id or self._new_id("item"))
        if self._audio_input.reserves(item.id):
            message = f"Error adding item: an item with ID '{item.id}' is being transcribed."
            raise CommandError("item_create_duplicate_item_id", message, "item.id")
        item, audio = self._audio_input.split_audio(item, "item")
        before = self._items.insert(item, previous)
        yield from self._write(ev.ItemAdded(item, before), ev.ItemDone(item, before))
        if audio:
            yield self._audio_input.start_transcription(item, audio)

    def _handle_audio(self, steps: Iterable[AudioStep]) -> Iterator[Output]:
        """Send the events of the audio input, and interrupt or create responses."""
        for step in steps:
            match step:
                case Transcribe() | TranscribeEarly():
                    yield step
                case Transcribed(item_id, text):
                    yield from self.add_transcript(item_id, text)
                    yield from self.end_transcript(item_id)
                case ReplyLikely(message):
                    yield from self._responses.prepare(message)
                case ReplyDue(item_id):
                    self._turns[item_id] = None
                case _:
                    yield from self._write(step)
            active = self._responses.active
            if isinstance(step, ev.SpeechStarted) and self._audio_input.interrupts and active:
                cancelled = Finish(Status.CANCELLED, "turn_detected")
                yield from self._responses.abort(active.id, cancelled)
        yield from self._answer_turns()

    def _create_response(self, request: Request) -> list[Output]:
        self._responses.check(request)
        self._check_room(size_of(request))
        outputs = [*self._responses.create(request)]
        if not request.out_of_band:
            self._turns.clear()  # this response answers all of them
        return outputs

    def _respond(self) -> list[Output]:
        try:
            return self._create_response(Request(out_of_band=False, input=None, options=Options()))
        except CommandError as refused:
            return self.refuse(refused.problem)

    def _write(self, *events: ServerMessage) -> list[Output]:
        return [*self._encoder.encode(events)]


_TOO_LARGE = "session_too_large"
