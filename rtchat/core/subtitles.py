"""The formats of transcripts, and the subtitles among them: SubRip (SRT) and WebVTT."""

from __future__ import annotations

from typing import Literal, TypeAlias

from rtchat.core.cues import Cue

TranscriptFormat: TypeAlias = Literal["txt", "srt", "vtt", "json", "tsv"]
"""The formats of a transcript."""

VTT_HEADER = "WEBVTT\n\n"


def srt(number: int, cue: Cue) -> str:
    """A cue of a SubRip file. The first cue has number 1. SubRip has no escapes, so an arrow, which
    would look like a line of times, is shortened."""
    text = "\n".join(cue.lines).replace("-->", "->")
    return f"{number}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n{text}\n\n"


def vtt(cue: Cue) -> str:
    """A cue of a WebVTT file. Its speaker is in a voice tag."""
    end = " >" if cue.speaker.endswith("--") else ">"  # an arrow is not allowed in the text
    voice = f"<v {_escaped(cue.speaker)}{end}" if cue.speaker else ""
    text = "\n".join(map(_escaped, cue.lines))
    return f"{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n{voice}{text}\n\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(milliseconds: int, point: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{rest:03}"
