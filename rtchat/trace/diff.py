"""What a recording shows as sent, held against what this program would have sent.

Frames are compared as JSON objects in today's dialect, without their event ids.
"""

from __future__ import annotations

from collections.abc import Iterator

from rtchat.core.effects import Command
from rtchat.core.events import ServerProblem
from rtchat.core.values import JsonObject
from rtchat.wire.beta import to_ga
from rtchat.wire.client_events import decode_command

_MOST_DROPPED = 20
"""Fields unknown to us that a frame may have and still be read."""


def read_sent(data: JsonObject) -> Command | None:
    """What a client asked for, in either dialect; None if this program could not ask it."""
    data = to_ga(data)
    session = data.get("session")
    transcribes = isinstance(session, dict) and session.get("type") == "transcription"
    for _ in range(_MOST_DROPPED):
        command = decode_command(data, transcribes=transcribes)
        if not isinstance(command, ServerProblem):
            return command
        if command.code != "unknown_parameter":
            return None
        data = _without(data, command.param.split("."))
    return None


def _without(data: JsonObject, path: list[str]) -> JsonObject:
    out = dict(data)
    dropped = out.pop(path[0], None)
    if len(path) > 1 and isinstance(dropped, dict):
        out[path[0]] = _without(dropped, path[1:])
    return out


class _Frame:
    def __init__(self, line: int, data: JsonObject) -> None:
        self.line = line
        self.event_id = str(data.get("event_id", ""))
        self.data = {key: entry for key, entry in to_ga(data).items() if key != "event_id"}
        self.kind = str(data.get("type"))
        self.is_item = "item" in data


class Ledger:
    """Pairs the two kinds of frames off as they come; `differences` is what did not agree."""

    def __init__(self) -> None:
        self.differences: list[tuple[int, str]] = []
        """Line numbers, and what was sent otherwise there."""
        self.ids: dict[str, str] = {}
        """Of each frame that was sent: its event id, and that of ours."""
        self._shown: list[_Frame] = []
        self._would: list[_Frame] = []

    def would_send(self, line: int, data: JsonObject) -> None:
        """This program would send this, because of that line."""
        self._would.append(_Frame(line, data))

    def expects(self, line: int, data: JsonObject) -> bool:
        """This was sent. Whether this program would have, of itself, so that nobody asked for it.

        Of items it must be the same one; of other frames, any of that kind.
        """
        self._shown.append(_Frame(line, data))
        self.settle()
        return not self.awaits(line)

    def awaits(self, line: int) -> bool:
        """Whether what was sent at this line has no counterpart yet."""
        return any(frame.line == line for frame in self._shown)

    def settle(self) -> None:
        """Pair off what has come on both sides."""
        for shown in tuple(self._shown):
            ours = next((ours for ours in self._would if ours.data == shown.data), None)
            if ours is None and not shown.is_item:
                ours = next((ours for ours in self._would if ours.kind == shown.kind), None)
            if ours is not None:
                self._pair(shown, ours)
                if not shown.is_item:
                    self._close_items(shown.line)

    def forget(self, line: int) -> None:
        """What this program would send because of that line was not for anybody to send."""
        self._would = [frame for frame in self._would if frame.line != line]

    def allow(self, line: int) -> None:
        """Whatever was sent there, it was for the user to say."""
        self._shown = [frame for frame in self._shown if frame.line != line]

    def refuse(self, line: int) -> None:
        """This program sends no such thing, whatever is asked of it."""
        for frame in tuple(self._shown):
            if frame.line == line:
                self._shown.remove(frame)
                self.differences.append((line, f"sent {frame.kind}: rtchat would not"))

    def close(self) -> None:
        """No more of this connection will come."""
        self._close(self._shown, self._would)

    def _close_items(self, line: int) -> None:
        """A reply was asked for: the items that came before it are all there."""
        self._close(
            [frame for frame in self._shown if frame.is_item and frame.line <= line],
            [frame for frame in self._would if frame.is_item],
        )

    def _close(self, shown: list[_Frame], would: list[_Frame]) -> None:
        """What has found no counterpart of its own goes by its order, or has none."""
        pairs = [pair for pair in zip(shown, would, strict=False) if _are_items(pair)]
        for theirs, ours in pairs:
            self._pair(theirs, ours)
        for frame in [frame for frame in shown if frame in self._shown]:
            self._shown.remove(frame)
            self.differences.append((frame.line, f"sent {frame.kind}: rtchat would not"))
        for frame in [frame for frame in would if frame in self._would]:
            self._would.remove(frame)
            self.differences.append((frame.line, f"not sent {frame.kind}: rtchat would"))

    def _pair(self, theirs: _Frame, ours: _Frame) -> None:
        self._shown.remove(theirs)
        self._would.remove(ours)
        if theirs.event_id:
            self.ids[theirs.event_id] = ours.event_id
        if fields := ", ".join(_differing(theirs.data, ours.data)):
            text = f"sent {theirs.kind}: rtchat's has another {fields}"
            self.differences.append((theirs.line, text))


def _are_items(pair: tuple[_Frame, _Frame]) -> bool:
    return pair[0].is_item and pair[1].is_item


def _differing(theirs: object, ours: object, path: str = "") -> Iterator[str]:
    """The paths of the fields that are not the same; null counts as missing."""
    if isinstance(theirs, dict | None) and isinstance(ours, dict | None):
        theirs, ours = theirs or {}, ours or {}
        for key in sorted({*theirs, *ours}):
            yield from _differing(theirs.get(key), ours.get(key), f"{path}.{key}".lstrip("."))
    elif theirs != ours:
        yield path
