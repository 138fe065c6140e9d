"""The arguments of a conversation, transcription or translation, as values.

A trace records them, so that a replay constructs the same object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

from rtchat.core.backoff import Timeouts
from rtchat.core.context import ContextLimits
from rtchat.core.conversation import Conversation
from rtchat.core.errors import CHECK_KEY
from rtchat.core.mode import Mode
from rtchat.core.pricing import Budget
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.transcription import TranscriptionSetup
from rtchat.core.translation import TranslationSetup
from rtchat.core.values import AudioFormat, Dialect, Options, StoredConversation, TurnLimits, value


@value
class ConversationSetup:
    """The arguments of a `Conversation`; `tools` to `limits` are those of its `ToolPolicy`."""

    model: str
    options: Options
    mode: Mode = Mode.CHAT
    timeouts: Timeouts = Timeouts()
    stored: StoredConversation | None = None
    response: Options = Options()
    budget: Budget = Budget()
    speech: SpeechOptions = SpeechOptions()
    tools: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    servers: Mapping[str, str] = field(default_factory=dict)
    can_ask: bool = False
    limits: TurnLimits = TurnLimits()
    key_hint: str = CHECK_KEY
    context: ContextLimits = ContextLimits()

    @property
    def input_format(self) -> AudioFormat | None:
        """The format requested for the server's input; None if there is none."""
        return self.speech.input_format

    @property
    def output_format(self) -> AudioFormat | None:
        """The format requested for the server's output; None if there is none."""
        return self.speech.output_format

    def make(self) -> Conversation:
        """A new conversation."""
        return Conversation(
            self.model,
            self.options,
            mode=self.mode,
            timeouts=self.timeouts,
            stored=self.stored,
            response=self.response,
            budget=self.budget,
            speech=self.speech,
            key_hint=self.key_hint,
            context=self.context,
            tool_policy=ToolPolicy(
                self.tools,
                self.allowed,
                servers=self.servers,
                can_ask=self.can_ask,
                limits=self.limits,
            ),
        )


MachineSetup: TypeAlias = ConversationSetup | TranscriptionSetup | TranslationSetup


@value
class SessionSetup:
    """The arguments of a session. `dialect` is the one set by the user, if any."""

    machine: MachineSetup
    dialect: Dialect | None = None
