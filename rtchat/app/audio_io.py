"""The audio input and output of a session, made from the settings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from rtchat.config.settings import Settings
from rtchat.config.table import Setting
from rtchat.core.errors import UsageError
from rtchat.core.server_errors import SUPPORTED_FORMATS
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import AudioFormat, JsonObject, value
from rtchat.wire import audio_options as options


@value
class AudioSettings:
    """The audio input and output of a session."""

    audio_in: str | None = None
    """An audio file with the question; `-` is stdin."""
    audio_out: Path | None = None
    """Where replies are recorded: a file for `once`, a folder for `talk`."""
    is_live: bool = False
    """Whether the microphone and the speaker are used."""
    transcribes: bool = False
    """Whether the input is only transcribed."""

    @property
    def hears(self) -> bool:
        """Whether there is audio input."""
        return self.is_live or self.transcribes or self.audio_in is not None

    @property
    def speaks(self) -> bool:
        """Whether there is audio output."""
        return self.is_live or self.audio_out is not None


def audio_config(settings: Settings, audio: AudioSettings) -> tuple[JsonObject, SpeechOptions]:
    """The session options and the speech options for these settings.

    Raises:
        UsageError: the settings ask for an audio format that is not supported.
    """
    if not (audio.hears or audio.speaks):
        return settings.session, SpeechOptions(stores_audio=settings.keep_audio)
    vad = settings.vad if audio.is_live else "off"
    session = options.with_voice(
        settings.session,
        hears=audio.hears,
        speaks=audio.speaks,
        vad=vad,
        dialect=settings.forced_dialect,
    )
    session = options.with_output_format(session, settings.response)
    has_turns, replies, interrupts = options.turn_ends(session)
    input = requested_format(session, "input") if audio.hears else AudioFormat(rate=0)
    output = requested_format(session, "output") if audio.speaks else AudioFormat(rate=0)
    return session, SpeechOptions(
        speaks=audio.speaks,
        has_microphone=audio.is_live,
        push_to_talk=not has_turns,
        replies=replies,
        interrupts=interrupts,
        transcribes=audio.hears and options.transcribes(session),
        transcription_model=options.transcription_model(session) if audio.hears else "",
        stores_audio=settings.keep_audio,
        input_rate=input.rate,
        output_rate=output.rate,
        input_encoding=input.encoding,
        output_encoding=output.encoding,
    )


def refuse_options(
    settings: Settings, rows: Iterable[Setting[Any]], reason: str, hint: str
) -> None:
    """Refuse the options of these rows, which would have no effect, for a reason such as "requires
    --voice". In the environment or the config file they may be set for other commands.

    Raises:
        UsageError: one of the options was given.
    """
    for row in rows:
        if settings.origins.get(row.name) == row.option:
            raise UsageError(f"{row.option} {reason}", hint=hint)


def refuse_microphone_options(settings: Settings) -> None:
    """Refuse the options of the microphone for a file or a pipe.

    Raises:
        UsageError: one of the options was given.
    """
    rows = (Settings.input_device, Settings.aec)
    refuse_options(settings, rows, "is for the microphone", "remove it, or name no file")


def requested_format(session: JsonObject, way: Literal["input", "output"]) -> AudioFormat:
    """The audio format that these session options ask for.

    Raises:
        UsageError: the format is not supported.
    """
    named = options.read_format(session, way)
    format = AudioFormat() if named is None else named.resolved(AudioFormat())
    if format is None:
        message = f"unsupported audio format {named} (expected {SUPPORTED_FORMATS})"
        hint = f"set audio.{way}.format.type to audio/pcm, audio/pcmu or audio/pcma"
        raise UsageError(message, hint=hint)
    return format
