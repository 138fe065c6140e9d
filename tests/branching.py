"""A server for conversations whose turns are changed, and what the conversation shows and saves."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.conversation import Conversation
from rtchat.core.mode import Mode
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.values import (
    Channel,
    Entry,
    Item,
    Message,
    Options,
    Part,
    Status,
    StoredConversation,
    ToolCall,
    ToolOutput,
    TurnLimits,
)

Deletes: TypeAlias = Literal["yes", "refuses", "ignores"]


def described(item: Item) -> str:
    """An item as text, whatever its id and state."""
    match item:
        case Message():
            files = "".join(f"[{part.kind}]" for part in item.parts if part.kind != "text")
            return f"{item.role}: {files}{item.text}"
        case ToolCall():
            return f"call {item.call_id}"
        case ToolOutput():
            return f"output {item.call_id}"
        case _:
            return type(item).__name__


class Server:
    """A conversation with a server that answers every command at once, apart from replies.

    `names` is whether it reports the ids of the items that it is sent and of those of its replies.
    """

    def __init__(
        self,
        *,
        names: bool = True,
        deletes: Deletes = "yes",
        tools: Sequence[str] = ("f",),
        stored: StoredConversation | None = None,
        speech: SpeechOptions = SpeechOptions(),  # noqa: B008 - a frozen value
    ) -> None:
        self.names, self.deletes = names, deletes
        self.cancels = True
        """Whether it ends a reply at once that is cancelled."""
        self.items: dict[str, str] = {}
        """The items of the session, by id."""
        self.connections = 0
        self.updates: list[fx.Update] = []
        self.requests: list[fx.CreateResponse] = []
        self.saved: list[fx.Record | fx.MoveTo | fx.Fork | fx.StartRecord] = []
        self.timers: set[ev.Timer] = set()
        self._commands: deque[tuple[str, fx.Command]] = deque()
        self._made = 0
        self.replies = 0
        self.is_replying = False
        policy = ToolPolicy(tools, tools, can_ask=True, limits=TurnLimits())
        self.conversation = Conversation(
            "m",
            Options("Be brief.", "text"),
            mode=Mode.CHAT,
            stored=stored,
            tool_policy=policy,
            speech=speech,
        )
        self.post(ev.Started())

    def post(self, event: ev.Event) -> list[fx.Update]:
        """Pass on an event, answer all commands, and return what is shown."""
        before = len(self.updates)
        self._handle(event)
        while self._commands:
            self._read(*self._commands.popleft())
        return self.updates[before:]

    def _handle(self, event: ev.Event) -> None:
        for effect in self.conversation.handle(event):
            match effect:
                case fx.Show(update):
                    self.updates.append(update)
                case fx.Connect():
                    self.connections += 1
                    self.items.clear()
                    self._commands.clear()
                    self.is_replying = False
                    self._handle(ev.ConnectionOpened())
                    self._handle(ev.SessionCreated("s", "m"))
                case fx.Send(event_id, command):
                    self._commands.append((event_id, command))
                case fx.SetTimer(timer):
                    self.timers.add(timer)
                case fx.ClearTimer(timer):
                    self.timers.discard(timer)
                case fx.Record() | fx.MoveTo() | fx.Fork() | fx.StartRecord():
                    self.saved.append(effect)
                case fx.RunTool(call):
                    self._handle(ev.ToolFinished(call.call_id, "42"))
                case _:
                    pass

    def _add(self, item: Item) -> str:
        self._made += 1
        item_id = f"item_{self._made}"
        self.items[item_id] = described(item)
        if self.names:
            self._handle(ev.ItemAdded(replace(item, id=item_id)))
        return item_id

    def _read(self, event_id: str, command: fx.Command) -> None:
        match command:
            case fx.Configure():
                self._handle(ev.SessionUpdated("s", "m"))
            case fx.AddItem(item):
                self._add(item)
            case fx.CreateResponse():
                assert not self.is_replying, "a response was requested during another"
                self.requests.append(command)
                self.is_replying = True
                self.replies += 1
                self._handle(ev.ReplyStarted(self.reply_id, mark=event_id))
            case fx.Cancel() if self.cancels:
                self.end(Status.CANCELLED)
            case fx.Delete(item_id) if self.deletes == "yes" and item_id in self.items:
                del self.items[item_id]
                self._handle(ev.ItemDeleted(item_id))
            case fx.Delete() if self.deletes != "ignores":
                self._handle(ev.ServerProblem("No.", event_id=event_id))
            case fx.CommitAudio():
                self._made += 1
                item_id = f"item_{self._made}"
                self.items[item_id] = "user: [audio]"
                self._handle(ev.AudioCommitted(item_id if self.names else ""))
            case _:
                pass

    @property
    def reply_id(self) -> str:
        return f"r{self.replies}"

    def say(self, text: str) -> str:
        """The reply has this text. Returns the id of its item."""
        item = Message("assistant", (Part("text", text),))
        item_id = self._add(item)
        named = item_id if self.names else ""
        if self.names:
            self._handle(ev.OutputAdded(self.reply_id, 0, replace(item, id=item_id, parts=())))
        self._handle(ev.Delta(Channel.TEXT, text, self.reply_id, named))
        return item_id

    def call(self, call_id: str) -> None:
        """The reply is a call of the tool `f`; another reply follows if there is one."""
        call = ToolCall("f", call_id, "{}")
        item_id = self._add(call)
        call = replace(call, id=item_id if self.names else "")
        self.is_replying = False
        self.post(ev.ReplyEnded(self.reply_id, Status.COMPLETED, items=(call,)))

    def end(self, status: Status = Status.COMPLETED) -> None:
        """The reply is over."""
        if self.is_replying:
            self.is_replying = False
            self.post(ev.ReplyEnded(self.reply_id, status))

    def ask(self, question: str, reply: str) -> None:
        """A whole turn."""
        self.post(ev.UserSaid(question))
        self.answer(reply)

    def begin_raw(self) -> None:
        """The user requests a reply by /raw, and it begins."""
        self.post(ev.RawSaid({"type": "response.create"}, asks=True))
        self.replies += 1
        self.is_replying = True
        self.post(ev.ReplyStarted(self.reply_id))

    def answer(self, reply: str) -> None:
        """The reply, from its beginning to its end."""
        self.say(reply)
        self.end()

    def fire(self, timer: ev.Timer) -> None:
        """A timer that is running expires."""
        self.timers.remove(timer)
        self.post(ev.TimerFired(timer))

    @property
    def context(self) -> list[str]:
        """The items of the session, in order."""
        return list(self.items.values())

    def renewed_context(self) -> list[str]:
        """The items that a new session receives."""
        self.post(ev.TimerFired(ev.Timer.RENEW))
        return self.context

    @property
    def entries(self) -> list[Entry]:
        """What is saved, in the order in which it was recorded."""
        return [effect.entry for effect in self.saved if isinstance(effect, fx.Record)]
