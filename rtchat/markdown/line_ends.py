"""Tell which line ends of a paragraph its author meant.

CommonMark shows a single line end as a space. That is right for prose that was wrapped at a fixed
width, and wrong for a poem, an address, steps or records. Prose is recognised by its lines: each is
so long that the first word of the next one would not have fitted, and most go on in the middle of a
sentence. A line that begins with a mark, such as `a)` or `Name:`, is always a line of its own.
"""

from __future__ import annotations

import re
from itertools import pairwise

from rich.cells import cell_len

_MIN_WIDTH, _MAX_WIDTH = 55, 132
"""The widths, in cells, at which authors wrap prose."""
_SLACK = 0.1
"""The part of the width that an author who wraps by eye may leave free."""
_MAX_SLACK = 0.25
"""The part from which a line was not wrapped, even if it ends within a sentence."""
_MARK = re.compile(
    r"[•◦‣▪▸►●○■□◆◇★☆✓✔✗✘✅❌☐☑☒⚠ℹ\U0001f000-\U0001faff\u2460-\u24ff\u2700-\u27bf]"
    r"|\[\^[^\]\s]+\]:|\[![A-Za-z]+\]|[├└│┌┐┘┬┴┼─╭╰║╔╚╠═]|\|.*\|$"
    r"|(?:\*\*|__)[^*_]{1,40}(?::\*\*|\*\*:|:__|__:)"
)
"""What begins a line of its own, in any paragraph."""
_WEAK_MARK = re.compile(
    r"(?P<letter>\(?[A-Za-z][.)]\s)|(?P<roman>\(?[ivxIVX]{1,5}[.)]\s)|(?P<number>\(?\d{1,9}[.)]\s)"
    r"|(?P<section>§|(?:[A-Z]\.)?\d+(?:\.\d+)+[.)]?\s|[A-Z]\.\d+\s)|(?P<bracket>\[[\w.]{1,4}\][\s:])"
    r"|(?P<dash>[-–—]\s)|(?P<arrow>(?:[→⇒➜]|[-=]>)\s)|(?P<quote>[\"“„«‹「『]\S)"
    r"|(?P<command>[$%]\s|/[a-z])"
    r"|(?P<key>[*_`]{0,3}[A-Z][^\s:]*(?:\s[^\s:]+){0,3}\s?[:：]+[*_`]{0,3}(?:\s|$))"
)
"""What begins a line of its own, unless wrapping explains its place."""
_SEPARATOR = re.compile(r"\S.{0,40}?(?:\s[-–—=|·]+>?\s|[^\s:]:\s|[：\t]|\s[→⇒]\s|\S {3,}\S)")
"""What separates the parts of a record."""
_COLUMNS = re.compile(r"\S(?: {3,}|\t)\S")
"""What aligns text in columns."""
_DRAWN = re.compile(r"\s*(?:[├└│┌┐┘┬┴┼─╭╰║╔╚╠═]|(?:\|\s+)*[|`+\\]--)")
"""What begins a line of a tree or a box."""
_ART = re.compile(r"[-+|/\\_=~^<>.:;'\"`()\[\]{}*\s]*[/\\_+][-+|/\\_=~^<>.:;'\"`()\[\]{}*\s]*")
"""A line of a drawing without words. It has two kinds of characters besides backslashes."""
_BOLD = re.compile(r"\s*(\*\*|__)(?:(?!\1).)+\1:?\s*")
_CELLS = re.compile(r"\s\||\|\s|^\||\|$")
_VERBATIM = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)|\$[^$]+\$|\\\(.*?\\\)")
"""Code and formulas, in which a pipe separates no cells."""
_HARD_BREAK = re.compile(r" {2,}$|\\$")
_HTML_BREAK = re.compile(r"(?<!\\)<br\s*/?>\s*$", re.IGNORECASE)
_MARKUP = "*_~`\"'“”„‘’«»‹›()[]"
_SENTENCE_END = tuple(".!?:;。！？：；…؟।")
_PUNCTUATION = (*_SENTENCE_END, *",，、—–")
_CJK = re.compile(
    r"[\u2e80-\u312f\u3190-\u31bf\u31f0-\u9fff\uf900-\ufaff\uff00-\uff9f\uffe0-\uffef\U00020000-\U0003ffff]"
)
"""Scripts and punctuation without spaces between words. Korean has them."""
_CJK_WORD = re.compile(r".[、。，．：；？！）］｝」』】〉》”’ー々]*")


def is_as_written(source: str) -> bool:
    """Whether a paragraph of several lines is shown as written: a tree, a drawing, or a table
    without the row that makes it one."""
    lines = source.split("\n")
    if sum(bool(_DRAWN.match(line)) for line in lines) > 1 or any(map(_is_art, lines)):
        return True
    return "|" in source and len(lines) > 1 and all(map(_has_cells, lines))


def _is_art(line: str) -> bool:
    return _ART.fullmatch(line) is not None and len({*line} - {*" \\"}) > 1


def _has_cells(line: str) -> bool:
    return "|" in line and _CELLS.search(_VERBATIM.sub("", line).strip()) is not None


def line_starts(source: str, first: int | None = 0) -> list[str]:
    """What precedes each line of a paragraph: a newline and its indent, a space, or nothing, which
    is after `<br>` and in a script without spaces.

    `first` is the indent of the first line; None for that of the mark of an item. An indent that
    all lines have is dropped.
    """
    lines = source.split("\n")
    texts = [line.strip() for line in lines]
    indents = [len(line) - len(line.lstrip()) for line in source.expandtabs(4).split("\n")[1:]]
    if first is None:
        first = 0 if _are_drawn(texts) else min(indents, default=0)
    least = min([first, *indents])
    starts = []
    for is_meant, indent, pair in zip(_meant(lines, texts), indents, pairwise(texts), strict=True):
        is_new = is_meant and not _HTML_BREAK.search(pair[0])
        starts.append("\n" + " " * (indent - least) if is_new else _join(*pair))
    is_prose = not any(start.startswith("\n") for start in starts)
    return ["" if is_prose else " " * (first - least), *starts]


def _join(line: str, following: str) -> str:
    is_apart = not (_CJK.match(line[-1:]) and _CJK.match(following))
    return " " if is_apart and not _HTML_BREAK.search(line) else ""


def _are_drawn(texts: list[str]) -> bool:
    """Whether lines are a drawing or text in columns."""
    return sum(text[:1] in {*"|+/\\"} or bool(_COLUMNS.search(text)) for text in texts) > 1


def _meant(lines: list[str], texts: list[str]) -> list[bool]:
    """Which line ends the author meant."""
    # Without lines of one word: a long URL makes no paragraph wide.
    widths = [cell_len(text) if " " in text or _CJK.search(text) else 0 for text in texts]
    width = max(widths)
    if not _MIN_WIDTH <= width <= _MAX_WIDTH or _are_records(texts) or _are_drawn(texts):
        return [True] * (len(lines) - 1)
    free = [_free(*pair, width) for pair in pairwise(texts)]
    marked = _marked(lines, texts, free)
    open_ends = [index for index, is_marked in enumerate(marked) if not is_marked]
    # The longest line is full whether it was wrapped or not.
    longest = widths.index(width) if widths.count(width) == 1 else None
    evidence = [
        _evidence(texts[at], texts[at + 1], free[at] / width, is_longest=at == longest)
        for at in open_ends
    ]
    if sum(evidence) <= 0 or _are_verses(texts, open_ends):
        return [True] * (len(lines) - 1)
    return [
        is_marked or free[at] > (_SLACK if _ends(texts[at]) else _MAX_SLACK) * width
        for at, is_marked in enumerate(marked)
    ]


def _are_records(texts: list[str]) -> bool:
    """Whether all lines have the same kind of parts, or all begin with a quotation mark."""
    return all(map(_SEPARATOR.match, texts)) or all(text[0] in '"“„«「' for text in texts if text)


def _are_verses(texts: list[str], breaks: list[int]) -> bool:
    """Whether lines are those of a poem: they begin with a capital letter, and half of them end
    with a punctuation mark."""
    capitals = all(texts[at + 1].lstrip(_MARKUP)[:1].isupper() for at in breaks)
    ends = sum(texts[at].rstrip(_MARKUP).endswith(_PUNCTUATION) for at in breaks)
    return capitals and len(breaks) > 2 and 2 * ends >= len(breaks)


def _free(line: str, following: str, width: int) -> int:
    """How many cells would be free if the line had the next word too; negative if it does not
    fit."""
    return width - cell_len(line) - cell_len(_glue(line, following) + _first_word(following))


def _glue(line: str, following: str) -> str:
    return _join(line, following) if line and following else ""


def _first_word(line: str) -> str:
    found = _CJK_WORD.match(line) if _CJK.match(line) else None
    return found.group() if found else line.split(maxsplit=1)[0] if line else ""


def _marked(lines: list[str], texts: list[str], free: list[int]) -> list[bool]:
    """The line ends that are meant whatever the rest of the paragraph is."""
    kinds = [found.lastgroup if (found := _WEAK_MARK.match(text)) else None for text in texts]
    marked = []
    for at, (line, following) in enumerate(pairwise(texts)):
        kind = kinds[at + 1]
        is_rare = kinds.count(kind) <= max(1, len(texts) // 3)
        can_follow = not _ends(line) or (kind in ("key", "quote") and len(texts) > 2)
        is_explained = free[at] < 0 and is_rare and can_follow
        marked.append(
            bool(_MARK.match(following))
            or bool(_BOLD.fullmatch(line) and free[at] >= 0)
            or bool(_HARD_BREAK.search(lines[at]) or _HTML_BREAK.search(line))
            or (_has_cells(line) and _has_cells(following))
            or (kind is not None and not is_explained)
        )
    return marked


def _ends(line: str) -> bool:
    """Whether a sentence ends where the line does."""
    return line.rstrip(_MARKUP + " ").endswith(_SENTENCE_END)


def _goes_on(line: str, following: str) -> bool:
    """Whether a sentence surely goes on in the next line: with a word in lower case."""
    word = _first_word(following).strip(_MARKUP + ",.;:!?")
    is_list = line.rstrip(_MARKUP).endswith((":", "："))
    return word[:1].islower() and re.sub("[-'’]", "", word).isalpha() and not is_list


def _evidence(line: str, following: str, free: float, *, is_longest: bool) -> float:
    """How much a line end speaks for wrapped prose, or against it. `free` is a part of the
    width."""
    goes_on = _goes_on(line, following)
    if free >= 0 and not (free <= _SLACK and (goes_on or _CJK.match(following))):
        return -3
    if goes_on:
        return 3
    if _ends(line):
        return -1 if is_longest else 0
    if _is_name(line) and following.lstrip(_MARKUP)[:1].isupper():
        return 0 if is_longest else 1
    return 0.5 if is_longest else 1.5


def _is_name(line: str) -> bool:
    """Whether the last word of a line is none in lower case."""
    words = line.rstrip(_MARKUP + ",").split()
    return not (words and words[-1][:1].islower())
