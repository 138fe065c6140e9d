"""Converts the audio of commands to the rate that a server accepts."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from rtchat.core.effects import AddItem, AppendAudio, ClearAudio, Command, CommitAudio, Configure
from rtchat.core.values import Message, Part
from rtchat.wire import audio_options as options


class InputRate:
    """Converts the audio in commands from 24 kHz to the rate that a server accepts.

    The constructor raises UsageError if that needs a package that is not installed.
    """

    def __init__(self, rate: int) -> None:
        from rtchat.audio.conversion import resampler
        from rtchat.audio.pcm import RATE

        message = f"this server requires audio at {rate // 1000} kHz"
        self._resample = resampler(RATE, rate, message)
        self._resample_part = resampler(RATE, rate, message)

    def __call__(self, command: Command) -> Iterator[Command]:
        """The command with converted audio, preceded by the remaining audio before it."""
        match command:
            case AppendAudio(audio):
                if audio := self._resample(audio, last=False):
                    yield replace(command, audio=audio)
                return
            case CommitAudio():
                if rest := self._resample(b"", last=True):
                    yield AppendAudio(rest)
            case Configure() | ClearAudio():  # the audio before it is discarded
                self._resample(b"", last=True)
            case AddItem(Message(parts=parts) as item):
                item = replace(item, parts=tuple(map(self._part, parts)))
                command = replace(command, item=item)
            case _:
                pass
        yield command

    def _part(self, part: Part) -> Part:
        if part.kind != "audio" or not part.data:
            return part
        audio = self._resample_part(b64decode(part.data), last=True)
        return replace(part, data=b64encode(audio).decode())


def converter(rate: int) -> Callable[[Command], Iterable[Command]] | None:
    """A converter for a server that accepts audio at this rate (0: no audio); None if no conversion
    is needed."""
    return None if rate in (0, options.OUTPUT_RATE) else InputRate(rate)
