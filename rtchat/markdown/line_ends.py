"""Find the line ends of a paragraph that its author intended.

CommonMark shows a single line end as a space. That is right for prose that was wrapped at a fixed
width, and wrong for a poem, an address, steps or records. Wrapped prose is recognised by its lines:
each is so long that the first word of the next one would not have fitted, and most end in the
middle of a sentence. A line that begins like an item or a record, with `a)` or `Name:`, starts a
new line even in wrapped prose.
"""

from __future__ import annotations

import re
from itertools import pairwise

from rich.cells import cell_len

_MIN_WIDTH, _MAX_WIDTH = 55, 132
"""The widths in cells at which authors wrap prose."""
_FREE_AFTER_SENTENCE = 0.1
"""The part of the width that may be free in a wrapped line that ends with a sentence: not every
author wraps exactly."""
_FREE_IN_SENTENCE = 0.25
"""The part of the width that may be free in a wrapped line that ends within a sentence."""
_LINE_START = re.compile(
    r"[•◦‣▪▸►●○■□◆◇★☆✓✔✗✘✅❌☐☑☒⚠ℹ\U0001f000-\U0001faff\u2460-\u24ff\u2700-\u27bf]"
    r"|\[\^[^\]\s]+\]:|\[![A-Za-z]+\]|[├└│┌┐┘┬┴┼─╭╰║╔╚╠═]|\|.*\|$"
    r"|(?:\*\*|__)[^*_]{1,40}(?::\*\*|\*\*:|:__|__:)"
)
"""Matches what always starts a new line."""
_LIKELY_LINE_START = re.compile(
    r"(?P<letter>\(?[A-Za-z][.)]\s)|(?P<roman>\(?[ivxIVX]{1,5}[.)]\s)|(?P<number>\(?\d{1,9}[.)]\s)"
    r"|(?P<section>§|(?:[A-Z]\.)?\d+(?:\.\d+)+[.)]?\s|[A-Z]\.\d+\s)|(?P<bracket>\[[\w.]{1,4}\][\s:])"
    r"|(?P<dash>[-–—]\s)|(?P<arrow>(?:[→⇒➜]|[-=]>)\s)|(?P<quote>[\"“„«‹「『]\S)"
    r"|(?P<command>[$%]\s|/[a-z])"
    r"|(?P<key>[*_`]{0,3}[A-Z][^\s:]*(?:\s[^\s:]+){0,3}\s?[:：]+[*_`]{0,3}(?:\s|$))"
)
"""Matches what starts a new line unless wrapping may have moved it to the start of a line."""
_RECORD = re.compile(r"\S.{0,40}?(?:\s[-–—=|·]+>?\s|[^\s:]:\s|[：\t]|\s[→⇒]\s|\S {3,}\S)")
"""Matches the first part of a record and the separator after it."""
COLUMNS = re.compile(r"\S(?: {3,}|\t)\S")
"""Matches the space between columns."""
_DRAWN = re.compile(r"\s*(?:[├└│┌┐┘┬┴┼─╭╰║╔╚╠═]|(?:\|\s+)*[|`+\\]--)")
"""Matches the start of a line of a tree or a box."""
_ART = re.compile(r"[-+|/\\_=~^<>.:;'\"`()\[\]{}*\s]*[/\\_+][-+|/\\_=~^<>.:;'\"`()\[\]{}*\s]*")
"""Matches a line of a drawing without words."""
_BOLD_LINE = re.compile(r"\s*(\*\*|__)(?:(?!\1).)+\1:?\s*")
_CELLS = re.compile(r"\s\||\|\s|^\||\|$")
"""Matches a pipe that may separate cells."""
CODE_OR_FORMULA = re.compile(
    r"(?<!`)(`++)(?:[^`]++|(?!\1(?!`))`++)++\1(?!`)"  # code
    r"|\$(?!\s)[^$]+(?<!\s)\$(?!\d)|\\\((?:(?!\\\().)+?\\\)"  # a formula, not `$5 | $10`
)
"""Matches code and formulas, in which a pipe does not separate cells."""
_HARD_BREAK = re.compile(r" {2,}$|\\$")
_HTML_BREAK = re.compile(r"(?<!\\)<br\s*/?>\s*$", re.IGNORECASE)
_MARKUP = "*_~`\"'“”„‘’«»‹›()[]"
_SENTENCE_END = tuple(".!?:;。！？：；…؟।")
_PUNCTUATION = (*_SENTENCE_END, *",，、—–")
_CJK = re.compile(
    r"[\u2e80-\u312f\u3190-\u31bf\u31f0-\u9fff\uf900-\ufaff\uff00-\uff9f\uffe0-\uffef\U00020000-\U0003ffff]"
)
"""Matches a character of a script without spaces between words, or its punctuation. Korean has
spaces."""
_CJK_WORD = re.compile(r".[、。，．：；？！）］｝」』】〉》”’ー々]*")


def is_as_written(source: str) -> bool:
    """Whether a paragraph of several lines is shown as written: a tree, a drawing, or a table
    without a delimiter row."""
    lines = source.split("\n")
    if sum(bool(_DRAWN.match(line)) for line in lines) > 1 or any(map(_is_art, lines)):
        return True
    return "|" in source and len(lines) > 1 and all(map(_has_cells, lines))


def _is_art(line: str) -> bool:
    return _ART.fullmatch(line) is not None and len({*line} - {*" \\"}) > 1


def _has_cells(line: str) -> bool:
    return "|" in line and _CELLS.search(CODE_OR_FORMULA.sub("", line).strip()) is not None


def line_starts(source: str, first: int | None = 0) -> list[str]:
    """What precedes each line of a paragraph: a newline and its indent, a space, or nothing (after
    `<br>` and in scripts without spaces).

    `first` is the indent of the first line, or None if that line follows the mark of a list item.
    The indent that all lines have in common is dropped.
    """
    lines = source.split("\n")
    texts = [line.strip() for line in lines]
    indents = [len(line) - len(line.lstrip()) for line in source.expandtabs(4).split("\n")[1:]]
    if first is None:
        first = 0 if _are_aligned(texts) else min(indents, default=0)
    least = min([first, *indents])
    starts = []
    intended = _intended_line_ends(lines, texts)
    for is_intended, indent, pair in zip(intended, indents, pairwise(texts), strict=True):
        is_new = is_intended and not _HTML_BREAK.search(pair[0])
        starts.append("\n" + " " * (indent - least) if is_new else _join(*pair))
    is_prose = not any(start.startswith("\n") for start in starts)
    return ["" if is_prose else " " * (first - least), *starts]


def _join(line: str, following: str) -> str:
    """What joins two lines: a space or nothing."""
    is_apart = not (_CJK.match(line[-1:]) and _CJK.match(following))
    return " " if is_apart and not _HTML_BREAK.search(line) else ""


def _are_aligned(texts: list[str]) -> bool:
    """Whether lines are a drawing or text in columns."""
    return sum(text[:1] in {*"|+/\\"} or bool(COLUMNS.search(text)) for text in texts) > 1


def _intended_line_ends(lines: list[str], texts: list[str]) -> list[bool]:
    """Whether the author intended each line end."""
    # Lines of one word do not count: a long URL does not make a paragraph wide.
    widths = [cell_len(text) if " " in text or _CJK.search(text) else 0 for text in texts]
    width = max(widths)
    if not _MIN_WIDTH <= width <= _MAX_WIDTH or _are_records(texts) or _are_aligned(texts):
        return [True] * (len(lines) - 1)
    free = [_free_cells(*pair, width) for pair in pairwise(texts)]
    certain = _certain_line_ends(lines, texts, free)
    open_ends = [index for index, is_certain in enumerate(certain) if not is_certain]
    # The longest line is full whether it was wrapped or not.
    longest = widths.index(width) if widths.count(width) == 1 else None
    evidence = [
        _evidence_of_wrapping(texts[at], texts[at + 1], free[at] / width, is_longest=at == longest)
        for at in open_ends
    ]
    if sum(evidence) <= 0 or _are_verse(texts, open_ends):
        return [True] * (len(lines) - 1)
    shares = [
        _FREE_AFTER_SENTENCE if _ends_sentence(text) else _FREE_IN_SENTENCE for text in texts[:-1]
    ]
    return [
        is_certain or cells > share * width
        for is_certain, cells, share in zip(certain, free, shares, strict=True)
    ]


def _are_records(texts: list[str]) -> bool:
    """Whether all lines have the same kind of parts, or all begin with a quotation mark."""
    return all(map(_RECORD.match, texts)) or all(text[0] in '"“„«「' for text in texts if text)


def _are_verse(texts: list[str], breaks: list[int]) -> bool:
    """Whether lines are those of a poem: they begin with a capital letter, and half of them end
    with a punctuation mark."""
    capitals = all(texts[at + 1].lstrip(_MARKUP)[:1].isupper() for at in breaks)
    ends = sum(texts[at].rstrip(_MARKUP).endswith(_PUNCTUATION) for at in breaks)
    return capitals and len(breaks) > 2 and 2 * ends >= len(breaks)


def _free_cells(line: str, following: str, width: int) -> int:
    """How many cells would be free if the line also had the first word of the next; negative if the
    word does not fit."""
    return width - cell_len(line) - cell_len(_separator(line, following) + _first_word(following))


def _separator(line: str, following: str) -> str:
    return _join(line, following) if line and following else ""


def _first_word(line: str) -> str:
    """The first part of a line that cannot be broken, without its spaces; "" if it is empty."""
    found = _CJK_WORD.match(line) if _CJK.match(line) else None
    return found.group() if found else line.split(maxsplit=1)[0] if line else ""


def _certain_line_ends(lines: list[str], texts: list[str], free: list[int]) -> list[bool]:
    """Whether each line end is intended whatever the rest of the paragraph is."""
    kinds = [
        found.lastgroup if (found := _LIKELY_LINE_START.match(text)) else None for text in texts
    ]
    certain = []
    for at, (line, following) in enumerate(pairwise(texts)):
        kind = kinds[at + 1]
        is_rare = kinds.count(kind) <= max(1, len(texts) // 3)
        may_be_wrapped = not _ends_sentence(line) or (kind in ("key", "quote") and len(texts) > 2)
        is_from_wrapping = free[at] < 0 and is_rare and may_be_wrapped
        certain.append(
            bool(_LINE_START.match(following))
            or bool(_BOLD_LINE.fullmatch(line) and free[at] >= 0)
            or bool(_HARD_BREAK.search(lines[at]) or _HTML_BREAK.search(line))
            or (_has_cells(line) and _has_cells(following))
            or (kind is not None and not is_from_wrapping)
        )
    return certain


def _ends_sentence(line: str) -> bool:
    """Whether a sentence ends where the line does."""
    return line.rstrip(_MARKUP + " ").endswith(_SENTENCE_END)


def _continues_sentence(line: str, following: str) -> bool:
    """Whether a sentence certainly continues in the next line: with a word in lower case."""
    word = _first_word(following).strip(_MARKUP + ",.;:!?")
    is_list = line.rstrip(_MARKUP).endswith((":", "："))
    return word[:1].islower() and re.sub("[-'’]", "", word).isalpha() and not is_list


def _evidence_of_wrapping(line: str, following: str, free: float, *, is_longest: bool) -> float:
    """Evidence of wrapped prose at a line end; negative if it is against it. `free` is the part of
    the width that would be free with the next word."""
    goes_on = _continues_sentence(line, following)
    if free >= 0 and not (free <= _FREE_AFTER_SENTENCE and (goes_on or _CJK.match(following))):
        return -3
    if goes_on:
        return 3
    if _ends_sentence(line):
        return -1 if is_longest else 0
    if _ends_with_name(line) and following.lstrip(_MARKUP)[:1].isupper():
        return 0 if is_longest else 1
    return 0.5 if is_longest else 1.5


def _ends_with_name(line: str) -> bool:
    """Whether the last word of a line does not begin with a lower-case letter, like a name."""
    words = line.rstrip(_MARKUP + ",").split()
    return not (words and words[-1][:1].islower())
