"""Typeahead: text typed while there is no prompt. It is not echoed, and begins the next entry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import zip_longest

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

ESCAPE_SECONDS = 0.1
"""How long the rest of an escape sequence may take to follow an Esc."""


class TypeaheadBuffer:
    """Text typed while there is no prompt."""

    def __init__(self) -> None:
        self._text = ""
        self._backspaces = 0
        """Backspaces beyond the start of the buffer: they delete from the entry before it."""

    def press(self, key: KeyPress) -> None:
        """Handle a key that has no action."""
        match key.key:
            case Keys.ControlM | Keys.ControlJ:
                self._text += "\n"
            case Keys.ControlH:
                self._backspaces += not self._text
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
        """Remove and return the text. An Enter at its end is dropped."""
        text, self._text, self._backspaces = self._text.removesuffix("\n"), "", 0
        return text

    def apply_to(self, buffer: Buffer) -> None:
        """Apply the typed text and backspaces to an entry."""
        buffer.delete_before_cursor(self._backspaces)
        if text := self.take():
            buffer.insert_text(text)


class TypeaheadReader:
    """Reads keys while there is no prompt."""

    def __init__(
        self, source: Input, typed: TypeaheadBuffer, actions: Mapping[Keys, Callable[[], None]]
    ) -> None:
        self._source = source
        self._typed = typed
        self._actions = actions
        self._flush: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """Read the keys that are available. Called when there is input."""
        self.stop()
        self.take(self._source.read_keys())
        if not self._source.closed:
            # An Esc is a separate key only if nothing follows it.
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(
                ESCAPE_SECONDS, lambda: self.take(self._source.flush_keys())
            )

    def stop(self) -> None:
        """Stop waiting for the rest of an escape sequence."""
        if self._flush is not None:
            self._flush.cancel()

    def take(self, keys: list[KeyPress]) -> None:
        """Handle keys that arrived together. Esc before another key means Alt and that key."""
        alt = False
        for key, following in zip_longest(keys, keys[1:]):
            if (
                key.key is Keys.Escape
                and following is not None
                and following.key is not Keys.Escape
            ):
                alt = True
                continue
            if isinstance(key.key, Keys) and key.key in self._actions:
                self._actions[key.key]()
            elif not alt or key.key is Keys.ControlM:
                self._typed.press(key)
            alt = False
