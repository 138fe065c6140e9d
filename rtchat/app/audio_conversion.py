"""Converts the audio of a session to and from the formats of its server."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace

from rtchat.audio.codec import Convert, converter, unchanged
from rtchat.core.effects import (
    AddItem,
    AppendAudio,
    ClearAudio,
    CloseSession,
    Command,
    CommitAudio,
    Configure,
    UseFormats,
)
from rtchat.core.events import ChannelDone, Delta, ReplyEnded, ServerEvent, SessionEnded
from rtchat.core.reply_audio import container_of, read_audio
from rtchat.core.values import AudioFormat, Channel, Message, NamedFormat, Part, value

_OURS = AudioFormat()
"""The format of all audio in the program."""
_MAX_PARTS = 100
"""How many incomplete parts are remembered. Of more, the oldest is forgotten."""


@value
class _IncomingPart:
    last: Delta
    """Its last delta."""
    convert: Convert


class SessionAudio:
    """The conversion in both directions.

    `input` and `output` are the formats that are requested; None means no audio. The constructor
    raises UsageError if a conversion needs a package that is not installed.
    """

    def __init__(self, input: AudioFormat | None, output: AudioFormat | None) -> None:
        self._requested = UseFormats(input, output)
        self.reset()

    def close(self) -> None:
        """Free the converters. soxr would report those that are left at exit as leaks."""
        self._parts.clear()
        self._to_server = self._part_to_server = unchanged

    def reset(self) -> None:
        """Convert to and from the requested formats: a new connection begins."""
        self._parts: dict[tuple[str, int], _IncomingPart] = {}
        self._use(self._requested)

    def use(self, formats: UseFormats) -> None:
        """Convert to and from these formats. A part that has begun keeps its format."""
        if formats != self._formats:
            self._use(formats)
        # Audio without an item is one endless part.
        self._parts = {key: part for key, part in self._parts.items() if key[0]}

    def _use(self, formats: UseFormats) -> None:
        self._formats = formats
        input = formats.input or _OURS
        self._to_server = converter(_OURS, input)
        self._part_to_server = converter(_OURS, input)
        self._from_server(None)  # raises the error now

    def _from_server(self, named: NamedFormat | None) -> Convert:
        """The conversion of a part whose server names this format in it."""
        usual = self._formats.output or _OURS
        return converter((named and named.resolved(usual)) or usual, _OURS)

    # ------------------------------------------------------------------------------- to the server

    def outgoing(self, command: Command) -> Iterator[Command]:
        """The command with converted audio, preceded by the remaining audio before it."""
        match command:
            case AppendAudio(audio):
                if audio := self._to_server(audio, last=False):
                    yield replace(command, audio=audio)
                return
            case CommitAudio() | CloseSession():
                if rest := self._to_server(b"", last=True):
                    yield AppendAudio(rest)
            case Configure() | ClearAudio():  # the audio before it is discarded
                self._to_server(b"", last=True)
            case AddItem(Message(parts=parts) as item):
                item = replace(item, parts=tuple(map(self._part, parts)))
                command = replace(command, item=item)
            case _:
                pass
        yield command

    def _part(self, part: Part) -> Part:
        if part.kind != "audio" or not part.data:
            return part
        audio = self._part_to_server(b64decode(part.data), last=True)
        return replace(part, data=b64encode(audio).decode())

    # ----------------------------------------------------------------------------- from the server

    def incoming(self, event: ServerEvent) -> Iterator[ServerEvent]:
        """The event with converted audio, preceded by the remaining audio before it."""
        match event:
            case Delta(Channel.AUDIO):
                event = self._converted(event)
            case ChannelDone(Channel.AUDIO):
                yield from self._rest((event.item_id, event.content_index))
            case ReplyEnded(response_id):
                for key, part in list(self._parts.items()):
                    if part.last.response_id in ("", response_id) or not response_id:
                        yield from self._rest(key)
            case SessionEnded():
                for key in list(self._parts):
                    yield from self._rest(key)
            case _:
                pass
        yield event

    def _converted(self, delta: Delta) -> Delta:
        """The delta with converted audio. Audio that is invalid is not changed; the conversation
        reports it."""
        key = delta.item_id, delta.content_index
        part = self._parts.get(key)
        if part is None or part.last.format != delta.format:
            convert = self._from_server(delta.format)
        else:
            convert = part.convert
        if convert is not unchanged:
            try:
                audio = read_audio(delta)
            except ValueError:
                return delta
            if part is None and container_of(audio):
                return delta
            delta = replace(delta, text=b64encode(convert(audio, last=False)).decode())
        self._parts[key] = _IncomingPart(delta, convert)
        if len(self._parts) > _MAX_PARTS:
            del self._parts[next(iter(self._parts))]
        return delta

    def _rest(self, key: tuple[str, int]) -> Iterator[Delta]:
        part = self._parts.pop(key, None)
        if part is not None and (audio := part.convert(b"", last=True)):
            yield replace(part.last, text=b64encode(audio).decode())
