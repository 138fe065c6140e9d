"""The microphone and the speaker of a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from rtchat.config.settings import Settings
from rtchat.core.errors import ExitCode, Problem, UsageError
from rtchat.core.events import (
    AudioCaptured,
    LocalNotice,
    MicrophoneFound,
    MicrophoneLost,
    MicrophoneOpened,
    PlaybackCut,
    SpeakerLost,
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

T = TypeVar("T")

CLOSE_TIMEOUT = 2.0
"""Seconds to wait for the devices to close at the end of the program."""
BUSY_TIMEOUT = 0.2
"""The same if the sound system has yet to answer another call."""
ANSWER_TIMEOUT = 5.0
"""Seconds after which a sound system that does not answer is reported."""
NO_ANSWER = Problem(
    ExitCode.USAGE, "the sound system does not answer", "restart it, or continue in text"
)


class LiveAudio:
    """The microphone and the speaker of a conversation: an audio source, a player and level meters.

    The speaker is open from the start, the microphone while it is used. A device that cannot be
    opened or is lost is reported once, and so is a sound system that does not answer; the text
    conversation continues. It is used again when the system has it again, or when the user turns
    the microphone on.
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
        self._early: list[Callable[[], None]] | None = []
        """What is played once the speaker is open; None after the first attempt to open it."""
        self._item = self._skipped = ""
        """The last item with audio, and the last one of which not all was played."""
        self._is_heard = False
        """Whether audio has arrived from the microphone."""
        self._is_used = False
        self._was_lost = False
        """Whether the microphone was lost or could not be opened, and was not found since."""
        self._is_watched = False
        """Whether the sound server reports changes of its devices."""
        self._has_changed_devices = False
        self._may_hang = False
        """Whether a device was lost, perhaps because the sound system does not answer."""
        self._hangs = self._is_hang_reported = False
        """Whether the sound system has not answered in time, and whether that was reported."""
        self._post: Post = lambda _: None
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
        """Play audio after what is already queued. The rest of an item is not played if the speaker
        was missing before."""
        self._item = item_id
        if self._early is not None:
            self._early.append(partial(self.play, item_id, content_index, audio))
        elif self._speaker is None:
            self._skipped = item_id
        elif item_id != self._skipped:
            self._speaker.play(item_id, content_index, audio)
        if self._progress is not None:
            self._progress.start()

    def end(self, item_id: str) -> None:
        """Note that the audio of an item is complete."""
        if self._early is not None:
            self._early.append(partial(self.end, item_id))
        elif self._speaker is not None:
            self._speaker.end(item_id)

    def stop(self) -> PlaybackCut | None:
        """Stop playback at once."""
        if self._early is not None:
            self._early.clear()
        if self._progress is not None:
            self._progress.stop()
        return self._speaker.stop() if self._speaker is not None else None

    def use(self, is_used: bool, /) -> None:
        """Open or close the microphone soon."""
        self._is_used = is_used
        self._changed.set()
        if is_used and self._hangs:
            self._lose_microphone(NO_ANSWER)

    async def listen(self, post: Post) -> None:
        """Open the speaker, open and close the microphone as asked, and post the microphone's audio
        until this is cancelled."""
        self._post = post
        try:
            self._canceller = await self._make_canceller()
            no_speaker = await self._open_speaker()
            early, self._early = self._early or [], None
            for play in early:
                play()
            while True:
                self._changed.clear()
                no_microphone = await self._follow()
                if no_speaker not in (None, no_microphone) and not self._hangs:
                    post(local_error(no_speaker))
                no_speaker = None
                if no_microphone is not None:
                    self._lose_microphone(no_microphone)
                await self._wait()
        finally:
            await self._close()

    async def _wait(self) -> None:
        """Wait until something is to be done, and until the sound system answers if it hangs."""
        from rtchat.audio.pulse import pulse_devices

        if not (self._hangs or self._may_hang):
            await self._changed.wait()
            return
        self._may_hang, self._hangs, is_late = False, True, self._hangs
        while self._hangs:
            self._hangs = False
            await self._ask(lambda: pulse_devices("output"))  # which may hang, too
            is_late |= self._hangs
        self._is_hang_reported = False
        self._has_changed_devices |= is_late

    async def _ask(self, job: Callable[[], T]) -> T:
        """The result of a job that calls the sound system, which may take long."""
        timer = asyncio.get_running_loop().call_later(ANSWER_TIMEOUT, self._answer_is_late)
        try:
            return await self._worker.call(job)
        finally:
            timer.cancel()

    def _answer_is_late(self) -> None:
        self._hangs, self._early = True, None
        if self._is_used or not self._is_hang_reported:
            self._is_hang_reported = True
            self._lose_microphone(NO_ANSWER)

    def _devices_changed(self) -> None:
        self._has_changed_devices = True
        self._changed.set()

    async def _make_canceller(self) -> EchoCanceller | None:
        """What removes the echo of the speaker; None without a speaker, or if it is not wanted."""
        if not (self._speaks and self._settings.aec):
            return self._canceller
        from rtchat.audio.echo_canceller import EchoCanceller

        return await self._worker.call(lambda: EchoCanceller(lambda: self._post(gated())))

    async def _open_speaker(self) -> Problem | None:
        """Open the speaker, unless it is open or not wanted. Return the problem if it cannot be
        opened."""
        from rtchat.audio.device_list import find
        from rtchat.audio.devices import Speaker
        from rtchat.audio.playback_progress import PlaybackProgress

        if self._speaker is not None or not self._speaks:
            return None
        loop = asyncio.get_running_loop()

        def open_speaker() -> Speaker:
            device = find(self._settings.output_device, "output")
            return Speaker(device, on_lost=self._lose_speaker, loop=loop, canceller=self._canceller)

        try:
            self._speaker = speaker = await self._ask(open_speaker)
        except UsageError as error:
            return error.problem
        self._note_device("output", speaker.device)
        self._progress = PlaybackProgress(lambda: speaker.position, self._post)
        return None

    def _lose_speaker(self, lost: SpeakerLost) -> None:
        self._close_speaker()
        if self._progress is not None:
            self._progress.stop()
        self._skipped = self._item
        self._check_system()
        self._post(lost)

    def _check_system(self) -> None:
        self._may_hang = True
        self._changed.set()

    async def _follow(self) -> Problem | None:
        """Open or close the microphone. Return the problem if it cannot be opened."""
        await self._watch()
        if self._has_changed_devices:
            self._has_changed_devices = False
            await self._follow_devices()
        if not self._is_used:
            self._close_microphone()
        elif self._microphone is None:
            return await self._open_microphone()
        elif self._is_heard:
            self._post(MicrophoneOpened(self._microphone.device.name))
        return None

    async def _watch(self) -> None:
        """Let the sound server, if there is one, report changes of its devices."""
        from rtchat.audio.pulse import watch

        loop = asyncio.get_running_loop()
        if not self._is_watched:
            self._is_watched = await self._ask(
                lambda: watch(lambda: post_to(loop, self._devices_changed))
            )

    async def _open_microphone(self) -> Problem | None:
        from rtchat.audio.device_list import find
        from rtchat.audio.devices import Microphone

        loop = asyncio.get_running_loop()
        self._is_heard = False

        def deliver(audio: bytes) -> None:
            if not self._is_heard and self._microphone is not None:
                self._is_heard = True
                self._post(MicrophoneOpened(self._microphone.device.name))
            self._post(AudioCaptured(audio))

        def open_microphone() -> Microphone:
            device = find(self._settings.input_device, "input")
            return Microphone(
                device,
                deliver,
                on_lost=self._lose_microphone,
                loop=loop,
                canceller=self._canceller,
            )

        if self._was_lost:
            await self._reload()
        try:
            microphone = await self._ask(open_microphone)
        except UsageError as error:
            return error.problem if self._is_used else None
        if microphone.is_lost or not self._is_used:  # its loss was reported
            self._worker.do(microphone.close)
            return None
        self._note_device("input", microphone.device)
        self._microphone, self._was_lost = microphone, False
        return None

    async def _reload(self) -> None:
        """Find devices that were connected meanwhile. Use a lost speaker again, too."""
        from rtchat.audio.portaudio import reload

        if not self.is_playing:
            self._close_speaker()
            await self._ask(reload)
        await self._open_speaker()

    def _lose_microphone(self, problem: Problem) -> None:
        self._close_microphone()
        self._is_used, self._was_lost = False, True
        self._check_system()
        self._post(MicrophoneLost(problem))

    async def _follow_devices(self) -> None:
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

        inputs, outputs = await self._ask(follow_both)
        if speaker is not None and speaker is self._speaker:
            if outputs is None:
                self._lose_speaker(SpeakerLost(lost_speaker(speaker.device), speaker.stop()))
            else:
                speaker.device = outputs
                self._note_device("output", outputs)
        await self._open_speaker()
        if microphone is not None and microphone is self._microphone:
            if inputs is None:
                self._lose_microphone(lost_microphone(microphone.device))
            else:
                microphone.device = inputs
                self._note_device("input", inputs)
        elif self._was_lost and await self._ask(lambda: is_there(names[0], "input")):
            self._was_lost = False
            self._post(MicrophoneFound())

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
        is_busy = self._worker.is_busy  # perhaps with a call that does not return
        self._close_microphone()
        self._close_speaker()
        if self._progress is not None:
            self._progress.stop()
        with suppress(TimeoutError):
            timeout = BUSY_TIMEOUT if is_busy else CLOSE_TIMEOUT
            await asyncio.wait_for(self._worker.call(lambda: None), timeout)
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
