"""What the entry shows and sends: waiting questions, pastes, earlier input, keys, small windows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.formatted_text.utils import fragment_list_to_text
from prompt_toolkit.layout import BufferControl
from prompt_toolkit.layout.processors import TransformationInput
from rich.text import Text

from rtchat.core.events import (
    CancelPressed,
    EntryAbandoned,
    LeaveAsked,
    LocalEvent,
    QueuedTakenBack,
)
from rtchat.ui.entries import Entry
from rtchat.ui.pasted import MAX_CHARACTERS, MAX_LINES, FoldedPastes, Pastes
from tests.entry import EnteredText, with_entry
from tests.terminal import PROMPT
from tests.typist import Typist

LINES = "\n".join(f"line {number}" for number in range(2000))
OTHER = "\n".join("abcdefghijklmnopqrst")


def pasted(text: str) -> str:
    """What a terminal sends for a paste."""
    return f"\x1b[200~{text.replace(chr(10), chr(13))}\x1b[201~"


# ---------------------------------------------------------------------------- questions that wait


@pytest.mark.parametrize(
    ("waiting", "shown"),
    [
        (1, ["queued: q1"]),
        (3, ["queued: q1", "queued: q2", "queued: q3"]),
        (4, ["queued: q1", "queued: q2", "queued: 2 more questions"]),
        (50, ["queued: q1", "queued: q2", "queued: 48 more questions"]),
    ],
)
def test_the_first_waiting_questions_are_shown(waiting: int, shown: list[str]) -> None:
    async def use(entry: EnteredText) -> list[str]:
        await entry.types("draft")
        entry.prompt.set_queue([f"q{number + 1}" for number in range(waiting)])
        await entry.settles()
        return entry.screen.rows()

    assert with_entry(use) == [*shown, f"{PROMPT} draft"]


@pytest.mark.parametrize("text", ["words " * 50, "漢字" * 50, "one\ntwo\n" * 50, "\x1b[2J" * 50])
def test_a_waiting_question_takes_one_row(text: str) -> None:
    async def use(entry: EnteredText) -> list[str]:
        entry.prompt.set_queue([text, "next"])
        await entry.settles()
        return entry.screen.rows()

    first, *rest = with_entry(use, width=40)
    assert first.startswith("queued: ")
    assert first.endswith("…")
    assert rest == ["queued: next", PROMPT]


def test_up_on_an_empty_entry_takes_the_last_one_back() -> None:
    async def use(entry: EnteredText) -> list[list[str]]:
        entry.prompt.set_queue(["one", "two"])
        await entry.types("\x1b[A")
        entry.prompt.set_queue(["one"])
        entry.prompt.set_draft("two")
        await entry.settles()
        before = entry.screen.rows()
        await entry.types("!\x1b[A")  # the entry is not empty
        assert entry.pressed == [QueuedTakenBack()]
        return [before, entry.screen.rows()]

    assert with_entry(use) == [
        ["queued: one", f"{PROMPT} two"],
        ["queued: one", f"{PROMPT} two!"],
    ]


# -------------------------------------------------------------------------------- Ctrl-C and Esc


@pytest.mark.parametrize("key", ["\x03", "\x1b"])
def test_stopping_a_reply_leaves_the_draft(key: str) -> None:
    async def use(entry: EnteredText) -> list[str]:
        entry.is_replying = True
        await entry.types(f"draft{key}")
        await entry.until(lambda: bool(entry.pressed))
        entry.is_replying = False
        await entry.types("!")
        assert entry.pressed == [CancelPressed()]
        return entry.screen.rows()

    assert with_entry(use) == [f"{PROMPT} draft!"]


def test_ctrl_c_without_a_reply_clears_the_draft_and_up_restores_it() -> None:
    async def use(entry: EnteredText) -> tuple[list[str], list[str], list[LocalEvent]]:
        await entry.types("draft\x03")
        cleared = entry.screen.rows()
        await entry.types("\x03\x1b[A!")
        return cleared, entry.screen.rows(), entry.pressed

    assert with_entry(use) == ([PROMPT], [f"{PROMPT} draft!"], [EntryAbandoned()])


@pytest.mark.parametrize("start", ["/usage", pasted("/usage"), pasted(f"/usage\n{LINES}")])
def test_a_draft_that_is_restored_is_a_command_if_it_was_one(start: str) -> None:
    async def use(entry: EnteredText) -> list[Entry]:
        await entry.types(start)
        await entry.types("\x03")
        await entry.types("/usage\r")
        await entry.types(start)
        await entry.types("\x03\x1b[A\r")
        return entry.entries

    first, second = with_entry(use)
    assert (first.is_literal, second.is_literal) == (False, start != "/usage")


def test_a_draft_that_was_cleared_is_kept_in_the_input_history(tmp_path: Path) -> None:
    async def clear(entry: EnteredText) -> None:
        await entry.types(f"see {pasted(LINES)}\x03")

    with_entry(clear, tmp_path / "history")
    (line,) = (tmp_path / "history").read_text().splitlines()
    assert json.loads(line) == f"see {LINES}"


# ---------------------------------------------------------------------------------------- pastes


def test_large_pastes_are_folded_and_sent_whole() -> None:
    async def use(entry: EnteredText) -> tuple[list[str], list[str]]:
        await entry.types(f"a {pasted(LINES)} b {pasted('x' * 3000)} c {pasted('short')}")
        shown = entry.screen.rows()
        await entry.types("\r")
        return shown, entry.texts

    shown, sent = with_entry(use, width=80)
    assert shown == [f"{PROMPT} a [pasted 2,000 lines] b [pasted 3,000 characters] c short"]
    assert sent == [f"a {LINES} b {'x' * 3000} c short"]


def test_a_paste_is_edited_around_and_removed_as_one_character() -> None:
    async def use(entry: EnteredText) -> list[str]:
        await entry.types(f"{pasted(LINES)}{pasted(OTHER)}")
        assert entry.screen.rows() == [f"{PROMPT} [pasted 2,000 lines][pasted 20 lines]"]
        assert entry.screen.cursor == (0, 39)
        await entry.types("\x1b[D-\x01a\x05z")  # left, Ctrl-A, Ctrl-E
        assert entry.screen.rows() == [f"{PROMPT} a[pasted 2,000 lines]-[pasted 20 lines]z"]
        await entry.types("\x1b[D\x7f\x7f")  # left, twice Backspace
        assert entry.screen.rows() == [f"{PROMPT} a[pasted 2,000 lines]z"]
        assert entry.screen.cursor == (0, 23)
        await entry.types("\x01\x1b[C\x1b[Cb\r")  # Ctrl-A, twice right
        return entry.texts

    assert with_entry(use) == [f"a{LINES}bz"]


def test_undo_restores_a_paste() -> None:
    async def use(entry: EnteredText) -> list[str]:
        await entry.types(f"a{pasted(LINES)}")
        await entry.types("\x7f")
        assert entry.screen.rows() == [f"{PROMPT} a"]
        await entry.types("\x1f\r")  # Ctrl-_
        return entry.texts

    assert with_entry(use) == [f"a{LINES}"]


def test_the_same_paste_again_and_another_after_it_was_sent() -> None:
    async def use(entry: EnteredText) -> list[str]:
        await entry.types(f"{pasted(LINES)} {pasted(LINES)}\r")
        await entry.types(f"{pasted(OTHER)}\r")
        return entry.texts

    assert with_entry(use) == [f"{LINES} {LINES}", OTHER]


def test_earlier_input_has_a_paste_whole(tmp_path: Path) -> None:
    async def use(entry: EnteredText) -> list[str]:
        await entry.types(f"{pasted(OTHER)}\r")
        await entry.types("\x1b[A\r")
        return entry.texts

    assert with_entry(use, tmp_path / "history") == [OTHER, OTHER]
    lines = (tmp_path / "history").read_text().splitlines()
    assert {json.loads(line) for line in lines} == {OTHER}


@pytest.mark.parametrize("start", ["/exit", "/usage now", "/home/me/app.py fails", "// TODO"])
@pytest.mark.parametrize("end", ["", f"\n{OTHER}"])
def test_an_entry_that_begins_with_a_paste_is_literal(start: str, end: str) -> None:
    async def use(entry: EnteredText) -> list[Entry]:
        await entry.types(f"{pasted(start + end)}\r")
        await entry.types("/usage\r")
        await entry.types(f"{pasted(start)}\x15/usage\r")  # Ctrl-U
        return entry.entries

    first, *rest = with_entry(use)
    assert (first.text, first.is_literal) == (start + end, True)
    assert rest == [Entry("/usage"), Entry("/usage")]


def test_a_paste_after_what_was_typed_leaves_that_a_command() -> None:
    async def use(entry: EnteredText) -> list[Entry]:
        await entry.types(f"/system {pasted('Be brief.')}\r")
        return entry.entries

    (entry,) = with_entry(use)
    assert (entry.text, entry.is_literal) == ("/system Be brief.", False)


def test_tabs_in_a_paste_are_shown_as_tabs_and_sent() -> None:
    async def use(entry: EnteredText) -> tuple[list[str], list[str]]:
        text = "a\tb\n\tc"
        await entry.types(pasted(text))
        shown = entry.screen.rows()
        await entry.types("\r")
        return shown, entry.texts

    assert with_entry(use) == ([f"{PROMPT} a   b", "      c"], ["a\tb\n\tc"])


@pytest.mark.parametrize("text", ["\r\n", "one\r\ntwo\rthree\nfour"])
def test_all_line_ends_of_a_paste_are_newlines(text: str) -> None:
    async def use(entry: EnteredText) -> list[str]:
        await entry.types(f"x\x1b[200~{text}\x1b[201~y\r")
        return entry.texts

    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    assert with_entry(use) == [f"x{lines}y"]


def test_icons_of_fonts_can_be_pasted_and_typed() -> None:
    text = "\ue0b0 \U000f0001 \U000f0000"

    async def use(entry: EnteredText) -> list[str]:
        await entry.types(f"{pasted(text)}{text}{pasted(LINES)}\r")
        return entry.texts

    assert with_entry(use) == [f"{text}{text}{LINES}"]


def test_the_editor_gets_a_paste_whole(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/seen\nprintf \'much\\nbetter\' > "$1"\n')
    editor.chmod(0o700)
    typist = Typist(tmp_path / "history", editor=str(editor))
    try:
        typist.shows("connected in", PROMPT)
        typist.types(f"see {pasted(LINES)}")
        typist.shows(f"{PROMPT} see [pasted 2,000 lines]")
        typist.types("\x18\x05")
        typist.shows(f"{PROMPT} much", "  better")
        assert (tmp_path / "seen").read_text() == f"see {LINES}"
        typist.types("\r")
        assert typist.means() == r"UserSaid(text='much\nbetter')"
    finally:
        typist.ends()


@given(
    st.lists(
        st.one_of(
            st.text(max_size=20),
            st.integers(MAX_LINES - 2, MAX_LINES + 2).map("\n".join("ab").__mul__),
            st.integers(MAX_CHARACTERS - 1, MAX_CHARACTERS + 1).map("y".__mul__),
        ),
        max_size=6,
    )
)
@settings(max_examples=60)
def test_unfolded_pastes_are_what_was_pasted(texts: list[str]) -> None:
    pastes = Pastes()
    folded = [pastes.fold(text) for text in texts]
    kept = re.sub("[\U00100000-\U0010fffd]", "\ufffd", "".join(texts))
    assert pastes.unfold("".join(folded)) == kept
    for text, shown in zip(texts, folded, strict=True):
        is_large = text.count("\n") >= MAX_LINES or len(text) > MAX_CHARACTERS
        assert (len(shown) == 1 < len(text)) == is_large


def test_the_cursor_is_where_it_is_in_the_buffer() -> None:
    pastes = Pastes()
    line = f"a{pastes.fold(LINES)}b"
    given = TransformationInput(
        BufferControl(Buffer()), Document(line), 0, lambda i: i, [("", line)], 80, 24
    )
    shown = FoldedPastes(pastes).apply_transformation(given)
    assert fragment_list_to_text(shown.fragments) == "a[pasted 2,000 lines]b"
    assert [shown.source_to_display(at) for at in range(5)] == [0, 1, 21, 22, 23]
    assert [shown.display_to_source(at) for at in (0, 1, 2, 20, 21, 22)] == [0, 1, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("a\n" * 2000, "[pasted 2,000 lines]"),
        ("a\n" * 2000 + "b", "[pasted 2,001 lines]"),
        ("x" * 2001, "[pasted 2,001 characters]"),
        ("x" * 2001 + "\n", "[pasted 2,002 characters]"),
    ],
)
def test_the_label_of_a_paste(text: str, label: str) -> None:
    pastes = Pastes()
    mark = pastes.fold(text)
    assert pastes.label(mark) == label
    pastes.clear()
    assert pastes.unfold(mark) != text


# --------------------------------------------------------------------- earlier input and completion


def test_an_earlier_entry_is_suggested_and_taken_with_the_right_arrow(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text('"what is the time?"\n')

    async def use(entry: EnteredText) -> tuple[list[str], list[str]]:
        await entry.types("what")
        await entry.shows(f"{PROMPT} what is the time?")
        assert entry.screen.cursor == (0, 6)
        await entry.types("\r")
        await entry.types("what is")
        await entry.shows(f"{PROMPT} what is the time?")
        await entry.types("\x1b[C\r")
        return entry.texts, entry.screen.rows()

    assert with_entry(use, path) == (["what", "what is the time?"], [PROMPT])


def test_a_search_finds_earlier_entries_step_by_step() -> None:
    async def use(entry: EnteredText) -> list[str]:
        for text in ("red apples", "green apples", "pears"):
            await entry.types(f"{text}\r")
        await entry.types("\x12APP")
        await entry.shows(f"{PROMPT} green apples", "I-search backward: APP")
        await entry.types("\x07")  # Ctrl-G
        assert entry.screen.rows() == [PROMPT]
        await entry.types("\x12app\x12\r")
        await entry.shows(f"{PROMPT} red apples")
        await entry.types("\r")
        return entry.texts[3:]

    assert with_entry(use) == ["red apples"]


def test_a_menu_of_completions_below_the_entry() -> None:
    async def use(entry: EnteredText) -> list[str]:
        await entry.types("/")
        await entry.types("\t")
        shown = await entry.shows(f"{PROMPT} /", "/new", "/resume")
        assert len(shown) == 1 + 20 // 3
        await entry.types("\t")
        await entry.shows(f"{PROMPT} /new", "/new")
        entry.panel.print(Text("printed above"))
        await entry.shows("printed above", f"{PROMPT} /new", "/new")
        await entry.types("\x07")
        return entry.screen.rows()

    assert with_entry(use)[0] == "printed above"


# ---------------------------------------------------------------------------------- keys of vi


def test_the_keys_of_vi() -> None:
    async def use(entry: EnteredText) -> list[str]:
        await entry.types("one two\x1b")
        await entry.types("bcwthree\x1b")
        await entry.shows(f"{PROMPT} one three")
        await entry.types("0x\r")
        await entry.types("insert\r")
        return entry.texts

    assert with_entry(use, mode=EditingMode.VI) == ["ne three", "insert"]


def test_in_vi_mode_the_second_esc_stops_a_reply() -> None:
    async def use(entry: EnteredText) -> list[str]:
        entry.is_replying = True
        await entry.types("draft\x1b")
        await entry.until(lambda: entry.screen.cursor == (0, 6))
        assert entry.pressed == []
        await entry.types("\x1b")
        await entry.until(lambda: entry.pressed == [CancelPressed()])
        await entry.types("x")
        return entry.screen.rows()

    assert with_entry(use, mode=EditingMode.VI) == [f"{PROMPT} draf"]


# -------------------------------------------------------------------------------- small windows


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 15), (20, 6), (20, 3), (10, 2)])
def test_an_entry_takes_at_most_half_of_the_screen(width: int, height: int) -> None:
    async def use(entry: EnteredText) -> list[str]:
        await entry.types("\n".join(f"row {number}" for number in range(30)))
        bottom = entry.screen.rows()
        assert entry.screen.cursor == (len(bottom) - 1, 8)
        await entry.types("\x1b[A" * 29)
        top = entry.screen.rows()
        assert top[0] == f"{PROMPT} row 0"
        assert entry.screen.cursor[0] == 0
        await entry.types("\r")
        assert entry.screen.rows() == [PROMPT]
        return bottom

    shown = with_entry(use, width=width, height=height)
    rows = max(height // 2, 1)
    assert shown == [f"  row {number}" for number in range(30 - rows, 30)]


@pytest.mark.parametrize(("width", "height"), [(40, 15), (20, 6), (20, 4), (10, 3)])
def test_a_long_line_is_wrapped_and_its_end_is_visible(width: int, height: int) -> None:
    async def use(entry: EnteredText) -> tuple[list[str], list[str]]:
        await entry.types("x" * 300 + "END")
        shown = entry.screen.rows()
        await entry.types("\r")
        return shown, entry.texts

    shown, sent = with_entry(use, width=width, height=height)
    assert len(shown) <= max(height // 2, 1)
    assert "".join(shown).replace(" ", "").endswith("END")
    assert sent == ["x" * 300 + "END"]


@pytest.mark.parametrize(("width", "height"), [(40, 15), (20, 6), (20, 5), (12, 4), (10, 3)])
def test_the_entry_is_visible_below_waiting_questions(width: int, height: int) -> None:
    async def use(entry: EnteredText) -> list[str]:
        entry.prompt.set_queue([f"question {number}" for number in range(5)])
        await entry.types("draft")
        return entry.screen.visible()

    shown = with_entry(use, width=width, height=height)
    assert shown[-1] == f"{PROMPT} draft"
    assert not any("too small" in line for line in shown)


def test_leaving_removes_the_entry() -> None:
    async def use(entry: EnteredText) -> EnteredText:
        entry.panel.print(Text("above"))
        await entry.types("\x04")
        assert entry.pressed == [LeaveAsked()]
        return entry

    assert with_entry(use).screen.rows() == ["above"]
