"""The title of the window, notifications, and the modes of the terminal."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rtchat.core import effects as fx
from rtchat.core import notices
from rtchat.core.values import Status, ToolCall
from rtchat.ui.attention import MIN_SECONDS, Attention, Notify, announcement
from rtchat.ui.terminal_kind import (
    FOCUS_REPORTS,
    KITTY_KEYS,
    XTERM_KEYS,
    TerminalKind,
    TerminalModes,
    modes,
    reflows,
    terminal_kind,
)

_LONG = MIN_SECONDS + 1
_XTERM = {"TERM": "xterm-256color"}


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({}, TerminalKind.BASIC),
        ({"TERM": "dumb"}, TerminalKind.BASIC),
        ({"TERM": "linux"}, TerminalKind.BASIC),
        ({"TERM": "linux", "TMUX": "/tmp/tmux"}, TerminalKind.BASIC),
        ({"TERM": "vt220"}, TerminalKind.BASIC),
        ({"TERM": "eterm-color"}, TerminalKind.BASIC),
        (_XTERM, TerminalKind.OTHER),
        (_XTERM | {"TERM_PROGRAM": "Apple_Terminal"}, TerminalKind.OTHER),
        (_XTERM | {"TERM_PROGRAM": "vscode"}, TerminalKind.OTHER),
        ({"TERM": "vte-256color"}, TerminalKind.OTHER),
        (_XTERM | {"XTERM_VERSION": "XTerm(390)"}, TerminalKind.XTERM),
        (_XTERM | {"XTERM_VERSION": "XTerm(390)", "KITTY_WINDOW_ID": "1"}, TerminalKind.XTERM),
        (_XTERM | {"VTE_VERSION": "7600"}, TerminalKind.VTE),
        ({"TERM": "xterm-kitty"}, TerminalKind.KITTY),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, TerminalKind.TMUX),
        ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"}, TerminalKind.TMUX),
        ({"TERM": "screen-256color", "TMUX": "/tmp/tmux"}, TerminalKind.TMUX),
        ({"TERM": "screen-256color"}, TerminalKind.SCREEN),
        (_XTERM | {"STY": "1.pts"}, TerminalKind.SCREEN),
        ({"TERM": "xterm-ghostty"}, TerminalKind.GHOSTTY),
        (_XTERM | {"TERM_PROGRAM": "ghostty"}, TerminalKind.GHOSTTY),
        (_XTERM | {"TERM_PROGRAM": "WezTerm"}, TerminalKind.WEZTERM),
        (_XTERM | {"TERM_PROGRAM": "iTerm.app"}, TerminalKind.ITERM),
        (_XTERM | {"LC_TERMINAL": "iTerm2"}, TerminalKind.ITERM),
        ({"TERM": "rxvt-unicode-256color", "VTE_VERSION": "7600"}, TerminalKind.OTHER),
        ({"TERM": "st-256color", "KITTY_WINDOW_ID": "1"}, TerminalKind.OTHER),
        ({"TERM": "foot-extra"}, TerminalKind.FOOT),
        ({"TERM": "alacritty"}, TerminalKind.ALACRITTY),
        (_XTERM | {"ALACRITTY_WINDOW_ID": "1"}, TerminalKind.ALACRITTY),
        (_XTERM | {"TERM_PROGRAM": "mintty"}, TerminalKind.MINTTY),
    ],
)
def test_the_kind_of_terminal(environ: Mapping[str, str], kind: TerminalKind) -> None:
    assert terminal_kind(environ) is kind


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "xterm-kitty", "SSH_CONNECTION": "::1 1 ::1 22"}, None),
        ({"TERM": "tmux", "TMUX": "/tmp/tmux", "SSH_CONNECTION": "::1 1 ::1 22"}, True),
        (_XTERM, None),
        (_XTERM | {"XTERM_VERSION": "XTerm(390)", "SSH_CONNECTION": "::1 1 ::1 22"}, False),
    ],
)
def test_whether_a_terminal_wraps_rows_again(
    environ: Mapping[str, str], expected: bool | None
) -> None:
    assert reflows(terminal_kind(environ), environ) is expected


def test_a_terminal_is_sent_only_modes_that_it_is_known_to_have() -> None:
    assert modes(TerminalKind.BASIC) == ()
    for kind in (TerminalKind.OTHER, TerminalKind.SCREEN, TerminalKind.VTE):
        assert modes(kind) == (FOCUS_REPORTS,)
    for kind in (TerminalKind.XTERM, TerminalKind.TMUX, TerminalKind.MINTTY):
        assert modes(kind) == (FOCUS_REPORTS, XTERM_KEYS)
    for kind in (TerminalKind.KITTY, TerminalKind.ITERM, TerminalKind.FOOT):
        assert modes(kind) == (FOCUS_REPORTS, KITTY_KEYS)


def test_a_basic_terminal_is_sent_nothing() -> None:
    written: list[str] = []
    attention = Attention(written.append, TerminalKind.BASIC)
    with TerminalModes(written.append, TerminalKind.BASIC).turned(on=True):
        attention.on()
        attention.off()
    assert written == []


# ------------------------------------------------------------------------------------ notifications


@pytest.mark.parametrize(
    ("seconds", "is_focused", "kind", "notify", "written"),
    [
        (_LONG, False, TerminalKind.KITTY, "auto", "\x1b]9;rtchat: done\x1b\\"),
        (_LONG, False, TerminalKind.ITERM, "auto", "\x1b]9;rtchat: done\x1b\\"),
        (_LONG, False, TerminalKind.FOOT, "auto", "\x1b]777;notify;rtchat;done\x1b\\"),
        (_LONG, False, TerminalKind.VTE, "auto", "\x1b]777;notify;rtchat;done\x1b\\\a"),
        (_LONG, False, TerminalKind.TMUX, "auto", "\a"),
        (_LONG, False, TerminalKind.XTERM, "auto", "\a"),
        (_LONG, False, TerminalKind.OTHER, "auto", "\a"),
        (_LONG, False, TerminalKind.KITTY, "bell", "\a"),
        (_LONG, False, TerminalKind.KITTY, "off", ""),
        (_LONG, True, TerminalKind.KITTY, "auto", ""),
        (MIN_SECONDS, False, TerminalKind.KITTY, "auto", ""),
        (_LONG, None, TerminalKind.KITTY, "auto", ""),
        (_LONG, None, TerminalKind.OTHER, "bell", ""),
        (_LONG, None, TerminalKind.BASIC, "auto", ""),
        (_LONG, None, TerminalKind.TMUX, "auto", "\a"),
        (_LONG, None, TerminalKind.SCREEN, "bell", "\a"),
        (_LONG, None, TerminalKind.TMUX, "off", ""),
    ],
)
def test_what_announces_a_reply(
    seconds: float, is_focused: bool | None, kind: TerminalKind, notify: Notify, written: str
) -> None:
    found = announcement("done", seconds, is_focused=is_focused, kind=kind, notify=notify)
    assert found == written


class _Window:
    """What is written to a terminal, and a clock."""

    def __init__(self, kind: TerminalKind = TerminalKind.OTHER, *, sets_title: bool = True) -> None:
        self.now = 0.0
        self._written: list[str] = []
        self.attention = Attention(
            self._written.append, kind, sets_title=sets_title, now=lambda: self.now
        )

    def ask(self, text: str = "a question") -> None:
        self.attention.show(fx.QuestionAsked(text, "model"))

    def end(self, status: Status = Status.COMPLETED) -> None:
        self.attention.show(fx.ReplyOver(status, "", "model"))

    def take(self) -> str:
        text = "".join(self._written)
        self._written.clear()
        return text


def _away() -> _Window:
    window = _Window(sets_title=False)
    window.attention.set_focus(False)
    window.ask()
    window.now = _LONG
    return window


def test_a_long_reply_is_announced_in_a_window_without_focus() -> None:
    window = _away()
    window.end()
    assert window.take() == "\a"
    window.ask()
    window.end()
    assert window.take() == ""


def test_a_window_that_is_looked_at_again_stays_quiet() -> None:
    window = _away()
    window.attention.set_focus(True)
    window.end()
    assert window.take() == ""


def test_failed_replies_and_questions_of_tools_are_announced_and_cancelled_replies_are_not() -> (
    None
):
    window = _away()
    window.attention.show(fx.ToolAsked(ToolCall("item", "call", "weather", "{}")))
    assert window.take() == "\a"
    window.end(Status.FAILED)
    assert window.take() == "\a"
    window.end(Status.CANCELLED)
    assert window.take() == ""


# -------------------------------------------------------------------------------------------- title


def _title(text: str) -> str:
    return f"\x1b]2;{text}\x1b\\"


def test_the_title_is_that_of_the_conversation_and_restored() -> None:
    window = _Window()
    window.attention.on()
    assert window.take() == "\x1b[22;2t" + _title("rtchat")
    window.ask("What is a WebSocket?")
    assert window.take() == _title("rtchat: What is a WebSocket?")
    window.ask("And TCP?")
    assert window.take() == ""
    window.attention.set_title("Networks")
    assert window.take() == _title("rtchat: Networks")
    window.attention.off()
    window.attention.set_title("Networking")
    assert window.take() == "\x1b[23;2t"
    window.attention.on()
    assert window.take() == "\x1b[22;2t" + _title("rtchat: Networking")
    window.attention.show(notices.CONVERSATION_STARTED.update)
    assert window.take() == _title("rtchat")


def test_the_title_of_a_spoken_conversation() -> None:
    window = _Window()
    window.attention.on()
    window.take()
    window.ask("")
    window.attention.show(fx.UserTranscript("Good morning"))
    assert window.take() == _title("rtchat: Good morning")


def test_the_title_is_safe_and_short() -> None:
    window = _Window()
    window.attention.on()
    window.take()
    window.ask("a\x1b\\\x07\n\x9cb\u202e" + "c" * 100)
    assert window.take() == _title(f"rtchat: a␛\\␇ <U+009C>b<U+202E>{'c' * 37}…")


def test_the_title_can_be_left_alone() -> None:
    window = _Window(sets_title=False)
    window.attention.on()
    window.ask()
    window.attention.off()
    assert window.take() == ""
