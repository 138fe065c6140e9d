"""The cost of a reply, the totals of the program, and the budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtchat.config.resolve import resolve
from rtchat.config.settings import Settings
from rtchat.core import notices, server_errors
from rtchat.core.conversation import Conversation
from rtchat.core.effects import (
    ClearTimer,
    Record,
    ReplyOver,
    Show,
    Stop,
    Timing,
    Totals,
    error_notice,
)
from rtchat.core.errors import ExitCode, UsageError
from rtchat.core.events import (
    ConnectionOpened,
    Event,
    InputEnded,
    ModelSet,
    RateLimit,
    RateLimits,
    ReplyEnded,
    ReplyStarted,
    RetryAsked,
    SessionCreated,
    SessionUpdated,
    Started,
    Timer,
    UsageAsked,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.models import Rate, max_output_tokens
from rtchat.core.pricing import PRICES, Budget, cost, known_rates
from rtchat.core.values import Entry, Message, Options, Part, State, Status, Usage
from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from rtchat.ui import messages
from rtchat.ui.json_view import as_json
from rtchat.wire import decode
from tests.playbook import QUIET, Playbook
from tests.program import Program, background

# ------------------------------------------------------------------------------ the cost of a reply

_LARGE = PRICES["gpt-realtime-2.1"]
_SIMPLE = Rate(4.0, 0.4, 24.0)


@pytest.mark.parametrize(
    ("usage", "rate", "dollars"),
    [
        (Usage(), _SIMPLE, 0.0),
        (Usage(1_000_000, 0, 0, 1_000_000), _SIMPLE, 4.0),
        (Usage(0, 0, 1_000_000, 1_000_000), _SIMPLE, 24.0),
        (Usage(401, 384, 20, 421), _SIMPLE, (17 * 4 + 384 * 0.4 + 20 * 24) / 1e6),
        # 1,000 in: 300 of audio (100 of these cached), 200 of images (50), 500 of text (400).
        (
            Usage(1000, 550, 300, 1300, 300, 100, 250, 200, 50),
            _LARGE,
            (
                (100 * 4 + 400 * 0.4)
                + (200 * 32 + 100 * 0.4)
                + (150 * 5 + 50 * 0.5)
                + (50 * 24 + 250 * 64)
            )
            / 1e6,
        ),
        (Usage(10, 0, 10, 20, 10, 0, 10), _SIMPLE, (10 * 4 + 10 * 24) / 1e6),
        (Usage(10, 99, 0, 10), _SIMPLE, 10 * 0.4 / 1e6),
        (Usage(-10, -99, -5, 0, -1, 5), _SIMPLE, 0.0),
        (Usage(10, 0, 0, 10), Rate(0.0, 0.0, 0.0), 0.0),
        (Usage(seconds=90.0), Rate(0.0, 0.0, 0.0, minute=0.006), 0.009),
        (Usage(seconds=-90.0), Rate(0.0, 0.0, 0.0, minute=0.006), 0.0),
    ],
)
def test_the_cost_of_a_reply(usage: Usage, rate: Rate, dollars: float) -> None:
    assert cost(usage, rate) == pytest.approx(dollars, abs=1e-15)


def test_usage_is_decoded_by_kind_of_token() -> None:
    usage = {
        "total_tokens": 1300,
        "input_tokens": 1000,
        "output_tokens": 300,
        "input_token_details": {
            "text_tokens": 500,
            "audio_tokens": 300,
            "image_tokens": 200,
            "cached_tokens": 550,
            "cached_tokens_details": {"text_tokens": 400, "audio_tokens": 100, "image_tokens": 50},
        },
        "output_token_details": {"text_tokens": 50, "audio_tokens": 250},
    }
    event = {"type": "response.done", "response": {"status": "completed", "usage": usage}}
    read = Usage(1000, 550, 300, 1300, 300, 100, 250, 200, 50)
    assert decode(event) == [ReplyEnded("", Status.COMPLETED, usage=read)]
    assert read + Usage(1, 2, 3, 4, 5, 6, 7, 8, 9) == Usage(
        1001, 552, 303, 1304, 305, 106, 257, 208, 59
    )


# ------------------------------------------------------------------------------------------- prices


def test_the_known_prices_are_plausible() -> None:
    for model, rate in PRICES.items():
        if rate.minute:
            assert (rate.input, rate.cached, rate.output) == (0, 0, 0)
            assert 0 < rate.minute < 0.1
        else:
            assert 0 < rate.cached <= rate.input < rate.output, model
    assert PRICES["gpt-realtime-2.1-mini"].output == 2.4


@pytest.mark.parametrize(
    ("model", "rate"),
    [
        ("gpt-realtime-2.1", _LARGE),
        ("gpt-realtime", PRICES["gpt-realtime"]),
        ("gpt-realtime-2025-08-28", PRICES["gpt-realtime"]),
        ("gpt-realtime-mini-2025-12-15", PRICES["gpt-realtime-mini"]),
        ("gpt-realtime-3", None),
        ("my-deployment", None),
        ("", None),
    ],
)
def test_the_rate_of_a_model(model: str, rate: Rate | None) -> None:
    assert Budget(PRICES).rate(model) == rate


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("gpt-realtime-2.1", 32_000),
        ("gpt-realtime-2-2026-05-07", 32_000),
        ("gpt-realtime", 4096),
        ("gpt-realtime-mini-2025-12-15", 4096),
        ("my-deployment", None),
        ("", None),
    ],
)
def test_the_longest_reply_of_a_model(model: str, limit: int | None) -> None:
    assert max_output_tokens(model) == limit


@pytest.mark.parametrize(
    ("url", "is_known"),
    [
        ("wss://api.openai.com/v1/realtime", True),
        ("wss://eu.api.openai.com:443/v1/realtime", True),
        ("wss://res.openai.azure.com/openai/v1/realtime", True),
        ("ws://127.0.0.1:8080/v1/realtime", False),
        ("wss://api.x.ai/v1/realtime", False),
        ("wss://openai.com.evil.example/", False),
        ("wss://notopenai.com/", False),
    ],
)
def test_known_prices_apply_to_openai_and_azure_only(url: str, is_known: bool) -> None:
    own = {"mine": _SIMPLE}
    assert known_rates(url, own) == ({**PRICES, **own} if is_known else own)


def test_configured_prices_take_precedence(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[prices."gpt-realtime-2.1"]\ninput = 1\noutput = 2\n'
        "[prices.mine]\ninput = 4.0\ncached = 0.4\noutput = 24\naudio_input = 32\n"
        "[profiles.p.prices]\nmine = {input = 3, output = 5}\n"
    )
    key = {"OPENAI_API_KEY": "x"}
    settings = resolve({}, key, config=config)
    assert settings.prices == {
        "gpt-realtime-2.1": Rate(1.0, 1.0, 2.0),
        "mine": Rate(4.0, 0.4, 24.0, 32.0),
    }
    rates = known_rates(settings.url, settings.prices)
    assert Budget(rates).rate("gpt-realtime-2.1") == Rate(1.0, 1.0, 2.0)
    assert resolve({"profile": "p"}, key, config=config).prices["mine"] == Rate(3.0, 3.0, 5.0)


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("prices = 5", 1, "a table"),
        ("[prices.m]\ninput = 1", 1, "at least input and output"),
        ("\n[prices]\nm = 5", 3, "a table of input, cached, output,"),
        ("[prices.m]\ninput = 1\noutput = 2\nfee = 3", 1, "a table of input, cached"),
        ("[prices.m]\ninput = -1\noutput = 2", 1, "US dollars per million tokens"),
        ("[prices.m]\ninput = 'x'\noutput = 2", 1, "US dollars per million tokens"),
    ],
)
def test_invalid_prices_are_a_usage_error(
    tmp_path: Path, text: str, line: int, expected: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    with pytest.raises(UsageError) as caught:
        resolve({}, {"OPENAI_API_KEY": "x"}, config=config)
    message = str(caught.value)
    assert message.startswith(f"{config} line {line}: ")
    assert "prices" in message
    assert expected in message


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much"])
def test_an_invalid_budget_is_a_usage_error(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve({"max_cost": value}, {"OPENAI_API_KEY": "x"})
    message = str(caught.value)
    assert f"{value!r} for --max-cost" in message
    assert "a number of US dollars" in message
    assert resolve({"max_cost": "0.5"}, {"OPENAI_API_KEY": "x"}).max_cost == 0.5
    assert Settings().max_cost is None


# ----------------------------------------------------------------------------------- a conversation

_USAGE = Usage(100_000, 0, 10_000, 110_000)
_PRICE = 0.64
_COSTS = Budget({"m": _SIMPLE}, max_cost=1.0)


def _ready(mode: Mode = Mode.CHAT, budget: Budget = _COSTS) -> Playbook:
    play = Playbook(Conversation("m", Options(None, "text"), mode=mode, budget=budget))
    return play.skip(
        Started(), ConnectionOpened(), SessionCreated("s", "m"), SessionUpdated("s", "m")
    )


def _turn(number: int, usage: Usage | None = _USAGE) -> tuple[Event, Event, Event]:
    ended = ReplyEnded(f"r{number}", Status.COMPLETED, usage=usage)
    return UserSaid(f"q{number}"), ReplyStarted(f"r{number}"), ended


def _over(number: int, usage: Usage | None, cost: float | None) -> Show:
    timing = Timing(0.0, None, 0.0)
    reply = f"r{number}"
    over = ReplyOver(
        Status.COMPLETED, "", "m", response_id=reply, usage=usage, timing=timing, cost=cost
    )
    return Show(over)


_SPENT = server_errors.spent(1.28, 1.0)
_REFUSED = Show(ReplyOver(Status.FAILED, "", "m", problem=_SPENT))


def test_a_reply_has_a_cost_and_the_totals_are_their_sum() -> None:
    question, started, ended = _turn(1)
    play = _ready().skip(question, started)
    play >> ended << [ClearTimer(Timer.STALL), _over(1, _USAGE, _PRICE)]
    play >> UsageAsked() << Show(Totals(1, _USAGE, _PRICE))
    question, started, ended = _turn(2, None)
    play.skip(question, started)
    play >> ended << [ClearTimer(Timer.STALL), _over(2, None, None)]
    play.skip(*_turn(3))
    play >> UsageAsked() << Show(Totals(3, _USAGE + _USAGE, 2 * _PRICE))


def test_a_model_without_a_price_has_no_cost() -> None:
    question, started, ended = _turn(1)
    play = _ready(budget=Budget()).skip(question, started)
    play >> ended << [ClearTimer(Timer.STALL), _over(1, _USAGE, None)]
    play >> UsageAsked() << Show(Totals(1, _USAGE, None))


def test_questions_beyond_the_budget_are_refused_and_the_program_continues() -> None:
    play = _ready().skip(*_turn(1), *_turn(2))
    play >> UserSaid("once more") << _REFUSED
    play >> RetryAsked() << Show(error_notice(_SPENT))
    play >> UserSaid("please") << _REFUSED
    play >> InputEnded() << [*QUIET, Stop(ExitCode.OK)]


def test_a_question_beyond_the_budget_is_recorded() -> None:
    play = Playbook(Conversation("m", Options(None, "text"), budget=_COSTS), stores_audio=True)
    play.skip(Started(), ConnectionOpened(), SessionCreated("s", "m"), SessionUpdated("s", "m"))
    play.skip(*_turn(1), *_turn(2))
    question = Message("user", (Part("text", "once more"),))
    record = Record(Entry(3, 0, question, State.FAILED, "m", _SPENT.message))
    play >> UserSaid("once more") << [record, _REFUSED]


def test_a_reply_may_exceed_the_budget() -> None:
    play = _ready(budget=Budget({"m": _SIMPLE}, max_cost=0.1))
    question, started, ended = _turn(1)
    play.skip(question, started)
    play >> ended << [ClearTimer(Timer.STALL), _over(1, _USAGE, _PRICE)]
    problem = server_errors.spent(0.64, 0.1)
    refused = ReplyOver(Status.FAILED, "", "m", problem=problem)
    play >> UserSaid("q2") << Show(refused)


@pytest.mark.parametrize("mode", [Mode.ONCE, Mode.LINES])
def test_without_a_terminal_the_budget_ends_the_program_with_code_limit(mode: Mode) -> None:
    play = _ready(mode).skip(*_turn(1), UserSaid("q2"), ReplyStarted("r2"))
    play.skip(UserSaid("q3"), UserSaid("q4"))
    play >> ReplyEnded("r2", Status.COMPLETED, usage=_USAGE)
    play << [
        ClearTimer(Timer.STALL),
        _over(2, _USAGE, _PRICE),
        _REFUSED,
        _REFUSED,
        *QUIET,
        Stop(ExitCode.LIMIT),
    ]


def test_a_budget_warns_of_a_model_without_a_price() -> None:
    play = _ready()
    play >> ModelSet("x")
    play << [notices.model_set("x"), notices.price_unknown("x")]
    play.skip()
    play = _ready(budget=Budget({"m": _SIMPLE})) >> ModelSet("x")
    play << notices.model_set("x")
    play.skip()


def test_the_latest_rate_limits_are_shown() -> None:
    play = _ready(budget=Budget())
    play >> RateLimits((RateLimit("tokens", 10, 5, 9.0),))
    limits = (RateLimit("requests", 100, 99, 2.0), RateLimit("tokens", 10, 5, 60.0))
    play.at(10.0) >> RateLimits(limits)
    play.at(15.0) >> UsageAsked()
    left = (RateLimit("requests", 100, 99, 0.0), RateLimit("tokens", 10, 5, 55.0))
    play << Show(Totals(0, Usage(), None, left))


# ----------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("cost", "shown"),
    [
        (0.0, "$0.0000"),
        (0.00002, "<$0.0001"),
        (0.0014, "$0.0014"),
        (0.99999, "$1.0000"),
        (1.0, "$1.00"),
        (12.345, "$12.35"),
    ],
)
def test_amounts_are_rounded(cost: float, shown: str) -> None:
    assert messages.dollars(cost) == shown


def test_the_line_under_a_reply() -> None:
    over = ReplyOver(
        Status.COMPLETED,
        "hi",
        "gpt-realtime-2.1",
        usage=Usage(57, 16, 48, 105),
        timing=Timing(0.3, 0.21, 1.9),
        cost=0.0014,
    )
    assert messages.stats(over) == (
        "gpt-realtime-2.1 · first token 0.21 s · 1.9 s · 28 tok/s · "
        "57 in (16 cached) · 48 out · $0.0014"
    )
    usage = as_json(over)["usage"]
    assert isinstance(usage, dict)
    assert usage["cost_usd"] == 0.0014


def test_the_table_of_totals() -> None:
    limits = (RateLimit("tokens", 15_000_000, 14_998_954, 0.004), RateLimit("requests", 9, 1, 61))
    assert messages.totals(Totals(2, Usage(458, 400, 68, 526), 0.0312, limits)) == (
        "replies                 2\n"
        "input                 458  tokens\n"
        "cached                400  of the input\n"
        "output                 68  tokens\n"
        "cost              $0.0312\n"
        "limit: tokens    14998954  left of 15000000\n"
        "limit: requests         1  left of 9, resets in 61 s"
    )


# -------------------------------------------------------------------------------------- the program

_SCRIPT: dict[str, object] = {
    "model": "scripted",
    "rule": [{"text": "Hello.", "usage": {"input": 100_000, "cached": 50_000, "output": 10_000}}],
}
_REPLY = (50_000 * 4 + 50_000 * 0.4 + 10_000 * 24) / 1e6


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with background(lambda: run_server(ScriptEngine(read_script(_SCRIPT)))) as url:
        yield url


@pytest.fixture
def program(tmp_path: Path, url: str) -> Program:
    program = Program(tmp_path)
    config = tmp_path / "config.toml"
    config.write_text("[prices.scripted]\ninput = 4\ncached = 0.4\noutput = 24\n")
    program.environ |= {"RTCHAT_URL": url, "RTCHAT_CONFIG": str(config)}
    return program


def test_once_shows_the_cost(program: Program) -> None:
    ran = program.run("once", "hi", "-m", "scripted")
    assert (ran.code, ran.text) == (0, "Hello.\n")
    assert ran.err.rstrip().endswith("100000 in (50000 cached) · 10000 out · $0.4600")
    ran = program.run("once", "hi", "-m", "scripted", "--json")
    assert json.loads(ran.text)["usage"]["cost_usd"] == pytest.approx(_REPLY)
    ran = program.run("once", "hi", "-m", "other", "--json")
    assert json.loads(ran.text)["usage"]["cost_usd"] is None


def test_a_pipe_stops_at_the_budget(program: Program) -> None:
    options = ("-m", "scripted", "--max-cost", "0.5", "--json")
    ran = program.run("talk", *options, stdin=b"one\ntwo\nthree\nfour\n")
    assert ran.code == 5
    replies = [json.loads(line) for line in ran.text.splitlines()]
    assert [reply["status"] for reply in replies][:3] == ["completed", "completed", "failed"]
    assert {reply["error"]["code"] for reply in replies[2:]} == {"max_cost"}
    assert "$0.9200, and the limit is $0.5" in ran.error
    assert "--max-cost" in ran.hint


def test_a_budget_needs_a_price(program: Program) -> None:
    ran = program.run("once", "hi", "-m", "other", "--max-cost", "1")
    assert (ran.code, ran.text) == (2, "")
    assert ran.error.startswith("rtchat: ")
    assert "--max-cost" in ran.error
    assert '[prices."other"]' in ran.hint
