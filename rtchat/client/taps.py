"""Passes everything that a session sends, receives and handles to its taps, and the events of the
server to the view, if it shows them.
"""

from __future__ import annotations

from collections.abc import Callable

from rtchat.client.frames import FrameReader, Received
from rtchat.core.effects import Effect, EventReceived, ReplyOver, Show, Update
from rtchat.core.errors import ExitCode
from rtchat.core.events import ConnectionLost, LocalEvent
from rtchat.core.ports import Tap
from rtchat.core.text import shortened, write_json
from rtchat.core.values import JsonObject

MAX_SHOWN = 2_000
"""Characters of an event that are shown."""


class Taps:
    """The taps of a session. `call` calls one and handles its exceptions; `show` shows an
    update."""

    def __init__(
        self,
        taps: tuple[Tap, ...],
        frames: FrameReader,
        call: Callable[..., None],
        show: Callable[[Update], None],
    ) -> None:
        self._taps = taps
        self._frames = frames
        self._call = call
        self._show = show
        self.shows_events = False
        """Whether the events of the server are shown."""

    def pass_on(self, direction: str, data: JsonObject | str | LocalEvent, now: float) -> None:
        """Pass something to the taps."""
        for tap in self._taps:
            self._call(tap, direction, data, now)
        if self.shows_events and direction == "received":
            text = _shown(data) if isinstance(data, dict) else str(data)
            self._show(EventReceived(shortened(text, MAX_SHOWN)))

    def handled(self, happened: LocalEvent | Received, effects: list[Effect], now: float) -> None:
        """Pass on what the conversation handled."""
        if not (self._taps or self.shows_events):
            return
        is_frame = isinstance(happened, tuple)
        if isinstance(happened, ConnectionLost) or any(map(_ends_reply, effects)):
            self._end_texts(now, replies_only=is_frame)
        if isinstance(happened, tuple):
            self.pass_on("received", happened[0], now)
        else:
            self.pass_on("local", happened, now)

    def end(self, code: ExitCode | None, unsent: int, now: float) -> None:
        """Pass on the end of the session, with the exit code of the conversation, if it has one."""
        self._end_texts(now)
        if code is not None:
            self.pass_on("end", {"exit": code, "unsent": unsent}, now)

    def _end_texts(self, now: float, *, replies_only: bool = False) -> None:
        """Pass on text that was held back as a possible start of a key, because no more text
        follows."""
        for data in self._frames.end(replies_only=replies_only):
            self.pass_on("received", data, now)


def _ends_reply(effect: Effect) -> bool:
    return isinstance(effect, Show) and isinstance(effect.update, ReplyOver)


def _shown(data: JsonObject) -> str:
    """An event as JSON, with its ids and indexes last: in a narrow window, a line is cut."""
    fields = sorted(data.items(), key=lambda field: field[0].endswith(("_id", "_index")))
    return write_json(dict(fields))
