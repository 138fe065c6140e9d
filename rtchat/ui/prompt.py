"""The line editor: one entry at a time, and what is typed while a reply streams.

Everything about keys is here and nothing else is: what an entry means is for `commands`, when to
ask for one is for `terminal`. Input history is a file of JSON strings, one a line; without one, or
when it cannot be read or written, history lasts as long as the program.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import TextIO

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import has_focus
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, Output, create_output
from prompt_toolkit.shortcuts import print_formatted_text

from rtchat.commands import TABLE
from rtchat.events import Answer
from rtchat.ui.safe import visible

_ESCAPE_SECONDS = 0.1
"""How long after an Esc the rest of an escape sequence may still come."""
_KEPT = 2_000
"""Entries of the history file that are read."""
_ANSWERS: tuple[Answer, ...] = ("yes", "always", "no")
_ATTACH = "/attach "
_HOW_TO_LEAVE = "Ctrl-D or /exit leaves"


class Prompt:
    """Reads entries from a terminal. `history` None keeps them in memory only."""

    def __init__(
        self,
        history: Path | None,
        *,
        color: bool = True,
        input: Input | None = None,
        output: Output | None = None,
        stdout: TextIO | None = None,
    ) -> None:
        output = output or create_output(stdout)
        self._input = input or create_input()
        self._typed = Typed()
        self.on_suspend: Callable[[], None] = lambda: None
        """What Ctrl-Z does."""
        self._suspension: Awaitable[None] | None = None
        """Held only because the loop itself would let it be collected."""
        self._session: PromptSession[str] = PromptSession(
            "› ",  # noqa: RUF001 # the prompt is meant to look like this
            history=_File(history),
            multiline=True,
            editing_mode=EditingMode.EMACS,
            enable_open_in_editor=True,
            tempfile_suffix=".md",
            completer=_Commands(),
            complete_while_typing=False,
            key_bindings=_keys(self.above, lambda: self.on_suspend()),
            prompt_continuation="  ",
            color_depth=None if color else ColorDepth.DEPTH_1_BIT,
            input=self._input,
            output=output,
        )
        self._choices: PromptSession[str] = PromptSession(
            history=InMemoryHistory(), input=self._input, output=output
        )

    @property
    def active(self) -> bool:
        """Whether something is being edited right now."""
        return self._running is not None

    @property
    def _running(self) -> Application[str] | None:
        apps = (self._session.app, self._choices.app)
        return next((app for app in apps if app.is_running), None)

    async def read(self, default: str = "") -> str | None:
        """One entry, begun with `default` and what was typed ahead. None: the user leaves."""
        try:
            return await self._session.prompt_async(
                default=default + self._typed.take(), handle_sigint=False
            )
        except EOFError:
            return None

    async def choose(self, question: str) -> Answer | None:
        """Yes, always or no, as many times as it takes to get one; None: stop the reply."""
        message = f"{visible(question)} [y]es, [a]lways, [n]o › "  # noqa: RUF001 # as the prompt
        while True:
            try:
                typed = await self._choices.prompt_async(message, handle_sigint=False)
            except (EOFError, KeyboardInterrupt):
                return None
            for answer in _ANSWERS:
                if typed.strip() and answer.startswith(typed.strip().lower()):
                    return answer

    def abandon(self) -> None:
        """Nobody needs an answer any more."""
        if self._choices.app.is_running:
            self._choices.app.exit(exception=EOFError)

    def above(self, show: Callable[[], None]) -> None:
        """Let `show` print above the entry being edited, or at once if none is.

        The terminal stays raw meanwhile (the library's own way would not leave it so): an Enter
        that is typed in this very moment must not become a new line.
        """
        app = self._running
        if app is None:
            show()
            return
        app.renderer.erase()
        show()
        app.renderer.request_absolute_cursor_position()
        app.invalidate()

    def suspended(self, stop: Callable[[], None]) -> None:
        """Call `stop` with the terminal as the shell left it, and go on afterwards."""
        if self.active:
            self._suspension = run_in_terminal(stop)
        else:
            with self._input.cooked_mode():
                stop()

    @contextmanager
    def replying(self, on_cancel: Callable[[], None]) -> Iterator[None]:
        """While this lasts Ctrl-C and Esc call `on_cancel` and other text is kept, unseen."""
        actions = {
            Keys.Escape: on_cancel,
            Keys.ControlC: on_cancel,
            Keys.ControlZ: lambda: self.on_suspend(),
        }
        keys = _Ahead(self._input, self._typed, actions)
        keys.take(get_typeahead(self._input))
        with self._input.raw_mode(), self._input.attach(keys.ready):
            try:
                yield
            finally:
                keys.stop()


class Typed:
    """Text that was typed while nothing asked for it."""

    def __init__(self) -> None:
        self._text = ""

    def press(self, key: KeyPress) -> None:
        """Take a key that is not a command."""
        match key.key:
            case Keys.ControlM | Keys.ControlJ:
                self._text += "\n"
            case Keys.ControlH:
                self._text = self._text[:-1]
            case Keys.ControlU:
                self._text = ""
            case Keys.BracketedPaste:
                self._text += key.data.replace("\r\n", "\n").replace("\r", "\n")
            case Keys():
                pass
            case text:
                self._text += text

    def take(self) -> str:
        """All of it, once. An Enter at its end asked for nothing more than this."""
        text, self._text = self._text.removesuffix("\n"), ""
        return text


class _Ahead:
    """Reads keys in mid reply."""

    def __init__(
        self, source: Input, typed: Typed, actions: Mapping[Keys, Callable[[], None]]
    ) -> None:
        self._source = source
        self._typed = typed
        self._actions = actions
        self._flush: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """There is something to read."""
        self.stop()
        self.take(self._source.read_keys())
        if not self._source.closed:
            # An Esc by itself is one only once nothing has followed it.
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(
                _ESCAPE_SECONDS, lambda: self.take(self._source.flush_keys())
            )

    def stop(self) -> None:
        """Wait for nothing any more."""
        if self._flush is not None:
            self._flush.cancel()

    def take(self, keys: list[KeyPress]) -> None:
        """Act on keys that came together: an Esc before another key is that key with Alt."""
        alt = False
        for key, after in zip_longest(keys, keys[1:]):
            if key.key is Keys.Escape and after is not None and after.key is not Keys.Escape:
                alt = True
                continue
            if isinstance(key.key, Keys) and key.key in self._actions:
                self._actions[key.key]()
            elif not alt or key.key is Keys.ControlM:
                self._typed.press(key)
            alt = False


def _keys(above: Callable[[Callable[[], None]], None], suspend: Callable[[], None]) -> KeyBindings:
    keys = KeyBindings()
    typing = has_focus(DEFAULT_BUFFER)

    @keys.add("enter", filter=typing)
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=typing)
    @keys.add("c-j", filter=typing)
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c", filter=typing)
    def clear(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
            return
        advice = FormattedText([("fg:ansibrightblack", _HOW_TO_LEAVE)])
        above(lambda: print_formatted_text(advice, output=event.app.output))

    @keys.add("c-z")
    def stop(event: KeyPressEvent) -> None:
        suspend()

    return keys


class _Commands(Completer):
    """The names of /commands, at the start of an entry, and of files after /attach."""

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        typed = document.text_before_cursor
        if not typed.startswith("/"):
            return
        if typed.startswith(_ATTACH):
            yield from _paths(typed.removeprefix(_ATTACH).lstrip(" '\""))
        for row in TABLE:
            if row.name.startswith(typed[1:]):
                name = f"/{row.name} " if row.argument else f"/{row.name}"
                yield Completion(name, start_position=-len(typed), display_meta=row.help)


def _paths(typed: str) -> Iterator[Completion]:
    """How a path may go on: hidden files only after a dot."""
    folder, slash, begun = typed.rpartition("/")
    with (
        suppress(OSError, ValueError),
        os.scandir(os.path.expanduser(folder + slash) or ".") as found,
    ):
        for entry in sorted(found, key=lambda entry: entry.name):
            name = entry.name
            if name.startswith(begun) and (begun or not name.startswith(".")):
                end = "/" if entry.is_dir() else ""
                yield Completion(name + end, start_position=-len(begun))


class _File(History):
    """Entries in a file that only its owner may read. Trouble with it is no trouble."""

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        if self._path is None:
            return
        lines: list[str] = []
        with suppress(OSError):
            lines = self._path.read_text("utf-8", errors="replace").split("\n")[-_KEPT:]
        for line in reversed(lines):
            with suppress(ValueError):
                if line.startswith('"'):
                    yield json.loads(line)

    def store_string(self, string: str) -> None:
        if self._path is None:
            return
        line = json.dumps(string) + "\n"
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(file, "wb") as stream:
                stream.write(line.encode())
