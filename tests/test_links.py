"""Links that can be pressed: where, which, and what of them."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import pytest
from rich.console import Console
from rich.style import Style

from rtchat.core.effects import QuestionAsked, ReplyOver, TextArrived
from rtchat.core.values import Status
from rtchat.markdown.links import LinkingConsole, link, takes_links
from rtchat.ui.live_view import LiveView

_LINK = re.compile(r"\x1b\]8;id=[^;]*;([^\x1b]+)\x1b\\(.*?)\x1b\]8;;\x1b\\", re.DOTALL)
_STYLE = re.compile(r"\x1b\[[\d;]*m")


def written(text: str, kind: type[Console] = LinkingConsole, width: int = 80) -> str:
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


def pressed(text: str, width: int = 80) -> list[tuple[str, str]]:
    """Where each stretch of text leads that can be pressed, and its words."""
    found = _LINK.findall(written(text, width=width))
    return [(href, _STYLE.sub("", shown)) for href, shown in found]


def test_only_the_printed_target_can_be_pressed() -> None:
    assert pressed("[x](https://a.example/b) and <https://c.example>") == [
        ("https://a.example/b", "https://a.example/b"),
        ("https://c.example", "https://c.example"),
    ]


def test_a_label_that_looks_like_another_target_cannot() -> None:
    assert pressed("[https://good.example](https://evil.example)") == [
        ("https://evil.example", "https://evil.example")
    ]


def test_a_link_of_several_rows_leads_to_the_same_place_from_each() -> None:
    href = "https://a.example/" + "x" * 40
    assert pressed(f"<{href}>", width=30) == [(href, href[:30]), (href, href[30:])]


@pytest.mark.parametrize(
    "target",
    ["javascript:x", "file:///a", "mailto:a@b.example", "/a", "ftp://a", "https://" + "a" * 2001],
)
def test_no_other_target_can(target: str) -> None:
    assert pressed(f"[x](<{target}>)") == []


def test_what_is_not_ascii_is_encoded_first() -> None:
    assert pressed("[x](<https://a.example/ä b>)") == [
        ("https://a.example/%C3%A4%20b", "https://a.example/%C3%A4%20b")
    ]


@pytest.mark.parametrize("end", ["\x1b\\", "\x07", "\x9c", " ", "\n", "\u202e", "ä"])
def test_nothing_that_could_end_the_sequence_is_in_it(end: str) -> None:
    assert link(f"https://a.example/{end}x") is None


def test_it_is_the_same_link_at_every_repaint() -> None:
    first = link("https://a.example/1")
    assert isinstance(first, Style)
    assert link("https://a.example/1") is first


def test_a_repaint_does_not_write_it_again() -> None:
    file = io.StringIO()
    console = LinkingConsole(
        file=file, force_terminal=True, color_system="standard", width=60, height=24, _environ={}
    )
    view = LiveView(console, console, now=lambda: 0.0)
    for text in ("see <https://a.example> for", " more"):
        file.truncate(file.seek(0))
        view.show(TextArrived(text))
        view.tick()
    assert ("more" in file.getvalue(), "a.example" in file.getvalue()) == (True, False)


def test_other_terminals_get_none() -> None:
    assert "\x1b]" not in written("<https://a.example>", Console)


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
def test_which_terminals_take_them(environ: Mapping[str, str], expected: bool) -> None:
    assert takes_links(environ) is expected
