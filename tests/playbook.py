"""Tests a conversation step by step: `play >> event << effect >> event << [effect, effect]`.

`>> event` passes an event to the conversation; `<< effects` asserts its effects exactly, in order.
The next event or `.end()` fails if effects remain that were not asserted. `.at(seconds)` sets the
clock. Effects that record entries are ignored unless `stores_audio` is set.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from rtchat.core.conversation import Conversation
from rtchat.core.effects import (
    ClearTimer,
    CreateResponse,
    Effect,
    QuestionDropped,
    Queued,
    Record,
    Send,
    SetTimer,
    Show,
    SpeechHeard,
    StartRecord,
    UseMicrophone,
)
from rtchat.core.events import Event, ReplyStarted, Timer

MINOR = (Timer.OVERDUE, Timer.SETUP, Timer.OWNER, Timer.MICROPHONE)
"""Timers that playbooks of whole conversations leave to those of the units."""
QUIET: tuple[Effect, ...] = tuple(
    ClearTimer(timer) for timer in Timer if timer not in (Timer.SAVE, *MINOR)
)
"""The effects that stop all timers."""


class Playbook:
    """Passes events to a conversation and asserts its effects."""

    opened: ClassVar[list[Playbook]] = []

    def __init__(self, conversation: Conversation, *, stores_audio: bool = False) -> None:
        self.conversation = conversation
        self._records = stores_audio
        self.echoes = True
        """Whether the server echoes the mark of a request in `ReplyStarted`."""
        self._request = ""
        self._now = 0.0
        self._done: list[Effect] = []
        self._last: Event | None = None
        self.opened.append(self)

    @classmethod
    def check_all(cls) -> None:
        """Fail if any playbook has effects that were not asserted."""
        while cls.opened:
            cls.opened.pop().end()

    def at(self, seconds: float) -> Playbook:
        """Set the clock."""
        self._now = seconds
        return self

    def handle(self, event: Event) -> list[Effect]:
        """Pass an event to the conversation and return its effects."""
        if isinstance(event, ReplyStarted) and not event.mark and self.echoes:
            event = replace(event, mark=self._request)
        self._last = event
        done = self.conversation.handle(event, self._now)
        self.note(done)
        return done

    def __rshift__(self, event: Event) -> Playbook:
        self.end()
        done = self.handle(event)
        done = [effect for effect in done if not _is_minor(effect)]
        self._done = [effect for effect in done if self._records or not _is_recording(effect)]
        return self

    def note(self, effects: Iterable[Effect]) -> None:
        """Note the last request among these effects."""
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.command, CreateResponse):
                self._request = effect.event_id

    def __lshift__(self, effects: Effect | Iterable[Effect]) -> Playbook:
        expected = list(effects) if isinstance(effects, Iterable) else [effects]
        done, self._done = self._done[: len(expected)], self._done[len(expected) :]
        assert done == expected, f"effects of {self._last}"
        return self

    def end(self) -> None:
        """Fail if there are effects that were not asserted."""
        done, self._done = self._done, []
        assert done == [], f"unexpected effects of {self._last}"

    def skip(self, *events: Event) -> Playbook:
        """Ignore the effects so far and those of these events."""
        self._done = []
        for event in events:
            self >> event
            self._done = []
        return self


def _is_minor(effect: Effect) -> bool:
    match effect:
        case Show(Queued() | QuestionDropped()):  # `test_queue` asserts them
            return True
        case Show(SpeechHeard()):  # `test_captions` asserts them
            return True
        case UseMicrophone():  # `test_microphone` asserts them
            return True
        case SetTimer(timer) | ClearTimer(timer):
            return timer in MINOR
        case _:
            return False


def _is_recording(effect: Effect) -> bool:
    match effect:
        case StartRecord() | Record() | SetTimer(Timer.SAVE) | ClearTimer(Timer.SAVE):
            return True
        case _:
            return False
