"""The keyboard of a terminal: prompt-toolkit's input with a `KeyDecoder` in front of its parser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

from rtchat.ui.key_decoder import PASTE_END, KeyDecoder
from rtchat.ui.terminal_kind import TerminalModes

_WITH_DATA = (Keys.BracketedPaste, Keys.CPRResponse)
"""Keys whose bindings read their data."""
_READ = 4096
"""The most bytes that are read at once; a terminal's buffer holds no more."""


class TerminalInput(Vt100Input):
    """Reads keys from a terminal. `on_focus` and `on_cursor` are as for `KeyDecoder`.

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
    ) -> None:
        super().__init__(stdin)
        self._modes = modes
        self._decoder = KeyDecoder(on_focus=on_focus, on_cursor=on_cursor)
        self._keys: list[KeyPress] = []
        self.vt100_parser = Vt100Parser(self._press)

    @contextmanager
    def raw_mode(self) -> Iterator[None]:
        """A context in which the terminal sends each key at once, in the encoding of `modes`."""
        with super().raw_mode(), self._modes.turned(on=True):
            yield

    @contextmanager
    def cooked_mode(self) -> Iterator[None]:
        """A context in raw mode in which the terminal is as others expect it."""
        with self._modes.turned(on=False), super().cooked_mode():
            yield

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
