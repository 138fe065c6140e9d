"""The keys of `talk` on a real pty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rtchat.core.errors import ExitCode
from rtchat.core.events import LeaveAsked
from rtchat.ui.messages import HOW_TO_LEAVE
from tests.typist import Typist

SYMBOL = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
CANCEL = "CancelPressed()"
LEAVE = repr(LeaveAsked())


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    typist = Typist(tmp_path / "state" / "history")
    try:
        typist.sees("connected in")
        typist.sees(SYMBOL)
        yield typist
    finally:
        typist.process.kill()
        typist.process.wait()


def test_enter_sends_and_empty_lines_surround_the_reply(typist: Typist) -> None:
    typist.types("hello\r")
    assert typist.means() == "UserSaid(text='hello')"
    typist.sees("\r\nYou said 'hello'.\r\n\r\n")
    typist.sees(SYMBOL)


def test_alt_enter_and_ctrl_j_start_a_new_line(typist: Typist) -> None:
    typist.types("one\x1b\rtwo\nthree\r")
    assert typist.means() == r"UserSaid(text='one\ntwo\nthree')"


def test_a_paste_never_sends(typist: Typist) -> None:
    typist.types("\x1b[200~one\r\ntwo\rthree\r\x1b[201~!\r")
    assert typist.means() == r"UserSaid(text='one\ntwo\nthree\n!')"


def test_a_long_paste(typist: Typist) -> None:
    text = "\r".join(f"line {index}" for index in range(2000))
    typist.types("\x1b[200~")
    for start in range(0, len(text), 1000):
        typist.types(text[start : start + 1000])
    typist.types("\x1b[201~")
    typist.types("\r")
    assert typist.means() == f"UserSaid(text={text.replace(chr(13), chr(10))!r})"


def test_ctrl_c_clears_the_text_and_at_an_empty_prompt_says_how_to_leave(typist: Typist) -> None:
    typist.types("nonsense\x03\x03")
    assert typist.means() == "EntryAbandoned()"
    typist.sees(HOW_TO_LEAVE)
    typist.sees(SYMBOL)
    typist.types("sense\r")
    assert typist.means() == "UserSaid(text='sense')"


@pytest.mark.parametrize("keys", ["\x04", "/exit\r"])
def test_leaving_restores_the_terminal(typist: Typist, keys: str) -> None:
    typist.types(keys)
    assert (typist.means(), typist.process.wait(20), typist.modes_now()) == (LEAVE, 0, typist.modes)


def test_a_blank_entry_is_ignored(typist: Typist) -> None:
    typist.types("\r  \r\nx\r")
    assert typist.means() == r"UserSaid(text='\nx')"


def test_commands_and_their_completion(typist: Typist) -> None:
    typist.types("/us\t")
    typist.sees("age")
    typist.types("\r")
    assert typist.means() == "UsageAsked()"


@pytest.mark.parametrize("key", ["\x03", "\x1b"])
def test_ctrl_c_and_esc_stop_a_reply(typist: Typist, key: str) -> None:
    typist.types("wait\r")
    typist.means()
    typist.sees("You said")
    typist.types(key)
    assert typist.means() == CANCEL
    typist.sees("interrupted")
    typist.sees(SYMBOL)


def test_arrows_do_not_stop_a_reply_and_typeahead_is_kept(typist: Typist) -> None:
    typist.types("wait\r")
    typist.means()
    typist.sees("You said")
    typist.types("\x1b[A\x1b[Dnext!\x7f\rline\r")
    typist.types("\x1b[1;5C")
    typist.types("\x03")
    assert typist.means() == CANCEL
    while_replying = typist.sees("interrupted")
    typist.sees("next")
    typist.types("\r")
    assert ("next" in while_replying, typist.means()) == (False, r"UserSaid(text='next\nline')")


def test_lines_typed_during_a_reply_are_not_sent(typist: Typist) -> None:
    typist.types("one\rtwo\rthree\r")
    first = typist.means()
    typist.sees("You said")
    typist.sees("three")
    typist.types("!\r")
    assert (first, typist.means()) == ("UserSaid(text='one')", r"UserSaid(text='two\nthree!')")


def test_up_restores_an_entry_of_several_lines(typist: Typist, tmp_path: Path) -> None:
    typist.types("first\nentry\r")
    typist.means()
    typist.sees("You said")
    typist.sees(SYMBOL)
    typist.types("\x04")
    typist.process.wait(20)
    later = Typist(tmp_path / "state" / "history")
    later.sees("connected in")
    later.sees(SYMBOL)
    later.types("\x1b[A\r")
    assert later.means() == r"UserSaid(text='first\nentry')"
    later.sees("You said")
    later.sees(SYMBOL)
    later.types("\x04")
    later.means()
    later.process.wait(20)


def test_closing_the_window_leaves(typist: Typist) -> None:
    typist.hangs_up()
    assert typist.means() == repr(LeaveAsked(ExitCode.HANGUP))
    typist.process.wait(20)
