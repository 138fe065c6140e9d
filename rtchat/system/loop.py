"""Calls into an event loop from another thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")


def post_to(
    loop: asyncio.AbstractEventLoop, call: Callable[[*Ts], object], *arguments: *Ts
) -> None:
    """Call a function on the loop's thread, soon. Does nothing if the loop is closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)
