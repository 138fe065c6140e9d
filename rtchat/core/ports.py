"""The protocols between a conversation and its shell, and the types of callbacks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Protocol, TypeAlias

from rtchat.core.effects import Action, Command, Effect, Update, UseFormats
from rtchat.core.events import ConnectionLost, Event, LocalEvent, PlaybackCut, ServerEvent
from rtchat.core.values import JsonObject


class Machine(Protocol):
    """Decides what to do, as `conversation.Conversation` does."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Return the effects of an event; `now` is in seconds of a monotonic clock."""


class Link(Protocol):
    """An open connection, such as `transport.SocketLink`."""

    url: str

    async def send(self, event: JsonObject) -> None:
        """Send a client event."""

    async def receive(self) -> str | bytes | None:
        """The next frame; None once the connection is closed."""

    async def keep_alive(self) -> None:
        """Ping the server, and end the connection if nothing arrives in time."""

    async def close(self) -> None:
        """Close the connection with code 1000."""

    def explain(self) -> ConnectionLost:
        """Why the connection ended."""


class AudioConversion(Protocol):
    """Converts audio between PCM16, mono, 24 kHz, which is used everywhere else, and the formats of
    a server, as `app.audio_conversion.SessionAudio` does."""

    def reset(self) -> None:
        """A new connection begins, with the requested formats."""

    def use(self, formats: UseFormats) -> None:
        """Convert to and from these formats. Raises UsageError if a package for it is missing."""

    def outgoing(self, command: Command) -> Iterable[Command]:
        """What to send for a command."""

    def incoming(self, event: ServerEvent) -> Iterable[ServerEvent]:
        """What to handle for an event of the server."""

    def close(self) -> None:
        """There is no more audio; free the memory."""


class Player(Protocol):
    """Plays the audio of replies, as `devices.Speaker` does. May raise OutputError."""

    def play(self, item_id: str, content_index: int, audio: bytes) -> None:
        """Play audio after any that is already playing: PCM16, mono, 24 kHz."""

    def end(self, item_id: str) -> None:
        """There is no more audio of this item."""

    def stop(self) -> PlaybackCut | None:
        """Stop at once. Return what was cut off, if anything."""


class MicrophoneSwitch(Protocol):
    """Opens and closes the microphone, as `live_audio.LiveAudio` does. What it captures, and what
    happens to it, are events."""

    def use(self, is_used: bool, /) -> None:
        """Open or close the device. Returns at once."""


class Tools(Protocol):
    """The tools that the model may call, such as `toolbox.Toolbox`."""

    async def call(self, name: str, arguments: str) -> str:
        """The output of a tool, or an error message."""


class Actions(Protocol):
    """Performs what commands ask of the shell, such as `app.actions.ShellActions`."""

    async def perform(self, action: Action) -> Update:
        """Perform an action. The result says what was done. Raises RtchatError if it failed."""


class View(Protocol):
    """Shows a conversation to a person, or writes it for another program."""

    def show(self, update: Update) -> None:
        """Show the next update. May raise OSError if the output cannot be written."""

    def tick(self) -> None:
        """Redraw if something changed; called about 12 times a second while a reply is pending. By
        default, nothing is redrawn."""
        return

    def close(self) -> None:
        """There are no more updates; restore the terminal, by default nothing."""
        return


Post: TypeAlias = Callable[[LocalEvent], None]
Source: TypeAlias = Callable[[Post], Coroutine[None, None, None]]
Tap: TypeAlias = Callable[[str, JsonObject | str | LocalEvent, float], None]
"""Called with everything that a session sends, receives or handles, in order, with the session's
time in seconds:

- "local": an event from this side that the conversation handles;
- "received": a JSON object from the server, or the text of a frame that is not one. The
  conversation handles its events at this time;
- "sent": a JSON object that is being sent;
- "end": the exit code, and how many events for the server were not sent.
"""
