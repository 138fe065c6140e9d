"""The notices that the core shows. The messages of problems are in `server_errors`."""

from __future__ import annotations

from collections.abc import Sequence

from rtchat.core import server_errors
from rtchat.core.effects import Level, Notice, Show
from rtchat.core.errors import Problem
from rtchat.core.replay import Replay
from rtchat.core.signals import notice
from rtchat.core.text import clock

# ---------------------------------------------------------------------- questions and conversations

NOTHING_TO_REPEAT = notice("error", "there is no question to ask again")
TRANSCRIPT_UNKNOWN = notice(
    "error", "the last question has no transcript, so it cannot be asked again"
)
_MAX_LISTED = 10
"""How many turns an error lists."""
NOTHING_TO_UNDO = notice("error", "there is no turn to undo")
NOTHING_TO_EDIT = notice("error", "there is no question to edit")
NOTHING_TO_FORK = notice("error", "there is no turn to fork from")
EDIT_CANCELLED = notice("info", "the edit was cancelled; nothing was changed")
REPLY_PENDING = notice(
    "error",
    "the conversation cannot be changed while a reply is pending",
    "stop the reply with Ctrl-C or wait for it, then try again",
)


def no_turn(turn: int, turns: Sequence[int]) -> Show:
    """The current branch has no turn with this number, or it has no question to edit."""
    hint = f"choose one of: {', '.join(map(str, turns[-_MAX_LISTED:]))}"
    return notice("error", f"the conversation has no turn {turn}", hint)


def too_few_turns(count: int, turns: int) -> Show:
    """There are not so many turns to undo."""
    have = "1 turn" if turns == 1 else f"{turns} turns"
    return notice("error", f"{count} turns cannot be undone", f"the conversation has {have}")


def editing(turn: int, after: int) -> Show:
    """The question of a turn is being edited; `after` turns follow it."""
    more = f" and the {after} after it" if after > 1 else " and the one after it" if after else ""
    return notice("info", f"editing turn {turn}: Enter replaces it{more}, Ctrl-C cancels")


def undone(count: int) -> Show:
    """The last turns were removed from the conversation."""
    return notice("info", "the last turn was undone" if count == 1 else f"{count} turns undone")


def forked(turn: int) -> Show:
    """The turns up to this one are a new conversation."""
    return notice("info", f"continuing from turn {turn} in a new conversation")


NOTHING_TO_SHOW = notice("error", "nothing has been said in this conversation yet")
NOTHING_TO_COPY = notice("error", "there is no reply to copy yet")
CONVERSATION_STARTED = notice("info", "started a new conversation")
CANNOT_RESUME = notice(
    "error",
    "another conversation cannot be resumed while a reply is pending",
    "stop the reply or wait for it, then use /resume",
)


NOTHING_TO_SAVE = notice("error", "there is no reply to save yet")
NOTHING_TO_EXPORT = notice("error", "there is nothing to export yet")
CANNOT_COMPACT = notice(
    "error",
    "the conversation cannot be compacted while a reply is pending",
    "stop the reply or wait for it, then use /compact",
)
NOTHING_TO_COMPACT = notice("error", "the conversation is too short to compact")
NOT_COMPACTED = notice("info", "there is no summary, so the conversation was not compacted")
SUMMARY_TOO_LONG = notice(
    "info", "the summary is not shorter, so the conversation was not compacted"
)


def compacted(turns: int, before: int, after: int) -> Show:
    """A summary replaces turns: new sessions receive `after` instead of `before` tokens."""
    saved = f"saves about {before - after:,} of {before:,} tokens"
    return notice("info", f"the summary replaces {_turns(turns)} and {saved}")


def replayed(replay: Replay, cost: float | None, *, shows_command: bool) -> Show:
    """What a new session receives of the conversation, and what the next reply costs for it."""
    all_turns = _turns(replay.turns + replay.left_out)
    before = (
        f"the first {replay.left_out:,} of {all_turns} are left out; " if replay.left_out else ""
    )
    what = "the summary and later turns" if replay.has_summary else "earlier turns"
    price = "" if cost is None else f" (${cost:.4f})"
    reads = f"the next reply reads about {replay.tokens:,} tokens of {what}{price}"
    hint = "; use /compact to shorten the conversation" if shows_command else ""
    return notice("info", f"{before}{reads}{hint}")


def _turns(count: int) -> str:
    return f"{count:,} turn" if count == 1 else f"{count:,} turns"


# ------------------------------------------------------------------------------------- attachments

NOTHING_ATTACHED = "nothing is attached"


def attached(name: str, *, shows_command: bool) -> Show:
    """A file was attached."""
    hint = " (/detach removes it)" if shows_command else ""
    return notice("info", f"{name} attached to the next question{hint}")


def detached(names: str) -> Show:
    """Files were detached."""
    return notice("info", f"detached: {names}")


def no_attachment(number: int) -> Show:
    """No attachment has this number."""
    return notice("error", f"there is no attachment {number}", "use /attach to list them")


# ----------------------------------------------------------------------------------------- options

INSTRUCTIONS_SET = notice("info", "instructions set")
NO_OPTIONS = "no options are set; use /set KEY VALUE to set one"
NO_TOOLS = "there are no tools"


def remote_call_failed(name: str, error: str) -> Show:
    """A tool of an MCP server failed."""
    return notice("warning", f"{name} failed: {error}")


def tools_listed(server: str, *, is_over: bool) -> Show:
    """The model's server lists the tools of an MCP server."""
    what = "listed" if is_over else "is listing"
    return notice("detail", f"the server {what} the tools of {server or 'an MCP server'}")


def tools_not_listed(server: str, error: str, level: Level) -> Show:
    """The model's server could not list the tools of an MCP server: the model cannot use them."""
    message = f"the server could not list the tools of {server or 'an MCP server'}"
    hint = "check its URL and authorization in the option `tools`"
    return notice(level, f"{message}: {error}" if error else message, hint)


def unrequested_reply(text: str) -> Show:
    """The server replied although nothing was asked."""
    return notice("info", f"the server said, without being asked: {text}")


def option_not_set(name: str) -> Show:
    """An option that is not set cannot be removed."""
    return notice("error", f"{name} is not set")


def option_set(name: str) -> Show:
    """An option was set."""
    return notice("info", f"{name} set")


def option_removed(name: str) -> Show:
    """An option was removed."""
    return notice("info", f"{name} removed")


def model_set(model: str) -> Show:
    """The model was changed."""
    return notice("info", f"model set to {model}")


def price_unknown(model: str) -> Show:
    """The price of this model is unknown."""
    return notice("warning", server_errors.no_price(model))


REASONED = notice("info", "the server sent a summary of the model's reasoning; /reasoning shows it")
NO_REASONING = "no reply contains any of the model's reasoning"
EARLIER_REASONING = "the last reply contains no reasoning; this is from an earlier reply:"


def reasoning_effort(effort: object) -> str:
    """How much the model reasons; None if the option is not set."""
    if effort is None:
        return "reasoning effort: the model's default; use /reasoning LEVEL to change it"
    return f"reasoning effort: {effort}"


EVENTS_SHOWN = notice("info", "server events are shown; /events off hides them")
EVENTS_HIDDEN = notice("info", "server events are not shown; /events on shows them")

# ------------------------------------------------------------------------------------------ server


def server_reports(message: str, level: Level = "error", ids: str = "") -> Show:
    """The server reported an error."""
    return Show(Notice(level, f"the server reports: {message}", ids=ids))


def ignored_event(kind: str, why: str) -> Show:
    """A server event was ignored; `kind` is its type, if it has one."""
    return notice("detail", f"ignored {kind or 'a frame'}: {why}")


NO_SESSION = notice("error", "the event was not sent because there is no session")


def raw_sent(kind: str) -> Show:
    """An event from the user was sent."""
    return notice("info", f"sent {kind}")


def raw_queued(kind: str) -> Show:
    """An event from the user will be sent at the end of the reply."""
    return notice("info", f"{kind} will be sent after this reply")


def raw_done(kind: str, item_id: str, text: str) -> Show:
    """The server processed an event from the user. `text` is the text of its item, if any."""
    done = " ".join(filter(None, ("done:", kind, item_id)))
    return notice("info", f"{done}: {text}" if text else done)


def raw_refused(kind: str, message: str) -> Show:
    """The server refused an event from the user."""
    return notice("error", f"the server refused {kind}: {message}")


# --------------------------------------------------------------------------------- speech and audio

NO_MICROPHONE = notice(
    "error", "rtchat was started without a microphone", "use `rtchat talk --voice` to speak"
)


def no_voice(*, speaks: bool) -> str:
    """The state of a conversation without a microphone."""
    what = "replies are spoken, but there is no microphone" if speaks else "there is no microphone"
    start = "run `rtchat talk --voice`, with --continue if this conversation is saved"
    return f"{what}; to speak, {start}"


def voice(*, speaks: bool, push_to_talk: bool) -> str:
    """The state of a conversation with a microphone that is on, or that the user turns on."""
    replies = "replies are spoken" if speaks else "replies are text"
    if push_to_talk:
        return f"voice is on; Ctrl-T starts and ends what you say; {replies}"
    return f"voice is on; the microphone is on, and /mute turns it off; {replies}"


NOTHING_RECORDED = notice(
    "info",
    "nothing was recorded",
    "press Ctrl-T to start speaking, and again to send",
)
RECORDING_DISCARDED = notice("info", "the recording was discarded")
IGNORED_TURN = notice("detail", "ignored a turn that the server began without audio")


def transcription_failed(message: str, ids: str, level: Level = "error") -> Show:
    """The server could not transcribe speech."""
    return Show(Notice(level, f"the transcription failed: {message}", ids=ids))


def invalid_audio(why: str, level: Level) -> Show:
    """Audio of the reply could not be decoded."""
    return notice(level, f"ignored reply audio that is not valid base64 ({why})")


# ------------------------------------------------------------------------------------------- tools


def call_not_allowed(name: str) -> Show:
    """A call was refused because there is no user to ask."""
    return notice(
        "warning",
        f"{name} was not run because it is not allowed",
        f"use --allow-tool {name} to allow it",
    )


# ---------------------------------------------------------------------------------- long recordings


def continuing(seconds: float) -> Show:
    """An earlier run transcribed the first `seconds` of the recording."""
    text = f"continuing: an earlier run transcribed {clock(seconds)}"
    return notice("info", text, "use --no-resume to start from the beginning")


def fewer_sessions(problem: Problem, sessions: int) -> Show:
    """The server refused a session, so there are fewer at once."""
    what = "1 session" if sessions == 1 else f"{sessions} sessions"
    return notice("detail", f"the server refused a session ({problem}); continuing with {what}")


def transcript_incomplete(start: float, end: float, problem: Problem | None) -> Notice:
    """A part of a recording could not be transcribed; its times are in seconds."""
    why = f": {problem}" if problem is not None else ""
    return Notice("error", f"the transcript from {clock(start)} to {clock(end)} is incomplete{why}")


def part_kept(name: str, *, needs_force: bool, resumes: bool) -> Notice:
    """Another run can transcribe the rest of a recording: with `--force` if it `needs_force`, and
    without the option `--no-resume`, which this run has unless it `resumes`."""
    force = " and --force" if needs_force else ""
    anew = "" if resumes else ", but without --no-resume,"
    hint = f"transcribe it again with the same options{force}{anew} to get the rest"
    return Notice("info", f"the finished part of {name} is kept", hint)


def nothing_kept(name: str) -> Notice:
    """Another run transcribes the whole recording."""
    return Notice("info", f"nothing of {name} is kept; another run starts from the beginning")


def files_left(left: int, count: int, *, skips_others: bool) -> Notice:
    """The transcription of several files was interrupted. `skips_others` is whether the same
    command transcribes only those that are left."""
    hint = "run the same command again" if skips_others else "name only these to transcribe them"
    return Notice("info", f"not transcribed: the last {left} of {count} files", hint)
