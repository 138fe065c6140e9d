"""Servers that deviate from OpenAI's order, names and ids of events, in one or two ways."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, count

import pytest

from rtchat.core import events as ev
from rtchat.core.backoff import Timeouts
from rtchat.core.errors import ExitCode
from rtchat.core.mode import Mode
from rtchat.core.values import Message, Status, ToolCall, ToolOutput
from tests.chunks import in_chunks
from tests.deviations import ALL
from tests.deviations.kinds import SESSION, Deviation
from tests.deviations.known import BETWEEN, KnownResponse, distinct, known_response
from tests.deviations.replies import GREETING, UNREQUESTED
from tests.deviations.run import REPLY_TIMEOUT, Run, Turn
from tests.deviations.server import Answer, Call, Features, Frame, Response, Server, Transform

FEATURES = [Features(echoes, confirms) for echoes in (True, False) for confirms in (True, False)]
FEW_SECONDS = 6.0
"""How much longer than the wait for a silent server a turn may take, in seconds."""

FIRST = "The first answer, said in whole words."
SECOND = "The second answer is another one."
ADD = Call("add", {"a": 1, "b": 2})


@dataclass(frozen=True, eq=False)
class Scenario:
    """A correct session: what the user does, and what the server answers to each question."""

    name: str
    script: Sequence[Sequence[Answer]]
    mode: Mode = Mode.LINES
    speaks: bool = False
    needs: frozenset[str] = frozenset()
    """What a client must be able to rely on, as in `Deviation`."""
    hides: frozenset[str] = frozenset()
    """What a client cannot rely on."""
    listens: bool = False
    """Whether the server makes a turn of the first question's audio, and replies to it."""
    cancels: float = 0.0
    """The seconds after which the user cancels the first reply; 0 if not at all."""

    def __str__(self) -> str:
        return self.name

    def run(self, connect: Callable[[], Server]) -> Run:
        """Run the scenario."""
        texts = [f"question {number}" for number in range(1, len(self.script) + 1)]
        said: list[ev.Event] = [ev.UserSaid(text) for text in texts]
        if self.speaks:
            said[0] = ev.AudioSaid(bytes(9600))
        now, later = [*said, ev.InputEnded()], []
        delay = self.cancels
        if self.listens:
            now, later, delay = [ev.AudioCaptured(bytes(48000))], [*said[1:], ev.InputEnded()], 8.0
        if self.cancels:
            now, later = said[:1], [ev.CancelPressed(), *said[1:], ev.InputEnded()]
        return Run(
            connect,
            mode=self.mode,
            inputs=now,
            later=later,
            delay=delay,
            speaks=self.speaks,
            listens=self.listens,
        )

    def transforms(self) -> list[Transform]:
        """A reply that is cancelled pauses in the middle."""
        return [pausing] if self.cancels else []


def pausing(_: Server, stage: str, frames: list[Frame]) -> list[Frame]:
    """The first reply pauses in the middle."""
    types = [frame.type for frame in frames]
    if stage == "response" and any(_turn_of(frame) == 1 for frame in frames):
        end = types.index("response.done") if "response.done" in types else len(types)
        frames[end // 2].pause = 30.0
    return frames


TEXT = [Answer(FIRST)], [Answer(SECOND)]
ROUND = [Answer(calls=(ADD,)), Answer(FIRST)], [Answer(SECOND)]
ROUNDS = (
    [Answer("Let me see.", (ADD, Call("add", {"a": 3, "b": 4}))), Answer(FIRST)],
    [Answer(SECOND)],
)


def cut(status: str) -> tuple[list[Answer], list[Answer]]:
    """A call in a reply that is not complete."""
    return [Answer(calls=(ADD,), status=status), Answer(FIRST)], [Answer(SECOND)]


SCENARIOS = (
    Scenario("one question", TEXT[:1], Mode.ONCE),
    Scenario("two questions", TEXT),
    Scenario("a call", ROUND),
    Scenario("a call at once", ROUND[:1], Mode.ONCE),
    Scenario("two calls after text", ROUNDS, needs=frozenset({"one call id for each call"})),
    Scenario("speech", TEXT, speaks=True),
    Scenario("a spoken call", ROUND, speaks=True),
    Scenario(
        "live speech",
        TEXT,
        Mode.CHAT,
        speaks=True,
        listens=True,
        needs=frozenset({"confirmations"}),  # they begin the turns
        hides=frozenset({"an answer"}),  # the server's own replies are the answers
    ),
    Scenario("an early cancel", TEXT, Mode.CHAT, cancels=0.5),
    Scenario("a late cancel", TEXT, Mode.CHAT, cancels=1.5),
    *(Scenario(f"a call in an {status} reply", cut(status)) for status in ("incomplete", "failed")),
)


def run(scenario: Scenario, features: Features, deviations: Iterable[Deviation]) -> Run:
    """Run a scenario against servers with these deviations."""
    numbers, connections = count(1), count()
    ordered = sorted(deviations, key=lambda each: each.order)

    def connect() -> Server:
        transforms = [*(each.make() for each in ordered), *scenario.transforms()]
        return Server(
            scenario.script,
            transforms,
            features,
            numbers,
            speaks=scenario.speaks,
            listens=scenario.listens and next(connections) == 0,
        )

    return scenario.run(connect)


# -------------------------------------------------------------------------------- what is expected


def received(run: Run, scenario: Scenario) -> list[Frame]:
    """The frames that count: what comes after a cancel does not."""
    frames = [
        frame for when, frame in run.sent if not (when >= run.later_at and _turn_of(frame) == 1)
    ]
    return list(distinct(frames))


def _turn_of(frame: Frame) -> int | None:
    return None if frame.response is None else frame.response.turn


def check(run: Run, scenario: Scenario) -> None:
    """Assert that the run shows, prints and saves what the server sent, once."""
    assert run.exit is not None, f"nothing ends after {run.now:.0f} s"
    frames = received(run, scenario)
    if not any(frame.type in SESSION for frame in frames):
        assert run.exit is ExitCode.LINK, "there may be no server"
        assert run.now <= Timeouts().start + FEW_SECONDS
        return
    responses = list(dict.fromkeys(f.response for f in frames if f.response is not None))
    expected_exit = ExitCode.OK
    silences = 0
    assert len(run.turns) == len(scenario.script), "a question is missing or asked twice"
    for number, turn in enumerate(run.turns, 1):
        own = [each for each in responses if each.turn == number]
        parts = [(each, known_response(each, frames)) for each in own]
        is_cancelled = bool(scenario.cancels) and number == 1
        silences += not is_cancelled and (not parts or parts[-1][1].is_silent)
        check_turn(run, number, turn, parts, is_cancelled=is_cancelled)
        assert turn.over is not None
        if turn.over.problem is not None and scenario.mode is not Mode.CHAT:
            is_once = scenario.mode is Mode.ONCE
            expected_exit = turn.over.problem.exit if is_once else ExitCode.REPLY
    assert run.exit is expected_exit, f"exit {run.exit!r} instead of {expected_exit!r}"
    limit = (
        FEW_SECONDS * (1 + len(run.turns))
        + scenario.cancels
        + 8 * scenario.listens
        + silences * REPLY_TIMEOUT
    )
    assert run.now <= limit, f"it took {run.now:.0f} s"
    wrong = [each for server in run.servers for each in server.wrong]
    assert not wrong, f"the server complains: {wrong}"
    for response in responses:
        if response.turn is None and known_response(response, frames).status is not None:
            assert any(GREETING in text for text in run.notices), "the greeting is not shown"


def check_turn(
    run: Run,
    number: int,
    turn: Turn,
    parts: Sequence[tuple[Response, KnownResponse]],
    *,
    is_cancelled: bool,
) -> None:
    """Assert that a turn has the texts and calls of its responses."""
    over = turn.over
    assert over is not None, "a turn does not end"
    texts = [known.text for _, known in parts if known.text]
    shown = [known.shown for _, known in parts if known.shown]
    assert over.text == BETWEEN.join(texts), f"the text is wrong: {over.text!r}"
    assert turn.shown == BETWEEN.join(shown), f"the shown text is wrong: {turn.shown!r}"
    kept = [entry.item for key, entry in sorted(run.entries.items()) if key[0] == number]
    said = [item.text for item in kept if isinstance(item, Message) and item.role == "assistant"]
    assert said == texts, "the history has another text"
    calls = [call for _, known in parts for call in known.complete_calls]
    made = [(call.name, call.all_arguments) for call in calls]
    assert [what for _, what in turn.runs] == made, f"other tools run: {turn.runs}"
    recorded = sum(len(known.answered_calls) for _, known in parts)
    for kind in (ToolCall, ToolOutput):
        found = sum(isinstance(item, kind) for item in kept)
        assert found == recorded, f"the history has another number of {kind.__name__}"
    for (call_id, _), call in zip(turn.runs, calls, strict=True):
        assert call_id in (call.call_ids or call.item_ids or {call_id}), "another call is answered"
    status = expected_status(parts, is_cancelled=is_cancelled)
    assert over.status is status, f"the turn is {over.status} instead of {status}"
    if not is_cancelled and (not parts or parts[-1][1].is_silent):
        assert over.problem is not None
        assert over.problem.exit is ExitCode.LINK, f"the problem is {over.problem}"


def expected_status(
    parts: Sequence[tuple[Response, KnownResponse]], *, is_cancelled: bool
) -> Status:
    """The status of a turn with these responses."""
    if is_cancelled:
        return Status.CANCELLED
    last = parts[-1][1] if parts else KnownResponse()
    if last.error:
        return Status.FAILED
    if last.status is not None:
        return Status(last.status)
    return Status.INCOMPLETE if last.shown or last.has_audio else Status.FAILED


def check_loosely(run: Run) -> None:
    """Assert what holds even if it is not clear what a server means."""
    assert run.exit is not None, f"nothing ends after {run.now:.0f} s"
    for turn in run.turns:
        assert len({call_id for call_id, _ in turn.runs}) == len(turn.runs), "a tool runs twice"
        assert turn.over is not None


def is_ambiguous(scenario: Scenario, features: Features, deviations: Sequence[Deviation]) -> bool:
    """Whether something that is needed to know what a server means is missing."""
    hidden = scenario.hides.union(*(each.hides for each in deviations))
    if not features.echoes:
        hidden |= {"marks"}
    return bool(hidden & scenario.needs.union(*(each.needs for each in deviations)))


def try_out(scenario: Scenario, features: Features, *deviations: Deviation) -> list[str]:
    """What is wrong with a run: at most one line."""
    try:
        made = run(scenario, features, deviations)
        if is_ambiguous(scenario, features, deviations):
            check_loosely(made)
        else:
            check(made, scenario)
    except AssertionError as error:
        names = " + ".join(map(str, deviations)) or "no deviation"
        return [f"{scenario}, {features}, {names}: {error}".split("\n", maxsplit=1)[0]]
    return []


@cache
def correct_frames(scenario: Scenario) -> list[tuple[str, list[Frame]]]:
    """The frames of a correct server at each stage."""
    said: list[tuple[str, list[Frame]]] = []

    def remember(_: Server, stage: str, frames: list[Frame]) -> list[Frame]:
        said.append((stage, [frame.copy() for frame in frames]))
        return frames

    run(scenario, Features(), [Deviation("", lambda: remember)])
    return said


@cache
def applicable(scenario: Scenario) -> frozenset[Deviation]:
    """The deviations that change anything in a scenario."""
    return frozenset(each for each in ALL if _changes(each, scenario))


def _changes(deviation: Deviation, scenario: Scenario) -> bool:
    server = Server(scenario.script, (), Features(), count(1), speaks=scenario.speaks)
    transform = deviation.make()
    return any(
        [
            (frame.data, frame.is_binary)
            for frame in transform(server, stage, [*map(Frame.copy, said)])
        ]
        != [(frame.data, frame.is_binary) for frame in said]
        for stage, said in correct_frames(scenario)
    )


SEED = int(os.environ.get("RTCHAT_TEST_SEED", "13"))


def test_a_correct_server() -> None:
    failed = [line for s in SCENARIOS for features in FEATURES for line in try_out(s, features)]
    assert failed == []


@in_chunks(len(FEATURES))
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_one_deviation(scenario: Scenario, chunk: int) -> None:
    failed = []
    for number, deviation in enumerate(ALL):
        if deviation in applicable(scenario):
            failed += try_out(scenario, FEATURES[(number + chunk) % len(FEATURES)], deviation)
    assert failed == []


CHUNKS = 48
"""The quick suite tries one of so many pairs."""


@in_chunks(CHUNKS)
def test_two_deviations(chunk: int) -> None:
    failed = []
    for number, pair in enumerate(combinations(ALL, 2)):
        if number % CHUNKS == chunk and not set(pair) <= set(UNREQUESTED):
            rng = random.Random(f"{SEED} {number}")
            fitting = [s for s in SCENARIOS if applicable(s).issuperset(pair)]
            for scenario in rng.sample(fitting, min(1, len(fitting))):
                failed += try_out(scenario, rng.choice(FEATURES), *rng.sample(pair, 2))
    assert failed == [], f"with RTCHAT_TEST_SEED={SEED}"
