"""A whole conversation as one expression: `play >> event << effect, effect >> event …`.

`>> event` hands an event to the machine; `<< effects` says exactly what it must do about it.
`.at(seconds)` moves the clock. What a playbook does not state (the effects after the last `>>`)
fails too, at `.end()`. What is recorded of a conversation is left out, but with `stores_audio`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rtchat.core.conversation import Conversation
from rtchat.core.effects import ClearTimer, Effect, Record, SetTimer, StartRecord
from rtchat.core.events import Event, Timer

QUIET: tuple[Effect, ...] = tuple(ClearTimer(timer) for timer in Timer if timer is not Timer.SAVE)
"""What the machine does first when everything that runs is off."""


class Playbook:
    """Drives a conversation and compares."""

    opened: ClassVar[list[Playbook]] = []

    def __init__(self, conversation: Conversation, *, stores_audio: bool = False) -> None:
        self.conversation = conversation
        self._keeps = stores_audio
        self._now = 0.0
        self._done: list[Effect] = []
        self._last: Event | None = None
        self.opened.append(self)

    @classmethod
    def check_all(cls) -> None:
        """Every playbook said everything that was done."""
        while cls.opened:
            cls.opened.pop().end()

    def at(self, seconds: float) -> Playbook:
        """Move the clock to this time."""
        self._now = seconds
        return self

    def __rshift__(self, event: Event) -> Playbook:
        self.end()
        self._last = event
        done = self.conversation.handle(event, self._now)
        self._done = [effect for effect in done if self._keeps or not _is_of_keeping(effect)]
        return self

    def __lshift__(self, effects: Effect | Iterable[Effect]) -> Playbook:
        expected = list(effects) if isinstance(effects, Iterable) else [effects]
        done, self._done = self._done[: len(expected)], self._done[len(expected) :]
        assert done == expected, f"after {self._last}"
        return self

    def end(self) -> None:
        """Nothing more was done than was said."""
        done, self._done = self._done, []
        assert done == [], f"after {self._last} nobody expected this"

    def skip(self, *events: Event) -> Playbook:
        """Pass over the effects so far and those of these events, which are shown elsewhere."""
        self._done = []
        for event in events:
            self >> event
            self._done = []
        return self


def _is_of_keeping(effect: Effect) -> bool:
    match effect:
        case StartRecord() | Record() | SetTimer(Timer.SAVE) | ClearTimer(Timer.SAVE):
            return True
        case _:
            return False
