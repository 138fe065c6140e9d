"""Status lines about a conversation, as plain text.

A line may contain text from a server. Pass it through `visible` before writing it to a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from rtchat._version import __version__
from rtchat.core.effects import (
    ConversationStatus,
    MicrophoneStatus,
    Ready,
    ReplyHeard,
    ReplyOver,
    ToolEnded,
    Totals,
    UserTranscript,
    Waiting,
)
from rtchat.core.events import RateLimit
from rtchat.core.question import NO_WORDS
from rtchat.core.text import on_a_line, shortened
from rtchat.core.values import (
    Dialect,
    SessionInfo,
    Status,
    StoredConversation,
    ToolCall,
    TranscriptDetails,
    Usage,
    model_names,
    value,
)
from rtchat.ui.approval import as_code

HOW_TO_LEAVE = "press Ctrl-D or enter /exit to exit"
HEARD = "heard up to here: "
NOT_HEARD = "not heard: "
"""Precede the words of a reply whose playback was interrupted."""
_MAX_HEARD = 50
"""Characters of the last words that were heard."""
THINKING = "thinking…"
THOUGHT_ABOVE = "the text above is what the model thought"
"""Printed if only the end of a thought shows that it is one."""
THOUGHT_HINT = " · /reasoning shows it"
"""Follows the line that stands for a thought, in a conversation."""
_SEPARATOR = " · "
_MIN_SECONDS = 0.05
"""A shorter time would be shown as 0.0 s."""
_MAX_SHOWN = 200
"""Characters of arguments and outputs that are shown without `--verbose`."""


def greeting(ready: Ready) -> str:
    """The first line of a conversation."""
    return _SEPARATOR.join((connected(ready), "/help"))


def connected(ready: Ready) -> str:
    """The program, the model, and how long connecting took."""
    return _SEPARATOR.join(
        (
            f"rtchat {__version__}",
            on_a_line(model_names(ready.model, ready.session.model)),
            f"connected in {ready.seconds:.2f} s",
        )
    )


def session(session: SessionInfo) -> str:
    """The id and the URL of a session, for `--verbose`; "" if neither is known."""
    if not (session.id or session.url):
        return ""
    place = f"at {session.url}" if session.url else ""
    return " ".join(filter(None, ("session", session.id, place)))


def response(over: ReplyOver) -> str:
    """The id of a response, for `--verbose`; "" if it has none, or if `ending` shows it."""
    is_shown = over.problem is not None and over.problem.ids
    return f"response {over.response_id}" if over.response_id and not is_shown else ""


def with_ids(text: str, ids: str) -> str:
    """An error message with the ids that the server's support may ask for."""
    return f"{text} ({ids})" if ids else text


def reconnected(ready: Ready) -> str:
    """The line about a connection that replaces a lost one."""
    parts = [f"reconnected in {ready.seconds:.1f} s"]
    if ready.replayed:
        noun = "turn" if ready.replayed == 1 else "turns"
        parts.append(f"{ready.replayed} {noun} replayed")
    return _SEPARATOR.join(parts)


def conversation(stored: StoredConversation) -> str:
    """The line about a saved conversation that is resumed."""
    parts = (f"conversation {stored.id}", stored.name, stored.title, turns(stored.turns))
    return _SEPARATOR.join(filter(None, parts))


def turns(number: int) -> str:
    """A number of turns: `1 turn`."""
    return f"{number} {'turn' if number == 1 else 'turns'}"


def resumed(stored: StoredConversation, above: int) -> str:
    """The line above the last turns of a conversation, of which `above` turns are not shown."""
    line = conversation(stored)
    return f"{turns(above)} above (/history shows all) · {line}" if above else line


def waiting(update: Waiting) -> str:
    """Why the program is waiting, and for how long."""
    return f"{update.why}; retrying in {update.seconds:.1f} s"


def transcript(update: UserTranscript) -> str:
    """The transcript of a spoken question on one line, for views that do not show questions."""
    return f"you said: {' '.join(update.text.split()) or f'({NO_WORDS})'}"


def microphone(update: MicrophoneStatus) -> str:
    """The state of the microphone, with the name of one that is on."""
    if update.is_opening:
        return "opening the microphone"
    if not update.is_on:
        return "microphone off"
    return f"microphone on ({on_a_line(update.name)})" if update.name else "microphone on"


def heard(update: ReplyHeard) -> str:
    """The last words that were heard of a reply whose playback was interrupted."""
    text = " ".join(update.heard.split()) or "nothing"
    return HEARD + (text if len(text) <= _MAX_HEARD else f"…{text[1 - _MAX_HEARD :]}")


def stop_keys(microphone: MicrophoneStatus | None) -> str:
    """The keys that stop a reply."""
    if microphone is None or not microphone.is_available:
        return "Ctrl-C stops"
    if microphone.push_to_talk:
        return "Ctrl-T or Ctrl-C stops"
    return "speak or Ctrl-C stops" if microphone.is_on else "Ctrl-C stops"


def ending(over: ReplyOver) -> str:
    """Why a reply ended early or failed; "" if it completed."""
    if over.status is Status.COMPLETED:
        return ""
    if over.problem is not None:
        return with_ids(over.problem.message, over.problem.ids)
    match over.status:
        case Status.CANCELLED:
            return NO_WORDS if over.reason == "no_words" else "interrupted"
        case Status.INCOMPLETE:
            return over.reason or "the reply is incomplete"
        case Status.FAILED:
            return over.reason or "the reply failed"
        case _:
            assert_never(over.status)


def thought(text: str, seconds: float | None = None) -> str:
    """The line that stands for a thought of the model, which took this many seconds, if known."""
    count = text.count("\n") + 1
    time = "" if seconds is None or seconds < _MIN_SECONDS else f" for {seconds:.1f} s"
    return f"thought{time} ({count} line{'' if count == 1 else 's'})"


def stats(over: ReplyOver) -> str:
    """A reply's model, times, token rate, tokens and cost, as far as they are known; "" if it never
    began."""
    first, total, usage = over.timing.first_token, over.timing.total, over.usage
    transcript = over.transcript or TranscriptDetails()
    if first is None and usage is None and transcript.usage is None:
        return ""
    parts = [on_a_line(model_names(over.model, over.session.model))]
    if first is not None:
        parts.append(f"first token {first:.2f} s")
    if total is not None:
        parts.append(f"{total:.1f} s")
    if first is not None and total is not None and usage and usage.output and total - first > 0.05:
        parts.append(f"{usage.output / (total - first):.0f} tok/s")
    parts += _amounts(usage) if usage else ()
    parts += [f"transcription {_amount(transcript.usage)}"] if transcript.usage else ()
    costs = [cost for cost in (over.cost, transcript.cost) if cost is not None]
    return _SEPARATOR.join((*parts, dollars(sum(costs))) if costs else parts)


def dollars(cost: float) -> str:
    """An amount in US dollars, which may be a small fraction of a cent."""
    if 0 < cost < 0.0001:
        return "<$0.0001"
    return f"${cost:.4f}" if cost < 1 else f"${cost:.2f}"


def call(call: ToolCall, *, in_full: bool) -> str:
    """A call in code notation, exactly: `weather({"city": "Oslo"})`."""
    return _short(as_code(call.name, call.arguments), in_full=in_full)


def outcome(ended: ToolEnded, *, in_full: bool) -> str:
    """The output of a tool call, on one line."""
    output = _short(" ".join(ended.output.split()), in_full=in_full)
    return f"{on_a_line(ended.call.name)} → {output}"


def _short(text: str, *, in_full: bool) -> str:
    if in_full or len(text) <= _MAX_SHOWN:
        return text
    return f"{text[:_MAX_SHOWN]}… ({len(text)} characters)"


def totals(update: Totals) -> str:
    """The `/usage` table: totals since the program started, and what is left of the rate limits."""
    usage = update.usage
    has_transcripts = update.transcripts != Usage()
    rows = [
        ("replies", f"{update.replies}", ""),
        ("input", f"{usage.input}", "tokens"),
        ("cached", f"{usage.cached}", "of the input"),
        ("output", f"{usage.output}", "tokens"),
        *([("transcripts", *_amount(update.transcripts).split(" ", 1))] if has_transcripts else ()),
        ("cost", "unknown" if update.cost is None else dollars(update.cost), ""),
        *(_limit(limit) for limit in update.limits),
    ]
    names, numbers = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(
        f"{name:<{names}}  {number:>{numbers}}  {words}".rstrip() for name, number, words in rows
    )


@value
class ShellStatus:
    """What the shell knows for /status. Fields are empty or None if there is nothing to show."""

    profile: str
    url: str
    """The URL of the settings, without keys."""
    dialect: Dialect | None
    """The dialect that the settings name."""
    since: str
    """The time of day since when the connection has been in its state."""
    keeps_history: bool
    conversation: int | None
    """The id of the saved conversation."""
    trace: str
    """The file to which the session is recorded."""


def status(status: ConversationStatus, shell: ShellStatus) -> str:
    """The answer to /status, as a table."""
    dialect = shell.dialect or status.dialect
    rows = [
        ("model", model_names(status.model, status.session.model)),
        ("profile", shell.profile),
        ("url", status.session.url or shell.url),
        ("session", status.session.id),
        ("connection", f"{status.connection} since {shell.since} ({duration(status.seconds)})"),
        ("dialect", f"{dialect} ({'set' if shell.dialect else 'detected'})" if dialect else ""),
        ("conversation", _saved(status.turns, shell)),
        ("instructions", status.instructions),
        *(("option", line) for line in status.options.splitlines()),
        ("tools", ", ".join(status.tools) or "none"),
        ("voice", _voice(status)),
        ("trace", shell.trace or "off"),
    ]
    width = max(len(name) for name, _ in rows)
    shown = ((name, shortened(on_a_line(text), _MAX_SHOWN)) for name, text in rows if text)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in shown)


def _saved(turns: int, shell: ShellStatus) -> str:
    count = "1 turn" if turns == 1 else f"{turns} turns"
    if not shell.keeps_history:
        return f"{count}, not saved (the history is off)"
    return f"{count}, saved with ID {shell.conversation}" if shell.conversation else count


def _voice(status: ConversationStatus) -> str:
    if status.microphone is None:
        return "replies are spoken" if status.speaks else "off"
    return microphone(status.microphone) if status.microphone.is_available else "microphone lost"


def theme(
    name: str, background: str, others: Iterable[str] = (), *, has_colors: bool = True
) -> str:
    """The current theme and the names of all themes, if they are given. The theme "auto" is shown
    with the background of the terminal, unless this is unknown ("")."""
    if name == "auto" and background:
        name += f" ({background})"
    names = ", ".join(others)
    parts = [f"theme: {name}", *([f"available: {names}"] if names else [])]
    if not has_colors:
        parts.append("without colours, because of NO_COLOR or --color never")
    return _SEPARATOR.join(parts)


def late_recording(after: float) -> str:
    """What to know about a recording that was started during the session."""
    return f"the recording begins {duration(after)} after the session began"


def duration(seconds: float) -> str:
    """A duration in its two largest units: `45 s`, `4 min 12 s`, `2 h 3 min`."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _limit(limit: RateLimit) -> tuple[str, str, str]:
    reset = f", resets in {limit.reset_seconds:.0f} s" if limit.reset_seconds >= 0.5 else ""
    return f"limit: {limit.name}", f"{limit.remaining}", f"left of {limit.limit}{reset}"


def _amounts(usage: Usage) -> tuple[str, ...]:
    """The tokens in and out, or the seconds of audio."""
    if usage.seconds and not usage.total:
        return (f"{_amount(usage)} of audio",)
    cached = f" ({usage.cached} cached)" if usage.cached else ""
    return f"{usage.input} in{cached}", f"{usage.output} out"


def _amount(usage: Usage) -> str:
    """The total: seconds of audio, or tokens."""
    if usage.seconds and not usage.total:
        return f"{usage.seconds:.1f} s"
    return f"{usage.total or usage.input + usage.output} tokens"
