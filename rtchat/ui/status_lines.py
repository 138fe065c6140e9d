"""Lines of a conversation on a terminal, other than those of replies."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from rtchat.core.effects import ReplyHeard
from rtchat.core.text import PROMPT, visible
from rtchat.markdown import theme
from rtchat.ui import messages
from rtchat.ui.last_row import last_row


def question(text: str) -> Text:
    """A question as at the prompt."""
    return Text.assemble((PROMPT, theme.PROMPT), visible(text).replace("\n", "\n  "))


def spoken_question(text: str, *, is_answered: bool) -> Text:
    """A spoken question; if it is answered already, the reply is above."""
    line = question(text.strip() or f"({messages.NO_WORDS})")
    return line.append(" (spoken, answered above)" if is_answered else " (spoken)", theme.DIM)


def reply_heard(update: ReplyHeard, columns: int) -> Text:
    """The last words of a reply that were heard, and dim the first that were not, on one row."""
    label = messages.HEARD if update.heard.strip() else messages.NOT_HEARD
    room = max(columns - len(label) - 1, 2)
    heard = last_row(update.heard, room // 2)
    unheard = Text(visible(" ".join(update.unheard.split())), theme.DIM)
    unheard.truncate(max(room - cell_len(heard) - 1, 1), overflow="ellipsis")
    return Text.assemble((label, theme.DIM), heard, " " if heard else "", unheard)


def server_event(json: str, columns: int) -> Text:
    """The beginning of an event of the server, on one row."""
    line = Text(visible(json), theme.DIM)
    line.truncate(columns, overflow="ellipsis")
    return line
