"""`history`: list, show, search, export and delete saved conversations.

On a terminal, output is aligned and rendered; in a pipe, columns are separated by tabs and text is
written as received.
"""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from rtchat.audio.wav import header
from rtchat.core.errors import ExitCode, OutputError, UsageError, writing_stdout
from rtchat.core.text import on_a_line, visible, write_json
from rtchat.core.values import JsonObject, Message, StoredConversation
from rtchat.history.branches import current
from rtchat.history.export import Format, export, summary, when
from rtchat.history.store import FILE, Store
from rtchat.history.transcript import branch_lines, plain, turns_in_full
from rtchat.system.folders import make_private

if TYPE_CHECKING:
    from rtchat.app.environment import Environment

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


def listing(environment: Environment, say: Say, *, limit: int | None, json: bool) -> ExitCode:
    """The latest conversations, newest first."""
    with _open_store(environment) as store:
        found = store.conversations(limit)
    if not found:
        say("no saved conversations")
    if json:
        return _write_json_lines(environment, [summary(conversation) for conversation in found])
    return _write_columns(environment, [_line(environment, conversation) for conversation in found])


def _line(environment: Environment, conversation: StoredConversation) -> tuple[str, ...]:
    turns = str(conversation.turns)
    if environment.stdout_is_terminal:
        turns += " turn" if conversation.turns == 1 else " turns"
    return (
        str(conversation.id),
        when(conversation.updated),
        turns,
        conversation.model,
        conversation.title,
    )


def search(environment: Environment, say: Say, words: str, *, limit: int, json: bool) -> ExitCode:
    """Search for items that contain all of these words, newest first."""
    with _open_store(environment) as store:
        matches = store.search(words, limit)
    if not matches:
        say("no matches")
    if json:
        found = [
            summary(match.conversation) | {"turn": match.turn, "snippet": match.snippet}
            for match in matches
        ]
        return _write_json_lines(environment, found)
    turn = "turn " if environment.stdout_is_terminal else ""
    return _write_columns(
        environment,
        [
            (
                str(match.conversation.id),
                when(match.conversation.updated),
                f"{turn}{match.turn}",
                match.snippet,
            )
            for match in matches
        ],
    )


def show(environment: Environment, id: int | None, *, all_branches: bool = False) -> ExitCode:
    """Show a conversation, by default the latest: its current branch as `talk` shows it, or all
    turns with their numbers. A tree of the branches follows, if there are several."""
    conversation = _read(environment, id, all_branches=True)
    origin = conversation.forked_from
    headings = [] if origin is None else [f"[forked from conversation {origin}]"]
    turns = turns_in_full(conversation) if all_branches else [("", current(conversation))]
    lines = branch_lines(conversation)
    if not _is_drawn(environment):
        parts = [
            *headings,
            *(part for turn in turns for part in (turn[0], plain(turn[1]).strip("\n"))),
        ]
        text = "\n\n".join(filter(None, (*parts, "\n".join(lines))))
        return _write(environment, f"{text}\n")
    from rtchat.ui import history_view

    console = history_view.console(environment.stdout, environment.environ)
    for heading, turn in turns:
        history_view.lines([*headings, *filter(None, [heading])], console)
        history_view.show(turn, console)
        headings = [""]
    history_view.lines(["", *lines] if lines else [], console)
    return ExitCode.OK


def save(
    environment: Environment,
    say: Say,
    id: int | None,
    *,
    format: str | None,
    file: Path | None,
    force: bool,
    all_branches: bool = False,
) -> ExitCode:
    """Export a conversation, by default the latest, to a file or to stdout: its current branch, or
    as JSON all branches."""
    if format is not None and format not in get_args(Format):
        raise UsageError(f"invalid format {format!r} (expected {', '.join(get_args(Format))})")
    chosen = cast("Format", format) if format else _format_of(file)
    if all_branches and chosen != "json":
        raise UsageError(
            f"a {chosen} export has only the current branch", hint="use --all with --format json"
        )
    text = export(_read(environment, id, all_branches=all_branches), chosen)
    if file is None or file == Path("-"):
        return _write(environment, text)
    _save(file, text.encode(), force=force)
    say(f"written to {file}")
    return ExitCode.OK


def _format_of(file: Path | None) -> Format:
    if file is None or (file.exists() and not file.is_file()):  # a pipe can have any name
        return "markdown"
    chosen = _FORMATS.get(file.suffix.lower())
    if chosen is None:
        known = ", ".join(filter(None, _FORMATS))
        hint = f"use {known}, or choose a format with --format"
        raise UsageError(f"unknown file extension {file.suffix!r}", hint=hint)
    return chosen


def save_audio(environment: Environment, say: Say, id: int | None, folder: Path) -> ExitCode:
    """Write the saved audio of a conversation to a folder: a numbered WAV file for each message."""
    conversation = _read(environment, id)
    recordings = [(item.role, audio) for item in _messages(conversation) if (audio := _audio(item))]
    if not recordings:
        message = f"conversation {conversation.id} has no saved audio"
        raise UsageError(message, hint="use --keep-audio with talk or once to save audio")
    names = [f"{number:03}-{role}.wav" for number, (role, _) in enumerate(recordings, start=1)]
    for file in (folder / name for name in names):
        if file.exists():
            raise UsageError(f"{file} already exists", hint="use another folder")
    with _errors_translated(folder):
        make_private(folder)
    for name, (_, audio) in zip(names, recordings, strict=True):
        _save(folder / name, header(len(audio)) + audio, force=False)
    noun = "file" if len(names) == 1 else "files"
    say(f"{len(names)} {noun} written to {folder}")
    return ExitCode.OK


def _messages(conversation: StoredConversation) -> Iterator[Message]:
    return (entry.item for entry in conversation.entries if isinstance(entry.item, Message))


def _audio(message: Message) -> bytes:
    """The audio of a message, in whole samples. Invalid base64 from a server is skipped."""
    audio = bytearray()
    for part in message.parts:
        if part.kind == "audio":
            with suppress(ValueError):
                audio += b64decode(part.data)
    return bytes(audio[: len(audio) // 2 * 2])


def delete(
    environment: Environment, say: Say, ids: Sequence[int], confirm: Callable[[str], bool]
) -> None:
    """Delete these conversations, or all if no id is given. `confirm` is asked first."""
    with _open_store(environment) as store:
        conversations = [store.read(id) for id in dict.fromkeys(ids)] or store.conversations()
        if not conversations:
            say("no saved conversations")
        elif confirm(f"Permanently delete {_describe(conversations)}?"):
            store.delete(*(conversation.id for conversation in conversations))
            say(f"deleted {_describe(conversations)}")
        else:
            say("nothing was deleted")


def _describe(conversations: Sequence[StoredConversation]) -> str:
    if len(conversations) > 1:
        return f"{len(conversations)} conversations"
    return f"conversation {conversations[0].id}, {conversations[0].title!r}"


@contextmanager
def _open_store(environment: Environment) -> Iterator[Store]:
    with closing(Store(environment.data_dir / FILE)) as store:
        yield store


def _read(
    environment: Environment, id: int | None, *, all_branches: bool = False
) -> StoredConversation:
    with _open_store(environment) as store:
        conversation = store.recall(id)
        if all_branches:
            return store.read(conversation.id, all_branches=True)
        return conversation


def _is_drawn(environment: Environment) -> bool:
    return environment.stdout_is_terminal and environment.environ.get("TERM") != "dumb"


def _write_json_lines(environment: Environment, found: Sequence[JsonObject]) -> ExitCode:
    return _write(environment, "".join(write_json(one) + "\n" for one in found))


def _write_columns(environment: Environment, rows: Sequence[Sequence[str]]) -> ExitCode:
    cleaned = [[on_a_line(cell) for cell in row] for row in rows]
    if not cleaned or not _is_drawn(environment):
        return _write(environment, "".join("\t".join(row) + "\n" for row in cleaned))
    from rtchat.ui import history_view

    history_view.table(cleaned, history_view.console(environment.stdout, environment.environ))
    return ExitCode.OK


def _write(environment: Environment, text: str) -> ExitCode:
    shown = visible(text) if environment.stdout_is_terminal else text
    with writing_stdout():
        environment.stdout.buffer.write(shown.encode())
        environment.stdout.buffer.flush()
    return ExitCode.OK


def _save(file: Path, content: bytes, *, force: bool) -> None:
    """Write a file that only its owner can read: conversations are private."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    with _errors_translated(file):
        if file.exists() and not file.is_file():  # a pipe or a device: nothing is overwritten
            flags = os.O_WRONLY
        try:
            with open(os.open(file, flags, 0o600), "wb") as out:
                out.write(content)
        except FileExistsError as error:
            raise UsageError(
                f"{file} already exists", hint="use --force to overwrite it"
            ) from error


@contextmanager
def _errors_translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{path} cannot be written ({error.strerror})"
        raise OutputError(message, hint="use another path") from error
