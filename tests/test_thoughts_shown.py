"""The model's thoughts are shown while they arrive, and then folded into a line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtchat.core.effects import QuestionAsked, ReplyOver, TextArrived, ToolAsked
from rtchat.core.thinking import answer_of
from rtchat.core.values import Entry, Message, Part, State, Status, StoredConversation, ToolCall
from rtchat.history.export import export
from rtchat.history.transcript import branch_lines
from rtchat.server.script import Rule, Script, ScriptEngine
from rtchat.server.sockets import run_server
from rtchat.ui.history_view import show, show_end
from rtchat.ui.live_view import LiveView
from rtchat.ui.plain_view import PlainView, StatusWriter
from tests.documents import DOCUMENTS, RANDOM, cut
from tests.program import Program, background
from tests.screen import Screen
from tests.terminal import PROMPT, Terminal
from tests.test_scrollback import at_once

THOUGHT = "Okay, a **greeting**.\n\n- I greet back.\n"
REPLY = f"<think>\n{THOUGHT}</think>\n\nHello *there*."
LINE = "thought for 1.0 s (3 lines)"


class Show:
    """A view on a screen; each delta takes a second."""

    def __init__(self, *, banner: bool = False, width: int = 60, height: int = 20) -> None:
        self.screen = Screen(width, height)
        self._now = 0.0
        console = self.screen.console
        self.view = LiveView(console, console, now=lambda: self._now, banner=banner)
        self.ask()

    def ask(self) -> None:
        """Ask a question."""
        self._text = ""
        self.view.show(QuestionAsked("?", "m"))

    def add(self, *deltas: str) -> list[str]:
        """Add text. Returns the rows of the screen."""
        for delta in deltas:
            self._now += 1
            self._text += delta
            self.view.show(TextArrived(delta))
            self.view.tick()
        return self.screen.visible()

    def end(self, status: Status = Status.COMPLETED) -> list[str]:
        """End the reply. Returns the scrollback."""
        self.view.show(ReplyOver(status, self._text, "m"))
        return self.screen.rows()


def framed(rows: list[str]) -> list[str]:
    """The text in the frame."""
    return [row.strip("│ ") for row in rows if row.startswith("│")]


def test_the_panel_shows_the_end_of_the_thought() -> None:
    show = Show()
    assert framed(show.add("<thi", "nk>\nOkay, a **gree")) == ["thinking…", "Okay, a **gree"]
    long = [f"line {number}" for number in range(50)]
    rows = framed(show.add("\n".join(long)))
    assert rows[0] == "thinking…"
    assert rows[1:] == long[-len(rows) + 1 :]
    assert 4 <= len(rows) <= 10
    assert not any(row.startswith("line") for row in show.screen.rows())
    show.add("\n</think>\n\nIt is **bold**")
    assert framed(show.screen.visible()) == ["It is bold"]


def test_the_panel_shows_the_thought_in_a_small_window() -> None:
    show = Show(height=4)
    assert framed(show.add("<think>first\nlast")) == ["last"]


def test_a_thought_is_folded_into_a_line() -> None:
    show = Show()
    show.add("<think>\nOkay, a **greeting**.\n\n", "- I greet back.\n</think>\n\nHello *there*.")
    assert show.end() == [LINE, "", "Hello there."]


def test_in_a_conversation_the_line_names_the_command_that_shows_the_thought() -> None:
    show = Show(banner=True)
    show.add(REPLY)
    rows = show.end()
    assert "thought (3 lines) · /reasoning shows it" in rows
    assert "Hello there." in rows


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.CANCELLED])
def test_a_thought_that_is_not_closed(status: Status) -> None:
    show = Show()
    show.add("<think>", "I think")
    assert show.end(status)[0] == "thought (1 line)"
    assert not any("I think" in row for row in show.screen.rows())


def test_an_empty_thought_leaves_no_line() -> None:
    show = Show()
    assert framed(show.add("<think>\n\n")) in ([], [""])
    show.add("</think>\n\nHello.")
    assert show.end() == ["Hello."]
    show = Show()
    show.add("</think>\n\nHello.")
    assert show.end() == ["Hello."]


def test_a_thought_without_an_opening_tag_stays_above_a_line() -> None:
    show = Show()
    show.add("Okay, a **gree", "ting**.\n</thi", "nk>\n", "\nHello.")
    thought, gap, line, *rest = show.end()
    assert (thought, gap) == ("Okay, a greeting.", "")
    assert "above" in line
    assert rest == ["", "Hello."]


def test_after_an_unopened_tag_the_next_reply_is_expected_to_begin_with_a_thought() -> None:
    show = Show()
    show.add("first\n</think>\n\nOne.")
    show.end()
    show.ask()
    assert framed(show.add("sec", "ond\n")) == ["thinking…", "second"]
    assert framed(show.add("</think>\n", "\nTwo.")) == ["Two."]
    assert show.end()[-4:] == ["", "thought for 3.0 s (1 line)", "", "Two."]
    show.ask()
    assert framed(show.add("It is **bold**.\n\n", "More.")) == [
        *("thinking…", "It is **bold**.", "", "More.")
    ]
    assert show.end()[-4:] == ["", "It is bold.", "", "More."]  # there was no tag
    show.ask()
    assert framed(show.add("As **usual**")) == ["As usual"]


def test_a_thought_with_tags_is_folded_after_one_without_an_opening_tag() -> None:
    show = Show()
    show.add("first\n</think>\n\nOne.")
    show.end()
    for _ in range(2):
        show.ask()
        show.add("<think>", "second</think>\n", "Two")
        assert show.end()[-3:] == ["thought for 1.0 s (1 line)", "", "Two"]


def test_each_text_between_calls_has_its_own_thought() -> None:
    show = Show()
    show.add("<think>\nfirst\n</think>\n\nI look.")
    show.view.show(ToolAsked(ToolCall("f", "c", "{}")))
    show.add("\n\n<think>\nsecond\nthird\n</think>\n\nDone.")
    shown = [row for row in show.end() if row]
    assert shown == [
        "thought (1 line)",
        "I look.",
        "thought (2 lines)",
        "Done.",
    ]


@pytest.mark.full
@settings(max_examples=40, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    thought=st.sampled_from(("", "a\n", THOUGHT, "```\nx\n```\n", "| a |\n|---|\n" * 30)),
    answer=st.one_of(DOCUMENTS, RANDOM),
    has_opening_tag=st.booleans(),
    places=st.lists(st.integers(0, 5_000), max_size=40),
    width=st.integers(20, 120),
    height=st.integers(3, 40),
)
def test_the_scrollback_is_the_line_and_the_answer(
    thought: str, answer: str, has_opening_tag: bool, places: list[int], width: int, height: int
) -> None:
    """For any document, deltas and window."""
    show = Show(width=width, height=height)
    above = 0
    if has_opening_tag:
        thought = f"{thought}```\n"
    else:
        show.add("a\n</think>\nb")
        above = len(show.end()) + 1
        show.ask()
    text = f"{'<think>' if has_opening_tag else ''}\n{thought}\n</think>\n{answer}"
    show.add(*cut(text, places))
    rows = show.end()[above:]
    if thought:
        assert rows[0].startswith("thought ")
        rows = rows[1 if rows[0].endswith(")") else 2 :]
    # Empty lines at the beginning are a part of the tag.
    expected = at_once(answer_of(text), width) if answer.strip() else []
    assert rows == (["", *expected] if thought and any(expected) else expected)


# -------------------------------------------------------------------------------- where it is text


def test_the_plain_view_shows_the_text_of_the_model() -> None:
    for raw in (True, False):
        out = io.BytesIO()
        view = PlainView(out, StatusWriter(None), raw=raw)
        view.show(TextArrived(REPLY))
        view.show(ReplyOver(Status.COMPLETED, REPLY, "m"))
        assert out.getvalue().decode() == f"{REPLY}\n"


def test_a_terminal_without_rendering_shows_the_text_of_the_model() -> None:
    screen = Screen(60, 20)
    view = LiveView(screen.console, screen.console, plain=True)
    view.show(QuestionAsked("?", "m"))
    view.show(TextArrived(REPLY))
    view.show(ReplyOver(Status.COMPLETED, REPLY, "m"))
    assert screen.rows() == REPLY.split("\n")


# ------------------------------------------------------------------------------------- the history


def kept(*replies: str) -> StoredConversation:
    """A saved conversation with a turn for each reply."""
    entries = []
    for turn, text in enumerate(replies, 1):
        for index, (role, said) in enumerate((("user", "Hi"), ("assistant", text))):
            item = Message("user" if role == "user" else "assistant", (Part("text", said),))
            entries.append(Entry(turn, index, item, State.COMPLETED, "m"))
    return StoredConversation(1, "t", 0.0, 0.0, "m", len(replies), tuple(entries))


@pytest.mark.parametrize("shown", [show, show_end])
def test_the_history_shows_a_line_for_a_thought(shown: object) -> None:
    assert callable(shown)
    screen = Screen(60, 30)
    shown(kept(REPLY, "<think>\nonly\n</think>\n"), screen.console)
    rows = screen.rows()
    first = rows.index("thought (3 lines)")
    assert rows[first : first + 3] == ["thought (3 lines)", "", "Hello there."]
    assert "thought (1 line)" in rows
    assert not any("greeting" in row or "only" in row for row in rows)


def test_the_tree_of_branches_shows_the_answer() -> None:
    stored = kept(REPLY, "Other.")
    first, second, *rest = stored.entries[:2] + stored.entries[2:]
    branched = StoredConversation(
        1,
        *("t", 0.0, 0.0, "m", 2),
        (first, second, *(Entry(2, e.index, e.item, e.state, "m", parent=0) for e in rest)),
        head=2,
    )
    lines = branch_lines(branched)
    assert any("Hello *there*." in line for line in lines)
    assert not any("think" in line or "Okay" in line for line in lines)


def test_a_web_page_folds_the_thought() -> None:
    page = export(kept("<think>\n<b>I</b> & you\n</think>\n\nHello *there*."), "html")
    details = page[page.index("<details") : page.index("</details>")]
    assert "&lt;b&gt;I&lt;/b&gt; &amp; you" in details
    assert "Hello" not in details
    assert "<em>there</em>" in page
    assert "think&gt;" not in page
    assert "<details" not in export(kept("Hello."), "html")


def test_other_exports_have_the_text_of_the_model() -> None:
    assert REPLY in export(kept(REPLY), "markdown")
    assert "<think>" in export(kept(REPLY), "json")


# ----------------------------------------------------------------------------------- in a terminal

LINES = tuple(f"step {number}\n" for number in range(1, 61))
SCRIPT = Script(
    (
        Rule("long", deltas=("<think>\n", *LINES, "</think>\n\n", "It is done.")),
        Rule("endless", deltas=("<think>\n", "never"), end=None),
        Rule(deltas=("<think>\nbriefly\n</think>\n\n", "Yes.")),
    )
)


def test_reasoning_shows_a_long_thought_in_the_pager(tmp_path: Path) -> None:
    with background(lambda: run_server(ScriptEngine(SCRIPT))) as url:
        terminal = Terminal(Program(tmp_path), ["--url", url, "-m", "m"], {})
        terminal.shows("/help", PROMPT)
        terminal.types("short\r")
        terminal.shows("(1 line) · /reasoning shows it", "Yes.", "m · ", PROMPT)
        terminal.types("/reasoning\r")
        terminal.shows("/reasoning", "reasoning effort", "briefly", PROMPT)
        terminal.types("long\r")
        lines = terminal.shows("(60 lines) · /reasoning shows it", "It is done.", "m · ", PROMPT)
        assert not any(line.startswith("step") for line in lines)
        terminal.types("/reasoning\r")
        terminal.shows("step 1", "step 15", ":")
        terminal.types(" ")
        terminal.shows("step 30")
        terminal.types("q")
        terminal.shows(PROMPT)
        terminal.types("endless\r")
        terminal.shows("thinking…", "never")
        terminal.types("\x03")
        lines = terminal.shows("(1 line) · /reasoning shows it", "interrupted", PROMPT)
        assert not any("never" in line for line in lines)
        terminal.types("/exit\r")
        assert terminal.ends() == 0
