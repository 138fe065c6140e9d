"""How long a session waits for a server, and when it reconnects."""

from __future__ import annotations

from rtchat.core.events import ConnectionLost
from rtchat.core.values import value

MAX_RETRIES = 5
FIRST_DELAY, MAX_DELAY = 0.5, 8.0
"""Seconds before a new attempt. The delay doubles each time and is shortened by up to a quarter, so
that clients do not all reconnect at once."""
MAX_LIMIT_WAIT = 30.0
"""The longest wait, in seconds, that is made at a server's request without asking the user."""


@value
class Timeouts:
    """How long to wait, in seconds."""

    start: float = 10.0
    """From opening the socket until the session accepts the settings."""
    reply: float = 60.0
    """Without any event from the server while a reply is pending."""


def backoff(attempts: int, lost: ConnectionLost) -> float | None:
    """The seconds to wait before reconnecting after this many attempts; None to give up."""
    least = lost.retry_after or 0.0
    if attempts >= MAX_RETRIES or least > MAX_LIMIT_WAIT:
        return None
    delay = 0.0 if lost.at_once and attempts == 0 else FIRST_DELAY * 2.0**attempts
    return max(least, min(MAX_DELAY, delay))
