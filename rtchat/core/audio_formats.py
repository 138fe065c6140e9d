"""The audio formats requested for a session, and those that its server reports."""

from __future__ import annotations

from rtchat.core import server_errors
from rtchat.core.errors import Problem
from rtchat.core.events import SessionCreated, SessionUpdated
from rtchat.core.values import AudioFormat


class AudioFormats:
    """The formats of one session. Rates are in samples per second; 0 if there is no audio."""

    def __init__(self, input_rate: int, output_rate: int) -> None:
        self._rates = input_rate, output_rate
        self._reported = [AudioFormat(), AudioFormat()]

    def reset(self) -> None:
        """Forget the reported formats: a new session begins."""
        self._reported = [AudioFormat(), AudioFormat()]

    def note(self, session: SessionCreated | SessionUpdated) -> None:
        """Remember the formats that the server reports."""
        for index, reported in enumerate((session.input_format, session.output_format)):
            if reported is not None:
                self._reported[index] = reported

    def problem(self) -> Problem | None:
        """The problem if the server's formats differ from those requested, else None."""
        verbs = "expects", "sends"
        for verb, reported, rate in zip(verbs, self._reported, self._rates, strict=True):
            if rate and not reported.fits(rate):
                return server_errors.other_format(verb, reported, rate)
        return None
