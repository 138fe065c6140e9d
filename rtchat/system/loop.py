"""Calls to an event loop from other threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")


def post_to(
    loop: asyncio.AbstractEventLoop, call: Callable[[*Ts], object], *arguments: *Ts
) -> None:
    """Schedule a call on the thread of the loop. Does nothing if the loop is closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)
