"""The screen and the keys of a voice conversation on a real terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rtchat.core.effects import (
    MicrophoneStatus,
    Notice,
    QuestionAsked,
    Queued,
    Ready,
    ReplyHeard,
    ReplyOver,
    ReplyPlaying,
    SpeechHeard,
    TextArrived,
    ToolAsked,
    Update,
    UserTranscript,
    Waiting,
)
from rtchat.core.values import Status, ToolCall
from rtchat.ui.messages import HOW_TO_LEAVE
from tests.program import PATIENCE
from tests.terminal import PROMPT
from tests.voiced import Voiced

SPOKEN = QuestionAsked("", "model", spoken=True)
LISTENING = MicrophoneStatus(is_on=True, push_to_talk=False)
MUTED = MicrophoneStatus(is_on=False, push_to_talk=False)
ON_HAND = MicrophoneStatus(is_on=True, push_to_talk=True)
OFF_HAND = MicrophoneStatus(is_on=False, push_to_talk=True)
BEGUN: list[Update] = [SPOKEN, UserTranscript("Is it late?"), TextArrived("It is ")]
REST: list[Update] = [TextArrived("late."), ReplyOver(Status.COMPLETED, "It is late.", "model")]
TOLD = [f"{PROMPT} Is it late? (spoken)", "", "It is late.", ""]
TOGGLED, CANCELLED = "MicrophoneToggled()", "CancelPressed()"
CALL = ToolCall("weather", "c", "{}")


@contextmanager
def conversation(
    *options: str,
    microphone: MicrophoneStatus | None = LISTENING,
    columns: int = 72,
    editor: str = "",
) -> Iterator[Voiced]:
    """A conversation that has started, without its greeting."""
    voiced = Voiced(*options, columns=columns, editor=editor)
    try:
        voiced.happens(Ready("model", 0.1), *([microphone] if microphone else []))
        voiced.shows("help", PROMPT)
        yield voiced
    finally:
        voiced.ends()


def rows(lines: list[str]) -> list[str]:
    """The rows below the greeting and above the toolbar."""
    shown = lines[1:]
    if shown[-1][:1] in ("●", "○"):
        del shown[-1]
    while shown and not shown[-1]:
        del shown[-1]
    return shown


# ------------------------------------------------------------------------------- a spoken question


def test_a_spoken_question_is_told_apart_from_a_typed_one() -> None:
    with conversation() as voiced:
        voiced.happens(*BEGUN)
        streaming = rows(voiced.shows("It is"))
        voiced.happens(*REST)
        after = rows(voiced.shows("It is late.", PROMPT))
    assert streaming[0] == f"{PROMPT} Is it late? (spoken)"
    assert streaming[2] == "│ It is"
    assert streaming[3].startswith("╰─ speak or Ctrl-C stops")
    assert after == [*TOLD, PROMPT]


def test_what_is_heard_is_shown_below_the_prompt() -> None:
    with conversation() as voiced:
        voiced.happens(SpeechHeard(is_speaking=True))
        voiced.shows("● hearing you")
        voiced.happens(SpeechHeard(is_speaking=True, words="Is it \x1b[31mlate"))
        voiced.shows("● hearing you ▁▁▁▁ · Is it ␛[31mlate")
        voiced.happens(SpeechHeard(is_speaking=False), *BEGUN)
        voiced.shows("│ It is", PROMPT, "● listening")
        voiced.happens(*REST, ReplyPlaying("It is"))
        voiced.shows("It is late.", PROMPT, "playing: It is")
        voiced.happens(ReplyPlaying(""), ReplyHeard("It is ", "late."))
        voiced.shows("heard up to here: It is · not heard: late.", PROMPT, "● listening")
        voiced.happens(Waiting("the connection was lost", 2.0))
        assert "listening" not in "\n".join(voiced.shows("recording until connected"))


def test_an_unfinished_entry_survives_a_spoken_turn() -> None:
    with conversation() as voiced:
        voiced.types("my draft of\ntwo lines\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D")
        voiced.shows("two lines")
        voiced.happens(*BEGUN)
        voiced.shows("│ It is", f"{PROMPT} my draft of", "  two lines")
        voiced.types("ok?\x7f\x7f\x7f\x7fX")
        voiced.shows("│ It is", f"{PROMPT} my draft of", "  twoXlines")
        assert voiced.cursor() == ("  twoXlines", 6)
        voiced.happens(*REST)
        after = rows(voiced.shows("It is late.", "my draft", "twoXlines"))
        voiced.types("Y\r")
        meant = voiced.means()
    assert after == [*TOLD, f"{PROMPT} my draft of", "  twoXlines"]
    assert meant == r"UserSaid(text='my draft of\ntwoXYlines')"


def test_a_question_entered_during_a_spoken_turn_waits() -> None:
    with conversation() as voiced:
        voiced.types("draft")
        voiced.shows("draft")
        voiced.happens(*BEGUN)
        voiced.shows("It is")
        voiced.types("!\r")
        assert voiced.means() == "UserSaid(text='draft!')"
        voiced.happens(Queued(("draft!",)))
        voiced.shows("│ It is", "queued: draft!", PROMPT)
        voiced.happens(*REST)
        shown = rows(voiced.shows("It is late.", "queued: draft!", PROMPT))
        assert f"{PROMPT} draft!" not in shown, "it is printed when it is asked"
        voiced.happens(Queued(()), QuestionAsked("draft!", "model"))
        voiced.happens(ReplyOver(Status.COMPLETED, "Yes.", "model"))
        after = rows(voiced.shows("It is late.", "draft!", "Yes.", PROMPT))
    assert after == [*TOLD, f"{PROMPT} draft!", "", "Yes.", "", PROMPT]


def test_a_late_transcript_is_shown_after_the_reply() -> None:
    with conversation() as voiced:
        voiced.types("draft")
        voiced.shows("draft")
        voiced.happens(SPOKEN, TextArrived("It is "), *REST)
        voiced.shows("It is late.", "draft")
        voiced.happens(UserTranscript("Is it \x1b[31mlate?"))
        after = rows(voiced.shows("answered above", "draft"))
    assert after == [
        *("", "It is late.", ""),
        f"{PROMPT} Is it ␛[31mlate? (spoken, answered above)",
        f"{PROMPT} draft",
    ]


def test_consecutive_spoken_questions() -> None:
    with conversation() as voiced:
        voiced.types("draft")
        voiced.shows("draft")
        for _ in range(3):
            voiced.happens(*BEGUN, *REST)
        voiced.happens(SPOKEN, UserTranscript("Wait"), ReplyOver(Status.CANCELLED, "", "model"))
        after = rows(voiced.shows("Wait", "interrupted", "draft"))
    wait = [f"{PROMPT} Wait (spoken)", "", "interrupted"]
    assert after == [*TOLD, *TOLD, *TOLD, *wait, f"{PROMPT} draft"]


# -------------------------------------------------------------------------- at inconvenient moments


@pytest.mark.parametrize("first", ["typed", "spoken"])
def test_speech_at_the_moment_of_enter(first: str) -> None:
    with conversation() as voiced:
        voiced.shows(PROMPT)
        os.kill(voiced.process.pid, signal.SIGSTOP)
        if first == "typed":
            voiced.types("hello\r")
        voiced.happens(*BEGUN)
        if first == "spoken":
            voiced.types("hello\r")
        os.kill(voiced.process.pid, signal.SIGCONT)
        voiced.shows("│ It is")
        voiced.happens(*REST, Notice("info", "between"))
        voiced.shows("It is late.", "between")
        voiced.types("\x14")
        meant = voiced.means()
        if meant == TOGGLED:  # Enter came during the reply: the entry is not sent
            voiced.shows("between", f"{PROMPT} hello")
            voiced.types("\r")
            meant = voiced.means()
        assert meant == "UserSaid(text='hello')"
        voiced.happens(QuestionAsked("hello", "model"), TextArrived("Hi."))
        voiced.shows("between", "Hi.")
        voiced.happens(ReplyOver(Status.COMPLETED, "Hi.", "model"))
        after = voiced.shows("between", "Hi.", PROMPT)
    assert sum("hello" in line for line in after) == 1


def test_speech_while_a_typed_question_is_queued() -> None:
    with conversation() as voiced:
        voiced.types("hello\r")
        voiced.means()
        voiced.happens(Queued(("hello",)))
        voiced.shows("│", "queued: hello")
        voiced.happens(*BEGUN, *REST)
        voiced.shows("It is late.", "queued: hello")
        voiced.happens(Queued(()), QuestionAsked("hello", "model"), TextArrived("Hi."))
        voiced.shows("│ Hi.")
        voiced.happens(ReplyOver(Status.COMPLETED, "Hi.", "model"))
        after = rows(voiced.shows("Hi.", PROMPT))
    assert after == [*TOLD, f"{PROMPT} hello", "", "Hi.", "", PROMPT]


def test_speaking_stops_the_reply_to_a_typed_question() -> None:
    with conversation() as voiced:
        voiced.types("hello\r")
        voiced.means()
        voiced.happens(QuestionAsked("hello", "model"), TextArrived("Hi th"))
        voiced.shows("│ Hi th")
        voiced.happens(ReplyOver(Status.CANCELLED, "Hi th", "model"), *BEGUN)
        voiced.shows("Hi th", "interrupted", "Is it late?", "│ It is")
        voiced.happens(*REST)
        after = rows(voiced.shows("It is late.", PROMPT))
    assert after == [f"{PROMPT} hello", "", "Hi th", "", "interrupted", *TOLD, PROMPT]


def test_speech_during_an_approval_prompt() -> None:
    with conversation() as voiced:
        voiced.types("hello\r")
        voiced.means()
        voiced.happens(QuestionAsked("hello", "model"), ToolAsked(CALL))
        voiced.shows("Run weather?", "[n]o")
        voiced.happens(ReplyOver(Status.CANCELLED, "", "model"), *BEGUN)
        voiced.shows("interrupted", "Is it late?", "│ It is")
        voiced.happens(*REST)
        voiced.shows("It is late.", PROMPT)
        voiced.types("next\r")
        assert voiced.means() == "UserSaid(text='next')"


def test_a_spoken_question_can_call_tools() -> None:
    with conversation() as voiced:
        voiced.types("draft")
        voiced.shows("draft")
        voiced.happens(*BEGUN, ToolAsked(CALL))
        voiced.shows("Run weather?", "[n]o")
        voiced.types("\x14y\r")
        assert [voiced.means(), voiced.means()] == [TOGGLED, "ToolAnswered(answer='yes')"]
        voiced.happens(*REST)
        voiced.shows("late.", f"{PROMPT} draft")


@pytest.mark.parametrize(
    ("keys", "seen", "more", "meant"),
    [
        ("/\t", "/resume", "mute\r", TOGGLED),
        ("apple\x12pea", "I-search backward: pea", "\r!\r", "UserSaid(text='!pears')"),
        ("\x18", PROMPT, "\x15!\r", "UserSaid(text='!')"),
    ],
)
def test_speech_during_a_menu_or_search(keys: str, seen: str, more: str, meant: str) -> None:
    """Both stay open while the reply streams above them."""
    with conversation() as voiced:
        voiced.types("pears\r")
        voiced.means()
        voiced.types(keys)
        voiced.shows(PROMPT, seen) if seen != PROMPT else voiced.shows(PROMPT)
        voiced.happens(*BEGUN)
        voiced.shows("│ It is", "╰", seen)
        voiced.happens(*REST)
        voiced.shows("It is late.", seen)
        voiced.types(more)
        assert voiced.means() == meant


def test_output_below_an_earlier_entry_is_kept() -> None:
    with conversation() as voiced:
        voiced.types("/mute\r")
        voiced.means()
        voiced.shows(f"{PROMPT} /mute", PROMPT)
        voiced.types("draft\x1b[A")
        voiced.shows(f"{PROMPT} /mute", f"{PROMPT} /mute")
        voiced.happens(*BEGUN, *REST)
        voiced.shows("It is late.", f"{PROMPT} /mute")
        voiced.types("\x1b[B\r")
        assert voiced.means() == "UserSaid(text='draft')"


def test_speech_while_the_entry_is_in_an_editor(tmp_path: Path) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\necho an editor; cat {go} > "$1"\n')
    editor.chmod(0o700)
    with conversation(editor=str(editor)) as voiced:
        voiced.types("draft\x18\x05")
        voiced.shows("an editor")
        voiced.happens(Notice("info", "news"), *BEGUN)
        held = voiced.shows("an editor")
        go.write_text("much better")
        voiced.shows("news", "Is it late?", "│ It is")
        voiced.happens(*REST)
        voiced.shows("It is late.", f"{PROMPT} much better")
        voiced.types("\r")
        assert voiced.means() == "UserSaid(text='much better')"
    assert not any("news" in line or "late" in line for line in held)


def test_resizing_the_window_during_a_reply() -> None:
    with conversation(columns=120) as voiced:
        voiced.types("draft")
        voiced.happens(*BEGUN)
        voiced.shows("│ It is")
        for times, columns in enumerate((80, 20, 60, 120), start=1):
            voiced.resizes(columns)
            voiced.happens(TextArrived("very "))
            voiced.shows("│ It is" + " very" * times)
        voiced.happens(TextArrived("late."), ReplyOver(Status.COMPLETED, "", "model"))
        after = voiced.shows("It is very very very very late.", f"{PROMPT} draft")
    assert not any("│" in line or "╭" in line for line in after), "\n".join(after)


# --------------------------------------------------------------------------- keys and level meter


def test_ctrl_t_and_mute_toggle_the_microphone() -> None:
    with conversation() as voiced:
        voiced.types("dr\x14aft")
        assert voiced.means() == TOGGLED
        voiced.shows("draft")
        voiced.happens(*BEGUN)
        voiced.shows("It is")
        voiced.types("\x14")
        assert voiced.means() == TOGGLED
        voiced.happens(*REST)
        voiced.shows("late.", "draft")
        voiced.types("\x15\x0b/mute\r")
        assert voiced.means() == TOGGLED


def test_ctrl_t_without_voice_keeps_its_usual_meaning() -> None:
    with conversation("silent", microphone=None) as voiced:
        voiced.types("ab\x14\r")
        assert voiced.means() == "UserSaid(text='ba')"


@pytest.mark.parametrize(("keys", "then"), [("\x03", ""), ("\x1b", ""), ("draft\x1b", "draft")])
def test_playback_can_be_stopped_at_the_prompt(keys: str, then: str) -> None:
    with conversation() as voiced:
        voiced.measures(is_playing=True)
        voiced.shows("Esc stops playback")
        voiced.types(keys)
        assert voiced.means() == CANCELLED
        voiced.measures()
        assert rows(voiced.stops_showing("Esc")) == [f"{PROMPT} {then}".rstrip()]


@pytest.mark.parametrize(("keys", "then"), [("\x03", ""), ("\x1b", ""), ("draft\x1b", "draft")])
def test_a_push_to_talk_recording_can_be_discarded(keys: str, then: str) -> None:
    with conversation(microphone=ON_HAND) as voiced:
        voiced.shows("Ctrl-T sends · Esc discards")
        voiced.types(keys)
        assert voiced.means() == CANCELLED
        voiced.happens(OFF_HAND)
        assert rows(voiced.shows("Ctrl-T to talk")) == [f"{PROMPT} {then}".rstrip()]


def test_ctrl_c_stops_playback_then_clears_the_text_then_says_how_to_leave() -> None:
    with conversation() as voiced:
        voiced.measures(is_playing=True)
        voiced.shows("Esc stops playback")
        voiced.types("draft\x03")
        assert voiced.means() == CANCELLED
        voiced.measures()
        voiced.stops_showing("Esc stops playback")
        voiced.shows(f"{PROMPT} draft")
        voiced.types("\x03one\x1b\rtwo\r")
        assert voiced.means() == r"UserSaid(text='one\ntwo')"
        voiced.happens(QuestionAsked("one", "model"), ReplyOver(Status.CANCELLED, "", "model"))
        voiced.shows("interrupted", PROMPT)
        voiced.types("\x03")
        voiced.shows(HOW_TO_LEAVE)


@pytest.mark.parametrize(
    ("option", "columns", "line"),
    [
        ("coloured", 72, "● listening ▄▄▄▄ · Ctrl-T mutes"),
        ("uncoloured", 20, "● listening ▄▄▄▄"),
    ],
)
def test_the_line_below_the_prompt(option: str, columns: int, line: str) -> None:
    with conversation(option, columns=columns) as voiced:
        voiced.measures(0.4)
        assert voiced.shows(line)[-1] == line
        below = voiced.screen.buffer[len(voiced.visible()) - 1].values()
        colours = {cell.fg for cell in below if cell.data.strip()}
        blocks = {(cell.bg, cell.reverse) for cell in below}
    assert (colours == {"default"}, blocks) == (option == "uncoloured", {("default", False)})


@pytest.mark.parametrize(
    ("microphone", "columns", "footer"),
    [
        (LISTENING, 72, "╰─ speak or Ctrl-C stops"),
        (LISTENING, 20, "╰─ Ctrl-C stops"),
        (MUTED, 72, "╰─ Ctrl-C stops"),
        (OFF_HAND, 72, "╰─ Ctrl-T or Ctrl-C stops"),
        (replace(OFF_HAND, is_available=False), 72, "╰─ Ctrl-C stops"),
        (None, 72, "╰─ Ctrl-C stops"),
    ],
)
def test_what_stops_a_reply(microphone: MicrophoneStatus | None, columns: int, footer: str) -> None:
    with conversation(microphone=microphone, columns=columns) as voiced:
        voiced.happens(*BEGUN)
        shown = voiced.shows("│ It is", "╰", PROMPT)
    assert [line.rstrip() for line in shown if line[:1] == "╰"] == [footer]


def test_a_screen_reader_gets_lines() -> None:
    with conversation("plain") as voiced:
        voiced.types("draft")
        voiced.happens(MUTED, *BEGUN, *REST)
        after = voiced.shows("microphone off", "It is late.", f"{PROMPT} draft")
    assert after[1:] == [
        *("microphone on", "microphone off"),
        *(*TOLD, f"{PROMPT} draft"),
    ]


def test_exit_when_the_conversation_ends_during_a_reply() -> None:
    with conversation() as voiced:
        voiced.happens(*BEGUN)
        voiced.shows("│ It is")
        voiced.types("\x03")
        assert voiced.means() == CANCELLED
        voiced.happens(ReplyOver(Status.CANCELLED, "It is ", "model"))
        voiced.shows("interrupted", PROMPT)
        voiced.types("\x04")
        assert (voiced.means()[:10], voiced.process.wait(PATIENCE)) == ("LeaveAsked", 0)
