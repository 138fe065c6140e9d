"""What the commands of a conversation ask of the shell: files, traces and /status."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import pytest

from rtchat.app import actions
from rtchat.app.actions import ShellActions
from rtchat.client.session import Session, SessionParts
from rtchat.config.settings import Settings
from rtchat.core import effects as fx
from rtchat.core.conversation import Conversation
from rtchat.core.errors import OutputError, RtchatError, UsageError
from rtchat.core.events import (
    EventsAsked,
    ExportAsked,
    LeaveAsked,
    LocalEvent,
    StatusAsked,
    UserSaid,
)
from rtchat.core.ports import Actions, Post
from rtchat.core.redaction import Redactor
from rtchat.core.values import (
    Dialect,
    Entry,
    Message,
    Options,
    Part,
    SessionInfo,
    State,
    StoredConversation,
)
from rtchat.history.store import Store
from rtchat.history.writer import HistoryWriter
from rtchat.trace.reading import read_trace
from rtchat.trace.recording import Trace
from rtchat.trace.switch import TraceSwitch
from tests.scripted import HELLO, QUESTION, Emit, Screen, ScriptedServer, Step, answer, run_fast

T = TypeVar("T")

NOW = 1_796_000_000.0
TODAY = f"{datetime.fromtimestamp(NOW):%Y-%m-%d}"
KEY = "sk-0123456789abcdef"


def entry(role: str, text: str, index: int) -> Entry:
    message = Message("user" if role == "user" else "assistant", (Part("text", text),))
    return Entry(1, index, message, State.COMPLETED, "m")


SAID = StoredConversation(
    0, "", 0.0, 0.0, "m", 1, (entry("user", "What's a *river*?", 0), entry("m", "Water.", 1))
)
CODE = "Try:\n\n```python\nprint(1)\n```\n\n    indented\n\n```no-such-language\nx"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which is also the home folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def shell(
    trace: TraceSwitch | None = None,
    history: HistoryWriter | None = None,
    settings: Settings = Settings(),  # noqa: B008 - a frozen value
) -> ShellActions:
    redactor = Redactor((KEY,))
    trace = trace or TraceSwitch(None, redactor, complete=False)
    return ShellActions(settings, trace, redactor, history, now=lambda: NOW)


def done(action: fx.Action, of: ShellActions | None = None) -> str:
    """What is shown after an action."""
    update = run((of or shell()).perform(action))
    assert isinstance(update, fx.Notice | fx.Report)
    return update.text


def run(what: Awaitable[T]) -> T:
    async def main() -> T:
        return await what

    return asyncio.run(main())


def export(file: str = "", *, force: bool = False) -> fx.Export:
    return fx.Export(SAID, 60.0, file, force)


def save(
    file: str = "", *, block: int = 0, text: str = CODE, force: bool = False, so_far: str = ""
) -> fx.SaveReply:
    return fx.SaveReply(text, block, "Show me: some code!", file, force, so_far)


# ----------------------------------------------------------------------------- /export and /save


@pytest.mark.parametrize(
    ("file", "begins"),
    [
        ("a.md", "# What's a \\*river\\*?\n"),
        ("a", "# What's a \\*river\\*?\n"),
        ("a.json", '{\n  "rtchat"'),
        ("A.HTML", "<!doctype html>"),
    ],
)
def test_the_extension_chooses_the_format(folder: Path, file: str, begins: str) -> None:
    assert file in done(export(file))
    assert (folder / file).read_text().startswith(begins)
    assert (folder / file).stat().st_mode & 0o777 == 0o600


def test_a_conversation_that_is_not_saved_has_no_id_but_a_title_and_times(folder: Path) -> None:
    done(export("a.json"))
    data = json.loads((folder / "a.json").read_text())
    assert (data["id"], data["title"]) == (None, "What's a *river*?")
    assert (data["began"], data["updated"]) == (NOW - 60, NOW)
    assert [each["state"] for each in data["entries"]] == ["completed", "completed"]


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("my notes.md", "my notes.md"),
        ("'my notes.md'", "my notes.md"),
        (r"my\ notes.md", "my notes.md"),
        ("~/notes.md", "notes.md"),
        ("./~notes.md", "~notes.md"),
        ("it's.md", "it's.md"),
    ],
)
@pytest.mark.parametrize("make", [export, save])
def test_a_name_is_read_as_people_type_it(
    folder: Path, typed: str, name: str, make: Callable[[str], fx.Action]
) -> None:
    done(make(typed))
    assert [file.name for file in folder.iterdir()] == [name]


@pytest.mark.parametrize("make", [export, save])
def test_a_file_is_overwritten_only_with_force(
    folder: Path, make: Callable[..., fx.Action]
) -> None:
    (folder / "a.md").write_text("mine")
    with pytest.raises(UsageError, match=r"a\.md already exists") as found:
        done(make("a.md"))
    assert "--force" in found.value.hint
    assert (folder / "a.md").read_text() == "mine"
    done(make("a.md", force=True))
    assert "mine" not in (folder / "a.md").read_text()


@pytest.mark.parametrize(
    ("action", "names"),
    [
        (export(), [f"{TODAY}-what-s-a-river.md", f"{TODAY}-what-s-a-river-2.md"]),
        (save(), [f"{TODAY}-show-me-some-code.md", f"{TODAY}-show-me-some-code-2.md"]),
        (save(block=1), [f"{TODAY}-show-me-some-code.py", f"{TODAY}-show-me-some-code-2.py"]),
        (fx.SaveReply("x", 0, "!", "", False), [f"{TODAY}.md", f"{TODAY}-2.md"]),
        (fx.SaveReply("x", 0, "", "", False), [f"{TODAY}-reply.md", f"{TODAY}-reply-2.md"]),
    ],
)
def test_a_default_name_is_new(folder: Path, action: fx.Action, names: list[str]) -> None:
    for name in names:
        assert done(action).endswith(name)
    assert sorted(file.name for file in folder.iterdir()) == sorted(names)


def test_a_default_name_is_used_in_a_folder_that_is_named(folder: Path) -> None:
    (folder / "my notes").mkdir()
    assert f"my notes/{TODAY}-what-s-a-river.md" in done(export("my notes"))
    assert f"my notes/{TODAY}-show-me-some-code.md" in done(save("my notes/"))


@pytest.mark.parametrize(
    ("block", "content"),
    [(0, f"{CODE}\n"), (1, "print(1)\n"), (2, "indented\n"), (3, "x\n")],
)
def test_a_reply_or_its_code_is_saved_as_the_model_wrote_it(
    folder: Path, block: int, content: str
) -> None:
    done(save("a", block=block))
    assert (folder / "a").read_text() == content


def test_a_block_of_the_reply_that_streams_is_saved_if_it_has_any(folder: Path) -> None:
    done(save("a", block=1, so_far="So:\n```\nnew\n"))
    done(save("b", block=1, so_far="So:"))
    assert (folder / "a").read_text() == "new\n"
    assert (folder / "b").read_text() == "print(1)\n"


def test_an_unknown_language_is_text() -> None:
    assert done(save(block=3)).endswith(".txt")


@pytest.mark.parametrize(
    ("action", "named"),
    [
        (export("a.pdf"), ["'.pdf'", ".md, .markdown, .json"]),
        (export("no/such/folder.md"), ["no/such/folder.md", "cannot be written"]),
        (save("a\0b"), ["cannot be written", "use another path"]),
        (save("x" * 300), ["cannot be written"]),
        (save(block=4), ["3 code blocks"]),
        (save(block=1, text="No code."), ["no code blocks"]),
    ],
)
def test_a_mistake_is_one_clear_line(action: fx.Action, named: list[str]) -> None:
    with pytest.raises(RtchatError) as found:
        done(action)
    assert "\n" not in found.value.message
    assert "--format" not in found.value.hint
    shown = f"{found.value.message} {found.value.hint}"
    assert [name for name in named if name not in shown] == []


def test_a_disk_that_hangs_is_reported_and_does_not_block_the_next_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "DISK_TIMEOUT", 0.1)
    os.mkfifo(folder / "pipe")  # opening it waits for a reader
    of = shell()

    async def main() -> str:
        with pytest.raises(OutputError, match="did not respond"):
            await of.perform(export("pipe"))
        update = await of.perform(export("a.md"))
        assert isinstance(update, fx.Notice)
        return update.text

    assert asyncio.run(main()) == "exported 1 turn to a.md"


# ----------------------------------------------------------------------------------------- /status

STATUS = fx.ConversationStatus(
    "m", SessionInfo("s1", "m-2026", "ws://127.0.0.1/v1"), "ready", 252.0, Dialect.BETA, 2
)


def table(text: str) -> dict[str, str]:
    """The rows of a table."""
    return dict(line.split("  ", 1) for line in text.splitlines())


def status(
    action: fx.ConversationStatus = STATUS, of: ShellActions | None = None
) -> dict[str, str]:
    found = table(done(fx.ReportStatus(action), of))
    return {name: text.strip() for name, text in found.items()}


def test_the_status_is_a_table() -> None:
    assert status() == {
        "model": "m-2026 (asked for m)",
        "url": "ws://127.0.0.1/v1",
        "session": "s1",
        "connection": f"ready since {status()['connection'][12:20]} (4 min 12 s)",
        "dialect": "beta (detected)",
        "conversation": "2 turns, not saved (the history is off)",
        "tools": "none",
        "voice": "off",
        "trace": "off",
    }


def test_the_status_has_no_keys() -> None:
    settings = Settings(url=f"wss://user:{KEY}@host/v1?api-key={KEY}")
    told = fx.ConversationStatus("m", SessionInfo(), "down", 0.0, instructions=f"The key is {KEY}.")
    shown = status(told, shell(settings=settings))
    assert KEY not in str(shown)
    assert shown["url"].startswith("wss://[key]@host/v1")
    assert shown["instructions"] == "The key is [key]."


def test_the_status_names_the_settings_in_use(folder: Path) -> None:
    settings = Settings(dialect="ga", local=True, profile="work")
    told = fx.ConversationStatus(
        "m",
        SessionInfo(),
        "down",
        7_380.0,
        options='a="b"\nc=1',
        instructions="Be\n\x1b[31mbrief.",
        tools=("now", "weather"),
        microphone=fx.MicrophoneStatus(True, push_to_talk=False),
    )
    shown = done(fx.ReportStatus(told), shell(settings=settings))
    assert table(shown)["connection"].endswith("(2 h 3 min)")
    assert [line.split("  ")[-1].strip() for line in shown.splitlines() if "option" in line] == [
        'a="b"',
        "c=1",
    ]
    rows = {name: text.strip() for name, text in table(shown).items()}
    assert rows["profile"] == "work"
    assert rows["url"] == "built-in model"
    assert rows["dialect"] == "ga (set)"
    assert rows["tools"] == "now, weather"
    assert rows["voice"] == "microphone on"
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("microphone", "speaks", "voice"),
    [
        (fx.MicrophoneStatus(False, True), True, "microphone off"),
        (fx.MicrophoneStatus(False, True, is_available=False), True, "microphone lost"),
        (None, True, "replies are spoken"),
    ],
)
def test_the_status_of_the_voice(
    microphone: fx.MicrophoneStatus | None, speaks: bool, voice: str
) -> None:
    told = fx.ConversationStatus(
        "m", SessionInfo(), "down", 0.0, microphone=microphone, speaks=speaks
    )
    assert status(told)["voice"] == voice


def test_the_status_names_the_saved_conversation(folder: Path) -> None:
    writer = HistoryWriter(Store(folder / "history.db"))
    of = shell(history=writer)

    async def main() -> list[str]:
        before = await of.perform(fx.ReportStatus(STATUS))
        await writer.record(entry("user", "hi", 0))
        after = await of.perform(fx.ReportStatus(STATUS))
        assert isinstance(before, fx.Report)
        assert isinstance(after, fx.Report)
        return [table(each.text)["conversation"].strip() for each in (before, after)]

    assert asyncio.run(main()) == ["2 turns", "2 turns, saved with ID 1"]
    writer.close()


# ------------------------------------------------------------------------------------------ /trace


def test_a_trace_is_started_and_stopped(folder: Path) -> None:
    switch = TraceSwitch(None, Redactor(), complete=False)
    of = shell(switch)

    async def main() -> None:
        switch("local", UserSaid("before"), 1.0)
        await of.perform(fx.RecordTrace("start", "'my trace.jsonl'"))
        switch("local", UserSaid("during"), 2.0)
        with pytest.raises(UsageError, match=r"already recorded to my trace\.jsonl"):
            await of.perform(fx.RecordTrace("start", "b.jsonl"))
        shown = await of.perform(fx.RecordTrace("show", ""))
        assert isinstance(shown, fx.Report)
        assert "my trace.jsonl" in shown.text
        rows = await of.perform(fx.ReportStatus(STATUS))
        assert isinstance(rows, fx.Report)
        assert table(rows.text)["trace"].strip() == "my trace.jsonl"
        await of.perform(fx.RecordTrace("stop", ""))
        switch("local", UserSaid("after"), 3.0)
        with pytest.raises(UsageError, match="not being recorded"):
            await of.perform(fx.RecordTrace("stop", ""))

    asyncio.run(main())
    switch.close()
    read = read_trace(folder / "my trace.jsonl", lambda text: pytest.fail(text))
    assert [each.event for each in read.events] == [UserSaid("during")]
    assert read.after == 1.0


def test_a_trace_from_the_start_can_be_stopped(folder: Path) -> None:
    trace = Trace(folder / "t.jsonl")
    switch = TraceSwitch(trace, Redactor(), complete=False)
    assert "t.jsonl" in done(fx.RecordTrace("stop", ""), shell(switch))
    assert "not being recorded" in done(fx.RecordTrace("show", ""), shell(switch))
    assert switch.trace is None


@pytest.mark.parametrize(
    ("file", "named"),
    [("-", "/trace FILE"), ("''", "directory"), ("no/such/t.jsonl", "choose another file")],
)
def test_a_trace_that_cannot_be_written(file: str, named: str) -> None:
    with pytest.raises(RtchatError) as found:
        done(fx.RecordTrace("start", file))
    assert named in f"{found.value.message} {found.value.hint}"


def test_a_trace_never_overwrites_a_file(folder: Path) -> None:
    (folder / "t.jsonl").write_text("mine")
    assert "t-2.jsonl" in done(fx.RecordTrace("start", "t.jsonl"))
    assert (folder / "t.jsonl").read_text() == "mine"


def test_a_trace_that_failed_says_so_when_it_is_stopped() -> None:
    trace = Trace(Path("/dev/full"))
    switch = TraceSwitch(trace, Redactor(), complete=False)
    of = shell(switch)
    with pytest.raises(OutputError, match="/dev/full"):
        done(fx.RecordTrace("stop", ""), of)
    switch.start(trace)
    with pytest.raises(OutputError, match="/dev/full"):
        done(fx.RecordTrace("show", ""), of)


# --------------------------------------------------------------------------------------- a session


def converse(
    of: Actions | None, *events: LocalEvent, steps: tuple[Step, ...] = ()
) -> list[fx.Update]:
    """The updates of a session in which a question is asked, then these events happen."""
    server = ScriptedServer((*HELLO, *QUESTION, *answer("Hi."), *steps))
    view = Screen()

    async def source(post: Post) -> None:
        post(UserSaid("hello"))
        await asyncio.sleep(1)
        for event in events:
            post(event)
            await asyncio.sleep(1)
        post(LeaveAsked())

    async def main() -> None:
        ports = SessionParts(
            view,
            server.connect,
            None,
            Redactor((KEY,)),
            actions=of,
            now=lambda: asyncio.get_running_loop().time(),
            wall_clock=lambda: asyncio.get_running_loop().time(),
        )
        await Session(Conversation("m", Options(modality="text")), ports).run(source)

    run_fast(main)
    return view.updates


class Answers:
    """Answers each action with what the test gives it."""

    def __init__(self, *answers: fx.Update | Exception | None) -> None:
        self._answers = list(answers)
        self.asked: list[fx.Action] = []

    async def perform(self, action: fx.Action) -> fx.Update:
        self.asked.append(action)
        match self._answers.pop(0):
            case Exception() as error:
                raise error
            case None:
                await asyncio.Event().wait()
                raise AssertionError  # unreachable: nobody sets the event
            case update:
                return update


def with_answers(*answers: fx.Update | Exception | None) -> list[fx.Update]:
    events = [StatusAsked() for _ in answers]
    return converse(Answers(*answers), *events)


def test_the_result_of_an_action_is_shown() -> None:
    report, error = fx.Report("fine"), UsageError("no", hint="yes")
    shown = with_answers(report, error)
    assert shown[-2:] == [report, fx.Notice("error", "no", "yes")]


def test_the_end_of_a_session_does_not_wait_forever_for_an_action() -> None:
    assert isinstance(with_answers(None)[-1], fx.ReplyOver)


def test_a_fault_in_an_action_is_a_fault_of_the_program() -> None:
    with pytest.raises(ZeroDivisionError):
        with_answers(ZeroDivisionError())


def test_a_session_without_actions_performs_none() -> None:
    assert isinstance(converse(None, ExportAsked())[-1], fx.ReplyOver)


def test_the_conversation_is_exported_without_a_history() -> None:
    answers = Answers(fx.Report("done"))
    converse(answers, ExportAsked("a.md"))
    (asked,) = answers.asked
    assert isinstance(asked, fx.Export)
    items = [entry.item for entry in asked.conversation.entries]
    assert [item.text for item in items if isinstance(item, Message)] == ["hello", "Hi."]


def test_events_are_shown_without_keys_and_not_too_long() -> None:
    odd = Emit({"event_id": "e", "type": "odd", "text": f"{KEY} \x1b[31m", "more": "x" * 5000})
    shown = converse(
        shell(), EventsAsked(True), UserSaid("again"), EventsAsked(False), UserSaid("and again"),
        steps=(*QUESTION, odd, Emit("not JSON"), *answer(KEY[:9], KEY[9:], reply="r2"), *QUESTION,
               *answer("No.", reply="r3")),
    )  # fmt: skip
    events = [update.json for update in shown if isinstance(update, fx.EventReceived)]
    assert [event.partition(",")[0] for event in events] == [
        '{"type":"odd"',
        "not JSON",
        '{"type":"response.created"',
        '{"type":"response.output_text.delta"',
        '{"type":"response.output_text.delta"',
        '{"type":"response.done"',
    ]
    assert "[key]" in events[0]
    assert not any(KEY in event or KEY[9:] in event or "\x1b" in event for event in events)
    assert len(events[0]) <= 2000
