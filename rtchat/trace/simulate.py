"""A conversation that lives through a recording again, and what it would have done otherwise.

What the server sent is decoded as ever. What the user did is read from what was sent: a request for
a reply was a question, audio was said, a cancel was Ctrl-C, a second session was a loss, a renewal
or a command. What this program would send is held against what was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from rtchat import wire
from rtchat.client.session import Machine
from rtchat.core.audio_state import SpeechOptions
from rtchat.core.conversation import Conversation
from rtchat.core.effects import (
    AddItem,
    AppendAudio,
    Cancel,
    Command,
    CommitAudio,
    Configure,
    Connect,
    CreateResponse,
    QuestionAsked,
    ReplyOver,
    Send,
    Show,
    Stop,
    Truncate,
    Update,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    AudioSaid,
    CancelPressed,
    ConnectionLost,
    ConnectionOpened,
    ConversationLoaded,
    Event,
    InputEnded,
    LocalEvent,
    ModelSet,
    NewConversationAsked,
    PlaybackCut,
    ReplyStarted,
    Retry,
    RetryAsked,
    ServerEvent,
    ServerProblem,
    SessionCreated,
    Started,
    SystemSet,
    Timer,
    TimerFired,
    Unknown,
    UserSaid,
)
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.transcription import Transcription
from rtchat.core.values import (
    Entry,
    Item,
    Message,
    Options,
    State,
    StoredConversation,
    ToolOutput,
    value,
)
from rtchat.trace.diff import Ledger, read_sent
from rtchat.trace.recording import Recorded
from rtchat.wire.audio_options import is_transcription, transcribes, turn_ends

_SPOKEN, _TOOL_OUTPUT = "(spoken)", "(tool output)"
"""Questions that nobody typed: the reply was to these. They are never sent."""


@value
class Step:
    """One line of the recording, and what a view would be shown at it."""

    line: int
    time: float | None
    updates: tuple[Update, ...]


@dataclass
class _Session:
    """What can be known of a session only by looking ahead."""

    model: str = ""
    options: Options | None = None
    items: list[Item] = field(default_factory=list)
    """Those sent before the first request for a reply."""
    was_asked: bool = False
    is_spoken_to: bool = False
    transcribes: bool = False

    def note(self, command: Command | None) -> None:
        """This was sent in it."""
        match command:
            case AppendAudio():
                self.is_spoken_to = True
            case _ if self.was_asked:
                pass
            case Configure(options):
                self.options = self.options or options
            case AddItem(item):
                self.items.append(item)
            case CreateResponse():
                self.was_asked = True
            case _:
                pass

    @property
    def past(self) -> list[Item]:
        """The items that came before the question."""
        last = len(self.items)
        if self.was_asked:
            asked = (i for i, item in enumerate(self.items) if _is_question(item))
            last = max(asked, default=last)
        return self.items[:last]


class Rerun:
    """Lives through a recording once; `steps` is the whole interface, the rest its findings."""

    def __init__(self, events: Sequence[Recorded]) -> None:
        self.unknown: list[tuple[int, Unknown]] = []
        """What could not be read, and where."""
        self.ledger = Ledger()
        self.exit: ExitCode | None = None
        """The code with which this program would have ended before the recording did."""
        self._events = events
        self._sessions = _sessions(events)
        first = next(iter(self._sessions.values()), _Session())
        self._machine = _machine(first)
        self._has_said = False
        """Audio was committed since the last request for a reply."""
        self._model = first.model
        self._first_item = first.items[:1]
        self._items: list[Item] = []
        """Sent since the last request for a reply."""
        self._requested = 0
        """Replies that were asked for and have not begun."""
        self._line = 0
        self._now = 0.0
        self._updates: list[Update] = []
        self._connecting = self._open = self._due = self._was_asked = False

    @property
    def has_session(self) -> bool:
        """Whether any connection got as far as a session."""
        return bool(self._sessions)

    def steps(self) -> Iterator[Step]:
        """Live through it; a reply that the recording does not end is ended after it."""
        self._post(Started())
        for event in self._events:
            self._line = event.line
            self._now = self._now if event.time is None else event.time
            self._take(event)
            yield self._step(event.time)
        if self._due:
            words = "the recording ends before the reply does"
            self._post(ConnectionLost(Problem(ExitCode.LINK, words), Retry.NEVER))
        self.ledger.close()
        yield self._step(None)

    def _step(self, time: float | None) -> Step:
        updates, self._updates = tuple(self._updates), []
        return Step(self._line, time, updates)

    def _take(self, event: Recorded) -> None:
        match event.direction:
            case "lost":
                self._lose(str(event.data))
            case "sent":
                self._sent(event)
            case _:
                for decoded in _decoded(event):
                    self._received(decoded)

    def _post(self, event: Event) -> None:
        for effect in self._machine.handle(event, self._now):
            match effect:
                case Connect():
                    self._connecting = True
                case Send(event_id, command):
                    if not _is_made_up(command):
                        data = wire.encode(command, event_id)
                        self.ledger.would_send(self._line, data)
                case Show(update):
                    self._updates.append(update)
                    if isinstance(update, QuestionAsked | ReplyOver):
                        self._due = isinstance(update, QuestionAsked)
                case Stop(code) if code is not ExitCode.OK:
                    self.exit = code
                case _:
                    pass
        self.ledger.settle()

    # ------------------------------------------------------------------------------- what came

    def _received(self, event: ServerEvent) -> None:
        match event:
            case Unknown():
                self.unknown.append((self._line, event))
            case SessionCreated():
                self._arrive(self._sessions[self._line])
            case ReplyStarted() if self._requested:
                self._requested -= 1
            case ReplyStarted() if not self._due:
                self._post(UserSaid(_SPOKEN))  # a voice was heard, or the server began by itself
                self.ledger.forget(self._line)
            case ServerProblem():
                event = replace(event, event_id=self.ledger.ids.get(event.event_id, ""))
            case _:
                pass
        self._post(event)

    def _arrive(self, session: _Session) -> None:
        """A session begins."""
        if not self._connecting:
            self._dial(session)
        if session.model:
            self._model = session.model
        self._first_item = session.items[:1] or self._first_item
        self._connecting, self._open = False, True
        self._items.clear()
        self._requested = 0
        self.ledger.close()
        self._post(ConnectionOpened())

    def _dial(self, session: _Session | None = None) -> None:
        """Have the program connect, for the likeliest reason."""
        reasons: list[LocalEvent] = []
        if session is not None and self._open:
            reasons = self._commands(session)
        lost = ConnectionLost(Problem(ExitCode.LINK, "connection lost"), Retry.ALWAYS)
        for event in (
            *reasons,
            TimerFired(Timer.RENEW),
            lost,
            TimerFired(Timer.RETRY),
            Started(),
        ):
            if self._connecting or self.exit is not None:
                return
            self._post(event)

    def _commands(self, session: _Session) -> list[LocalEvent]:
        """What the user may have typed that needs a new session: /model, /new or /resume."""
        if session.model not in ("", self._model):
            return [ModelSet(session.model)]
        if self._due or not session.was_asked or session.items[:1] == self._first_item:
            return []
        past = _kept(session.past)
        return [ConversationLoaded(past) if past else NewConversationAsked()]

    def _lose(self, words: str) -> None:
        """A connection is over, or there is none to be had."""
        if not self._open and not self._connecting:
            self._dial()
        is_last = self._line == self._events[-1].line
        self._connecting = self._open = False
        retry = Retry.NEVER if is_last else Retry.ALWAYS
        self._post(ConnectionLost(Problem(ExitCode.LINK, words), retry))

    # ------------------------------------------------------------------------------- what was sent

    def _sent(self, event: Recorded) -> None:  # noqa: C901 - one arm a command
        if isinstance(event.data, str):
            return
        command = read_sent(event.data)
        self._requested += isinstance(command, CreateResponse)
        if self.ledger.expects(event.line, event.data):
            return
        match command:
            case CreateResponse():
                self._request()
            case Cancel():
                self._post(CancelPressed())
            case Configure(Options(instructions=str(instructions))) if self._open:
                self._post(SystemSet(instructions))
            case Configure():
                pass  # it may come before the session does
            case AddItem(item):
                self._items.append(item)
            case AppendAudio():
                self.ledger.allow(event.line)
            case CommitAudio() if isinstance(self._machine, Transcription):
                self._post(InputEnded())
            case CommitAudio():
                self._has_said = True
            case Truncate(item_id, index, played_ms):
                self._post(PlaybackCut(item_id, index, played_ms))
            case _:
                self.ledger.refuse(event.line)

    def _request(self) -> None:
        """A reply was asked for that this program has not asked for of itself."""
        items, self._items = self._items, []
        has_said, self._has_said = self._has_said, False
        question = next((_words(item) for item in reversed(items) if _is_question(item)), None)
        if has_said:
            self._was_asked = True
            self._post(AudioSaid(b"", question or ""))
            return
        if question is None and any(isinstance(item, ToolOutput) for item in items):
            question = _TOOL_OUTPUT
        if question is None:
            self._post(TimerFired(Timer.LIMIT))
            if self.ledger.awaits(self._line) and self._was_asked and not self._due:
                self._post(RetryAsked())
            if not self.ledger.awaits(self._line):
                return
        self._was_asked = True
        self._post(UserSaid(question or _SPOKEN))


def _machine(session: _Session) -> Machine:
    """Who lives through it: a conversation, spoken perhaps, or a transcription."""
    model, options = session.model or "unknown", session.options or Options(modality="text")
    has_turns, replies, interrupts = turn_ends(options.other)
    if session.transcribes:
        options = replace(options, other={"type": "transcription", **options.other})
        return Transcription(model, options, has_turns=has_turns)
    speech = SpeechOptions(
        speaks=options.modality == "audio",
        has_microphone=session.is_spoken_to and has_turns,
        push_to_talk=not has_turns,
        replies=replies,
        interrupts=interrupts,
        transcribes=session.is_spoken_to and transcribes(options.other),
    )
    others = ToolPolicy(elsewhere=True)
    past = _kept(session.past)
    return Conversation(model, options, past=past, speech=speech, tool_policy=others)


def _decoded(event: Recorded) -> list[ServerEvent]:
    if not isinstance(event.data, str):
        return wire.decode(event.data)
    data = wire.read_frame(event.data)
    return [data] if isinstance(data, Unknown) else wire.decode(data)


# ----------------------------------------------------------------------------------- looking ahead


def _sessions(events: Sequence[Recorded]) -> dict[int, _Session]:
    """The sessions of a recording, by the line at which each begins."""
    found: dict[int, _Session] = {}
    session = _Session()
    for event in events:
        if event.direction == "sent":
            session.note(None if isinstance(event.data, str) else read_sent(event.data))
        elif event.direction == "received":
            for decoded in _decoded(event):
                if isinstance(decoded, SessionCreated):
                    session = _Session() if found else session  # some send before it begins
                    session.model = decoded.model
                    session.transcribes = is_transcription(decoded.fields)
                    found[event.line] = session
    return found


def _is_question(item: Item) -> bool:
    return isinstance(item, Message) and item.role == "user"


def _words(item: Item) -> str:
    """A question as a line to be shown."""
    assert isinstance(item, Message)
    kinds = " and ".join(dict.fromkeys(part.kind for part in item.parts if part.kind != "text"))
    return item.text or f"({kinds or 'nothing'})"


def _is_made_up(command: Command) -> bool:
    match command:
        case AddItem(Message(role="user") as item):
            return item.text in (_SPOKEN, _TOOL_OUTPUT)
        case _:
            return False


def _kept(items: Sequence[Item]) -> StoredConversation | None:
    """Items as a conversation that was kept."""
    entries: list[Entry] = []
    turn, index = 0, 0
    for item in items:
        turn, index = (turn + 1, 0) if _is_question(item) or not turn else (turn, index + 1)
        entries.append(Entry(turn, index, item, State.COMPLETED))
    title = next((_words(item) for item in items if _is_question(item)), "")
    return StoredConversation(0, title, 0.0, 0.0, "", turn, tuple(entries)) if entries else None
