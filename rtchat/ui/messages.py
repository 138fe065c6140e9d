"""The lines beside a conversation, as plain words: the same on a terminal, in a pipe and in tests.

Parts of a line may hold what a server sent: whoever writes one to a terminal makes it `visible`
first.
"""

from __future__ import annotations

from typing import assert_never

from rtchat._version import __version__
from rtchat.core.effects import (
    MicrophoneStatus,
    Ready,
    ReplyOver,
    ToolEnded,
    Totals,
    UserTranscript,
    Waiting,
)
from rtchat.core.events import RateLimit
from rtchat.core.text import on_a_line
from rtchat.core.values import Status, StoredConversation, ToolCall, Usage
from rtchat.ui.approval import as_code

NOTHING = "(nothing understood)"
"""In the place of what was heard without words in it."""
_DOT = " · "
_MOST_SHOWN = 200
"""Characters of arguments and outputs that are shown without `--verbose`."""


def greeting(ready: Ready) -> str:
    """The first line of a conversation."""
    return _DOT.join(
        (f"rtchat {__version__}", ready.model, f"connected in {ready.seconds:.2f} s", "/help")
    )


def connected_again(ready: Ready) -> str:
    """A connection that replaces a lost one."""
    parts = [f"connected again in {ready.seconds:.1f} s"]
    if ready.replayed:
        noun = "turn" if ready.replayed == 1 else "turns"
        parts.append(f"{ready.replayed} {noun} replayed")
    return _DOT.join(parts)


def conversation(kept: StoredConversation) -> str:
    """Which kept conversation goes on."""
    noun = "turn" if kept.turns == 1 else "turns"
    return _DOT.join((f"conversation {kept.id}", kept.title, f"{kept.turns} {noun}"))


def waiting(update: Waiting) -> str:
    """Why nothing happens, and for how long."""
    return f"{update.why}, again in {update.seconds:.1f} s"


def heard(update: UserTranscript) -> str:
    """What was said aloud, for whom it does not stand where questions do."""
    return f"heard: {' '.join(update.text.split()) or NOTHING}"


def microphone(update: MicrophoneStatus) -> str:
    """Whether it is on, for whom cannot see it."""
    return f"microphone {'on' if update.is_on else 'off'}"


def stopping(microphone: MicrophoneStatus | None) -> str:
    """What stops a reply."""
    if microphone is None or not microphone.is_there:
        return "Ctrl-C stops"
    if microphone.push_to_talk:
        return "Ctrl-T or Ctrl-C stops"
    return "speak or Ctrl-C stops" if microphone.is_on else "Ctrl-C stops"


def remark(over: ReplyOver) -> str:
    """How a reply ended that did not just complete; "" if it did."""
    match over.status:
        case Status.COMPLETED:
            return ""
        case Status.CANCELLED:
            return str(over.problem or "interrupted")
        case Status.INCOMPLETE | Status.FAILED:
            return str(over.problem or over.reason or f"the reply is {over.status}")
        case _:
            assert_never(over.status)


def stats(over: ReplyOver) -> str:
    """What is known about a reply: model, times, rate, tokens, cost. "" if it never began."""
    first, total, usage = over.timing.first_token, over.timing.total, over.usage
    if first is None and usage is None:
        return ""
    parts = [over.model]
    if first is not None:
        parts.append(f"first token {first:.2f} s")
    if total is not None:
        parts.append(f"{total:.1f} s")
    if first is not None and total is not None and usage and usage.output and total - first > 0.05:
        parts.append(f"{usage.output / (total - first):.0f} tok/s")
    parts += _tokens(usage) if usage else ()
    return _DOT.join(parts if over.cost is None else (*parts, dollars(over.cost)))


def dollars(cost: float) -> str:
    """An amount of money, as small as those of replies are."""
    if 0 < cost < 0.0001:
        return "<$0.0001"
    return f"${cost:.4f}" if cost < 1 else f"${cost:.2f}"


def call(call: ToolCall, *, in_full: bool) -> str:
    """A call as code shows one, exactly: `weather({"city": "Oslo"})`."""
    return _short(as_code(call.name, call.arguments), in_full=in_full)


def outcome(ended: ToolEnded, *, in_full: bool) -> str:
    """What came of it, on a line."""
    output = _short(" ".join(ended.output.split()), in_full=in_full)
    return f"{on_a_line(ended.call.name)} → {output}"


def _short(text: str, *, in_full: bool) -> str:
    if in_full or len(text) <= _MOST_SHOWN:
        return text
    return f"{text[:_MOST_SHOWN]}… ({len(text)} characters)"


def totals(update: Totals) -> str:
    """The sums of a run, and what is left of the limits: a table."""
    usage = update.usage
    rows = [
        ("replies", f"{update.replies}", ""),
        ("input", f"{usage.input}", "tokens"),
        ("cached", f"{usage.cached}", "of these"),
        ("output", f"{usage.output}", "tokens"),
        ("cost", "unknown" if update.cost is None else dollars(update.cost), ""),
        *(_limit(limit) for limit in update.limits),
    ]
    names, numbers = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(
        f"{name:<{names}}  {number:>{numbers}}  {words}".rstrip() for name, number, words in rows
    )


def _limit(limit: RateLimit) -> tuple[str, str, str]:
    again = f", again in {limit.reset_seconds:.0f} s" if limit.reset_seconds >= 0.5 else ""
    return f"limit: {limit.name}", f"{limit.remaining}", f"left of {limit.limit}{again}"


def _tokens(usage: Usage) -> tuple[str, str]:
    cached = f" ({usage.cached} cached)" if usage.cached else ""
    return f"{usage.input} in{cached}", f"{usage.output} out"
