"""Limits on the messages of MCP servers: the package `mcp` has none."""

from __future__ import annotations

import json
import re
from functools import cache

from rtchat.wire.fields import MAX_DEPTH, read_json

_MAX_MESSAGE = 16 * 2**20
"""Characters of a message. Longer ones are not read."""
_MAX_OBJECTS = 100_000
"""Objects and arrays in a message: the package uses much memory for each."""
_ENDS = 200
"""Characters at each end of a message that are searched for its id."""
_ID = r'"id"\s*:\s*(\d{1,15}|"[^"\\]{1,100}")'
_ID_AT_THE_START = r'^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?' + _ID
_ID_AT_THE_END = _ID + r"\s*\}\s*$"
_INTERNAL_ERROR = -32603
"""The JSON-RPC code of the errors that replace unreadable messages."""


@cache
def limit_messages() -> None:
    """Make the package drop messages that are too large."""
    from anyio.streams.text import TextReceiveStream
    from mcp.client import stdio

    class Limited(TextReceiveStream):
        """A server's output in complete lines, each of them a message. A response that cannot be
        read is replaced by an error, so that its request does not wait forever."""

        _size = 0
        """The length of the line so far. `_pieces` holds the line unless it is too long."""
        _start = _end = ""
        """The first and the last characters of the line."""

        def __post_init__(self, encoding: str, errors: str) -> None:
            super().__post_init__(encoding, errors)
            self._pieces: list[str] = []

        async def receive(self) -> str:
            lines: list[str] = []
            while not lines:
                *ended, begun = (await super().receive()).split("\n")
                for piece in ended:
                    self._take(piece)
                    lines.append(self._line())
                self._take(begun)
            return "".join(lines)

        def _take(self, piece: str) -> None:
            self._size += len(piece)
            self._start = self._start or piece[:_ENDS]
            self._end = (self._end + piece[-_ENDS:])[-_ENDS:]
            if self._size <= _MAX_MESSAGE:
                self._pieces.append(piece)
            else:
                self._pieces = []

        def _line(self) -> str:
            size, start, end = self._size, self._start, self._end
            line = "".join(self._pieces)
            self._size, self._start, self._end, self._pieces = 0, "", "", []
            if not (problem := _problem(line, size)):
                return f"{line}\n"
            found = re.search(_ID_AT_THE_END, end) or re.search(_ID_AT_THE_START, start)
            if found is None:
                return ""
            error = {"code": _INTERNAL_ERROR, "message": problem}
            answer = {"jsonrpc": "2.0", "id": json.loads(found[1]), "error": error}
            return f"{json.dumps(answer)}\n"

    setattr(stdio, "TextReceiveStream", Limited)  # noqa: B010 # not exported, so mypy rejects `=`


def _problem(line: str, size: int) -> str:
    """Why a message of a server cannot be read; empty if it can."""
    if size > _MAX_MESSAGE:
        return f"a message of {size} characters is too large"
    brackets = line.count("{") + line.count("[")
    if brackets > _MAX_OBJECTS:
        return f"a message has more than {_MAX_OBJECTS} objects and arrays"
    try:
        if brackets > MAX_DEPTH:
            read_json(line)
    except RecursionError:
        return "a message is nested too deeply"
    except ValueError as error:
        return f"a message cannot be read: {error}"
    return ""
