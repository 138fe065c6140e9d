"""Random sequences of events: no question is lost or answered twice.

`World` simulates the user, the session and the server. The server sends nothing without a
connection.
"""

from __future__ import annotations

import os
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace

from rtchat.core import notices, server_errors, turn_tree
from rtchat.core.context import ContextLimits
from rtchat.core.conversation import Conversation
from rtchat.core.effects import (
    AddItem,
    Cancel,
    ClearTimer,
    Command,
    Configure,
    Connect,
    CreateResponse,
    Delete,
    Disconnect,
    Draft,
    Effect,
    Export,
    Fork,
    LoadConversation,
    MicrophoneStatus,
    MoveTo,
    NameConversation,
    Notice,
    Play,
    QuestionAsked,
    QuestionDropped,
    Queued,
    Raw,
    Record,
    RecordTrace,
    ReplyOver,
    ReportStatus,
    RunTool,
    SaveReply,
    Send,
    SetTimer,
    Show,
    ShowEvents,
    StartRecord,
    Stop,
    StopPlaying,
    StopTools,
    ToolAsked,
    Update,
    UseFormats,
    UseMicrophone,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    Attached,
    AudioCaptured,
    AudioCommitted,
    CancelPressed,
    ChannelDone,
    CompactAsked,
    ConnectionLost,
    ConnectionOpened,
    ConversationLoaded,
    Delta,
    DetachAsked,
    DraftAbandoned,
    EditAsked,
    EntryAbandoned,
    Event,
    ExportAsked,
    ForkAsked,
    InputEnded,
    ItemAdded,
    ItemDeleted,
    LeaveAsked,
    LocalNotice,
    MicrophoneFound,
    MicrophoneLost,
    MicrophoneOpened,
    MicrophoneToggled,
    ModelSet,
    NewConversationAsked,
    OutputAdded,
    PlaybackAdvanced,
    PlaybackCut,
    PlaybackEnded,
    QueuedTakenBack,
    RawSaid,
    ReplyEnded,
    ReplyStarted,
    ResumeAsked,
    Retry,
    RetryAsked,
    ServerProblem,
    SessionCreated,
    SessionUpdated,
    SpeakerLost,
    SpeechStarted,
    SpeechStopped,
    Started,
    SystemSet,
    Timer,
    TimerFired,
    ToolAnswered,
    ToolFinished,
    UndoAsked,
    Unknown,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.server_errors import ACTIVE_RESPONSE
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.tool_calls import STOPPED, ToolPolicy
from rtchat.core.values import (
    Channel,
    Entry,
    Item,
    Message,
    Options,
    Part,
    State,
    Status,
    StoredConversation,
    ToolCall,
    ToolOutput,
    TurnLimits,
)
from tests.chunks import in_chunks

GONE = Problem(ExitCode.LINK, "connection lost")


NOTHING_TO_ASK = (
    notices.NOTHING_TO_REPEAT,
    notices.TRANSCRIPT_UNKNOWN,
    notices.REPLY_PENDING,
)


class World:
    """Simulates what surrounds a conversation, and asserts what must always be true."""

    def __init__(self, mode: Mode, rng: random.Random, *, is_spoken: bool = False) -> None:
        self.rng = rng
        self.is_spoken = is_spoken
        self.is_configured = False
        self.playing = ""
        """The item that is playing."""
        self.is_muted = True
        self.uses_microphone = False
        """Whether the device of the microphone is to be open."""
        self.echoes = 0
        """How often an echo muted the microphone."""
        self.speaking = ""
        """The item that the user is speaking."""
        self.turns = 0
        self.late: ReplyEnded | None = None
        self.asks_for_summary = False
        """Whether the last turn asks for a summary."""
        self.called: ReplyEnded | None = None
        """The last response of this connection with calls."""
        self.speech = SpeechOptions(
            speaks=True,
            has_microphone=is_spoken,
            push_to_talk=False,
            replies=rng.random() < 0.8,
            interrupts=rng.random() < 0.8,
        )
        self.awaiting_transcript: list[str] = []
        """Spoken items without a transcript so far."""
        limits = TurnLimits(3, calls=rng.choice((3, 100)))
        tool_policy = ToolPolicy(["f", "g"], ["g"], can_ask=mode is Mode.CHAT, limits=limits)
        self.conversation = Conversation(
            "m",
            Options(modality="text"),
            mode=mode,
            tool_policy=tool_policy,
            speech=self.speech,
            context=ContextLimits(rng.choice((None, 200))),
        )
        self.mode = mode
        self.marks = rng.random() < 0.5
        """Whether the server echoes the mark of a request."""
        self.confirms = rng.random() < 0.5
        """Whether the server confirms items."""
        self.deletes = rng.random() < 0.7
        """Whether the server deletes items, rather than to ignore the command."""
        self.server_items: dict[str, str] = {}
        """The texts of the items of this connection, by id."""
        self.reply_item = ""
        """The item of the response in progress, once it is announced."""
        self.has_greeted = False
        """Whether the server began a response by itself."""
        self.has_died = False
        """Whether an error came instead of the end of a response on this connection."""
        self.connection = "none"
        self.timers: set[Timer] = set()
        self.to_server: deque[tuple[str, Command]] = deque()
        self.active = ""
        """The response in progress."""
        self.past = ""
        """The previous response, whose events may come late."""
        self.replies = 0
        self.made = 0
        """How many items the server has had."""
        self.said = self.questions = 0
        self.asked: list[str] = []
        self.unasked: list[str] = []
        """Questions that were dropped or taken back."""
        self.queued: tuple[str, ...] = ()
        self.typed: list[str] = []
        self.over = 0
        self.retries = 0
        self.running: list[str] = []
        """The running tools."""
        self.asking = False
        self.calls = 0
        self.files: set[str] = set()
        """Items of this connection with attachments to the next question."""
        self.unanswered: set[str] = set()
        """Calls of this connection without an output."""
        self.kept: list[dict[tuple[int, int], Entry]] = [{}]
        """The saved conversations; the last one is current."""
        self.heads = [0]
        """The last turns of their current branches."""
        self.stopped: ExitCode | None = None
        self.heard: list[Record] = []
        """What was heard of replies and is not saved yet."""
        self.cancelled: set[str] = set()
        """The ids of requests for responses that were cancelled before the server handled them."""
        self.post(Started())

    def post(self, event: Event) -> list[Effect]:
        if isinstance(event, CancelPressed):
            requests = (id for id, sent in self.to_server if isinstance(sent, CreateResponse))
            self.cancelled.update(requests)
        effects = self.conversation.handle(event)
        assert not (effects and self.stopped is not None), "effects after the end"
        for effect in effects:
            if isinstance(event, PlaybackCut) and isinstance(effect, Record):
                # It is saved after the entries that it changes, as in a session.
                self.heard.append(effect)
            else:
                self.perform(effect)
        while self.heard and not isinstance(event, PlaybackCut):
            self.perform(self.heard.pop(0))
        shown = [effect.update for effect in effects if isinstance(effect, Show)]
        notices = [update.text for update in shown if isinstance(update, Notice)]
        if server_errors.echo().message in notices:
            self.echoes += 1
            assert self.is_muted, "the microphone is on after an echo"
        return effects

    def perform(self, effect: Effect) -> None:  # noqa: C901 - one case per effect
        match effect:
            case Connect():
                self.reset_connection("connecting")
            case Disconnect():
                self.reset_connection("none")
            case Send(event_id, command):
                self.handle_command(event_id, command)
            case UseFormats():
                raise AssertionError("the server reports no formats")
            case SetTimer(timer):
                self.timers.add(timer)
            case ClearTimer(timer):
                self.timers.discard(timer)
            case Show(update):
                self.handle_update(update)
            case StartRecord() | Record() | MoveTo() | Fork():
                self.handle_record(effect)
            case LoadConversation():
                self.load()
            case NameConversation(name):
                self.post(LocalNotice(name))
            case RunTool(call):
                self.running.append(call.call_id)
            case StopTools():
                self.running.clear()
                self.asking = False
            case UseMicrophone(is_used):
                assert self.speech.has_microphone, "there is no microphone to use"
                assert is_used != self.uses_microphone, "the microphone is used twice"
                self.uses_microphone = is_used
            case Play(item_id):
                self.playing = item_id
            case StopPlaying():
                item_id, self.playing = self.playing, ""
                if item_id:
                    self.post(PlaybackCut(item_id, 0, self.rng.choice((0, 400, 2000))))
            case Export(conversation):
                same = conversation.entries == self.branch()
                assert same, "what is exported is not the current branch of what is saved"
            case ShowEvents() | ReportStatus() | SaveReply() | RecordTrace():
                pass
            case Stop(code):
                self.stopped = code

    def handle_command(self, event_id: str, command: Command) -> None:
        assert self.connection == "open", (
            f"{command} was sent on a connection that is {self.connection}"
        )
        match command:
            case AddItem(Message(id=id)) if id.startswith("files_"):
                self.files.add(id)
            case Delete(id) if id.startswith("files_"):
                self.files.remove(id)
            case Delete(id):
                assert id in self.server_items, f"{id} is not an item of this session"
            case AddItem(item):
                said = {heard(kept) for kept in self.items() if isinstance(kept, Message)}
                in_session = isinstance(item, Message) and (
                    item.text in said or self.is_summary(item)
                )
                kept = in_session or item in self.items() or getattr(item, "output", "") == STOPPED
                assert kept, f"{command} was sent before it was recorded"
                if isinstance(item, ToolCall):
                    self.unanswered.add(item.call_id)
                elif isinstance(item, ToolOutput):
                    assert item.call_id in self.unanswered, "a call has two outputs"
                    self.unanswered.remove(item.call_id)
            case CreateResponse():
                assert not self.unanswered, "a response was requested before all calls had outputs"
            case _:
                pass
        self.to_server.append((event_id, command))

    def is_summary(self, item: Message) -> bool:
        """Whether a message is a recorded summary, or the request for one."""
        if item.role != "system":
            return item.text.startswith("Summarize our conversation") and self.asks_for_summary
        kept = (each for each in self.items() if isinstance(each, Message))
        return any(item.text.endswith(each.text) for each in kept if each.role == "system")

    def handle_update(self, update: Update) -> None:
        match update:
            case ToolAsked():
                self.asking = True
            case QuestionAsked(text, spoken=spoken):
                self.asks_for_summary = text == "/compact"
                if text and not spoken and not self.asks_for_summary:  # otherwise from /raw
                    self.asked.append(text)
            case QuestionDropped(text) | Draft(text):
                self.unasked.append(text)
            case Queued(texts):
                self.queued = texts
            case MicrophoneStatus(is_on, is_opening=is_opening):
                self.is_muted = not (is_on or is_opening)
                if is_on or is_opening:
                    assert self.uses_microphone, "the microphone is on, but not used"
                    assert Timer.MICROPHONE not in self.timers, "an open microphone is closed"
            case ReplyOver(text=text):
                self.over += 1
                said = [item.text for item in self.items() if isinstance(item, Message)]
                is_recorded = set(text.split("\n\n")) <= {"", *said}
                assert is_recorded or self.asks_for_summary, "a reply was not recorded"
            case _:
                pass

    def handle_record(self, effect: StartRecord | Record | MoveTo | Fork) -> None:
        match effect:
            case StartRecord():
                self.kept.append({})
                self.heads.append(0)
            case Record(entry):
                is_new = entry.turn > self.newest()
                self.kept[-1][entry.turn, entry.index] = entry
                is_asked = entry.state is State.ASKED and entry.index == 0
                if is_new or (is_asked and entry not in self.branch()):
                    self.heads[-1] = entry.turn
            case MoveTo(turn):
                self.heads[-1] = turn
            case Fork(turn):
                self.heads[-1], head = turn, self.heads[-1]
                branch = {(entry.turn, entry.index): entry for entry in self.branch()}
                self.heads[-1] = head
                self.kept.append(branch)
                self.heads.append(turn)

    def load(self) -> None:
        """The first saved conversation is resumed."""
        self.kept.append(self.kept.pop(0))
        self.heads.append(self.heads.pop(0))
        head, newest = self.heads[-1], self.newest()
        stored = StoredConversation(1, "", 0.0, 0.0, "m", 0, self.branch())
        self.post(ConversationLoaded(replace(stored, head=head, newest=newest)))

    def newest(self) -> int:
        """The highest turn number of the current conversation."""
        return max((turn for turn, _ in self.kept[-1]), default=0)

    def branch(self) -> tuple[Entry, ...]:
        """The entries of the current branch."""
        entries = tuple(self.kept[-1][key] for key in sorted(self.kept[-1]))
        stored = StoredConversation(1, "", 0.0, 0.0, "m", 0, entries, head=self.heads[-1])
        return turn_tree.current(stored).entries

    def check_context(self) -> None:
        """A response is requested: the session has no question of another branch."""
        states = [entry.state for entry in self.kept[-1].values()]
        deletes = any(isinstance(command, Delete) for _, command in self.to_server)
        if State.QUEUED in states or deletes or not self.waiting:
            return  # a queued question gets its place later, and an earlier request came late
        known = Counter(item.text for item in self.server_texts())
        ours = [entry.item for entry in self.branch() if entry.index == 0 and entry.turn]
        said = Counter(item.text for item in ours if isinstance(item, Message))
        assert known <= said, f"the session has questions of another branch: {known - said}"

    def server_texts(self) -> list[Message]:
        texts = (text for text in self.server_items.values() if text.startswith("question "))
        return [Message("user", (Part("text", text),)) for text in texts]

    def add_item(self, item: Item) -> Item:
        """The server has another item, which it names."""
        self.made += 1
        named = replace(item, id=getattr(item, "id", "") or f"item_{self.made}")
        assert isinstance(named, Message | ToolCall | ToolOutput)
        self.server_items[named.id] = named.text if isinstance(named, Message) else ""
        return named

    def items(self) -> list[Item]:
        return [entry.item for entry in self.kept[-1].values()]

    def handle_next_command(self, refuse: bool) -> None:  # noqa: C901 - one case per command
        """The server handles the next event that it was sent."""
        if self.connection != "open" or not self.to_server:
            return
        event_id, command = self.to_server.popleft()
        if refuse and not isinstance(command, Cancel):
            self.post(ServerProblem("No.", code="invalid_value", event_id=event_id))
            return
        match command:
            case Configure():
                self.is_configured = self.is_spoken
                self.post(SessionUpdated("s", "m"))
            case AddItem(item):
                named = self.add_item(item)
                if self.confirms:
                    self.post(ItemAdded(named))
            case Delete(item_id) if self.deletes:
                self.server_items.pop(item_id, None)
                self.post(ItemDeleted(item_id))
            case CreateResponse() | Raw({"type": "response.create"}) if self.active and (
                self.is_spoken or self.has_greeted
            ):
                self.post(ServerProblem("Busy.", code=ACTIVE_RESPONSE, event_id=event_id))
            case CreateResponse():
                assert not self.active, "a response was requested during another"
                if event_id not in self.cancelled:  # the client discards the reply to those
                    self.check_context()
                self.begin_response(event_id if self.marks else "")
            case Raw({"type": "response.create"}) if not self.active:
                self.begin_response()
            case Raw({"type": "x"}) if not (self.active or self.to_server or self.waiting):
                self.begin_response()
            case Cancel(response_id):
                if self.active and response_id in ("", self.active):
                    self.end_response(Status.CANCELLED)
                else:
                    code = "response_cancel_not_active"
                    self.post(ServerProblem("None.", code=code, event_id=event_id))
            case _:
                pass

    def begin_response(self, mark: str = "") -> None:
        """A response begins; an unrequested one is a turn after /raw."""
        self.replies += 1
        self.active, self.reply_item = f"r{self.replies}", ""
        effects = self.post(ReplyStarted(self.active, mark=mark))
        self.said += any(Show(QuestionAsked("", model)) in effects for model in ("m", "m2"))

    def greet(self) -> None:
        """The server begins a response by itself."""
        if self.connection == "open" and not self.active:
            self.has_greeted = True
            self.begin_response()

    def die(self) -> None:
        """The server reports an error instead of the end of the response."""
        if self.active:
            self.active, self.has_died = "", True
            self.post(ServerProblem("Out of memory."))

    @property
    def waiting(self) -> int:
        """The number of turns that have not ended."""
        return self.said + self.retries - self.over

    def end_response(self, status: Status, message: str = "", code: str = "") -> None:
        if self.active:
            reply, self.active = self.active, ""
            self.past = reply
            self.post(ReplyEnded(reply, status, code=code, message=message))

    def call_tools(self) -> None:
        """The response ends, with only calls in it."""
        if self.active:
            reply, self.active = self.active, ""
            self.past = reply
            made = []
            for name in self.rng.choice((["f"], ["g"], ["f", "g"], ["f", "f", "h"])):
                self.calls += 1
                made.append(ToolCall(name, f"c{self.calls}", "{}"))
            self.unanswered |= {call.call_id for call in made}
            self.called = ReplyEnded(reply, Status.COMPLETED, items=tuple(made))
            self.post(self.called)

    def repeat_calls(self) -> None:
        """The server repeats the end of a response with calls."""
        if self.called is not None:
            self.post(self.called)

    def answer_approval(self) -> None:
        self.asking = False
        self.post(ToolAnswered(self.rng.choice(("yes", "no", "always"))))

    def finish_tool(self) -> None:
        if self.running:
            call = self.running.pop(self.rng.randrange(len(self.running)))
            self.post(ToolFinished(call, "7"))

    def send_deltas(self) -> None:
        if self.active:
            if self.confirms and self.reply_item not in self.server_items:
                item = self.add_item(Message("assistant", ()))
                self.reply_item = getattr(item, "id", "")
                self.post(OutputAdded(self.active, 0, item))
            if not self.active:
                return
            item_id = self.reply_item or "i"
            self.post(Delta(Channel.TEXT, "word ", self.active, item_id))
            if self.is_spoken:
                self.post(Delta(Channel.AUDIO, "AAAA", self.active, item_id))

    def send_late_delta(self) -> None:
        if self.past:
            self.post(Delta(Channel.TEXT, "late ", self.past, "i"))

    def open_connection(self) -> None:
        if self.connection == "connecting":
            self.connection = "open"
            self.post(ConnectionOpened())
            self.post(SessionCreated("s", "m", seconds_left=3600.0))

    def lose_connection(self, retry: Retry) -> None:
        if self.connection != "none":
            self.reset_connection("none")
            self.post(ConnectionLost(GONE, retry))

    def reset_connection(self, connection: str) -> None:
        """The state of the connection is lost."""
        self.connection, self.active, self.past = connection, "", ""
        self.is_configured = self.has_died = False
        self.server_items.clear()
        self.speaking, self.late, self.called = "", None, None
        self.awaiting_transcript.clear()
        self.files.clear()
        self.unanswered.clear()
        self.to_server.clear()

    def start_speech(self) -> None:
        """The server detects speech, which may interrupt the response."""
        if not self.is_configured or self.speaking:
            return
        self.turns += 1
        self.speaking = f"u{self.turns}"
        interrupted = self.active if self.speech.interrupts else ""
        self.post(SpeechStarted(self.speaking, 0))
        if interrupted:
            self.active = ""
            self.late = ReplyEnded(interrupted, Status.CANCELLED, "turn_detected")
            if self.rng.random() < 0.7:
                self.send_late_end()

    def end_speech(self) -> None:
        """The turn ends; the server responds to it unless another response is in progress."""
        if not self.speaking:
            return
        item, self.speaking = self.speaking, ""
        self.post(SpeechStopped(item, 100))
        self.awaiting_transcript.append(item)
        self.server_items[item] = ""
        self.said += 1
        self.files.clear()
        self.post(AudioCommitted(item))
        if self.connection != "open":
            return
        if self.speech.replies and self.active:
            self.post(ServerProblem("Busy.", code=ACTIVE_RESPONSE))
        elif self.speech.replies:
            self.begin_response()
        self.send_late_end()

    def send_late_end(self) -> None:
        """The end of an interrupted response may come after the next has begun."""
        if self.late is not None:
            late, self.late = self.late, None
            self.post(late)

    def send_transcript(self) -> None:
        if self.awaiting_transcript:
            item = self.awaiting_transcript.pop(self.rng.randrange(len(self.awaiting_transcript)))
            words = self.rng.choice((f"words of {item}", ""))
            self.post(ChannelDone(Channel.INPUT_TRANSCRIPT, words, item_id=item))

    def play_on(self) -> None:
        """Playback advances, or ends."""
        if self.playing and self.rng.random() < 0.7:
            self.post(PlaybackAdvanced(self.playing, 0, self.rng.choice((200, 600))))
        elif self.playing:
            self.playing = ""
            self.post(PlaybackEnded())

    def lose_speaker(self) -> None:
        """The speaker is lost, perhaps while it plays."""
        cut = PlaybackCut(self.playing, 0, self.rng.choice((0, 400, 2000)))
        lost = Problem(ExitCode.OUTPUT, "it is gone")
        self.post(SpeakerLost(lost, cut if self.playing else None))
        self.playing = ""

    def echo_reply(self) -> None:
        """The server takes an echo of its own reply for a turn."""
        self.open_connection()
        self.handle_next_command(refuse=False)
        self.start_speech()
        self.end_speech()
        self.send_deltas()
        self.send_transcript()
        self.end_response(Status.COMPLETED)
        self.start_speech()

    def toggle_microphone(self) -> None:
        self.post(AudioCaptured(bytes(96)))
        self.post(MicrophoneToggled())

    def change_device(self) -> None:
        """The device of the microphone is opened or lost, or is there again."""
        lost = MicrophoneLost(Problem(ExitCode.USAGE, "it is gone"))
        change = self.rng.choice((MicrophoneOpened("x"), lost))
        self.post(change if self.uses_microphone else MicrophoneFound())
        if change is lost:
            self.post(MicrophoneFound())

    def ask(self) -> None:
        self.questions += 1
        self.said += 1
        files, self.files = self.files, set()
        text = f"question {self.questions} {'in many words ' * 20}"
        self.typed.append(text)
        if notices.REPLY_PENDING in self.post(UserSaid(text)):
            self.said -= 1  # an edited question, which was given back
            self.files = files

    def take_back(self) -> None:
        """The user takes the last waiting question back."""
        if self.mode is not Mode.CHAT:
            return
        expected = self.queued[-1:]
        before = len(self.unasked)
        self.post(QueuedTakenBack())
        assert tuple(self.unasked[before:]) == expected
        self.over += len(expected)

    def change(self, event: UndoAsked | EditAsked | ForkAsked) -> None:
        """The user changes earlier turns; a question that is given back was asked."""
        before = len(self.unasked)
        self.post(event)
        del self.unasked[before:]

    def attach(self) -> None:
        self.post(Attached("picture", Part("image", data="data:image/png;base64,AA==")))

    def detach(self) -> None:
        self.post(self.rng.choice((EntryAbandoned(), DetachAsked(), DetachAsked(1))))
        self.post(EntryAbandoned())
        assert not self.files, "the server still has a detached attachment"

    def fire_timer(self) -> None:
        if self.timers:
            timer = min(self.timers)
            self.timers.discard(timer)
            self.post(TimerFired(timer))

    def check(self) -> None:
        if self.stopped is not None:
            return
        is_exported = any(isinstance(effect, Export) for effect in self.post(ExportAsked()))
        assert is_exported == any(entry.turn for entry in self.branch())
        waiting = self.waiting
        assert waiting >= 0, "a question ended twice"
        if not self.retries:
            order = [int(text.split()[1]) for text in self.asked]
            assert order == sorted(set(order)), "questions were asked twice or out of order"
        if not self.retries and self.mode is Mode.CHAT:
            typed = [
                text for text in (*self.asked, *self.unasked, *self.queued) if text != "/compact"
            ]
            assert sorted(typed) == sorted(self.typed), "a question was lost"
        timers = self.timers - {Timer.SAVE, Timer.RENEW}
        busy = self.to_server or self.active or self.running or self.asking
        if waiting and self.connection == "open" and not busy:
            assert timers, "a question waits without a timer"
        if waiting and self.connection == "none":
            assert timers, "a question waits without a connection or timer"
        if not waiting:
            states = [entry.state for entry in self.kept[-1].values()]
            assert not {State.QUEUED, State.ASKED, State.STREAMING} & set(states)

    def leave(self) -> None:
        """The user leaves."""
        if Timer.OWNER in self.timers and self.stopped is None:  # the reply may be over
            self.post(TimerFired(Timer.OWNER))
        if self.stopped is None:
            self.post(LeaveAsked())
            assert self.stopped is ExitCode.OK

    def settle(self) -> None:
        """With a cooperative server, every turn ends."""
        for _ in range(20 * (self.said + 5)):
            for timer in (Timer.OWNER, Timer.TRANSCRIPT, Timer.DELETE):
                if self.stopped is None and timer in self.timers:
                    self.timers.discard(timer)
                    self.post(TimerFired(timer))
            if self.stopped is not None or not self.waiting:
                return
            self.open_connection()
            self.handle_next_command(refuse=False)
            self.end_speech()
            self.send_deltas()
            self.end_response(Status.COMPLETED)
            self.answer_approval()
            self.finish_tool()
            late = {Timer.OVERDUE} | ({Timer.STALL} if self.has_died else set())
            if late & self.timers and not (self.active or self.to_server):
                timer = min(late & self.timers)
                self.timers.discard(timer)
                self.post(TimerFired(timer))
            if Timer.RETRY in self.timers or Timer.LIMIT in self.timers:
                self.fire_timer()
        raise AssertionError(f"{self.waiting} questions never ended")

    def retry(self) -> None:
        retry = RetryAsked(self.rng.choice(("", "", "m2")), self.rng.choice(("", "Sing.")))
        self.retries += not any(effect in NOTHING_TO_ASK for effect in self.post(retry))

    def compact(self) -> bool:
        """Ask for a summary; returns whether that is possible."""
        refused = (notices.CANNOT_COMPACT, notices.NOTHING_TO_COMPACT)
        self.said += 1
        is_refused = any(effect in refused for effect in self.post(CompactAsked()))
        self.said -= is_refused
        return not is_refused

    def summarize(self) -> None:
        """A summary becomes complete."""
        if not self.compact():
            return
        self.open_connection()
        while self.to_server and not self.active:
            self.handle_next_command(refuse=False)
        self.send_deltas()
        self.end_response(Status.COMPLETED)

    def ask_raw(self) -> None:
        self.said += 1
        effects = self.post(RawSaid({"type": "response.create"}, asks=True))
        self.said -= notices.NO_SESSION in effects


ACTIONS: dict[str, Callable[[World], object]] = {
    "say": World.ask,
    "cancel": lambda world: world.post(CancelPressed()),
    "open": World.open_connection,
    "read": lambda world: world.handle_next_command(refuse=False),
    "refuse": lambda world: world.handle_next_command(refuse=True),
    "speak": World.send_deltas,
    "complete": lambda world: world.end_response(Status.COMPLETED),
    "incomplete": lambda world: world.end_response(Status.INCOMPLETE),
    "fail": lambda world: world.end_response(Status.FAILED, "Oh no.", "server_error"),
    "limit": lambda world: world.end_response(
        Status.FAILED, "try again in 2s", "rate_limit_exceeded"
    ),
    "call": World.call_tools,
    "call again": World.repeat_calls,
    "answer": World.answer_approval,
    "tool": World.finish_tool,
    "lose": lambda world: world.lose_connection(Retry.ALWAYS),
    "refused": lambda world: world.lose_connection(Retry.NEVER),
    "timer": World.fire_timer,
    "model": lambda world: world.post(ModelSet("m2")),
    "new": lambda world: world.post(NewConversationAsked()),
    "resume": lambda world: world.post(ResumeAsked()),
    "retry": World.retry,
    "undo": lambda world: world.change(UndoAsked(world.rng.choice((1, 1, 2)))),
    "edit": lambda world: world.change(EditAsked(world.rng.choice((None, 1, 2)))),
    "fork": lambda world: world.change(ForkAsked(world.rng.choice((None, 1, 2)))),
    "clear": lambda world: world.post(DraftAbandoned()),
    "compact": World.compact,
    "summary": World.summarize,
    "system": lambda world: world.post(SystemSet("Sing.")),
    "error": lambda world: world.post(ServerProblem("Odd.")),
    "unknown": lambda world: world.post(Unknown("x", "new")),
    "stray": World.send_late_delta,
    "raw reply": World.ask_raw,
    "raw": lambda world: world.post(RawSaid({"type": "x"})),
    "aloud": World.start_speech,
    "hush": World.end_speech,
    "write": World.send_transcript,
    "echo": World.echo_reply,
    "play": World.play_on,
    "speaker": World.lose_speaker,
    "greet": World.greet,
    "die": World.die,
    "microphone": World.toggle_microphone,
    "device": World.change_device,
    "attach": World.attach,
    "detach": World.detach,
    "take_back": World.take_back,
}
CHAT_ONLY = {"raw reply", "raw", "model", "new", "resume", "retry", "system"} | {
    *("undo", "edit", "fork", "clear", "compact", "summary"),
}
SPOKEN_ONLY = {"aloud", "hush", "write", "echo", "play", "speaker", "microphone", "device"}


WEIGHTS = {
    "open": 8,
    "read": 14,
    "speak": 5,
    "say": 6,
    "complete": 5,
    "summary": 4,
    "call": 2,
    "answer": 3,
    "tool": 3,
    "timer": 5,
    "lose": 2,
    "aloud": 4,
    "hush": 6,
    "write": 3,
    "echo": 5,
}
"""How frequent an action is (1 by default), so that most sequences make progress."""
CHUNKS, HISTORIES = 12, 4_000


def run_history(seed: int) -> None:
    rng = random.Random(seed)
    mode = rng.choice(list(Mode))
    is_spoken = mode is not Mode.ONCE and rng.random() < 0.5
    excluded = set() if mode is Mode.CHAT else CHAT_ONLY
    excluded |= set() if is_spoken else SPOKEN_ONLY
    names = [name for name in ACTIONS if name not in excluded]
    weights = [WEIGHTS.get(name, 1) for name in names]
    world = World(mode, rng, is_spoken=is_spoken)
    for action in rng.choices(names, weights, k=rng.randrange(60)):
        if world.stopped is None:
            ACTIONS[action](world)
            world.check()
    last = rng.choice(["", "end", "leave"])
    if last == "end" and world.stopped is None:
        world.post(InputEnded())
        if is_spoken and mode is Mode.LINES and world.stopped is None:
            world.post(MicrophoneLost(Problem(ExitCode.USAGE, "it is gone")))
    if last == "leave":
        world.leave()
    world.settle()
    for _ in range(10):  # audio of the lost microphone is still answered
        if last == "end" and world.stopped is None:
            world.open_connection()
            world.handle_next_command(refuse=False)
            if Timer.INPUT in world.timers:
                world.post(TimerFired(Timer.INPUT))
            elif Timer.RETRY in world.timers:
                world.fire_timer()
    assert last != "end" or world.stopped is not None


def heard(message: Message) -> str:
    """What a session may receive of a message: of an interrupted reply, only what was heard."""
    return message.text if message.heard is None else message.text[: message.heard].rstrip()


@in_chunks(CHUNKS)
def test_no_question_is_lost_or_asked_twice(chunk: int) -> None:
    first = int(os.environ.get("RTCHAT_TEST_SEED", "20261122")) + chunk * HISTORIES
    for seed in range(first, first + HISTORIES):
        try:
            run_history(seed)
        except AssertionError as error:
            raise AssertionError(f"history {seed}: {error}") from error
