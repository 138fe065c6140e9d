"""How long a session waits for a server, and when it connects again."""

from __future__ import annotations

from rtchat.core.values import value

RETRIES = 5
FIRST_DELAY, LONGEST_DELAY = 0.5, 8.0
"""Seconds before a new attempt: doubling, and up to a quarter less so that clients spread out."""
LONGEST_LIMIT_WAIT = 30.0
"""Seconds that a server may ask for and be waited for without asking the user."""


@value
class Timeouts:
    """How long to wait, in seconds."""

    start: float = 10.0
    """From the open socket to the session that took our settings."""
    reply: float = 60.0
    """Without a word from the server while a reply is due."""


def backoff(attempts: int, retry_after: float | None) -> float | None:
    """The seconds before connecting again after so many attempts; None if it is to be given up."""
    least = retry_after or 0.0
    if attempts >= RETRIES or least > LONGEST_LIMIT_WAIT:
        return None
    return max(least, min(LONGEST_DELAY, FIRST_DELAY * 2.0**attempts))
