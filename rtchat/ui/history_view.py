"""Saved conversations on a terminal: one in full, its last turns, or a table with a line for
each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import StringIO
from itertools import groupby
from typing import TextIO, TypeAlias

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from rtchat.core.effects import ReplyOver, Timing
from rtchat.core.text import TAB, on_a_line, visible
from rtchat.core.thinking import split
from rtchat.core.values import Entry, SessionInfo, Status, StoredConversation
from rtchat.history.dates import ago
from rtchat.history.store import SearchHit
from rtchat.history.transcript import NOT_HEARD, TranscriptEntry, opening, transcript_entries
from rtchat.markdown import theme
from rtchat.markdown.render import MarkdownStream
from rtchat.markdown.theme import StyleSheet
from rtchat.ui import messages
from rtchat.ui.console import make_console, print_text

Draw: TypeAlias = Callable[[Console], None]
"""Prints something on a console."""
_Row: TypeAlias = tuple[tuple[str, ...], Text]
"""The columns of a row that have the width of their longest cell, and the last one."""


def console(out: TextIO, environ: Mapping[str, str], styles: StyleSheet | None = None) -> Console:
    """A console for a terminal, with colours unless NO_COLOR is set."""
    colors = not environ.get("NO_COLOR")
    return make_console(out, environ, is_terminal=True, colors=colors, styles=styles)


def drawn(
    draw: Draw, out: TextIO, environ: Mapping[str, str], styles: StyleSheet | None = None
) -> str:
    """What `draw` prints on a terminal, as text for a pager."""
    text = StringIO()
    drawing = console(text, environ, styles)
    drawing.size = console(out, environ).size
    draw(drawing)
    return text.getvalue()


def show(conversation: StoredConversation, console: Console) -> None:
    """Print a conversation as `talk` printed it."""
    for line in _lines(transcript_entries(conversation), console):
        print_text(console, line)


def show_end(conversation: StoredConversation, console: Console) -> None:
    """Print the last turns of a conversation that is resumed, as many as fit on the screen together
    with the lines that follow. The line before them says how many turns are not shown."""
    width = max(console.width, 1)
    turns = groupby(transcript_entries(conversation), lambda each: each.entry.turn)
    above = [list(entries) for _, entries in turns]
    rows = max(console.height - _ROWS_AROUND, _MIN_ROWS)
    shown: list[Text] = []
    while above:
        # /copy N copies a code block of the last turn.
        turn = [Text(), *_lines(above[-1], console, has_numbers=not shown), *shown]
        if _rows(turn, width) > rows:
            break
        shown = turn
        del above[-1]
    if not shown and above:
        shown = _end(above.pop(), console, rows)
    number = sum(turn[0].entry.turn > 0 for turn in above)
    heading = Text(on_a_line(messages.resumed(conversation, number)), theme.DIM)
    heading.truncate(width, overflow="ellipsis")
    for line in (heading, *shown):
        print_text(console, line)


_ROWS_AROUND = 5
"""The line above, the greeting, the prompt, the status line, and an empty row."""
_MIN_ROWS = 4


def _end(turn: Sequence[TranscriptEntry], console: Console, rows: int) -> list[Text]:
    """The beginning of the question and the end of the reply of a turn that does not fit into
    `rows`."""
    width = max(console.width, 1)
    lines = _lines(turn, console, has_numbers=True)
    first, *rest = (row for line in lines for row in _folded(line, width))
    end = rest[-max(rows - 3, 1) :]
    return [Text(), first, Text("…", theme.DIM), *end]


def _folded(line: Text, width: int) -> Iterator[Text]:
    """The rows that a line takes on a terminal."""
    for part in line.split("\n", allow_blank=True):
        part.expand_tabs(TAB)
        while cell_len(part.plain) > width:
            end = len(set_cell_size(part.plain, width).rstrip(" ")) or 1
            first, part = part.divide([end])
            yield first
        yield part


def _rows(lines: Sequence[Text], width: int) -> int:
    return sum(1 for line in lines for _ in _folded(line, max(width, 1)))


def _lines(
    entries: Iterable[TranscriptEntry], console: Console, *, has_numbers: bool = False
) -> Iterator[Text]:
    """The lines of one turn or several. With `has_numbers`, code blocks have numbers."""
    code_blocks = 0 if has_numbers else None
    for number, entry in enumerate(entries):
        if number:
            yield Text()
        if entry.kind == "reply":
            reply = split(entry.text)
            stream = MarkdownStream(console, code_blocks)
            stream.add(visible(reply.answer), console.width)
            answer = stream.finish(console.width)
            code_blocks = stream.code_blocks
            if reply.thought:
                yield Text(messages.thought(reply.thought), theme.DIM)
            if reply.thought and answer:
                yield Text()
            yield from answer
            if entry.unheard:
                yield Text()
                yield Text(visible(f"[{NOT_HEARD}] {entry.unheard}"), theme.DIM)
        else:
            style = "" if entry.kind == "question" else theme.DIM
            line = Text(visible(opening(entry)), style)
            yield line.append(f" {entry.mark}", theme.DIM) if entry.mark else line
        yield from _extra_lines(entry)


def show_turns(
    headings: Sequence[str],
    turns: Iterable[tuple[str, StoredConversation]],
    lines: Sequence[str],
    console: Console,
) -> None:
    """Print turns, each with a heading unless it is empty, between lines about the conversation."""
    for heading, turn in turns:
        _about([*headings, *filter(None, [heading])], console)
        show(turn, console)
        headings = [""]
    _about(["", *lines] if lines else [], console)


def _about(texts: Sequence[str], console: Console) -> None:
    """Print lines about a conversation, each truncated to the width of the terminal."""
    for text in texts:
        line = Text(visible(text), theme.DIM)
        line.truncate(console.width, overflow="ellipsis")
        print_text(console, line)


def _extra_lines(entry: TranscriptEntry) -> list[Text]:
    lines = [Text("[image]", theme.DIM) for _ in entry.images]
    stats = _stats(entry.entry) if entry.kind == "reply" else ""
    if entry.kind == "reply" and (entry.note or stats):
        lines.append(Text())
    if entry.note:
        lines.append(Text(visible(entry.note), theme.NOTICES["warning"]))
    if stats:
        lines.append(Text(visible(stats), theme.DIM))
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


def listing(conversations: Sequence[StoredConversation], now: float, console: Console) -> None:
    """Print a line for each conversation. `now` is in Unix seconds."""
    _table([_listed(each, now) for each in conversations], console)


def _listed(conversation: StoredConversation, now: float) -> _Row:
    name, title = on_a_line(conversation.name), on_a_line(conversation.title)
    return (
        str(conversation.id),
        ago(conversation.updated, now),
        messages.turns(conversation.turns),
        on_a_line(conversation.model),
    ), Text.assemble((name, theme.ACCENT), "  " if name else "", title)


def hits(found: Sequence[SearchHit], now: float, console: Console) -> None:
    """Print a line for each match of a search. `now` is in Unix seconds."""
    _table([_hit(each, now) for each in found], console)


def _hit(hit: SearchHit, now: float) -> _Row:
    conversation = hit.conversation
    before = (str(conversation.id), ago(conversation.updated, now), f"turn {hit.turn}")
    return before, _highlighted(hit.snippet, hit.marks)


def _table(rows: Sequence[_Row], console: Console) -> None:
    """Print rows in columns. The last column is truncated to the width of the terminal."""
    widths = [max(map(cell_len, column)) for column in zip(*(row[0] for row in rows), strict=True)]
    for cells, last in rows:
        sized = (set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True))
        line = Text.assemble(("".join(f"{cell}  " for cell in sized), theme.DIM), last)
        line.truncate(console.width, overflow="ellipsis")
        print_text(console, line)


def _highlighted(text: str, marks: Sequence[tuple[int, int]]) -> Text:
    """A line of text in which these parts are highlighted."""
    shown, at = Text(), 0
    for start, end in marks:
        shown.append(visible(text[at:start])).append(visible(text[start:end]), theme.MATCH)
        at = end
    return shown.append(visible(text[at:]))
