"""The units of a conversation for their own tests: made without a `Conversation`, so that a signal
is a result like any other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.attachments import Attachments
from rtchat.core.backoff import Timeouts
from rtchat.core.log import ConversationLog
from rtchat.core.mode import Mode
from rtchat.core.pricing import Budget
from rtchat.core.question import Question
from rtchat.core.question_queue import QuestionQueue
from rtchat.core.replies import Replies
from rtchat.core.shared import SharedState
from rtchat.core.signals import Output
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.spoken_turns import SpokenTurns
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.tool_loop import ToolLoop
from rtchat.core.turns import Turns
from rtchat.core.values import Options

TEXT = Options(modality="text")


@dataclass
class Units:
    """All units of one conversation, and what they share."""

    shared: SharedState
    replies: Replies
    tool_loop: ToolLoop
    turns: Turns
    queue: QuestionQueue
    spoken: SpokenTurns

    @property
    def log(self) -> ConversationLog:
        return self.shared.log

    def asked(self, text: str = "hi") -> Question:
        """A question that was just asked."""
        question = self.log.enter(text)
        self.turns.ask(question)
        self.replies.ownership.confirmed(question.item)
        return question


def made(
    *,
    mode: Mode = Mode.CHAT,
    tools: Iterable[str] = (),
    allowed: Iterable[str] = (),
    budget: Budget = Budget(),  # noqa: B008 - a frozen value
    speech: SpeechOptions = SpeechOptions(),  # noqa: B008 - a frozen value
) -> Units:
    """The units before there is a connection."""
    shared = SharedState(
        "m",
        TEXT,
        mode=mode,
        timeouts=Timeouts(),
        stored=None,
        tool_policy=ToolPolicy(tools, allowed),
        response=Options(),
        budget=budget,
        speech=speech,
    )
    replies = Replies(shared)
    tool_loop = ToolLoop(shared, replies)
    turns = Turns(shared, replies, tool_loop)
    queue = QuestionQueue(shared, tool_loop, turns)
    spoken = SpokenTurns(shared, replies, turns, queue, Attachments(shared))
    return Units(shared, replies, tool_loop, turns, queue, spoken)


def ready(**arguments: Any) -> Units:
    """The units, `made` with these arguments, once there is a session with our settings."""
    units = made(**arguments)
    for event in (
        ev.Started(),
        ev.ConnectionOpened(),
        ev.SessionCreated("s", "m"),
        ev.SessionUpdated("s", "m"),
    ):
        units.shared.connection.handle(event)
    return units


def sent(outputs: Iterable[Output]) -> list[fx.Command]:
    """The commands among these outputs."""
    return [output.command for output in outputs if isinstance(output, fx.Send)]


def shown(outputs: Iterable[Output]) -> list[fx.Update]:
    """What is shown among these outputs."""
    return [output.update for output in outputs if isinstance(output, fx.Show)]
