"""The status line below the prompt: model, connection, context, cost, and queued questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.utils import get_cwidth

from rtchat.core import effects as fx
from rtchat.core import notices
from rtchat.core.text import on_a_line
from rtchat.core.values import model_names
from rtchat.ui.cells import cut
from rtchat.ui.entry_style import ACCENT, DIM, WARNING
from rtchat.ui.messages import dollars

_SEPARATOR = " · "
_CONNECTED = "connected"
_CONNECTIONS: Mapping[type[fx.Update], str] = {
    fx.Connecting: "connecting",
    fx.Waiting: "waiting",
    fx.Ready: _CONNECTED,
    fx.TextArrived: _CONNECTED,
    fx.NotConnected: "not connected",
}
"""What the updates say about the connection."""
_NEARLY_FULL = 0.8
"""The part of the context window from which on it is shown as a warning."""


class _Part(NamedTuple):
    """A part of the line. The parts with the lowest ranks are dropped where there is no room."""

    rank: int
    text: str
    style: str = DIM


class StatusLine:
    """The status line of a conversation.

    `width` returns the number of columns of the terminal.
    """

    def __init__(
        self,
        width: Callable[[], int],
        *,
        profile: str = "",
    ) -> None:
        self._width = width
        self._profile = on_a_line(profile)
        self._requested = ""
        self._answering = ""
        """The model that answered, if it is known."""
        self._connection = ""
        self._context: fx.ContextUse | None = None
        """How full the model's context is, if that is known."""
        self._cost: float | None = None
        self._queued = 0

    def show(self, update: fx.Update) -> None:
        """Take note of an update."""
        self._connection = _CONNECTIONS.get(type(update), self._connection)
        match update:
            case fx.Connecting(model=model):
                self._set_model(model)
            case fx.Ready():
                self._context = update.context or self._context
                self._set_model(update.model, update.session.model)
            case fx.QuestionAsked(model=model):
                self._set_model(model, self._answering if model == self._requested else "")
            case fx.ReplyOver():
                self._finish(update)
            case fx.Queued(texts):
                self._queued = len(texts)
            case fx.Totals(cost=cost):
                self._cost = cost
            case fx.Notice() if update == notices.CONVERSATION_STARTED.update:
                self._context = None
            case _:
                pass

    def paint(self) -> StyleAndTextTuples:
        """The current line, which fits the width."""
        parts = self._parts()
        while len(parts) > 1 and _width(parts) > self._width() - 1:
            parts.remove(min(parts))
        line: StyleAndTextTuples = []
        for part in parts:
            line += [(DIM, _SEPARATOR)] if line else ()
            line.append((part.style, cut(part.text, self._width() - 1)))
        return line

    def _set_model(self, requested: str, answering: str = "") -> None:
        self._requested, self._answering = requested, answering

    def _finish(self, over: fx.ReplyOver) -> None:
        self._set_model(over.model, over.session.model)
        self._context = over.context or self._context
        transcript = None if over.transcript is None else over.transcript.cost
        for cost in (over.cost, transcript):
            if cost is not None:
                self._cost = (self._cost or 0.0) + cost

    def _parts(self) -> list[_Part]:
        parts = [_Part(7, on_a_line(model_names(self._requested, self._answering)))]
        if self._profile:
            parts.insert(0, _Part(1, self._profile))
        if self._connection:
            is_connected = self._connection == _CONNECTED
            style = DIM if is_connected else WARNING
            parts.append(_Part(2 if is_connected else 6, self._connection, style))
        if self._context is not None:
            parts.append(_context(self._context))
        if self._cost is not None:
            parts.append(_Part(3, dollars(self._cost)))
        if self._queued:
            parts.append(_Part(5, f"{self._queued} queued", ACCENT))
        return [part for part in parts if part.text]


def _context(use: fx.ContextUse) -> _Part:
    if not use.window:
        return _Part(4, f"{_thousands(use.tokens)} tokens")
    share = use.tokens / use.window
    text = f"{_thousands(use.tokens)}/{_thousands(use.window)} ({share:.0%})"
    return _Part(4, text, WARNING if share >= _NEARLY_FULL else DIM)


def _width(parts: list[_Part]) -> int:
    """The columns of a line with these parts."""
    return sum(get_cwidth(part.text) for part in parts) + len(_SEPARATOR) * (len(parts) - 1)


def _thousands(count: int) -> str:
    """A number of tokens: 950, 12.3k, 128k."""
    if count < 1000:
        return f"{count}"
    return (
        f"{count / 1000:.1f}".removesuffix(".0") + "k" if count < 99_950 else f"{count / 1000:.0f}k"
    )
