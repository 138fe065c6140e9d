"""The entry of a conversation in this process: keys from a pipe, and an emulated screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TypeVar

from prompt_toolkit.data_structures import Size
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.input import Input, PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput, Output

from rtchat.core.events import LeaveAsked, LocalEvent
from rtchat.ui.entries import Entry
from rtchat.ui.meter import Meters
from rtchat.ui.panel import LivePanel
from rtchat.ui.prompt import Prompt
from tests.program import PATIENCE
from tests.screen import Screen

T = TypeVar("T")


class SizedOutput(DummyOutput):
    """Takes the modes of a terminal, and has the size of a screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def get_size(self) -> Size:
        return Size(rows=self._screen.console.height, columns=self._screen.console.width)


class EnteredText:
    """A prompt that runs, and what came of the keys."""

    def __init__(
        self,
        keys: PipeInput,
        history: Path | None,
        *,
        mode: EditingMode = EditingMode.EMACS,
        width: int = 60,
        height: int = 20,
        input: Input | None = None,
        output: Output | None = None,
        meters: Meters | None = None,
    ) -> None:
        self.screen = Screen(width, height)
        self.panel = LivePanel(self.screen.console)
        self.entries: list[Entry] = []
        self.pressed: list[LocalEvent] = []
        self.is_replying = False
        """Whether there is a reply to stop."""
        self._keys = keys
        self.prompt = Prompt(
            self.panel,
            history,
            meters=meters,
            editing_mode=mode,
            input=input or keys,
            output=output or SizedOutput(self.screen),
        )
        self.prompt.on_entry = self.entries.append
        self.prompt.on_press = self._press
        self.prompt.can_stop = lambda: self.is_replying

    def _press(self, event: LocalEvent) -> None:
        self.pressed.append(event)
        if isinstance(event, LeaveAsked):
            self.prompt.exit()

    @property
    def texts(self) -> list[str]:
        """What was sent."""
        return [entry.text for entry in self.entries]

    async def types(self, keys: str) -> None:
        """Press keys, and wait until they are handled and the screen is painted."""
        self._keys.send_text(keys)
        await self.settles()

    async def settles(self) -> None:
        """Let the loop read keys and paint. It paints when it has nothing else to do."""
        for _ in range(10):
            await asyncio.sleep(0.001)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for this, which threads or timers cause."""
        until = monotonic() + PATIENCE
        while not condition():
            assert monotonic() < until, "timed out:\n" + "\n".join(self.screen.rows())
            await asyncio.sleep(0.001)

    async def shows(self, *texts: str) -> list[str]:
        """Wait until each of these texts is in a line of its own, in this order."""

        def has() -> bool:
            lines = iter(self.screen.rows())
            return all(any(text in line for line in lines) for text in texts)

        await self.until(has)
        return self.screen.rows()


@asynccontextmanager
async def entry(
    history: Path | None = None,
    *,
    mode: EditingMode = EditingMode.EMACS,
    width: int = 60,
    height: int = 20,
    meters: Meters | None = None,
) -> AsyncIterator[EnteredText]:
    """A prompt that runs inside the context."""
    with create_pipe_input() as keys:
        entered = EnteredText(keys, history, mode=mode, width=width, height=height, meters=meters)
        entered.panel.start(show_cursor=True)
        running = asyncio.create_task(entered.prompt.run())
        try:
            await entered.shows("\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}")
            yield entered
        finally:
            entered.prompt.exit()
            with suppress(asyncio.CancelledError):
                await running
            entered.panel.stop()
            entered.prompt.close()  # the history is written in a thread


def with_entry(
    use: Callable[[EnteredText], Awaitable[T]],
    history: Path | None = None,
    *,
    mode: EditingMode = EditingMode.EMACS,
    width: int = 60,
    height: int = 20,
) -> T:
    """Run `use` with a prompt that runs."""

    async def run() -> T:
        async with entry(history, mode=mode, width=width, height=height) as entered:
            return await use(entered)

    return asyncio.run(run())
