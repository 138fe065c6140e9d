"""Saved conversations on a terminal: one in full, or a table with a line for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from rtchat.core.effects import ReplyOver, Timing
from rtchat.core.text import visible
from rtchat.core.values import Entry, SessionInfo, Status, StoredConversation
from rtchat.history.transcript import TranscriptEntry, opening, transcript_entries
from rtchat.markdown import theme
from rtchat.markdown.render import MarkdownStream
from rtchat.ui import messages
from rtchat.ui.console import make_console, print_text


def console(out: TextIO, environ: Mapping[str, str]) -> Console:
    """A console for a terminal, with colours unless NO_COLOR is set."""
    colors = not environ.get("NO_COLOR")
    return make_console(out, environ, is_terminal=True, colors=colors)


def show(conversation: StoredConversation, console: Console) -> None:
    """Print a conversation as `talk` printed it."""
    for number, entry in enumerate(transcript_entries(conversation)):
        if number:
            print_text(console, Text())
        for line in _main_lines(entry, console):
            print_text(console, line)
        for line in _extra_lines(entry):
            print_text(console, line)


def lines(texts: Sequence[str], console: Console) -> None:
    """Print lines about a conversation, each truncated to the width of the terminal."""
    for text in texts:
        line = Text(visible(text), theme.DIM)
        line.truncate(console.width, overflow="ellipsis")
        print_text(console, line)


def _main_lines(entry: TranscriptEntry, console: Console) -> list[Text]:
    if entry.kind == "reply":
        stream = MarkdownStream(console)
        stream.add(visible(entry.text), console.width)
        return stream.finish(console.width)
    return [Text(visible(opening(entry)), "" if entry.kind == "question" else theme.DIM)]


def _extra_lines(entry: TranscriptEntry) -> list[Text]:
    lines = [Text("[image]", theme.DIM) for _ in entry.images]
    if entry.note:
        lines.append(Text(visible(entry.note), theme.NOTICES["warning"]))
    if entry.kind == "reply" and (stats := _stats(entry.entry)):
        lines += [Text(), Text(visible(stats), theme.DIM)]
    return lines


def _stats(entry: Entry) -> str:
    timing = Timing(None, entry.first_token, entry.seconds)
    over = ReplyOver(
        Status.COMPLETED,
        "",
        entry.model,
        usage=entry.usage,
        timing=timing,
        session=SessionInfo(model=entry.response_model),
    )
    return messages.stats(over)


def table(rows: Sequence[Sequence[str]], console: Console) -> None:
    """Print rows in columns. The last column is truncated to the width of the terminal."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, last in rows:
        sized = (set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True))
        line = Text("  ".join((*sized, last)))
        line.truncate(console.width, overflow="ellipsis")
        line.stylize(theme.DIM, 0, sum(map(len, sized)))
        print_text(console, line)
