"""Translates what a terminal sends into what prompt-toolkit's parser understands.

Keys are translated by `key_codes`. Sequences that prompt-toolkit does not know are dropped, so that
none leaves letters in the entry, and pastes are passed on whole. Text may be cut anywhere.
`terminal_input` puts a decoder in front of the parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rtchat.markdown.theme import Background
from rtchat.ui.background import background_of, is_answer, may_begin_answer
from rtchat.ui.key_codes import classic

PASTE_BEGIN, PASTE_END = "\x1b[200~", "\x1b[201~"

_CTRL_C = "\x03"
_MAX_SEQUENCE = 65_536
"""The most characters of a sequence. What has arrived of a longer one is dropped."""
_KEYSTROKE = 16
"""The most characters that arrive between two time-outs if somebody is pressing keys."""
_KEYSTROKES = 3
"""After how many such time-outs in a row the end of a paste is taken for lost."""

_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)(?:"
    r"\[[ -~]|"  # a key of the Linux console
    r"M[^\0-\x1f]{3}|"  # the mouse
    r"(?![\[M])[0-?]*[ -/]*[@-~])|"
    r"\x1bO[0-9;]*[ @-~]|"  # SS3
    r"\x1b[\]PX^_][^\0-\x1f\x9c]*(?:\x1b\\|[\x07\x9c])"  # OSC, DCS, SOS, PM, APC
)
_BEGINNING = re.compile(
    r"(?:\x1b\[|\x9b)(?:\[|M[^\0-\x1f]{0,2}|[0-?]*[ -/]*)|"
    r"\x1bO[0-9;]*|"
    r"\x1b[\]PX^_][^\0-\x1f\x9c]*(?:\x1b\Z)?|"
    r"\x1b"
)
_NO_KEY = re.compile(r"\x9b.|\x1b(?:[\[O].|\][0-9lLI]|P[0-9!>]|_G)")
"""The beginning of a sequence that cannot be a key with Alt and text typed after it."""
_FOCUS = {"\x1b[I": True, "\x1b[O": False}
_CURSOR = re.compile(r"\x1b\[([0-9]{1,6});([0-9]{1,6})R")


class KeyDecoder:
    """Translates the text from a terminal.

    `on_focus` is called when the terminal reports that its window has got or lost the focus.
    `on_cursor` is called with each reported position of the cursor: its row and column, from 1. If
    it is None, the reports are passed on. `on_background` is called with the background, if the
    terminal answers a request for it. Lines that arrive at once are keys, not a paste: the
    network may have delayed them.
    """

    def __init__(
        self,
        *,
        on_focus: Callable[[bool], None] = lambda _: None,
        on_cursor: Callable[[int, int], None] | None = None,
        on_background: Callable[[Background], None] = lambda _: None,
    ) -> None:
        self._on_focus = on_focus
        self._on_cursor = on_cursor
        self._on_background = on_background
        self.expects_background = False
        """Whether the terminal was asked for its background and has not answered. If so, an answer
        is recognised however long its parts take to arrive."""
        self._released = ""
        """What `flush` returned, if nothing has arrived since: it may begin the answer."""
        self._pending = ""
        """The beginning of a sequence, or of the mark at the end of a paste."""
        self._is_late = False
        """Whether there was a time-out since the sequence or the paste began."""
        self._paste: list[str] | None = None
        """The parts of the paste that is arriving."""
        self._pasted = 0
        """How many characters of the paste arrived since the last time-out."""
        self._keystrokes = 0

    def feed(self, data: str) -> str:
        """Translate the next text from the terminal. What is not complete is kept."""
        out = []
        if self.expects_background and self._released and is_answer(self._released + data):
            self._pending = self._released
        self._released = ""
        if self._paste is not None:
            if self._is_late and data == _CTRL_C:
                return self._take_paste() + data
            self._pasted += len(data)
        text, self._pending = self._pending + data, ""
        while text:
            take = self._decode if self._paste is None else self._decode_paste
            part, text = take(text)
            out.append(part)
        return "".join(out)

    def flush(self) -> str:
        """Translate what was kept: call it when nothing has arrived for a while after a `feed`.

        The rest of a reply of the terminal, or of a paste, may still be on its way. They are given
        up after more than one time-out, so that the keys work again even if it is lost.
        """
        if self._paste is not None:
            return self._flush_paste()
        pending = self._pending
        if self.expects_background and may_begin_answer(pending):
            return ""
        is_no_key = _NO_KEY.match(pending) is not None
        if is_no_key and not self._is_late:
            self._is_late = True
            return ""
        self._pending, self._is_late = "", False
        self._released = "" if is_no_key else pending
        return self._released

    def _decode(self, text: str) -> tuple[str, str]:
        """Translate keys, until a paste begins. Returns the result and the rest of the text."""
        out: list[str] = []
        at = 0
        while found := _BEGINNING.search(text, at):
            out.append(text[at : found.start()])
            if complete := _SEQUENCE.match(text, found.start()):
                at = complete.end()
                self._is_late = False
                sequence = complete[0].replace("\x9b", "\x1b[", 1)
                if sequence == PASTE_BEGIN:
                    self._paste, self._pasted, self._keystrokes = [], len(text) - at, 0
                    break
                out.append(self._translate(sequence))
                continue
            at = found.end()
            if at == len(text) and at - found.start() <= _MAX_SEQUENCE:
                self._is_late = self._is_late and found.start() == 0
                self._pending = text[found.start() :]
                return "".join(out), ""
            if not _NO_KEY.match(found[0]):
                out.append(found[0])
        else:
            out.append(text[at:])
            at = len(text)
        return "".join(out), text[at:]

    def _translate(self, sequence: str) -> str:
        if sequence in _FOCUS:
            self._on_focus(_FOCUS[sequence])
            return ""
        if found := _CURSOR.fullmatch(sequence):
            if self._on_cursor is None:
                return sequence
            self._on_cursor(int(found[1]), int(found[2]))
            return ""
        if is_answer(sequence):
            self.expects_background = False
            if background := background_of(sequence):
                self._on_background(background)
            return ""
        return classic(sequence)

    def _decode_paste(self, text: str) -> tuple[str, str]:
        """Add text to the paste. Returns the paste if it is complete, and the rest of the text."""
        assert self._paste is not None
        content, mark, rest = text.partition(PASTE_END)
        if mark:
            self._paste.append(content)
            return self._take_paste(), rest
        cut = next(
            (size for size in range(len(PASTE_END) - 1, 0, -1) if text.endswith(PASTE_END[:size])),
            0,
        )
        self._paste.append(text[: len(text) - cut])
        self._pending = text[len(text) - cut :]
        return "", ""

    def _flush_paste(self) -> str:
        is_keystroke = self._is_late and 0 < self._pasted <= _KEYSTROKE
        self._keystrokes = self._keystrokes + 1 if is_keystroke else 0
        self._is_late, self._pasted = True, 0
        return self._take_paste() if self._keystrokes == _KEYSTROKES else ""

    def _take_paste(self) -> str:
        text = "".join(self._paste or ()) + self._pending
        self._paste, self._pending, self._is_late = None, "", False
        return _pasted(text)


def _pasted(text: str) -> str:
    """Text as a paste that is complete, with each line end as a newline."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return f"{PASTE_BEGIN}{lines}{PASTE_END}"
