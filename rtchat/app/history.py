"""`history`: list, show, search, export and delete saved conversations.

On a terminal, output is aligned and rendered; in a pipe, columns are separated by tabs and text is
written as received.
"""

from __future__ import annotations

import os
import time
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast, get_args

from rtchat.app.files import errors_translated, format_of, save_file
from rtchat.audio.wav import header
from rtchat.core.errors import ExitCode, UsageError, writing_stdout
from rtchat.core.json_output import VERSION
from rtchat.core.suggestions import closest, did_you_mean
from rtchat.core.text import on_a_line, visible, write_json
from rtchat.core.turn_tree import current
from rtchat.core.values import JsonObject, Message, StoredConversation
from rtchat.history.dates import when
from rtchat.history.export import Format, export, summary
from rtchat.history.store import FILE, SearchHit, Store
from rtchat.history.transcript import branch_lines, plain, turns_in_full
from rtchat.system.folders import make_private

if TYPE_CHECKING:
    from rtchat.app.environment import Environment
    from rtchat.config.settings import Settings
    from rtchat.ui.history_view import Draw

Say = Callable[[str], None]
Key: TypeAlias = int | str | None
"""The ID or the name of a conversation; None is the latest one."""


def listing(
    environment: Environment, say: Say, settings: Settings, *, limit: int | None, json: bool
) -> ExitCode:
    """The latest conversations, newest first."""
    with _open_store(environment) as store:
        found = store.conversations(limit)
    if not found:
        say("no saved conversations")
    if json:
        return _write_json_lines(environment, [_summary(each) for each in found])
    if _is_drawn(environment):
        from rtchat.ui import history_view

        now = time.time()
        return _draw(environment, settings, lambda to: history_view.listing(found, now, to))
    return _write_columns(environment, map(_columns, found))


def _summary(conversation: StoredConversation) -> dict[str, object]:
    return {"version": VERSION, **summary(conversation)}


def latest(environment: Environment, limit: int) -> list[StoredConversation]:
    """The latest conversations, for shell completion. The file is not created."""
    if not (environment.data_dir / FILE).exists():
        return []
    with _open_store(environment) as store:
        return store.conversations(limit)


def _columns(conversation: StoredConversation) -> tuple[str, ...]:
    return (
        str(conversation.id),
        when(conversation.updated),
        str(conversation.turns),
        conversation.model,
        conversation.title,
        conversation.name,
    )


def search(
    environment: Environment,
    say: Say,
    query: str,
    settings: Settings,
    *,
    limit: int,
    json: bool,
) -> ExitCode:
    """Search for items that match a query, newest first."""
    with _open_store(environment) as store:
        matches = store.search(query, limit)
    if not matches:
        say("no matches")
    if json:
        found = [
            _summary(match.conversation) | {"turn": match.turn, "snippet": match.snippet}
            for match in matches
        ]
        return _write_json_lines(environment, found)
    if _is_drawn(environment):
        from rtchat.ui import history_view

        now = time.time()
        return _draw(environment, settings, lambda to: history_view.hits(matches, now, to))
    return _write_columns(environment, map(_hit_columns, matches))


def _hit_columns(hit: SearchHit) -> tuple[str, ...]:
    conversation = hit.conversation
    return str(conversation.id), when(conversation.updated), str(hit.turn), hit.snippet


def show(
    environment: Environment, key: Key, settings: Settings, *, all_branches: bool = False
) -> ExitCode:
    """Show a conversation, by default the latest: its current branch as `talk` shows it, or all
    turns with their numbers. A tree of the branches follows, if there are several."""
    conversation = _read(environment, key, all_branches=True)
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

    return _draw(
        environment,
        settings,
        lambda console: history_view.show_turns(headings, turns, lines, console),
    )


def rename(
    environment: Environment, say: Say, key: int | str, name: str | None, title: str | None
) -> ExitCode:
    """Change the name, the title, or both, of a conversation."""
    with _open_store(environment) as store:
        id = store.id_of(key)
        store.rename(id, name=name, title=title)
        say(f"renamed {_describe([store.read(id)])}")
    return ExitCode.OK


def save(
    environment: Environment,
    say: Say,
    key: Key,
    *,
    format: str | None,
    file: Path | None,
    force: bool,
    all_branches: bool = False,
) -> ExitCode:
    """Export a conversation, by default the latest, to a file or to stdout: its current branch, or
    as JSON all branches."""
    if format is not None and format not in get_args(Format):
        hint = did_you_mean([closest(format, get_args(Format), {"md": "markdown"})])
        expected = ", ".join(get_args(Format))
        raise UsageError(f"invalid format {format!r} (expected {expected})", hint=hint)
    chosen = cast("Format", format) if format else format_of(file)
    if all_branches and chosen != "json":
        raise UsageError(
            f"a {chosen} export has only the current branch", hint="use --all with --format json"
        )
    text = export(_read(environment, key, all_branches=all_branches), chosen)
    if file is None or file == Path("-"):
        return _write(environment, text)
    save_file(file, text.encode(), force=force)
    say(f"written to {file}")
    return ExitCode.OK


def save_audio(environment: Environment, say: Say, key: Key, folder: Path) -> ExitCode:
    """Write the saved audio of a conversation to a folder: a numbered WAV file for each message."""
    conversation = _read(environment, key)
    recordings = [(item.role, audio) for item in _messages(conversation) if (audio := _audio(item))]
    if not recordings:
        message = f"conversation {conversation.id} has no saved audio"
        raise UsageError(message, hint="use --keep-audio with talk or once to save audio")
    names = [f"{number:03}-{role}.wav" for number, (role, _) in enumerate(recordings, start=1)]
    for file in (folder / name for name in names):
        if os.path.exists(file):
            raise UsageError(f"{file} already exists", hint="use another folder")
    with errors_translated(folder):
        make_private(folder)
    for name, (_, audio) in zip(names, recordings, strict=True):
        save_file(folder / name, header(len(audio)) + audio, force=False)
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
    environment: Environment,
    say: Say,
    keys: Sequence[int | str],
    confirm: Callable[[str], bool],
) -> None:
    """Delete the conversations with these IDs or names, or all if none is given. `confirm` is asked
    first."""
    with _open_store(environment) as store:
        ids = dict.fromkeys(map(store.id_of, keys))
        conversations = [store.read(id) for id in ids] or store.conversations()
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
    (only,) = conversations
    name = f"{only.name!r}, " if only.name else ""
    return f"conversation {only.id}, {name}{only.title!r}"


def _open_store(environment: Environment) -> closing[Store]:
    return closing(Store(environment.data_dir / FILE))


def _read(environment: Environment, key: Key, *, all_branches: bool = False) -> StoredConversation:
    with _open_store(environment) as store:
        conversation = store.find(key)
        return store.read(conversation.id, all_branches=True) if all_branches else conversation


def _is_drawn(environment: Environment) -> bool:
    return environment.stdout_is_terminal and environment.can_repaint


def _write_json_lines(environment: Environment, found: Sequence[JsonObject]) -> ExitCode:
    return _write(environment, "".join(write_json(one) + "\n" for one in found))


def _write_columns(environment: Environment, rows: Iterable[Sequence[str]]) -> ExitCode:
    cleaned = [[on_a_line(cell) for cell in row] for row in rows]
    return _write(environment, "".join("\t".join(row) + "\n" for row in cleaned))


def _draw(environment: Environment, settings: Settings, draw: Draw) -> ExitCode:
    """Show what `draw` prints on the terminal, in a pager if it is long."""
    from rtchat.app.frontend import style_sheet
    from rtchat.ui import history_view
    from rtchat.ui.pager import Pager

    out, environ = environment.stdout, environment.environ
    with writing_stdout():
        styles = style_sheet(settings, environment)
        Pager(out, environ).show(history_view.drawn(draw, out, environ, styles))
    return ExitCode.OK


def _write(environment: Environment, text: str) -> ExitCode:
    shown = visible(text) if environment.stdout_is_terminal else text
    with writing_stdout():
        environment.stdout.buffer.write(shown.encode())
        environment.stdout.buffer.flush()
    return ExitCode.OK
