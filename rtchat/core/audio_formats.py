"""The audio formats of a session: those requested for it, and those that its server reports."""

from __future__ import annotations

from rtchat.core import server_errors
from rtchat.core.effects import UseFormats
from rtchat.core.errors import Problem
from rtchat.core.events import SessionCreated, SessionUpdated
from rtchat.core.values import AudioFormat, NamedFormat


class AudioFormats:
    """The formats of one session; None if there is no audio in that direction. A format that the
    server does not report is the requested one."""

    def __init__(self, input: AudioFormat | None, output: AudioFormat | None) -> None:
        self._requested = input, output
        self._reported: list[NamedFormat | None] = [None, None]
        self._used = UseFormats(input, output)

    def reset(self) -> None:
        """A new session begins, with the requested formats."""
        self._reported = [None, None]
        self._used = UseFormats(*self._requested)

    def note(self, session: SessionCreated | SessionUpdated) -> None:
        """Remember the formats that the server reports."""
        for index, reported in enumerate((session.input_format, session.output_format)):
            if reported is not None:
                self._reported[index] = reported

    def problem(self) -> Problem | None:
        """The problem if a format of the server is not supported, else None."""
        verbs = "expects", "sends"
        for verb, reported, requested in zip(verbs, self._reported, self._requested, strict=True):
            if reported and requested and reported.resolved(requested) is None:
                return server_errors.other_format(verb, reported)
        return None

    def changes(self) -> list[UseFormats]:
        """Use the formats of the server, if they have changed."""
        before, self._used = self._used, UseFormats(self._agreed(0), self._agreed(1))
        return [] if self._used == before else [self._used]

    def _agreed(self, index: int) -> AudioFormat | None:
        reported, requested = self._reported[index], self._requested[index]
        return requested and (reported.resolved(requested) if reported else requested)
