"""A link that follows a script, and a view that remembers: for the session without a network.

A script is a list of steps: `Expect(type)` waits for an event that the program sends, `Emit(event)`
is what the server says, `End(code)` is the end of the connection. A script that is not used up is
an error.
"""

from __future__ import annotations

import asyncio
import io
import json
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from rtchat.client.transport import explain_close
from rtchat.core.effects import Update
from rtchat.core.events import ConnectionLost
from rtchat.core.values import JsonObject, StoredConversation
from rtchat.ui.pager import Pager

T = TypeVar("T")


class _Skip(selectors.DefaultSelector):
    """Waits for nothing: the time that would pass has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class _FastLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.skip = _Skip()
        super().__init__(self.skip)

    def time(self) -> float:
        return self.skip.now


def run_fast(make: Callable[[], Coroutine[None, None, T]]) -> T:
    """Run on a loop whose clock jumps over every wait, so that a minute takes no time."""
    with asyncio.Runner(loop_factory=_FastLoop) as runner:
        return runner.run(make())


def pass_time(seconds: float) -> None:
    """Let time pass in which such a loop, the running one, does nothing."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _FastLoop)
    loop.skip.now += seconds


@dataclass(frozen=True)
class Expect:
    """The next event that the program sends is of this type; a slow network takes a while."""

    type: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Emit:
    """The server says this: an event, or a frame as it is."""

    event: JsonObject | str | bytes


@dataclass(frozen=True)
class Wait:
    """The server says nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class End:
    """The connection is over."""

    code: int
    reason: str = ""


Step: TypeAlias = Expect | Emit | Wait | End

HELLO: tuple[Step, ...] = (
    Emit({"type": "session.created", "session": {"type": "realtime", "id": "s", "model": "m"}}),
    Expect("session.update"),
    Emit({"type": "session.updated", "session": {"type": "realtime", "id": "s", "model": "m"}}),
)
QUESTION: tuple[Step, ...] = (Expect("conversation.item.create"), Expect("response.create"))


def answer(*deltas: str, reply: str = "r1", ends: bool = True) -> tuple[Step, ...]:
    """The events of a reply."""
    ids = {"response_id": reply, "item_id": "i1", "output_index": 0, "content_index": 0}
    steps = [Emit({"type": "response.created", "response": {"id": reply}})]
    steps += [Emit({"type": "response.output_text.delta", "delta": text} | ids) for text in deltas]
    if ends:
        done = {"id": reply, "status": "completed"}
        steps.append(Emit({"type": "response.done", "response": done}))
    return tuple(steps)


class ScriptedLink:
    """One connection."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self._steps = list(steps)
        self._moved = asyncio.Event()
        self._code, self._reason = 1000, ""
        self.sent: list[JsonObject] = []
        self.closed = False
        self._metadata: object = None
        """The metadata of the last request, which servers echo."""
        self.url = "ws://127.0.0.1/v1/realtime"

    async def send(self, event: JsonObject) -> None:
        self.sent.append(event)
        step = self._steps.pop(0) if self._steps else None
        fits = isinstance(step, Expect) and step.type == event["type"]
        assert fits, f"{event} came, the script says {step}"
        if event["type"] == "response.create":
            response = event.get("response")
            self._metadata = response.get("metadata") if isinstance(response, dict) else None
        if isinstance(step, Expect) and step.seconds:
            await asyncio.sleep(step.seconds)
        self._moved.set()

    async def keep_alive(self) -> None:
        pass

    async def receive(self) -> str | bytes | None:
        while not self.closed:
            if self._steps and not isinstance(self._steps[0], Expect):
                if isinstance(step := self._steps[0], Wait):
                    del self._steps[0]
                    await asyncio.sleep(step.seconds)
                    continue
                return self._take()
            self._moved.clear()
            await self._moved.wait()
        return None

    def _take(self) -> str | bytes | None:
        step = self._steps.pop(0)
        if isinstance(step, End):
            self._code, self._reason = step.code, step.reason
            return None
        assert isinstance(step, Emit)
        if isinstance(step.event, str | bytes):
            return step.event
        match step.event:
            case {"type": "response.created", "response": dict(response)}:
                return json.dumps(
                    {**step.event, "response": {"metadata": self._metadata, **response}}
                )
            case event:
                return json.dumps(event)

    async def close(self) -> None:
        self.closed = True
        self._moved.set()

    def explain(self) -> ConnectionLost:
        return explain_close(self._code, self._reason)

    def left(self) -> list[Step]:
        return self._steps


class ScriptedServer:
    """One script for each connection, in order."""

    def __init__(self, *scripts: tuple[Step, ...]) -> None:
        self._scripts = list(scripts)
        self.links: list[ScriptedLink] = []
        self.models: list[str] = []

    @asynccontextmanager
    async def connect(self, model: str) -> AsyncIterator[ScriptedLink]:
        self.models.append(model)
        self.links.append(ScriptedLink(self._scripts.pop(0)))
        yield self.links[-1]

    def check_used_up(self) -> None:
        assert self._scripts == []
        assert [link.left() for link in self.links] == [[] for _ in self.links]


class NothingSaved:
    """No saved conversations."""

    can_repaint = True

    def __init__(self) -> None:
        self.pager = Pager(io.StringIO(), {})

    def listed(self) -> Sequence[StoredConversation]:
        return ()

    def text(self, conversation: StoredConversation) -> str:
        raise AssertionError(conversation)


class Screen:
    """A view that remembers."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.ticks = 0
        self.closed = False

    def show(self, update: Update) -> None:
        self.updates.append(update)

    def tick(self) -> None:
        self.ticks += 1

    def echo(self, entry: str) -> None:
        pass

    def advise(self) -> None:
        pass

    def show_waiting(self) -> None:
        pass

    def hide(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True
