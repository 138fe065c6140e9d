"""The sound of a run: settings in, a microphone, a speaker and recordings out."""

from __future__ import annotations

import asyncio
import queue
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rtchat.config.settings import Settings
from rtchat.core.audio_state import SpeechOptions
from rtchat.core.effects import AddItem, AppendAudio, ClearAudio, Command, CommitAudio, Configure
from rtchat.core.errors import OutputError, Problem, UsageError
from rtchat.core.events import AudioCaptured, LocalNotice, MicrophoneLost, PlaybackCut
from rtchat.core.ports import Player, Post
from rtchat.core.values import JsonObject, Message, Part, value
from rtchat.system.loop import post_to
from rtchat.system.worker import Worker
from rtchat.wire import audio_options as options

if TYPE_CHECKING:
    from rtchat.audio.devices import Microphone, Speaker
    from rtchat.audio.wav import WavWriter

_CLOSING = 5.0
"""Seconds to wait at exit for what is not recorded yet."""


@value
class AudioSettings:
    """What a run hears and says besides text."""

    audio_in: str | None = None
    """A question in a file; `-` is stdin."""
    audio_out: Path | None = None
    """Where replies are recorded: a file of `once`, a folder of `talk`."""
    is_live: bool = False
    """There is a microphone and a speaker."""
    transcribes: bool = False
    """What is heard is written down, and that is all."""

    @property
    def hears(self) -> bool:
        """Whether there is any audio to listen to."""
        return self.is_live or self.transcribes or self.audio_in is not None

    @property
    def speaks(self) -> bool:
        """Whether replies are to be spoken."""
        return self.is_live or self.audio_out is not None


def audio_config(settings: Settings, sound: AudioSettings) -> tuple[JsonObject, SpeechOptions]:
    """The options of a session with this sound, and how the conversation is spoken.

    Raises:
        UsageError: the settings ask for a format other than PCM.
    """
    if not (sound.hears or sound.speaks):
        return settings.session, SpeechOptions(stores_audio=settings.keep_audio)
    refuse_formats(settings)
    vad = (settings.vad or "server") if sound.is_live else "off"
    session = options.with_voice(settings.session, hears=sound.hears, speaks=sound.speaks, vad=vad)
    has_turns, replies, interrupts = options.turn_ends(session)
    return session, SpeechOptions(
        speaks=sound.speaks,
        has_microphone=sound.is_live,
        push_to_talk=not has_turns,
        replies=replies,
        interrupts=interrupts,
        transcribes=sound.hears and options.transcribes(session),
        stores_audio=settings.keep_audio,
        input_rate=options.input_rate(settings.forced_dialect) if sound.hears else 0,
        output_rate=options.OUTPUT_RATE if sound.speaks else 0,
    )


def refuse_formats(settings: Settings) -> None:
    """Raise UsageError if the settings ask for a format other than PCM."""
    for fields in (settings.session, settings.response):
        if others := options.other_formats(fields):
            hint = "leave audio.input.format and audio.output.format as they are"
            message = f"{others[0]} is not supported: rtchat sends and plays audio/pcm"
            raise UsageError(message, hint=hint)


class InputRate:
    """Converts the audio of commands from 24 kHz to the rate that a server takes.

    Raises UsageError at once if that needs a package that is not installed.
    """

    def __init__(self, rate: int) -> None:
        from rtchat.audio.files import RATE, resampler

        message = f"this server takes sound at {rate // 1000} kHz"
        self._resample = resampler(RATE, rate, message)
        self._one = resampler(RATE, rate, message)

    def __call__(self, command: Command) -> Iterator[Command]:
        """The same command, preceded by the rest of the audio before it."""
        match command:
            case AppendAudio(audio):
                if audio := self._resample(audio, last=False):
                    yield replace(command, audio=audio)
                return
            case CommitAudio():
                if rest := self._resample(b"", last=True):
                    yield AppendAudio(rest)
            case Configure() | ClearAudio():  # the audio before it is discarded
                self._resample(b"", last=True)
            case AddItem(Message(parts=parts) as item):
                item = replace(item, parts=tuple(map(self._part, parts)))
                command = replace(command, item=item)
            case _:
                pass
        yield command

    def _part(self, part: Part) -> Part:
        if part.kind != "audio" or not part.data:
            return part
        audio = self._one(b64decode(part.data), last=True)
        return replace(part, data=b64encode(audio).decode())


def converter(rate: int) -> Callable[[Command], Iterable[Command]] | None:
    """Converts the audio of commands for a server that takes this rate, 0 for none; None if it fits
    as it is."""
    return None if rate in (0, options.OUTPUT_RATE) else InputRate(rate)


class Recorder:
    """Records what is played, in a thread: `begin` gives the file of each item, the same one
    perhaps. One at a time is open. After a failure it records nothing more."""

    def __init__(self, begin: Callable[[], WavWriter]) -> None:
        self._begin = begin
        self._worker = Worker("recording", limit=10_000)
        self.is_empty = True
        self.failure: OutputError | None = None
        self.is_failure_said = False
        self._item: str | None = None
        self._file: WavWriter | None = None
        self._on_failure: Callable[[], object] = lambda: None

    async def watch(self, post: Post) -> None:
        """Report a failure of the recording to this function."""
        failed, loop = asyncio.Event(), asyncio.get_running_loop()
        self._on_failure = lambda: post_to(loop, failed.set)
        await failed.wait()
        self.is_failure_said = True
        post(LocalNotice(str(self.failure), is_error=True))

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Write it."""
        self._do(partial(self._write, item_id, audio))

    def end(self, item_id: str) -> None:
        """The next may have the same id, or none, on some servers."""
        self._do(self._end)

    def stop(self) -> None:
        """What was not heard by anybody is recorded all the same."""

    def close(self) -> None:
        """Write what is left, within a few seconds."""
        if not self._worker.close(_CLOSING):
            self._fail(f"the recording could not be finished within {_CLOSING:g} s")

    def _do(self, job: Callable[[], None]) -> None:
        if self.failure is None:
            try:
                self._worker.do(job)
            except queue.Full:
                self._fail("writing the recording is too slow: it ends here")

    def _fail(self, message: str) -> None:
        self._failed(OutputError(message, hint="choose another place"))

    def _failed(self, failure: OutputError) -> None:
        if self.failure is None:
            self.failure = failure
            with suppress(RuntimeError):  # the loop is closed
                self._on_failure()

    # What follows runs in the thread.

    def _write(self, item_id: str, audio: bytes) -> None:
        if self.failure is not None:
            return
        try:
            if self._file is None or item_id != self._item:
                before, self._item, self._file = self._file, item_id, self._begin()
                if before is not None and before is not self._file:
                    before.close()
            self._file.write(audio)
        except OutputError as error:
            self._failed(error)
        else:
            self.is_empty = False

    def _end(self) -> None:
        self._item = None


class LiveAudio:
    """The microphone and the speaker of a conversation: a source of what is said, a player of what
    is to be heard, and meters for whoever shows them.

    What cannot be opened, or vanishes, is said once; the text goes on.
    """

    def __init__(self, settings: Settings, *, speaks: bool = True) -> None:
        self._settings = settings
        self._speaks = speaks
        self._microphone: Microphone | None = None
        self._speaker: Speaker | None = None

    @property
    def level(self) -> float:
        """How loud the microphone is, 0 to 1."""
        return self._microphone.level if self._microphone else 0.0

    @property
    def is_playing(self) -> bool:
        """Whether something is being heard."""
        return self._speaker is not None and self._speaker.playing

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Let it be heard after what is being heard."""
        if self._speaker is not None:
            self._speaker.play(item_id, content_index, audio)

    def end(self, item_id: str) -> None:
        """There is no more of this item."""
        if self._speaker is not None:
            self._speaker.end(item_id)

    def stop(self) -> PlaybackCut | None:
        """Be silent at once."""
        return self._speaker.stop() if self._speaker is not None else None

    async def listen(self, post: Post) -> None:
        """Open both, and post what the microphone hears until this is cancelled."""
        mute = self._open_speaker(post) if self._speaks else None
        deaf = self._open_microphone(post)
        if mute is not None and mute != deaf:
            post(LocalNotice(str(mute), is_error=True))
        if deaf is not None:
            post(MicrophoneLost(deaf))
        try:
            await asyncio.Event().wait()
        finally:
            self.close()

    def _open_speaker(self, post: Post) -> Problem | None:
        from rtchat.audio.devices import Speaker, find

        try:
            self._speaker = Speaker(
                find(self._settings.output_device, "output"),
                on_lost=lambda problem: post(LocalNotice(str(problem), is_error=True)),
                loop=asyncio.get_running_loop(),
            )
        except UsageError as error:
            return error.problem
        return None

    def _open_microphone(self, post: Post) -> Problem | None:
        from rtchat.audio.devices import Microphone, find

        try:
            self._microphone = Microphone(
                find(self._settings.input_device, "input"),
                lambda audio: post(AudioCaptured(audio)),
                on_lost=lambda problem: post(MicrophoneLost(problem)),
                loop=asyncio.get_running_loop(),
            )
        except UsageError as error:
            return error.problem
        return None

    def close(self) -> None:
        """Let go of both."""
        for device in (self._microphone, self._speaker):
            if device is not None:
                device.close()

    def describe(self) -> str:
        """What was lost on the way."""
        lost = self._microphone.overruns if self._microphone else 0
        late = self._speaker.underruns if self._speaker else 0
        return f"sound: {late} underruns of the speaker, {lost} overruns of the microphone"


class TeePlayer:
    """Two players as one: what counts as heard is what the first says."""

    def __init__(self, heard: Player, recorded: Player) -> None:
        self._heard = heard
        self._recorded = recorded

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Give it to both."""
        self._heard.play(item_id, content_index, audio)
        self._recorded.play(item_id, content_index, audio)

    def end(self, item_id: str) -> None:
        """Tell both."""
        self._heard.end(item_id)
        self._recorded.end(item_id)

    def stop(self) -> PlaybackCut | None:
        """Be silent."""
        self._recorded.stop()
        return self._heard.stop()
