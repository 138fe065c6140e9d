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
    MicrophoneFound,
    MicrophoneLost,
    MicrophoneOpened,
    PlaybackCut,
    local_error,
)
from rtchat.core.ports import Post
from rtchat.system.installation import extra_hint
from rtchat.system.loop import post_to
from rtchat.system.worker import Worker

if TYPE_CHECKING:
    from rtchat.audio.device_list import Device
    from rtchat.audio.devices import Microphone, Speaker
    from rtchat.audio.echo_canceller import EchoCanceller
    from rtchat.audio.playback_progress import PlaybackProgress
    from rtchat.audio.portaudio import Kind


CLOSE_TIMEOUT = 2.0
"""Seconds to wait for the devices to close at the end of the program."""


class LiveAudio:
    """The microphone and the speaker of a conversation: an audio source, a player and level meters.

    The speaker is open from the start, the microphone while it is used. A device that cannot be
    opened or is lost is reported once; the text conversation continues. It is used again when the
    system has it again, or when the user turns the microphone on.
    """

    def __init__(
        self, settings: Settings, *, speaks: bool = True, canceller: EchoCanceller | None = None
    ) -> None:
        """Unless this `speaks`, only the microphone is used; `canceller` removes the echo of a
        speaker that has the same one."""
        self._settings = settings
        self._speaks = speaks
        self._microphone: Microphone | None = None
        self._speaker: Speaker | None = None
        self._progress: PlaybackProgress | None = None
        self._canceller = canceller
        self._overruns = 0
        self._underruns = 0
        """The overruns and underruns of devices that are closed."""
        self._is_heard = False
        """Whether audio has arrived from the microphone."""
        self._is_used = False
        self._was_lost = False
        """Whether the microphone was lost or could not be opened, and was not found since."""
        self._has_changed_devices = False
        self._changed = asyncio.Event()
        """Set when the microphone is to be opened or closed, or the system's devices changed."""
        self._worker = Worker("devices", limit=0)

    @property
    def level(self) -> float:
        """The level of the microphone, from 0 to 1."""
        return self._microphone.level if self._microphone else 0.0

    @property
    def is_open(self) -> bool:
        """Whether the microphone is open."""
        return self._microphone is not None

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
        from rtchat.audio.pulse import watch

        loop = asyncio.get_running_loop()
        try:
            self._canceller = await self._make_canceller(post)
            no_speaker = await self._open_speaker(post)
            await self._worker.call(lambda: watch(lambda: post_to(loop, self._devices_changed)))
            while True:
                self._changed.clear()
                no_microphone = await self._follow(post)
                if no_speaker is not None and no_speaker != no_microphone:
                    post(local_error(no_speaker))
                no_speaker = None
                if no_microphone is not None:
                    self._lose_microphone(no_microphone, post)
                await self._changed.wait()
        finally:
            await self._close()

    def _devices_changed(self) -> None:
        self._has_changed_devices = True
        self._changed.set()

    async def _make_canceller(self, post: Post) -> EchoCanceller | None:
        """What removes the echo of the speaker; None without a speaker, or if it is not wanted."""
        if not (self._speaks and self._settings.aec):
            return self._canceller
        from rtchat.audio.echo_canceller import EchoCanceller

        return await self._worker.call(lambda: EchoCanceller(lambda: post(gated())))

    async def _open_speaker(self, post: Post) -> Problem | None:
        """Open the speaker, unless it is open or not wanted. Return the problem if it cannot be
        opened."""
        from rtchat.audio.device_list import find
        from rtchat.audio.devices import Speaker
        from rtchat.audio.playback_progress import PlaybackProgress

        if self._speaker is not None or not self._speaks:
            return None
        loop = asyncio.get_running_loop()

        def lost(problem: Problem) -> None:
            self._close_speaker()
            post(local_error(problem))

        def open_speaker() -> Speaker:
            device = find(self._settings.output_device, "output")
            return Speaker(device, on_lost=lost, loop=loop, canceller=self._canceller)

        try:
            self._speaker = speaker = await self._worker.call(open_speaker)
        except UsageError as error:
            return error.problem
        self._note_device("output", speaker.device)
        self._progress = PlaybackProgress(lambda: speaker.position, post)
        return None

    async def _follow(self, post: Post) -> Problem | None:
        """Open or close the microphone. Return the problem if it cannot be opened."""
        if self._has_changed_devices:
            self._has_changed_devices = False
            await self._follow_devices(post)
        if not self._is_used:
            self._close_microphone()
        elif self._microphone is None:
            return await self._open_microphone(post)
        elif self._is_heard:
            post(MicrophoneOpened(self._microphone.device.name))
        return None

    async def _open_microphone(self, post: Post) -> Problem | None:
        from rtchat.audio.device_list import find
        from rtchat.audio.devices import Microphone

        loop = asyncio.get_running_loop()
        self._is_heard = False

        def deliver(audio: bytes) -> None:
            if not self._is_heard and self._microphone is not None:
                self._is_heard = True
                post(MicrophoneOpened(self._microphone.device.name))
            post(AudioCaptured(audio))

        def open_microphone() -> Microphone:
            device = find(self._settings.input_device, "input")
            return Microphone(
                device,
                deliver,
                on_lost=lambda problem: self._lose_microphone(problem, post),
                loop=loop,
                canceller=self._canceller,
            )

        if self._was_lost:
            await self._reload(post)
        try:
            microphone = await self._worker.call(open_microphone)
        except UsageError as error:
            return error.problem
        if microphone.is_lost:  # which was reported
            self._worker.do(microphone.close)
            return None
        self._note_device("input", microphone.device)
        self._microphone, self._was_lost = microphone, False
        return None

    async def _reload(self, post: Post) -> None:
        """Find devices that were connected meanwhile. Use a lost speaker again, too."""
        from rtchat.audio.portaudio import reload

        if not self.is_playing:
            self._close_speaker()
            await self._worker.call(reload)
        await self._open_speaker(post)

    def _lose_microphone(self, problem: Problem, post: Post) -> None:
        self._close_microphone()
        self._is_used, self._was_lost = False, True
        post(MicrophoneLost(problem))

    async def _follow_devices(self, post: Post) -> None:
        """The sound server's devices, or the default of them, have changed."""
        from rtchat.audio.device_list import follow, is_there
        from rtchat.audio.devices import lost_microphone, lost_speaker

        microphone, speaker = self._microphone, self._speaker
        names = self._settings.input_device, self._settings.output_device

        def follow_both() -> tuple[Device | None, Device | None]:
            return (
                follow(microphone.device, names[0], "input") if microphone else None,
                follow(speaker.device, names[1], "output") if speaker else None,
            )

        inputs, outputs = await self._worker.call(follow_both)
        if speaker is not None and speaker is self._speaker:
            if outputs is None:
                self._close_speaker()
                post(local_error(lost_speaker(speaker.device)))
            else:
                speaker.device = outputs
                self._note_device("output", outputs)
        await self._open_speaker(post)
        if microphone is not None and microphone is self._microphone:
            if inputs is None:
                self._lose_microphone(lost_microphone(microphone.device), post)
            else:
                microphone.device = inputs
                self._note_device("input", inputs)
        elif self._was_lost and await self._worker.call(lambda: is_there(names[0], "input")):
            self._was_lost = False
            post(MicrophoneFound())

    def _note_device(self, kind: Kind, device: Device) -> None:
        if self._canceller is not None:
            self._canceller.use(kind, device.name)

    def _close_microphone(self) -> None:
        if self._microphone is not None:
            self._overruns += self._microphone.overruns
            self._worker.do(self._microphone.close)
            self._microphone = None

    def _close_speaker(self) -> None:
        if self._speaker is not None:
            self._underruns += self._speaker.underruns
            self._worker.do(self._speaker.close)
            self._speaker = None

    async def _close(self) -> None:
        """Close both devices. One that does not respond is left open."""
        self._close_microphone()
        self._close_speaker()
        if self._progress is not None:
            self._progress.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._worker.call(lambda: None), CLOSE_TIMEOUT)
        self._worker.close(0)

    def describe(self) -> str:
        """A summary of lost audio."""
        return f"audio: {self._underruns} speaker underruns, {self._overruns} microphone overruns"


def gated() -> LocalNotice:
    """The notice that only loud speech is heard while audio is played."""
    from rtchat.audio.echo_canceller import is_installed

    text = "the echo of the speaker cannot be removed, so only a loud voice interrupts replies"
    hint = "use headphones" if is_installed() else f"use headphones, or {extra_hint('voice')}"
    return LocalNotice(text, hint=hint)
