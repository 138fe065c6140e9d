"""Which files to transcribe, and into which files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rtchat.app.files import check_folder, errors_translated
from rtchat.audio.input_file import path_of
from rtchat.core.errors import UsageError
from rtchat.core.subtitles import TranscriptFormat
from rtchat.core.values import value
from rtchat.system.files import replace_file, shown_name, unreadable

STDIN = "-"
_ENDINGS = frozenset(
    [
        *(".3g2", ".3gp", ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".ape", ".asf"),
        *(".au", ".avi", ".awb", ".caf", ".dsf", ".dts", ".eac3", ".f4v", ".flac", ".flv"),
        *(".m2ts", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4"),
        *(".mpc", ".mpeg", ".mpg", ".mpga", ".mts", ".oga", ".ogg", ".ogv", ".opus", ".qcp"),
        *(".ra", ".rf64", ".rm", ".snd", ".spx", ".ts", ".tta", ".voc", ".vob", ".w64"),
        *(".wav", ".weba", ".webm", ".wma", ".wmv", ".wv"),
    ]
)
"""The endings of the files of a folder that are transcribed: those of the formats in
`audio/file_format.py`."""


@value
class Job:
    """A file to transcribe, and the file with its transcript; None is stdout."""

    source: str
    target: Path | None = None

    @property
    def is_done(self) -> bool:
        """Whether the transcript exists."""
        return self.target is not None and os.path.exists(self.target)

    @property
    def replaces_source(self) -> bool:
        """Whether the transcript would replace the recording."""
        return self.is_done and os.path.realpath(self.target or "") == os.path.realpath(self.source)


def jobs_of(
    names: Sequence[str], folder: Path | None, format: TranscriptFormat, *, overwrites: bool
) -> list[Job]:
    """What to do for these files and folders. With `folder`, the transcripts are written into it.

    Raises:
        UsageError: a name is not that of a file, a folder has no audio files, `folder` is no
            folder, two transcripts would have the same name, one would replace a recording or a
            folder, or they cannot be told apart on stdout. Without a folder, nothing can be
            overwritten.
    """
    sources = [file for name in names for file in _files_of(name)]
    for source in sources:
        path_of(source)
    if folder is None:
        if overwrites:
            raise UsageError("--force requires --output", hint="add -o FOLDER")
        if len(sources) > 1 and format != "txt":
            message = f"several {format} transcripts cannot be printed together"
            raise UsageError(message, hint="write them into a folder with -o FOLDER")
        if len(sources) > 1 and STDIN in sources:
            raise UsageError("stdin cannot be combined with files", hint="transcribe it alone")
        return [Job(source) for source in sources]
    if not sources or STDIN in sources:
        raise UsageError("--output needs files to transcribe", hint="name files or a folder")
    hint = f"use the name of a folder, or print one transcript: > FILE.{format}"
    check_folder(folder, "--output", [f".{each}" for each in get_args(TranscriptFormat)], hint)
    targets: dict[str, Job] = {}
    for source in sources:
        job = Job(source, folder / f"{Path(source).stem}.{format}")
        other = targets.setdefault(str(job.target).casefold(), job)
        if other is not job:
            both = f"{shown_name(other.source)} and {shown_name(source)}"
            message = f"{both} would have the same transcript"
            raise UsageError(message, hint="name one of them, or write them into different folders")
        if job.replaces_source or os.path.isdir(job.target or ""):
            replaced = source if job.replaces_source else job.target
            message = f"the transcript would replace {shown_name(replaced)}"
            raise UsageError(message, hint="write it into another folder")
    return list(targets.values())


def new_of(jobs: Sequence[Job]) -> list[Job]:
    """The jobs whose transcripts do not exist. Raises UsageError if all of them exist."""
    new = [job for job in jobs if not job.is_done]
    if jobs and not new:
        raise _exists(jobs[0].target)
    return new


def _files_of(name: str) -> list[str]:
    """The audio files of a folder, by name; or the file itself."""
    if name == STDIN or not os.path.isdir(name):
        return [name]
    try:
        files = sorted(os.listdir(name))
    except OSError as error:
        raise unreadable(shown_name(name), error) from error
    found = [
        os.path.join(name, file)
        for file in files
        if Path(file).suffix.lower() in _ENDINGS and not file.startswith(".")
    ]
    found = [path for path in found if os.path.isfile(path)]
    if not found:
        message = f"there are no audio files in {shown_name(name)}"
        raise UsageError(message, hint="name the files; sub-folders are not searched")
    return found


def write_transcript(target: Path, content: bytes, *, overwrites: bool) -> None:
    """Write a transcript as a whole, readable only by its owner, or not at all.

    Raises:
        UsageError: the file exists, and `overwrites` is not set.
        OutputError: it cannot be written.
    """
    with errors_translated(target):
        if not overwrites and target.exists():
            raise _exists(target)
        replace_file(target, content)


def _exists(target: Path | None) -> UsageError:
    hint = "use --force to overwrite it, or another folder"
    return UsageError(f"{shown_name(target)} already exists", hint=hint)
