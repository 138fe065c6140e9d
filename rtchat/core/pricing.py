"""The price list, and the cost of a reply.

Prices are in US dollars per million tokens. The list is of 2026-11-22, from
https://developers.openai.com/api/docs/models, and applies to the hosts of OpenAI and Azure. Prices
for other hosts come from the config file, or are not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from rtchat.core.values import Usage, value


@value
class Rate:
    """The prices of one model. The price of text applies where audio or images have none."""

    input: float
    cached: float
    output: float
    audio_input: float | None = None
    audio_cached: float | None = None
    audio_output: float | None = None
    image_input: float | None = None
    image_cached: float | None = None


_LARGE = Rate(4.0, 0.4, 24.0, 32.0, 0.4, 64.0, 5.0, 0.5)
_OLDER = Rate(4.0, 0.4, 16.0, 32.0, 0.4, 64.0, 5.0, 0.5)
_MINI = Rate(0.6, 0.06, 2.4, 10.0, 0.3, 20.0, 0.8, 0.08)

PRICES: Mapping[str, Rate] = {
    "gpt-realtime-2.1": _LARGE,
    "gpt-realtime-2": _LARGE,
    "gpt-realtime-2.1-mini": _MINI,
    "gpt-realtime-1.5": _OLDER,
    "gpt-realtime": _OLDER,
    "gpt-realtime-mini": _MINI,
}
"""The rate of each model; a name with a date at the end has the rate of the name without it."""

_HOSTS = r"wss://([\w-]+\.)*(openai\.com|azure\.com)([:/?]|$)"
_DATE_SUFFIX = r"-\d{4}-\d{2}-\d{2}$"


@value
class Budget:
    """The known prices, and the limit on the cost of a conversation."""

    rates: Mapping[str, Rate] = field(default_factory=dict)
    max_cost: float | None = None
    """The cost in US dollars at which no more questions are asked."""

    def rate(self, model: str) -> Rate | None:
        """The rate of a model, if it is known."""
        return self.rates.get(model) or self.rates.get(re.sub(_DATE_SUFFIX, "", model))


def known_rates(url: str, own: Mapping[str, Rate]) -> dict[str, Rate]:
    """The rates that apply at a server: the price list if it covers the host, and `own`."""
    return {**(PRICES if re.match(_HOSTS, url) else {}), **own}


def cost(usage: Usage, rate: Rate) -> float:
    """The cost of a reply in US dollars. Cached tokens are part of the input."""
    audio, audio_cached = usage.audio_input, usage.audio_cached
    image, image_cached = usage.image_input, usage.image_cached
    text_cached = usage.cached - audio_cached - image_cached
    total = (
        _part(usage.input - audio - image, text_cached, rate.input, rate.cached)
        + _part(
            audio,
            audio_cached,
            _price(rate.audio_input, rate.input),
            _price(rate.audio_cached, rate.cached),
        )
        + _part(
            image,
            image_cached,
            _price(rate.image_input, rate.input),
            _price(rate.image_cached, rate.cached),
        )
        + max(0, usage.output - usage.audio_output) * rate.output
        + max(0, usage.audio_output) * _price(rate.audio_output, rate.output)
    )
    return total / 1e6


def _part(tokens: int, cached: int, price: float, cached_price: float) -> float:
    """The cost of one kind of input, never negative even if the server's numbers do not add up."""
    tokens = max(0, tokens)
    cached = min(max(0, cached), tokens)
    return (tokens - cached) * price + cached * cached_price


def _price(price: float | None, default: float) -> float:
    return default if price is None else price
