"""Lines of a conversation on a terminal, other than those of replies."""

from __future__ import annotations

from rich.text import Text

from rtchat.core.effects import ReplyHeard
from rtchat.core.question import NO_WORDS
from rtchat.core.text import PROMPT, visible
from rtchat.markdown import theme
from rtchat.ui import messages
from rtchat.ui.last_row import last_row

_MIN_HEARD = 12
"""Columns for the words that were heard, also on a narrow terminal."""


def question(text: str) -> Text:
    """A question as at the prompt."""
    return Text.assemble((PROMPT, theme.PROMPT), visible(text).replace("\n", "\n  "))


def spoken_question(text: str, *, is_answered: bool) -> Text:
    """A spoken question; if it is answered already, the reply is above."""
    line = question(text.strip() or f"({NO_WORDS})")
    return line.append(" (spoken, answered above)" if is_answered else " (spoken)", theme.DIM)


def reply_heard(update: ReplyHeard, columns: int) -> Text:
    """The last words of a reply that were heard, and the first that were not, on one row."""
    if update.heard.strip():
        between = f" · {messages.NOT_HEARD}"
        room = (columns - len(messages.HEARD) - len(between)) // 2
        heard = last_row(update.heard, max(room, _MIN_HEARD))
        line = Text.assemble((messages.HEARD, theme.DIM), heard, (between, theme.DIM))
    else:
        line = Text(messages.NOT_HEARD, theme.DIM)
    line.append(visible(" ".join(update.unheard.split())), theme.DIM)
    line.truncate(columns, overflow="ellipsis")
    return line


def server_event(json: str, columns: int) -> Text:
    """The beginning of an event of the server, on one row."""
    line = Text(visible(json), theme.DIM)
    line.truncate(columns, overflow="ellipsis")
    return line
