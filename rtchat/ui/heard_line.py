"""The line about a reply whose playback was interrupted."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from rtchat.core.effects import ReplyHeard
from rtchat.core.text import visible
from rtchat.markdown import theme
from rtchat.ui import messages
from rtchat.ui.last_row import last_row


def heard_line(update: ReplyHeard, columns: int) -> Text:
    """The last words that were heard, and dim the first that were not, on one row."""
    room = max(columns - len(messages.HEARD) - 1, 2)
    heard = last_row(update.heard, room // 2) or messages.NOTHING
    unheard = Text(visible(" ".join(update.unheard.split())), theme.DIM)
    unheard.truncate(max(room - cell_len(heard) - 1, 1), overflow="ellipsis")
    return Text.assemble((messages.HEARD, theme.DIM), heard, " ", unheard)
