"""The microphone and the speaker of a session."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from rtchat.config.settings import Settings
from rtchat.core.errors import Problem, UsageError
from rtchat.core.events import (
    AudioCaptured,
    LocalNotice,
    MicrophoneLost,
    MicrophoneOpened,
    PlaybackCut,
    local_error,
)
from rtchat.core.ports import Player, Post
from rtchat.system.installation import extra_hint
from rtchat.system.worker import Worker

if TYPE_CHECKING:
    from rtchat.audio.devices import Microphone, Speaker
    from rtchat.audio.echo_canceller import EchoCanceller
    from rtchat.audio.progress import PlaybackProgress


CLOSE_TIMEOUT = 2.0
"""Seconds to wait for the devices to close at the end of the program."""


class LiveAudio:
    """The microphone and the speaker of a conversation: an audio source, a player and level meters.

    The speaker is open from the start, the microphone while it is used. A device that cannot be
    opened or is lost is reported once; the text conversation continues.
    """

    def __init__(self, settings: Settings, *, speaks: bool = True) -> None:
        self._settings = settings
        self._speaks = speaks
        self._microphone: Microphone | None = None
        self._speaker: Speaker | None = None
        self._progress: PlaybackProgress | None = None
        self._canceller: EchoCanceller | None = None
        self._overruns = 0
        """The overruns of microphones that are closed."""
        self._is_heard = False
        """Whether audio has arrived from the microphone."""
        self._is_used = False
        self._changed = asyncio.Event()
        """Whether the microphone is to be opened or closed."""
        self._worker = Worker("devices", limit=0)

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
        if self._progress is not None:
            self._progress.start()

    def end(self, item_id: str) -> None:
        """Note that the audio of an item is complete."""
        if self._speaker is not None:
            self._speaker.end(item_id)

    def stop(self) -> PlaybackCut | None:
        """Stop playback at once."""
        if self._progress is not None:
            self._progress.stop()
        return self._speaker.stop() if self._speaker is not None else None

    def use(self, is_used: bool, /) -> None:
        """Open or close the microphone soon."""
        self._is_used = is_used
        self._changed.set()

    async def listen(self, post: Post) -> None:
        """Open the speaker, open and close the microphone as asked, and post the microphone's audio
        until this is cancelled."""
        try:
            self._canceller = await self._make_canceller(post)
            no_speaker = await self._open_speaker(post) if self._speaks else None
            while True:
                self._changed.clear()
                no_microphone = await self._follow(post)
                if no_speaker is not None and no_speaker != no_microphone:
                    post(local_error(no_speaker))
                no_speaker = None
                if no_microphone is not None:
                    self._is_used = False
                    post(MicrophoneLost(no_microphone))
                await self._changed.wait()
        finally:
            await self._close()

    async def _make_canceller(self, post: Post) -> EchoCanceller | None:
        """What removes the echo of the speaker; None without a speaker, or if it is not wanted."""
        if not (self._speaks and self._settings.aec):
            return None
        from rtchat.audio.echo_canceller import EchoCanceller

        return await self._worker.call(lambda: EchoCanceller(lambda: post(_gated())))

    async def _open_speaker(self, post: Post) -> Problem | None:
        from rtchat.audio.devices import Speaker, find
        from rtchat.audio.progress import PlaybackProgress

        loop = asyncio.get_running_loop()

        def lost(problem: Problem) -> None:
            post(local_error(problem))

        def open_speaker() -> Speaker:
            device = find(self._settings.output_device, "output")
            return Speaker(device, on_lost=lost, loop=loop, canceller=self._canceller)

        try:
            self._speaker = speaker = await self._worker.call(open_speaker)
        except UsageError as error:
            return error.problem
        self._progress = PlaybackProgress(lambda: speaker.position, post)
        return None

    async def _follow(self, post: Post) -> Problem | None:
        """Open or close the microphone. Return the problem if it cannot be opened."""
        if not self._is_used:
            self._close_microphone()
        elif self._microphone is None:
            return await self._open_microphone(post)
        elif self._is_heard:
            post(MicrophoneOpened(self._microphone.device.name))
        return None

    async def _open_microphone(self, post: Post) -> Problem | None:
        from rtchat.audio.devices import Microphone, find

        loop = asyncio.get_running_loop()
        self._is_heard = False

        def deliver(audio: bytes) -> None:
            if not self._is_heard and self._microphone is not None:
                self._is_heard = True
                post(MicrophoneOpened(self._microphone.device.name))
            post(AudioCaptured(audio))

        def lost(problem: Problem) -> None:
            self._close_microphone()
            self._is_used = False
            post(MicrophoneLost(problem))

        def open_microphone() -> Microphone:
            device = find(self._settings.input_device, "input")
            return Microphone(
                device,
                deliver,
                on_lost=lost,
                loop=loop,
                canceller=self._canceller,
            )

        try:
            self._microphone = await self._worker.call(open_microphone)
        except UsageError as error:
            return error.problem
        return None

    def _close_microphone(self) -> None:
        if self._microphone is not None:
            self._overruns += self._microphone.overruns
            self._worker.do(self._microphone.close)
            self._microphone = None

    async def _close(self) -> None:
        """Close both devices. One that does not respond is left open."""
        self._close_microphone()
        if self._progress is not None:
            self._progress.stop()
        if self._speaker is not None:
            self._worker.do(self._speaker.close)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._worker.call(lambda: None), CLOSE_TIMEOUT)
        self._worker.close(0)

    def describe(self) -> str:
        """A summary of lost audio."""
        overruns = self._overruns
        underruns = self._speaker.underruns if self._speaker else 0
        return f"audio: {underruns} speaker underruns, {overruns} microphone overruns"


def _gated() -> LocalNotice:
    """The notice that only loud speech is heard while audio is played."""
    from rtchat.audio.echo_canceller import is_installed

    text = "the echo of the speaker cannot be removed, so only a loud voice interrupts replies"
    hint = "use headphones" if is_installed() else f"use headphones, or {extra_hint('voice')}"
    return LocalNotice(text, hint=hint)


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
