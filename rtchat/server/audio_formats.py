"""The audio formats of clients: PCM at 24 kHz, and G.711 at 8 kHz. The server itself uses PCM16,
mono, 24 kHz."""

from __future__ import annotations

from typing import Literal

from rtchat.audio.codec import Convert, converter
from rtchat.core.errors import UsageError
from rtchat.core.text import sentence
from rtchat.core.values import AudioFormat, Encoding, JsonObject, Options
from rtchat.server.items import CommandError
from rtchat.wire.audio_options import read_format

_OURS = AudioFormat()


def format_of(fields: JsonObject, way: Literal["input", "output"]) -> AudioFormat:
    """The format in the fields of a session or response."""
    named = read_format(fields, way)
    return (named and named.resolved(_OURS)) or _OURS


def decoder(format: AudioFormat) -> Convert:
    """Converts a client's audio to that of the server."""
    return converter(format, _OURS)


def encoder(format: AudioFormat) -> Convert:
    """Converts the server's audio to that of a client."""
    return converter(_OURS, format)


def decoded_size(size: int, format: AudioFormat) -> int:
    """The size in bytes of a client's audio after it is decoded."""
    samples = size // 2 if format.encoding is Encoding.PCM else size
    return samples * _OURS.rate // format.rate * 2


def check_formats(options: Options, path: str) -> None:
    """Raises `CommandError` if a package for an audio format is not installed."""
    for way in ("input", "output"):
        try:
            decoder(format_of(options.other, way))
        except UsageError as error:
            param = f"{path}.audio.{way}.format.type"
            raise CommandError("invalid_value", sentence(str(error)), param) from None
