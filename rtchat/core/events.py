"""What can happen, in the past tense: the server said something, or this side did.

The counterpart is `effects`: what the program does about it. `wire` makes the first half out of
JSON, the session and the prompt make the second; `conversation` takes both.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Literal, TypeAlias

from rtchat.core.errors import ExitCode, Problem
from rtchat.core.values import (
    AudioFormat,
    Channel,
    Dialect,
    Item,
    JsonObject,
    Part,
    Status,
    StoredConversation,
    Usage,
    value,
)

# --------------------------------------------------------------------------- events from the server


@value
class SessionCreated:
    """The server opened a session. `fields` is all of it, in the shape it came in."""

    id: str
    model: str
    dialect: Dialect | None = None
    """What its shape gives away; None where it is neither or both."""
    expires_at: float | None = None
    """Unix seconds."""
    fields: JsonObject = field(default_factory=dict)
    input_format: AudioFormat | None = None
    output_format: AudioFormat | None = None
    """Its sound format, if it names one."""
    seconds_left: float | None = None
    """Until `expires_at`, as far as whoever has a clock has filled it in."""


@value
class SessionUpdated:
    """The server took our `session.update`; the same fields as `SessionCreated`."""

    id: str
    model: str
    dialect: Dialect | None = None
    expires_at: float | None = None
    fields: JsonObject = field(default_factory=dict)
    input_format: AudioFormat | None = None
    output_format: AudioFormat | None = None


@value
class ItemAdded:
    """An item is in the conversation; a reply's own item is still empty then."""

    item: Item
    previous_item_id: str | None = None


@value
class ItemDone:
    """An item is complete."""

    item: Item
    previous_item_id: str | None = None


@value
class ItemRetrieved:
    """The answer to `Retrieve`."""

    item: Item


@value
class ItemDeleted:
    """An item is gone."""

    item_id: str


@value
class ItemTruncated:
    """The audio of an assistant item was cut to what was played."""

    item_id: str
    content_index: int
    audio_end_ms: int


@value
class ReplyStarted:
    """`response.created`."""

    response_id: str
    conversation_id: str | None = None


@value
class OutputAdded:
    """A reply began an item."""

    response_id: str
    output_index: int
    item: Item


@value
class OutputDone:
    """A reply finished an item."""

    response_id: str
    output_index: int
    item: Item


@value
class PartAdded:
    """A reply began a content part."""

    response_id: str
    item_id: str
    output_index: int
    content_index: int
    part: Part


@value
class PartDone:
    """A reply finished a content part."""

    response_id: str
    item_id: str
    output_index: int
    content_index: int
    part: Part


@value
class Delta:
    """The next piece of a channel. Parts of one reply may interleave: the key is all four ids."""

    channel: Channel
    text: str
    response_id: str = ""
    item_id: str = ""
    output_index: int = 0
    content_index: int = 0
    held: str = ""
    """What came after `text` and may be the beginning of a key. The next delta of the channel has
    it, or the replacement for the key. Without a further delta it is part of the text."""


@value
class ChannelDone:
    """A channel is complete; `text` is all of it and outranks the joined deltas."""

    channel: Channel
    text: str
    response_id: str = ""
    item_id: str = ""
    output_index: int = 0
    content_index: int = 0


@value
class ToolCalled:
    """The model called a function and its arguments are complete."""

    name: str
    call_id: str
    arguments: str
    response_id: str = ""
    item_id: str = ""
    output_index: int = 0


@value
class ReplyEnded:
    """`response.done`: the only place where a failed reply shows."""

    response_id: str
    status: Status
    reason: str = ""
    """`client_cancelled`, `max_output_tokens`, `content_filter` …"""
    code: str = ""
    """The error's code, if it failed."""
    message: str = ""
    items: tuple[Item, ...] = ()
    usage: Usage | None = None
    conversation_id: str | None = None


@value
class SpeechStarted:
    """The server hears the user speak; the item is the one that this will be. Milliseconds count
    from the first audio of the session, with the padding from before the speech."""

    item_id: str
    audio_start_ms: int


@value
class SpeechStopped:
    """The server hears the user no more."""

    item_id: str
    audio_end_ms: int


@value
class AudioCommitted:
    """What the server has heard became a user's message, on its own account or on ours."""

    item_id: str
    previous_item_id: str | None = None


@value
class AudioCleared:
    """The server has dropped what it had heard and made no message of."""


@value
class TranscriptionFailed:
    """What the user said aloud could not be written down."""

    item_id: str
    message: str
    content_index: int = 0


@value
class RateLimit:
    """One line of `RateLimits`."""

    name: str
    limit: int = 0
    remaining: int = 0
    reset_seconds: float = 0.0


@value
class RateLimits:
    """What is left of the limits."""

    limits: tuple[RateLimit, ...]


@value
class ServerProblem:
    """An `error` event. `event_id` is that of our own event at fault, if the server says so."""

    message: str
    kind: str = ""
    code: str = ""
    param: str = ""
    event_id: str = ""


@value
class Other:
    """An event of the API that a text conversation needs nothing from."""

    type: str


@value
class Unknown:
    """A frame that could not be read: passed over, shown with `--verbose`."""

    type: str
    why: str


ServerEvent: TypeAlias = (
    SessionCreated
    | SessionUpdated
    | ItemAdded
    | ItemDone
    | ItemRetrieved
    | ItemDeleted
    | ItemTruncated
    | ReplyStarted
    | OutputAdded
    | OutputDone
    | PartAdded
    | PartDone
    | Delta
    | ChannelDone
    | ToolCalled
    | ReplyEnded
    | SpeechStarted
    | SpeechStopped
    | AudioCommitted
    | AudioCleared
    | TranscriptionFailed
    | RateLimits
    | ServerProblem
    | Other
    | Unknown
)

# ---------------------------------------------------------------------------- events from this side


class Timer(StrEnum):
    """What a timer is for. There is at most one of each."""

    START = "start"
    """The session did not become ready."""
    STALL = "stall"
    """No word from the server while a reply is due; the session restarts it at every frame."""
    RETRY = "retry"
    """Time to connect again."""
    LIMIT = "limit"
    """The wait that a rate limit asked for is over."""
    SAVE = "save"
    """Time to record what came of a reply meanwhile."""
    RENEW = "renew"
    """The session is near its end."""
    HEARD = "heard"
    """A reply is shown without waiting any longer for what it replies to to be written down."""
    INPUT = "input"
    """What was on its way when the user stopped the input, or the microphone was lost, has come."""


@value
class Started:
    """The program begins."""


@value
class UserSaid:
    """A line, or a whole prompt, of the user's."""

    text: str


@value
class AudioSaid:
    """A question that was recorded: PCM16, mono, 24 kHz. `text` goes before it."""

    audio: bytes
    text: str = ""


@value
class AudioCaptured:
    """The next audio of the microphone: PCM16, mono, 24 kHz."""

    audio: bytes


@value
class MicrophoneToggled:
    """The key of the microphone, or /mute. Where turns are ended by hand, turning it off ends
    one."""


@value
class MicrophoneLost:
    """There is no microphone any more: its device vanished. The text goes on."""

    problem: Problem


@value
class PlaybackCut:
    """`StopPlaying` stopped this in the middle; `played_ms` is what was heard of it."""

    item_id: str
    content_index: int
    played_ms: int


@value
class Attached:
    """A file that goes with the next question, as what the model is given of it."""

    name: str
    part: Part


@value
class AttachmentsAsked:
    """/attach without a file: list what is attached to the next question."""


@value
class DetachAsked:
    """/detach: remove all attached files, or only the one with this number, from 1."""

    number: int | None = None


@value
class EntryAbandoned:
    """Ctrl-C at an empty prompt."""


@value
class InputEnded:
    """There will be no more input: finish what is queued, then stop; with its code if it failed."""

    problem: Problem | None = None


@value
class CancelPressed:
    """Ctrl-C or Esc in mid reply."""


@value
class LeaveAsked:
    """The user leaves: /exit, Ctrl-D, a signal, or stdout that went away."""

    exit: ExitCode = ExitCode.OK


@value
class SystemSet:
    """/system: new instructions, from now on."""

    instructions: str


@value
class OptionSet:
    """/set: an option of the session, or of every reply, from now on. `change` is how it stands
    in the whole; None takes it back."""

    of: Literal["session", "response"]
    key: str
    change: JsonObject | None = None


@value
class OptionsAsked:
    """/set, alone: which options are set."""


@value
class RawSaid:
    """/raw: any event for the server.

    `asks` is whether it asks for a reply, `answer` the type of the event that confirms it, if there
    is one, and `output_of` the id of the call that it gives the output of.
    """

    fields: JsonObject
    asks: bool = False
    answer: type | None = None
    output_of: str = ""


@value
class ModelSet:
    """/model: another model. A session keeps its model, so this is a new session, same items."""

    model: str


@value
class NewConversationAsked:
    """/new: forget everything said."""


@value
class ResumeAsked:
    """/resume: go on with a kept conversation, the latest but this one if `id` is None."""

    id: int | None = None


@value
class ConversationLoaded:
    """A kept conversation was read."""

    kept: StoredConversation


@value
class RetryAsked:
    """/retry: the last question once more."""


Answer: TypeAlias = Literal["yes", "always", "no"]


@value
class ToolAnswered:
    """The user's answer to `ToolAsked`."""

    answer: Answer


@value
class ToolFinished:
    """A tool that `RunTool` began gave this back."""

    call_id: str
    output: str


@value
class ToolsAsked:
    """/tools."""


@value
class UsageAsked:
    """/usage."""


@value
class CopyAsked:
    """/copy: the last reply, or its `block`-th code block; 0 is all of it."""

    block: int = 0


@value
class LocalNotice:
    """A line from the program to the user that needs no decision: /help, a mistyped command."""

    text: str
    is_error: bool = False


class Retry(StrEnum):
    """Whether it is worth connecting again."""

    NEVER = "never"
    IF_IT_WORKED = "if it worked"
    """Only to a server that has answered before: a name that does not resolve will not by
    itself."""
    ALWAYS = "always"


@value
class ConnectionOpened:
    """The socket is open; the session is not there yet."""


@value
class ConnectionLost:
    """There is no connection: it could not be made, or it ended."""

    problem: Problem
    retry: Retry
    retry_after: float | None = None
    """What the server asked us to wait."""
    at_once: bool = False
    """Nothing is wrong with the server: the session was over (its 60 minutes)."""


@value
class TimerFired:
    """A timer that `SetTimer` set."""

    timer: Timer


LocalEvent: TypeAlias = (
    Started
    | UserSaid
    | AudioSaid
    | AudioCaptured
    | MicrophoneToggled
    | MicrophoneLost
    | PlaybackCut
    | Attached
    | AttachmentsAsked
    | DetachAsked
    | EntryAbandoned
    | InputEnded
    | CancelPressed
    | LeaveAsked
    | SystemSet
    | OptionSet
    | OptionsAsked
    | RawSaid
    | ModelSet
    | NewConversationAsked
    | ResumeAsked
    | ConversationLoaded
    | RetryAsked
    | ToolsAsked
    | ToolAnswered
    | ToolFinished
    | UsageAsked
    | CopyAsked
    | LocalNotice
    | ConnectionOpened
    | ConnectionLost
    | TimerFired
)
Event: TypeAlias = ServerEvent | LocalEvent
