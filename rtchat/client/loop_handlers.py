"""What the event loop calls while a session runs: the handlers of signals and unexpected errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any, TypeVar

from rtchat.client.view_queue import ViewQueue
from rtchat.core.effects import Notice

Event = TypeVar("Event")


@contextmanager
def loop_handlers(
    views: ViewQueue, signals: Mapping[int, Event], on_signal: Callable[[int, Event], None]
) -> Iterator[None]:
    """A context in which `on_signal` is called with the number and the event of each signal.

    Exceptions in callbacks of the loop are shown in `views`. One in a library is only a detail: if
    the connection fails, its caller reports that.
    """

    def on_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Exception) and _is_own(error):
            views.failed(error)
        else:
            views.show(Notice("detail", f"{context['message']}: {error}"))

    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(on_error)
    for number, event in signals.items():
        loop.add_signal_handler(number, on_signal, number, event)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        loop.set_exception_handler(before)


def _is_own(error: Exception) -> bool:
    """Whether its traceback contains code of rtchat or of the line editor."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    modules = {str(frame.f_globals.get("__name__")).partition(".")[0] for frame in frames}
    return not modules.isdisjoint({"rtchat", "prompt_toolkit"})
