"""What answers: the protocol between a client's dialogue and an engine.

An engine is shared by all clients and keeps nothing about them: it is given everything each time.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol, TypeAlias

from rtchat.core.events import ServerProblem
from rtchat.core.values import Item, Message, Status, ToolOutput, Usage, value
from rtchat.wire.client_events import ToolSettings


@value
class ModelInput:
    """What to answer. `max_output_tokens` None means as many as the engine likes; `is_spoken` says
    that the answer is read aloud, where nobody skips what is too long."""

    instructions: str
    items: tuple[Item, ...]
    max_output_tokens: int | None = None
    tools: ToolSettings = ToolSettings()
    is_spoken: bool = False

    @property
    def question(self) -> str:
        """The text of the user's last message."""
        asked = (item for item in reversed(self.items) if isinstance(item, Message))
        return next((item.text for item in asked if item.role == "user"), "")

    @property
    def outputs(self) -> tuple[str, ...]:
        """What tools have given back since anything else was said, in order."""
        latest = itertools.takewhile(
            lambda item: isinstance(item, ToolOutput), reversed(self.items)
        )
        found = [item.output for item in latest if isinstance(item, ToolOutput)]
        return tuple(reversed(found))


@value
class CallPiece:
    """The next piece of a function call's arguments; pieces of several calls may interleave.

    The first piece with a number begins that call and names the function.
    """

    number: int
    arguments: str = ""
    name: str = ""
    call_id: str = ""
    """Empty: the dialogue makes one."""


@value
class Finish:
    """The end of an answer; the fields mean what those of `ReplyEnded` do."""

    status: Status = Status.COMPLETED
    reason: str = ""
    code: str = ""
    message: str = ""
    usage: Usage | None = None


@value
class CloseConnection:
    """The end of the connection, after an `error` event if there is one. Code 1006 breaks it."""

    code: int
    reason: str = ""
    problem: ServerProblem | None = None


OutputPiece: TypeAlias = str | CallPiece | Finish | CloseConnection
Answer: TypeAlias = AsyncGenerator[OutputPiece, None]
"""Text and calls, then a `Finish` or a `CloseConnection`, and nothing after it. Closing it early
stops the engine."""


async def limited(answer: Answer, seconds: float, finish: Finish, *, each: bool = False) -> Answer:
    """The same pieces, then `finish` if they take too long: all of them, or `each` one."""
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
    """What answers clients."""

    @property
    def model(self) -> str:
        """Its name, for clients that ask for none."""

    @property
    def instructions(self) -> str:
        """The instructions of a session that sets none."""

    def greet(self) -> CloseConnection | None:
        """A client has connected; what to do to it instead of opening a session, if anything."""

    def answer(self, prompt: ModelInput) -> Answer | ServerProblem:
        """Answer, or refuse with an `error` event instead of a reply."""
