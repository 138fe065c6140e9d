"""A tour through `talk` in a real terminal: every command, each of its aliases, and every key.

The tables of the program say what must be visited. `COMMANDS` and `KEYSTROKES` say what is typed
there, and what is then on the screen.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rtchat.ui.slash_commands import TABLE, find
from rtchat.ui.slash_help import KEYS
from tests.program import Program
from tests.script_server import scripted_server
from tests.soundserver import sound_server
from tests.terminal import PROMPT, Terminal

SCRIPT: dict[str, object] = {
    "model": "scripted",
    "rule": [
        {"match": "stream", "text": "word " * 4000, "chunk": 5, "delay": 0.02},
        {"match": "reply with the summary only", "text": "Code."},
        {"match": "code", "text": "Some **bold** text.\n\n```python\nprint('one')\n```\n"},
        {"text": "It is noon.", "usage": {"input": 57, "cached": 16, "output": 48}},
    ],
}
REPLY = ("It is noon.", "first token")
CODE_REPLY = ("Some bold text.", "print('one')", "first token")


@dataclass(frozen=True)
class Stop:
    """An entry, and the texts that are shown below it, in order.

    With `may_page`, they are in a pager if they are long. `draft` is in the next entry.
    """

    entry: str
    shows: tuple[str, ...]
    may_page: bool = False
    draft: str = ""

    @property
    def visits(self) -> str:
        """The command or the alias, without its argument."""
        return self.entry.split()[0]

    @property
    def is_possible(self) -> bool:
        """Whether the program has this command, and an argument for it."""
        row = find(self.visits[1:])
        is_command = self.visits.startswith("/") and self.visits != "/nwe"
        return not is_command or (
            row is not None and (bool(row.argument) or self.entry == self.visits)
        )


COMMANDS = (
    Stop("/help", ("Conversation", "/new"), may_page=True),
    Stop("/help copy", ("/copy [N]", "block")),
    Stop("/status", ("gpt-realtime-2.1", "sess_", "0 turns")),
    Stop("code?", CODE_REPLY),
    Stop("/copy", ("reply",)),
    Stop("/copy 1", ("block 1",)),
    Stop("/save reply.md", ("reply.md",)),
    Stop("/save 1 one.py", ("one.py",)),
    Stop("/export all.html", ("all.html",)),
    Stop("/name Tea", ("'Tea'",)),
    Stop("/usage", ("replies", "input", "output", "cost")),
    Stop("/retry", (f"{PROMPT} code?", *CODE_REPLY)),
    Stop("/retry -m other", ("other", f"{PROMPT} code?", *CODE_REPLY)),
    Stop("/system Be brief.", ("set",)),
    Stop("/set max_output_tokens 99", ("max_output_tokens",)),
    Stop("/set", ("max_output_tokens", "99")),
    Stop("/reasoning low", ("reasoning.effort",)),
    Stop("/tools", ("tools",)),
    Stop("/t", ("tea",)),
    Stop("/t tea green", (f"{PROMPT} Make tea: green", *REPLY)),
    Stop("/attach notes.txt", ("notes.txt",)),
    Stop("/attach", ("1  notes.txt",)),
    Stop("/detach 1", ("notes.txt",)),
    Stop("What is it?", REPLY),
    Stop("/undo", ("undone",), draft="What is it?"),
    Stop("/mute", ("microphone", "hint: ")),
    Stop("/voice", ("microphone",)),
    Stop("/theme light", ("light",)),
    Stop("/trace trace.jsonl", ("trace.jsonl",)),
    Stop("/trace off", ("trace.jsonl",)),
    Stop("/events on", ("/events off",)),
    Stop('/raw {"type": "response.cancel"}', ('{"type":"error"', "response.cancel")),
    Stop("/events off", ("/events on",)),
    Stop("/history", (f"{PROMPT} code?", CODE_REPLY[0]), may_page=True),
    Stop("/compact", ("Code.", "first token", "summary", "replayed")),
    Stop("/model other", ("other", "replayed")),
    Stop("/edit", ("Enter",), draft="Make tea: green"),
    Stop("/fork", ("turn",)),
    Stop("/new", ("new conversation",)),
    Stop("And now?", REPLY),
    Stop("/clear", ("new conversation",)),
    Stop("/resume tea", (*REPLY, "replayed")),
    Stop("/nwe", ("unknown", "hint: ")),
)
LEAVING = ("/exit", *(find("exit").aliases), "\x04")  # type: ignore[union-attr]  # it is in the table
UP, ESC, ALT_ENTER, SHIFT_ENTER = "\x1b[A", "\x1b", "\x1b\r", "\x1b[13;2u"


@dataclass(frozen=True)
class Press:
    """What is typed, and then either the row with the cursor, or texts that are shown in order."""

    keys: str
    row: str = ""
    shows: tuple[str, ...] = ()


KEYSTROKES: dict[str, tuple[Press, ...]] = {
    "Enter": (
        Press("What is it?", f"{PROMPT} What is it?"),
        Press("\r", shows=(f"{PROMPT} What is it?", *REPLY, PROMPT)),
    ),
    "Alt-Enter": (
        Press(f"one{ALT_ENTER}two", "  two"),
        Press("\r", shows=(f"{PROMPT} one", "  two", *REPLY, PROMPT)),
    ),
    "Ctrl-J": (
        Press("three\nfour", "  four"),
        Press(SHIFT_ENTER + "five", "  five"),
        Press("\r", shows=(f"{PROMPT} three", "  four", "  five", *REPLY, PROMPT)),
    ),
    "Up": (
        Press(UP, "  five"),
        Press("\x03", PROMPT),
    ),
    "Ctrl-R": (
        Press("\x12What"),
        Press("\r", f"{PROMPT} What is it?"),
        Press("\x05\x15", PROMPT),
    ),
    "Esc at a menu": (
        Press("/model \t", shows=(f"{PROMPT} /model", "scripted")),
        Press("\x1b[B", f"{PROMPT} /model gpt-realtime-2.1"),
        Press(ESC, f"{PROMPT} /model"),
        Press("\x15", PROMPT),
    ),
    "Tab": (
        Press("/sta\t", f"{PROMPT} /status"),
        Press("\x15/theme li\t", f"{PROMPT} /theme light"),
        Press("\x15Is @not\t", f"{PROMPT} Is @notes.txt"),
        Press("\x15/ex\t", shows=(f"{PROMPT} /ex", "/export", "/exit")),
        Press("\x03", PROMPT),
    ),
    "Ctrl-C": (
        Press("stream 1\r", shows=(f"{PROMPT} stream 1", "│ word", "╰")),
        Press("draft", f"{PROMPT} draft"),
        Press("\x03", shows=(f"{PROMPT} stream 1", "interrupted", f"{PROMPT} draft")),
        Press("\x03", PROMPT),
        Press(UP, f"{PROMPT} draft"),
        Press("\x15", PROMPT),
        Press("\x03", shows=("Ctrl-D",)),
    ),
    "Esc": (
        Press("stream 2\r", shows=(f"{PROMPT} stream 2", "│ word", "╰")),
        Press("queued one\r", shows=("╰", "queued: queued one")),
        Press(UP, f"{PROMPT} queued one"),
        Press(ESC, shows=(f"{PROMPT} stream 2", "interrupted", f"{PROMPT} queued one")),
        Press("\x15", PROMPT),
    ),
    "Ctrl-X Ctrl-E": (
        Press("edit me", f"{PROMPT} edit me"),
        Press("\x18\x05", f"{PROMPT} EDIT ME"),
        Press("\x15", PROMPT),
    ),
    "Ctrl-L": (Press("text\x0c", f"{PROMPT} text"), Press("\x15", PROMPT)),
    "Right": (Press("edi\x1b[C", f"{PROMPT} edi"), Press("\x15", PROMPT)),
    "a paste": (
        Press("\x1b[200~/exit\r\tplease\x1b[201~", "      please"),
        Press("\r", shows=(f"{PROMPT} /exit", "  please", *REPLY, PROMPT)),
    ),
    "a large paste": (
        Press("\x1b[200~" + "line\r" * 200 + "\x1b[201~", f"{PROMPT} [pasted 200 lines]"),
        Press("\x15", PROMPT),
    ),
}
ELSEWHERE = ("Ctrl-D", "Ctrl-Z")
"""Keys that `test_the_ways_to_leave` and `test_typing` visit."""
SPOKEN = "Ctrl-T"
"""The key of a voice conversation."""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    (tmp_path / "notes.txt").write_text("Milk.\n")
    templates = tmp_path / ".config" / "rtchat" / "prompts"
    templates.mkdir(parents=True)
    (templates / "tea.toml").write_text('text = "Make tea: {input}"\n')
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "file.write_text(file.read_text().upper())\n"
    )
    program.environ["EDITOR"] = shlex.join([sys.executable, str(editor)])
    with scripted_server(SCRIPT) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


def start(program: Program, rows: int, columns: int, *arguments: str) -> Terminal:
    """The program in a window of this size."""
    terminal = Terminal(program, list(arguments), {})
    terminal.resizes(rows, columns)
    terminal.shows("connected in", PROMPT)
    return terminal


def check(terminal: Terminal, *, is_after_page: bool = False) -> None:
    """Nothing on the screen is a fault of the program, and the entry is there once, at its end. A
    page of a pager may end in an empty row."""
    lines = terminal.lines()
    assert not any("Traceback" in line or "fault" in line for line in lines), lines
    screen = terminal.screen
    shown = [screen.row(y) for y in range(screen.cursor.y, screen.lines)]
    assert sum(row.startswith(PROMPT) for row in shown) == 1
    assert is_after_page or screen.cursor.y == 0 or screen.row(screen.cursor.y - 1), (
        "an empty row is above the entry"
    )
    assert len([row for row in shown if row]) <= 2  # the entry and the status line


def watch(terminal: Terminal, *texts: str) -> None:
    """Wait for these texts. Until then the cursor is always in the entry, which is at the bottom,
    and no frame is as wide as the window."""
    screen = terminal.screen
    for entry in terminal.updates(*texts):
        assert entry.startswith((PROMPT, "  ")), terminal.lines()
        shown = [screen.row(y) for y in range(screen.lines)]
        framed = [row.rstrip() for row in shown if row[:1] in {*"╭│╰"}]
        assert all(len(row) < screen.columns for row in framed), shown


def visit(terminal: Terminal, stop: Stop) -> None:
    """Send the entry, and wait until the program is idle again."""
    terminal.types(f"{stop.entry}\r")
    shown = (f"{PROMPT} {stop.entry}", *stop.shows)
    terminal.shows(*shown)
    is_paged = stop.may_page and terminal.shows_at_cursor(":", PROMPT) == ":"
    if is_paged:
        terminal.types("q")
    terminal.shows(*shown, PROMPT)
    if stop.draft:
        terminal.shows_at_cursor(f"{PROMPT} {stop.draft}")
        terminal.types("\x03")
        terminal.shows_at_cursor(PROMPT)
    check(terminal, is_after_page=is_paged)


# ---------------------------------------------------------------------------------------- coverage


def test_every_command_and_alias_is_visited() -> None:
    visited = {stop.visits for stop in COMMANDS} | {*LEAVING}
    for row in TABLE:
        assert {f"/{row.name}", *row.aliases} <= visited, f"the tour has no stop for /{row.name}"


def test_every_key_is_visited() -> None:
    visited = {SPOKEN, *ELSEWHERE, *KEYSTROKES}
    for keys, _ in KEYS:
        assert {*keys.split(", ")} <= visited, f"the tour has no stop for {keys}"


# ---------------------------------------------------------------------------------------- the tour


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (15, 40)])
def test_the_commands(program: Program, rows: int, columns: int) -> None:
    terminal = start(program, rows, columns)
    for stop in COMMANDS:
        if stop.is_possible:
            visit(terminal, stop)
    terminal.types("\x04")
    assert terminal.ends() == 0


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (15, 40)])
def test_the_keys(program: Program, rows: int, columns: int) -> None:
    terminal = start(program, rows, columns)
    for presses in KEYSTROKES.values():
        for press in presses:
            terminal.types(press.keys)
            if press.row:
                terminal.shows_at_cursor(press.row)
            if press.shows:
                watch(terminal, *press.shows)
        terminal.shows(PROMPT)
        check(terminal)
    terminal.types("\x04")
    assert terminal.ends() == 0


@pytest.mark.parametrize("entry", LEAVING)
def test_the_ways_to_leave(program: Program, entry: str) -> None:
    terminal = start(program, 24, 80, "--no-history")
    terminal.types(entry if entry == "\x04" else f"{entry}\r")
    assert terminal.ends() == 0
    assert not any("Traceback" in line for line in terminal.lines())


@pytest.mark.full
def test_the_key_of_a_voice_conversation(program: Program) -> None:
    with sound_server() as sound:
        terminal = Terminal(program, ["--voice", "--vad", "off"], sound.environ)
        terminal.shows("connected in", PROMPT)
        terminal.types("\x14")
        terminal.shows("●")
        terminal.types("\x03\x04")
        assert terminal.ends() == 0
