"""Emphasis next to Chinese, Japanese and Korean characters.

In CommonMark, `**` beside punctuation can open or close only if a space or other punctuation is on
its other side. Languages without spaces have neither: `**注意：**请看` would keep its stars. The
CJK-friendly amendments (https://github.com/tats-u/markdown-cjk-friendly) change the two definitions
on which emphasis and strikethrough depend: CJK punctuation counts as a letter, and a CJK character
before or after the run counts like a space. All other text is as in CommonMark.
"""

from __future__ import annotations

from functools import lru_cache
from unicodedata import category, east_asian_width

from markdown_it.common.utils import isPunctChar, isWhiteSpace
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned

_QUOTES = "‘’“”"  # noqa: RUF001 # the quotes that have a full-width form
_FULL_WIDTH_FORM = "\ufe01"
"""The variation selector that chooses the full-width form of the quote before it."""


class EmphasisState(StateInline):
    """The state of the inline parser, with these rules for runs of `*`, `_` and `~`."""

    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:  # noqa: N802, N803 # names of markdown-it
        """Whether the run of marks at `start` can open and can close emphasis, and its length. With
        `canSplitWord`, it can do so inside a word."""
        source, mark = self.src, self.src[start]
        end = start
        while end < self.posMax and source[end] == mark:
            end += 1
        after = source[end] if end < self.posMax else " "
        before = source[start - 1] if start else " "
        if before.isascii() and after.isascii():
            return super().scanDelims(start, canSplitWord)
        before_is_cjk, before_is_punctuation = _kind_before(source, start)
        after_is_cjk, after_is_punctuation = _is_cjk(after), isPunctChar(after)
        before_is_space, after_is_space = isWhiteSpace(ord(before)), isWhiteSpace(ord(after))
        before_is_other = before_is_punctuation and not before_is_cjk
        after_is_other = after_is_punctuation and not after_is_cjk
        is_left = not after_is_space and (
            not after_is_other or before_is_space or before_is_punctuation or before_is_cjk
        )
        is_right = not before_is_space and (
            not before_is_other or after_is_space or after_is_punctuation or after_is_cjk
        )
        can_open = is_left and (canSplitWord or not is_right or before_is_punctuation)
        can_close = is_right and (canSplitWord or not is_left or after_is_punctuation)
        return Scanned(can_open, can_close, end - start)


def _kind_before(source: str, start: int) -> tuple[bool, bool]:
    """Whether the character before a position is CJK, and whether it is punctuation. A variation
    selector belongs to the character before it."""
    before = source[start - 1] if start else " "
    if "\ufe00" <= before <= "\ufe0e" and start > 1:
        chosen = source[start - 2]
        is_full_width = chosen in _QUOTES and before == _FULL_WIDTH_FORM
        return _is_cjk(chosen) or is_full_width, isPunctChar(chosen)
    return _is_cjk(before) or "\U000e0100" <= before <= "\U000e01ef", isPunctChar(before)


@lru_cache(maxsize=1_000)
def _is_cjk(character: str) -> bool:
    """Whether a character is Chinese, Japanese or Korean. Emoji are not."""
    code = ord(character)
    if 0x1100 <= code < 0x1200 or 0xD7B0 <= code < 0xD800:  # parts of Hangul syllables
        return True
    is_symbol = category(character) == "So" and not 0x2E80 <= code < 0x1F000
    return east_asian_width(character) in "WFH" and not is_symbol
