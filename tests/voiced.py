"""A voice conversation at a real terminal: the test sends updates, types, and reads the screen.

Run as a program, this module is the other end: a `Terminal` that shows the updates.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from io import BytesIO

from prompt_toolkit.enums import EditingMode

from rtchat.core.effects import Update
from rtchat.core.events import LocalEvent
from rtchat.inputs import attachments
from rtchat.ui.clipboard import Clipboard
from rtchat.ui.console import ThemedConsole
from rtchat.ui.live_view import LiveView
from rtchat.ui.panel import LivePanel
from rtchat.ui.prompt import Prompt
from rtchat.ui.terminal import Terminal
from tests.scripted import NothingSaved
from tests.window import Window


class Voiced(Window):
    """Starts the program below. `options`: "silent" for a conversation without voice, "plain" for
    --plain, "uncoloured", "vi" for the keys of vi."""

    def __init__(self, *options: str, columns: int = 72, rows: int = 20, editor: str = "") -> None:
        orders, self._orders = os.pipe()
        super().__init__(
            "tests.voiced",
            [str(orders), *options],
            columns=columns,
            rows=rows,
            editor=editor,
            pass_fds=[orders],
        )
        os.close(orders)

    def ends(self) -> None:
        """Kill the program and close the terminal."""
        super().ends()
        os.close(self._orders)

    def happens(self, *updates: Update) -> None:
        """Send these updates to the terminal at once."""
        self._order(*updates)

    def measures(self, level: float = 0.0, *, is_playing: bool = False) -> None:
        """Set what the devices report."""
        self._order((level, is_playing))

    def _order(self, *orders: Update | tuple[float, bool]) -> None:
        os.write(self._orders, b"".join(map(pickle.dumps, orders)))


class _Meters:
    level = 0.0
    is_playing = False


async def _talk(orders: int, events: int, options: list[str]) -> None:
    meters = _Meters()
    is_plain = "plain" in options
    console = ThemedConsole(
        force_terminal=True, legacy_windows=False, no_color="uncoloured" in options
    )
    panel = LivePanel(console)
    prompt = Prompt(
        panel,
        None,
        meters=None if "silent" in options else meters,
        paints_meter=not is_plain,
        editing_mode=EditingMode.VI if "vi" in options else EditingMode.EMACS,
    )
    view = LiveView(console, console, panel=panel, banner=True, plain=is_plain)
    clipboard = Clipboard(sys.stdout, {})
    terminal = Terminal(
        view, prompt, clipboard, attachments, NothingSaved(), templates=lambda *_: []
    )
    loop = asyncio.get_running_loop()

    def obey() -> None:
        received = BytesIO(os.read(orders, 1 << 16))
        while received.tell() < len(received.getvalue()):
            match pickle.load(received):  # from the test
                case (level, is_playing):
                    meters.level, meters.is_playing = level, is_playing
                case update:
                    terminal.show(update)

    def post(event: LocalEvent) -> None:
        os.write(events, f"{event!r}\n".encode())

    def tick() -> None:
        terminal.tick()
        loop.call_later(0.08, tick)

    loop.add_reader(orders, obey)
    tick()
    await terminal.run(post)
    terminal.close()


if __name__ == "__main__":
    asyncio.run(_talk(int(sys.argv[2]), int(sys.argv[1]), sys.argv[3:]))
