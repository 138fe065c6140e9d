"""Calls to an event loop from other threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")


def post_to(
    loop: asyncio.AbstractEventLoop, call: Callable[[*Ts], object], *arguments: *Ts
) -> bool:
    """Schedule a call on the thread of the loop, and return True; if the loop is closed, False."""
    try:
        loop.call_soon_threadsafe(call, *arguments)
    except RuntimeError:
        return False
    return True
