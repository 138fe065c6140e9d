"""Completion at the prompt: names of /commands, and paths after those that take a file."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from typing import get_args

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from rtchat.core.values import ImageDetail
from rtchat.system.worker import Worker
from rtchat.ui.slash_commands import TABLE

_TAKES_PATH = (
    "/attach ",
    *(f"/attach --detail {detail} " for detail in get_args(ImageDetail)),
    "/system @",
    *("/export ", "/save ", "/trace "),
)


class CommandCompleter(Completer):
    """Completes the names of /commands, and paths after those that take a file. Folders are read in
    a thread."""

    def __init__(self) -> None:
        self._worker = Worker("completion")

    async def get_completions_async(
        self, document: Document, complete_event: CompleteEvent
    ) -> AsyncGenerator[Completion, None]:
        for found in await self._worker.call(
            lambda: list(self.get_completions(document, complete_event))
        ):
            yield found

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        typed = document.text_before_cursor
        if not typed.startswith("/"):
            return
        for command in _TAKES_PATH:
            if typed.startswith(command):
                yield from _paths(typed.removeprefix(command).lstrip(" '\""))
        for row in TABLE:
            if row.name.startswith(typed[1:]):
                name = f"/{row.name} " if row.argument else f"/{row.name}"
                yield Completion(name, start_position=-len(typed), display_meta=row.help)


def _paths(typed: str) -> Iterator[Completion]:
    """Completions of a path. Hidden files are offered only after a dot."""
    folder, slash, start = typed.rpartition("/")
    with (
        suppress(OSError, ValueError),
        os.scandir(os.path.expanduser(folder + slash) or ".") as found,
    ):
        for entry in sorted(found, key=lambda entry: entry.name):
            name = entry.name
            if name.startswith(start) and (start or not name.startswith(".")):
                end = "/" if entry.is_dir() else ""
                yield Completion(name + end, start_position=-len(start))
