"""Kept conversations on a terminal: one as `talk` left it, or a line for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from rtchat.core.effects import ReplyOver, Timing
from rtchat.core.text import visible
from rtchat.core.values import Entry, Status, StoredConversation
from rtchat.history.transcript import TranscriptEntry, opening, transcript_entries
from rtchat.markdown import theme
from rtchat.markdown.render import MarkdownStream
from rtchat.ui import messages
from rtchat.ui.console import make_console, print_text


def console(out: TextIO, environ: Mapping[str, str]) -> Console:
    """What to draw on: a terminal."""
    colors = not environ.get("NO_COLOR")
    return make_console(out, environ, is_terminal=True, colors=colors)


def show(kept: StoredConversation, console: Console) -> None:
    """A conversation, drawn as it was when it was held."""
    for number, passage in enumerate(transcript_entries(kept)):
        if number:
            print_text(console, Text())
        for line in _opening(passage, console):
            print_text(console, line)
        for line in _closing(passage):
            print_text(console, line)


def _opening(passage: TranscriptEntry, console: Console) -> list[Text]:
    if passage.kind == "reply":
        stream = MarkdownStream(console)
        stream.add(visible(passage.text), console.width)
        return stream.finish(console.width)
    return [Text(visible(opening(passage)), "" if passage.kind == "question" else theme.DIM)]


def _closing(passage: TranscriptEntry) -> list[Text]:
    lines = [Text("[image]", theme.DIM) for _ in passage.images]
    if passage.note:
        lines.append(Text(visible(passage.note), theme.NOTICES["warning"]))
    if passage.kind == "reply" and (stats := _stats(passage.entry)):
        lines += [Text(), Text(visible(stats), theme.DIM)]
    return lines


def _stats(entry: Entry) -> str:
    timing = Timing(None, entry.first_token, entry.seconds)
    over = ReplyOver(Status.COMPLETED, "", entry.model, usage=entry.usage, timing=timing)
    return messages.stats(over)


def table(rows: Sequence[Sequence[str]], console: Console) -> None:
    """Rows in columns, none wider than the terminal: the last column is what gives way."""
    rows = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, last in rows:
        sized = (set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True))
        line = Text("  ".join((*sized, last)))
        line.truncate(console.width, overflow="ellipsis")
        line.stylize(theme.DIM, 0, sum(map(len, sized)))
        print_text(console, line)
