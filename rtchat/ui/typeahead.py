"""What is typed while nothing asks for it: kept, unseen, for the next entry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import zip_longest

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

ESCAPE_SECONDS = 0.1
"""How long after an Esc the rest of an escape sequence may still come."""


class TypeaheadBuffer:
    """Text that was typed while nothing asked for it."""

    def __init__(self) -> None:
        self._text = ""
        self._erased = 0
        """Characters that were taken back of what stood there before."""

    def press(self, key: KeyPress) -> None:
        """Take a key that is not a command."""
        match key.key:
            case Keys.ControlM | Keys.ControlJ:
                self._text += "\n"
            case Keys.ControlH:
                self._erased += not self._text
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
        text, self._text, self._erased = self._text.removesuffix("\n"), "", 0
        return text

    def go_on(self, buffer: Buffer) -> None:
        """Do to an entry what would have been done to it."""
        buffer.delete_before_cursor(self._erased)
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
        """There is something to read."""
        self.stop()
        self.take(self._source.read_keys())
        if not self._source.closed:
            # An Esc by itself is one only once nothing has followed it.
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(
                ESCAPE_SECONDS, lambda: self.take(self._source.flush_keys())
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
