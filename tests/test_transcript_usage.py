"""The usage of transcription: read from events, shown, counted and saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.conversation import Conversation
from rtchat.core.models import Rate
from rtchat.core.pricing import Budget
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import Channel, Options, Status, TranscriptDetails, Usage
from rtchat.ui import messages
from rtchat.ui.json_view import as_json
from rtchat.wire import decode
from tests.faulty import frame, sockets
from tests.program import Program, background
from tests.sounds import tone, write_wav
from tests.test_voice_faults import AudioServer, committed

TOKENS = {
    "type": "tokens",
    "total_tokens": 30,
    "input_tokens": 20,
    "output_tokens": 10,
    "input_token_details": {"audio_tokens": 18, "text_tokens": 2},
}
DURATION = {"type": "duration", "seconds": 90.0}
KIND = "conversation.item.input_audio_transcription.completed"


def completed(usage: object, **fields: object) -> dict[str, Any]:
    """The event at the end of a transcript."""
    place = {"item_id": "u1", "content_index": 0}
    return {"type": KIND, "transcript": "When?", "usage": usage, **place, **fields}


def transcript(usage: Usage | None, item_id: str = "u1", text: str = "When?") -> ev.ChannelDone:
    return ev.ChannelDone(Channel.INPUT_TRANSCRIPT, text, item_id=item_id, usage=usage)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (TOKENS, Usage(20, 0, 10, 30, audio_input=18)),
        (DURATION, Usage(seconds=90.0)),
        (None, None),
        ({}, None),
        ({"type": "duration", "seconds": "long"}, Usage()),
    ],
)
def test_the_usage_is_tokens_or_a_duration(usage: object, read: Usage | None) -> None:
    event, *_ = decode(completed(usage))
    assert event == transcript(read)


def test_languages_and_log_probabilities_are_kept() -> None:
    details = {"languages": [{"code": "en"}], "logprobs": [{"token": "When", "logprob": -0.1}]}
    (event,) = decode(completed(DURATION, **details, other=1))
    assert isinstance(event, ev.ChannelDone)
    assert event.details == details


SPEECH = SpeechOptions(
    has_microphone=True, push_to_talk=False, transcription_model="t", speaks=False
)
READY = (
    ev.Started(),
    ev.ConnectionOpened(),
    ev.SessionCreated("s", "m"),
    ev.SessionUpdated("s", "m"),
)
RATES = {"m": Rate(4.0, 0.4, 24.0), "t": Rate(0.0, 0.0, 0.0, minute=0.006)}
TURN = (ev.AudioCaptured(bytes(96_000)), ev.SpeechStarted("u1", 0), ev.SpeechStopped("u1", 900))


def talk(*events: ev.Event, budget: Budget = Budget(RATES)) -> list[fx.Update]:  # noqa: B008 - a frozen value
    """What is shown after these events in a spoken conversation."""
    conversation = Conversation("m", Options(), speech=SPEECH, budget=budget)
    effects = [each for event in (*READY, *TURN, *events) for each in conversation.handle(event)]
    return [effect.update for effect in effects if isinstance(effect, fx.Show)]


COMMITTED = ev.AudioCommitted("u1")
REPLIED = (ev.ReplyStarted("r1"), ev.ReplyEnded("r1", Status.COMPLETED, usage=Usage(10, 0, 10, 20)))


def over(updates: list[fx.Update]) -> fx.ReplyOver:
    return next(update for update in updates if isinstance(update, fx.ReplyOver))


def totals(updates: list[fx.Update]) -> fx.Totals:
    return next(update for update in updates if isinstance(update, fx.Totals))


def test_a_reply_has_the_cost_of_the_transcript_of_its_question() -> None:
    heard = transcript(Usage(seconds=60.0))
    reply = over(talk(COMMITTED, heard, *REPLIED))
    assert reply.transcript == TranscriptDetails("t", Usage(seconds=60.0), 0.006)
    assert reply.cost == pytest.approx(10 * (4 + 24) / 1e6)
    line = messages.stats(reply)
    assert "transcription 60.0 s" in line
    assert line.endswith(messages.dollars(0.006 + 10 * (4 + 24) / 1e6))


def test_an_empty_transcript_has_a_cost_too() -> None:
    reply = over(talk(COMMITTED, transcript(Usage(20, 0, 10, 30), text=""), *REPLIED))
    assert reply.transcript == TranscriptDetails("t", Usage(20, 0, 10, 30), 0.0)
    assert "transcription 30 tokens" in messages.stats(reply)


def test_a_late_or_repeated_or_unknown_transcript_counts_once() -> None:
    heard = transcript(Usage(seconds=60.0))
    shown = talk(COMMITTED, *REPLIED, heard, heard, transcript(None, "u7"), ev.UsageAsked())
    assert over(shown).transcript is None
    sums = totals(shown)
    assert sums.transcripts == Usage(seconds=60.0)
    assert sums.usage == Usage(10, 0, 10, 20)
    assert sums.cost == pytest.approx(0.006 + 10 * (4 + 24) / 1e6)
    rows = [line.split() for line in messages.totals(sums).splitlines()]
    assert ["transcripts", "60.0", "s"] in rows


def test_an_item_id_may_be_used_for_another_turn() -> None:
    heard = transcript(Usage(seconds=60.0))
    again = (*REPLIED, *TURN, COMMITTED, heard)
    assert totals(talk(COMMITTED, heard, *again, ev.UsageAsked())).transcripts.seconds == 120.0


def test_a_transcript_may_spend_the_budget() -> None:
    spent = talk(
        COMMITTED,
        transcript(Usage(seconds=60.0)),
        *REPLIED,
        ev.UserSaid("and then?"),
        budget=Budget(RATES, max_cost=0.005),
    )
    problems = [update.problem for update in spent if isinstance(update, fx.ReplyOver)]
    assert [problem and problem.code for problem in problems] == [None, "max_cost"]


def test_the_json_of_a_reply_has_the_transcription() -> None:
    details = TranscriptDetails("t", Usage(seconds=1.23456), 0.5, {"languages": ["en"]})
    reply = fx.ReplyOver(Status.COMPLETED, "Noon.", "m", transcript=details)
    assert as_json(reply, "When?")["transcription"] == {
        "model": "t",
        "usage": {"seconds": 1.235, "cost_usd": 0.5},
        "languages": ["en"],
    }


# -------------------------------------------------------------------------------------- the program

_COMMIT = "input_audio_buffer.commit"


@pytest.mark.parametrize(
    ("usage", "shown", "cost"),
    [(TOKENS, "30 tokens", 20 * 1.0 + 10 * 2.0), (DURATION, "90.0 s", 1.5 * 1e6)],
    ids=["tokens", "duration"],
)
def test_a_spoken_question_shows_and_saves_what_its_transcript_costs(
    tmp_path: Path, usage: dict[str, object], shown: str, cost: float
) -> None:
    program = Program(tmp_path)
    write_wav(tmp_path / "q.wav", tone(440, 1.0))
    config = (
        "[prices.gpt-4o-mini-transcribe]\ninput = 1\noutput = 2\nminute = 1\n"
        "[prices.m]\ninput = 1\noutput = 2\n"
    )
    (tmp_path / "rtchat.toml").write_text(config)
    heard = frame(KIND, item_id="u", content_index=0, transcript="When?", usage=usage)
    server = AudioServer({_COMMIT: [(committed(), heard)]})
    with background(lambda: sockets(server.talk)) as url:
        options = ("--url", url, "-m", "m", "--json", "--max-cost", "9")
        environ = {"RTCHAT_CONFIG": "rtchat.toml"}
        ran = program.run("once", "--audio-in", "q.wav", *options, environ=environ)
    assert ran.code == 0
    billed = json.loads(ran.text)["transcription"]["usage"]
    assert billed["cost_usd"] == pytest.approx(cost / 1e6)
    assert f"transcription {shown}" in ran.err
    saved = program.run("history", "export", "1", "--format", "json")
    question = json.loads(saved.text)["entries"][0]
    assert question["usage"] == {key: billed[key] for key in billed if key != "cost_usd"}


def test_an_unknown_price_is_reported_if_there_is_a_budget(tmp_path: Path) -> None:
    write_wav(tmp_path / "q.wav", tone(440, 1.0))
    (tmp_path / "rtchat.toml").write_text("[prices.m]\ninput = 1\noutput = 2\n")
    environ = {"RTCHAT_CONFIG": "rtchat.toml"}
    with background(lambda: sockets(AudioServer({}).talk)) as url:
        options = ("--url", url, "-m", "m", "--max-cost", "9")
        ran = Program(tmp_path).run("once", "--audio-in", "q.wav", *options, environ=environ)
    assert ran.code == 0
    assert "gpt-4o-mini-transcribe" in ran.error
