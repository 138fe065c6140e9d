"""The items of a conversation by turn, and which of them a new session receives.

A turn begins with a message of the user. A summary is a system message between two turns: a new
session receives it instead of everything before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rtchat.core.question import replay_item
from rtchat.core.thinking import answer_of
from rtchat.core.tokens import item_tokens
from rtchat.core.values import Item, Message, Part, value

_KEPT_TURNS = 4
"""How many of the last turns a summary does not replace, if they are at most half of the tokens."""
_INTRODUCTION = "This is a summary of the conversation so far:\n\n"


@value
class Replay:
    """What a new session receives."""

    items: tuple[Item, ...]
    turns: int
    """How many turns these are; the summary is not one of them."""
    left_out: int
    """How many turns between the summary and these are left out."""
    tokens: int
    """An estimate for the items."""
    has_summary: bool = False


def replay_of(items: Sequence[Item], max_tokens: int) -> Replay:
    """The latest summary and as many whole turns after it as `max_tokens` allow, the newest first.
    The last turn is always included."""
    start = _after_summary(items)
    summary = [_introduced(item) for item in items[max(0, start - 1) : start]]
    tokens = sum(map(item_tokens, summary))
    turns = by_turn(items[start:])
    chosen: list[list[Item]] = []
    for turn in reversed(turns):
        sent = _replayed(turn)
        more = sum(map(item_tokens, sent))
        if chosen and tokens + more > max_tokens:
            break
        tokens += more
        chosen.append(sent)
    after = (item for turn in reversed(chosen) for item in turn)
    left_out = count_turns(turns[: len(turns) - len(chosen)])
    return Replay(
        (*summary, *after), count_turns(turns) - left_out, left_out, tokens, bool(summary)
    )


def by_turn(items: Iterable[Item]) -> list[list[Item]]:
    """The items of each turn. The first list may lack a question: an event that the user sent by
    /raw may cause a reply."""
    turns: list[list[Item]] = []
    for item in items:
        if not turns or is_question(item):
            turns.append([])
        turns[-1].append(item)
    return turns


def count_turns(turns: Iterable[Sequence[Item]]) -> int:
    """How many of these begin with a question."""
    return sum(is_question(turn[0]) for turn in turns)


def summary_index(items: Sequence[Item]) -> int | None:
    """Where to insert a summary of everything but the last turns; None if no turn is left for it to
    replace."""
    start = _after_summary(items)
    turns = by_turn(items[start:])
    sizes = [sum(map(item_tokens, _replayed(turn))) for turn in turns]
    kept = min(1, len(turns))
    while kept < min(_KEPT_TURNS, len(turns)) and 2 * sum(sizes[-kept - 1 :]) <= sum(sizes):
        kept += 1
    replaced = turns[: len(turns) - kept]
    return start + sum(map(len, replaced)) if count_turns(replaced) else None


def _replayed(items: Iterable[Item]) -> list[Item]:
    return [sent for item in items if (sent := replayed_item(item)) is not None]


def replayed_item(item: Item) -> Item | None:
    """What `replay_item` returns, without the model's thoughts: in later turns, models expect only
    their answers."""
    sent = replay_item(item)
    if not isinstance(sent, Message) or sent.role != "assistant":
        return sent
    parts = tuple(
        replace(part, text=answer_of(part.text)) if part.kind == "text" else part
        for part in sent.parts
    )
    return sent if parts == sent.parts else replace(sent, parts=parts)


def _after_summary(items: Sequence[Item]) -> int:
    """The index of the first item after the latest summary."""
    places = (index for index in reversed(range(len(items))) if is_summary(items[index]))
    return next(places, -1) + 1


def is_question(item: Item) -> bool:
    """Whether a turn begins with this item."""
    return isinstance(item, Message) and item.role == "user"


def is_summary(item: Item) -> bool:
    """Whether an item is a summary; instructions are no items of a conversation."""
    return isinstance(item, Message) and item.role == "system"


def _introduced(item: Item) -> Item:
    assert isinstance(item, Message)
    return replace(item, parts=(Part("text", _INTRODUCTION + item.text),))
