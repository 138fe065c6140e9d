"""What the program does, in the imperative: commands to a server, updates for a view, effects of
the shell.

The counterpart is `events`. `conversation` makes all of these, `session` performs the effects,
`wire` turns commands into JSON and the views show updates.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import RateLimit, Timer
from rtchat.core.values import (
    Approval,
    Entry,
    Item,
    JsonObject,
    Options,
    Status,
    ToolCall,
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
    """`response.create`."""

    options: Options = Options()


@value
class Cancel:
    """`response.cancel`. An empty id means the running one."""

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
    """It is from a microphone: better lost than late."""


@value
class CommitAudio:
    """`input_audio_buffer.commit`: what was appended is a user's message."""


@value
class ClearAudio:
    """`input_audio_buffer.clear`: what was appended is nothing."""


@value
class Raw:
    """Any event, as the user wrote it."""

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
    | Raw
)

# ----------------------------------------------------------------------- updates: what a view shows


@value
class Timing:
    """Seconds. `first_token` and `total` count from the moment the question was sent."""

    connect: float | None = None
    first_token: float | None = None
    total: float | None = None


@value
class Connecting:
    """A connection is being made; nothing can be answered yet."""

    model: str


@value
class Ready:
    """The session took our settings, and was told again what had been said."""

    model: str
    seconds: float
    replayed: int = 0
    """Turns."""


@value
class Waiting:
    """Nothing happens for `seconds`, for a reason worth showing."""

    why: str
    seconds: float


@value
class QuestionAsked:
    """A question is the next to be answered: from here on a reply is due."""

    text: str
    model: str
    spoken: bool = False
    """It was said aloud: what was heard is in a `UserTranscript`, later or never."""


@value
class UserTranscript:
    """What a spoken question was heard to be. It comes before its reply's text, or, if it is late,
    after the reply."""

    text: str


@value
class MicrophoneStatus:
    """The microphone was turned on or off, or is gone. `push_to_talk`: what is said between on and
    off is a turn."""

    is_on: bool
    push_to_talk: bool
    is_there: bool = True


@value
class TextArrived:
    """The next text of the reply, in reading order."""

    text: str


@value
class ReplyOver:
    """The reply is over, however it went; always the end of an `QuestionAsked`."""

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
    """US dollars; None where the price is not known."""


@value
class ToolAsked:
    """May this be called? `ToolAnswered` says."""

    call: ToolCall | Approval
    server: str = ""
    """The local MCP server of the tool; empty for a function of a Python file."""


@value
class ToolBegan:
    """A tool runs."""

    call: ToolCall


@value
class ToolEnded:
    """A tool gave this back, or was not run for this reason."""

    call: ToolCall
    output: str


@value
class Totals:
    """/usage: the sums of this run, and what is left of the limits as far as the server said."""

    replies: int
    usage: Usage
    cost: float | None = None
    """US dollars, of the replies whose price is known; None if no price is."""
    limits: tuple[RateLimit, ...] = ()


@value
class Copy:
    """/copy: put a reply, or its `block`-th code block, on the clipboard; 0 is all of it."""

    text: str
    block: int = 0


Level: TypeAlias = Literal["detail", "info", "warning", "error"]


@value
class Notice:
    """A line beside the conversation. `detail` is for `--verbose`."""

    level: Level
    text: str


Update: TypeAlias = (
    Connecting
    | Ready
    | Waiting
    | QuestionAsked
    | UserTranscript
    | MicrophoneStatus
    | TextArrived
    | ReplyOver
    | ToolAsked
    | ToolBegan
    | ToolEnded
    | Totals
    | Copy
    | Notice
)

# --------------------------------------------------------------------- effects: what the shell does


@value
class Connect:
    """Open a socket for this model; one that is open is closed first."""

    model: str


@value
class Disconnect:
    """Close the socket; whatever it still delivers is dropped."""


@value
class Send:
    """Send a command. `event_id` comes back in the error that it causes."""

    event_id: str
    command: Command


@value
class SetTimer:
    """Start a timer, or start it again. The shell shortens it by up to `jitter` of itself."""

    timer: Timer
    seconds: float
    jitter: float = 0.0


@value
class ClearTimer:
    """Stop a timer, if it runs."""

    timer: Timer


@value
class Show:
    """Tell the view."""

    update: Update


@value
class StartRecord:
    """What is recorded from here on is another conversation."""


@value
class Record:
    """Keep an item on disk; one of the same turn and index is written over."""

    entry: Entry


@value
class LoadConversation:
    """Go on with a kept conversation, the latest if `id` is None; `Recalled` brings it."""

    id: int | None


@value
class Play:
    """Let this be heard, after what is being heard already: PCM16, mono, 24 kHz."""

    item_id: str
    content_index: int
    audio: bytes
    is_last: bool = False
    """There is no more of this part."""


@value
class StopPlaying:
    """Be silent at once; `PlaybackCut` says what was cut, if anything was."""


@value
class RunTool:
    """Run a tool; `ToolFinished` brings its output."""

    call: ToolCall


@value
class StopTools:
    """Stop all tools that run; what they still give back is dropped."""


@value
class Stop:
    """The program ends with this code, once what was sent has left."""

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
    | LoadConversation
    | Play
    | StopPlaying
    | RunTool
    | StopTools
    | Stop
)
