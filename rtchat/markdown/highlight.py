"""Syntax highlighting, line by line: the lexer's state at the end of a piece continues in the next.

In some languages a comment of several lines may lose its colour, because the lexer matches it as a
whole. Waiting for its end would delay the stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy, deepcopy
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from rtchat.markdown import theme
from rtchat.markdown.info_string import lexer_name, pygments_languages

if TYPE_CHECKING:
    from pygments.lexer import (  # type: ignore[import-untyped] # pygments ships no types
        Lexer,
        LexerContext,
    )


_MAX_LINE = 1_000
"""The longest line, in characters, that is highlighted. Longer lines take too long."""


_DIFF_FILE = re.compile(r"(?:---|\+\+\+) (?:[ab]/|/dev/null\b|[\w./+-]+\.\w+(?:\s|$))")
"""The beginning of a line that names a file in a diff. `--- x` may also be a removed comment."""


class Highlighter:
    """Highlights the code of one fence."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._context: LexerContext | None = None
        """The state of the lexer after the last code. It is never changed."""

    def copy(self) -> Highlighter:
        """An independent highlighter with the same state."""
        return copy(self)

    def lines(self, code: str) -> list[Text]:
        """Highlight the next code of this fence. Returns its lines."""
        lexer = _lexer(self.language)
        lines: list[Text] = []
        for is_plain, group in groupby(code.split("\n"), lambda line: len(line) > _MAX_LINE):
            if lexer is None or is_plain:
                lines += map(Text, group)
            else:
                lines += self._highlighted(lexer, "\n".join(group))
        return lines

    def _highlighted(self, lexer: Lexer, code: str) -> list[Text]:
        text = Text()
        for style, part in self._parts(lexer, code + "\n"):
            text.append(part, style)
        text.right_crop(1)
        lines = list(text.split("\n", allow_blank=True))
        if lexer.name != "Diff":
            return lines
        # Pygments takes these lines for removed and added ones.
        return [
            Text().append(line.plain, theme.DIFF_FILE) if _DIFF_FILE.match(line.plain) else line
            for line in lines
        ]

    def _parts(self, lexer: Lexer, code: str) -> Iterator[tuple[str, str]]:
        from pygments.lexer import ExtendedRegexLexer, RegexLexer

        if not isinstance(lexer, RegexLexer):
            yield from (
                (_style(kind), part) for _, kind, part in lexer.get_tokens_unprocessed(code)
            )
            return
        # An extended lexer takes its state from a context and stores it there. Its loop works for
        # every regex lexer, except the few whose callbacks take one argument less.
        context = deepcopy(self._context) if self._context else _new_context(lexer)
        context.text, context.pos, context.end = code, 0, len(code)
        parts: list[tuple[str, str]] = []
        try:
            for _, kind, part in ExtendedRegexLexer.get_tokens_unprocessed(lexer, context=context):
                parts.append((_style(kind), part))
        except (TypeError, KeyError):
            yield "", code
            return
        self._context = context
        yield from parts


def _new_context(lexer: Lexer) -> LexerContext:
    from pygments.lexer import LexerContext
    from pygments.lexers.data import (  # type: ignore[import-untyped] # as above
        YamlLexer,
        YamlLexerContext,
    )

    return (YamlLexerContext if isinstance(lexer, YamlLexer) else LexerContext)("", 0)


def _lexer(language: str) -> Lexer | None:
    name = lexer_name(language)
    return _lexer_by_name(name) if name in pygments_languages() else None


@cache
def _lexer_by_name(name: str) -> Lexer:
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped] # as above

    return get_lexer_by_name(name)


_EXTENSION = re.compile(r"\*(\.\w+)")


def file_extension(language: str) -> str:
    """The usual extension of files in a language; `.txt` if it is unknown."""
    lexer = _lexer(language)
    patterns = lexer.filenames if lexer is not None else ()
    found = [match[1] for each in patterns if (match := _EXTENSION.fullmatch(each))]
    own = f".{language.lower()}"
    return own if own in found else next(iter(found), ".txt")


@cache
def _style(kind: object) -> str:
    """The style of a token type, or that of its nearest ancestor with a style."""
    name = str(kind)
    while name and name not in theme.SYNTAX:
        name = name.rpartition(".")[0]
    return theme.SYNTAX.get(name, "")
