"""The memory of a conversation does not grow, whatever a server keeps sending, and a turn of a long
conversation is not more work than a turn of a short one.

The tests compare the size of all objects that the conversation refers to after `EVENTS` events and
after twice as many, or the number of instructions.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from base64 import b64encode
from collections.abc import Callable
from types import FunctionType, MethodType, ModuleType

import pytest

from rtchat.core import notices
from rtchat.core.conversation import Conversation
from rtchat.core.errors import ExitCode
from rtchat.core.events import (
    AudioCaptured,
    AudioCleared,
    AudioCommitted,
    CancelPressed,
    ChannelDone,
    ConnectionOpened,
    Delta,
    Event,
    InputEnded,
    ItemAdded,
    ItemDeleted,
    ItemDone,
    ItemRetrieved,
    ItemTruncated,
    LeaveAsked,
    Other,
    OutputAdded,
    OutputDone,
    PartAdded,
    PartDone,
    RateLimit,
    RateLimits,
    RawSaid,
    ReplyEnded,
    ReplyStarted,
    ServerEvent,
    ServerProblem,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Started,
    SystemSet,
    ToolCalled,
    TranscriptionFailed,
    Unknown,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.transcription import Transcription, TranscriptionSetup
from rtchat.core.values import BYTES_A_MS, Channel, Message, Options, Part, Status, ToolCall, Usage
from rtchat.server.audio_input import Transcribe
from rtchat.server.engine import Finish
from rtchat.server.outputs import StartResponse
from rtchat.server.script import EchoEngine
from rtchat.server.tone_voice import ToneVoice
from rtchat.wire import decode, read_frame
from tests.protocol_driver import ProtocolDriver
from tests.work import WorkCounter

EVENTS = 1500
"""More than any limit on the number of objects."""


def total_size(machine: object) -> int:
    """The size in bytes of all objects that an object refers to, except classes, modules and
    functions."""
    seen: set[int] = set()
    waiting: list[object] = [machine]
    total = 0
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType | MethodType):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        waiting += gc.get_referents(one)
    return total


def message(number: int) -> Message:
    return Message("assistant", (Part("text", "x"),), f"i{number}")


def call(number: int) -> ToolCall:
    return ToolCall("f", f"c{number}", "{}", f"i{number}")


KINDS: dict[str, Callable[[int], ServerEvent]] = {
    "session created": lambda n: SessionCreated(f"s{n}", "m"),
    "session updated": lambda n: SessionUpdated(f"s{n}", "m"),
    "item added": lambda n: ItemAdded(message(n)),
    "item done": lambda n: ItemDone(message(n)),
    "item retrieved": lambda n: ItemRetrieved(message(n)),
    "item deleted": lambda n: ItemDeleted(f"i{n}"),
    "item truncated": lambda n: ItemTruncated(f"i{n}", 0, n),
    "reply started": lambda n: ReplyStarted(f"x{n}"),
    "reply ended": lambda n: ReplyEnded(f"x{n}", Status.COMPLETED, usage=Usage(1, 0, 1, 2)),
    "reply ended with calls": lambda n: ReplyEnded(f"x{n}", Status.COMPLETED, items=(call(n),)),
    "reply failed": lambda n: ReplyEnded(f"x{n}", Status.FAILED, message=f"no {n}"),
    "output added": lambda n: OutputAdded("r1", n, message(n)),
    "output done": lambda n: OutputDone("r1", n, message(n)),
    "call done": lambda n: OutputDone("r1", n, call(n)),
    "call of another reply": lambda n: OutputDone(f"x{n}", n, call(n)),
    "part added": lambda n: PartAdded("r1", f"i{n}", n, 0, Part("text")),
    "part done": lambda n: PartDone("r1", f"i{n}", n, 0, Part("text", "x")),
    "nothing": lambda n: Delta(Channel.TEXT, "", "r1", "i"),
    "nothing in parts": lambda n: Delta(Channel.TEXT, "", "r1", f"i{n}", n),
    "text under other ids": lambda n: Delta(Channel.TEXT, "x" * 10_000, f"x{n}", "i"),
    "text": lambda n: Delta(Channel.TEXT, "x" * 10_000, "r1", "i"),
    "text in parts": lambda n: Delta(Channel.TRANSCRIPT, "x", "r1", f"i{n}", n),
    "text done": lambda n: ChannelDone(Channel.TEXT, "x", "r1", f"i{n}"),
    "audio": lambda n: Delta(Channel.AUDIO, "AAAA", "r1", f"i{n}"),
    "half a sample": lambda n: Delta(Channel.AUDIO, "AA==", "r1", f"i{n}"),
    "no audio": lambda n: Delta(Channel.AUDIO, "?", "r1", f"i{n}"),
    "audio done": lambda n: ChannelDone(Channel.AUDIO, "", "r1", f"i{n}"),
    "arguments": lambda n: Delta(Channel.ARGUMENTS, "x" * 2000, "r1", f"i{n}"),
    "no arguments": lambda n: Delta(Channel.ARGUMENTS, "", "r1", f"i{n}"),
    "called": lambda n: ToolCalled("f", f"c{n}", "{}", "r1", f"i{n}"),
    "heard": lambda n: ChannelDone(Channel.INPUT_TRANSCRIPT, "x", item_id=f"u{n}"),
    "heard in pieces": lambda n: Delta(Channel.INPUT_TRANSCRIPT, "x", item_id=f"u{n}"),
    "not heard": lambda n: TranscriptionFailed(f"u{n}", "no"),
    "speech started": lambda n: SpeechStarted(f"u{n}", n),
    "speech stopped": lambda n: SpeechStopped(f"u{n}", n),
    "audio committed": lambda n: AudioCommitted(f"u{n}"),
    "audio cleared": lambda n: AudioCleared(),
    "limits": lambda n: RateLimits(tuple(RateLimit(f"limit {m}", n) for m in range(100))),
    "error": lambda n: ServerProblem(f"no {n}", event_id=f"e{n}"),
    "other": lambda n: Other(f"o{n}"),
    "unknown": lambda n: Unknown(f"o{n}", "?"),
}
STATES = ("ready", "asked", "replying", "calling", "stopped", "after /raw")


def machine(when: str, *, is_spoken: bool) -> Conversation:
    speech = SpeechOptions(
        speaks=is_spoken, has_microphone=is_spoken, push_to_talk=False, stores_audio=True
    )
    tools = ToolPolicy(["f"], ["f"])
    made = Conversation("m", Options(), mode=Mode.CHAT, tool_policy=tools, speech=speech)
    events: list[Event] = [
        Started(),
        ConnectionOpened(),
        SessionCreated("s", "m"),
        SessionUpdated("s", "m"),
    ]
    if is_spoken:
        events.append(AudioCaptured(bytes(9600)))
    if when == "after /raw":
        events.append(RawSaid({"type": "x"}))
    elif when != "ready":
        events.append(UserSaid("hi"))
    if when in ("replying", "calling", "stopped"):
        events.append(ReplyStarted("r1"))
    if when == "calling":
        events.append(ReplyEnded("r1", Status.COMPLETED, items=(call(-1),)))
    if when == "stopped":
        events.append(CancelPressed())
    for event in events:
        made.handle(event)
    return made


@pytest.mark.no_cover  # takes four times as long with coverage; playbooks cover the same code
@pytest.mark.parametrize("is_spoken", [False, True], ids=["typed", "spoken"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_memory_of_the_conversation_does_not_grow(kind: str, is_spoken: bool) -> None:
    for when in STATES:
        made = machine(when, is_spoken=is_spoken)
        sizes = []
        for start in (0, EVENTS):
            for number in range(start, start + EVENTS):
                made.handle(KINDS[kind](number))
            made.handle(Unknown("", ""))  # replaces the last effects
            sizes.append(total_size(made))
        assert sizes[1] <= sizes[0] + 2000, f"{kind}, {when}: {sizes}"


@pytest.mark.parametrize("is_complete", [True, False])
def test_a_transcription_that_has_ended_keeps_no_audio(is_complete: bool) -> None:
    audio = bytes(60_000 * BYTES_A_MS)
    machine = Transcription(TranscriptionSetup("m", Options(), from_file=True))
    begin = (
        Started(),
        ConnectionOpened(),
        SessionCreated("s", "m"),
        SessionUpdated("s", "m"),
        AudioCaptured(audio),
    )
    for event in begin:
        machine.handle(event, 0.0)
    assert total_size(machine) > len(audio)
    if is_complete:
        transcript = ChannelDone(Channel.INPUT_TRANSCRIPT, "Yes.", item_id="u1")
        for end in (InputEnded(), AudioCommitted("u1"), AudioCleared(), transcript):
            machine.handle(end, 0.0)
    effects = machine.handle(LeaveAsked(ExitCode.INTERRUPTED), 0.0)
    assert is_complete == (not effects)
    assert total_size(machine) < len(audio) / 10


def test_an_error_for_an_old_command_is_only_shown() -> None:
    made = machine("ready", is_spoken=False)
    for _ in range(1001):
        made.handle(SystemSet("Be brief."))
    shown = made.handle(ServerProblem("No.", event_id="rtchat_2"))
    assert shown == [notices.server_reports("No.")]


def test_the_number_of_problems_reported_per_event_is_limited() -> None:
    response = {"id": 5, "output": [1] * 1000, "conversation_id": 5}
    first, *notes = decode({"type": "response.done", "response": response})
    assert isinstance(first, ReplyEnded)
    assert len(notes) == 20
    fields = {"id": 1, "model": 1, "expires_at": "x"}
    created = {"type": "session.created", "session": fields}
    assert len(decode(created)) == 4


def test_a_frame_with_too_many_values_is_not_decoded() -> None:
    frame = read_frame('{"type": "x", "a": [' + "1," * 1_000_000 + "1]}")
    assert frame == Unknown("", "invalid JSON: more than 1000000 values")


def test_a_long_error_message_is_truncated() -> None:
    error = {"type": "error", "error": {"message": "x" * 5000, "code": "c"}}
    assert decode(error) == [ServerProblem("x" * 1999 + "…", code="c")]


# --------------------------------------------------------------------------------------- the server


def server_turn(driver: ProtocolDriver, number: int) -> None:
    """A question, and the reply to it; every tenth question is spoken."""
    content: dict[str, object] = {"type": "input_text", "text": f"question {number}"}
    if number % 10 == 9:
        content = {"type": "input_audio", "audio": b64encode(bytes(9600)).decode()}
    item = {"type": "message", "role": "user", "content": [content]}
    outputs = [
        output
        for event in (
            {"type": "conversation.item.create", "item": item},
            {"type": "response.create", "response": {"output_modalities": ["text"]}},
        )
        for output in driver.protocol.receive(json.dumps(event))
    ]
    for step in outputs:
        if isinstance(step, Transcribe):
            driver.protocol.add_transcript(step.item_id, "words")
            outputs += driver.protocol.end_transcript(step.item_id)
    (started,) = (output for output in outputs if isinstance(output, StartResponse))

    async def answer() -> None:
        async for piece in started.answer:
            if isinstance(piece, Finish):
                driver.protocol.finish(started.response_id, piece)
            elif isinstance(piece, str):
                driver.protocol.add_piece(started.response_id, piece)

    asyncio.run(answer())


@pytest.mark.no_cover  # counts instructions by the same means as coverage
@pytest.mark.parametrize("first", [50, 59], ids=["typed", "spoken"])
def test_a_turn_is_not_more_work_for_the_server_in_a_long_conversation(
    first: int,
) -> None:
    driver = ProtocolDriver(EchoEngine(), voice=ToneVoice(()))
    counts = {}
    for number in range(first + 501):
        if number in (first, first + 500):
            with WorkCounter() as work:
                server_turn(driver, number)
            counts[number] = work.count
        else:
            server_turn(driver, number)
    assert counts[first + 500] <= counts[first] + 500, counts
