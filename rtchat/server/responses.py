"""The responses of one session: those that run, and those that wait for transcripts.

A response is created from a prompt. If the prompt has audio without a transcript, the response
starts as soon as all of its transcripts are complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rtchat.core import events as ev
from rtchat.core.values import Item, Message, Options, OtherItem, Status
from rtchat.server.audio_formats import check_formats
from rtchat.server.audio_input import AudioInput, as_text
from rtchat.server.engine import Answer, CallPiece, Engine, Finish, ModelInput, words_of
from rtchat.server.images import check_images
from rtchat.server.items import CommandError, Items, complete, converted
from rtchat.server.limits import size_of
from rtchat.server.outputs import EventEncoder, Output, PrepareAnswer, StartResponse, StopResponse
from rtchat.server.response import BuildStep, ResponseBuilder
from rtchat.server.session_config import SessionConfig, voice_of
from rtchat.server.voice import Voice
from rtchat.wire.client_events import ITEM_REFERENCE, Request, merge_options, read_tools

MAX_RESPONSES = 32
"""The maximum number of concurrent responses of a client. All but one are out of band."""


@dataclass
class _Waiting:
    """A response that starts as soon as these items have their transcripts."""

    prompt: ModelInput
    awaiting_transcript: set[str]


class Responses:
    """The responses of the conversation `conversation_id`, whose items are `items`. `voice` may be
    the reason for refusing audio."""

    def __init__(
        self,
        conversation_id: str,
        *,
        engine: Engine,
        voice: Voice | str,
        items: Items,
        audio_input: AudioInput,
        config: SessionConfig,
        encoder: EventEncoder,
        new_id: Callable[[str], str],
        allow_image_urls: bool,
    ) -> None:
        self._conversation_id = conversation_id
        self._engine = engine
        self._voice = voice
        self._items = items
        self._audio_input = audio_input
        self._config = config
        self._encoder = encoder
        self._new_id = new_id
        self._allow_image_urls = allow_image_urls
        self._responses: dict[str, ResponseBuilder] = {}
        self._waiting: dict[str, _Waiting] = {}
        """By the id of the response."""
        self._has_spoken = False
        """Whether any audio was sent."""

    def __contains__(self, response_id: str) -> bool:
        return response_id in self._responses

    @property
    def active(self) -> ResponseBuilder | None:
        """The response that is not out of band. There is at most one."""
        responses = self._responses.values()
        return next((response for response in responses if not response.is_out_of_band), None)

    @property
    def size(self) -> int:
        """The approximate size of all responses in bytes."""
        return sum(response.size for response in self._responses.values())

    def clear(self) -> None:
        """Drop all responses."""
        self._responses.clear()
        self._waiting.clear()

    # ------------------------------------------------------------------------------------ creation

    def check(self, request: Request) -> None:
        """Raises `CommandError` if this response cannot be created now."""
        active = self.active
        if active is not None and not request.out_of_band:
            message = (
                f"Conversation already has an active response in progress: {active.id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise CommandError("conversation_already_has_active_response", message)
        if len(self._responses) >= MAX_RESPONSES:
            message = f"Too many active responses: the limit is {MAX_RESPONSES}."
            raise CommandError("too_many_active_responses", message)
        check_formats(request.options, "response")
        self.check_voice(request.options, "response")
        self._config.check_limit(request.options, "response")

    def check_voice(self, options: Options, param: str) -> None:
        """Raises `CommandError` if the options, whose path is `param`, change the voice of a
        session that has already spoken."""
        voice = voice_of(options.other)
        if self._has_spoken and voice is not None and voice != self._config.voice:
            message = "Cannot update a conversation's voice if assistant audio is present."
            raise CommandError("cannot_update_voice", message, f"{param}.audio.output.voice")

    def create(self, request: Request) -> Iterator[Output]:
        """Create a response after `check`. Raises `CommandError` before the first output."""
        options = self._config.response_options(request.options)
        prompt, audio = self._prompt(request, options)
        is_new = request.input is not None
        ids = {item.id for item in prompt.items} if is_new else self._items.ids
        awaiting_transcript = {*self._audio_input.awaiting_transcript, *audio} & ids
        response = ResponseBuilder(
            self._new_id("resp"),
            options,
            None if request.out_of_band else self._conversation_id,
            self._items,
            self._new_id,
            self._config.speed,
        )
        response.size += size_of(request.input)
        voice = self._voice if options.modality == "audio" else None
        answer: Answer | None = None
        if not awaiting_transcript and not isinstance(voice, str):
            answered = self._engine.answer(self._with_transcripts(prompt))
            if isinstance(answered, ev.ServerProblem):
                raise CommandError(answered.code, answered.message, answered.param, answered.kind)
            answer = answered
        self._responses[response.id] = response
        started = ev.ReplyStarted(response.id, response.conversation_id)
        yield from self._encoder.encode([started], options)
        if isinstance(voice, str):
            yield from self.finish(response.id, _no_voice(voice))
        elif answer is not None:
            yield StartResponse(response.id, answer)
        else:
            self._waiting[response.id] = _Waiting(prompt, awaiting_transcript)
            for item in prompt.items if audio else ():
                if item.id in audio:
                    yield self._audio_input.start_transcription(item, audio[item.id])

    def prepare(self, message: Message) -> Iterator[PrepareAnswer]:
        """Prepare the engine for the response to a message that will probably begin like this
        one."""
        if self.active is None:
            request = Request(out_of_band=False, input=None, options=Options())
            prompt, _ = self._prompt(request, self._config.response_options(Options()))
            prompt = self._with_transcripts(prompt)
            yield PrepareAnswer(replace(prompt, items=[*prompt.items, as_text(message)]))

    def _prompt(self, request: Request, options: Options) -> tuple[ModelInput, dict[str, bytes]]:
        """The prompt, and the audio to transcribe first, by item id."""
        items: Sequence[Item] = self._items.view()
        words: int | None = self._items.words
        audio: dict[str, bytes] = {}
        if request.input is not None:
            new: list[Item] = []
            for index, item in enumerate(request.input):
                existing = self._resolve(item)
                path = f"response.input[{index}]"
                if existing is item:
                    check_images(item, path, allow_urls=self._allow_image_urls)
                read, audio_data = self._audio_input.split_audio(existing, path)
                # The id may also be that of another item in the conversation.
                if audio_data or (existing is item and item.id):
                    read = complete(read, self._new_id("item"))
                if audio_data:
                    audio[read.id] = audio_data
                new.append(read)
            items, words = new, None
        limit = options.max_output_tokens
        prompt = ModelInput(
            options.instructions or self._engine.instructions,
            items,
            limit if isinstance(limit, int) else None,
            read_tools(merge_options(self._config.options, request.options)),
            options.modality == "audio",
            words=words,
        )
        return prompt, audio

    def _resolve(self, item: Item) -> Item:
        if isinstance(item, OtherItem) and item.type == ITEM_REFERENCE:
            return self._items.find(item.id, "reference")
        return item

    def _with_transcripts(self, prompt: ModelInput) -> ModelInput:
        """The prompt with all audio replaced by transcripts, for engines that read text."""
        if isinstance(self._voice, str):
            return prompt
        return replace(prompt, items=converted(prompt.items, as_text))

    def end_transcript(self, item: Item, failure: str) -> list[Output]:
        """Start the responses that only waited for this transcript, or fail those that need it if
        `failure` is not empty. `item` is the item with its transcript."""
        outputs: list[Output] = []
        for response_id, waiting in [*self._waiting.items()]:
            if item.id not in waiting.awaiting_transcript:
                continue
            waiting.awaiting_transcript.remove(item.id)
            waiting.prompt = _with_item(waiting.prompt, item)
            if failure:
                outputs += self.finish(response_id, _failed(failure))
            elif not waiting.awaiting_transcript:
                del self._waiting[response_id]
                outputs += self._start_late(response_id, waiting.prompt)
        return outputs

    def _start_late(self, response_id: str, prompt: ModelInput) -> list[Output]:
        answered = self._engine.answer(self._with_transcripts(prompt))
        if isinstance(answered, ev.ServerProblem):
            finish = Finish(Status.FAILED, code=answered.code, message=answered.message)
            return self.finish(response_id, finish)
        return [StartResponse(response_id, answered)]

    # ------------------------------------------------------------------------------------ progress

    def add_piece(self, response_id: str, piece: str | CallPiece) -> list[Output]:
        """Add the engine's next piece. Like all that follow, does nothing if the response has
        ended."""
        return self._extend(response_id, lambda response: response.add(piece))

    def finish(self, response_id: str, finish: Finish) -> list[Output]:
        """End a response as soon as everything is spoken."""
        return self._extend(response_id, lambda response: response.end(finish))

    def add_audio(self, response_id: str, audio: bytes) -> list[Output]:
        """Add audio of a `Speak`."""
        self._has_spoken = self._has_spoken or response_id in self._responses
        return self._extend(response_id, lambda response: response.add_audio(audio))

    def end_speech(self, response_id: str, failure: str) -> list[Output]:
        """End a `Speak`, or fail the response if `failure` is not empty."""
        if failure:
            return self.abort(response_id, _failed(failure))
        return self._extend(response_id, ResponseBuilder.end_speech)

    def cancel(self, response_id: str) -> list[Output]:
        """Cancel a response for the client; without an id, the active one. Raises
        `CommandError` if there is none."""
        active = self.active
        response_id = response_id or (active.id if active else "")
        if response_id not in self._responses:
            message = "Cancellation failed: no active response found"
            raise CommandError("response_cancel_not_active", message)
        return self.abort(response_id, Finish(Status.CANCELLED, "client_cancelled"))

    def abort(self, response_id: str, finish: Finish) -> list[Output]:
        """End a response at once."""
        outputs = self._extend(response_id, lambda response: response.abort(finish))
        return [*outputs, StopResponse(response_id)] if outputs else []

    def _extend(
        self, response_id: str, step: Callable[[ResponseBuilder], Iterable[BuildStep]]
    ) -> list[Output]:
        response = self._responses.get(response_id)
        if response is None:
            return []
        outputs = [*self._encoder.encode(step(response), response.options)]
        if response.is_over:
            del self._responses[response_id]
            self._waiting.pop(response_id, None)
        return outputs


def _with_item(prompt: ModelInput, item: Item) -> ModelInput:
    """A prompt with `item` in the place of the one that has its id."""
    items = converted(prompt.items, lambda each: item if each.id == item.id else each)
    if prompt.words is None:
        return replace(prompt, items=items)
    before = next(each for each in reversed(prompt.items) if each.id == item.id)
    return replace(prompt, items=items, words=prompt.words + words_of(item) - words_of(before))


def _no_voice(why: str) -> Finish:
    message = f"{why}. Use output modality 'text' instead."
    return Finish(Status.FAILED, code="audio_not_supported", message=message)


def _failed(why: str) -> Finish:
    return Finish(Status.FAILED, code="server_error", message=why)
