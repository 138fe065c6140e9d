"""The known models of OpenAI: their prices, and how many tokens they read and write.

As of 2026-11-22; source: https://developers.openai.com/api/docs/models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rtchat.core.values import value


@value
class Rate:
    """The prices of one model, in US dollars per million tokens. The price of text applies where
    audio or images have none."""

    input: float
    cached: float
    output: float
    audio_input: float | None = None
    audio_cached: float | None = None
    audio_output: float | None = None
    image_input: float | None = None
    image_cached: float | None = None
    minute: float = 0.0
    """The price of a minute of audio, for models that are billed by its duration."""


@value
class Model:
    """One model."""

    rate: Rate
    max_output_tokens: int
    """The maximum length of a reply in tokens."""
    context_window: int
    """How many tokens the input and the reply have together at most."""
    max_input_tokens: int
    """The tokens of input above which the server drops the oldest items."""


_LARGE = Rate(4.0, 0.4, 24.0, 32.0, 0.4, 64.0, 5.0, 0.5)
_OLDER = Rate(4.0, 0.4, 16.0, 32.0, 0.4, 64.0, 5.0, 0.5)
_MINI = Rate(0.6, 0.06, 2.4, 10.0, 0.3, 20.0, 0.8, 0.08)

MODELS: Mapping[str, Model] = {
    "gpt-realtime-2.1": Model(_LARGE, 32_000, 128_000, 96_000),
    "gpt-realtime-2": Model(_LARGE, 32_000, 128_000, 96_000),
    "gpt-realtime-2.1-mini": Model(_MINI, 32_000, 128_000, 96_000),
    "gpt-realtime-1.5": Model(_OLDER, 4096, 32_000, 28_224),
    "gpt-realtime": Model(_OLDER, 4096, 32_000, 28_224),
    "gpt-realtime-mini": Model(_MINI, 4096, 32_000, 28_224),
}
"""The known models by name, without the date (see `undated`)."""
SPEECH_RATES: Mapping[str, Rate] = {
    "gpt-realtime-translate": Rate(0.0, 0.0, 0.0, minute=0.034),
    "gpt-realtime-whisper": Rate(0.0, 0.0, 0.0, minute=0.017),
    "gpt-live-transcribe": Rate(0.0, 0.0, 0.0, minute=0.017),
    "gpt-transcribe": Rate(0.0, 0.0, 0.0, minute=0.0045),
    "gpt-4o-transcribe": Rate(2.5, 2.5, 10.0),
    "gpt-4o-transcribe-diarize": Rate(2.5, 2.5, 10.0),
    "gpt-4o-mini-transcribe": Rate(1.25, 1.25, 5.0),
    "whisper-1": Rate(0.0, 0.0, 0.0, minute=0.006),
}
"""The prices of the models that transcribe or translate speech."""


def undated(name: str) -> str:
    """The name of a model without the date at its end."""
    return re.sub(r"-\d{4}-\d{2}-\d{2}$", "", name)


def max_output_tokens(name: str) -> int | None:
    """The maximum length of a reply in tokens, if the model is known."""
    model = MODELS.get(undated(name))
    return None if model is None else model.max_output_tokens


def context_window(name: str) -> int | None:
    """The context window in tokens, if the model is known."""
    model = MODELS.get(undated(name))
    return None if model is None else model.context_window


def max_input_tokens(name: str) -> int | None:
    """The tokens of input above which the server drops the oldest items, if the model is known."""
    model = MODELS.get(undated(name))
    return None if model is None else model.max_input_tokens
