"""What can happen, named in the past tense: events from the server, and events from this side.

The counterpart is `effects`: what the program does in response. `wire` parses the server's events
from JSON, the session and the prompt create the local ones; `conversation` handles both.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Literal, TypeAlias

from rtchat.core.errors import ExitCode, Problem
from rtchat.core.values import (
    Channel,
    Dialect,
    Item,
    JsonObject,
    NamedFormat,
    Part,
    Status,
    StoredConversation,
    ThemeName,
    TranscriptSegment,
    TranscriptWord,
    Usage,
    value,
)

# --------------------------------------------------------------------------- events from the server


@value
class SessionCreated:
    """The server opened a session. `fields` is the whole session object as received."""

    id: str
    model: str
    dialect: Dialect | None = None
    """The dialect, if the shape of the object determines it; None otherwise."""
    expires_at: float | None = None
    """Unix seconds."""
    fields: JsonObject = field(default_factory=dict)
    input_format: NamedFormat | None = None
    output_format: NamedFormat | None = None
    """The audio formats, if the server names them."""
    seconds_left: float | None = None
    """Until `expires_at`; filled in by the shell, which has a clock."""


@value
class SessionUpdated:
    """The server accepted the `session.update`; the fields are those of `SessionCreated`."""

    id: str
    model: str
    dialect: Dialect | None = None
    expires_at: float | None = None
    fields: JsonObject = field(default_factory=dict)
    input_format: NamedFormat | None = None
    output_format: NamedFormat | None = None


@value
class ItemAdded:
    """An item was added to the conversation; the item of a reply is still empty."""

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
    """An item was deleted."""

    item_id: str


@value
class ItemTruncated:
    """The audio of an assistant item was truncated to what was played."""

    item_id: str
    content_index: int
    audio_end_ms: int


@value
class ReplyStarted:
    """`response.created`."""

    response_id: str
    conversation_id: str | None = None
    mark: str = ""
    """The mark of the request, if the server echoes it."""


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
    """The next piece of a channel. Parts of one reply may interleave, so all four ids and indexes
    identify the part."""

    channel: Channel
    text: str
    response_id: str = ""
    item_id: str = ""
    output_index: int = 0
    content_index: int = 0
    held: str = ""
    """Text received after `text` that may be the beginning of a key. The next delta of the channel
    has this text, or the replacement for the key. Without a further delta it belongs to the text.
    """
    elapsed_ms: int | None = None
    """For a translation, the milliseconds of the session's input that are translated so far, if the
    server reports it."""
    format: NamedFormat | None = None
    """The format of audio, if the server names it in each delta."""


@value
class ChannelDone:
    """A channel is complete; `text` is its whole text and takes precedence over the deltas."""

    channel: Channel
    text: str
    response_id: str = ""
    item_id: str = ""
    output_index: int = 0
    content_index: int = 0
    usage: Usage | None = None
    """For an input transcript, its usage, which is billed in addition to that of the reply."""
    details: JsonObject = field(default_factory=dict)
    """For an input transcript, the detected languages and the log probabilities, as received."""
    segments: tuple[TranscriptSegment, ...] = ()
    words: tuple[TranscriptWord, ...] = ()
    """For an input transcript, its segments and words with their times, which few servers send
    here."""


@value
class ToolCalled:
    """The model called a function and its arguments are complete."""

    name: str
    call_id: str
    arguments: str
    response_id: str = ""
    item_id: str = ""
    output_index: int = 0


class RemoteState(StrEnum):
    """The state of something that the model's server does with the tools of an MCP server."""

    STARTED = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


@value
class RemoteCallUpdate:
    """The state of a `RemoteCall` changed, or its arguments are complete."""

    item_id: str
    state: RemoteState | None = None
    arguments: str = ""
    response_id: str = ""


@value
class ToolListing:
    """The model's server lists the tools of an MCP server. Each event has some of the fields."""

    item_id: str
    server: str = ""
    state: RemoteState | None = None
    error: str = ""


@value
class ReplyEnded:
    """`response.done`: the only event that reports a failed reply."""

    response_id: str
    status: Status
    reason: str = ""
    """`client_cancelled`, `max_output_tokens`, `content_filter` …"""
    code: str = ""
    """The error code, if the reply failed."""
    message: str = ""
    items: tuple[Item, ...] = ()
    usage: Usage | None = None
    conversation_id: str | None = None
    model: str = ""
    """The model that answered; only some servers report it here."""


@value
class SpeechStarted:
    """The server detected speech, which will become this item. Milliseconds count from the first
    audio of the session and include the padding before the speech."""

    item_id: str
    audio_start_ms: int


@value
class SpeechStopped:
    """The server detected the end of speech."""

    item_id: str
    audio_end_ms: int


@value
class AudioCommitted:
    """The audio buffer became a user message, by the server's turn detection or the client's
    commit."""

    item_id: str
    previous_item_id: str | None = None


@value
class AudioCleared:
    """The server discarded the audio buffer."""


@value
class TranscriptionFailed:
    """The user's speech could not be transcribed."""

    item_id: str
    message: str
    content_index: int = 0
    code: str = ""
    """The server's error code, if any."""


@value
class SegmentTranscribed:
    """A segment of an input transcript: what one speaker said. `start` and `end` are in seconds."""

    item_id: str
    id: str
    text: str
    speaker: str
    start: float
    end: float
    content_index: int = 0


@value
class SessionEnded:
    """A translation session has ended: the server has sent all output."""


@value
class RateLimit:
    """One limit of `RateLimits`."""

    name: str
    limit: int = 0
    remaining: int = 0
    reset_seconds: float = 0.0


@value
class RateLimits:
    """The current rate limits."""

    limits: tuple[RateLimit, ...]


@value
class ServerProblem:
    """An `error` event. `event_id` is the id of the client event that caused it, if known."""

    message: str
    kind: str = ""
    code: str = ""
    param: str = ""
    event_id: str = ""


@value
class ServerWarning:
    """`warning` of Azure's Voice Live."""

    message: str


@value
class Other:
    """An event of the API that the program does not use."""

    type: str


@value
class Unknown:
    """A frame that could not be parsed: ignored, but shown with `--verbose`."""

    type: str
    why: str


ItemEvent: TypeAlias = OutputAdded | OutputDone | ToolCalled | RemoteCallUpdate
"""The events about an item of a response."""
ResponseEvent: TypeAlias = (
    ReplyStarted | ItemEvent | PartAdded | PartDone | Delta | ChannelDone | ReplyEnded
)
"""The events of a response."""
ServerEvent: TypeAlias = (
    SessionCreated
    | SessionUpdated
    | ItemAdded
    | ItemDone
    | ItemRetrieved
    | ItemDeleted
    | ItemTruncated
    | ResponseEvent
    | ToolListing
    | SpeechStarted
    | SpeechStopped
    | AudioCommitted
    | AudioCleared
    | TranscriptionFailed
    | SegmentTranscribed
    | SessionEnded
    | RateLimits
    | ServerProblem
    | ServerWarning
    | Other
    | Unknown
)

# ---------------------------------------------------------------------------- events from this side


class Timer(StrEnum):
    """The purpose of a timer. At most one of each is running."""

    START = "start"
    """The session did not become ready in time."""
    SETUP = "setup"
    """The server did not send `session.created` or `session.updated` soon; some never do."""
    STALL = "stall"
    """The server sent nothing while a reply is pending; every frame restarts this timer."""
    RETRY = "retry"
    """It is time to reconnect."""
    LIMIT = "limit"
    """The wait for a rate limit is over."""
    SAVE = "save"
    """It is time to save the reply so far."""
    RENEW = "renew"
    """The session will expire soon."""
    TRANSCRIPT = "transcript"
    """The transcript of a question did not arrive in time; its reply is shown without it."""
    OVERDUE = "overdue"
    """The server should have ended the reply by now: the user stopped it, or the server reported an
    error and nothing more of the reply has arrived."""
    OWNER = "owner"
    """It is not known whether a response is the reply; it counts as the reply now."""
    DELETE = "delete"
    """The server did not delete the items of removed turns in time."""
    INPUT = "input"
    """The wait for the last audio, after the input was stopped or the microphone lost, is over."""
    MICROPHONE = "microphone"
    """The microphone has been muted for a while: close its device."""


@value
class Started:
    """The program has started."""


@value
class UserSaid:
    """The user entered a question."""

    text: str


@value
class QueuedTakenBack:
    """The user takes the last queued question back to change it."""


@value
class AudioSaid:
    """A recorded question: PCM16, mono, 24 kHz. `text` is sent before the audio."""

    audio: bytes
    text: str = ""


@value
class AudioCaptured:
    """The next audio from the microphone: PCM16, mono, 24 kHz."""

    audio: bytes


@value
class MicrophoneToggled:
    """The user pressed the microphone's key, or entered /mute. With push-to-talk, turning the
    microphone off ends a turn."""


@value
class MicrophoneOpened:
    """Audio arrives from this device, after `UseMicrophone` or because the shell chose another."""

    name: str = ""


@value
class MicrophoneLost:
    """The microphone was lost, for example unplugged, or it cannot be opened. The conversation
    continues in text."""

    problem: Problem


@value
class MicrophoneFound:
    """There is a microphone again that can be used instead of the lost one."""


@value
class PlaybackCut:
    """`StopPlaying` interrupted the audio of an item after `played_ms` milliseconds."""

    item_id: str
    content_index: int
    played_ms: int


@value
class PlaybackAdvanced:
    """The first `played_ms` milliseconds of the audio of an item have been played."""

    item_id: str
    content_index: int
    played_ms: int


@value
class PlaybackEnded:
    """Nothing is playing any more."""


@value
class SpeakerLost:
    """The speaker was lost, for example unplugged. `cut` is how far it had played the audio of an
    item, if it was playing one: the rest is not played. The conversation continues in text."""

    problem: Problem
    cut: PlaybackCut | None = None


@value
class Attached:
    """A file was attached to the next question; `part` is the content to send."""

    name: str
    part: Part


@value
class AttachmentsAsked:
    """/attach without a file: list what is attached to the next question."""


@value
class DetachAsked:
    """/detach: remove all attached files, or only the file with this number, from 1."""

    number: int | None = None


@value
class EntryAbandoned:
    """Ctrl-C at an empty prompt: nothing is edited, and nothing is attached."""


@value
class DraftAbandoned:
    """The user cleared an entry that held a `Draft`, or sent it empty: nothing is edited."""


@value
class InputEnded:
    """There is no more input: answer the waiting questions, then stop. `problem` is why reading the
    input failed, if it did."""

    problem: Problem | None = None


@value
class CancelPressed:
    """Ctrl-C or Esc during a reply."""


@value
class LeaveAsked:
    """The program is asked to end: /exit, Ctrl-D, a signal, or a closed stdout."""

    exit: ExitCode = ExitCode.OK


@value
class SystemSet:
    """/system: set new instructions."""

    instructions: str


@value
class OptionSet:
    """/set: set an option of the session, or of each response. `change` is the nested object with
    the value; None removes the option."""

    scope: Literal["session", "response"]
    key: str
    change: JsonObject | None = None


@value
class OptionsAsked:
    """/set without arguments: list the options that are set."""


@value
class RawSaid:
    """/raw: send any event to the server.

    `asks` is whether it requests a reply, `answer` the type of the event that confirms it, if there
    is one, and `output_of` the id of the call whose output it contains.
    """

    fields: JsonObject
    asks: bool = False
    answer: type | None = None
    output_of: str = ""


@value
class ModelSet:
    """/model: use another model. A session cannot change its model, so a new session receives the
    same items."""

    model: str


@value
class NewConversationAsked:
    """/new: start a new conversation."""


@value
class ResumeAsked:
    """/resume: continue the saved conversation with this ID or name, the latest other than this one
    if `id` is None."""

    id: int | str | None = None


@value
class ConversationLoaded:
    """A saved conversation was loaded."""

    stored: StoredConversation


@value
class NameSet:
    """/name: name this conversation."""

    name: str


@value
class HistoryAsked:
    """/history: show the whole conversation."""


@value
class RetryAsked:
    """/retry: ask the last question again; the new reply replaces the last turn. A model other than
    "" is used from now on, and `instructions` apply to this reply in addition to all others."""

    model: str = ""
    instructions: str = ""


@value
class EditAsked:
    """/edit: edit the question of a turn, the last one if `turn` is None. The next question
    replaces this turn and those after it."""

    turn: int | None = None


@value
class UndoAsked:
    """/undo: remove the last `count` turns from the conversation."""

    count: int = 1


@value
class ForkAsked:
    """/fork: continue in a new conversation with the turns up to this one, or with all turns if
    `turn` is None."""

    turn: int | None = None


@value
class CompactAsked:
    """/compact: replace the beginning of the conversation by a summary. `instructions` say what the
    summary has to contain."""

    instructions: str = ""


Answer: TypeAlias = Literal["yes", "always", "no"]


@value
class ToolAnswered:
    """The user's answer to `ToolAsked`."""

    answer: Answer


@value
class ToolFinished:
    """A tool call started by `RunTool` is over; `output` is its output."""

    call_id: str
    output: str


@value
class ToolsAsked:
    """/tools: list the tools."""


@value
class UsageAsked:
    """/usage: show tokens, cost and rate limits."""


@value
class CopyAsked:
    """/copy: copy the last reply, or its code block number `block`, from 1; 0 copies the whole
    reply."""

    block: int = 0


@value
class StatusAsked:
    """/status: show the state of the connection, the session and the conversation."""


@value
class ExportAsked:
    """/export: write the conversation to a file, in the format of its extension.

    `file` is a path as it was typed; it may be quoted as in a shell, and is empty for a name that
    the program chooses. An existing file is overwritten only with `force`.
    """

    file: str = ""
    force: bool = False


@value
class SaveAsked:
    """/save: write the last reply, or its code block number `block`, from 1, to a file. `file` and
    `force` are as in `ExportAsked`."""

    file: str = ""
    block: int = 0
    force: bool = False


@value
class TraceAsked:
    """/trace: start or stop recording the session, or show whether it is recorded. `file` is as in
    `ExportAsked`, for a new recording."""

    action: Literal["start", "stop", "show"]
    file: str = ""


@value
class EventsAsked:
    """/events: show the server's events as they arrive, or stop showing them; None switches."""

    shows: bool | None = None


@value
class VoiceAsked:
    """/voice: show whether the conversation is spoken; turn on a microphone that is muted."""


@value
class ReasoningAsked:
    """/reasoning without an argument: show how much the model reasons, and its last reasoning."""


@value
class ThemeAsked:
    """/theme: use another theme, or list the themes if `name` is None."""

    name: ThemeName | None = None


@value
class LocalNotice:
    """A message to show that needs no other action: the text of /help, or a mistyped command.
    `hint` says what to do about an error."""

    text: str
    is_error: bool = False
    hint: str = ""


def local_error(problem: Problem) -> LocalNotice:
    """The notice of a problem."""
    return LocalNotice(problem.message, is_error=True, hint=problem.hint)


class Retry(StrEnum):
    """Whether to try to reconnect."""

    NEVER = "never"
    IF_IT_WORKED = "if it worked"
    """Only if a session was ready before: retrying does not help if, for example, the host name is
    wrong."""
    ALWAYS = "always"


@value
class ConnectionOpened:
    """The socket is open; there is no session yet. `url` is its URL without keys."""

    url: str = ""


@value
class ConnectionLost:
    """The connection could not be made, or it ended."""

    problem: Problem
    retry: Retry
    retry_after: float | None = None
    """The seconds that the server asked the client to wait."""
    at_once: bool = False
    """Whether to reconnect without a delay because the session ended normally (after 60
    minutes)."""


@value
class TimerFired:
    """A timer set by `SetTimer` has expired."""

    timer: Timer


LocalEvent: TypeAlias = (
    Started
    | UserSaid
    | QueuedTakenBack
    | AudioSaid
    | AudioCaptured
    | MicrophoneToggled
    | MicrophoneOpened
    | MicrophoneLost
    | MicrophoneFound
    | PlaybackCut
    | PlaybackAdvanced
    | PlaybackEnded
    | SpeakerLost
    | Attached
    | AttachmentsAsked
    | DetachAsked
    | EntryAbandoned
    | DraftAbandoned
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
    | NameSet
    | HistoryAsked
    | RetryAsked
    | EditAsked
    | UndoAsked
    | ForkAsked
    | CompactAsked
    | ToolsAsked
    | ToolAnswered
    | ToolFinished
    | UsageAsked
    | CopyAsked
    | StatusAsked
    | ExportAsked
    | SaveAsked
    | TraceAsked
    | EventsAsked
    | VoiceAsked
    | ReasoningAsked
    | ThemeAsked
    | LocalNotice
    | ConnectionOpened
    | ConnectionLost
    | TimerFired
)
Event: TypeAlias = ServerEvent | LocalEvent
