"""Clickable links: which targets, on which terminals, and which text."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import pytest
from rich.style import Style

from rtchat.core.effects import QuestionAsked, ReplyOver, TextArrived
from rtchat.core.values import Status
from rtchat.markdown.links import link, supports_links
from rtchat.ui.console import ThemedConsole, ThemedLinkingConsole
from rtchat.ui.live_view import LiveView

_LINK = re.compile(r"\x1b\]8;id=[^;]*;([^\x1b]+)\x1b\\(.*?)\x1b\]8;;\x1b\\", re.DOTALL)
_STYLE = re.compile(r"\x1b\[[\d;]*m")


def written(text: str, kind: type[ThemedConsole] = ThemedLinkingConsole, width: int = 80) -> str:
    file = io.StringIO()
    console = kind(
        file=file,
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
        width=width,
        height=24,
        _environ={},
    )
    view = LiveView(console, console, now=lambda: 0.0)
    view.show(QuestionAsked("?", "model"))
    view.show(TextArrived(text))
    file.seek(0)
    file.truncate()
    view.show(ReplyOver(Status.COMPLETED, text, "model"))
    return file.getvalue()


def links(text: str, width: int = 80) -> list[tuple[str, str]]:
    """The target and the text of each clickable link."""
    found = _LINK.findall(written(text, width=width))
    return [(href, _STYLE.sub("", shown)) for href, shown in found]


def test_only_the_printed_target_is_clickable() -> None:
    assert links("[x](https://a.example/b) and <https://c.example>") == [
        ("https://a.example/b", "https://a.example/b"),
        ("https://c.example", "https://c.example"),
    ]


def test_a_label_that_looks_like_a_target_is_not_clickable() -> None:
    assert links("[https://good.example](https://evil.example)") == [
        ("https://evil.example", "https://evil.example")
    ]


LONG = "https://a.example/" + "x" * 40


@pytest.mark.parametrize(
    "text",
    [f"<{LONG}>", LONG, f"See {LONG}.", f"- item ({LONG})", f"> [label]({LONG})", f"见{LONG}。"],
)
def test_a_url_longer_than_a_line_is_left_for_the_terminal_to_wrap(text: str) -> None:
    assert links(text, width=30) == [(LONG, LONG)]


def test_a_folded_link_in_a_table_has_the_same_target_in_each_row() -> None:
    shown = links(f"| a |\n|---|\n| {LONG} |", width=30)
    assert {href for href, _ in shown} == {LONG}
    assert "".join(part for _, part in shown) == LONG
    assert len(shown) > 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://a.example/b_c_d*e*f now", "https://a.example/b_c_d*e*f"),
        ("**https://a.example/b**", "https://a.example/b"),
        ("(https://a.example/b)", "https://a.example/b"),
        ("请看https://a.example/b，谢谢", "https://a.example/b"),
        ("https://a.example/?b=1&c=2.", "https://a.example/?b=1&c=2"),
        ("http://localhost:8000/b", "http://localhost:8000/b"),
    ],
)
def test_a_bare_url_is_clickable(text: str, shown: str) -> None:
    assert links(text) == [(shown, shown)]


def test_a_domain_is_clickable_and_shown_as_written() -> None:
    assert links("see www.a.example/b") == [("http://www.a.example/b", "www.a.example/b")]
    assert "(http" not in written("see www.a.example/b")


@pytest.mark.parametrize(
    "text",
    [
        "`https://a.example`",
        "```\nhttps://a.example\n```",
        "xhttps://a.example",
        "https://",
        "a@b.example",
        "https://a.example/wiki/Käse",
        "https://a.example/wiki/中文",
    ],
)
def test_what_is_not_a_bare_url_is_not_clickable(text: str) -> None:
    assert links(text) == []


def test_a_url_as_a_label_is_not_a_link_of_its_own() -> None:
    assert links("[https://good.example/_a_](https://evil.example)") == [
        ("https://evil.example", "https://evil.example")
    ]


@pytest.mark.parametrize(
    "target",
    ["javascript:x", "file:///a", "mailto:a@b.example", "/a", "ftp://a", "https://" + "a" * 2001],
)
def test_other_targets_are_not_clickable(target: str) -> None:
    assert links(f"[x](<{target}>)") == []


def test_non_ascii_characters_are_percent_encoded() -> None:
    assert links("[x](<https://a.example/ä b>)") == [
        ("https://a.example/%C3%A4%20b", "https://a.example/%C3%A4%20b")
    ]


@pytest.mark.parametrize("end", ["\x1b\\", "\x07", "\x9c", " ", "\n", "\u202e", "ä"])
def test_a_target_that_could_end_the_sequence_is_not_linked(end: str) -> None:
    assert link(f"https://a.example/{end}x") is None


def test_the_same_target_is_the_same_link() -> None:
    first = link("https://a.example/1")
    assert isinstance(first, Style)
    assert link("https://a.example/1") is first


def test_a_repaint_does_not_write_a_link_again() -> None:
    file = io.StringIO()
    console = ThemedLinkingConsole(
        file=file, force_terminal=True, color_system="standard", width=60, height=24, _environ={}
    )
    view = LiveView(console, console, now=lambda: 0.0)
    for text in ("see <https://a.example> for", " more"):
        file.truncate(file.seek(0))
        view.show(TextArrived(text))
        view.tick()
    assert ("more" in file.getvalue(), "a.example" in file.getvalue()) == (True, False)


def test_other_terminals_get_no_links() -> None:
    assert "\x1b]" not in written("<https://a.example>", ThemedConsole)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "foot"}, True),
        ({"TERM": "alacritty"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7600"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "5000"}, False),
        ({"TERM": "xterm-256color", "VTE_VERSION": "²"}, False),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "220401"}, True),
        ({"TERM": "xterm-256color", "KONSOLE_VERSION": "180400"}, False),
        ({"TERM": "xterm-256color", "WT_SESSION": "1"}, True),
        ({"TERM": "tmux-256color", "VTE_VERSION": "7600"}, False),
        ({"TERM": "xterm-256color", "TMUX": "/tmp/tmux", "VTE_VERSION": "7600"}, False),
        ({"TERM": "screen", "WT_SESSION": "1"}, False),
        ({"TERM": "dumb", "WT_SESSION": "1"}, False),
    ],
)
def test_which_terminals_support_links(environ: Mapping[str, str], expected: bool) -> None:
    assert supports_links(environ) is expected
