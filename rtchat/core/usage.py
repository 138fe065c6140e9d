"""The usage of a conversation: replies, transcripts, cost, and the server's rate limits."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from rtchat.core import server_errors
from rtchat.core.effects import Totals
from rtchat.core.errors import Problem
from rtchat.core.events import RateLimit
from rtchat.core.pricing import Budget, cost
from rtchat.core.values import Usage

MAX_ENDED = 100
"""How many responses are remembered in case the server reports their end twice."""


class UsageMeter:
    """The totals since the program started."""

    def __init__(self, budget: Budget) -> None:
        self.replies = 0
        self._budget = budget
        self._usage = Usage()
        self._transcripts = Usage()
        self._spent: float | None = None
        self._limits: tuple[RateLimit, ...] = ()
        self._limits_updated = 0.0
        self._ended: deque[str] = deque(maxlen=MAX_ENDED)
        """The ids of the last responses and transcribed items whose usage was added."""

    def began(self, response_id: str) -> None:
        """A response or spoken item began; a server may give it the id of an earlier one."""
        if response_id in self._ended:
            self._ended.remove(response_id)

    def forget_responses(self) -> None:
        """Another session began; its responses and items may have the same ids."""
        self._ended.clear()

    def add(self, usage: Usage | None, model: str, response_id: str = "") -> None:
        """Add the usage of a response. A server may report the end of a response twice."""
        if usage is not None and self._is_new(response_id):
            self._usage += usage
            self._spend(self.bill(usage, model))

    def add_transcript(self, usage: Usage | None, model: str, item_id: str) -> None:
        """Add the usage of a transcript."""
        if usage is not None and self._is_new(item_id):
            self._transcripts += usage
            self._spend(self.bill(usage, model))

    def _is_new(self, identifier: str) -> bool:
        if identifier and identifier in self._ended:
            return False
        self._ended.append(identifier)
        return True

    def _spend(self, cost: float | None) -> None:
        if cost is not None:
            self._spent = (self._spent or 0.0) + cost

    def bill(self, usage: Usage | None, model: str) -> float | None:
        """The cost of this usage in US dollars; None if it is not known."""
        rate = self._budget.rate(model)
        return None if usage is None or rate is None else cost(usage, rate)

    def over_budget(self) -> Problem | None:
        """The problem if the budget is spent, else None."""
        max_cost = self._budget.max_cost
        if max_cost is None or self._spent is None or self._spent < max_cost:
            return None
        return server_errors.spent(self._spent, max_cost)

    def price_unknown(self, model: str) -> bool:
        """Whether there is a budget, but no known price for this model."""
        return self._budget.max_cost is not None and self._budget.rate(model) is None

    def limit(self, limits: tuple[RateLimit, ...], now: float) -> None:
        """The server reported its rate limits."""
        self._limits = tuple(replace(each, name=each.name[:40]) for each in limits[:20])
        self._limits_updated = now

    def totals(self, now: float) -> Totals:
        """The totals, with the rate limits as of now."""
        passed = now - self._limits_updated
        limits = tuple(
            replace(limit, reset_seconds=max(0.0, limit.reset_seconds - passed))
            for limit in self._limits
        )
        return Totals(self.replies, self._usage, self._spent, limits, self._transcripts)
