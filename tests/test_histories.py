"""The machine under random histories: whatever happens in whatever order, no question is lost.

A small world stands for the session and the server: it says nothing on a connection that is not
there.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable

from rtchat.core.audio_state import SpeechOptions
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
    Effect,
    LoadConversation,
    MicrophoneStatus,
    Notice,
    Play,
    QuestionAsked,
    Raw,
    Record,
    ReplyOver,
    RunTool,
    Send,
    SetTimer,
    Show,
    StartRecord,
    Stop,
    StopPlaying,
    StopTools,
    ToolAsked,
    Update,
)
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.events import (
    Attached,
    AudioCaptured,
    AudioCommitted,
    CancelPressed,
    ChannelDone,
    ConnectionLost,
    ConnectionOpened,
    ConversationLoaded,
    Delta,
    DetachAsked,
    EntryAbandoned,
    Event,
    InputEnded,
    LeaveAsked,
    MicrophoneLost,
    MicrophoneToggled,
    ModelSet,
    NewConversationAsked,
    PlaybackCut,
    RawSaid,
    ReplyEnded,
    ReplyStarted,
    ResumeAsked,
    Retry,
    RetryAsked,
    ServerProblem,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Started,
    SystemSet,
    Timer,
    TimerFired,
    ToolAnswered,
    ToolFinished,
    Unknown,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.server_errors import BUSY
from rtchat.core.tool_calls import STOPPED, ToolPolicy
from rtchat.core.values import (
    Channel,
    Entry,
    Item,
    Limits,
    Message,
    Options,
    Part,
    State,
    Status,
    StoredConversation,
    ToolCall,
    ToolOutput,
)
from tests.chunks import in_chunks

GONE = Problem(ExitCode.LINK, "connection lost")


NOTHING_TO_ASK = (
    Notice("error", "there is no question to ask again"),
    Notice("error", "nobody knows what was said"),
)


class World:
    """What surrounds the machine, and what must always be true of the two."""

    def __init__(self, mode: Mode, rng: random.Random, *, is_spoken: bool = False) -> None:
        self.rng = rng
        self.is_spoken = is_spoken
        self.is_configured = False
        self.playing = ""
        """The item that is heard."""
        self.is_muted = False
        self.echoes = 0
        """How often the microphone heard the loudspeaker."""
        self.speaking = ""
        """The item that the user is speaking."""
        self.turns = 0
        self.late: ReplyEnded | None = None
        self.called: ReplyEnded | None = None
        """The last reply of this connection that was calls."""
        self.speech = SpeechOptions(
            speaks=True,
            has_microphone=is_spoken,
            push_to_talk=False,
            replies=rng.random() < 0.8,
            interrupts=rng.random() < 0.8,
        )
        self.awaiting_transcript: list[str] = []
        """What was said aloud and the server has not written down."""
        limits = Limits(3, calls=rng.choice((3, 100)))
        tool_policy = ToolPolicy(["f", "g"], ["g"], asks=mode is Mode.CHAT, limits=limits)
        self.conversation = Conversation(
            "m",
            Options(modality="text"),
            mode=mode,
            tool_policy=tool_policy,
            speech=self.speech,
        )
        self.mode = mode
        self.link = "none"
        self.timers: set[Timer] = set()
        self.to_server: deque[tuple[str, Command]] = deque()
        self.active = ""
        """The reply that the server is making."""
        self.past = ""
        """The reply before; some of it may come late."""
        self.replies = 0
        self.said = 0
        self.asked: list[str] = []
        self.over = 0
        self.retries = 0
        self.running: list[str] = []
        """The tools that run."""
        self.asking = False
        self.calls = 0
        self.files: set[str] = set()
        """The items of this connection that are files for a question to come."""
        self.unanswered: set[str] = set()
        """The calls that the server has no output of, on this connection."""
        self.kept: list[dict[tuple[int, int], Entry]] = [{}]
        """The store: its conversations, the last one current."""
        self.stopped: ExitCode | None = None
        self.tell(Started())

    def tell(self, event: Event) -> list[Effect]:
        effects = self.conversation.handle(event)
        assert not (effects and self.stopped is not None), "it stopped, then did something"
        for effect in effects:
            self.perform(effect)
        shown = [effect.update for effect in effects if isinstance(effect, Show)]
        notices = [update.text for update in shown if isinstance(update, Notice)]
        if any("hear the loudspeaker" in text for text in notices):
            self.echoes += 1
            assert self.is_muted, "a microphone that hears the loudspeaker is on"
        return effects

    def perform(self, effect: Effect) -> None:  # noqa: C901 - one arm an effect
        match effect:
            case Connect():
                self.forgets("connecting")
            case Disconnect():
                self.forgets("none")
            case Send(event_id, command):
                self.receives(event_id, command)
            case SetTimer(timer):
                self.timers.add(timer)
            case ClearTimer(timer):
                self.timers.discard(timer)
            case Show(update):
                self.shows(update)
            case StartRecord() | Record() | LoadConversation():
                self.stores_audio(effect)
            case RunTool(call):
                self.running.append(call.call_id)
            case StopTools():
                self.running.clear()
                self.asking = False
            case Play(item_id):
                self.playing = item_id
            case StopPlaying():
                item_id, self.playing = self.playing, ""
                if item_id:
                    self.tell(PlaybackCut(item_id, 0, self.rng.choice((0, 400, 2000))))
            case Stop(code):
                self.stopped = code

    def receives(self, event_id: str, command: Command) -> None:
        assert self.link == "open", f"{command} was sent on a connection that is {self.link}"
        match command:
            case AddItem(Message(id=id)) if id.startswith("files_"):
                self.files.add(id)
            case Delete(id):
                self.files.remove(id)
            case AddItem(item):
                said = {kept.text for kept in self.items() if isinstance(kept, Message)}
                in_session = isinstance(item, Message) and item.text in said
                kept = in_session or item in self.items() or getattr(item, "output", "") == STOPPED
                assert kept, f"{command} was sent before it was kept"
                if isinstance(item, ToolCall):
                    self.unanswered.add(item.call_id)
                elif isinstance(item, ToolOutput):
                    assert item.call_id in self.unanswered, "a call was answered twice"
                    self.unanswered.remove(item.call_id)
            case CreateResponse():
                assert not self.unanswered, "a reply was asked for before all calls were answered"
            case _:
                pass
        self.to_server.append((event_id, command))

    def shows(self, update: Update) -> None:
        match update:
            case ToolAsked():
                self.asking = True
            case QuestionAsked(text, spoken=False) if text:  # else it is of /raw
                self.asked.append(text)
            case MicrophoneStatus(is_on):
                self.is_muted = not is_on
            case ReplyOver(text=text):
                self.over += 1
                said = [item.text for item in self.items() if isinstance(item, Message)]
                assert set(text.split("\n\n")) <= {"", *said}, "a reply was not kept"
            case _:
                pass

    def stores_audio(self, effect: StartRecord | Record | LoadConversation) -> None:
        match effect:
            case StartRecord():
                self.kept.append({})
            case Record(entry):
                self.kept[-1][entry.turn, entry.index] = entry
            case LoadConversation():
                self.kept.append(self.kept.pop(0))
                entries = tuple(self.kept[-1][key] for key in sorted(self.kept[-1]))
                self.tell(ConversationLoaded(StoredConversation(1, "", 0.0, 0.0, "m", 0, entries)))

    def items(self) -> list[Item]:
        return [entry.item for entry in self.kept[-1].values()]

    def server_reads(self, refuse: bool) -> None:
        """The server takes the next thing that it was sent, and answers."""
        if self.link != "open" or not self.to_server:
            return
        event_id, command = self.to_server.popleft()
        if refuse and not isinstance(command, Cancel):
            self.tell(ServerProblem("No.", code="invalid_value", event_id=event_id))
            return
        match command:
            case Configure():
                self.is_configured = self.is_spoken
                self.tell(SessionUpdated("s", "m"))
            case CreateResponse() if self.active and self.is_spoken:
                self.tell(ServerProblem("Busy.", code=BUSY, event_id=event_id))
            case CreateResponse():
                assert not self.active, "a second reply was asked for while one was being made"
                self.begins()
            case Raw({"type": "response.create"}) if not self.active:
                self.begins()
            case Raw({"type": "x"}) if not (self.active or self.to_server or self.waiting):
                self.begins()
            case Cancel(response_id):
                if self.active and response_id in ("", self.active):
                    self.ends(Status.CANCELLED)
                else:
                    code = "response_cancel_not_active"
                    self.tell(ServerProblem("None.", code=code, event_id=event_id))
            case _:
                pass

    def begins(self) -> None:
        """A reply begins; after /raw one that was not asked for is a turn of its own."""
        self.replies += 1
        self.active = f"r{self.replies}"
        effects = self.tell(ReplyStarted(self.active))
        self.said += any(Show(QuestionAsked("", model)) in effects for model in ("m", "m2"))

    @property
    def waiting(self) -> int:
        """How many turns are not over."""
        return self.said + self.retries - self.over

    def ends(self, status: Status, message: str = "", code: str = "") -> None:
        if self.active:
            reply, self.active = self.active, ""
            self.past = reply
            self.tell(ReplyEnded(reply, status, code=code, message=message))

    def calls_tools(self) -> None:
        """The reply ends, and all it was is calls."""
        if self.active:
            reply, self.active = self.active, ""
            self.past = reply
            made = []
            for name in self.rng.choice((["f"], ["g"], ["f", "g"], ["f", "f", "h"])):
                self.calls += 1
                made.append(ToolCall(name, f"c{self.calls}", "{}"))
            self.unanswered |= {call.call_id for call in made}
            self.called = ReplyEnded(reply, Status.COMPLETED, items=tuple(made))
            self.tell(self.called)

    def calls_again(self) -> None:
        """The server repeats the end of a reply that was calls."""
        if self.called is not None:
            self.tell(self.called)

    def answers(self) -> None:
        self.asking = False
        self.tell(ToolAnswered(self.rng.choice(("yes", "no", "always"))))

    def finishes(self) -> None:
        if self.running:
            call = self.running.pop(self.rng.randrange(len(self.running)))
            self.tell(ToolFinished(call, "7"))

    def speaks(self) -> None:
        if self.active:
            self.tell(Delta(Channel.TEXT, "word ", self.active, "i"))
            if self.is_spoken:
                self.tell(Delta(Channel.AUDIO, "AAAA", self.active, "i"))

    def repeats(self) -> None:
        if self.past:
            self.tell(Delta(Channel.TEXT, "late ", self.past, "i"))

    def opens(self) -> None:
        if self.link == "connecting":
            self.link = "open"
            self.tell(ConnectionOpened())
            self.tell(SessionCreated("s", "m", seconds_left=3600.0))

    def loses(self, retry: Retry) -> None:
        if self.link != "none":
            self.forgets("none")
            self.tell(ConnectionLost(GONE, retry))

    def forgets(self, link: str) -> None:
        """A connection's state is gone with it."""
        self.link, self.active, self.past = link, "", ""
        self.is_configured = False
        self.speaking, self.late, self.called = "", None, None
        self.awaiting_transcript.clear()
        self.files.clear()
        self.unanswered.clear()
        self.to_server.clear()

    def hears(self) -> None:
        """The server hears that a turn begins, and stops what it was saying."""
        if not self.is_configured or self.speaking:
            return
        self.turns += 1
        self.speaking = f"u{self.turns}"
        interrupted = self.active if self.speech.interrupts else ""
        self.tell(SpeechStarted(self.speaking, 0))
        if interrupted:
            self.active = ""
            self.late = ReplyEnded(interrupted, Status.CANCELLED, "turn_detected")
            if self.rng.random() < 0.7:
                self.says_late()

    def hushes(self) -> None:
        """The turn is at its end; the server replies to it, if it has nothing else to say."""
        if not self.speaking:
            return
        item, self.speaking = self.speaking, ""
        self.tell(SpeechStopped(item, 100))
        self.awaiting_transcript.append(item)
        self.said += 1
        self.files.clear()
        self.tell(AudioCommitted(item))
        if self.speech.replies and self.active:
            self.tell(ServerProblem("Busy.", code=BUSY))
        elif self.speech.replies:
            self.begins()
        self.says_late()

    def says_late(self) -> None:
        """A server may say that a reply was interrupted when the next has begun."""
        if self.late is not None:
            late, self.late = self.late, None
            self.tell(late)

    def writes(self) -> None:
        if self.awaiting_transcript:
            item = self.awaiting_transcript.pop(self.rng.randrange(len(self.awaiting_transcript)))
            words = self.rng.choice((f"words of {item}", ""))
            self.tell(ChannelDone(Channel.HEARD, words, item_id=item))

    def hears_itself(self) -> None:
        """The microphone hears the loudspeaker, and the server takes what it says for a turn."""
        self.opens()
        self.server_reads(refuse=False)
        self.hears()
        self.hushes()
        self.speaks()
        self.writes()
        self.ends(Status.COMPLETED)
        self.hears()

    def toggles(self) -> None:
        self.tell(AudioCaptured(bytes(96)))
        self.tell(MicrophoneToggled())

    def says(self) -> None:
        self.said += 1
        self.files.clear()
        self.tell(UserSaid(f"question {self.said}"))

    def attaches(self) -> None:
        self.tell(Attached("picture", Part("image", data="data:image/png;base64,AA==")))

    def detaches(self) -> None:
        self.tell(self.rng.choice((EntryAbandoned(), DetachAsked(), DetachAsked(1))))
        self.tell(EntryAbandoned())
        assert not self.files, "the server was left with what is no longer attached"

    def fires(self) -> None:
        if self.timers:
            timer = min(self.timers)
            self.timers.discard(timer)
            self.tell(TimerFired(timer))

    def check(self) -> None:
        if self.stopped is not None:
            return
        waiting = self.waiting
        assert waiting >= 0, "a question ended twice"
        if not self.retries:
            order = [int(text.split()[1]) for text in self.asked]
            assert order == sorted(set(order)), "questions were asked twice or out of order"
        timers = self.timers - {Timer.SAVE, Timer.RENEW}
        busy = self.to_server or self.active or self.running or self.asking
        if waiting and self.link == "open" and not busy:
            assert timers, "a question waits for nothing"
        if waiting and self.link == "none":
            assert timers, "a question waits on no connection"
        if not waiting:
            states = [entry.state for entry in self.kept[-1].values()]
            assert not {State.QUEUED, State.ASKED, State.STREAMING} & set(states)

    def settle(self) -> None:
        """A good server from here on: everything that was asked comes to an end."""
        for _ in range(20 * (self.said + 5)):
            if self.stopped is None and Timer.HEARD in self.timers:
                self.timers.discard(Timer.HEARD)
                self.tell(TimerFired(Timer.HEARD))
            if self.stopped is not None or not self.waiting:
                return
            self.opens()
            self.server_reads(refuse=False)
            self.hushes()
            self.speaks()
            self.ends(Status.COMPLETED)
            self.answers()
            self.finishes()
            if Timer.RETRY in self.timers or Timer.LIMIT in self.timers:
                self.fires()
        raise AssertionError(f"{self.waiting} questions never ended")

    def asks_again(self) -> None:
        shown = [effect.update for effect in self.tell(RetryAsked()) if isinstance(effect, Show)]
        self.retries += not any(update in NOTHING_TO_ASK for update in shown)

    def asks_raw(self) -> None:
        self.said += 1
        effects = self.tell(RawSaid({"type": "response.create"}, asks=True))
        self.said -= Show(Notice("error", "there is no session to send it to")) in effects


ACTIONS: dict[str, Callable[[World], object]] = {
    "say": World.says,
    "cancel": lambda world: world.tell(CancelPressed()),
    "open": World.opens,
    "read": lambda world: world.server_reads(refuse=False),
    "refuse": lambda world: world.server_reads(refuse=True),
    "speak": World.speaks,
    "complete": lambda world: world.ends(Status.COMPLETED),
    "incomplete": lambda world: world.ends(Status.INCOMPLETE),
    "fail": lambda world: world.ends(Status.FAILED, "Oh no.", "server_error"),
    "limit": lambda world: world.ends(Status.FAILED, "try again in 2s", "rate_limit_exceeded"),
    "call": World.calls_tools,
    "call again": World.calls_again,
    "answer": World.answers,
    "tool": World.finishes,
    "lose": lambda world: world.loses(Retry.ALWAYS),
    "refused": lambda world: world.loses(Retry.NEVER),
    "timer": World.fires,
    "model": lambda world: world.tell(ModelSet("m2")),
    "new": lambda world: world.tell(NewConversationAsked()),
    "resume": lambda world: world.tell(ResumeAsked()),
    "retry": World.asks_again,
    "system": lambda world: world.tell(SystemSet("Sing.")),
    "error": lambda world: world.tell(ServerProblem("Odd.")),
    "unknown": lambda world: world.tell(Unknown("x", "new")),
    "stray": World.repeats,
    "raw reply": World.asks_raw,
    "raw": lambda world: world.tell(RawSaid({"type": "x"})),
    "aloud": World.hears,
    "hush": World.hushes,
    "write": World.writes,
    "echo": World.hears_itself,
    "microphone": World.toggles,
    "attach": World.attaches,
    "detach": World.detaches,
}
CHAT_ONLY = {"raw reply", "raw", "model", "new", "resume", "retry", "system"}
SPOKEN_ONLY = {"aloud", "hush", "write", "echo", "microphone"}


WEIGHTS = {
    "open": 8,
    "read": 14,
    "speak": 5,
    "say": 6,
    "complete": 5,
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
"""The usual is more frequent than the odd, or no history would ever get anywhere."""
CHUNKS, HISTORIES = 10, 10_000


def live(seed: int) -> None:
    rng = random.Random(seed)
    mode = rng.choice(list(Mode))
    is_spoken = mode is not Mode.ONCE and rng.random() < 0.5
    left_out = set() if mode is Mode.CHAT else CHAT_ONLY
    left_out |= set() if is_spoken else SPOKEN_ONLY
    names = [name for name in ACTIONS if name not in left_out]
    weights = [WEIGHTS.get(name, 1) for name in names]
    world = World(mode, rng, is_spoken=is_spoken)
    for action in rng.choices(names, weights, k=rng.randrange(60)):
        if world.stopped is None:
            ACTIONS[action](world)
            world.check()
    last = rng.choice(["", "end", "leave"])
    if last == "end" and world.stopped is None:
        world.tell(InputEnded())
        if is_spoken and mode is Mode.LINES and world.stopped is None:
            world.tell(MicrophoneLost(Problem(ExitCode.USAGE, "it is gone")))
    if last == "leave" and world.stopped is None:
        world.tell(LeaveAsked())
        assert world.stopped is ExitCode.OK
    world.settle()
    for _ in range(10):  # what a lost microphone has heard is waited for
        if last == "end" and world.stopped is None:
            world.opens()
            world.server_reads(refuse=False)
            if Timer.INPUT in world.timers:
                world.tell(TimerFired(Timer.INPUT))
            elif Timer.RETRY in world.timers:
                world.fires()
    assert last != "end" or world.stopped is not None


@in_chunks(CHUNKS)
def test_no_question_is_lost_or_doubled(chunk: int) -> None:
    first = int(os.environ.get("RTCHAT_TEST_SEED", "20261122")) + chunk * HISTORIES
    for seed in range(first, first + HISTORIES):
        try:
            live(seed)
        except AssertionError as error:
            raise AssertionError(f"history {seed}: {error}") from error
