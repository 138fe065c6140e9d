"""Removes keys from text, however they are encoded and however the text is split into pieces.

Text that arrives in pieces goes through a `StreamRedactor`, which holds back only what could be the
beginning of a key; a complete text is a stream of one piece.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache

REPLACEMENT = "[key]"
"""The replacement for a key."""


def is_secret(key: str) -> bool:
    """Whether to remove a key. Keys for local servers are often plain words, such as "test"."""
    return len(key) >= 16 or (len(key) >= 4 and not key.isalnum())


class Redactor:
    """Removes these keys from text. Their characters may be plain or escaped for JSON, a URL or
    HTML, and a key may be in base64, even after other text, as in "Basic" authentication."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self.secrets = tuple(dict.fromkeys(filter(is_secret, keys)))
        encoded = [list(_in_base64(secret)) for secret in self.secrets]
        self._forms = tuple(
            dict.fromkeys(
                form
                for secret, in_base64 in zip(self.secrets, encoded, strict=True)
                for form in (secret, *in_base64)
            )
        )
        # A text that contains a longer form contains the shorter form within it as well.
        self._plain = tuple(
            form
            for form in self._forms
            if not any(other in form for other in self._forms if other != form)
        )
        is_ascii = all(secret.isascii() for secret in self.secrets)
        self._escape = re.compile(_ESCAPE if is_ascii else r"\\")

    @cached_property
    def begins(self) -> re.Pattern[str]:
        """Matches where a key may begin. Compiled on first use, to keep startup fast."""
        begins = {begin for form in self._forms for begin in _begin(form)}
        return re.compile("|".join(sorted(begins)) or "(?!)")

    def may_be_in_json(self, text: str) -> bool:
        """A quick test of a whole JSON text: False if none of its strings contains a key."""
        for form in self._plain:
            if form in text:
                return True
        if "\\" in text and self._escape.search(text):
            return True
        return "%" in text or "&" in text

    def redact(self, text: str) -> str:
        """Remove the keys from a complete text."""
        if not self.begins.search(text):
            return text
        stream = StreamRedactor(self)
        return stream.feed(text) + stream.end()

    def find(self, text: str, start: int) -> tuple[int, int, bool] | None:
        """Where the next key begins and ends, and whether it could continue after the end of the
        text. The end is -1 if the key does not end within the text."""
        while found := self.begins.search(text, start):
            start = found.start()
            end, goes_on = -1, False
            is_escaped = _BEGINS_ESCAPE.match(text, start) is not None
            for form in self._forms:
                if is_escaped or form[0] == text[start]:
                    form_end, is_cut = _match(form, text, start)
                    end, goes_on = max(end, form_end), goes_on or is_cut
            if end >= 0 or goes_on:
                return start, end, goes_on
            start += 1
        return None


class StreamRedactor:
    """Redacts one text that arrives in pieces. The text returned so far, together with the text
    held back, is the text received so far without its keys."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._text = ""
        """The end of the text so far, if it may be the beginning of a key."""
        self._given = 0
        """How many characters of it were already returned."""

    @property
    def held(self) -> str:
        """The text that is held back."""
        return self._text[self._given :]

    @property
    def is_idle(self) -> bool:
        """Whether the next piece does not depend on earlier ones."""
        return not self._text

    def feed(self, piece: str) -> str:
        """Take the next piece; return the text that need not be held back."""
        text = self._text + piece
        found = self._redactor.begins.search(text)
        if found is None:
            out, self._text, self._given = text[self._given :], "", 0
            return out
        if found.end() - found.start() == 1 and not self._given:  # most often, the last character
            self._text = text[-1:]
            return text[:-1]
        return self._cut(text, is_end=False)

    def end(self) -> str:
        """The text is complete: return the text held back, without its keys."""
        held = self.held
        if held and self._given:
            self._text, self._given = "", 0  # `end` was called before, and more text followed
            return REPLACEMENT
        before = self._text
        out = self._cut(before, is_end=True)
        if out == held:
            self._text, self._given = before, len(before)
        return out

    def _cut(self, text: str, *, is_end: bool) -> str:
        given, at = self._given, 0
        out: list[str] = []
        self._text, self._given = "", 0
        while found := self._redactor.find(text, at):
            start, end, goes_on = found
            if goes_on and not is_end:
                out.append(text[max(at, given) : start])
                self._text, self._given = text[start:], max(0, given - start)
                return "".join(out)
            if end < 0:
                out.append(text[max(at, given) : start + 1])
                at = start + 1
            else:
                out += (text[max(at, given) : start], REPLACEMENT)
                at = end
        out.append(text[max(at, given) :])
        return "".join(out)


# ---------------------------------------------------------------------------------------- encodings

_ESCAPE = r'\\(?:[\\/"]|u00[2-7])'
"""An escape in a JSON text that may stand for an ASCII character."""
_ESCAPES = "\\\\%&\ud800-\udbff"
"""The first characters of escaped forms, for a character class."""
_BEGINS_ESCAPE = re.compile(f"[{_ESCAPES}]")
_IN_HTML = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}


@lru_cache(maxsize=256)
def _encodings(char: str) -> tuple[str, ...]:
    """All encodings of a character; the first is the plain character."""
    code = ord(char)
    in_utf8 = char.encode("utf-8", "surrogatepass")
    units = char.encode("utf-16-be", "surrogatepass")
    pairs = [units[at : at + 2] for at in range(0, len(units), 2)]
    escaped = [
        "".join(f"\\u{pair.hex()}" for pair in pairs),
        "".join(f"%{byte:02x}" for byte in in_utf8),
        "".join(f"\\x{byte:02x}" for byte in in_utf8),
        f"&#x{code:x};",
    ]
    large = [re.sub("[0-9a-f]{2,}", lambda found: found[0].upper(), text) for text in escaped]
    if char in "\\/\"'":
        escaped.append(f"\\{char}")
    if char in _IN_HTML:
        escaped.append(f"&{_IN_HTML[char]};")
    halves = "".join(chr(int.from_bytes(pair)) for pair in pairs)
    return tuple(dict.fromkeys((char, halves, *escaped, *large, f"&#{code};")))


def _in_base64(secret: str) -> Iterator[str]:
    """The base64 of a key at each offset, as "Basic" puts a user name before it: only the
    characters that do not depend on the surrounding text."""
    if len(secret) < 12:
        return  # too few characters to be sure that it is a key
    for before in range(3):
        data = b"\0" * before + secret.encode()
        last = {0: None, 1: -3, 2: -2}[len(data) % 3]
        encoded = b64encode(data).decode()
        for text in (encoded, encoded.translate({43: "-", 47: "_"})):
            if before == 0:
                yield text
            yield text[(0, 2, 3)[before] : last]


def _begin(form: str) -> Iterator[str]:
    """Patterns for the beginning of a form, possibly cut off by the end of the text."""
    first, second = form[0], form[1]
    yield f"{re.escape(first)}(?:\\Z|[{re.escape(second)}{_ESCAPES}])"
    yield from map(_possibly_cut, _encodings(first)[1:])


def _possibly_cut(text: str) -> str:
    """A pattern for a text, possibly cut off by the end of the searched text."""
    rest = f"(?:\\Z|{_possibly_cut(text[1:])})" if text[1:] else ""
    return re.escape(text[0]) + rest


def _match(form: str, text: str, start: int) -> tuple[int, bool]:
    """Where a form that begins at `start` ends, or -1, and whether the text ends within it."""
    ends, is_cut = {start}, False
    for char in form:
        found = {end for at in ends for end in _ends(char, text, at)}
        is_cut |= -1 in found
        ends = found - {-1}
        if not ends:
            return -1, is_cut
    return max(ends), is_cut


def _ends(char: str, text: str, at: int) -> Iterator[int]:
    """Where a character that begins at `at` may end; -1 for beyond the text."""
    if text.startswith(char, at):
        yield at + 1
    if at == len(text):
        yield -1
    elif _BEGINS_ESCAPE.match(text, at):
        for encoded in _encodings(char)[1:]:
            if text.startswith(encoded, at):
                yield at + len(encoded)
            elif len(text) - at < len(encoded) and encoded.startswith(text[at:]):
                yield -1
