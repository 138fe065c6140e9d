"""The keyboard of a terminal: prompt-toolkit's input with a `KeyDecoder` in front of its parser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from select import select
from typing import TextIO

from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

from rtchat.markdown.theme import Background
from rtchat.ui.background import QUERY
from rtchat.ui.key_decoder import PASTE_END, KeyDecoder
from rtchat.ui.terminal_kind import TerminalModes

_WITH_DATA = (Keys.BracketedPaste, Keys.CPRResponse)
"""Keys whose bindings read their data."""
_ANSWER_TIMEOUT = 0.3
"""Seconds from the question to the terminal that the program waits for its answer when it ends."""
_READ = 4096
"""The most bytes that are read at once; a terminal's buffer holds no more."""


class TerminalInput(Vt100Input):
    """Reads keys from a terminal. `on_focus` and `on_cursor` are as for `KeyDecoder`. With
    `on_background`, the terminal is asked for its background when input begins.

    `modes` are on only in raw mode. So they are off whenever others have the terminal: at the end,
    even after an error, while the program is suspended, and in an editor. In other modes of the
    terminal, Ctrl-C would not be a signal.
    """

    def __init__(
        self,
        stdin: TextIO,
        modes: TerminalModes,
        *,
        on_focus: Callable[[bool], None] = lambda _: None,
        on_cursor: Callable[[int, int], None] | None = None,
        on_background: Callable[[Background], None] | None = None,
    ) -> None:
        super().__init__(stdin)
        self._modes = modes
        self._asks_for_background = on_background is not None
        self._asked_at = 0.0
        self._decoder = KeyDecoder(
            on_focus=on_focus,
            on_cursor=on_cursor,
            on_background=on_background or (lambda _: None),
        )
        self._keys: list[KeyPress] = []
        self.vt100_parser = Vt100Parser(self._press)

    @contextmanager
    def raw_mode(self) -> Iterator[None]:
        """A context in which the terminal sends each key at once, in the encoding of `modes`."""
        with super().raw_mode(), self._modes.turned(on=True):
            if self._asks_for_background:
                self._asks_for_background = False
                self._asked_at = time.monotonic()
                self._decoder.expects_background = True
                self._modes.ask(QUERY)
            try:
                yield
            finally:
                self._await_answer()

    @contextmanager
    def cooked_mode(self) -> Iterator[None]:
        """A context in raw mode in which the terminal is as others expect it."""
        with self._modes.turned(on=False), super().cooked_mode():
            yield

    def _await_answer(self) -> None:
        """If the terminal was asked just now, wait for its answer: the shell would read it as
        keys."""
        until = self._asked_at + _ANSWER_TIMEOUT
        while self._decoder.expects_background and (rest := until - time.monotonic()) > 0:
            if not select([self.fileno()], [], [], rest)[0]:
                return
            data = self.stdin_reader.read(_READ)
            if not data and self.stdin_reader.closed:
                return
            self._decoder.feed(data)

    def keys_of(self, typeahead: str) -> list[KeyPress]:
        """The keys in a text that was read from the terminal before. What is not complete is kept
        for what is read next."""
        self._parse(self._decoder.feed(typeahead))
        return self._take()

    def read_keys(self) -> list[KeyPress]:
        """The keys that can be read now."""
        self._parse(self._decoder.feed(self.stdin_reader.read(_READ)))
        return self._take()

    def flush_keys(self) -> list[KeyPress]:
        """The keys that were not complete: call it when nothing has arrived for a while."""
        self._parse(self._decoder.flush())
        self.vt100_parser.flush()
        return self._take()

    def _parse(self, text: str) -> None:
        while text:  # paste by paste, since the parser calls itself after each
            part, mark, text = text.partition(PASTE_END)
            self.vt100_parser.feed(part + mark)

    def _press(self, press: KeyPress) -> None:
        """Add a key. One that has a name and no binding would be inserted as its sequence."""
        is_sequence = len(press.data) > 1 or press.key is Keys.ShiftEscape
        if is_sequence and press.key not in _WITH_DATA:
            press = KeyPress(press.key, "")
        self._keys.append(press)

    def _take(self) -> list[KeyPress]:
        keys = list(self._keys)
        self._keys.clear()
        return keys
