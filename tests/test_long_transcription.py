"""The transcription of a long recording: its pieces in order, retries, limits, and its end."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from rtchat.core.cues import offset_ms
from rtchat.core.effects import (
    Connecting,
    Notice,
    Ready,
    ReplyOver,
    Show,
    Stop,
    TextArrived,
    Timing,
    TurnTranscribed,
    Update,
    Waiting,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import LeaveAsked
from rtchat.core.long_transcription import MAX_REFUSALS, LongTranscription, shifted
from rtchat.core.pieces import (
    AudioEnded,
    Begun,
    Effect,
    EndPiece,
    Event,
    FinishedPiece,
    ForgetPieces,
    PieceCut,
    PieceOutcome,
    PieceOver,
    PieceReady,
    PieceTranscript,
    StartPiece,
    Wait,
    WaitOver,
)
from rtchat.core.server_errors import NO_AUDIO_SUPPORT
from rtchat.core.values import Status, TranscriptSegment, TranscriptWord, Usage

MINUTE = 60_000
BUSY = Problem(ExitCode.LIMIT, "too many sessions", "wait", "429")
GONE = Problem(ExitCode.LINK, "connection lost", "try again")
ODD = Problem(ExitCode.REPLY, "odd")


def cut(number: int) -> PieceCut:
    """The pieces are a minute long."""
    return PieceCut(number, number * MINUTE, (number + 1) * MINUTE)


def said(text: str) -> PieceTranscript:
    turn = TurnTranscribed("u", text, start_ms=500, end_ms=1500)
    return PieceTranscript((turn, TextArrived(text), TextArrived("\n")), text)


def done(number: int, text: str = "") -> PieceOver:
    return PieceOver(number, PieceOutcome(said(text or f"piece {number}")))


def lost(number: int, problem: Problem | None, *, ready: bool = True) -> PieceOver:
    code = ExitCode.REPLY if problem is None else problem.exit
    return PieceOver(number, PieceOutcome(said("half"), code, problem, was_ready=ready))


class Play:
    """A transcription, and everything that it did."""

    def __init__(self, *events: Event, **options: object) -> None:
        self.machine = LongTranscription("w", **options)  # type: ignore[arg-type]
        self.all: list[Effect] = []
        self.ended: list[PieceOver] = []
        self.waits = 0
        self.handle(Begun(), *events)

    def handle(self, *events: Event, now: float = 0.0) -> list[Effect]:
        """The effects of the last event."""
        effects: list[Effect] = []
        for event in events:
            effects = self.machine.handle(event, now)
            self.all += effects
        return effects

    def started(self, *events: Event) -> list[int]:
        """The pieces that the last event starts."""
        return [each.number for each in self.handle(*events) if isinstance(each, StartPiece)]

    @property
    def updates(self) -> list[Update]:
        return [each.update for each in self.all if isinstance(each, Show)]

    @property
    def text(self) -> str:
        return "".join(each.text for each in self.updates if isinstance(each, TextArrived))

    @property
    def over(self) -> tuple[ReplyOver, ExitCode]:
        """How it ended."""
        (over,) = (each for each in self.updates if isinstance(each, ReplyOver))
        (stop,) = (each for each in self.all if isinstance(each, Stop))
        assert self.handle(Begun()) == []
        assert not self.machine.needs_audio
        return over, stop.exit

    @property
    def errors(self) -> list[str]:
        return [
            each.text for each in self.updates if isinstance(each, Notice) and each.level == "error"
        ]


def test_the_pieces_of_a_recording_are_shown_in_order() -> None:
    play = Play()
    assert play.handle(cut(0)) == [Show(Connecting("w")), StartPiece(0)]
    assert play.machine.needs_audio
    assert play.handle(cut(1)) == []  # the first session shows whether the server can be used
    assert not play.machine.needs_audio
    assert play.handle(PieceReady(), now=0.5) == [Show(Ready("w", 0.5)), StartPiece(1)]
    assert play.started(cut(2)) == [2]
    assert play.handle(PieceReady(), AudioEnded()) == []
    assert play.handle(done(2), done(1)) == [
        EndPiece(1, FinishedPiece(MINUTE, 2 * MINUTE, said("piece 1")))
    ]
    assert play.handle(done(0), now=2.0)[-1] == Stop(ExitCode.OK)
    assert ForgetPieces() in play.all
    assert play.text == "piece 0\npiece 1\npiece 2\n"
    over, code = play.over
    assert (over.status, over.text, code) == (
        Status.COMPLETED,
        "piece 0\npiece 1\npiece 2",
        ExitCode.OK,
    )
    assert over.timing == Timing(0.5, 2.0, 2.0)


def test_times_count_from_the_beginning_of_the_recording() -> None:
    unknown = PieceTranscript((TurnTranscribed("v", "x"),), "x")
    play = Play(cut(0), PieceReady(), cut(1), cut(2), done(0), done(1))
    play.handle(PieceOver(2, PieceOutcome(unknown)))
    times = [
        (each.start_ms, each.end_ms) for each in play.updates if isinstance(each, TurnTranscribed)
    ]
    assert times == [(500, 1500), (60_500, 61_500), (None, None)]


@pytest.mark.parametrize("start", [0, 20_000])
@pytest.mark.parametrize("counts_from", ["the turn", "the session"])
def test_the_times_of_words_count_from_the_beginning_of_the_recording(
    start: int, counts_from: str
) -> None:
    first = 0.5 if counts_from == "the turn" else start / 1000 + 0.5
    words = (TranscriptWord("Hi", first, first + 1),)
    segments = (TranscriptSegment("s", "Hi", "", first, first + 1),)
    turn = TurnTranscribed(
        "u", "Hi", start_ms=start, end_ms=start + 2000, words=words, segments=segments
    )
    later = shifted(turn, MINUTE)
    word, segment = later.words[0], later.segments[0]
    assert offset_ms(later) + word.start * 1000 == MINUTE + start + 500
    assert (word.end, segment.start, segment.end) == (word.start + 1, word.start, word.start + 1)


def test_text_without_a_final_line_break_gets_one() -> None:
    play = Play(cut(0), PieceReady(), cut(1))
    play.handle(PieceOver(0, PieceOutcome(PieceTranscript((TextArrived("a"),), "a"))))
    play.handle(PieceOver(1, PieceOutcome(PieceTranscript())), AudioEnded())
    assert play.text == "a\n"
    assert play.over[0].text == "a"


def test_no_more_sessions_than_allowed_are_started() -> None:
    play = Play(*map(cut, range(6)), sessions=3)
    assert play.started(PieceReady()) == [1, 2]
    assert play.started(done(1)) == [3]
    assert [play.started(done(number)) for number in (0, 2, 3)] == [[4], [5], []]
    assert play.machine.needs_audio


def test_a_failed_piece_is_tried_again_once() -> None:
    play = Play(cut(0), PieceReady(), cut(1))
    assert play.started(lost(0, None)) == [0]
    play.handle(done(0), done(1), AudioEnded())
    assert (play.text, play.errors, play.over[1]) == ("piece 0\npiece 1\n", [], ExitCode.OK)


@pytest.mark.parametrize("problem", [None, ODD])
def test_the_place_of_a_piece_that_fails_twice_is_reported(problem: Problem | None) -> None:
    play = Play(cut(0), PieceReady(), cut(1), lost(1, problem), done(0))
    play.handle(lost(1, problem), AudioEnded())
    assert play.text == "piece 0\nhalf\n"
    assert ["1:00 to 2:00" in error for error in play.errors] == [True]
    over, code = play.over
    assert (over.text, code) == ("piece 0\nhalf", ExitCode.REPLY)
    assert ForgetPieces() not in play.all
    assert EndPiece(1) in play.all


def test_a_connection_lost_twice_ends_the_transcription() -> None:
    play = Play(cut(0), PieceReady(), cut(1), done(0))
    assert play.started(lost(1, GONE)) == [1]
    play.handle(lost(1, GONE))
    over, code = play.over
    assert (over.status, over.text, over.problem, code) == (
        Status.INCOMPLETE,
        "piece 0",
        GONE,
        ExitCode.LINK,
    )
    assert ForgetPieces() not in play.all


@pytest.mark.parametrize(
    ("problem", "ready"),
    [
        (Problem(ExitCode.REFUSED, "no key"), False),
        (Problem(ExitCode.USAGE, "no such model"), False),
        (Problem(ExitCode.LIMIT, "no money", code="insufficient_quota"), True),
        (GONE, False),
        (BUSY, False),
        (replace(ODD, code=NO_AUDIO_SUPPORT), True),
        (Problem(ExitCode.REFUSED, "no key"), True),
    ],
    ids=["key", "model", "quota", "no server", "busy", "no audio", "late key"],
)
def test_a_problem_of_all_sessions_ends_the_transcription(problem: Problem, ready: bool) -> None:
    play = Play(cut(0), *([PieceReady()] if ready else []), cut(1), lost(0, problem, ready=ready))
    over, code = play.over
    assert (over.problem, code) == (problem, problem.exit)
    assert not [each for each in play.updates if isinstance(each, Notice)]


@pytest.mark.parametrize("problem", [BUSY, GONE])
def test_a_server_that_refuses_a_session_gets_fewer(problem: Problem) -> None:
    play = Play(*map(cut, range(4)))
    assert play.started(PieceReady()) == [1, 2, 3]
    assert play.started(PieceReady(), lost(2, problem, ready=False)) == []
    assert play.started(lost(3, problem, ready=False)) == []
    assert play.started(done(0)) == [3]
    assert play.started(done(1)) == [2]
    play.handle(cut(4), done(2), done(3), done(4), AudioEnded())
    assert (play.over[1], play.errors) == (ExitCode.OK, [])
    assert play.over[0].text.split("\n") == [f"piece {number}" for number in range(5)]


def test_a_refused_only_session_is_waited_for() -> None:
    busy = PieceOutcome(PieceTranscript(), ExitCode.LIMIT, BUSY, was_ready=False, wait=5.0)
    play = Play(cut(0), PieceOver(0, busy))
    assert Show(Waiting("too many sessions", 5.0)) in play.all
    assert play.started(cut(1)) == []
    assert play.started(WaitOver()) == [0]
    assert play.started(PieceReady(), done(0)) == [1]
    for seconds in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8.0):
        (wait,) = (e for e in play.handle(lost(1, BUSY, ready=False)) if isinstance(e, Wait))
        assert wait.seconds == pytest.approx(seconds)
        play.handle(WaitOver())
    play.handle(lost(1, BUSY, ready=False))
    assert (play.over[0].problem, play.over[1]) == (BUSY, ExitCode.LIMIT)
    assert MAX_REFUSALS == 8


def test_the_end_of_a_damaged_file_is_reported() -> None:
    damaged = Problem(ExitCode.USAGE, "it is cut", "record it again")
    play = Play(cut(0), PieceReady(), AudioEnded(damaged), done(0))
    over, code = play.over
    assert (over.text, over.problem, play.errors, code) == (
        "piece 0",
        None,
        ["it is cut"],
        ExitCode.USAGE,
    )
    assert ForgetPieces() in play.all
    play = Play(AudioEnded(damaged))
    assert (play.over[0].problem, play.over[1]) == (damaged, ExitCode.USAGE)


def test_an_interruption_shows_what_is_complete() -> None:
    play = Play(cut(0), PieceReady(), cut(1), cut(2), done(0), done(2))
    play.handle(LeaveAsked(ExitCode.INTERRUPTED))
    over, code = play.over
    assert (over.status, over.text, code) == (Status.CANCELLED, "piece 0", ExitCode.INTERRUPTED)
    kept = [each.number for each in play.all if isinstance(each, EndPiece) and each.finished]
    assert kept == [0, 2]


def test_an_interruption_before_any_text_is_quiet() -> None:
    play = Play(cut(0))
    assert play.handle(LeaveAsked(ExitCode.TERMINATED)) == [Stop(ExitCode.TERMINATED)]


def test_finished_pieces_of_an_earlier_run_are_not_transcribed_again() -> None:
    finished = {
        0: FinishedPiece(0, MINUTE, said("old 0")),
        1: FinishedPiece(MINUTE, MINUTE + 1, said("of another recording")),
        2: FinishedPiece(2 * MINUTE, 3 * MINUTE, said("old 2")),
    }
    play = Play(finished=finished)
    (notice,) = play.updates
    assert isinstance(notice, Notice)
    assert play.handle(cut(0))[0] == EndPiece(0, is_old=True)
    assert play.started(cut(1)) == [1]
    play.handle(cut(2), PieceReady(), AudioEnded(), done(1))
    assert play.text == "old 0\npiece 1\nold 2\n"
    assert play.over[0].text == "old 0\npiece 1\nold 2"


def test_a_run_that_only_repeats_finished_pieces_needs_no_server() -> None:
    play = Play(cut(0), AudioEnded(), finished={0: FinishedPiece(0, MINUTE, said("old"))})
    assert (play.over[0].text, play.over[1]) == ("old", ExitCode.OK)
    assert ForgetPieces() in play.all


def test_the_usage_of_all_sessions_is_added() -> None:
    play = Play(cut(0), PieceReady(), cut(1), AudioEnded())
    costly = PieceOutcome(said("a"), usage=Usage(seconds=60.0), cost=0.5)
    play.handle(PieceOver(0, replace(costly, exit=ExitCode.REPLY)))
    play.handle(PieceOver(0, costly), PieceOver(1, costly))
    over, _ = play.over
    assert (over.usage, over.cost) == (Usage(seconds=180.0), 1.5)


def test_any_order_of_sessions_gives_the_whole_text() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        pieces = chance.randint(1, 12)
        play = Play(cut(0), PieceReady(), sessions=chance.randint(1, 5))
        _run_randomly(play, pieces, chance)
        assert play.text == "".join(f"piece {number}\n" for number in range(pieces)), seed
        assert (play.over[1], play.errors) == (ExitCode.OK, []), seed


def _run_randomly(play: Play, pieces: int, chance: random.Random) -> None:
    """Cut the pieces, and end their sessions in any order: some fail once, and some are refused."""
    read = 1
    failed: set[int] = set()
    while not any(isinstance(each, Stop) for each in play.all):
        starts = [each.number for each in play.all if isinstance(each, StartPiece)]
        ends = [each.number for each in play.ended]
        running = sorted({number for number in starts if starts.count(number) > ends.count(number)})
        waits = sum(isinstance(each, Wait) for each in play.all)
        if waits > play.waits:
            play.waits += 1
            play.handle(WaitOver())
        elif read <= pieces and play.machine.needs_audio and chance.random() < 0.5:
            play.handle(cut(read) if read < pieces else AudioEnded())
            read += 1
        elif running:
            over = _fate(chance.choice(running), failed, chance)
            play.ended.append(over)
            play.handle(*([PieceReady()] if over.outcome.was_ready else []), over)


def _fate(number: int, failed: set[int], chance: random.Random) -> PieceOver:
    fate = chance.random()
    if fate < 0.2:
        return lost(number, BUSY, ready=False)
    if fate < 0.4 and number not in failed:
        failed.add(number)
        return lost(number, chance.choice([GONE, ODD, None]))
    return done(number)
