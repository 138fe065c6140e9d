"""The arguments of a conversation, transcription or translation, as values.

A trace records them, so that a replay constructs the same object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TypeAlias

from rtchat.core.backoff import Timeouts
from rtchat.core.conversation import Conversation
from rtchat.core.errors import CHECK_KEY
from rtchat.core.mode import Mode
from rtchat.core.models import Rate
from rtchat.core.pricing import Budget
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.transcription import Transcription
from rtchat.core.translation import Translation
from rtchat.core.values import Dialect, Options, StoredConversation, TurnLimits, value


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

    @property
    def input_rate(self) -> int:
        """Samples per second of the audio sent to the server; 0 for none."""
        return self.speech.input_rate

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
            tool_policy=ToolPolicy(
                self.tools,
                self.allowed,
                servers=self.servers,
                can_ask=self.can_ask,
                limits=self.limits,
            ),
        )


@value
class TranscriptionSetup:
    """The arguments of a `Transcription`."""

    model: str
    options: Options
    has_turns: bool
    has_speakers: bool = False
    from_file: bool = False
    input_rate: int = 0
    timeouts: Timeouts = Timeouts()
    price: Rate | None = None
    key_hint: str = CHECK_KEY

    def make(self) -> Transcription:
        """A new transcription."""
        return Transcription(
            self.model,
            self.options,
            has_turns=self.has_turns,
            has_speakers=self.has_speakers,
            from_file=self.from_file,
            input_rate=self.input_rate,
            timeouts=self.timeouts,
            price=self.price,
            key_hint=self.key_hint,
        )


@value
class TranslationSetup:
    """The arguments of a `Translation`."""

    model: str
    options: Options
    speaks: bool = False
    from_file: bool = False
    input_rate: int = 0
    timeouts: Timeouts = Timeouts()
    price: Rate | None = None
    key_hint: str = CHECK_KEY

    def make(self) -> Translation:
        """A new translation."""
        return Translation(
            self.model,
            self.options,
            speaks=self.speaks,
            from_file=self.from_file,
            rate=self.input_rate,
            timeouts=self.timeouts,
            price=self.price,
            key_hint=self.key_hint,
        )


MachineSetup: TypeAlias = ConversationSetup | TranscriptionSetup | TranslationSetup


@value
class SessionSetup:
    """The arguments of a session. `dialect` is the one set by the user, if any."""

    machine: MachineSetup
    dialect: Dialect | None = None
