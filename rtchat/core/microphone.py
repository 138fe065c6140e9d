"""The device of the microphone: when it is opened and closed."""

from __future__ import annotations

from rtchat.core import effects as fx
from rtchat.core.events import Timer
from rtchat.core.speech_input import SpeechInput

CLOSE_DELAY = 10.0
"""Seconds after which the device of a muted microphone is closed, so that the system no longer
shows that it is in use. Unmuting before that takes no time."""


class MicrophoneDevice:
    """The device is open while the microphone is on, and for `CLOSE_DELAY` seconds after it is
    muted. With push-to-talk, it is open only while the user speaks."""

    def __init__(self, speech: SpeechInput) -> None:
        self._speech = speech
        self._name = ""
        self._is_used = False
        """Whether the shell was asked to open it."""
        self._is_open = False
        """Whether audio arrives from it."""
        self._is_closing = False
        """Whether the timer that closes it is set."""
        self._was_on = False
        """Whether the microphone was on when the device was lost, without push-to-talk."""

    @property
    def status(self) -> fx.MicrophoneStatus:
        """The state of the microphone."""
        speech = self._speech
        return fx.MicrophoneStatus(
            speech.is_on and self._is_open,
            speech.options.push_to_talk,
            speech.is_available,
            is_opening=speech.is_on and not self._is_open,
            name=self._name if self._is_open else "",
        )

    def follow(self) -> list[fx.Effect]:
        """Open or close the device after the microphone was turned on or off."""
        out: list[fx.Effect] = []
        if self._is_closing and (self._speech.is_on or not self._is_used):
            self._is_closing = False
            out.append(fx.ClearTimer(Timer.MICROPHONE))
        if self._speech.is_on and not self._is_used:
            self._is_used, self._was_on = True, False
            out.append(fx.UseMicrophone(True))
        elif self._is_used and self._speech.options.push_to_talk and not self._speech.is_on:
            out += self._close()
        elif self._is_used and not (self._speech.is_on or self._is_closing):
            self._is_closing = True
            out.append(fx.SetTimer(Timer.MICROPHONE, CLOSE_DELAY))
        return out

    def muted_long(self) -> list[fx.Effect]:
        """The microphone has been muted for `CLOSE_DELAY` seconds."""
        self._is_closing = False
        return self._close()

    def _close(self) -> list[fx.Effect]:
        self._is_used = self._is_open = False
        return [fx.UseMicrophone(False)]

    def opened(self, name: str) -> bool:
        """Audio arrives from a device. Return whether the status has changed."""
        if not self._is_used or (self._is_open and name == self._name):
            return False
        self._is_open, self._name = True, name
        return True

    def lost(self) -> list[fx.Effect]:
        """The device is gone, could not be opened, or is of no use."""
        if self._speech.is_on:
            self._was_on = self._speech.listens
        return self._close() if self._is_used else []

    def found(self) -> bool:
        """There is a device again. Return whether the microphone is to be turned on."""
        was_on, self._was_on = self._was_on, False
        return was_on
