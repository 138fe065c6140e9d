"""The screen while a reply streams, and the scrollback after it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtchat.core.effects import (
    Connecting,
    EventReceived,
    Notice,
    QuestionAsked,
    Ready,
    ReplyHeard,
    ReplyOver,
    Report,
    TextArrived,
    Timing,
    Totals,
    UserTranscript,
    Waiting,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.values import SessionInfo, Status, Usage
from rtchat.ui.console import ThemedConsole
from rtchat.ui.live_view import LiveView
from tests.documents import ANSWER, RANDOM, cut
from tests.screen import Screen

MODEL = "gpt-realtime-2.1"


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Show:
    """A view on a screen."""

    def __init__(
        self,
        width: int = 60,
        height: int = 20,
        *,
        banner: bool = False,
        verbose: bool = False,
        quiet: bool = False,
    ) -> None:
        self.screen = Screen(width, height)
        self.clock = Clock()
        console = self.screen.console
        self.view = LiveView(
            console, console, now=self.clock, banner=banner, verbose=verbose, quiet=quiet
        )

    def stream(self, *deltas: str, status: Status = Status.COMPLETED) -> list[str]:
        """Stream a reply in these deltas. Returns the scrollback after it."""
        self.view.show(QuestionAsked("?", MODEL))
        for delta in deltas:
            self.clock.now += 0.1
            self.view.show(TextArrived(delta))
            self.view.tick()
        self.view.show(ReplyOver(status, "".join(deltas), MODEL))
        return self.screen.rows()


@pytest.mark.parametrize("word", ["漢字", "👍🏽", "नि", "🇩🇪", "❤️"])
def test_a_framed_row_keeps_its_spaces_whatever_its_characters(word: str) -> None:
    show = Show(50, 12)
    show.view.show(QuestionAsked("?", MODEL))
    show.view.show(TextArrived(f"**{word}** `code` **{word}** x"))
    show.view.tick()
    assert f"│ {word} code {word} x" in show.screen.visible()[1]


def test_the_panel_shows_the_status_and_the_time() -> None:
    show = Show(50, 12)
    show.view.show(Connecting(MODEL))
    connecting = show.screen.visible()
    show.view.show(Ready(MODEL, 0.3))
    show.view.show(QuestionAsked("?", MODEL))
    show.clock.now += 1.26
    show.view.tick()
    assert (connecting, show.screen.visible()) == (
        [
            "╭─ gpt-realtime-2.1 ─ 0.0 s",
            "│ connecting…",
            "╰─ Ctrl-C stops",
        ],
        [
            "╭─ gpt-realtime-2.1 ─ 1.3 s",
            "│ waiting",
            "╰─ Ctrl-C stops",
        ],
    )


def test_the_first_text_is_painted_at_once_and_later_text_with_the_tick() -> None:
    show = Show(50, 12)
    show.view.show(QuestionAsked("?", MODEL))
    show.view.show(TextArrived("one"))
    first = show.screen.visible()[1]
    show.view.show(TextArrived(" two"))
    second = show.screen.visible()[1]
    show.view.tick()
    assert [row.strip("│ ") for row in (first, second, show.screen.visible()[1])] == [
        "one",
        "one",
        "one two",
    ]


def test_a_tick_without_changes_writes_nothing() -> None:
    show = Show()
    show.view.show(QuestionAsked("?", MODEL))
    show.view.show(TextArrived("one"))
    show.screen.rows()
    before = show.screen.written
    show.view.tick()
    show.screen.rows()
    assert show.screen.written == before


def test_final_text_is_above_the_panel_without_a_frame() -> None:
    show = Show(50, 12)
    show.view.show(QuestionAsked("?", MODEL))
    show.view.show(TextArrived("one\n\ntwo *three*\n\nfo"))
    show.clock.now += 2
    show.view.show(TextArrived("ur", 3))
    show.view.tick()
    assert show.screen.visible() == [
        "one",
        "",
        "two three",
        "╭─ gpt-realtime-2.1 ─ 2.0 s · ~2 tok/s",
        "│ four",
        "╰─ Ctrl-C stops",
    ]


def test_a_turn_of_a_conversation() -> None:
    show = Show(90, 12, banner=True)
    show.view.show(Connecting(MODEL))
    show.view.show(Ready(MODEL, 0.31))
    show.view.show(QuestionAsked("?", MODEL))
    show.view.show(TextArrived("Hello."))
    show.view.show(
        ReplyOver(
            Status.COMPLETED,
            "Hello.",
            MODEL,
            usage=Usage(57, 16, 142, 199),
            timing=Timing(0.31, 0.21, 1.9),
        )
    )
    assert show.screen.rows() == [
        "rtchat 0.1.0 · gpt-realtime-2.1 · connected in 0.31 s · /help",
        "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} ?",
        "",
        "Hello.",
        "",
        "gpt-realtime-2.1 · first token 0.21 s · 1.9 s · 84 tok/s · 57 in (16 cached) · 142 out",
    ]


@pytest.mark.parametrize(
    ("over", "last"),
    [
        (ReplyOver(Status.CANCELLED, "Hel", MODEL), ["Hel", "", "interrupted"]),
        (
            ReplyOver(Status.CANCELLED, "Hel", MODEL, reason="no_words"),
            ["Hel", "", "no words recognised"],
        ),
        (
            ReplyOver(
                Status.FAILED, "", MODEL, problem=Problem(ExitCode.LIMIT, "\x1b[2Jtoo fast", "wait")
            ),
            ["Hel", "", "␛[2Jtoo fast", "hint: wait"],
        ),
        (
            ReplyOver(Status.FAILED, "", MODEL, problem=Problem(ExitCode.REPLY, "No.\nhint: pay")),
            ["Hel", "", "No. hint: pay"],
        ),
        (ReplyOver(Status.COMPLETED, "Hello", MODEL), ["Hello"]),
    ],
)
def test_how_a_reply_ends(over: ReplyOver, last: list[str]) -> None:
    show = Show()
    show.view.show(QuestionAsked("?", MODEL))
    show.view.show(TextArrived("Hel"))
    show.view.show(over)
    assert show.screen.rows() == last


def test_a_reply_without_deltas_is_shown_in_full() -> None:
    show = Show()
    show.view.show(QuestionAsked("?", MODEL))
    show.view.show(ReplyOver(Status.COMPLETED, "*all* of it", MODEL))
    assert show.screen.rows() == ["all of it"]


def test_notices_go_above_the_panel() -> None:
    show = Show(50, 12)
    show.view.show(QuestionAsked("?", MODEL))
    show.view.show(Notice("warning", "mind the \x1b[31mgap"))
    show.view.show(Notice("detail", "not for everyone"))
    show.view.show(Totals(2, Usage(3, 0, 4, 7)))
    assert [*show.screen.visible()[:7]] == [
        "mind the ␛[31mgap",
        "replies        2",
        "input          3  tokens",
        "cached         0  of the input",
        "output         4  tokens",
        "cost     unknown",
        "╭─ gpt-realtime-2.1 ─ 0.0 s",
    ]


def test_quiet_and_verbose() -> None:
    quiet, verbose = Show(quiet=True, banner=True), Show(verbose=True)
    for show in (quiet, verbose):
        show.view.show(Ready(MODEL, 0.3))
        show.view.show(Notice("info", "info"))
        show.view.show(Notice("detail", "detail"))
        show.view.show(Waiting("the connection was lost", 2))
    assert (quiet.screen.rows(), verbose.screen.rows()) == (
        [],
        ["info", "detail", "the connection was lost; retrying in 2.0 s"],
    )


def test_the_ids_and_the_model_that_answered() -> None:
    session = SessionInfo("sess_1", "m-2026", "wss://a.example/r")
    problem = Problem(ExitCode.REPLY, "no", ids=session.ids("resp_1"))
    show = Show(80, banner=True, verbose=True)
    show.view.show(Ready("m", 0.3, session=session))
    show.view.show(Notice("error", "odd", ids=session.ids()))
    show.view.show(
        ReplyOver(
            Status.FAILED,
            "",
            "m",
            problem=problem,
            response_id="resp_1",
            usage=Usage(1, 0, 2),
            session=session,
        )
    )
    show.view.show(ReplyOver(Status.COMPLETED, "", "m", response_id="resp_2"))
    rows = [row for row in show.screen.rows() if row]
    assert rows[0].split(" · ")[1] == "m-2026 (asked for m)"
    assert rows[1:] == [
        "session sess_1 at wss://a.example/r",
        "odd (session sess_1)",
        "no (session sess_1, response resp_1)",
        "m-2026 (asked for m) · 1 in · 2 out",
        "response resp_2",
    ]


def test_a_reconnection_has_its_own_line() -> None:
    show = Show(80, banner=True)
    show.view.show(Ready(MODEL, 0.3))
    show.view.show(Ready(MODEL, 0.3, 4))
    assert show.screen.rows()[1:] == ["reconnected in 0.3 s · 4 turns replayed"]


def test_the_scrollback_of_a_reply() -> None:
    rows = Show(70).stream(*cut(ANSWER, list(range(0, len(ANSWER), 4))))
    assert rows == [
        "WebSockets in practice",
        "",
        "A WebSocket is a single TCP connection over which both sides can send",
        "messages at any time, which makes it a good fit for chat, see the",
        "standard (https://example.com/rfc6455).",
        "",
        "## Steps",
        "",
        "1. Open the connection.",
        "2. Send a message:",
        "",
        "   ── python",
        '   async with connect("wss://example.com/socket") as ws:',
        '       await ws.send("hello")      # a comment',
        "",
        '       print("a line of code that goes on and on, past the right side',
        'of the terminal, unbroken")',
        "3. Close it:",
        "   • with a code",
        "   • with a reason",
        "     • even nested",
        "",
        "Feature           HTTP          WebSocket",
        "─────────────────────────────────────────",
        "Direction   request/response    both ways",
        "Overhead        headers        2-14 bytes",
        "",
        "▌ Proxies may cut idle connections.",
        "▌",
        "▌ • so send pings",
        "▌ • and pongs",
        "",
        "── js",
        "function hello(name) { return `hi ${name}`; }",
        "",
        "",
        "const x = [1, 2, 3];",
        "",
        "## A heading",
        "",
        "The [bold] text is text, so is <kbd>this</kbd>, and �[31m is not red.",
        "One",
        "two.",
        "",
        "────────────────────────────────────────",
        "",
        "Done.",
    ]


def test_no_line_ends_in_a_space_or_contains_an_escape_from_the_text() -> None:
    file = io.StringIO()
    console = ThemedConsole(file=file, force_terminal=False, width=50, _environ={})
    view = LiveView(console, console)
    view.show(TextArrived(ANSWER + "\n\n\x1b]0;title\x07 <https://example.com/\x1b>\n"))
    view.show(ReplyOver(Status.COMPLETED, "", MODEL))
    written = file.getvalue()
    assert ([line for line in written.split("\n") if line.endswith(" ")], "\x1b" in written) == (
        [],
        False,
    )


@settings(max_examples=150)
@given(
    text=RANDOM,
    places=st.lists(st.integers(0, 1000), max_size=60),
    width=st.integers(20, 200),
    height=st.integers(5, 60),
)
def test_the_scrollback_equals_that_of_the_whole_text_at_once(
    text: str, places: list[int], width: int, height: int
) -> None:
    streamed = Show(width, height).stream(*cut(text, places))
    assert streamed == Show(width, 60).stream(text)


@pytest.mark.parametrize(("width", "height"), [(20, 5), (40, 8), (80, 24), (200, 60)])
def test_a_long_reply_leaves_each_line_once(width: int, height: int) -> None:
    text = "\n\n".join(f"## Part {index}\n\n{ANSWER}" for index in range(4))
    streamed = Show(width, height).stream(*cut(text, list(range(0, len(text), 7))))
    assert streamed == Show(width, 60).stream(text)


def test_the_panel_is_always_shorter_than_the_screen() -> None:
    show = Show(40, 10)
    show.view.show(QuestionAsked("?", MODEL))
    for index in range(40):
        show.view.show(TextArrived(f"| row {index} | cell |\n" + "|---|---|\n" * (not index)))
        show.view.tick()
        assert len(show.screen.rows()) <= 9
    assert show.screen.visible()[-2].strip("│ ").split() == ["row", "39", "cell"]


def test_a_window_that_becomes_narrower_during_a_reply() -> None:
    show = Show(80, 20)
    show.view.show(QuestionAsked("?", MODEL))
    show.view.show(TextArrived("one\n\ntwo"))
    show.screen.rows()
    show.screen.resize(40, 20)
    show.clock.now += 1
    show.view.tick()
    show.view.show(ReplyOver(Status.COMPLETED, "one\n\ntwo", MODEL))
    assert show.screen.rows() == ["one", "", "two"]


def test_a_link_resolves_references_above_it_whatever_the_deltas() -> None:
    text = "[a] and [b]\n\n[a]: /above\n\n[a] and [b]\n\n[b]: /below\n"
    expected = [
        *("[a] and [b]", "", "[a]: /above", "", "a (/above) and [b]", "", "[b]: /below"),
    ]
    assert [Show().stream(*cut(text, list(range(0, 99, size)))) for size in (1, 9, 99)] == [
        expected
    ] * 3


def test_the_first_rows_set_the_widths_of_a_long_table() -> None:
    table = "|n|name|\n|--:|---|\n" + "|1|some row|\n" * 300 + "|2000000|a later row|\n"
    rows = Show().stream(*cut(table, list(range(0, len(table), 40))))
    assert [rows[0], rows[2], *rows[-2:]] == [
        "       n   name",
        "       1   some row",
        " 2000000   a later",
        "           row",
    ]


def test_rows_of_a_long_table_are_printed_before_its_end() -> None:
    show = Show()
    show.view.show(TextArrived("| name | n |\n|---|--:|\n"))
    for row in range(300):
        show.view.show(TextArrived(f"| row {row} | 1 |\n"))
    show.view.tick()
    assert any(row.startswith("row 290 ") for row in show.screen.rows())


@pytest.mark.parametrize("separator", [" ", "\n"])
def test_an_endless_paragraph_is_shown_as_written(separator: str) -> None:
    text = separator.join(["some *marked* words"] * 400)
    assert " ".join(Show(200).stream(text)).startswith("some *marked* words some *marked*")


def test_much_final_text_is_printed_without_waiting_for_a_tick() -> None:
    show = Show()
    show.view.show(TextArrived("- item\n"))
    for _ in range(400):
        show.view.show(TextArrived("- item\n"))
    assert show.screen.rows().count("\N{BULLET} item") > 100


def test_a_dumb_terminal_is_never_repainted() -> None:
    file = io.StringIO()
    console = ThemedConsole(
        file=file, force_terminal=True, color_system=None, width=60, _environ={"TERM": "dumb"}
    )
    view = LiveView(console, console, quiet=True)
    view.show(QuestionAsked("?", MODEL))
    view.show(TextArrived("*one*"))
    view.tick()
    view.show(ReplyOver(Status.COMPLETED, "*one*", MODEL))
    assert file.getvalue() == "one\n"


@pytest.mark.parametrize(("quiet", "err"), [(False, "you said: Is it?\n"), (True, "")])
def test_without_a_conversation_a_transcript_goes_to_stderr(quiet: bool, err: str) -> None:
    files = io.StringIO(), io.StringIO()
    out, beside = (ThemedConsole(file=file, force_terminal=False, _environ={}) for file in files)
    view = LiveView(out, beside, quiet=quiet)
    view.show(QuestionAsked("", MODEL, spoken=True))
    view.show(UserTranscript("Is it?"))
    view.show(ReplyOver(Status.COMPLETED, "*Yes*", MODEL))
    assert [file.getvalue() for file in files] == ["Yes\n", err]


def test_a_transcript_is_shown_as_a_spoken_question() -> None:
    show = Show(banner=True, quiet=True)
    show.view.show(QuestionAsked("", MODEL, spoken=True))
    show.view.show(UserTranscript("Is it\nlate? \u202e"))
    transcript = show.screen.visible()
    show.view.show(ReplyOver(Status.COMPLETED, "Yes", MODEL))
    show.view.show(QuestionAsked("", MODEL, spoken=True))
    show.view.show(ReplyOver(Status.COMPLETED, "No", MODEL))
    show.view.show(UserTranscript(""))
    question = ["\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} Is it", "  late? <U+202E> (spoken)"]
    assert transcript[:2] == question
    assert show.screen.rows() == [
        *(*question, "", "Yes", "", "", "No", ""),
        f"{question[0][0]} (no words recognised) (spoken, answered above)",
    ]


def test_rendered_output_to_a_pipe_does_not_move_the_cursor() -> None:
    file = io.StringIO()
    console = ThemedConsole(file=file, force_terminal=False, width=60, _environ={})
    view = LiveView(console, console, quiet=True)
    view.show(QuestionAsked("?", MODEL))
    for character in "# Title\n\n- **one**\n- two\n":
        view.show(TextArrived(character))
        view.tick()
    view.show(ReplyOver(Status.COMPLETED, "# Title\n\n- **one**\n- two\n", MODEL))
    assert file.getvalue() == "Title\n\n\N{BULLET} one\n\N{BULLET} two\n"


def test_each_paint_is_one_synchronised_update() -> None:
    show = Show(50, 12)
    file = io.StringIO()
    show.screen.console.file = file
    show.view.show(QuestionAsked("?", MODEL))
    show.view.show(TextArrived("one\n\ntwo"))
    written = file.getvalue()
    assert written.count("\x1b[?2026h") == written.count("\x1b[?2026l") == 2


def test_closing_removes_the_panel() -> None:
    show = Show()
    show.view.show_waiting()
    up = len(show.screen.visible())
    show.view.close()
    assert (up, show.screen.rows()) == (3, [])


@pytest.mark.parametrize("quiet", [False, True])
def test_what_a_command_asks_for_is_always_shown(quiet: bool) -> None:
    show = Show(40, quiet=quiet)
    show.view.show(Report("one\ntwo \x1b[31m"))
    show.view.show(EventReceived('{"type":"odd","text":"' + 90 * "\N{CJK UNIFIED IDEOGRAPH-4E2D}"))
    one, two, event = show.screen.rows()
    assert (one, two) == ("one", "two ␛[31m")
    assert event.startswith('{"type":"odd"')
    assert event.endswith("…")


def test_events_are_printed_above_the_panel() -> None:
    show = Show(40)
    show.view.show(QuestionAsked("?", MODEL))
    show.view.show(EventReceived('{"type":"odd"}'))
    show.view.show(TextArrived("Yes."))
    show.view.show(EventReceived('{"type":"odder"}'))
    show.view.show(ReplyOver(Status.COMPLETED, "Yes.", MODEL))
    assert show.screen.rows() == ['{"type":"odd"}', '{"type":"odder"}', "Yes."]


def test_a_reply_shows_how_much_of_it_was_heard() -> None:
    show = Show(50, 12, banner=True)
    show.view.show(QuestionAsked("", MODEL, spoken=True))
    show.view.show(TextArrived("It is late. Go to bed."))
    show.view.show(ReplyHeard("It is late.", "Go to bed."))
    assert "heard up to here" not in "\n".join(show.screen.visible()), "the reply is not over"
    show.view.show(ReplyOver(Status.CANCELLED, "It is late. Go to bed.", MODEL))
    show.view.show(ReplyHeard("one two three four five six", "seven eight nine ten eleven"))
    show.view.show(ReplyHeard("", "Go."))
    rows = show.screen.rows()
    assert rows[-4:] == [
        "interrupted",
        "heard up to here: It is late. · not heard: Go to …",
        "heard up to here: …ur five six · not heard: seven…",
        "not heard: Go.",
    ]
    assert rows[:2] == ["", "It is late. Go to bed."]
