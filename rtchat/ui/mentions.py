"""Files that a question mentions: `@path`, or `@"a path"` with spaces.

Whether a word names a file is decided by the disk, so this module only finds the words that may.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_START = r"""(?<![^\s(\[{<'"])@"""
"""An @ that is not inside a word, as in an e-mail address."""
_MENTION = re.compile(rf"""{_START}("[^"\n]+"|'[^'\n]+'|(?:\\.|[^\s\\"'])+)""")
_OPEN = re.compile(rf"""{_START}("[^"\n]*|'[^'\n]*|(?:\\.|[^\s\\"'])*)$""")


def mentions(text: str, pasted: Sequence[str] = ()) -> tuple[str, ...]:
    """The words after each @ in a question, quotation marks included. A word in one of the texts
    that were pasted is not a mention: a pasted text must not choose which files are sent."""
    found = ((match[0], match[1]) for match in _MENTION.finditer(text))
    return tuple(dict.fromkeys(word for mention, word in found if not _is_in(pasted, mention)))


def _is_in(pasted: Sequence[str], mention: str) -> bool:
    name = re.sub(r"\W+$", "", mention)  # punctuation may have been typed after the paste
    return any(name in text for text in pasted)


def open_mention(typed: str) -> str | None:
    """The path of a mention that `typed` ends in, without @; it may begin with a quotation mark
    that is not closed. None if there is no mention at the end."""
    found = _OPEN.search(typed)
    return found[1] if found else None
