"""The protocol between a client's session and the engine that generates responses.

All clients share one engine. It keeps no state about them: each prompt is complete.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import field
from typing import Protocol, TypeAlias, assert_never

from rtchat.core.events import ServerProblem
from rtchat.core.values import (
    Approval,
    ApprovalAnswer,
    Item,
    Message,
    OtherItem,
    RemoteCall,
    Status,
    ToolCall,
    ToolOutput,
    Usage,
    value,
)
from rtchat.wire.client_events import ToolSettings


@value
class ModelInput:
    """A prompt. If `max_output_tokens` is None, the engine chooses the limit. If `is_spoken`, the
    answer will be spoken, so it should be short."""

    instructions: str
    items: Sequence[Item]
    max_output_tokens: int | None = None
    tools: ToolSettings = ToolSettings()
    is_spoken: bool = False
    words: int | None = field(default=None, kw_only=True, compare=False)
    """How many words the items have; None if they were not counted."""

    @property
    def question(self) -> str:
        """The text of the user's last message."""
        user_messages = (item for item in reversed(self.items) if isinstance(item, Message))
        return next((item.text for item in user_messages if item.role == "user"), "")

    @property
    def outputs(self) -> tuple[str, ...]:
        """The tool outputs at the end of the conversation, in order."""
        latest = itertools.takewhile(
            lambda item: isinstance(item, ToolOutput), reversed(self.items)
        )
        found = [item.output for item in latest if isinstance(item, ToolOutput)]
        return tuple(reversed(found))


def words_of(content: Item | str) -> int:
    """How many words an item or a text has."""
    # Counting spaces is fast; splitting megabytes would block other clients.
    text = content if isinstance(content, str) else _text(content)
    return text.count(" ") + 1 if text else 0


def _text(item: Item) -> str:
    match item:
        case Message():
            return item.text
        case ToolCall():
            return item.arguments
        case ToolOutput():
            return item.output
        case Approval() | ApprovalAnswer() | RemoteCall() | OtherItem():
            return ""
    assert_never(item)


@value
class CallPiece:
    """The next part of a function call's arguments. Parts of several calls may interleave.

    The first part with a new number starts a call and names the function.
    """

    number: int
    arguments: str = ""
    name: str = ""
    call_id: str = ""
    """If empty, the session generates one."""


@value
class Finish:
    """The end of an answer. The fields have the same meaning as in `ReplyEnded`."""

    status: Status = Status.COMPLETED
    reason: str = ""
    code: str = ""
    message: str = ""
    usage: Usage | None = None


@value
class CloseConnection:
    """Closes the connection, after an `error` event if `problem` is set. Code 1006 drops it without
    a close frame."""

    code: int
    reason: str = ""
    problem: ServerProblem | None = None


OutputPiece: TypeAlias = str | CallPiece | Finish | CloseConnection
Answer: TypeAlias = AsyncGenerator[OutputPiece, None]
"""Text and calls, then a `Finish` or a `CloseConnection` as the last piece. Closing the generator
early stops the engine."""


async def limited(answer: Answer, seconds: float, finish: Finish, *, each: bool = False) -> Answer:
    """Pass the pieces through, but end with `finish` if the whole answer takes longer than
    `seconds`; with `each`, if a single piece does."""
    now = asyncio.get_running_loop().time
    deadline = now() + seconds
    async with aclosing(answer):
        while True:
            try:
                async with asyncio.timeout_at(now() + seconds if each else deadline):
                    piece = await anext(answer)
            except StopAsyncIteration:
                return
            except TimeoutError:
                yield finish
                return
            yield piece


class Engine(Protocol):
    """Generates the answers to clients."""

    @property
    def model(self) -> str:
        """The model name, for clients that do not request one."""

    @property
    def instructions(self) -> str:
        """The instructions of a session that does not set any."""

    def on_connect(self) -> CloseConnection | None:
        """Called when a client connects. Return a `CloseConnection` to refuse the session."""

    def prepare(self, prompt: ModelInput) -> None:
        """Get ready for a prompt that will probably begin like this one. Returns at once."""

    def answer(self, prompt: ModelInput) -> Answer | ServerProblem:
        """Answer the prompt, or return the `error` event to send instead of a response."""
