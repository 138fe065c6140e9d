"""What a terminal sends, and which keys it is for prompt_toolkit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit import PromptSession
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.history import DummyHistory
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import DummyOutput

from rtchat.ui.key_decoder import PASTE_BEGIN, PASTE_END, KeyDecoder
from rtchat.ui.terminal_input import TerminalInput
from rtchat.ui.terminal_kind import TerminalKind, TerminalModes
from tests.program import PATIENCE

_NEW_LINE = Keys.ControlJ
_MAX_PAUSES = 5


class _Keyboard:
    """A decoder in front of prompt_toolkit's parser, and what it reported."""

    def __init__(self, *, takes_cursor: bool = False) -> None:
        self.pressed: list[KeyPress] = []
        self.focus: list[bool] = []
        self.cursor: list[tuple[int, int]] = []
        self._parser = Vt100Parser(self.pressed.append)
        self._decoder = KeyDecoder(
            on_focus=self.focus.append,
            on_cursor=(lambda *at: self.cursor.append(at)) if takes_cursor else None,
        )

    def send(self, *chunks: str) -> None:
        for chunk in chunks:
            self._parser.feed(self._decoder.feed(chunk))

    def pause(self) -> None:
        self._parser.feed(self._decoder.flush())
        self._parser.flush()

    @property
    def keys(self) -> list[str]:
        return [
            str(press.key.value if isinstance(press.key, Keys) else press.key)
            for press in self.pressed
        ]

    @property
    def text(self) -> str:
        """What an entry would contain."""
        return "".join(
            press.data
            for press in self.pressed
            if press.key is Keys.BracketedPaste or not isinstance(press.key, Keys)
        )


def _keys(*chunks: str) -> list[str]:
    keyboard = _Keyboard()
    keyboard.send(*chunks)
    keyboard.pause()
    return keyboard.keys


# ----------------------------------------------------------------------------------------- the keys


@pytest.mark.parametrize(
    ("sent", "pressed"),
    [
        ("\x1b[13u", [Keys.ControlM]),
        ("\x1b[13;2u", [_NEW_LINE]),
        ("\x1b[13;3u", [_NEW_LINE]),
        ("\x1b[13;5u", [_NEW_LINE]),
        ("\x1b[13;2:1u", [_NEW_LINE]),
        ("\x1b[13;2:3u", []),
        ("\x1b[13;130u", [_NEW_LINE]),  # with Num Lock
        ("\x1b[13;129u", [Keys.ControlM]),
        ("\x1b[57414;2u", [_NEW_LINE]),  # of the keypad
        ("\x1bO2M", [_NEW_LINE]),
        ("\x1b[27;2;13~", [_NEW_LINE]),
        ("\x1b[27;3;13~", [_NEW_LINE]),
        ("\x1b[27;5;13~", [_NEW_LINE]),
        ("\x1b[27;6;13~", [_NEW_LINE]),
        ("\x1b\r", [Keys.Escape, Keys.ControlM]),
        ("\n", [_NEW_LINE]),
        ("\r", [Keys.ControlM]),
        ("\x1b[9;2u", [Keys.BackTab]),
        ("\x1b[27;2;9~", [Keys.BackTab]),
        ("\x1b[Z", [Keys.BackTab]),
        ("\x1b[127;5u", [Keys.ControlW]),
        ("\x1b[27;5;8~", [Keys.ControlW]),
        ("\x1b[127;3u", [Keys.Escape, Keys.ControlH]),
        ("\x1b[127;2u", [Keys.ControlH]),
        ("\x1b[27u", [Keys.Escape]),
        ("\x1b[27;1:3u", []),
        ("\x1b[32;5u", [Keys.ControlAt]),
        ("\x1b[99;5u", [Keys.ControlC]),
        ("\x1b[27;5;99~", [Keys.ControlC]),
        ("\x1b[1089::99;5u", [Keys.ControlC]),  # the same key of a Russian keyboard
        ("\x1b[1089;5u", []),
        ("\x1b[45;6u", [Keys.ControlUnderscore]),
        ("\x1b[47;5u", [Keys.ControlUnderscore]),
        ("\x1b[59;5u", []),  # Ctrl-;
        ("\x1b[98;3u", [Keys.Escape, "b"]),
        ("\x1b[98:66;4u", [Keys.Escape, "B"]),
        ("\x1b[98;4u", [Keys.Escape, "B"]),
        ("\x1b[27;3;98~", [Keys.Escape, "b"]),
        ("\x1b[27;9;98~", [Keys.Escape, "b"]),
        ("\x1b[98;7u", [Keys.Escape, Keys.ControlB]),
        ("\x1b[97:65;2;65u", ["A"]),
        ("\x1b[223;2u", ["ß"]),
        ("\x1b[228;1u", ["ä"]),
        ("\x1b[97;9u", []),  # with Super
        ("\x1b[91;3u", []),  # Alt-[ would begin a sequence
        ("\x1b[57399u", ["0"]),
        ("\x1b[57409u", ["."]),
        ("\x1b[57417u", [Keys.Left]),
        ("\x1b[57421u", [Keys.PageUp]),
        ("\x1b[57417;5u", [Keys.ControlLeft]),
        ("\x1b[57441u", []),  # Shift by itself
        ("\x1b[57358u", []),  # Caps Lock
        ("\x1b[3;5u", []),
        ("\x1b[1114112u", []),
        ("\x1b[55296u", []),
        ("\x1b[A", [Keys.Up]),
        ("\x1b[1;1:1A", [Keys.Up]),
        ("\x1b[1;1:2A", [Keys.Up]),
        ("\x1b[1;1:3A", []),
        ("\x1b[1;129A", [Keys.Up]),
        ("\x1b[1;133C", [Keys.ControlRight]),
        ("\x1b[3;5:1~", [Keys.ControlDelete]),
        ("\x1b[P", [Keys.F1]),
        ("\x1b[13~", [Keys.F3]),
        ("\x1bO5A", [Keys.ControlUp]),
        ("\x1bO1;5A", [Keys.ControlUp]),
        ("\x1bOp\x1bOk", ["0", "+"]),
        ("\x1bOM", [Keys.ControlM]),
        ("\x1b", [Keys.Escape]),
        ("\x1b\x1b", [Keys.Escape, Keys.Escape]),
        ("\x1b\x1b[A", [Keys.Escape, Keys.Up]),
        ("\x1b[", [Keys.Escape, "["]),
        ("\x1bO", [Keys.Escape, "O"]),
        ("\x1b]", [Keys.Escape, "]"]),
        ("\x1b_", [Keys.Escape, "_"]),
        ("\x1bPhello", [Keys.Escape, *"Phello"]),
        ("\x1bPhello\r", [Keys.Escape, *"Phello", Keys.ControlM]),
        ("\x1b[\r", [Keys.Escape, "[", Keys.ControlM]),
        ("\x1b[\x1b[A", [Keys.Escape, "[", Keys.Up]),
        ("\x9b", [Keys.ShiftEscape]),
        ("\x9bA", [Keys.Up]),
    ],
)  # fmt: skip
def test_a_key(sent: str, pressed: list[str]) -> None:
    expected = [each.value if isinstance(each, Keys) else each for each in pressed]
    assert _keys(sent) == expected
    assert _keys(*sent) == expected
    keyboard = _Keyboard()
    keyboard.send(f"{sent}")
    keyboard.pause()
    keyboard.send("x")
    assert keyboard.keys[-1] == "x"


_ENTER_WITH_MODIFIERS = {"\x1b[27;2;13~", "\x1b[27;5;13~", "\x1b[27;6;13~"}


def test_every_key_that_prompt_toolkit_knows_is_passed_on() -> None:
    for sequence in set(ANSI_SEQUENCES) - {PASTE_BEGIN, *_ENTER_WITH_MODIFIERS}:
        decoder = KeyDecoder()
        assert decoder.feed(sequence) + decoder.flush() == sequence


@pytest.mark.parametrize(
    "sent",
    [
        *("\x1b[?62;22c", "\x1b[>41;354;0c", "\x1b[?1u", "\x1b[0n", "\x1b[?2026;2$y", "\x1b[>4;1m"),
        *(
            "\x1b[8;24;80t",
            "\x1b[?12;3R",
            "\x1b[<0;10;5M",
            "\x1b[<0;10;5m",
            "\x1b[M !!",
            "\x1b[99~",
        ),
        *("\x1b[201~", "\x1b[[Z", "\x1bOz", "\x1b[1;17A", "\x1b[200;1~", "\x1b[0;0;0;0;0;0X"),
        *("\x1b]11;rgb:0000/0000/0000\x1b\\", "\x1b]4;1;rgb:00/00/00\x07", "\x1b]lTitle\x1b\\"),
        *("\x1bP1$r0m\x1b\\", "\x1bP>|XTerm(390)\x1b\\", "\x1b_Gi=1;OK\x1b\\", "\x1bXabc\x1b\\"),
        *("\x1b^abc\x1b\\", "\x1b]52;c;aGVsbG8=\x9c", f"\x1b[{'9' * 5000}u", "\x9b?1;2c"),
    ],
)
def test_other_sequences_leave_nothing(sent: str) -> None:
    assert _keys(sent) == []
    assert _keys(*sent, "x", sent, "y") == ["x", "y"]


@pytest.mark.parametrize("sent", ["\x1b[12;", "\x1b]11;rgb:00", "\x1bP1$r", "\x1b[M!", "\x1bO5"])
def test_a_sequence_may_pause(sent: str) -> None:
    rest = {"\x1b[12;": "X", "\x1b[M!": "!!", "\x1bO5": "z"}.get(sent, "\x1b\\")
    keyboard = _Keyboard()
    keyboard.send(sent)
    keyboard.pause()
    keyboard.send(rest, "x")
    assert keyboard.keys == ["x"]


@pytest.mark.parametrize("sent", ["\x1b[12;", "\x1b]11;rgb:00", "\x1bP1$r", "\x1b[M!", "\x1bO5"])
def test_a_sequence_without_an_end_is_given_up(sent: str) -> None:
    keyboard = _Keyboard()
    keyboard.send(sent)
    keyboard.pause()
    keyboard.send("1")
    keyboard.pause()
    keyboard.send("x\r")
    assert keyboard.keys == ["x", "c-m"]


@pytest.mark.parametrize("sent", ["\x1b[12;", "\x1b]11;rgb:00", "\x1bP1$r", "\x1b[M!"])
def test_ctrl_c_works_in_a_sequence_without_an_end(sent: str) -> None:
    assert _keys(sent, "\x03") == ["c-c"]


def test_an_endless_sequence_is_given_up() -> None:
    keyboard = _Keyboard()
    keyboard.send(*["\x1b]0;" + "1" * 60_000, "2" * 60_000, "x"])
    assert keyboard.keys == ["x"]


# ------------------------------------------------------------------------------------------ reports


def test_the_focus_is_reported() -> None:
    keyboard = _Keyboard()
    keyboard.send("a\x1b[", "Ob\x1b[Ic")
    assert (keyboard.focus, keyboard.keys) == ([False, True], ["a", "b", "c"])


def test_cursor_positions_are_reported_or_passed_on() -> None:
    keyboard = _Keyboard(takes_cursor=True)
    keyboard.send("a\x1b[12;3Rb")
    assert (keyboard.cursor, keyboard.keys) == ([(12, 3)], ["a", "b"])
    assert _keys("a\x1b[12;3Rb") == ["a", "<cursor-position-response>", "b"]


# ------------------------------------------------------------------------------------------- pastes


@pytest.mark.parametrize(
    ("pasted", "text"),
    [
        ("a\tb", "a\tb"),
        ("a\rb\r\nc\nd\r", "a\nb\nc\nd\n"),
        ("a\r", "a\n"),
        ("\x1b[31mred\x1b[0m\x1b[", "\x1b[31mred\x1b[0m\x1b["),
        ("\x1b[200~", "\x1b[200~"),
        ("\x1b[201", "\x1b[201"),
        ("\x03\x04\x7f\x9b[1;1R", "\x03\x04\x7f\x9b[1;1R"),
        ("", ""),
    ],
)
def test_a_paste_is_literal(pasted: str, text: str) -> None:
    sent = f"{PASTE_BEGIN}{pasted}{PASTE_END}"
    for chunks in ([sent], list(sent), [sent[:7], sent[7:-1], sent[-1:]]):
        keyboard = _Keyboard()
        keyboard.send("x", *chunks, "y")
        assert keyboard.text == f"x{text}y"
        assert keyboard.keys == ["x", "<bracketed-paste>", "y"]


def test_a_paste_may_pause() -> None:
    keyboard = _Keyboard()
    keyboard.send(f"{PASTE_BEGIN}one\r")
    for _ in range(3):
        keyboard.pause()
        keyboard.send("a line that arrives late\r")
    keyboard.pause()
    keyboard.send(f"end{PASTE_END}\r")
    assert keyboard.keys == ["<bracketed-paste>", "c-m"]
    assert keyboard.text == "one\n" + "a line that arrives late\n" * 3 + "end"


def test_a_paste_without_an_end_is_given_up_and_not_sent() -> None:
    keyboard = _Keyboard()
    keyboard.send(f"{PASTE_BEGIN}one\x1b[20")
    keyboard.pause()
    for key in "hi\r":
        keyboard.send(key)
        keyboard.pause()
    assert (keyboard.keys, keyboard.text) == (["<bracketed-paste>"], "one\x1b[20hi\n")
    keyboard.send("\r")
    assert keyboard.keys == ["<bracketed-paste>", "c-m"]


def test_ctrl_c_ends_a_paste_that_pauses() -> None:
    keyboard = _Keyboard()
    keyboard.send(f"{PASTE_BEGIN}one\r")
    keyboard.pause()
    keyboard.send("\x03")
    assert (keyboard.keys, keyboard.text) == (["<bracketed-paste>", "c-c"], "one\n")


def test_many_pastes_at_once() -> None:
    paste = f"{PASTE_BEGIN}a{PASTE_END}"
    assert KeyDecoder().feed(paste * 2000) == paste * 2000
    with _terminal() as (master, source):
        os.write(master, paste.encode() * 300)
        pressed: list[KeyPress] = []
        while len(pressed) < 300 and select([source.fileno()], [], [], PATIENCE)[0]:
            pressed += source.read_keys()  # the kernel may pass on 2 KiB at a time
        assert _text(pressed) == ["a"] * 300


def test_lines_that_arrive_at_once_are_keys() -> None:
    """A slow network may have collected them."""
    typed = "a first question\ranother question\r"
    assert KeyDecoder().feed(typed) == typed


# -------------------------------------------------------------------------------------- any of them

_PRINTABLE = st.characters(exclude_categories=("C", "Z", "M")) | st.just(" ")
_LETTERS = st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFGH0123456789!~")
_DIGITS = st.text("0123456789;:", max_size=12)


def _reply(begin: str) -> st.SearchStrategy[str]:
    body = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
    return st.builds(f"{begin}{{}}{{}}".format, body, st.sampled_from(["\x1b\\", "\x07", "\x9c"]))


_SILENT = st.one_of(
    st.builds("\x1b[{}{}{}".format, st.sampled_from(["", *"<=>?"]), _DIGITS,
              st.sampled_from("abcdefghijklmnopqrstvwxyzABCDEFGHJKLNPQSTUVWXYZ@`{|}")),
    st.builds("\x1b[{}{}u".format, st.sampled_from("<=>?"), _DIGITS),
    st.builds("\x1b[[{}".format, _LETTERS),
    st.builds("\x1bO{}".format, st.sampled_from("ABCDEFHPQRSabcdefgz")),
    *map(_reply, ["\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x1bX"]),
    st.sampled_from([key for key in ANSI_SEQUENCES if key not in (PASTE_BEGIN, "\x1b", "\x9b")]),
    st.sampled_from(["\x1b[I", "\x1b[O", "\x1b[M !!", "\x1b[<0;1;1M", "\x1b[13;2u"]),
    st.sampled_from(["\x1b[27;5;99~", "\x1b[99;5u", "\x1b[57441;2u", "\x1b[97;1:3u"]),
)  # fmt: skip
"""What leaves no text."""
_TYPED = st.one_of(
    _PRINTABLE.map(lambda key: (key, key)),
    _LETTERS.map(lambda key: (f"\x1b[{ord(key)}u", key)),
    _LETTERS.map(lambda key: (f"\x1b[{ord(key)};3:1u", key)),
    st.integers(0, 9).map(lambda key: (f"\x1b[{57399 + key}u", str(key))),
    st.integers(0, 9).map(lambda key: (f"\x1bO{chr(ord('p') + key)}", str(key))),
    st.text(max_size=30)
    .filter(lambda text: PASTE_END not in text and "\r" not in text)
    .map(lambda text: (f"{PASTE_BEGIN}{text}{PASTE_END}", text)),
)
"""What is sent, and its text."""


def _cut(data: st.DataObject, text: str) -> list[str]:
    at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[begin:end] for begin, end in zip([0, *at], [*at, len(text)], strict=True)]


@given(st.data(), st.lists(_SILENT.map(lambda sent: (sent, "")) | _TYPED, max_size=20))
def test_only_what_was_typed_becomes_text(data: st.DataObject, sent: list[tuple[str, str]]) -> None:
    keyboard = _Keyboard()
    keyboard.send(*_cut(data, "".join(each for each, _ in sent)))
    keyboard.pause()
    assert keyboard.text == "".join(text for _, text in sent)


_NOISE = st.text(
    st.sampled_from("\x1b\x1b\x1b[[]PX^_OMIR0123;:~ua\\\x07\x9b\x9c\r\x03é") | _PRINTABLE
)


@given(st.data(), st.lists(_NOISE | _SILENT | st.sampled_from([PASTE_BEGIN, PASTE_END])))
def test_cuts_do_not_matter(data: st.DataObject, sent: list[str]) -> None:
    text = "".join(sent)
    whole, parts = KeyDecoder(), KeyDecoder()
    assert whole.feed(text) == "".join(map(parts.feed, _cut(data, text)))
    assert whole.flush() == parts.flush()


@given(st.lists(_NOISE | _SILENT | st.sampled_from([PASTE_BEGIN, PASTE_END, None])))
def test_the_keyboard_always_comes_back(sent: list[str | None]) -> None:
    decoder = KeyDecoder()
    for each in sent:
        decoder.flush() if each is None else decoder.feed(each)
    decoder.flush()
    shown = ""
    for _ in range(_MAX_PAUSES):
        shown += decoder.feed("x") + decoder.flush()
    assert "x" in shown
    assert decoder.feed("y") == "y"


# --------------------------------------------------------------------------------------- a terminal


@contextmanager
def _terminal(written: list[str] | None = None) -> Iterator[tuple[int, TerminalInput]]:
    """A terminal in raw mode; `written` receives the modes that it is sent."""
    master, slave = os.openpty()
    modes: list[str] = [] if written is None else written
    try:
        with open(slave, encoding="utf-8") as stdin:
            source = TerminalInput(stdin, TerminalModes(modes.append, TerminalKind.KITTY))
            with source.raw_mode():
                yield master, source
    finally:
        os.close(master)


def _text(keys: list[KeyPress]) -> list[str]:
    return [press.data for press in keys]


def test_the_keys_of_a_terminal() -> None:
    with _terminal() as (master, source):
        os.write(master, "ä\x1b[13;2u\x1b[?1;2c\x1b".encode())
        assert [press.key for press in source.read_keys()] == ["ä", Keys.ControlJ]
        assert [press.key for press in source.flush_keys()] == [Keys.Escape]
        assert source.flush_keys() == []


_ON, _OFF = "\x1b[?1004h\x1b[>1u", "\x1b[?1004l\x1b[<u"


def test_the_modes_of_a_terminal_are_on_only_while_its_keys_are_read() -> None:
    written: list[str] = []
    with suppress(ZeroDivisionError), _terminal(written) as (_, source):
        with source.raw_mode():
            pass
        assert written == [_ON]
        with source.cooked_mode():  # for an editor, or while the program is suspended
            assert written == [_ON, _OFF]
        assert written == [_ON, _OFF, _ON]
        raise ZeroDivisionError
    assert written == [_ON, _OFF] * 2


@pytest.mark.parametrize("mode", list(EditingMode))
def test_no_key_with_a_name_leaves_its_sequence_in_an_entry(mode: EditingMode) -> None:
    async def read(master: int, source: TerminalInput) -> list[str]:
        session: PromptSession[str] = PromptSession(
            input=source, output=DummyOutput(), editing_mode=mode, history=DummyHistory()
        )
        left = []
        for sequence, key in ANSI_SEQUENCES.items():
            is_alt = isinstance(key, tuple)  # Esc would end the insert mode of vi
            is_control = len(sequence) == 1 and key is not Keys.ShiftEscape
            if is_control or sequence == PASTE_BEGIN or (is_alt and mode is EditingMode.VI):
                continue
            os.write(master, f"{sequence}\r".encode())
            if await session.prompt_async():
                left.append(sequence)
        return left

    with _terminal() as (master, source):
        assert asyncio.run(read(master, source)) == []
