"""Decodes files that are not uncompressed WAV: by `soundfile` if it can, else by ffmpeg."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from rtchat.audio import ffmpeg
from rtchat.audio.c_stderr import silence_libraries
from rtchat.audio.completeness import damaged, find_damage, truncated
from rtchat.audio.conversion import converter, missing_package
from rtchat.audio.file_format import FileFormat, recognise
from rtchat.audio.input_file import InputFile
from rtchat.audio.pcm import RATE, WIDTH
from rtchat.audio.wav_reader import PIECE_SECONDS
from rtchat.core.errors import UsageError

if TYPE_CHECKING:
    from soundfile import SoundFile


def decode(file: InputFile, report: Callable[[str], None]) -> Iterator[bytes]:
    """Decode a file. Calls `report` with a finding of `completeness` for each damage.

    Raises:
        UsageError: the file contains nothing that can be decoded, or a program or a package for
            that is not installed.
    """
    with file.as_file() as seekable:
        known = recognise(seekable)
        size = 0
        for piece in _decoder(seekable, file.name, known, report):
            size += len(piece)
            yield piece
        seconds = size / WIDTH / RATE
        if known is not None and (finding := find_damage(seekable, known, seconds)):
            report(finding)


def _decoder(
    file: BinaryIO, name: str, known: FileFormat | None, report: Callable[[str], None]
) -> Iterator[bytes]:
    has_ffmpeg = known is not None and ffmpeg.find() is not None
    if known is None or known.by_soundfile:
        try:
            sound = _open(file)
        except (ImportError, OSError) as error:  # OSError: without libsndfile
            if not has_ffmpeg:
                what = "not an uncompressed WAV file"
                raise missing_package(f"{name} is {what}", "soundfile") from error
        else:
            if sound is not None:
                return _read_soundfile(sound, name, report)
    if known is None:
        hint = "use a recording, such as a WAV, FLAC, Ogg, MP3 or M4A file"
        raise UsageError(f"{name} is not an audio file", hint=hint)
    if not has_ffmpeg:
        hint = "install ffmpeg, or convert the file to WAV, FLAC, Ogg or MP3"
        message = f"{name} is {known.name}, which the program ffmpeg decodes"
        if known.by_soundfile:
            message = f"{name} is damaged, or only the program ffmpeg decodes it ({known.name})"
        raise UsageError(message, hint=hint)
    return ffmpeg.decode(file, name, known, report)


def _open(file: BinaryIO) -> SoundFile | None:
    """Open a file by `soundfile`; None if it cannot be decoded. Raises ImportError or OSError."""
    import soundfile

    silence_libraries()
    file.seek(0)
    try:
        return soundfile.SoundFile(file)
    except (soundfile.SoundFileError, ValueError):
        return None


def _read_soundfile(sound: SoundFile, name: str, report: Callable[[str], None]) -> Iterator[bytes]:
    import soundfile

    convert = converter(sound.samplerate, name)
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
        # Other formats do not state their length, or state an approximate one.
        left = (sound.frames - frames) / sound.samplerate if sound.format == "FLAC" else 0.0
    if is_damaged:
        report(damaged(left))
    elif left > 0:
        report(truncated(left))
