"""A translation session: audio in one language in, text and audio in another language out.

The server translates continuously, without turns. Some servers report how much of the audio is
translated; if the connection is lost, the rest is sent again.
"""

from __future__ import annotations

from dataclasses import replace

from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core import notices, server_errors
from rtchat.core.audio_session import AudioSession, AudioSetup
from rtchat.core.errors import ExitCode, Problem
from rtchat.core.reply_audio import FormatError, ReplyAudio
from rtchat.core.signals import report
from rtchat.core.transcript_lines import TranscriptLines
from rtchat.core.values import BYTES_A_MS, AudioFormat, Channel, Dialect, Usage, value

LAG_MS = 2000
"""Milliseconds of audio before the reported position that are sent again, too: some of the words in
them may not be translated yet."""
PAUSE_MS = 2000
"""Milliseconds of audio without words after which the text continues on a new line."""
REST_WAIT = 3.0
"""Seconds to wait for more text from a server that does not know `session.close`."""
NORMAL_CLOSE = frozenset({"1000", "1005"})
"""The close codes of a server that has nothing more to send."""


@value
class TranslationSetup(AudioSetup):
    """What a translation is made from. The format of the audio is the same in both directions."""

    speaks: bool = False
    """Whether the audio of the translation is played or recorded."""

    @property
    def output_format(self) -> AudioFormat | None:
        """The format of the translated speech; None if it is neither played nor recorded."""
        return self.input_format if self.speaks else None

    def make(self) -> Translation:
        """A new translation."""
        return Translation(self)


class Translation(AudioSession):
    """One translation."""

    def __init__(self, setup: TranslationSetup) -> None:
        super().__init__(setup)
        self._text = TranslationLines()
        self._source = TranslationLines()
        self._audio = ReplyAudio(speaks=setup.speaks)
        self._is_audio_bad = False
        """Whether audio that could not be decoded was reported."""
        self._has_text = False
        """Whether this session has sent any translated text."""
        self._elapsed_ms: int | None = None
        """How much of this session's audio is translated, if the server reports it."""
        self._close = ""
        """The event id of the command that ends the session."""
        self._is_close_refused = False

    SETTINGS_HINT = "check --to and --set"

    def _unsuitable(self, session: ev.SessionCreated) -> Problem | None:
        is_suitable = session.dialect in (None, Dialect.TRANSLATION)
        return None if is_suitable else server_errors.no_translation()

    def _receive(self, event: ev.Event) -> None:
        match event:
            case ev.Delta(Channel.TRANSCRIPT):
                self._translated(event)
            case ev.Delta(Channel.INPUT_TRANSCRIPT):
                self._show_source(self._source.add(event))
            case ev.Delta(Channel.AUDIO):
                self._play(event)
            case ev.SessionEnded() if self._is_ending:
                self._finish(None)
            case ev.SessionEnded():
                self._perform(self._connection.close(server_errors.session_ended()))
            case _:
                pass

    # ----------------------------------------------------------------------------- text and audio

    def _translated(self, delta: ev.Delta) -> None:
        self._connection.works()
        self._has_text = True
        if delta.elapsed_ms is not None:
            self._elapsed_ms = delta.elapsed_ms
            self._speech.processed(max(0, delta.elapsed_ms - LAG_MS))
        self._show_text(self._text.add(delta))
        self._wait_for_rest()

    def _show_source(self, text: str) -> None:
        if text:
            self._do(fx.Show(fx.SourceArrived(text)))

    def _play(self, delta: ev.Delta) -> None:
        try:
            play = self._audio.play(delta)
        except FormatError as error:
            self._exit = ExitCode.REPLY
            self._audio = ReplyAudio(speaks=False)
            self._do(report(server_errors.unplayable(str(error))))
        except ValueError as error:
            level: fx.Level = "detail" if self._is_audio_bad else "warning"
            self._is_audio_bad = True
            self._do(notices.invalid_audio(str(error), level))
        else:
            self._do(*([play] if play is not None else ()))

    def _audio_sent(self, audio: bytes) -> None:
        self._add_usage(Usage(seconds=len(audio) / BYTES_A_MS / 1000))

    # -------------------------------------------------------------------------------------- the end

    def _send_end(self) -> None:
        close = self._connection.send(fx.CloseSession())
        self._close = close.event_id
        self._do(close)

    def _problem(self, error: ev.ServerProblem) -> None:
        if self._close and error.event_id == self._close:
            self._is_close_refused = True
            self._do(self._connection.server_reports(error.message, "detail"))
            self._wait_for_rest()
        else:
            super()._problem(error)

    def _wait_for_rest(self) -> None:
        if self._is_close_refused:
            self._do(fx.SetTimer(ev.Timer.OVERDUE, REST_WAIT))

    def _timer(self, timer: ev.Timer) -> None:
        if timer is ev.Timer.OVERDUE:
            self._finish(None)
        else:
            super()._timer(timer)

    def _session_lost(self, problem: Problem) -> None:
        is_known = not self._has_text or self._elapsed_ms is not None
        if self._is_ending and problem.code in NORMAL_CLOSE:
            self._finish(None)
        elif self._from_file and not is_known:
            self._finish(problem)  # it is not known where to continue
        else:
            self._end_lines()
            if not is_known:
                self._speech.processed(None)
            self._speech.closed()
            self._has_text, self._elapsed_ms = False, None
            self._close, self._is_close_refused = "", False

    def _end_lines(self) -> None:
        self._show_text(self._text.end_session())
        self._show_source(self._source.end_session())
        self._do(*self._audio.close())

    def _end_text(self) -> str:
        self._end_lines()
        return self._text.all


class TranslationLines:
    """The text in one language, with a line break after each pause. Methods return the text that
    can now be shown in addition."""

    def __init__(self) -> None:
        self._lines = TranscriptLines()
        self._line = 0
        self._is_begun = False
        """Whether the line has any text."""
        self._elapsed_ms: int | None = None

    @property
    def all(self) -> str:
        """The whole text so far."""
        return self._lines.all

    def add(self, delta: ev.Delta) -> str:
        """Add the next piece of the text."""
        shown = ""
        if delta.elapsed_ms is not None:
            before, self._elapsed_ms = self._elapsed_ms, delta.elapsed_ms
            if before is not None and delta.elapsed_ms - before >= PAUSE_MS and self._is_begun:
                shown = self._lines.end_turn(str(self._line))
                self._line += 1
                self._is_begun = False
        text = delta.text if self._is_begun else delta.text.lstrip()
        self._is_begun |= bool(text)
        return shown + self._lines.add(str(self._line), replace(delta, text=text))

    def end_session(self) -> str:
        """End the text of this session, and begin that of the next on a new line."""
        self._is_begun, self._elapsed_ms = False, None
        return self._lines.end_connection()
