"""The entry while replies stream above it, on a real pty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rtchat.core.effects import (
    Draft,
    Notice,
    QuestionAsked,
    QuestionDropped,
    Queued,
    Ready,
    ReplyOver,
    TextArrived,
    ToolAsked,
    Update,
)
from rtchat.core.text import MARK
from rtchat.core.values import Status, ToolCall
from rtchat.ui.approval import CHOICES
from tests.terminal import PROMPT
from tests.voiced import Voiced

ASKED = QuestionAsked("why?", "model")
CALL = ToolCall("weather", "c", '{"city": "Oslo"}')
WORDS = [f"w{number}" for number in range(300)]
CANCELLED, TAKEN_BACK = "CancelPressed()", "QueuedTakenBack()"
SIZES = [(80, 24), (40, 15), (20, 6)]


@contextmanager
def conversation(*options: str, columns: int = 72, rows: int = 20) -> Iterator[Voiced]:
    """A conversation that has started. After each update of the screen the entry must be on it, and
    the cursor in it."""
    window = Voiced("silent", *options, columns=columns, rows=rows)
    try:
        window.happens(Ready("model", 0.1))
        window.shows("rtchat", PROMPT)

        def check() -> None:
            shown = window.visible()
            assert any(line.startswith(PROMPT) for line in shown), "\n".join(shown)
            row, column = window.cursor()
            assert row.startswith((PROMPT, "  ")), row
            assert column >= 2

        window.on_update = check
        yield window
    finally:
        window.ends()


def over(text: str, status: Status = Status.COMPLETED) -> ReplyOver:
    return ReplyOver(status, text, "model")


def words(lines: list[str]) -> list[str]:
    """The words of the reply on the screen."""
    return [word for line in lines for word in line.split() if word in WORDS]


@pytest.mark.parametrize("option", ["rendered", "plain"])
@pytest.mark.parametrize("size", SIZES)
def test_typing_while_a_reply_streams(size: tuple[int, int], option: str) -> None:
    columns, rows = size
    with conversation(option, columns=columns, rows=rows) as window:
        window.happens(ASKED)
        draft = "a draft!"
        for number, word in enumerate(WORDS):
            window.happens(TextArrived(word + ("\n\n" if number % 10 == 9 else " ")))
            if number % 40 == 0:
                window.types(draft[number // 40])
        window.shows(f"{PROMPT} {draft}")
        window.happens(over(""))
        lines = window.shows("w299", f"{PROMPT} {draft}")
        assert words(lines) == WORDS, "\n".join(lines)
        assert window.requests == 0, "nothing asks for the position of the cursor"
        window.types("\r")
        assert window.means() == f"UserSaid(text='{draft}')"


def test_a_window_that_changes_while_typing_and_streaming() -> None:
    with conversation(columns=30, rows=20) as window:
        window.on_update = lambda: None
        window.happens(ASKED)
        sizes = [(36, 10), (44, 24), (44, 6), (60, 20), (72, 12), (78, 24)]
        draft = ""
        for number, word in enumerate(WORDS):
            window.happens(TextArrived(word + ("\n\n" if number % 10 == 9 else " ")))
            if number % 50 == 25:
                draft += f"{number} and "
                window.types(f"{number} and ")
                window.resizes(*sizes[number // 50])
        window.happens(over(""))
        lines = window.shows("w299", PROMPT)
        assert words(lines) == WORDS, "\n".join(lines)
        assert not {"╭", "╰", "│"} & {*"".join(lines)}
        shown = [line for line in lines if "and" in line]
        assert shown == [f"{PROMPT} {draft}".rstrip()]
        window.types("\r")
        assert window.means() == f"UserSaid(text='{draft}')"


def test_the_draft_of_a_narrower_window_is_wrapped_again() -> None:
    with conversation(columns=60) as window:
        window.types("one two three four five six seven")
        window.shows(f"{PROMPT} one two three four five six seven")
        window.on_update = lambda: None
        window.resizes(20, 10)
        window.shows("four", "seven")
        window.resizes(60, 10)
        lines = window.shows(f"{PROMPT} one two three four five six seven")
        assert sum("one" in line for line in lines) == 1


@pytest.mark.parametrize("size", SIZES)
def test_waiting_questions_and_a_draft_during_a_reply(size: tuple[int, int]) -> None:
    with conversation(columns=size[0], rows=size[1]) as window:
        window.happens(ASKED, TextArrived("It is"), Queued(("one", "two", "three", "four")))
        window.types("draft")
        window.shows("2 more", f"{PROMPT} draft")
        window.types("\x15\x1b[A")
        assert window.means() == TAKEN_BACK
        window.happens(Queued(("one", "two", "three")), Draft("four"))
        window.shows("three", f"{PROMPT} four")
        window.types(" and\x03")
        assert window.means() == CANCELLED
        window.happens(over("It is", Status.CANCELLED))
        window.shows("It is", "interrupted", f"{PROMPT} four and")
        window.happens(Queued(()), *(QuestionDropped(text) for text in ("one", "two", "three")))
        window.shows(f"{PROMPT} one", f"{PROMPT} two", f"{PROMPT} three", f"{PROMPT} four and")
        window.types("\x03")
        lines = window.shows(f"{PROMPT} three", PROMPT)
    assert lines[-1] == PROMPT
    assert not any("queued" in line or "four" in line for line in lines)


@pytest.mark.parametrize("end", [Status.COMPLETED, Status.CANCELLED, Status.FAILED])
def test_a_draft_outlives_the_reply_and_notices(end: Status) -> None:
    with conversation() as window:
        window.happens(ASKED, TextArrived("It is"))
        window.types("my dr")
        window.shows("│ It is", f"{PROMPT} my dr")
        window.happens(over("It is", end), Notice("info", "news"))
        window.types("aft")
        window.shows("It is", "news", f"{PROMPT} my draft")
        window.types("\r")
        assert window.means() == "UserSaid(text='my draft')"


# --------------------------------------------------------------------- the question about a call


@pytest.mark.parametrize(
    ("typed", "event"),
    [
        ("y\r", "ToolAnswered(answer='yes')"),
        ("Always\r", "ToolAnswered(answer='always')"),
        ("\rperhaps\r \rn\r", "ToolAnswered(answer='no')"),
        ("\x03", CANCELLED),
        ("ye\x1b", CANCELLED),
        ("\x04", CANCELLED),
    ],
)
def test_a_question_about_a_call(typed: str, event: str) -> None:
    with conversation() as window:
        window.on_update = lambda: None
        window.happens(ASKED, TextArrived("Let me see."))
        window.types("draft")
        window.shows("│ Let me see.", f"{PROMPT} draft")
        assert window.requests == 0
        window.happens(ToolAsked(CALL))
        asked = f"{MARK} {CHOICES} {PROMPT}"
        lines = window.shows(f"{MARK} Run weather?", '"Oslo"', asked)
        assert (lines[-1], window.requests) == (asked, 1)
        assert not any("draft" in line for line in lines)
        window.happens(Notice("info", "held"))
        window.types(typed)
        assert window.means() == event
        window.happens(over("Let me see.", Status.CANCELLED))
        lines = window.shows("Run weather?", '"Oslo"', asked, "held", f"{PROMPT} draft")
    assert sum("Run weather?" in line for line in lines) == 1
    assert sum("[n]o" in line for line in lines) == 1


def test_keys_of_a_user_who_is_typing_do_not_answer() -> None:
    with conversation() as window:
        window.on_update = lambda: None
        window.happens(ASKED)
        window.types("so")
        window.shows(f"{PROMPT} so")
        window.happens(ToolAsked(CALL))
        window.types("y")
        window.shows("Run weather?", "[n]o")
        window.types("n\r")
        assert window.means() == "ToolAnswered(answer='no')"
        window.happens(over(""))
        window.shows("[n]o", f"{PROMPT} so")
        window.types("\r")
        assert window.means() in ("UserSaid(text='soy')", "UserSaid(text='so')")


def test_a_question_that_is_over_leaves_the_draft_to_be_typed() -> None:
    with conversation() as window:
        window.on_update = lambda: None
        window.types("dra")
        window.happens(ASKED, ToolAsked(CALL))
        window.shows("Run weather?", "[n]o")
        window.happens(over("", Status.CANCELLED))
        window.shows("[n]o", "interrupted", f"{PROMPT} dra")
        window.types("ft\r")
        assert window.means() == "UserSaid(text='draft')"


def test_a_question_that_is_over_before_it_is_shown_asks_for_nothing() -> None:
    with conversation() as window:
        window.on_update = lambda: None
        window.happens(ASKED, ToolAsked(CALL), over("", Status.CANCELLED))
        window.shows("interrupted", PROMPT)
        window.types("next\r")
        assert window.means() == "UserSaid(text='next')"


def test_a_question_in_a_window_that_changes() -> None:
    with conversation() as window:
        window.on_update = lambda: None
        window.happens(ASKED, ToolAsked(CALL))
        window.shows("Run weather?", '"Oslo"', "[n]o")
        window.resizes(40, 15)
        window.shows("Run weather?", '"Oslo"', "[n]o")
        window.types("y\r")
        assert window.means() == "ToolAnswered(answer='yes')"
        update: Update = over("Sunny.")
        window.happens(update)
        lines = window.shows("Run weather?", '"Oslo"', "[n]o", "Sunny.", PROMPT)
    assert sum('"Oslo"' in line for line in lines) == 1
