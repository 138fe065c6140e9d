"""The protocols between a conversation and its shell, and the types of functions handed over."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Protocol, TypeAlias

from rtchat.core.effects import Effect, Update
from rtchat.core.events import ConnectionLost, Event, LocalEvent, PlaybackCut
from rtchat.core.values import JsonObject


class Machine(Protocol):
    """Decides what to do, as `conversation.Conversation` does."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What to do about an event, at a time in seconds."""


class Link(Protocol):
    """An open connection, as `transport.Connection` is one."""

    async def send(self, event: JsonObject) -> None:
        """Send a client event."""

    async def receive(self) -> str | bytes | None:
        """The next frame; None when the connection is over."""

    async def close(self) -> None:
        """Close it with 1000."""

    def explain(self) -> ConnectionLost:
        """Why it is over."""


class Player(Protocol):
    """Plays the audio of replies, as `devices.Speaker` does. May raise OutputError."""

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Play this after what is being played."""

    def end(self, item_id: str) -> None:
        """There is no more audio of this item."""

    def stop(self) -> PlaybackCut | None:
        """Stop at once. Return what was cut, if anything was."""


class Tools(Protocol):
    """What the model may call, as `toolbox.Toolbox` is one."""

    async def call(self, name: str, arguments: str) -> str:
        """The output of a tool, or what went wrong with it."""


class View(Protocol):
    """What a person, a pipe or a program sees of a conversation."""

    def show(self, update: Update) -> None:
        """Take the next update. May raise OSError when there is nowhere to write to."""

    def tick(self) -> None:
        """Paint, if something changed; called a dozen times a second while a reply is due."""

    def close(self) -> None:
        """There is no more; leave the terminal as it was."""


Post: TypeAlias = Callable[[LocalEvent], None]
Source: TypeAlias = Callable[[Post], Coroutine[None, None, None]]
Tap: TypeAlias = Callable[[str, JsonObject | str | LocalEvent, float], None]
"""Is called with everything that a session does or is told, in order, with the session's time:

- "local", an event of this side that the conversation handles;
- "received", a JSON object from the server, or a frame as text if it is none. The conversation
  handles its events at this time;
- "sent", a JSON object that is being sent;
- "end", the exit code, and how many events for the server were not sent.
"""
