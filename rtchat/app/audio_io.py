"""The audio input and output of a session, made from the settings."""

from __future__ import annotations

from pathlib import Path

from rtchat.config.settings import Settings
from rtchat.core.errors import UsageError
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import JsonObject, value
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
        UsageError: the settings ask for a format other than PCM.
    """
    if not (audio.hears or audio.speaks):
        return settings.session, SpeechOptions(stores_audio=settings.keep_audio)
    refuse_formats(settings)
    vad = (settings.vad or "server") if audio.is_live else "off"
    session = options.with_voice(settings.session, hears=audio.hears, speaks=audio.speaks, vad=vad)
    has_turns, replies, interrupts = options.turn_ends(session)
    return session, SpeechOptions(
        speaks=audio.speaks,
        has_microphone=audio.is_live,
        push_to_talk=not has_turns,
        replies=replies,
        interrupts=interrupts,
        transcribes=audio.hears and options.transcribes(session),
        transcription_model=options.transcription_model(session) if audio.hears else "",
        stores_audio=settings.keep_audio,
        input_rate=options.input_rate(settings.forced_dialect) if audio.hears else 0,
        output_rate=options.OUTPUT_RATE if audio.speaks else 0,
    )


def refuse_formats(settings: Settings) -> None:
    """Raise UsageError if the settings ask for a format other than PCM."""
    for fields in (settings.session, settings.response):
        if others := options.other_formats(fields):
            hint = "remove audio.input.format and audio.output.format from the settings"
            message = f"unsupported audio format {others[0]} (expected audio/pcm)"
            raise UsageError(message, hint=hint)
