"""Translates one complete key sequence of a terminal to the classic one that prompt-toolkit knows.

The newer encodings are kitty's and iTerm2's, `CSI code:shifted:base ; modifiers:event u`
(https://sw.kovidgoyal.net/kitty/keyboard-protocol), and xterm's, `CSI 27 ; modifiers ; code ~`
(https://invisible-island.net/xterm/modified-keys.html).
"""

from __future__ import annotations

import re

from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES

NEW_LINE = "\n"
"""Ctrl-J, which starts a new line in an entry: what Enter with Shift, Ctrl or Alt becomes."""

_KNOWN = frozenset(ANSI_SEQUENCES) - {"\x1b[200~"}
"""The keys that prompt-toolkit knows; the beginning of a paste is none."""
_KITTY = re.compile(
    r"\x1b\[([0-9]{1,7})(?::([0-9]{0,7}))?(?::([0-9]{0,7}))?"
    r"(?:;([0-9]{0,4})(?::([0-9]))?(?:;[0-9:]*)?)?u"
)
_XTERM = re.compile(r"\x1b\[27;([0-9]{1,4});([0-9]{1,7})~")
_FUNCTION = re.compile(r"\x1b\[([0-9]{0,4})(?:;([0-9]{0,4})(?::([0-9]))?)?([A-Z~])")
_APPLICATION = re.compile(r"\x1bO(?:1;)?([0-9]{0,2})([ @-~])")

_SHIFT, _ALT, _CTRL, _SUPER, _HYPER, _META = 1, 2, 4, 8, 16, 32
_LOCKS = 64 | 128
"""The state of Caps Lock and Num Lock."""
_RELEASED = "3"
"""The event of a key that is released."""

_CTRL_W = "\x17"
"""Deletes the word before the cursor."""
_KEYPAD = {57399 + at: ord(key) for at, key in enumerate("0123456789./*-+\r=,")}
_KEYPAD_FUNCTIONS = {
    57417 + at: f"\x1b[{key}"
    for at, key in enumerate(("D", "C", "A", "B", "5~", "6~", "H", "F", "2~", "3~", "E"))
}
_APPLICATION_KEYS = dict(zip(" IMXjklmnopqrstuvwxy", " \t\r=*+,-./0123456789", strict=True))
"""The keys of the keypad in application mode, by what they send after `ESC O`."""
_CONTROLS = {
    **{chr(code | 0x60): chr(code) for code in range(1, 27)},
    **dict.fromkeys(" @2", "\0"),
    **dict.fromkeys("[3", "\x1b"),
    **dict.fromkeys("\\4", "\x1c"),
    **dict.fromkeys("]5", "\x1d"),
    **dict.fromkeys("^6~", "\x1e"),
    **dict.fromkeys("_7/-", "\x1f"),
    **dict.fromkeys("?8", "\x7f"),
}
"""The control character of each character that has one."""


def classic(sequence: str) -> str:
    """The keys of a complete CSI or SS3 sequence as prompt-toolkit knows them.

    Returns "" if the sequence is not a key that prompt-toolkit knows, or a key that is released.
    """
    if found := _XTERM.fullmatch(sequence):
        modifiers = _modifiers(found[1])
        if modifiers & _SUPER:  # xterm's Meta
            modifiers = modifiers & ~_SUPER | _ALT
        return _key(int(found[2]), modifiers)
    if sequence in _KNOWN:
        return sequence
    if found := _KITTY.fullmatch(sequence):
        return "" if found[5] == _RELEASED else _kitty(found)
    if found := _FUNCTION.fullmatch(sequence):
        return "" if found[3] == _RELEASED else _function(found[1], _modifiers(found[2]), found[4])
    if found := _APPLICATION.fullmatch(sequence):
        modifiers, key = _modifiers(found[1]), found[2]
        if key in _APPLICATION_KEYS:
            return _key(ord(_APPLICATION_KEYS[key]), modifiers)
        return _function("1", modifiers, key)
    return ""


def _modifiers(field: str | None) -> int:
    """The modifiers of a key, without the locks."""
    return max(int(field or 1) - 1, 0) & ~_LOCKS


def _kitty(found: re.Match[str]) -> str:
    code, shifted, base = (int(found[group] or 0) for group in (1, 2, 3))
    modifiers = _modifiers(found[4])
    if modifiers & _SHIFT and shifted:
        code, modifiers = shifted, modifiers & ~_SHIFT
    elif modifiers & _CTRL and code >= 0x80 and base:  # a letter of another script
        code = base
    if code in _KEYPAD_FUNCTIONS:
        sequence = _KEYPAD_FUNCTIONS[code]
        number, final = (sequence[2:-1] or "1", sequence[-1])
        return _function(number, modifiers, final)
    return _key(_KEYPAD.get(code, code), modifiers)


def _function(number: str, modifiers: int, final: str) -> str:
    """A key with a name, such as an arrow."""
    if modifiers:
        sequence = f"\x1b[{number or 1};{modifiers + 1}{final}"
        return sequence if sequence in _KNOWN else ""
    candidates = (f"\x1b[{number}~",) if final == "~" else (f"\x1b[{final}", f"\x1bO{final}")
    return next((each for each in candidates if each in _KNOWN), "")


def _key(code: int, modifiers: int) -> str:
    """A key that has a character."""
    if modifiers & (_SUPER | _HYPER):
        return ""
    alt = "\x1b" if modifiers & (_ALT | _META) else ""
    match chr(code) if code <= 0x10FFFF else "":
        case "\r":
            return NEW_LINE if modifiers else "\r"
        case "\t":
            return "\x1b[Z" if modifiers & _SHIFT else f"{alt}\t"
        case "\b" | "\x7f":
            return _CTRL_W if modifiers & _CTRL else f"{alt}\x7f"
        case "\x1b":
            return f"{alt}\x1b"
        case character if not character.isprintable() or 0xE000 <= code < 0xF900:
            return ""  # such as a modifier, or a key for media
        case character:
            return _alt(alt, _character(character, modifiers))


def _character(character: str, modifiers: int) -> str:
    """A printable character with Ctrl or Shift."""
    if modifiers & _CTRL:
        return _CONTROLS.get(character.lower(), "")
    upper = character.upper()
    return upper if modifiers & _SHIFT and len(upper) == 1 else character


def _alt(alt: str, key: str) -> str:
    """A key with Alt. Alt-[ and Alt-O are dropped: they look like the beginning of a sequence."""
    return "" if alt and key in ("", "[", "O") else f"{alt}{key}"
