"""What is shown of a conversation that is resumed, the dates of the history, and its pager."""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import pytest

from rtchat.core.effects import Resumed
from rtchat.core.values import Entry, Message, Part, State, StoredConversation
from rtchat.history.dates import ago
from rtchat.history.store import FILE, Store
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from rtchat.ui.history_view import show, show_end
from rtchat.ui.live_view import LiveView
from rtchat.ui.pager import Pager
from rtchat.ui.plain_view import PlainView, StatusWriter
from tests.program import PATIENCE, Program, background
from tests.screen import Screen
from tests.terminal import PROMPT, Terminal

# ------------------------------------------------------------------------------------------- dates


@pytest.mark.parametrize(
    ("then", "shown"),
    [
        ("2025-11-22 12:00:00", "just now"),
        ("2025-11-22 11:59:01", "just now"),
        ("2025-11-22 11:59:00", "1 minute ago"),
        ("2025-11-22 11:00:01", "59 minutes ago"),
        ("2025-11-22 11:00:00", "1 hour ago"),
        ("2025-11-22 00:00:00", "12 hours ago"),
        ("2025-11-21 23:59:59", "yesterday"),
        ("2025-11-21 00:00:00", "yesterday"),
        ("2025-11-20 23:59:59", "2025-11-20"),
        ("2024-11-22 12:00:00", "2024-11-22"),
        ("2025-11-22 12:00:01", "2025-11-22"),
    ],
)
def test_a_time_is_shown_relative_to_now(then: str, shown: str) -> None:
    now = datetime(2025, 11, 22, 12, tzinfo=UTC).timestamp()
    seconds = datetime.fromisoformat(f"{then}+00:00").timestamp()
    assert ago(seconds, now, UTC) == shown


def test_just_before_midnight_is_hours_ago_for_a_while() -> None:
    midnight = datetime(2025, 11, 22, tzinfo=UTC).timestamp()
    assert ago(midnight - 3600, midnight + 3600, UTC) == "2 hours ago"
    assert ago(midnight - 3600, midnight + 6 * 3600, UTC) == "yesterday"


# --------------------------------------------------------------------------------- the last turns


def _kept(*replies: str, instructions: str = "") -> StoredConversation:
    entries = []
    if instructions:
        item = Message("system", (Part("text", instructions),))
        entries.append(Entry(0, 0, item, State.COMPLETED))
    for turn, reply in enumerate(replies, start=1):
        question = Message("user", (Part("text", f"Question {turn}?\nPlease."),))
        answer = Message("assistant", (Part("text", reply),))
        entries.append(Entry(turn, 0, question, State.COMPLETED, "m"))
        entries.append(Entry(turn, 1, answer, State.COMPLETED, "m"))
    return StoredConversation(7, "A talk", 0.0, 0.0, "m", len(replies), tuple(entries), name="mine")


def _end(kept: StoredConversation, width: int, height: int) -> list[str]:
    screen = Screen(width, height)
    show_end(kept, screen.console)
    rows = screen.rows()
    assert len(rows) <= max(height - 4, 5)
    return rows


def _whole(kept: StoredConversation, width: int) -> list[str]:
    screen = Screen(width, 24)
    show(kept, screen.console)
    return screen.rows()


def test_a_short_conversation_is_shown_whole() -> None:
    kept = _kept("One *two*", "- a\n- b", instructions="Be brief.")
    heading, empty, *rest = _end(kept, 60, 24)
    assert heading == "conversation 7 · mine · A talk · 2 turns"
    assert empty == ""
    assert rest == _whole(kept, 60)


@pytest.mark.parametrize("height", [17, 30])
def test_only_the_code_blocks_that_can_be_copied_have_numbers(height: int) -> None:
    kept = _kept("```sh\na\n```", "    b\n\n```sh\nc\n```\n")
    labels = [row for row in _end(kept, 60, height) if row.startswith("──")]
    assert labels == (["── sh"] if height == 30 else []) + ["── /copy 1", "── sh · /copy 2"]


@pytest.mark.parametrize("width", [20, 40, 80])
@pytest.mark.parametrize("height", [10, 15, 24, 40])
def test_the_last_turns_that_fit_are_shown_as_they_looked(width: int, height: int) -> None:
    kept = _kept(*(f"Reply **{turn}** " + "word " * turn for turn in range(1, 30)))
    heading, *rest = _end(kept, width, height)
    shown = sum(row.endswith("Please.") for row in rest)
    assert heading.startswith(f"{29 - shown} turns above (") or shown == 0
    if shown:
        assert rest[1:] == _whole(kept, width)[-len(rest) + 1 :]
        assert height - 5 - len(rest) < 2 + 1 + 2 + (30 * 5 + 8) // width + 2


def test_of_a_long_turn_the_question_and_the_end_are_shown() -> None:
    kept = _kept("old", "\n\n".join(f"Paragraph {number}" for number in range(100)))
    rows = _end(kept, 60, 16)
    assert rows[0].startswith("1 turn above (/history ")
    assert rows[2] == f"{PROMPT} Question 2?"
    assert rows[3] == "…"
    assert rows[-1] == "Paragraph 99"
    rows = _end(_kept("```\n" + "x" * 5000 + "\nend\n```"), 60, 16)
    assert rows[-1] == "end"
    assert rows[-2].strip("x") == ""


def test_hostile_text_is_made_visible() -> None:
    screen = Screen(60, 24)
    kept = _kept("\x1b]0;title\x07 \u202e")
    hostile = StoredConversation(1, "\x1b[2J", 0.0, 0.0, "m", 1, kept.entries, name="\x07")
    LiveView(screen.console, screen.console, banner=True).show(Resumed(hostile))
    text = "\n".join(screen.rows())
    assert "␛]0;title␇ <U+202E>" in text
    assert text.startswith("conversation 1 · ␇ · ␛[2J · 1 turn")


def test_other_views_show_one_line() -> None:
    out, err = io.BytesIO(), io.StringIO()
    PlainView(out, StatusWriter(err), raw=True).show(Resumed(_kept("One")))
    assert out.getvalue() == b""
    assert err.getvalue() == "conversation 7 · mine · A talk · 1 turn\n"
    screen = Screen(60, 24)
    LiveView(screen.console, screen.console).show(Resumed(_kept("One")))
    assert screen.rows() == ["conversation 7 · mine · A talk · 1 turn"]


def test_without_rendering_the_last_turns_are_plain_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LINES", "14")
    monkeypatch.setenv("COLUMNS", "40")
    out, err = io.BytesIO(), io.StringIO()
    kept = _kept("*One* " * 30, "*Two*\x1b[2J", "Three " * 30)
    view = PlainView(out, StatusWriter(err, banner=True), raw=False)
    view.show(Resumed(kept))
    assert err.getvalue().startswith("2 turns above (/history ")
    assert out.getvalue().decode() == f"{PROMPT} Question 3?\n  Please.\n\n{'Three ' * 30}\n"
    monkeypatch.setenv("LINES", "18")
    view.show(Resumed(kept))
    assert "Question 2?\n  Please.\n\n*Two*␛[2J\n" in out.getvalue().decode()
    assert "Question 1?" not in out.getvalue().decode()


# ------------------------------------------------------------------------------------- the program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    with background(lambda: run_server(EchoEngine())) as url:
        program.environ["RTCHAT_URL"] = url
        yield program


@pytest.fixture
def path(program: Program) -> Path:
    return program.home / ".local" / "share" / "rtchat" / FILE


@pytest.fixture
def filled(program: Program, path: Path) -> Program:
    """The program with 40 conversations, of 1 to 3 turns."""
    with closing(Store(path)) as store:
        for number in range(1, 41):
            store.begin()
            for turn in range(1, number % 3 + 2):
                text = f"Question {turn} of {number}\n" + "line\n" * 9
                for index in (0, 1):
                    item = Message("assistant" if index else "user", (Part("text", text),))
                    store.record(Entry(turn, index, item, State.COMPLETED, "m"))
            if number == 5:
                store.name("my talk")
    return program


def test_a_long_list_is_shown_in_a_pager(filled: Program) -> None:
    terminal = Terminal(filled, ["list"], {}, verb="history")
    assert terminal.shows("Question 1 of 40", "Question 1 of 20", ":")[0].startswith("40  just now")
    assert len(terminal.lines()) == 24
    terminal.types(" ")
    terminal.shows("Question 1 of 10")
    terminal.types("q")
    assert terminal.ends() == 0


def test_ctrl_c_in_the_pager_does_not_end_the_program(filled: Program) -> None:
    terminal = Terminal(filled, ["list"], {}, verb="history")
    terminal.shows("Question 1 of 20", ":")
    terminal.types("\x03")
    until = monotonic() + PATIENCE
    while terminal.process.poll() is None and monotonic() < until:
        terminal.types("q")  # Ctrl-C discards the keys that are typed before it takes effect
        with suppress(subprocess.TimeoutExpired):
            terminal.process.wait(1)
    assert terminal.ends() == 0


def test_what_fits_on_the_screen_is_not_paged(filled: Program) -> None:
    for arguments in (["list", "--limit", "23"], ["show", "3"], ["search", "'1 of 3'"]):
        terminal = Terminal(filled, arguments, {"PAGER": "false"}, verb="history")
        terminal.shows("Question 1 of 3")
        assert terminal.ends() == 0


@pytest.mark.parametrize(
    "environ",
    [
        {"PAGER": "/nonexistent/pager"},
        {"PAGER": ""},
        {"PAGER": "cat"},
        {"PAGER": "'"},
        {"PAGER": "false"},
        {"TERM": "dumb"},
    ],
)
def test_without_a_pager_the_text_is_printed(filled: Program, environ: dict[str, str]) -> None:
    terminal = Terminal(filled, ["list"], environ, verb="history")
    terminal.shows("Question 1 of 40", "Question 1 of 2", "Question 1 of 1")
    assert terminal.ends() == 0


def test_the_pager_of_the_user_is_used(filled: Program) -> None:
    pager = filled.home / "my pager"
    pager.write_text('#!/bin/sh\nhead -n 2\necho "$1 $LESS"\n')
    pager.chmod(0o755)
    for environ, end in (({}, "'b c' FRX"), ({"LESS": "S"}, "'b c' S")):
        terminal = Terminal(
            filled, ["list"], {"PAGER": f"'{pager}' \"'b c'\"", **environ}, verb="history"
        )
        rows = terminal.shows("Question 1 of 40", "Question 1 of 39", end)
        assert len(rows) == 3
        assert terminal.ends() == 0


def test_nothing_is_paged_in_a_pipe(filled: Program) -> None:
    ran = filled.run("history", "list", environ={"PAGER": "false"})
    assert (ran.code, ran.text.count("\n")) == (0, 40)


def test_a_file_is_never_paged(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+") as file:
        Pager(file, {"PAGER": "false", "TERM": "xterm"}).show("line\n" * 1000)
        assert os.fstat(file.fileno()).st_size == 5000


def test_talk_continues_with_the_last_turns_on_the_screen(filled: Program) -> None:
    terminal = Terminal(filled, ["--continue"], {})
    rows = terminal.shows("connected in", PROMPT)
    assert rows[0].startswith("1 turn above (/history shows all) · conversation 40 · Question 1")
    assert rows.index(f"{PROMPT} Question 2 of 40") == 2
    assert len(rows) < 24
    terminal.types("/history\r")
    terminal.shows("Question 1 of 40", ":")
    terminal.types(" ")
    terminal.types("q")
    terminal.types("more\r")
    terminal.shows(f"{PROMPT} more", "more", "first token", PROMPT)
    terminal.types("/history\r")
    terminal.shows("Question 1 of 40", ":")
    terminal.types("G")
    terminal.shows(f"{PROMPT} more", "more", "first token", "(END)")
    terminal.types("q")
    terminal.types("/exit\r")
    assert terminal.ends() == 0


def test_a_short_conversation_is_shown_without_a_pager(program: Program) -> None:
    terminal = Terminal(program, ["--no-history"], {"PAGER": "false"})
    terminal.shows("connected in", PROMPT)
    terminal.types("/history\r")
    terminal.shows("nothing has been said", PROMPT)
    terminal.types("hello\r")
    terminal.shows("hello", "first token", PROMPT)
    terminal.types("/history\r")
    terminal.shows("hello", "first token", "/history", f"{PROMPT} hello", "hello", "first token")
    terminal.types("/resume\r")
    terminal.shows("conversations are not saved", "--no-history", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_the_conversation_to_resume_is_chosen_from_a_list(filled: Program) -> None:
    terminal = Terminal(filled, ["--resume"], {})
    terminal.shows("resume", "Question 1 of 40", "1 of 40")
    terminal.types("my")
    terminal.shows("resume", "my talk", "1 of 1")
    terminal.types("\r")
    rows = terminal.shows("conversation 5 · my talk", "Question", "connected in", PROMPT)
    assert not [row for row in rows if row.startswith("resume")]
    terminal.types("/resume\r")
    terminal.shows("resume", "1 of 40")
    terminal.types("\x1b[B\x1b[B\r")
    terminal.shows("/resume", "conversation 38 ", "Question 3 of 38", "reconnected", PROMPT)
    terminal.types("/resume\r")
    terminal.shows("resume", "1 of 40")
    terminal.types("\x03/resume  My TALK\r")
    terminal.shows("/resume  My TALK", "conversation 5 · my talk", "reconnected", PROMPT)
    terminal.types("/resume nothing\r")
    terminal.shows("there is no conversation 'nothing'", "hint: ", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_the_list_is_text_where_nothing_is_repainted(filled: Program) -> None:
    terminal = Terminal(filled, ["--plain"], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("/resume\r")
    terminal.shows("40 · Question 1 of 40 · just now", "31 · ", "/resume NAME", PROMPT)
    terminal.types("/resume 31\r")
    terminal.shows("conversation 31 ", f"{PROMPT} Question 2 of 31", "reconnected", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
    terminal = Terminal(filled, ["--resume", "--plain"], {})
    terminal.shows("--plain", "--resume NAME")
    assert terminal.ends() == 2


def test_cancelling_the_list_ends_the_program(filled: Program) -> None:
    terminal = Terminal(filled, ["--resume"], {})
    terminal.shows("1 of 40")
    terminal.types("\x1b")
    assert terminal.ends() == 130
    assert terminal.lines() == [""]


def test_a_conversation_is_named_in_talk(filled: Program) -> None:
    terminal = Terminal(filled, [], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("/name my talk\r")
    terminal.shows("conversation 5 already has the name 'my talk'", "hint: ", PROMPT)
    terminal.types("/name  Tea \r")
    terminal.shows("named 'Tea'", PROMPT)
    terminal.types("green\r")
    terminal.shows("green", "first token", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
    assert filled.run("history", "show", "tea").text == f"{PROMPT} green\n\ngreen\n"


@pytest.mark.parametrize(
    ("arguments", "stdin"), [(("talk", "--resume"), b"x\n"), (("once", "--resume", "-q"), b"x")]
)
def test_choosing_requires_a_terminal(
    filled: Program, arguments: tuple[str, ...], stdin: bytes
) -> None:
    ran = filled.run(*arguments, stdin=stdin)
    assert (ran.code, ran.out) == (2, b"")
    assert "--resume" in ran.error
    assert "--resume NAME" in ran.hint


def test_an_empty_history_has_nothing_to_choose(program: Program) -> None:
    terminal = Terminal(program, ["--resume"], {})
    terminal.shows("there are no saved conversations", "hint: ")
    assert terminal.ends() == 2
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("/resume\r")
    terminal.shows("there are no saved conversations", "hint: ", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0


@pytest.mark.parametrize("key", ["my talk", "MY  TALK", "5"])
def test_commands_accept_an_id_or_a_name(filled: Program, key: str) -> None:
    for command in ("show", "export"):
        assert "Question 3 of 5" in filled.run("history", command, key).text
    ran = filled.run("once", "--resume", key, "hello", stdin=b"")
    assert (ran.code, ran.text) == (0, "hello\n")
    assert filled.run("history", "delete", key, "--yes").code == 0
    assert filled.run("history", "show", key).code == 2


def test_a_conversation_is_renamed(filled: Program) -> None:
    assert filled.run("history", "rename", "5", "Tea", "--title", "All about tea").code == 0
    listed = filled.run("history", "list").text
    assert re.search(r"^5\t.*\tm\tAll about tea\tTea$", listed, re.MULTILINE)
    assert filled.run("history", "rename", "tea", "", "--title", "").code == 0
    listed = filled.run("history", "list").text
    assert re.search(r"^5\t.*\tm\tQuestion 1 of 5\t$", listed, re.MULTILINE)
    for arguments in (("5",), ("5", "12"), ("nobody", "x"), ("99", "x"), ("5", "--", "-x")):
        ran = filled.run("history", "rename", *arguments)
        assert (ran.code, ran.out) == (2, b"")
        assert ran.hint


def test_matches_are_highlighted_on_a_terminal(filled: Program) -> None:
    terminal = Terminal(filled, ["search", "estion", "--limit", "1"], {}, verb="history")
    terminal.shows("Question")
    row = next(row for row in range(24) if "Question" in terminal.screen.display[row])
    column = terminal.screen.display[row].index("Question")
    assert terminal.screen.buffer[row][column].bold
    assert not terminal.screen.buffer[row][column + len("Question ")].bold
    assert terminal.ends() == 0
