"""The model's context: what a new session receives of the conversation, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

from rtchat.core import notices
from rtchat.core.connection import SessionConnection
from rtchat.core.effects import ContextUse
from rtchat.core.log import ConversationLog
from rtchat.core.mode import Mode
from rtchat.core.models import context_window, max_input_tokens
from rtchat.core.options import SessionOptions
from rtchat.core.replay import Replay, replay_of
from rtchat.core.signals import Output
from rtchat.core.tokens import options_tokens
from rtchat.core.usage import UsageMeter
from rtchat.core.values import Item, Usage, value

UNKNOWN_MODEL = 128_000
"""The tokens that a session with an unknown model receives: no known model reads more. A server
that accepts fewer drops items or refuses them, as it does in a session that has become too long."""


@value
class ContextLimits:
    """The user's limits, in tokens."""

    max_tokens: int | None = None
    """How many tokens a new session receives at most; None means what the model reads."""
    warn_tokens: int = 20_000
    """From how many tokens on the user is told what a new session receives."""


class ContextWindow:
    """The context of one session after another."""

    def __init__(
        self,
        limits: ContextLimits,
        connection: SessionConnection,
        options: SessionOptions,
        log: ConversationLog,
        usage: UsageMeter,
        mode: Mode,
    ) -> None:
        self._limits = limits
        self._connection = connection
        self._options = options
        self._log = log
        self._usage = usage
        self._mode = mode
        self._told: str | None = None
        """The model for which the user was told that turns are left out."""

    def restart(self) -> None:
        """Another conversation begins."""
        self._told = None

    def replay(self, items: Sequence[Item] | None = None) -> Replay:
        """What a new session receives of the conversation, or of `items` in its place. The
        instructions and the tools count too."""
        model = self._connection.model
        limit = self._limits.max_tokens or max_input_tokens(model) or UNKNOWN_MODEL
        rest = limit - options_tokens(self._options.session)
        return replay_of(self._log.items if items is None else items, rest)

    def describe(self, replay: Replay) -> list[Output]:
        """Tell the user what a new session receives: if it is much, because the next reply costs
        that; and once for each model if turns are left out."""
        model = self._connection.model
        is_new = replay.left_out > 0 and self._told != model
        if not is_new and replay.tokens < self._limits.warn_tokens:
            return []
        if is_new:
            self._told = model
        cost = self._usage.bill(Usage(input=replay.tokens), model)
        return [notices.replayed(replay, cost, shows_command=self._mode is Mode.CHAT)]

    def use(self, usage: Usage | None) -> ContextUse | None:
        """How full the context is after a reply with this usage."""
        if usage is None or not usage.input:
            return None
        return ContextUse(usage.input + usage.output, self._window)

    def estimate(self, replay: Replay) -> ContextUse | None:
        """How full the context of a new session is."""
        if not replay.items:
            return None
        return ContextUse(replay.tokens + options_tokens(self._options.session), self._window)

    @property
    def _window(self) -> int | None:
        """The window of the model that answers, else that of the requested one."""
        names = (self._connection.session.model, self._connection.model)
        return next(filter(None, map(context_window, names)), self._limits.max_tokens)
