"""The meaning of a typed line."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.events import (
    AttachmentsAsked,
    CopyAsked,
    DetachAsked,
    EditAsked,
    ForkAsked,
    LeaveAsked,
    LocalNotice,
    MicrophoneToggled,
    ModelSet,
    NewConversationAsked,
    ResumeAsked,
    RetryAsked,
    SystemSet,
    UndoAsked,
    UsageAsked,
    UserSaid,
)
from rtchat.ui.slash_commands import TABLE, AttachAsked, Meaning, TextFileAsked, help_text, parse

_HELP = [
    "/help",
    "/exit",
    "/new",
    "/system TEXT|@FILE",
    "/set [KEY [VALUE]]",
    "/model NAME",
    "/resume [ID]",
    "/attach [FILE]",
    "/detach [N]",
    "/mute",
    "/retry [-m MODEL] [TEXT]",
    "/edit [N]",
    "/undo [N]",
    "/fork [N]",
    "/copy [N]",
    "/tools",
    "/usage",
    "/raw JSON",
    "Enter",
    "Alt-Enter, Ctrl-J",
    "Up, Ctrl-R",
    "Ctrl-C, Esc",
    "Ctrl-T",
    "Ctrl-X Ctrl-E",
    "//",
]
"""The left column of the help."""


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("hi", UserSaid("hi")),
        ("", UserSaid("")),
        (" /help", UserSaid(" /help")),
        ("//help", UserSaid("/help")),
        ("//", UserSaid("/")),
        ("///", UserSaid("//")),
        ("/help", LocalNotice(help_text())),
        ("/exit", LeaveAsked()),
        ("/exit  ", LeaveAsked()),
        ("/new", NewConversationAsked()),
        ("/retry", RetryAsked()),
        ("/retry In French, -m please.", RetryAsked(instructions="In French, -m please.")),
        ("/retry -m gpt-x", RetryAsked("gpt-x")),
        ("/retry --model=gpt-x In\nFrench.", RetryAsked("gpt-x", "In\nFrench.")),
        ("/edit", EditAsked()),
        ("/edit 2", EditAsked(2)),
        ("/undo", UndoAsked()),
        ("/undo 12", UndoAsked(12)),
        ("/fork", ForkAsked()),
        ("/fork 3", ForkAsked(3)),
        ("/usage\n", UsageAsked()),
        ("/resume", ResumeAsked()),
        ("/resume 12", ResumeAsked(12)),
        ("/attach ~/my picture.png ", AttachAsked("~/my picture.png")),
        ("/attach", AttachmentsAsked()),
        ("/attach --detail low a b.png", AttachAsked("a b.png", "low")),
        ("/attach --detail=high a.png", AttachAsked("a.png", "high")),
        ("/attach --detailed.png", AttachAsked("--detailed.png")),
        ("/detach", DetachAsked()),
        ("/detach 2", DetachAsked(2)),
        ("/system @~/my notes.txt", TextFileAsked("~/my notes.txt", SystemSet)),
        ("/mute", MicrophoneToggled()),
        ("/copy", CopyAsked()),
        ("/copy 12", CopyAsked(12)),
        ("/system  Be brief. ", SystemSet("Be brief.")),
        ("/system\nBe brief.\nBe kind.", SystemSet("Be brief.\nBe kind.")),
        ("/system\tBe brief.", SystemSet("Be brief.")),
        ("/model gpt-realtime", ModelSet("gpt-realtime")),
    ],
)
def test_a_line_is_a_question_or_a_command(line: str, event: Meaning) -> None:
    assert parse(line) == event


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("/modle x", ["unknown command /modle", "/model?", "//"]),
        ("/etc/passwd", ["unknown command /etc/passwd", "/help", "//"]),
        ("/", ["unknown command /", "/help", "//"]),
        ("/ help", ["unknown command /", "/help", "//"]),
        ("/HELP", ["unknown command /HELP", "/help", "//"]),
        ("/model", ["needs an argument", "/model NAME"]),
        ("/system \t", ["needs an argument", "/system TEXT|@FILE"]),
        ("/system @", ["needs a file name", "/system @"]),
        ("/attach --detail most a.png", ["--detail", "'most'", "auto, low, high"]),
        ("/detach all", ["/detach", "invalid", "'all'", "/attach"]),
        ("/detach 0", ["/detach", "invalid", "'0'", "/attach"]),
        ("/copy all", ["/copy", "invalid", "'all'", "code block"]),
        ("/copy 0", ["/copy", "invalid", "'0'", "code block"]),
        ("/resume x", ["/resume", "invalid", "'x'", "`rtchat history list`"]),
        ("/resume 0", ["/resume", "invalid", "'0'", "`rtchat history list`"]),
        ("/retry -m", ["/retry -m needs a model", "/retry -m MODEL [TEXT]"]),
        ("/edit last", ["/edit", "invalid", "'last'", "number of a turn"]),
        ("/undo 0", ["/undo", "invalid", "'0'", "how many turns"]),
        ("/fork x", ["/fork", "invalid", "'x'", "number of a turn"]),
        ("/exit now", ["/exit takes no argument"]),
    ],
)
def test_a_mistake_is_an_error_that_says_what_to_do(line: str, named: list[str]) -> None:
    notice = parse(line)
    assert isinstance(notice, LocalNotice)
    assert notice.is_error
    assert notice.hint
    assert [name for name in named if name not in f"{notice.text} {notice.hint}"] == []


@given(st.text())
def test_parse_never_raises(line: str) -> None:
    if line.startswith("/"):
        assert parse(f"/{line}") == UserSaid(line)
        assert isinstance(parse(line), Meaning)
    else:
        assert parse(line) == UserSaid(line)


def test_every_command_is_in_the_help() -> None:
    rows = [re.split(r" {2,}", line) for line in help_text().splitlines()]
    assert [left for left, _ in rows] == _HELP
    assert all(right for _, right in rows)
    assert [row.name for row in TABLE] == [
        "help",
        "exit",
        "new",
        "system",
        "set",
        "model",
        "resume",
        "attach",
        "detach",
        "mute",
        "retry",
        "edit",
        "undo",
        "fork",
        "copy",
        "tools",
        "usage",
        "raw",
    ]
