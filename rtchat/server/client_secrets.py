"""Client secrets: short-lived keys, each with the options of the sessions that it opens."""

from __future__ import annotations

from hashlib import sha256

from rtchat.server.limits import MemoryBudget, size_of
from rtchat.wire.http_bodies import SecretRequest

MAX_SECRETS = 1000
"""The maximum number of valid secrets."""


class ClientSecrets:
    """The valid secrets. Times are in seconds, of a monotonic clock."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        # By hash, so that the time of a look-up reveals nothing about a secret.
        self._requests: dict[bytes, tuple[float, int, SecretRequest]] = {}
        """The expiry, the size and the request of each secret."""

    def add(self, secret: str, request: SecretRequest, now: float) -> None:
        """Accept a secret for as long as was requested."""
        size = size_of(request)
        self._budget.used += size
        self._requests[_digest(secret.encode())] = now + request.seconds, size, request

    def find(self, key: bytes, now: float) -> SecretRequest | None:
        """The request for a secret; None if the key is not a valid secret."""
        expires, _, request = self._requests.get(_digest(key), (now, 0, None))
        return request if now < expires else None

    def is_full(self, now: float) -> bool:
        """Remove the expired secrets; return whether no other can be added."""
        for digest, (expires, size, _) in [*self._requests.items()]:
            if expires <= now:
                del self._requests[digest]
                self._budget.used -= size
        return len(self._requests) >= MAX_SECRETS


def _digest(secret: bytes) -> bytes:
    return sha256(secret).digest()
