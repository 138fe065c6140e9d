"""The price list, and the cost of a reply.

The list in `models` applies to the hosts of OpenAI and Azure. Prices for other hosts come from the
config file, or are not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from rtchat.core.models import MODELS, SPEECH_RATES, Rate, undated
from rtchat.core.values import Usage, value

PRICES: Mapping[str, Rate] = {
    **{name: model.rate for name, model in MODELS.items()},
    **SPEECH_RATES,
}
"""The rate of each model; a name with a date at the end has the rate of the name without it."""

_HOSTS = r"wss://([\w-]+\.)*(openai\.com|azure\.com)([:/?]|$)"


@value
class Budget:
    """The known prices, and the limit on the cost of a conversation."""

    rates: Mapping[str, Rate] = field(default_factory=dict)
    max_cost: float | None = None
    """The cost in US dollars at which no more questions are asked."""

    def rate(self, model: str) -> Rate | None:
        """The rate of a model, if it is known."""
        return self.rates.get(model) or self.rates.get(undated(model))


def known_rates(url: str, own: Mapping[str, Rate]) -> dict[str, Rate]:
    """The rates that apply at a server: the price list if it covers the host, and `own`."""
    return {**(PRICES if re.match(_HOSTS, url) else {}), **own}


def cost(usage: Usage, rate: Rate) -> float:
    """The cost of a reply or a transcript in US dollars. Cached tokens are part of the input."""
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
    return total / 1e6 + max(0.0, usage.seconds) / 60 * rate.minute


def _part(tokens: int, cached: int, price: float, cached_price: float) -> float:
    """The cost of one kind of input, never negative even if the server's numbers do not add up."""
    tokens = max(0, tokens)
    cached = min(max(0, cached), tokens)
    return (tokens - cached) * price + cached * cached_price


def _price(price: float | None, default: float) -> float:
    return default if price is None else price
