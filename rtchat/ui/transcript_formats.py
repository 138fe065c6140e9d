"""The formats of transcripts: text, subtitles, a table, and JSON. What is final is written at once;
everything else goes to stderr as usual."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import BinaryIO, Literal

from rtchat.core.cues import CueMaker, offset_ms
from rtchat.core.effects import Notice, ReplyOver, TurnTranscribed, Update
from rtchat.core.ports import View
from rtchat.core.subtitles import VTT_HEADER, TranscriptFormat, srt, vtt
from rtchat.core.text import visible, write_json
from rtchat.core.values import Status
from rtchat.ui.json_view import turn_as_json
from rtchat.ui.plain_view import PlainView, StatusWriter
from rtchat.ui.transcript_view import TranscriptView
from rtchat.ui.view_wrapper import ViewWrapper

ESTIMATED = Notice("info", "some times are estimates: the server sent no times of words")


def transcript_view(
    format: TranscriptFormat, out: BinaryIO, status: StatusWriter, *, is_terminal: bool
) -> View:
    """The view that writes a transcript in a format. Text on a terminal cannot control it."""
    match format:
        case "txt":
            return TranscriptView(out, status) if is_terminal else PlainView(out, status, raw=True)
        case "srt" | "vtt":
            return SubtitleView(out, status, format, is_terminal=is_terminal)
        case "tsv":
            return TurnView(out, status, _row, "start\tend\ttext\tspeaker\n", is_terminal)
        case "json":
            return TurnView(out, status, _json, "", is_terminal)


NO_SPEECH = Notice("info", "no speech found")


class OutcomeView(ViewWrapper):
    """Notes how a transcription ends, and says so if nothing was said."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._has_failed = False
        self.is_complete = False
        """Whether all audio was transcribed that could be read."""
        self.reason = ""
        """Why the transcription ended early."""

    def show(self, update: Update) -> None:
        """Show an update."""
        super().show(update)
        match update:
            case TurnTranscribed(error=error):
                self._has_failed |= bool(error)
            case Notice(level="error"):
                self._has_failed = True
            case ReplyOver():
                self.is_complete = update.status is Status.COMPLETED
                self.reason = "" if update.problem is None else update.problem.message
                if self.is_complete and not (update.text.strip() or self._has_failed):
                    super().show(NO_SPEECH)
            case _:
                pass


class TurnView(View):
    """Writes each turn of a transcription once its transcript is complete. The header is written
    even if nothing was said."""

    def __init__(
        self,
        out: BinaryIO,
        status: StatusWriter,
        write_turn: Callable[[TurnTranscribed], str],
        header: str,
        is_terminal: bool,
    ) -> None:
        self._out = out
        self._status_writer = status
        self._write_turn = write_turn
        self._header = header
        self._is_terminal = is_terminal

    def show(self, update: Update) -> None:
        """Write a turn, or show anything else."""
        match update:
            case TurnTranscribed():
                self._write(self._write_turn(update))
            case ReplyOver():
                self._write("")
            case _:
                pass
        self._status_writer.show(update)

    def _write(self, text: str) -> None:
        text, self._header = self._header + text, ""
        if text:
            self._out.write((visible(text) if self._is_terminal else text).encode())
            self._out.flush()


class SubtitleView(TurnView):
    """Writes subtitles."""

    def __init__(
        self,
        out: BinaryIO,
        status: StatusWriter,
        format: Literal["srt", "vtt"],
        *,
        is_terminal: bool,
    ) -> None:
        header = VTT_HEADER if format == "vtt" else ""
        super().__init__(out, status, self._cues, header, is_terminal)
        self._maker = CueMaker(names_speakers=format == "srt")
        self._numbers = count(1)
        self._format = format

    def show(self, update: Update) -> None:
        """Write the cues of a turn, or show anything else."""
        super().show(update)
        if isinstance(update, ReplyOver) and self._maker.is_estimated:
            self._status_writer.show(ESTIMATED)

    def _cues(self, turn: TurnTranscribed) -> str:
        cues = self._maker.cues(turn)
        if self._format == "vtt":
            return "".join(map(vtt, cues))
        return "".join(srt(next(self._numbers), cue) for cue in cues)


def _json(turn: TurnTranscribed) -> str:
    return write_json(turn_as_json(turn)) + "\n"


def _row(turn: TurnTranscribed) -> str:
    """A line for each segment of a turn, or for the turn: times in milliseconds, text, speaker."""
    return "".join("\t".join(map(_cell, row)) + "\n" for row in _rows(turn))


def _rows(turn: TurnTranscribed) -> Iterator[Iterable[object]]:
    if not any(segment.speaker for segment in turn.segments):
        if turn.text:
            yield turn.start_ms, turn.end_ms, turn.text, ""
        return
    for segment in turn.segments:
        offset = offset_ms(turn)
        times = (offset + round(seconds * 1000) for seconds in (segment.start, segment.end))
        yield *times, segment.text, segment.speaker


def _cell(content: object) -> str:
    return "" if content is None else " ".join(str(content).split())
