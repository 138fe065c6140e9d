"""What a typed line means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.events import (
    AttachmentsAsked,
    CopyAsked,
    DetachAsked,
    LeaveAsked,
    LocalNotice,
    MicrophoneToggled,
    ModelSet,
    NewConversationAsked,
    ResumeAsked,
    RetryAsked,
    SystemSet,
    UsageAsked,
    UserSaid,
)
from rtchat.ui.slash_commands import TABLE, AttachAsked, Meaning, TextFileAsked, help_text, parse

_HELP = """\
/help               what can be typed here
/exit               leave; so does Ctrl-D at an empty prompt
/new                start a new conversation
/system TEXT|@FILE  instructions to the model, from now on
/set [KEY [VALUE]]  an option from now on; KEY alone takes it back
/model NAME         another model, same conversation
/resume [ID]        go on with a kept conversation, else the latest
/attach [FILE]      attach a PNG, JPEG or text file, or drop it here; alone: list the files
/detach [N]         remove all attached files, or only file N
/mute               the microphone on or off, as Ctrl-T
/retry              ask the last question again
/copy [N]           copy the last reply, or its code block N
/tools              what the model may call
/usage              tokens and cost of this run, and limits
/raw JSON           send any event to the server
Enter               send
Alt-Enter, Ctrl-J   a new line
Up, Ctrl-R          earlier input
Ctrl-C, Esc         stop the reply; at the prompt Ctrl-C clears the text, Up brings it back
Ctrl-T              the microphone on or off, with --voice
Ctrl-X Ctrl-E       write it in $EDITOR
//                  a line that starts with a literal /"""


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("hi", UserSaid("hi")),
        ("", UserSaid("")),
        (" /help", UserSaid(" /help")),
        ("//help", UserSaid("/help")),
        ("//", UserSaid("/")),
        ("///", UserSaid("//")),
        ("/help", LocalNotice(_HELP)),
        ("/exit", LeaveAsked()),
        ("/exit  ", LeaveAsked()),
        ("/new", NewConversationAsked()),
        ("/usage\n", UsageAsked()),
        ("/resume", ResumeAsked()),
        ("/resume 12", ResumeAsked(12)),
        ("/attach ~/my picture.png ", AttachAsked("~/my picture.png")),
        ("/attach", AttachmentsAsked()),
        ("/detach", DetachAsked()),
        ("/detach 2", DetachAsked(2)),
        ("/system @~/my notes.txt", TextFileAsked("~/my notes.txt", SystemSet)),
        ("/mute", MicrophoneToggled()),
        ("/retry", RetryAsked()),
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
    ("line", "words"),
    [
        ("/modle x", "no command /modle: did you mean /model? (// sends a literal /)"),
        ("/etc/passwd", "no command /etc/passwd: /help lists them (// sends a literal /)"),
        ("/", "no command /: /help lists them (// sends a literal /)"),
        ("/ help", "no command /: /help lists them (// sends a literal /)"),
        ("/HELP", "no command /HELP: /help lists them (// sends a literal /)"),
        ("/model", "/model needs NAME: /model NAME"),
        ("/system \t", "/system needs TEXT|@FILE: /system TEXT|@FILE"),
        ("/system @", "/system takes a file as @FILE: /system @notes.txt"),
        ("/detach all", "/detach takes a number that /attach lists: /detach 1"),
        ("/detach 0", "/detach takes a number that /attach lists: /detach 1"),
        ("/copy all", "/copy takes the number of a code block: /copy 1"),
        ("/copy 0", "/copy takes the number of a code block: /copy 1"),
        ("/resume x", "/resume takes a number of `rtchat history list`: /resume 1"),
        ("/resume 0", "/resume takes a number of `rtchat history list`: /resume 1"),
        ("/exit now", "/exit takes nothing after it"),
    ],
)
def test_a_mistake_says_what_to_do(line: str, words: str) -> None:
    assert parse(line) == LocalNotice(words, is_error=True)


@given(st.text())
def test_no_line_is_a_fault(line: str) -> None:
    if line.startswith("/"):
        assert parse(f"/{line}") == UserSaid(line)
        assert isinstance(parse(line), Meaning)
    else:
        assert parse(line) == UserSaid(line)


def test_every_command_is_in_the_help() -> None:
    assert help_text() == _HELP
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
        "copy",
        "tools",
        "usage",
        "raw",
    ]
