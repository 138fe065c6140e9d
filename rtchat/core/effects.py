"""What the program does, named in the imperative: commands for a server, updates for a view, and
effects for the shell.

The counterpart is `events`. `conversation` returns effects, `session` performs them, `wire`
converts commands to JSON, and the views show updates.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal, TypeAlias

from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import RateLimit, Timer
from rtchat.core.values import (
    Approval,
    AudioFormat,
    Dialect,
    Entry,
    Item,
    JsonObject,
    Message,
    Options,
    RemoteCall,
    SessionInfo,
    Status,
    StoredConversation,
    ThemeName,
    ToolCall,
    TranscriptDetails,
    TranscriptSegment,
    TranscriptWord,
    Usage,
    value,
)

# ----------------------------------------------------------------------------- commands to a server


@value
class Configure:
    """`session.update`."""

    options: Options


@value
class AddItem:
    """`conversation.item.create`. `previous_item_id` "root" puts it first, None last."""

    item: Item
    previous_item_id: str | None = None


@value
class CreateResponse:
    """`response.create`. `is_marked` is whether its metadata has a mark by which its response is
    recognised."""

    options: Options = Options()
    is_marked: bool = True


@value
class Cancel:
    """`response.cancel`. An empty id means the response in progress."""

    response_id: str = ""


@value
class Retrieve:
    """`conversation.item.retrieve`."""

    item_id: str


@value
class Delete:
    """`conversation.item.delete`."""

    item_id: str


@value
class Truncate:
    """`conversation.item.truncate`."""

    item_id: str
    content_index: int
    audio_end_ms: int


@value
class AppendAudio:
    """`input_audio_buffer.append`: PCM16, mono, 24 kHz."""

    audio: bytes
    live: bool = False
    """Whether it is live from a microphone: then it is dropped rather than sent late."""


@value
class CommitAudio:
    """`input_audio_buffer.commit`: make the appended audio a user message."""


@value
class ClearAudio:
    """`input_audio_buffer.clear`: discard the appended audio."""


@value
class CloseSession:
    """`session.close`: translate the rest of the audio, then end the translation session."""


@value
class Raw:
    """Any client event, as the user wrote it."""

    fields: JsonObject


Command: TypeAlias = (
    Configure
    | AddItem
    | CreateResponse
    | Cancel
    | Retrieve
    | Delete
    | Truncate
    | AppendAudio
    | CommitAudio
    | ClearAudio
    | CloseSession
    | Raw
)

# ----------------------------------------------------------------------- updates: what a view shows


@value
class Timing:
    """Durations in seconds. `first_token` and `total` count from when the question was sent."""

    connect: float | None = None
    first_token: float | None = None
    total: float | None = None


@value
class Connecting:
    """A connection is being made."""

    model: str


@value
class NotConnected:
    """There is no connection, and none is being made until the user asks or speaks."""


@value
class ContextUse:
    """How full the model's context is. The next reply reads these tokens."""

    tokens: int
    window: int | None
    """The size of the context window in tokens; None if it is not known."""


@value
class Ready:
    """The session accepted the settings and received the earlier items of the conversation. `model`
    is the model that was requested; `session` has the one that answers."""

    model: str
    seconds: float
    replayed: int = 0
    """How many earlier turns it received."""
    session: SessionInfo = field(default=SessionInfo(), kw_only=True, compare=False)
    context: ContextUse | None = field(default=None, kw_only=True, compare=False)
    """An estimate for the earlier turns, the instructions and the tools; None without turns."""


@value
class Waiting:
    """The program waits for `seconds`; `why` is the reason to show."""

    why: str
    seconds: float
    is_connected: bool = field(default=False, kw_only=True, compare=False)
    """Whether there is a session during the wait."""


@value
class QuestionAsked:
    """A question is being asked: a reply is pending from now on."""

    text: str
    model: str
    spoken: bool = False
    """Whether it was spoken: a `UserTranscript` may follow with its transcript."""


@value
class Queued:
    """The typed questions that wait to be asked, in order. Only for a conversation with a person,
    and whenever they change."""

    texts: tuple[str, ...]


@value
class QuestionDropped:
    """A typed question will not be asked; its `ReplyOver` says why."""

    text: str


@value
class Draft:
    """A text for the entry at the prompt, for the user to change and send: a question that the user
    took back, or that of a turn that was removed or is being edited."""

    text: str


@value
class UserTranscript:
    """The transcript of a spoken question. It comes before the text of the reply, or after the
    reply if it is late."""

    text: str


@value
class SpeechHeard:
    """What the server hears of the user's speech. Each update replaces the one before."""

    is_speaking: bool
    """Whether the user is speaking."""
    words: str = ""
    """The words recognised so far of speech without a complete transcript."""


@value
class MicrophoneStatus:
    """The microphone was turned on or off, or was lost. With `push_to_talk`, the speech between on
    and off is a turn."""

    is_on: bool
    """Whether the user's speech is taken: the microphone is on, and audio arrives from it."""
    push_to_talk: bool
    is_available: bool = True
    is_opening: bool = False
    """Whether it was turned on, but no audio has arrived yet."""
    name: str = field(default="", kw_only=True, compare=False)
    """The name of the device, once it is open."""


@value
class InputStopped:
    """The user stopped the audio input. The rest of the text is still expected."""


@value
class TextArrived:
    """The next text of the reply, in reading order, and how many deltas it is made of."""

    text: str
    deltas: int = 1


@value
class PartialTranscript:
    """In a transcription, the words recognised so far of the turns that are not complete. Each
    update replaces the one before."""

    text: str


@value
class TurnTranscribed:
    """In a transcription, the transcript of a turn is complete, or there will be none because of an
    `error`. Its text is shown by `TextArrived`."""

    item_id: str
    text: str
    details: TranscriptDetails = TranscriptDetails()
    segments: tuple[TranscriptSegment, ...] = ()
    error: str = ""
    words: tuple[TranscriptWord, ...] = ()
    """The words with their times, if the server sends them. The times of words and segments count
    from the beginning of the turn."""
    start_ms: int | None = None
    end_ms: int | None = None
    """When the turn was spoken, in milliseconds of the file or since the microphone was opened;
    None if it is not known."""


@value
class SourceArrived:
    """In a translation, the next text of what was said, in its own language."""

    text: str


@value
class ReplyOver:
    """The reply is over, with or without success. It always follows a `QuestionAsked`."""

    status: Status
    text: str
    model: str
    reason: str = ""
    problem: Problem | None = None
    response_id: str | None = None
    conversation_id: str | None = None
    usage: Usage | None = None
    timing: Timing = Timing()
    tool_calls: tuple[ToolCall, ...] = ()
    cost: float | None = None
    """US dollars, without the transcription; None if the price is not known."""
    remote_calls: tuple[RemoteCall, ...] = ()
    """The calls that the model's server made."""
    messages: tuple[Message, ...] = ()
    """The messages of which `text` consists; empty if the server gives no phases."""
    session: SessionInfo = field(default=SessionInfo(), kw_only=True, compare=False)
    """The session, with the model that answered; `model` is the one that was requested."""
    transcript: TranscriptDetails | None = field(default=None, kw_only=True)
    """The transcript of a spoken question, if it has arrived."""
    context: ContextUse | None = field(default=None, kw_only=True, compare=False)
    """The context after the turn's last reply; None if the server reported no tokens."""


@value
class ReplyHeard:
    """The playback of a reply was interrupted: its text up to there, and the text that was not
    heard. It may come before the `ReplyOver` of this reply."""

    heard: str
    unheard: str


@value
class ReplyPlaying:
    """The last words of a reply that were heard, while it is playing; empty if nothing is."""

    words: str


@value
class ToolAsked:
    """Ask the user whether to make this call; `ToolAnswered` has the answer."""

    call: ToolCall | Approval
    server: str = ""
    """The local MCP server of the tool; empty for a function from a Python file."""


@value
class ToolBegan:
    """A tool call has started."""

    call: ToolCall


@value
class ToolEnded:
    """A tool call is over; `output` is its output, or why the tool was not run."""

    call: ToolCall
    output: str


@value
class Totals:
    """/usage: the totals since the program started, and the last rate limits that the server
    reported."""

    replies: int
    usage: Usage
    cost: float | None = None
    """US dollars for the replies and transcripts with a known price; None if there are none."""
    limits: tuple[RateLimit, ...] = ()
    transcripts: Usage = Usage()
    """The usage of transcripts of the user's speech; `usage` does not include it."""


@value
class Copy:
    """/copy: copy a reply to the clipboard, or its code block number `block`, from 1; 0 copies the
    whole reply. If `so_far`, the part that is shown of the next reply, has code blocks, `block` is
    the number of one of them."""

    text: str
    block: int = 0
    so_far: str = ""


@value
class Resumed:
    """A saved conversation continues: show its last turns."""

    stored: StoredConversation


@value
class WholeConversation:
    """/history: show the whole conversation, in a pager if it is long."""

    stored: StoredConversation


@value
class Report:
    """The answer to a command, one or more lines. If it may be long, a terminal may show it in a
    pager."""

    text: str
    may_be_long: bool = False


@value
class EventReceived:
    """/events: an event of the server, as JSON on one line without keys."""

    json: str


@value
class ThemeChosen:
    """/theme: use another theme, or list the themes if `name` is None."""

    name: ThemeName | None


Level: TypeAlias = Literal["detail", "info", "warning", "error"]


@value
class Notice:
    """A message from the program. `detail` is shown only with `--verbose`. `hint` says what to do;
    `code` is the code of the problem, as in `Problem`."""

    level: Level
    text: str
    hint: str = ""
    code: str = ""
    ids: str = field(default="", kw_only=True, compare=False)
    """The ids of the session and the response, as in `Problem`."""


def error_notice(problem: Problem, level: Level = "error") -> Notice:
    """The notice of a problem."""
    return Notice(level, problem.message, problem.hint, problem.code, ids=problem.ids)


Update: TypeAlias = (
    Connecting
    | NotConnected
    | Ready
    | Waiting
    | QuestionAsked
    | Queued
    | QuestionDropped
    | Draft
    | UserTranscript
    | SpeechHeard
    | MicrophoneStatus
    | InputStopped
    | TextArrived
    | PartialTranscript
    | TurnTranscribed
    | SourceArrived
    | ReplyOver
    | ReplyHeard
    | ReplyPlaying
    | ToolAsked
    | ToolBegan
    | ToolEnded
    | Totals
    | Copy
    | Resumed
    | WholeConversation
    | Report
    | EventReceived
    | ThemeChosen
    | Notice
)

# --------------------------------------------------------------------- effects: what the shell does


@value
class Connect:
    """Open a socket for this model, after closing an open one."""

    model: str


@value
class Disconnect:
    """Close the socket; anything that it still receives is dropped."""


@value
class Send:
    """Send a command. An error that it causes has the same `event_id`."""

    event_id: str
    command: Command


@value
class SetTimer:
    """Start or restart a timer. The shell shortens it by a random fraction of up to `jitter`."""

    timer: Timer
    seconds: float
    jitter: float = 0.0


@value
class ClearTimer:
    """Stop a timer, if it is running."""

    timer: Timer


@value
class Show:
    """Pass an update to the view."""

    update: Update


@value
class StartRecord:
    """Save the items that follow as a new conversation."""


@value
class Record:
    """Save an item, replacing a saved one with the same turn and index."""

    entry: Entry


@value
class MoveTo:
    """Make this the last turn of the saved conversation's current branch, 0 for none. The entries
    of all other turns are kept."""

    turn: int


@value
class Fork:
    """Copy the current branch up to this turn to a new conversation, and save the items that follow
    there."""

    turn: int


@value
class LoadConversation:
    """Load the saved conversation with this ID or name, the latest if `id` is None;
    `ConversationLoaded` has it."""

    id: int | str | None


@value
class NameConversation:
    """Name the conversation that is being saved; a `LocalNotice` says whether it worked."""

    name: str


@value
class UseMicrophone:
    """Open or close the device of the microphone. `MicrophoneOpened` or `MicrophoneLost` says
    whether it could be opened."""

    is_used: bool


@value
class Play:
    """Play this audio after any audio that is already playing: PCM16, mono, 24 kHz."""

    item_id: str
    content_index: int
    audio: bytes
    is_last: bool = False
    """Whether no more audio of this part follows."""


@value
class UseFormats:
    """Convert audio to and from these formats of the server; None if there is no audio in that
    direction. A connection begins with the requested formats."""

    input: AudioFormat | None
    output: AudioFormat | None


@value
class StopPlaying:
    """Stop playback at once; `PlaybackCut` reports what was cut off, if anything."""


@value
class RunTool:
    """Run a tool; `ToolFinished` has its output."""

    call: ToolCall


@value
class StopTools:
    """Stop all running tools; any later output is dropped."""


@value
class ShowEvents:
    """Show the events of the server from now on, or no longer."""

    shows: bool


@value
class ConversationStatus:
    """What a conversation knows for /status."""

    model: str
    """The requested model."""
    session: SessionInfo
    connection: str
    """The state of the connection, as one word."""
    seconds: float
    """How long it has been in this state."""
    dialect: Dialect | None = None
    """The dialect of the session, if the server reported it."""
    turns: int = 0
    instructions: str = ""
    options: str = ""
    """The options that are set, one per line."""
    tools: tuple[str, ...] = ()
    microphone: MicrophoneStatus | None = None
    speaks: bool = False


@value
class ReportStatus:
    """/status: show this and what the shell knows."""

    status: ConversationStatus


@value
class Export:
    """/export: write a conversation to a file. `file` and `force` are as in `events.ExportAsked`.
    `age` is the number of seconds since the conversation began, if it is not a saved one."""

    conversation: StoredConversation
    age: float
    file: str
    force: bool


@value
class SaveReply:
    """/save: write a reply, or its code block number `block`, from 1, to a file. `file` and `force`
    are as in `events.ExportAsked`; `title` is a part of the name that is chosen without `file`, and
    `so_far` is as in `Copy`."""

    text: str
    block: int
    title: str
    file: str
    force: bool
    so_far: str = ""


@value
class RecordTrace:
    """/trace; the fields are those of `events.TraceAsked`."""

    action: Literal["start", "stop", "show"]
    file: str


Action: TypeAlias = ReportStatus | Export | SaveReply | RecordTrace
"""What a command asks of the shell. Its result is shown."""


@value
class Stop:
    """End the program with this code, after all pending events are sent."""

    exit: ExitCode


Effect: TypeAlias = (
    Connect
    | Disconnect
    | Send
    | SetTimer
    | ClearTimer
    | Show
    | StartRecord
    | Record
    | MoveTo
    | Fork
    | LoadConversation
    | NameConversation
    | UseFormats
    | UseMicrophone
    | Play
    | StopPlaying
    | RunTool
    | StopTools
    | ShowEvents
    | Action
    | Stop
)
