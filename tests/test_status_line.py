"""The status line below the prompt."""

from __future__ import annotations

import pytest
from prompt_toolkit.utils import get_cwidth

from rtchat.core import effects as fx
from rtchat.core import notices
from rtchat.core.values import Status, TranscriptDetails, Usage
from rtchat.ui.status_line import StatusLine

_MODEL = "gpt-realtime-2.1"
_READY = fx.Ready(_MODEL, 0.3)
_WARNING = "class:rtchat-warning"


def _over(
    tokens: int = 12_345, cost: float | None = 0.0123, status: Status = Status.COMPLETED
) -> fx.ReplyOver:
    context = fx.ContextUse(tokens, 128_000) if tokens else None
    return fx.ReplyOver(status, "", _MODEL, cost=cost, context=context)


def _line(*updates: fx.Update, width: int = 80, profile: str = "", queued: int = 0) -> str:
    status = StatusLine(lambda: width, profile=profile)
    for update in updates:
        status.show(update)
    status.show(fx.Queued(("?",) * queued))
    return _text(status)


def _text(status: StatusLine) -> str:
    return "".join(text for _, text, *_ in status.paint())


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (80, "work · gpt-realtime-2.1 · connected · 12.3k/128k (10%) · $0.0123 · 2 queued"),
        (75, "gpt-realtime-2.1 · connected · 12.3k/128k (10%) · $0.0123 · 2 queued"),
        (60, "gpt-realtime-2.1 · 12.3k/128k (10%) · $0.0123 · 2 queued"),
        (50, "gpt-realtime-2.1 · 12.3k/128k (10%) · 2 queued"),
        (40, "gpt-realtime-2.1 · 2 queued"),
        (20, "gpt-realtime-2.1"),
        (10, "gpt-real…"),
        (2, "…"),
        (1, ""),
        (0, ""),
    ],
)
def test_it_is_shorter_in_a_narrow_window(width: int, line: str) -> None:
    assert _line(_READY, _over(), width=width, profile="work", queued=2) == line


def test_it_begins_empty() -> None:
    assert _line() == ""


@pytest.mark.parametrize(
    ("updates", "connection"),
    [
        ([fx.Connecting(_MODEL)], "connecting"),
        ([fx.Connecting(_MODEL), _READY], "connected"),
        ([_READY, fx.Waiting("the connection was lost", 2.0)], "waiting"),
        ([_READY, fx.Waiting("rate limit", 2.0), fx.TextArrived("a")], "connected"),
        ([_READY, fx.Connecting(_MODEL), fx.NotConnected()], "not connected"),
        ([fx.NotConnected(), fx.Connecting(_MODEL)], "connecting"),
        ([_READY, fx.Connecting(_MODEL), _over(0, None, Status.CANCELLED)], "connecting"),
    ],
)
def test_the_connection(updates: list[fx.Update], connection: str) -> None:
    assert _line(*updates).split(" · ")[1] == connection


def test_a_lost_connection_is_kept_longer_than_the_cost() -> None:
    line = _line(_READY, _over(), fx.Waiting("lost", 2.0), width=40)
    assert line == "gpt-realtime-2.1 · waiting"


@pytest.mark.parametrize(
    ("tokens", "context"),
    [
        (950, "950/128k (1%)"),
        (1_000, "1k/128k (1%)"),
        (99_949, "99.9k/128k (78%)"),
        (99_960, "100k/128k (78%)"),
        (127_600, "128k/128k (100%)"),
    ],
)
def test_the_context(tokens: int, context: str) -> None:
    assert _line(_READY, _over(tokens, None)).split(" · ")[2] == context


def test_the_context_of_a_model_whose_window_is_not_known() -> None:
    context = fx.ContextUse(1_600, None)
    other = fx.ReplyOver(Status.COMPLETED, "", "other", context=context)
    assert _line(_READY, other).split(" · ")[2] == "1.6k tokens"


def test_a_resumed_conversation_has_a_context_before_its_first_reply() -> None:
    ready = fx.Ready(_MODEL, 0.1, context=fx.ContextUse(8_000, 32_000))
    assert _line(ready).split(" · ")[2] == "8k/32k (25%)"


def test_the_style_warns_of_a_context_that_is_nearly_full() -> None:
    def styles(tokens: int) -> set[str]:
        status = StatusLine(lambda: 80)
        status.show(_over(tokens))
        return {style for style, *_ in status.paint()}

    assert _WARNING not in styles(100_000)
    assert _WARNING in styles(103_000)


def test_a_new_conversation_has_an_empty_context_and_costs_are_kept() -> None:
    line = _line(_READY, _over(), notices.CONVERSATION_STARTED.update)
    assert line == "gpt-realtime-2.1 · connected · $0.0123"


def test_the_cost_is_the_sum_of_all_replies_and_transcripts() -> None:
    spoken = fx.ReplyOver(
        Status.COMPLETED, "", _MODEL, cost=1.0, transcript=TranscriptDetails(cost=0.5)
    )
    assert "$1.51" in _line(_READY, _over(cost=0.0123), _over(cost=None), spoken)
    assert "$2.00" in _line(_READY, spoken, fx.Totals(2, Usage(), cost=2.0))
    assert "$" not in _line(_READY, _over(cost=None))


def test_unsafe_text_is_escaped() -> None:
    line = _line(fx.Ready("a\x1b]0;x\x07\nb\u202e", 0.1), profile="p\x9b1m")
    assert line == "p<U+009B>1m · a␛]0;x␇ b<U+202E> · connected"


@pytest.mark.parametrize("width", range(50))
def test_it_fits_any_width(width: int) -> None:
    line = _line(
        _over(), fx.Ready("通義千問-実時-模型", 0.1), width=width, profile="仕事", queued=12
    )
    assert get_cwidth(line) <= max(width - 1, 0)
