"""Drives a transcription or a translation without a network."""

from __future__ import annotations

from rtchat.core.audio_session import AudioSession
from rtchat.core.effects import (
    ClearTimer,
    Command,
    Effect,
    ReplyOver,
    Send,
    SetTimer,
    Show,
    SourceArrived,
    Stop,
    TextArrived,
)
from rtchat.core.errors import ExitCode
from rtchat.core.events import Event, Started
from rtchat.core.values import BYTES_A_MS


def ms(count: int, sample: int = 1) -> bytes:
    """Audio of so many milliseconds."""
    return sample.to_bytes(2, "little") * (count * BYTES_A_MS // 2)


class AudioDriver:
    """A session, and its effects except those on timers."""

    def __init__(self, machine: AudioSession, *events: Event) -> None:
        self.machine = machine
        self.handle(*events)

    def handle(self, *events: Event) -> list[Effect]:
        """The effects of the last event."""
        done: list[Effect] = []
        for event in events:
            done = self.machine.handle(event, 0.0)
        return [effect for effect in done if not isinstance(effect, ClearTimer | SetTimer)]

    def commands(self, *events: Event) -> list[Command]:
        return [effect.command for effect in self.handle(*events) if isinstance(effect, Send)]

    def text(self, *events: Event) -> str:
        return self._text(TextArrived, *events)

    def source(self, *events: Event) -> str:
        return self._text(SourceArrived, *events)

    def _text(self, kind: type[TextArrived | SourceArrived], *events: Event) -> str:
        shown = [effect.update for effect in self.handle(*events) if isinstance(effect, Show)]
        return "".join(update.text for update in shown if isinstance(update, kind))

    def ending(self, *events: Event) -> tuple[ReplyOver, ExitCode]:
        """How the session ends. It handles nothing after that."""
        *_, over, stop = self.handle(*events)
        assert isinstance(over, Show)
        assert isinstance(over.update, ReplyOver)
        assert isinstance(stop, Stop)
        assert self.handle(Started()) == []
        return over.update, stop.exit
