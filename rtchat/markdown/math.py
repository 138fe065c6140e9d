"""Recognise formulas: rules for the Markdown parser.

An inline formula is `\\( … \\)`, `\\[ … \\]`, `$$ … $$` or `$ … $`. Its content must look like a
formula, so that prices, shell variables and escaped brackets remain text. A display formula begins
with `\\[`, `$$` or `\\begin{…}` at the start of a line, and continues up to the closing delimiter.
It interrupts a paragraph. If a blank line inside it, a fence, the end of its container or the limit
comes first, its lines are shown as written.

An inline formula becomes a `math_inline` token: `content` is its source, and `info` the formula
without its delimiters. A display formula becomes three tokens: `math_open` with the same fields,
`inline` with the text after the closing delimiter, and `math_close`. `info` is empty if the closing
delimiter is missing.
"""

from __future__ import annotations

import re
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block import paragraph as paragraph_rule
from markdown_it.rules_inline import StateInline

from rtchat.markdown.limits import MAX_COST, cost

_SCRIPTS = r"(?:[\^_](?:[0-9]+[+-]?|[+-]|[A-Za-z]|\{[^{}\\$`]+\})){1,2}+"
"""Only sub- and superscripts, as in `H$_2$O`. A letter may be before and after them."""
_INLINE_FORMULAS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"\\\(((?:[^\\`]|\\[^()])++)\\\)",
        r"\\\[((?:[^\\`]|\\[^\[\]])++)\\\](?!\()",
        r"\$\$(?!\$)((?:[^\\$`]|\\.)++)\$\$(?!\$)",
        r"\$(?![\s$])((?:[^\\$`]|\\.)++)(?<!\s)\$"
        r"(?=(?:th|st|nd|rd)\b|\([^\x00-\x7f]|/\$|(?![0-9A-Za-z$({/]))",
        rf"\$({_SCRIPTS})\$",
    )
)
"""A formula between each pair of delimiters. No code span may begin in it."""

_ENVIRONMENTS = (
    r"(?:(?:align|alignat|flalign|gather|multline|equation|eqnarray|dmath)\*?"
    r"|aligned|alignedat|gathered|split|d?cases|rcases|[pbBvV]?matrix\*?|smallmatrix|array|math"
    r"|displaymath)"
)
_OPENING = re.compile(r"\\\[|\$\$(?!\$)|\\begin\{(" + _ENVIRONMENTS + r")\}")
_DOLLARS = re.compile(r"(?<!\\)(?:\\\\)*+(?P<close>\$\$)")
_BRACKET = re.compile(r"(?<!\\)(?:\\\\)*+(?P<close>\\\])")
_PUNCTUATION = re.compile(r"[\s.,;:!?)]*")

_COMMAND_WITH_TEXT = re.compile(
    r"\\(?:text|math|operatorname|mbox|tag|label|begin|end)[a-z]*\*?\s*\{[^{}]*\}"
)
"""A command with a name or text in braces."""
_COMMAND = re.compile(r"\\[A-Za-z]+")
_FUNCTION = re.compile(
    r"\b(?:a?(?:sin|cos|tan)h?|arc(?:sin|cos|tan)|cot|sec|csc|log|ln|lg|exp|lim|max|min|sup|inf|arg|det"
    r"|dim|ker|gcd|lcm|mod|sqrt|var|cov|d[a-z])\b"
)
_PROSE = re.compile(
    r"(?<![^\W\d_])(?:[^\W\d_]{2,}+\s+[^\W\d_]{2}"
    r"|[^\W\d_]{3,}+[-,.:;/'\u2019]\s*[^\W\d_]{3})"
    r"|\b(?:and|or|to|the|is|of|for|in|per|each|vs|at|by|on|if|plus|than)\b"
    r"|[\u0400-\u04ff\u0590-\u06ff\u0900-\u0eff\u2e80-\ud7ff]"
)
"""Two words side by side, a short English word, or a script that formulas do not use."""
_AMOUNT = re.compile(r"\d[\d.,]*\s*/?\s*(?!d[a-z]\b)[A-Za-z]{2,}")
"""An amount and a word, as in `5/month`."""
_VARIABLE = re.compile(r"[A-Za-z]{2,}(?:_[A-Za-z]{2,})+")
"""The name of a shell variable, as in `$HOME_DIR$`."""
_RARE_IN_PROSE = re.compile(r"\\(?:[A-Za-z]|[\\,;:!{}|])|[\^_={}<>+\u00b1\u00d7\u2190-\u22ff]")
_COMMON_IN_PROSE = re.compile(r"[-*/|()\[\]\u00b7\u2212\u00b2\u00b3]")
"""Signs that are common in formulas: those that are rare in prose, and the others."""
_TEMPLATE = re.compile(r"\{\w+(?:[:#%@]|\}(?![\^_]))")
"""The variable of a shell or of a template, as in `${name:-value}`."""
_NUMBER, _NAME = r"(?:\\\$)?[-\u2212]?\d[\d.,]*(?:\\?%|!)?", r"[^\W\d_]{1,3}[0-9]?['!\u2032]*"
_SHORT_FORMULA = re.compile(rf"{_NUMBER}(?:{_NAME})?|{_NAME}(?:,\s*(?:{_NAME}|{_NUMBER}))*")
"""A number, a product or some names. They are a formula only if delimiters say so."""

_STARS = re.compile(r"(?<=[0-9A-Za-z)\]}])(?:\*(?=[0-9A-Za-z(\[{])|\*\*(?=-?[0-9]))")
"""The star of a product, as in `2*3*4`, and those of a power, as in `x**2`."""


def add_math(markdown: MarkdownIt) -> None:
    """Let a parser recognise formulas."""
    interrupted = ["paragraph", "reference", "blockquote", "list"]
    markdown.block.ruler.before("table", "math", _display, {"alt": interrupted})
    markdown.inline.ruler.before("escape", "math", _inline)
    markdown.inline.ruler.before("emphasis", "stars", _stars)


def is_punctuation(text: str) -> bool:
    """Whether text after a display formula is only punctuation, which belongs to its last line."""
    return _PUNCTUATION.fullmatch(text) is not None


# -------------------------------------------------------------------------------- what is a formula


def _is_formula(content: str) -> bool:
    """Whether text between LaTeX delimiters or `$$` is a formula."""
    if _RARE_IN_PROSE.search(content):
        return True
    if _PROSE.search(content):
        return False
    return bool(_COMMON_IN_PROSE.search(content) or _SHORT_FORMULA.fullmatch(content.strip()))


def _is_between_dollars(content: str) -> bool:
    """Whether text between single dollars is a formula."""
    if content[0] in ",.;:!?)]}\"'" or _VARIABLE.fullmatch(content) or _TEMPLATE.match(content):
        return False
    if "\\" not in content and not _are_brackets_paired(content):
        return False
    words = _FUNCTION.sub(" 1 ", _COMMAND.sub(" 1 ", _COMMAND_WITH_TEXT.sub(" 1 ", content)))
    if _PROSE.search(words):
        return False
    if _SHORT_FORMULA.fullmatch(content):
        return True
    return not _AMOUNT.match(words) and bool(
        _RARE_IN_PROSE.search(content) or _COMMON_IN_PROSE.search(content)
    )


def _are_brackets_paired(content: str) -> bool:
    """Whether brackets open and close in order, of any kind: those of `[0, 1)` do."""
    depths = list(accumulate((mark in "([{") - (mark in ")]}") for mark in content))
    return min(depths) >= 0 == depths[-1]


def _is_in_brackets(content: str) -> bool:
    r"""Whether text between `\[` and `\]` is a formula, not text between escaped brackets."""
    if content[0] == "^" or not any(map(str.isalnum, content)):
        return False
    if "\\" not in content and _PROSE.search(content):
        return False
    return bool(_RARE_IN_PROSE.search(content)) or (content[0].isspace() and _is_formula(content))


# ---------------------------------------------------------------------------------- inline formulas


def _inline(state: StateInline, silent: bool) -> bool:
    at, source = state.pos, state.src
    if source[at] not in "\\$":
        return False
    found = next(
        filter(None, (form.match(source, at, state.posMax) for form in _INLINE_FORMULAS)), None
    )
    if found is None:
        return False
    content, opening = found.group(1), found.group()[:2]
    match opening:
        case "\\(" | "$$":
            is_formula = _is_formula(content)
        case "\\[":
            is_formula = _is_in_brackets(content)
        case _:
            is_formula = _is_between_dollars(content)
    before = source[at - 1] if at else ""
    is_joined = opening[0] == "$" and re.match(r"[0-9A-Za-z$]", before)
    if not is_formula or (is_joined and not re.fullmatch(_SCRIPTS, content)):
        return False
    if not silent:
        token = state.push("math_inline", "", 0)
        token.content, token.info = found.group(), content
    state.pos = found.end()
    return True


def _stars(state: StateInline, silent: bool) -> bool:
    """The stars of a product or a power are not emphasis."""
    found = _STARS.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        state.pending += found[0]
    state.pos = found.end()
    return True


# --------------------------------------------------------------------------------- display formulas


class _ClosingDelimiter:
    """Finds the closing delimiter of a display formula, line by line."""

    def __init__(self, opening: re.Match[str]) -> None:
        environment = opening.group(1)
        self._depth = 1
        self._pattern = _DOLLARS if opening.group() == "$$" else _BRACKET
        if environment:
            name = re.escape(environment)
            pattern = rf"\\begin\{{{name}\}}|(?P<close>\\end\{{{name}\}})"
            self._pattern = re.compile(pattern)

    def find(self, line: str, start: int = 0) -> re.Match[str] | None:
        """A match whose group "close" is the closing delimiter, if it is in this line."""
        for found in self._pattern.finditer(line, start):
            self._depth += -1 if found["close"] else 1
            if not self._depth:
                return found
        return None


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _display(state: StateBlock, line: int, end: int, silent: bool) -> bool:
    first = _line(state, line)
    opening = _OPENING.match(first) if first[:1] in ("\\", "$") else None
    if opening is None or state.is_code_block(line) or cost(first) > MAX_COST:
        return False
    closing = _ClosingDelimiter(opening)
    found = closing.find(first, opening.end())
    if not _may_begin(opening, first, found):
        return False
    if silent:
        return True
    last, left = line, MAX_COST - cost(first)
    is_alone = first.rstrip() == opening.group()
    while found is None and (following := _next(state, last, end, is_alone=is_alone)) > last:
        text = _line(state, following)
        left -= cost("\n" * (following - last) + text)
        if left < 0:
            break
        last, is_alone = following, False
        found = closing.find(text)
    opened = state.push("math_open", "", 1)
    inline = state.push("inline", "", 0)
    state.push("math_close", "", -1)
    state.line = last + 1
    tail = found.string[found.end() :] if found else ""
    inline.content, inline.map, inline.children = tail.strip(), [last, last + 1], []
    source = state.getLines(line, last + 1, state.sCount[line], False)
    opened.content = source.removesuffix(tail) if found else source.rstrip()
    if found:
        is_environment = opening.group(1) is not None
        opened.info = opened.content if is_environment else opened.content[2:-2]
    if found and not is_punctuation(tail):
        text = _paragraph(state, last, end)[found.end() :]
        if cost(text) <= left:
            inline.content, inline.map = text.strip(), [last, state.line]
        else:
            state.line = last + 1
    opened.map = [line, state.line]
    return True


def _paragraph(state: StateBlock, line: int, end: int) -> str:
    """The text of the paragraph that would begin in this line. Moves the state to its end."""
    before = len(state.tokens)
    paragraph_rule(state, line, end, False)
    text = state.tokens[before + 1].content
    del state.tokens[before:]
    return text


def _may_begin(opening: re.Match[str], line: str, closing: re.Match[str] | None) -> bool:
    """Whether a line may be the first one of a display formula. If the formula ends in it and text
    follows, it is an inline formula."""
    if closing and not is_punctuation(line[closing.end() :]):
        return False
    content = line[opening.end() : closing.start("close") if closing else None]
    if opening.group(1):
        return True
    if not content.strip():
        return closing is None
    return _is_in_brackets(content) if opening.group() == "\\[" else _is_formula(content)


def _next(state: StateBlock, last: int, end: int, *, is_alone: bool) -> int:
    """The line after `last` in a formula; `last` if it has no more. `is_alone` is whether `last` is
    its opening delimiter alone. The start of a fence is never part of it. Blank lines may be after
    that delimiter and before the closing one; at the end, they are part of it, because the closing
    one may follow."""
    line = last + 1
    while line < end and state.isEmpty(line):
        line += 1
    if line == end:
        return end - 1
    text = _line(state, line)
    if state.sCount[line] < state.blkIndent or text.startswith(("```", "~~~")):
        return last
    if line == last + 1 or text.startswith(("$$", "\\]", "\\end{")):
        return line
    return line if is_alone and _is_between_dollars(text) else last
