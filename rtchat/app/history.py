"""`history`: kept conversations listed, shown, searched, exported and deleted.

On a terminal aligned and drawn; in a pipe columns parted by tabs, and text as it came.
"""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from rtchat.core.errors import ExitCode, OutputError, UsageError, writing_stdout
from rtchat.core.text import on_a_line, visible, write_json
from rtchat.core.values import JsonObject, Message, StoredConversation
from rtchat.history.export import Format, export, summary, when
from rtchat.history.store import FILE, Store
from rtchat.history.transcript import plain
from rtchat.system.folders import make_private

if TYPE_CHECKING:
    from rtchat.app.frontend import Environment

Say = Callable[[str], None]

_FORMATS: dict[str, Format] = {
    "": "markdown",
    ".md": "markdown",
    ".markdown": "markdown",
    ".json": "json",
    ".html": "html",
    ".htm": "html",
}
"""By file extension."""


def listing(streams: Environment, say: Say, *, limit: int | None, json: bool) -> ExitCode:
    """The latest conversations, newest first."""
    with _opened(streams) as store:
        found = store.conversations(limit)
    if not found:
        say("no conversation is kept")
    if json:
        return _objects(streams, [summary(kept) for kept in found])
    return _columns(streams, [_line(streams, kept) for kept in found])


def _line(streams: Environment, kept: StoredConversation) -> tuple[str, ...]:
    turns = str(kept.turns)
    if streams.stdout_is_terminal:
        turns += " turn" if kept.turns == 1 else " turns"
    return str(kept.id), when(kept.updated), turns, kept.model, kept.title


def search(streams: Environment, say: Say, words: str, *, limit: int, json: bool) -> ExitCode:
    """The latest places that have all these words."""
    with _opened(streams) as store:
        hits = store.search(words, limit)
    if not hits:
        say("nothing has these words")
    if json:
        found = [summary(hit.conversation) | {"turn": hit.turn, "snippet": hit.snippet} for hit in hits]
        return _objects(streams, found)
    turn = "turn " if streams.stdout_is_terminal else ""
    return _columns(
        streams,
        [
            (str(hit.conversation.id), when(hit.conversation.updated), f"{turn}{hit.turn}", hit.snippet)
            for hit in hits
        ],
    )


def show(streams: Environment, id: int | None) -> ExitCode:
    """A conversation, the latest if none is named, as `talk` left it on the screen."""
    kept = _read(streams, id)
    if not _draws(streams):
        return _write(streams, plain(kept))
    from rtchat.ui import history_view

    history_view.show(kept, history_view.console(streams.stdout, streams.environ))
    return ExitCode.OK


def save(
    streams: Environment,
    say: Say,
    id: int | None,
    *,
    format: str | None,
    file: Path | None,
    force: bool,
) -> ExitCode:
    """Export a conversation, the latest if none is named, to a file or to stdout."""
    if format is not None and format not in get_args(Format):
        raise UsageError(f"there is no format {format}", hint=", ".join(get_args(Format)))
    chosen = cast("Format", format) if format else _format_of(file)
    text = export(_read(streams, id), chosen)
    if file is None or file == Path("-"):
        return _write(streams, text)
    _save(file, text.encode(), force=force)
    say(f"written to {file}")
    return ExitCode.OK


def _format_of(file: Path | None) -> Format:
    if file is None or (file.exists() and not file.is_file()):  # a pipe can have any name
        return "markdown"
    chosen = _FORMATS.get(file.suffix.lower())
    if chosen is None:
        known = ", ".join(filter(None, _FORMATS))
        hint = f"name it {known}, or choose one with --format"
        raise UsageError(f"no export format has the extension {file.suffix}", hint=hint)
    return chosen


def save_audio(streams: Environment, say: Say, id: int | None, folder: Path) -> ExitCode:
    """Write what is kept of a conversation's audio to a folder: a WAV for each message, numbered
    in their order."""
    kept = _read(streams, id)
    sounds = [(item.role, audio) for item in _messages(kept) if (audio := _audio(item))]
    if not sounds:
        message = f"no audio of conversation {kept.id} is kept"
        raise UsageError(message, hint="talk and once keep it with --keep-audio")
    names = [f"{number:03}-{role}.wav" for number, (role, _) in enumerate(sounds, start=1)]
    for file in (folder / name for name in names):
        if file.exists():
            raise UsageError(f"{file} is there already", hint="name another folder")
    with _explained(folder):
        make_private(folder)
    for name, (_, audio) in zip(names, sounds, strict=True):
        _save(folder / name, _wav(audio), force=False)
    noun = "file" if len(names) == 1 else "files"
    say(f"{len(names)} {noun} written to {folder}")
    return ExitCode.OK


def _messages(kept: StoredConversation) -> Iterator[Message]:
    return (entry.item for entry in kept.entries if isinstance(entry.item, Message))


def _audio(message: Message) -> bytes:
    """What of it is sound, in whole samples; the file may hold what a server sent."""
    audio = bytearray()
    for part in message.parts:
        if part.kind == "audio":
            with suppress(ValueError):
                audio += b64decode(part.data)
    return bytes(audio[: len(audio) // 2 * 2])


def _wav(audio: bytes) -> bytes:
    """PCM16, mono, 24 kHz, as a file."""
    import wave

    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(audio)
    return out.getvalue()


def delete(
    streams: Environment, say: Say, ids: Sequence[int], confirm: Callable[[str], bool]
) -> None:
    """Delete these conversations, or all if none is named, for good; `confirm` is asked first."""
    with _opened(streams) as store:
        doomed = [store.read(id) for id in dict.fromkeys(ids)] or store.conversations()
        if not doomed:
            say("no conversation is kept")
        elif confirm(f"Delete {_naming(doomed)} for good?"):
            store.delete(*(kept.id for kept in doomed))
            say(f"deleted {_naming(doomed)}")
        else:
            say("nothing was deleted")


def _naming(conversations: Sequence[StoredConversation]) -> str:
    if len(conversations) > 1:
        return f"{len(conversations)} conversations"
    return f"conversation {conversations[0].id}, {conversations[0].title!r}"


@contextmanager
def _opened(streams: Environment) -> Iterator[Store]:
    with closing(Store(streams.data_dir / FILE)) as store:
        yield store


def _read(streams: Environment, id: int | None) -> StoredConversation:
    with _opened(streams) as store:
        return store.recall(id)


def _draws(streams: Environment) -> bool:
    return streams.stdout_is_terminal and streams.environ.get("TERM") != "dumb"


def _objects(streams: Environment, found: Sequence[JsonObject]) -> ExitCode:
    return _write(streams, "".join(write_json(one) + "\n" for one in found))


def _columns(streams: Environment, rows: Sequence[Sequence[str]]) -> ExitCode:
    cleaned = [[on_a_line(cell) for cell in row] for row in rows]
    if not cleaned or not _draws(streams):
        return _write(streams, "".join("\t".join(row) + "\n" for row in cleaned))
    from rtchat.ui import history_view

    history_view.table(cleaned, history_view.console(streams.stdout, streams.environ))
    return ExitCode.OK


def _write(streams: Environment, text: str) -> ExitCode:
    shown = visible(text) if streams.stdout_is_terminal else text
    with writing_stdout():
        streams.stdout.buffer.write(shown.encode())
        streams.stdout.buffer.flush()
    return ExitCode.OK


def _save(file: Path, content: bytes, *, force: bool) -> None:
    """Write a file that only its owner reads: conversations are private."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    with _explained(file):
        if file.exists() and not file.is_file():  # a pipe or a device: nothing is overwritten
            flags = os.O_WRONLY
        try:
            with open(os.open(file, flags, 0o600), "wb") as out:
                out.write(content)
        except FileExistsError as error:
            raise UsageError(f"{file} is there already", hint="--force overwrites it") from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{path} cannot be written ({error.strerror})"
        raise OutputError(message, hint="choose another place") from error
