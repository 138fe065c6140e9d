"""The audio of a session, made from the settings: microphone, speaker and recordings."""

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
from rtchat.core.effects import (
    AddItem,
    AppendAudio,
    ClearAudio,
    Command,
    CommitAudio,
    Configure,
    Update,
    error_notice,
)
from rtchat.core.errors import OutputError, Problem, UsageError
from rtchat.core.events import AudioCaptured, MicrophoneLost, PlaybackCut, local_error
from rtchat.core.ports import Player, Post
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import JsonObject, Message, Part, value
from rtchat.system.loop import post_to
from rtchat.system.worker import Worker
from rtchat.wire import audio_options as options

if TYPE_CHECKING:
    from rtchat.audio.devices import Microphone, Speaker
    from rtchat.audio.wav import WavWriter

_CLOSE_TIMEOUT = 5.0
"""Seconds to wait at exit for audio that is not recorded yet."""


@value
class AudioSettings:
    """The audio input and output of a session."""

    audio_in: str | None = None
    """An audio file with the question; `-` is stdin."""
    audio_out: Path | None = None
    """Where replies are recorded: a file for `once`, a folder for `talk`."""
    is_live: bool = False
    """Whether the microphone and the speaker are used."""
    transcribes: bool = False
    """Whether the input is only transcribed."""

    @property
    def hears(self) -> bool:
        """Whether there is audio input."""
        return self.is_live or self.transcribes or self.audio_in is not None

    @property
    def speaks(self) -> bool:
        """Whether there is audio output."""
        return self.is_live or self.audio_out is not None


def audio_config(settings: Settings, audio: AudioSettings) -> tuple[JsonObject, SpeechOptions]:
    """The session options and the speech options for these settings.

    Raises:
        UsageError: the settings ask for a format other than PCM.
    """
    if not (audio.hears or audio.speaks):
        return settings.session, SpeechOptions(stores_audio=settings.keep_audio)
    refuse_formats(settings)
    vad = (settings.vad or "server") if audio.is_live else "off"
    session = options.with_voice(settings.session, hears=audio.hears, speaks=audio.speaks, vad=vad)
    has_turns, replies, interrupts = options.turn_ends(session)
    return session, SpeechOptions(
        speaks=audio.speaks,
        has_microphone=audio.is_live,
        push_to_talk=not has_turns,
        replies=replies,
        interrupts=interrupts,
        transcribes=audio.hears and options.transcribes(session),
        transcription_model=options.transcription_model(session) if audio.hears else "",
        stores_audio=settings.keep_audio,
        input_rate=options.input_rate(settings.forced_dialect) if audio.hears else 0,
        output_rate=options.OUTPUT_RATE if audio.speaks else 0,
    )


def refuse_formats(settings: Settings) -> None:
    """Raise UsageError if the settings ask for a format other than PCM."""
    for fields in (settings.session, settings.response):
        if others := options.other_formats(fields):
            hint = "remove audio.input.format and audio.output.format from the settings"
            message = f"unsupported audio format {others[0]} (expected audio/pcm)"
            raise UsageError(message, hint=hint)


class InputRate:
    """Converts the audio in commands from 24 kHz to the rate that a server accepts.

    The constructor raises UsageError if that needs a package that is not installed.
    """

    def __init__(self, rate: int) -> None:
        from rtchat.audio.files import RATE, resampler

        message = f"this server requires audio at {rate // 1000} kHz"
        self._resample = resampler(RATE, rate, message)
        self._resample_part = resampler(RATE, rate, message)

    def __call__(self, command: Command) -> Iterator[Command]:
        """The command with converted audio, preceded by the remaining audio before it."""
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
        audio = self._resample_part(b64decode(part.data), last=True)
        return replace(part, data=b64encode(audio).decode())


def converter(rate: int) -> Callable[[Command], Iterable[Command]] | None:
    """A converter for a server that accepts audio at this rate (0: no audio); None if no conversion
    is needed."""
    return None if rate in (0, options.OUTPUT_RATE) else InputRate(rate)


class Recorder:
    """Records the audio of replies in a thread. `begin` returns the file for each item, which may
    be the same one; one file is open at a time. After a failure nothing more is recorded."""

    def __init__(self, begin: Callable[[], WavWriter]) -> None:
        self._begin = begin
        self._worker = Worker("recording", limit=10_000)
        self.is_empty = True
        self.failure: OutputError | None = None
        self.is_failure_reported = False
        self._item: str | None = None
        self._file: WavWriter | None = None
        self._on_failure: Callable[[], object] = lambda: None

    async def watch(self, show: Callable[[Update], None]) -> None:
        """Wait for the recording to fail, and show why."""
        failed, loop = asyncio.Event(), asyncio.get_running_loop()
        self._on_failure = lambda: post_to(loop, failed.set)
        await failed.wait()
        assert self.failure is not None
        self.is_failure_reported = True
        show(error_notice(self.failure.problem))

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Record audio of an item."""
        self._do(partial(self._write, item_id, audio))

    def end(self, item_id: str) -> None:
        """End an item. On some servers the next one has the same id, or none."""
        self._do(self._end)

    def stop(self) -> None:
        """Do nothing: audio that was not played is recorded too."""

    def close(self) -> None:
        """Write the remaining audio, within a few seconds."""
        if not self._worker.close(_CLOSE_TIMEOUT):
            self._fail(f"the recording could not be finished within {_CLOSE_TIMEOUT:g} s")

    def _do(self, job: Callable[[], None]) -> None:
        if self.failure is None:
            try:
                self._worker.do(job)
            except queue.Full:
                self._fail("the recording was stopped because the disk is too slow")

    def _fail(self, message: str) -> None:
        self._failed(OutputError(message, hint="record to another disk"))

    def _failed(self, failure: OutputError) -> None:
        if self.failure is None:
            self.failure = failure
            with suppress(RuntimeError):  # the loop is closed
                self._on_failure()

    # The following methods run in the thread.

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
    """The microphone and the speaker of a conversation: an audio source, a player and level meters.

    A device that cannot be opened or is lost is reported once; the text conversation continues.
    """

    def __init__(self, settings: Settings, *, speaks: bool = True) -> None:
        self._settings = settings
        self._speaks = speaks
        self._microphone: Microphone | None = None
        self._speaker: Speaker | None = None

    @property
    def level(self) -> float:
        """The level of the microphone, from 0 to 1."""
        return self._microphone.level if self._microphone else 0.0

    @property
    def is_playing(self) -> bool:
        """Whether audio is being played."""
        return self._speaker is not None and self._speaker.playing

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Play audio after what is already queued."""
        if self._speaker is not None:
            self._speaker.play(item_id, content_index, audio)

    def end(self, item_id: str) -> None:
        """Note that the audio of an item is complete."""
        if self._speaker is not None:
            self._speaker.end(item_id)

    def stop(self) -> PlaybackCut | None:
        """Stop playback at once."""
        return self._speaker.stop() if self._speaker is not None else None

    async def listen(self, post: Post) -> None:
        """Open both devices, and post the microphone's audio until this is cancelled."""
        no_speaker = self._open_speaker(post) if self._speaks else None
        no_microphone = self._open_microphone(post)
        if no_speaker is not None and no_speaker != no_microphone:
            post(local_error(no_speaker))
        if no_microphone is not None:
            post(MicrophoneLost(no_microphone))
        try:
            await asyncio.Event().wait()
        finally:
            self.close()

    def _open_speaker(self, post: Post) -> Problem | None:
        from rtchat.audio.devices import Speaker, find

        try:
            self._speaker = Speaker(
                find(self._settings.output_device, "output"),
                on_lost=lambda problem: post(local_error(problem)),
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
        """Close both devices."""
        for device in (self._microphone, self._speaker):
            if device is not None:
                device.close()

    def describe(self) -> str:
        """A summary of lost audio."""
        overruns = self._microphone.overruns if self._microphone else 0
        underruns = self._speaker.underruns if self._speaker else 0
        return f"audio: {underruns} speaker underruns, {overruns} microphone overruns"


class TeePlayer:
    """Combines a speaker and a recorder. The speaker decides how much was played."""

    def __init__(self, speaker: Player, recorder: Player) -> None:
        self._speaker = speaker
        self._recorder = recorder

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Play audio with both."""
        self._speaker.play(item_id, content_index, audio)
        self._recorder.play(item_id, content_index, audio)

    def end(self, item_id: str) -> None:
        """End an item with both."""
        self._speaker.end(item_id)
        self._recorder.end(item_id)

    def stop(self) -> PlaybackCut | None:
        """Stop playback."""
        self._recorder.stop()
        return self._speaker.stop()
