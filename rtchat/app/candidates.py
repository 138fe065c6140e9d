"""What the arguments of a conversation's commands can be: models, saved conversations, code blocks
and attached files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial

from rtchat.app.environment import Environment
from rtchat.app.wiring import endpoint_of, model_of, tls_of
from rtchat.config.settings import Settings
from rtchat.config.templates import template_names
from rtchat.core.conversation import Conversation
from rtchat.core.errors import RtchatError
from rtchat.core.models import MODELS
from rtchat.core.pricing import known_rates
from rtchat.core.text import visible
from rtchat.core.values import StoredConversation
from rtchat.system.worker import Worker
from rtchat.ui.candidates import Candidate
from rtchat.ui.slash_commands import ArgumentKind
from rtchat.wire.http_bodies import read_models

_MAX_CONVERSATIONS = 200
_MAX_MODELS = 500
_TIMEOUT = 3.0
"""Seconds that the server may take to list its models."""


class ChatCandidates:
    """The candidates of one run. The history is read in a thread, and the server is asked for its
    models once, when they are first completed."""

    def __init__(self, settings: Settings, environment: Environment) -> None:
        self.conversation: Conversation | None = None
        """The conversation, once there is one."""
        self._settings = settings
        self._environment = environment
        self._worker = Worker("candidates")
        self._offered: Sequence[str] | None = None
        """The models that the server offers, once it was asked."""

    async def find(self, kind: ArgumentKind) -> AsyncIterator[Candidate]:
        """Yield the arguments of a kind, the likeliest first. Does not raise."""
        match kind:
            case "model":
                async for candidate in self._models():
                    yield candidate
            case "attachment":
                attached = self.conversation.attached if self.conversation else ()
                for number, name in enumerate(attached, start=1):
                    yield Candidate(str(number), name)
            case _:
                replies = self.conversation.last_replies if self.conversation else ()
                for candidate in await self._worker.call(partial(self._read, kind, replies)):
                    yield candidate

    def _read(self, kind: ArgumentKind, replies: Sequence[str]) -> list[Candidate]:
        """What takes some time to read."""
        match kind:
            case "conversation":
                return list(map(_described, self._saved()))
            case "template":
                return list(map(Candidate, template_names(self._environment.templates_dir)))
            case "block":
                return _blocks(replies)
            case _:
                return []

    async def _models(self) -> AsyncIterator[Candidate]:
        settings = self._settings
        model = model_of(settings)
        yield Candidate(model, "the model of the settings")
        for alias, meant in settings.aliases.items():
            yield Candidate(alias, meant)
        if settings.local:
            return
        for used in dict.fromkeys(each.model for each in await self._worker.call(self._saved)):
            if used != model:
                yield Candidate(used, "used before")
        rates = known_rates(settings.url, settings.prices)
        for known in (*settings.prices, *(name for name in MODELS if name in rates)):
            yield Candidate(known, "has a known price")
        if self._offered is None:
            self._offered = await self._ask_for_models()
        for offered in self._offered:
            yield Candidate(offered, "offered by the server")

    async def _ask_for_models(self) -> list[str]:
        """The models that the server offers, those for this API first; empty if it does not say."""
        from rtchat.client.endpoint import models_endpoint
        from rtchat.client.http_request import get

        settings = self._settings
        try:
            endpoint = endpoint_of(settings, settings.model, beta=settings.dialect == "beta")
            where = models_endpoint(endpoint)
            if where is None:
                return []
            tls = tls_of(settings, self._environment, where)
            body = await get(where, timeout=min(_TIMEOUT, settings.connect_timeout), tls=tls)
        except RtchatError:
            return []
        names = [name for name in read_models(body) if where.redact(name) == name]
        return sorted(names, key=lambda name: "realtime" not in name)[:_MAX_MODELS]

    def _saved(self) -> list[StoredConversation]:
        """The saved conversations, newest first; empty if they cannot be read."""
        from rtchat.app.history import latest

        with suppress(RtchatError, OSError):
            if self._settings.history:
                return latest(self._environment, _MAX_CONVERSATIONS)
        return []


def _blocks(replies: Sequence[str]) -> list[Candidate]:
    """The code blocks that have numbers, each with its first line."""
    from rtchat.markdown.code_blocks import latest_blocks

    blocks = latest_blocks(*map(visible, replies))
    first_lines = (block.text.strip().partition("\n")[0] for block in blocks)
    return [Candidate(str(number), line) for number, line in enumerate(first_lines, start=1)]


def _described(conversation: StoredConversation) -> Candidate:
    from rtchat.history.dates import when

    parts = (conversation.name, conversation.title, when(conversation.updated), conversation.model)
    return Candidate(str(conversation.id), " · ".join(filter(None, parts)))
