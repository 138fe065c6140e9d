"""The state that the units of a conversation share."""

from __future__ import annotations

from dataclasses import replace

from rtchat.core.audio_formats import AudioFormats
from rtchat.core.backoff import Timeouts
from rtchat.core.call_outputs import CallOutputs
from rtchat.core.connection import SessionConnection
from rtchat.core.context import ContextLimits, ContextWindow
from rtchat.core.errors import CHECK_KEY
from rtchat.core.log import ConversationLog
from rtchat.core.mode import Mode
from rtchat.core.options import SessionOptions
from rtchat.core.pricing import Budget
from rtchat.core.reply_audio import ReplyAudio
from rtchat.core.signals import EventTime
from rtchat.core.speech_input import SpeechInput, SpeechOptions
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.usage import UsageMeter
from rtchat.core.values import Options, StoredConversation


class SharedState:
    """Constructed from the arguments of `Conversation`."""

    def __init__(
        self,
        model: str,
        options: Options,
        *,
        mode: Mode,
        timeouts: Timeouts,
        stored: StoredConversation | None,
        tool_policy: ToolPolicy | None,
        response: Options,
        budget: Budget,
        speech: SpeechOptions,
        key_hint: str = CHECK_KEY,
        context: ContextLimits = ContextLimits(),  # noqa: B008 - a frozen value
    ) -> None:
        self.time = EventTime()
        self.mode = mode
        self.timeouts = timeouts
        self.tool_policy = tool_policy or ToolPolicy()
        self.log = ConversationLog(stored, stores_audio=speech.stores_audio)
        if options.instructions is None:
            options = replace(options, instructions=self.log.instructions)
        self.options = SessionOptions(options, response)
        self.usage = UsageMeter(budget)
        self.speech = SpeechInput(speech)
        self.audio = ReplyAudio(speaks=speech.speaks)
        formats = AudioFormats(speech.input_format, speech.output_format)
        self.connection = SessionConnection(
            model,
            self.options,
            self.time,
            timeouts=timeouts,
            formats=formats,
            key_hint=key_hint,
        )
        self.context = ContextWindow(
            context, self.connection, self.options, self.log, self.usage, mode
        )
        self.call_outputs = CallOutputs(self.connection, self.tool_policy.limits.calls)
