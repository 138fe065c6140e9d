"""Decodes files that are not uncompressed WAV: by ffmpeg if it is installed, else by `soundfile`,
which reads fewer formats and less of a damaged file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from rtchat.audio import ffmpeg
from rtchat.audio.completeness import damaged, find_damage, incomplete, says_how_much
from rtchat.audio.conversion import missing_package, pcm16_converter
from rtchat.audio.file_format import FileFormat, recognise
from rtchat.audio.input_file import InputFile
from rtchat.audio.pcm import RATE, WIDTH
from rtchat.audio.sound_file import open_sound, stated_seconds
from rtchat.audio.wav_reader import PIECE_SECONDS
from rtchat.core.errors import UsageError

if TYPE_CHECKING:
    from soundfile import SoundFile


def decode(file: InputFile, report: Callable[[str], None]) -> Iterator[bytes]:
    """Decode a file. Calls `report` with a finding of `completeness` at the end if it is damaged.

    Raises:
        UsageError: the file contains nothing that can be decoded, or a program or a package for
            that is not installed.
    """
    with file.as_file() as seekable:
        known = recognise(seekable)
        size, findings = 0, [""]
        for piece in _decoder(seekable, file.name, known, findings.append):
            size += len(piece)
            yield piece
        finding = findings[-1]
        if known is not None and not says_how_much(finding):
            finding = find_damage(seekable, known, size / WIDTH / RATE) or finding
        if finding:
            report(finding)


def _decoder(
    file: BinaryIO, name: str, known: FileFormat | None, report: Callable[[str], None]
) -> Iterator[bytes]:
    if known is not None and known.demuxer and ffmpeg.find() is not None:
        return ffmpeg.decode(file, name, known, report)
    if known is not None and not known.by_soundfile:
        hint = "install ffmpeg, or convert the file to WAV, FLAC, Ogg or MP3"
        raise UsageError(f"{name} is {known.name}, which needs the program ffmpeg", hint=hint)
    try:
        sound = open_sound(file)
    except (ImportError, OSError) as error:  # OSError: without libsndfile
        message = f"{name} is not an uncompressed WAV file"
        raise missing_package(message, "soundfile") from error
    if sound is not None:
        return _read_soundfile(sound, name, report)
    if known is None:
        kinds = "a WAV, FLAC, Ogg, MP3 or M4A file"
        hint = f"use a recording, such as {kinds}, or --raw RATE if it is PCM without a header"
        raise UsageError(f"{name} is not an audio file", hint=hint)
    message = f"{name} is damaged, or {known.name} with a codec that needs the program ffmpeg"
    raise UsageError(message, hint="install ffmpeg, or use a complete copy of the file")


def _read_soundfile(sound: SoundFile, name: str, report: Callable[[str], None]) -> Iterator[bytes]:
    import soundfile

    convert = pcm16_converter(sound.samplerate, name)
    # Prevents a seek after each read, which would change the decoded audio of an MP3.
    sound.seekable = lambda: False
    size = max(1, round(sound.samplerate * PIECE_SECONDS))
    frames, is_damaged = 0, False
    with sound:
        try:
            while len(block := sound.read(size, dtype="float32", always_2d=True)):
                frames += len(block)
                yield convert(block.mean(axis=1))
        except (soundfile.SoundFileError, ValueError):
            is_damaged = True
        yield convert(None)
        # The length of other formats is an estimate, or `find_damage` compares it.
        stated = stated_seconds(sound) if sound.format == "FLAC" else 0.0
        left = max(0.0, stated - frames / sound.samplerate)
    if is_damaged:
        report(damaged(left))
    elif left > 0:
        report(incomplete(left))
