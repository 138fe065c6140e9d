"""Completion at the prompt: /commands with their arguments, and files after @ in a question."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from rtchat.core.text import on_a_line, shortened
from rtchat.system.worker import Worker
from rtchat.ui.candidates import Candidate, Candidates
from rtchat.ui.mentions import open_mention
from rtchat.ui.slash_commands import TABLE, Row, find

_MAX_HELP = 100
"""Characters of a description."""
_MAX_TEXT = 200
"""Characters of a candidate."""


class CommandCompleter(Completer):
    """Completes commands, their arguments, and files that a question mentions. What may be slow is
    read in a thread, or by `candidates`."""

    def __init__(self, candidates: Candidates | None = None) -> None:
        self._candidates = candidates
        self._worker = Worker("completion")

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        """Yield the completions at the cursor."""
        for found in await self._worker.call(
            lambda: list(self.get_completions(document, complete_event))
        ):
            yield found
        command = _command(document.text_before_cursor)
        if command is None or self._candidates is None:
            return
        row, argument = command
        offered: set[str] = set()
        async for candidate in self._candidates.find(row.kind):
            for found in _offers([candidate], argument):
                if found.text not in offered:
                    offered.add(found.text)
                    yield found

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """The completions that the program and the disk know."""
        typed = document.text_before_cursor
        if (command := _command(typed)) is not None:
            return _arguments(*command)
        if names := command_names(typed):
            return names
        mention = open_mention(typed)
        return () if mention is None else _mentioned(mention)


def command_names(typed: str) -> list[Completion]:
    """Completions of the name of a command, which take no time."""
    return list(_names(typed)) if re.fullmatch(r"/[\w-]*", typed) else []


def _names(typed: str) -> Iterator[Completion]:
    """Completions of the name of a command. Its other names are offered once one is begun."""
    for row in TABLE:
        for name in (f"/{row.name}", *row.aliases):
            if name.startswith(typed) and (name == f"/{row.name}" or typed != "/"):
                text = f"{name} " if row.argument else name
                yield Completion(text, -len(typed), display=name, display_meta=row.help)


def _command(line: str) -> tuple[Row, str] | None:
    """The command that a line begins with, and its argument as far as it is typed."""
    found = re.match(r"/([\w-]+)\s+", line)
    row = find(found[1]) if found else None
    return (row, line[found.end() :]) if found and row else None


def _arguments(row: Row, typed: str) -> Iterator[Completion]:
    """Completions of an argument that the program and the disk know."""
    yield from _offers(map(Candidate, row.words), typed)
    match row.kind:
        case "command":
            yield from _offers((Candidate(row.name, row.help) for row in TABLE), typed)
        case "option":
            yield from _options(typed)
        case "file":
            yield from _paths(re.sub(r"^--detail[\s=]\s*\S+\s+", "", typed).lstrip(" '\""))
        case "instructions" if typed.startswith("@"):
            yield from _paths(typed[1:].lstrip(" '\""))
        case _:
            pass


def _offers(candidates: Iterable[Candidate], typed: str, end: str = "") -> Iterator[Completion]:
    """Completions for the candidates that contain what is typed; if they are numbers, in their
    meaning too. Those that cannot be shown as they are are left out."""
    for candidate in candidates:
        text, meaning = candidate.text, on_a_line(candidate.help)
        is_plain = on_a_line(text) == text and 0 < len(text) <= _MAX_TEXT
        searched = f"{text}\n{meaning}" if text.isdecimal() else text
        if is_plain and typed.casefold() in searched.casefold():
            meta = shortened(meaning, _MAX_HELP)
            yield Completion(f"{text}{end}", -len(typed), display=text, display_meta=meta)


def _options(typed: str) -> Iterator[Completion]:
    """Completions of `KEY VALUE` and `KEY=VALUE`."""
    from rtchat.wire import options  # imported here because its tables would delay the prompt

    if found := re.match(r"([^\s=]+)\s*[\s=]\s*", typed):
        words = options.words(*options.split(found[1]))
        return _offers(map(Candidate, words), typed[found.end() :])
    names = [
        *((k, v) for k, v in options.SESSION_OPTIONS.items() if k not in options.IN_A_CONVERSATION),
        *((f"response.{name}", text) for name, text in options.RESPONSE_OPTIONS.items()),
    ]
    names.sort(key=lambda row: (not row[0].startswith(typed), typed not in row[0]))
    return _offers((Candidate(*row) for row in names), typed, end=" ")


def _mentioned(typed: str) -> Iterator[Completion]:
    """Completions of a path after @, in quotation marks if it needs them."""
    quote = typed[:1] if typed[:1] in ("'", '"') else ""
    path = typed[len(quote) :]
    for found in _paths(path):
        whole = path[: len(path) + found.start_position] + found.text
        if quote or re.search(r"""[\s\\"'()\[\]{}<>]|[.,;:!?]$""", whole):
            mark = quote or ("'" if re.search(r'[\\"]', whole) else '"')
            if mark not in whole:
                end = "" if whole.endswith("/") else mark
                yield Completion(f"{mark}{whole}{end}", -len(typed), display=found.display)
        else:
            yield found


def _paths(typed: str) -> Iterator[Completion]:
    """Completions of a path. Hidden files are offered only after a dot."""
    folder, slash, start = typed.rpartition("/")
    with (
        suppress(OSError, ValueError),
        os.scandir(os.path.expanduser(folder + slash) or ".") as found,
    ):
        for entry in sorted(found, key=lambda entry: entry.name):
            name = entry.name
            is_offered = name.startswith(start) and (start or not name.startswith("."))
            if is_offered and on_a_line(f"x{name}x") == f"x{name}x":
                end = "/" if entry.is_dir() else ""
                yield Completion(name + end, start_position=-len(start))
