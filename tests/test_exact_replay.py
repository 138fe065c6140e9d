"""Recorded sessions and their replays, which must be identical."""

from __future__ import annotations

import asyncio
import json
import random
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rtchat.app.audio_conversion import SessionAudio
from rtchat.client.history import History
from rtchat.client.session import Session, SessionParts
from rtchat.client.transport import explain_close
from rtchat.core.effects import (
    MicrophoneStatus,
    NotConnected,
    Notice,
    QuestionAsked,
    ReplyOver,
    Resumed,
    TextArrived,
    Update,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    Attached,
    AudioCaptured,
    AudioSaid,
    CancelPressed,
    ConnectionLost,
    CopyAsked,
    EditAsked,
    EntryAbandoned,
    EventsAsked,
    ExportAsked,
    ForkAsked,
    HistoryAsked,
    InputEnded,
    LeaveAsked,
    LocalEvent,
    MicrophoneToggled,
    ModelSet,
    NameSet,
    NewConversationAsked,
    OptionSet,
    PlaybackCut,
    RawSaid,
    ReasoningAsked,
    ResumeAsked,
    RetryAsked,
    SaveAsked,
    StatusAsked,
    SystemSet,
    ThemeAsked,
    ToolAnswered,
    ToolsAsked,
    TraceAsked,
    UndoAsked,
    UsageAsked,
    UserSaid,
    VoiceAsked,
)
from rtchat.core.mode import Mode
from rtchat.core.ports import Player, Post, Source
from rtchat.core.redaction import Redactor
from rtchat.core.setup import ConversationSetup, MachineSetup, SessionSetup
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.transcription import TranscriptionSetup
from rtchat.core.values import BYTES_A_MS, Dialect, JsonObject, Options, Part, Status
from rtchat.trace.diff import first_difference
from rtchat.trace.reading import Recorded, Recording, read_trace
from rtchat.trace.recording import Trace
from rtchat.trace.replay import Replay
from tests.scripted import (
    HELLO,
    QUESTION,
    Emit,
    End,
    Expect,
    Screen,
    ScriptedServer,
    answer,
    run_fast,
)
from tests.test_session import PAST, FakePlayer, MemoryHistory

Step: TypeAlias = LocalEvent | float
"""An event to post, or seconds to wait."""

TEXT = Options(modality="text")
CHAT = ConversationSetup("m", TEXT, can_ask=True, tools=("weather",))
ITEM = Expect("conversation.item.create")
KEY = "sk-0123456789abcdef"


class Weather:
    """A tool that takes a second."""

    async def call(self, name: str, arguments: str) -> str:
        await asyncio.sleep(1)
        return f"{name}({arguments}): sunny"


def source_of(steps: Iterable[Step]) -> Source:
    async def source(post: Post) -> None:
        for each in steps:
            if isinstance(each, float):
                await asyncio.sleep(each)
            else:
                post(each)

    return source


class Run:
    """A recorded session and its replay."""

    def __init__(
        self,
        path: Path,
        server: ScriptedServer | Server,
        *steps: Step,
        machine: MachineSetup = CHAT,
        dialect: Dialect | None = None,
        history: History | None = None,
        player: Player | None = None,
        redactor: Redactor = Redactor(),  # noqa: B008 - never changed
        complete: bool = False,
    ) -> None:
        setup = SessionSetup(machine, dialect)
        trace = Trace(path, redactor=redactor, complete=complete)
        trace("setup", setup, 0.0)
        self.view = Screen()

        def session() -> Session:
            ports = SessionParts(
                self.view,
                server.connect,
                dialect,
                redactor,
                taps=(trace,),
                history=history,
                tools=Weather(),
                player=player,
                now=lambda: asyncio.get_running_loop().time(),
                wall_clock=lambda: asyncio.get_running_loop().time(),
            )
            return Session(machine.make(), ports)

        self.exit = run_fast(lambda: session().run(source_of(steps)))
        trace.close()
        self.text = path.read_text(encoding="utf-8")
        self.recording = read_trace(path, print)
        self.replay, self.updates = replayed(self.recording)

    def check(self) -> None:
        """Assert that the replay sends and shows the same as the session."""
        assert self.replay.findings.differences == []
        assert self.updates == joined(self.view.updates)


def replayed(recording: Recording) -> tuple[Replay, list[Update]]:
    assert recording.setup is not None
    replay = Replay(recording.setup, recording.events, SessionAudio(None, None))
    steps = list(replay.steps())
    return replay, joined(update for step in steps for update in step.updates)


def joined(updates: Iterable[Update]) -> list[Update]:
    """The updates with consecutive pieces of text joined."""
    out: list[Update] = []
    for update in updates:
        last = out[-1] if out else None
        if isinstance(update, TextArrived) and isinstance(last, TextArrived):
            out[-1] = TextArrived(last.text + update.text, last.deltas + update.deltas)
        else:
            out.append(update)
    return out


def differences(recording: Recording, *events: Recorded) -> list[str]:
    """The differences in a replay of the recording with other events."""
    replay, _ = replayed(replace(recording, events=events))
    return [text for _, text in replay.findings.differences]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trace.jsonl"


# -------------------------------------------------------------------------------- identical replays


def test_tools_and_a_cancelled_reply(path: Path) -> None:
    item = {"type": "function_call", "name": "weather", "call_id": "c1", "arguments": "{}"}
    call = {"type": "response.done", "response": {"id": "r1", "output": [item]}}
    server = ScriptedServer(
        (
            *HELLO,
            *QUESTION,
            *answer(ends=False),
            Emit(call),
            *QUESTION,
            *answer("It is ", "sunny.", reply="r2"),
            *QUESTION,
            *answer("A long ", reply="r3", ends=False),
            Expect("response.cancel"),
            Emit({"type": "response.done", "response": {"id": "r3", "status": "cancelled"}}),
            End(1006),
        ),
        (*HELLO, *(ITEM,) * 6, *QUESTION, *answer("Bye.")),
    )
    steps = (
        *(
            UserSaid("hi"),
            1.0,
            ToolsAsked(),
            ToolAnswered("always"),
            3.0,
            CopyAsked(),
            UsageAsked(),
        ),
        *(UserSaid("go on"), 1.0, CancelPressed(), 1.0, UserSaid("and?"), 3.0, LeaveAsked()),
    )
    run = Run(path, server, *steps)
    server.check_used_up()
    run.check()
    statuses = [over.status for over in run.updates if isinstance(over, ReplyOver)]
    assert statuses == [Status.COMPLETED, Status.CANCELLED, Status.COMPLETED]


def test_commands(path: Path) -> None:
    turn = (*QUESTION, *answer("Hello."))
    server = ScriptedServer(
        (*HELLO, *turn, Expect("session.update"), Expect("session.update"), Expect("x.y")),
        (*HELLO, ITEM, ITEM),
        HELLO,
        (*HELLO, ITEM, ITEM),
        (*HELLO, *QUESTION, *answer("Three.")),
    )
    steps = (
        *(UserSaid("hi"), 1.0, SystemSet("Be brief."), OptionSet("session", "speed", {"speed": 2})),
        *(
            RawSaid({"type": "x.y", "event_id": "mine"}),
            1.0,
            ModelSet("n"),
            1.0,
            NewConversationAsked(),
            1.0,
        ),
        *(ResumeAsked(), 1.0, RetryAsked(), EntryAbandoned(), 1.0, LeaveAsked()),
    )
    run = Run(path, server, *steps, history=MemoryHistory(PAST))
    run.check()
    said = [update.text for update in run.updates if isinstance(update, Notice)]
    assert "started a new conversation" in said
    assert "model set to n" in said
    assert Resumed(PAST) in run.updates


def test_commands_for_the_shell(path: Path) -> None:
    """What the shell shows in response, such as the server's events, is not part of a replay."""
    server = ScriptedServer(
        (*HELLO, *QUESTION, *answer("Hello."), Expect("session.update"), *QUESTION, *answer("Yes."))
    )
    low = OptionSet("session", "reasoning.effort", {"reasoning": {"effort": "low"}})
    steps = (
        *(StatusAsked(), ExportAsked(), SaveAsked(), UserSaid("hi"), 1.0, StatusAsked()),
        *(ExportAsked("a b.md", force=True), SaveAsked("x", 1), TraceAsked("show"), VoiceAsked()),
        *(EventsAsked(), EventsAsked(), ReasoningAsked(), low, ReasoningAsked()),
        *(ThemeAsked(), ThemeAsked("mono"), UserSaid("and?"), 1.0, LeaveAsked()),
    )
    run = Run(path, server, *steps)
    server.check_used_up()
    run.check()
    assert [event for event in local(run.recording) if event in steps] == [
        step for step in steps if not isinstance(step, float)
    ]


@pytest.mark.parametrize("complete", [False, True])
def test_recorded_audio_and_images(path: Path, complete: bool) -> None:
    """A trace that leaves out audio is replayed with silence of the same length."""
    appends = (Expect("input_audio_buffer.append"),) * 2
    spoken = (*appends, Expect("input_audio_buffer.commit"), Expect("response.create"))
    server = ScriptedServer(
        (*HELLO, ITEM, *spoken, *answer("Hello."), End(1006)), (*HELLO, *(ITEM,) * 2)
    )
    image = Part("image", data="data:image/png;base64,iVBORw0KGgo=")
    steps = (Attached("a.png", image), AudioSaid(b"\1\2" * 15_000), 1.0, 5.0, LeaveAsked())
    run = Run(path, server, *steps, complete=complete)
    run.check()
    assert ("iVBORw0KGgo" in run.text) is complete
    assert (b64encode(b"\1\2" * 30).decode() in run.text) is complete


def test_a_microphone(path: Path) -> None:
    chunks = (AudioCaptured(b"\1\2" * 480),) * 10
    append = Expect("input_audio_buffer.append")
    speech = (
        Emit({"type": "input_audio_buffer.speech_started", "item_id": "u", "audio_start_ms": 10}),
        Emit({"type": "input_audio_buffer.speech_stopped", "item_id": "u", "audio_end_ms": 90}),
        Emit({"type": "input_audio_buffer.committed", "item_id": "u"}),
    )
    server = ScriptedServer(
        (*HELLO, *(append,) * 10, *speech, *answer("Hello.", ends=False), End(1006)),
        (*HELLO, ITEM, ITEM, append),
    )
    speech_options = SpeechOptions(has_microphone=True, push_to_talk=False)
    machine = replace(CHAT, speech=speech_options)
    run = Run(
        path, server, 1.0, *chunks, 5.0, MicrophoneToggled(), 1.0, LeaveAsked(), machine=machine
    )
    run.check()
    assert len([update for update in run.updates if isinstance(update, MicrophoneStatus)]) == 2
    assert b64encode(b"\1\2" * 30).decode() not in run.text


def test_audio_dropped_on_a_slow_network(path: Path) -> None:
    chunks = (AudioCaptured(bytes(20 * BYTES_A_MS)),) * 400
    append = Expect("input_audio_buffer.append")
    slow = Expect("input_audio_buffer.append", 20.0)
    server = ScriptedServer((*HELLO, slow, *(append,) * 251, *QUESTION, *answer("Hello.")))
    machine = replace(CHAT, speech=SpeechOptions(has_microphone=True, push_to_talk=False))
    steps = (1.0, *chunks[:1], 1.0, *chunks, 30.0, UserSaid("hi"), 1.0, LeaveAsked())
    run = Run(path, server, *steps, machine=machine)
    assert run.replay.findings.differences == []
    assert run.text.count('"sent"') == 1 + 252 + 2


def test_a_truncated_reply(path: Path) -> None:
    ids = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
    audio = Emit({"type": "response.output_audio.delta", "delta": "AQI=", **ids})
    begun, *rest = answer("Hello")
    cut = Expect("conversation.item.truncate")
    server = ScriptedServer(
        (*HELLO, *QUESTION, begun, audio, *rest, cut, *QUESTION, *answer("Bye", reply="r2"))
    )
    machine = ConversationSetup(
        "m", Options(modality="audio"), mode=Mode.LINES, speech=SpeechOptions(speaks=True)
    )
    steps = (UserSaid("hi"), UserSaid("bye"), InputEnded())
    run = Run(path, server, *steps, machine=machine, player=FakePlayer())
    server.check_used_up()
    run.check()
    assert PlaybackCut("i1", 0, 20) in local(run.recording)
    for length in range(1, len(run.recording.events)):
        assert differences(run.recording, *run.recording.events[:length]) == []


def local(recording: Recording) -> list[LocalEvent]:
    return [each.event for each in recording.events if each.direction == "local"]


def test_a_transcription(path: Path) -> None:
    hello = tuple(
        Emit({**step.event, "session": {"type": "transcription"}})
        if isinstance(step, Emit) and isinstance(step.event, dict)
        else step
        for step in HELLO
    )
    words = Emit(
        {
            "type": "conversation.item.input_audio_transcription.completed",
            "item_id": "u",
            "transcript": "What was said.",
        }
    )
    server = ScriptedServer(
        (
            *hello,
            Expect("input_audio_buffer.append"),
            Expect("input_audio_buffer.commit"),
            Expect("input_audio_buffer.clear"),
            Emit({"type": "input_audio_buffer.committed", "item_id": "u"}),
            Emit({"type": "input_audio_buffer.cleared"}),
            words,
        )
    )
    machine = TranscriptionSetup("w", Options(other={"type": "transcription"}), has_turns=True)
    run = Run(path, server, 1.0, AudioCaptured(bytes(4800)), 1.0, InputEnded(), machine=machine)
    server.check_used_up()
    run.check()
    assert run.exit is ExitCode.OK
    assert TextArrived("What was said.\n", 2) in run.updates


@pytest.mark.parametrize("dialect", [Dialect.BETA, Dialect.XAI])
def test_another_dialect(path: Path, dialect: Dialect) -> None:
    server = ScriptedServer((*HELLO, *QUESTION, *answer("Hello.")))
    run = Run(path, server, UserSaid("hi"), 1.0, LeaveAsked(), dialect=dialect)
    server.check_used_up()
    run.check()


def test_a_key_in_questions_and_replies(path: Path) -> None:
    """It is in no line of the trace, and replaced in the same way everywhere."""
    server = ScriptedServer(
        (*HELLO, *QUESTION, *answer(f"It is {KEY}, is", ends=False), Expect("response.cancel")),
        (*HELLO, ITEM, ITEM, *QUESTION, *answer("Bye.")),
    )
    machine = replace(CHAT, options=replace(TEXT, instructions=f"Never say {KEY}."))
    steps = (
        *(
            UserSaid(f"my key is {KEY}"),
            1.0,
            CancelPressed(),
            1.0,
            Attached(KEY, Part("text", KEY)),
        ),
        *(ModelSet("m"), 1.0, UserSaid("bye"), 1.0, LeaveAsked()),
    )
    run = Run(path, server, *steps, machine=machine, redactor=Redactor([KEY]))
    assert KEY[:12] not in run.text
    assert run.replay.findings.differences == []
    first, *_ = (update for update in run.updates if isinstance(update, ReplyOver))
    assert first.text == "It is [key], is"  # including the held-back end
    assert QuestionAsked("my key is [key]", "m") in run.updates


# -------------------------------------------------------------------------------------- differences


def test_held_back_text_is_released_when_speech_ends_the_reply(path: Path) -> None:
    """The held-back text is sent to a new session, in the replay too."""
    append = Expect("input_audio_buffer.append")
    commits = [Emit({"type": "input_audio_buffer.committed", "item_id": f"u{n}"}) for n in (1, 2)]
    server = ScriptedServer(
        (*HELLO, append, commits[0], *answer("It is", ends=False), commits[1], End(1006)),
        (*HELLO, ITEM, append, Expect("response.create"), *answer("Bye.", reply="r2")),
    )
    machine = replace(CHAT, speech=SpeechOptions(has_microphone=True, push_to_talk=False))
    run = Run(
        path,
        server,
        *(1.0, AudioCaptured(bytes(9600)), 5.0, LeaveAsked()),
        machine=machine,
        redactor=Redactor([KEY]),
    )
    run.check()
    first, *_ = (update for update in run.updates if isinstance(update, ReplyOver))
    assert first.text == "It is"


@pytest.fixture
def recording(path: Path) -> Recording:
    server = ScriptedServer((*HELLO, *QUESTION, *answer("Hello.")))
    return Run(path, server, UserSaid("hi"), 1.0, LeaveAsked()).recording


def changed(event: Recorded, **fields: object) -> Recorded:
    assert isinstance(event.data, dict)
    return replace(event, data={**event.data, **fields})


def test_differences_are_described(recording: Recording) -> None:
    events = list(recording.events)
    assert differences(recording, *events) == []
    update, item, ask = (i for i, event in enumerate(events) if event.direction == "sent")
    assert differences(recording, *events[:ask], *events[ask + 1 :]) == [
        "events not sent at the end: 0, but with this version response.create"
    ]
    assert differences(recording, *events[:item], *events[item + 1 :]) == [
        "sent response.create, but this version sends conversation.item.create; "
        "the rest is not compared"
    ]
    assert differences(recording, *events[: ask + 1], events[ask], *events[ask + 1 :]) == [
        "sent response.create, but this version sends nothing here; the rest is not compared"
    ]
    events[update] = changed(events[update], session={"type": "realtime", "voice": "x" * 100})
    assert differences(recording, *events) == [
        f'sent session.update: session.voice was "{"x" * 58}…, now missing'
    ]
    events[-1] = changed(events[-1], exit=1)
    assert differences(recording, *events)[1:] == [
        "the program ended with 1, but this version ends with 0"
    ]
    del events[-2]
    end = "the program ended with 1, but this version continues"
    assert differences(recording, *events)[1:] == [end]


@pytest.mark.parametrize(
    ("recorded", "now", "text"),
    [
        ({"a": 1}, {"a": 1}, ""),
        ({"a": 1}, {}, "a was 1, now missing"),
        ({}, {"a": {}}, "a was missing, now {}"),
        (
            {"a": {"b": [1, {"c": None}]}},
            {"a": {"b": [1, {"c": "x"}]}},
            'a.b[1].c was null, now "x"',
        ),
        ({"a": [1, 2]}, {"a": [1]}, "a was [1, 2], now [1]"),
        ({"a": "x" * 100}, {"a": True}, f'a was "{"x" * 58}…, now true'),
    ],
)
def test_the_first_difference(recorded: JsonObject, now: JsonObject, text: str) -> None:
    assert first_difference(recorded, now) == text


def test_a_reply_that_the_recording_does_not_end_is_incomplete(recording: Recording) -> None:
    assert recording.setup is not None
    (done,) = (i for i, each in enumerate(recording.events) if "response.done" in repr(each))
    replay, updates = replayed(replace(recording, events=recording.events[:done]))
    assert isinstance(updates[-1], NotConnected | Notice | ReplyOver)
    (over,) = (update for update in updates if isinstance(update, ReplyOver))
    assert (over.status, over.text) == (Status.INCOMPLETE, "Hello.")
    assert replay.findings.differences == []


def test_an_incomplete_recording_has_no_differences(recording: Recording) -> None:
    for length in range(1, len(recording.events)):
        assert differences(recording, *recording.events[:length]) == []


def test_damaged_recordings_can_be_replayed(recording: Recording) -> None:
    """Lines are missing, repeated, reordered or changed."""
    assert recording.setup is not None
    rng = random.Random(1)
    for _ in range(300):
        events = rng.choices(recording.events, k=len(recording.events))
        for index, event in enumerate(events):
            if event.direction in ("sent", "received") and rng.random() < 0.1:
                events[index] = replace(
                    event, direction=rng.choice(("sent", "received", "end", "lost"))
                )
        list(Replay(recording.setup, events, SessionAudio(None, None)).steps())


# ---------------------------------------------------------------------------------- random sessions


class Server:
    """A server that randomly replies, calls a tool, stalls or disconnects."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._replies = 0

    @asynccontextmanager
    async def connect(self, model: str) -> AsyncIterator[Server]:
        self._frames: asyncio.Queue[JsonObject | None] = asyncio.Queue()
        self._send_frame("session.created", session={"id": "s", "model": model})
        yield self

    async def send(self, event: JsonObject) -> None:
        match event["type"]:
            case "session.update":
                self._send_frame("session.updated", session={"id": "s", "model": "m"})
            case "response.create":
                self._reply()
            case "response.cancel":
                done = {"id": event.get("response_id"), "status": "cancelled"}
                self._send_frame("response.done", response=done)
            case "conversation.item.create" if self._rng.random() < 0.1:
                error = {"message": "no", "event_id": event["event_id"]}
                self._send_frame("error", error=error)
            case _:
                self._send_frame(
                    "conversation.item.added", item={"type": "message", "role": "user"}
                )

    def _reply(self) -> None:
        self._replies += 1
        reply: dict[str, Any] = {"id": f"r{self._replies}"}
        self._send_frame("response.created", response=reply)
        ids = {"response_id": reply["id"], "item_id": f"i{self._replies}"}
        for text in self._rng.choices(("some ", "words, ", "sk-01", "\ud83d"), k=3):
            self._send_frame("response.output_text.delta", delta=text, **ids)
        chance = self._rng.random()
        if chance < 0.1:
            self._frames.put_nowait(None)
        elif chance < 0.2:
            call = {"type": "function_call", "name": "weather", "arguments": "{}"}
            output = [{**call, "call_id": f"c{self._replies}"}]
            self._send_frame(
                "response.done", response={**reply, "status": "completed", "output": output}
            )
        elif chance < 0.8:
            status = self._rng.choice(("completed", "completed", "incomplete", "failed"))
            self._send_frame("response.done", response={**reply, "status": status})

    def _send_frame(self, kind: str, **fields: object) -> None:
        self._frames.put_nowait({"type": kind, **fields})

    url = "ws://127.0.0.1/v1/realtime"

    async def keep_alive(self) -> None:
        pass

    async def receive(self) -> str | None:
        frame = await self._frames.get()
        await asyncio.sleep(self._rng.choice((0.0, 0.0, 0.1)))
        return None if frame is None else json.dumps(frame)

    async def close(self) -> None:
        self._frames.put_nowait(None)

    def explain(self) -> ConnectionLost:
        return explain_close(1006, "")


STEPS: tuple[Step, ...] = (
    *(UserSaid("hi"), UserSaid(f"my {KEY}"), AudioSaid(bytes(5000), "well"), CancelPressed()),
    *(UndoAsked(), EditAsked(), ForkAsked(), RetryAsked("n", "In French.")),
    *(RetryAsked(), NewConversationAsked(), ModelSet("n"), ResumeAsked(), SystemSet("Be brief.")),
    *(NameSet("mine"), NameSet("taken"), HistoryAsked()),
    *(ToolAnswered("yes"), ToolAnswered("no"), Attached("a", Part("text", "file"))),
    *(OptionSet("session", "speed", {"speed": 2}), RawSaid({"type": "x"}), MicrophoneToggled()),
    *(0.01, 0.05, 0.3, 1.0, 1.0, 1.0, 20.0),
)


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_random_sessions_are_replayed_identically(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 20):
        rng = random.Random(seed)
        steps = rng.choices(STEPS, k=40)
        end = rng.choice((InputEnded(), LeaveAsked(), InputEnded(Problem(ExitCode.USAGE, "x"))))
        machine = replace(CHAT, mode=rng.choice((Mode.CHAT, Mode.LINES)))
        run = Run(
            tmp_path / f"{seed}.jsonl",
            Server(rng),
            *(*steps, 30.0, end, 100.0, LeaveAsked()),
            machine=machine,
            history=MemoryHistory(PAST),
            redactor=Redactor([KEY]),
        )
        assert run.replay.findings.differences == [], seed
        assert KEY[:12] not in run.text
