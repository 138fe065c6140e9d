"""Client secrets: short-lived keys, each with the options of the sessions that it opens."""

from __future__ import annotations

from hashlib import sha256

from rtchat.core.values import Options, value
from rtchat.server.limits import MemoryBudget, size_of

MAX_SECRETS = 1000
"""The maximum number of valid secrets."""


@value
class SecretSession:
    """The options of the sessions that a secret opens."""

    options: Options
    transcribes: bool
    """Whether the sessions are for transcription only."""


class ClientSecrets:
    """The valid secrets. Times are in seconds, of a monotonic clock."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        # By hash, so that the time of a look-up reveals nothing about a secret.
        self._sessions: dict[bytes, tuple[float, int, SecretSession]] = {}
        """The expiry, the size and the session of each secret."""

    def add(self, secret: str, session: SecretSession, expires: float) -> None:
        """Accept a secret until it expires."""
        size = size_of(session)
        self._budget.used += size
        self._sessions[_digest(secret.encode())] = expires, size, session

    def find(self, key: bytes, now: float) -> SecretSession | None:
        """The session of a secret; None if the key is not a valid secret."""
        expires, _, session = self._sessions.get(_digest(key), (now, 0, None))
        return session if now < expires else None

    def is_full(self, now: float) -> bool:
        """Remove the expired secrets; return whether no other can be added."""
        for digest, (expires, size, _) in [*self._sessions.items()]:
            if expires <= now:
                del self._sessions[digest]
                self._budget.used -= size
        return len(self._sessions) >= MAX_SECRETS


def _digest(secret: bytes) -> bytes:
    return sha256(secret).digest()
