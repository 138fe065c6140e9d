"""The microphone and the speaker of a session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rtchat.config.settings import Settings
from rtchat.core.errors import Problem, UsageError
from rtchat.core.events import AudioCaptured, LocalNotice, MicrophoneLost, PlaybackCut, local_error
from rtchat.core.ports import Player, Post
from rtchat.system.installation import extra_hint

if TYPE_CHECKING:
    from rtchat.audio.devices import Microphone, Speaker
    from rtchat.audio.echo_canceller import EchoCanceller


class LiveAudio:
    """The microphone and the speaker of a conversation: an audio source, a player and level meters.

    A device that cannot be opened or is lost is reported once; the text conversation continues.
    """

    def __init__(self, settings: Settings, *, speaks: bool = True) -> None:
        self._settings = settings
        self._speaks = speaks
        self._microphone: Microphone | None = None
        self._speaker: Speaker | None = None
        self._canceller: EchoCanceller | None = None

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
        self._canceller = await self._make_canceller(post)
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

    async def _make_canceller(self, post: Post) -> EchoCanceller | None:
        """What removes the echo of the speaker; None without a speaker, or if it is not wanted."""
        if not (self._speaks and self._settings.aec):
            return None
        from rtchat.audio.echo_canceller import EchoCanceller

        return await asyncio.to_thread(EchoCanceller, lambda: post(_gated()))

    def _open_speaker(self, post: Post) -> Problem | None:
        from rtchat.audio.devices import Speaker, find

        try:
            self._speaker = Speaker(
                find(self._settings.output_device, "output"),
                on_lost=lambda problem: post(local_error(problem)),
                loop=asyncio.get_running_loop(),
                canceller=self._canceller,
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
                canceller=self._canceller,
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
