"""The keys of `talk` on a real pty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rtchat.core.errors import ExitCode
from rtchat.core.events import LeaveAsked
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from rtchat.ui.messages import HOW_TO_LEAVE
from tests.program import PATIENCE, Program, background
from tests.terminal import PROMPT, Terminal
from tests.typist import Typist

CANCEL = "CancelPressed()"
LEAVE = repr(LeaveAsked())


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    typist = Typist(tmp_path / "state" / "history")
    try:
        typist.shows("connected in", PROMPT)
        yield typist
    finally:
        typist.ends()


def rows(typist: Typist) -> list[str]:
    """The rows below the greeting."""
    return typist.lines()[1:]


def test_enter_sends_and_empty_lines_surround_the_reply(typist: Typist) -> None:
    typist.types("hello\r")
    assert typist.means() == "UserSaid(text='hello')"
    typist.shows("You said 'hello'.", PROMPT)
    assert rows(typist) == [f"{PROMPT} hello", "", "You said 'hello'.", "", PROMPT]


def test_alt_enter_and_ctrl_j_start_a_new_line(typist: Typist) -> None:
    typist.types("one\x1b\rtwo\nthree")
    typist.shows(f"{PROMPT} one", "  two", "  three")
    typist.types("\r")
    assert typist.means() == r"UserSaid(text='one\ntwo\nthree')"
    typist.shows("You said", PROMPT)
    assert rows(typist)[:3] == [f"{PROMPT} one", "  two", "  three"]


def test_a_paste_never_sends(typist: Typist) -> None:
    typist.types("\x1b[200~one\r\ntwo\rthree\r\x1b[201~")
    typist.shows(f"{PROMPT} one", "  two", "  three")
    assert typist.has_meant() == []
    typist.types("!\r")
    assert typist.means() == r"UserSaid(text='one\ntwo\nthree\n!')"


def test_a_long_paste(typist: Typist) -> None:
    text = "\r".join(f"line {index}" for index in range(2000))
    typist.types(f"\x1b[200~{text}\x1b[201~")
    typist.shows(f"{PROMPT} [pasted 2,000 lines]")
    assert not any("line 1999" in line for line in typist.lines())
    typist.types("\r")
    assert typist.means() == f"UserSaid(text={text.replace(chr(13), chr(10))!r})"
    shown = typist.shows("line 0", "line 1999", "You said", PROMPT)
    assert [line.strip() for line in shown if line.startswith("  line ")] == [
        f"line {index}" for index in range(1, 2000)
    ]


def test_ctrl_c_clears_the_text_and_at_an_empty_prompt_says_how_to_leave(typist: Typist) -> None:
    typist.types("nonsense\x03\x03")
    assert typist.means() == "EntryAbandoned()"
    typist.shows(HOW_TO_LEAVE, PROMPT)
    typist.types("sense\r")
    assert typist.means() == "UserSaid(text='sense')"


@pytest.mark.parametrize("keys", ["\x04", "/exit\r"])
def test_leaving_restores_the_terminal_and_removes_the_entry(typist: Typist, keys: str) -> None:
    typist.types(keys)
    assert (typist.means(), typist.process.wait(PATIENCE), typist.modes_now()) == (
        LEAVE,
        0,
        typist.modes,
    )
    typist.shows("connected in")
    assert rows(typist) == ([f"{PROMPT} /exit"] if keys == "/exit\r" else [])
    assert not typist.screen.cursor.hidden
    assert typist.cursor() == ("", 0)


def test_ctrl_l_clears_the_screen_and_leaves_the_draft(typist: Typist) -> None:
    typist.types("hello\r")
    typist.means()
    typist.shows("You said", PROMPT)
    typist.types("draft\x0c")
    typist.stops_showing("You said")
    typist.shows(f"{PROMPT} draft")
    assert typist.visible() == [f"{PROMPT} draft"]
    typist.types("\r")
    assert typist.means() == "UserSaid(text='draft')"
    typist.shows(f"{PROMPT} draft", "You said 'draft'.", PROMPT)


def test_a_blank_entry_is_ignored(typist: Typist) -> None:
    typist.types("\r  \r\nx\r")
    assert typist.means() == r"UserSaid(text='\nx')"


def test_commands_and_their_completion(typist: Typist) -> None:
    typist.types("/us\t")
    typist.shows("/usage")
    typist.types("\r")
    assert typist.means() == "UsageAsked()"
    typist.shows(f"{PROMPT} /usage", PROMPT)
    assert rows(typist) == [f"{PROMPT} /usage", PROMPT]


@pytest.mark.parametrize("key", ["\x03", "\x1b"])
def test_ctrl_c_and_esc_stop_a_reply(typist: Typist, key: str) -> None:
    typist.types("wait\r")
    typist.means()
    typist.shows("You said", PROMPT)
    typist.types(key)
    assert typist.means() == CANCEL
    typist.shows("interrupted", PROMPT)


def test_arrows_do_not_stop_a_reply_and_what_is_typed_meanwhile_is_kept(typist: Typist) -> None:
    typist.types("wait\r")
    typist.means()
    typist.shows("You said")
    typist.types("\x1b[A\x15\x1b[Dnext!\x7f\nlime\x1b[D\x7fn\x1b[1;5C")
    typist.shows("You said", f"{PROMPT} next", "  line")
    typist.types("\x03")
    assert typist.means() == CANCEL
    typist.shows("interrupted", f"{PROMPT} next", "  line")
    typist.types("\r")
    assert typist.means() == r"UserSaid(text='next\nline')"


def test_lines_typed_at_once_are_asked_in_order(typist: Typist) -> None:
    typist.types("one\rtwo\rthree\r")
    assert [typist.means() for _ in range(3)] == [
        f"UserSaid(text='{word}')" for word in ("one", "two", "three")
    ]
    typist.shows("You said 'three'", PROMPT)
    assert [line for line in rows(typist) if line] == [
        *(f"{PROMPT} one", "You said 'one'."),
        *(f"{PROMPT} two", "You said 'two'."),
        *(f"{PROMPT} three", "You said 'three'.", PROMPT),
    ]


@pytest.mark.parametrize("size", [(80, 24), (40, 15), (20, 6)])
def test_questions_entered_during_a_reply_wait_above_the_entry(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    typist = Typist(tmp_path / "history", columns=size[0], rows=size[1])
    try:
        typist.shows(PROMPT)
        typist.types("wait\r")
        typist.shows("You said")
        typist.types("two\rthree\rdraft")
        typist.shows("queued: two", "queued: three", f"{PROMPT} draft")
        typist.types("\x03")
        typist.shows(
            "interrupted", f"{PROMPT} two", f"{PROMPT} three", "'three'", f"{PROMPT} draft"
        )
        assert not any("queued" in line for line in typist.lines())
        assert typist.has_meant()[-1] == CANCEL
    finally:
        typist.ends()


@pytest.mark.parametrize("typed", ["early\rdraft", "early\r\x1b[200~draft\x1b[201~"])
def test_what_is_typed_before_the_start_is_sent_or_kept(tmp_path: Path, typed: str) -> None:
    program = Program(tmp_path)
    with background(lambda: run_server(EchoEngine())) as url:
        terminal = Terminal(program, [], {"RTCHAT_URL": url})
        terminal.types(typed)
        terminal.shows("connected in", f"{PROMPT} early", "early", f"{PROMPT} draft")
        terminal.types("\r")
        terminal.shows("early", f"{PROMPT} draft", "draft", PROMPT)
        terminal.types("\x04")
        assert terminal.ends() == ExitCode.OK


def test_up_restores_an_entry_of_several_lines(typist: Typist, tmp_path: Path) -> None:
    typist.types("first\nentry\r")
    typist.means()
    typist.shows("You said", PROMPT)
    typist.types("\x04")
    typist.process.wait(PATIENCE)
    later = Typist(tmp_path / "state" / "history")
    try:
        later.shows("connected in", PROMPT)
        later.types("\x1b[A\r")
        assert later.means() == r"UserSaid(text='first\nentry')"
    finally:
        later.ends()


def test_closing_the_window_leaves(typist: Typist) -> None:
    typist.hangs_up()
    assert typist.means() == repr(LeaveAsked(ExitCode.HANGUP))
    typist.process.wait(PATIENCE)
