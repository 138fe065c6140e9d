"""The list from which the user chooses a conversation, with keys from a pipe and an emulated
screen."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from datetime import UTC, datetime

import pyte
import pytest
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from rtchat.core.values import StoredConversation
from rtchat.ui.picker import picker_app

NOW = datetime(2025, 11, 22, 12, tzinfo=UTC).timestamp()
_UP, _DOWN, _PAGE_UP, _PAGE_DOWN = "\x1b[A", "\x1b[B", "\x1b[5~", "\x1b[6~"


def _kept(number: int, title: str, *, name: str = "", first_words: str = "") -> StoredConversation:
    updated = NOW - 3600 * number
    return StoredConversation(
        number, title, 0.0, updated, "model-2", number, name=name, first_words=first_words
    )


KEPT = [
    _kept(1, "What is a WebSocket?"),
    _kept(2, "Une idée", name="Café"),
    _kept(3, "Renamed", first_words="How do I cook rice?"),
    *(_kept(number, f"Talk {number}") for number in range(4, 41)),
]


class Typist:
    """Types keys into the picker and looks at its screen of `columns` and `rows`."""

    def __init__(self, columns: int, rows: int, kept: Sequence[StoredConversation]) -> None:
        self._size = Size(rows, columns)
        self._kept = kept
        self.screens: list[list[str]] = []
        """The rows of the screen after each of the keys, without empty ones at the end."""
        self.written = ""

    def type(self, *keys: str) -> StoredConversation | None:
        """What the user chooses by these keys."""
        return asyncio.run(self._type(keys))

    async def _type(self, keys: Sequence[str]) -> StoredConversation | None:
        screen = pyte.Screen(self._size.columns, self._size.rows)
        stream = pyte.Stream(screen)
        file = io.StringIO()
        output = Vt100_Output(file, lambda: self._size, term="xterm", enable_cpr=False)
        changed = asyncio.Event()
        with create_pipe_input() as pipe:
            app = picker_app(self._kept, now=NOW, input=pipe, output=output)
            app.after_render += lambda _: changed.set()
            task = asyncio.create_task(app.run_async())
            for each in ("", *keys):
                pipe.send_text(each)
                waiting = asyncio.create_task(changed.wait())
                await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                changed.clear()
                self.written += file.getvalue()
                stream.feed(file.getvalue())
                file.seek(0)
                file.truncate()
                rows = [row.rstrip() for row in screen.display]
                while rows and not rows[-1]:
                    del rows[-1]
                self.screens.append(rows)
            return await task


def _typist(columns: int = 80, rows: int = 24) -> Typist:
    return Typist(columns, rows, KEPT)


def test_the_list_shows_what_is_known() -> None:
    typist = _typist(60)
    assert typist.type(_DOWN, _DOWN, "\r") == KEPT[2]
    first, _, third, last = typist.screens
    assert first[1].split() == ["›", "What", "is", "a", "WebSocket?", "1", "hour", "ago"]  # noqa: RUF001
    assert first[2].split() == ["Café", "·", "Une", "idée", "2", "hours", "ago"]
    assert first[11].split() == ["1", "of", "40", "·", "ID", "1", "·", "1", "turn", "·", "model-2"]
    assert third[3].startswith("› Renamed")  # noqa: RUF001
    assert third[11].strip() == "3 of 40 · ID 3 · 3 turns · model-2 · How do I cook rice?"
    assert last == []


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("websocket", [1]),
        ("SOCKET what", [1]),
        ("cafe", [2]),
        ("idee", [2]),
        ("rice", [3]),
        ("talk 1", [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]),
        ("model-2 40", [40]),
        ("elephant", []),
    ],
)
def test_typing_filters_the_list(typed: str, found: list[int]) -> None:
    typist = _typist()
    chosen = typist.type(typed, "\r", *([] if found else ["\x03"]))
    assert (chosen and chosen.id) == (found[0] if found else None)
    ages = [
        row for row in typist.screens[1][1:] if row.endswith(("ago", "yesterday", "-21", "-20"))
    ]
    assert len(ages) == len(found)


def test_the_arrows_and_pages_stay_in_the_list() -> None:
    assert _typist().type(_UP, "\r") == KEPT[0]
    assert _typist().type(_PAGE_DOWN, "\r") == KEPT[10]
    assert _typist().type(_PAGE_DOWN, _PAGE_UP, _DOWN, "\r") == KEPT[1]
    assert _typist().type(*[_PAGE_DOWN] * 5, "\r") == KEPT[39]
    assert _typist().type(*[_DOWN] * 45, _UP, "\r") == KEPT[38]
    typist = _typist()
    assert typist.type(*[_DOWN] * 12, "talk", "\x7f", "\r") == KEPT[3]


@pytest.mark.parametrize("key", ["\x1b", "\x03"])
def test_cancelling_leaves_nothing(key: str) -> None:
    typist = _typist()
    assert typist.type(_DOWN, key) is None
    assert typist.screens[-1] == []
    assert "\x1b[?1049h" not in typist.written


@pytest.mark.parametrize(("columns", "rows"), [(40, 10), (20, 5), (10, 4), (3, 3), (200, 60)])
def test_a_small_window(columns: int, rows: int) -> None:
    typist = _typist(columns, rows)
    assert typist.type(*[_DOWN] * 8, "\r") == KEPT[8]
    assert all(len(screen) < rows or rows < 5 for screen in typist.screens)
    if columns == 40:
        (chosen,) = [row for row in typist.screens[-2] if row.startswith("›")]  # noqa: RUF001
        assert "Talk 9" in chosen
        assert chosen.endswith("ago")


def test_text_of_others_cannot_control_the_terminal() -> None:
    hostile = "\x1b]0;x\x07\x1b[31m\u202e\nnext\tline " + "全" * 200
    typist = Typist(60, 12, [_kept(1, hostile, name=hostile, first_words=hostile)])
    assert typist.type(_DOWN, "\r") is not None
    assert "\x1b]0;x" not in typist.written
    assert "\x1b[31m" not in typist.written
    assert "\u202e" not in typist.written
    assert len(typist.screens[0]) == 4
