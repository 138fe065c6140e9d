"""Colours for code, line by line: what a lexer knows at the end of one piece it knows in the next.

A comment that spans lines may lose its colour in languages whose lexer takes it in one bite; it is
never worth waiting for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from rtchat.markdown import theme

if TYPE_CHECKING:
    from pygments.lexer import Lexer  # type: ignore[import-untyped] # pygments ships no types


_LONGEST = 1_000
"""Characters of a line that are still coloured: longer ones nobody reads, and they take long."""


class Highlighter:
    """Colours the code of one fence. `language` is the first word of its info string."""

    def __init__(self, language: str) -> None:
        self.language = language.lower()
        self.stack: tuple[str, ...] = ("root",)

    def copy(self) -> Highlighter:
        """One that goes on from here by itself."""
        other = Highlighter(self.language)
        other.stack = self.stack
        return other

    def lines(self, code: str) -> list[Text]:
        """The lines of the next code of this fence."""
        lexer = _lexer(self.language)
        lines: list[Text] = []
        for is_plain, group in groupby(code.split("\n"), lambda line: len(line) > _LONGEST):
            if lexer is None or is_plain:
                lines += map(Text, group)
            else:
                lines += self._coloured(lexer, "\n".join(group))
        return lines

    def _coloured(self, lexer: Lexer, code: str) -> list[Text]:
        text = Text()
        for style, part in self._parts(lexer, code + "\n"):
            text.append(part, style)
        text.right_crop(1)
        return list(text.split("\n", allow_blank=True))

    def _parts(self, lexer: Lexer, code: str) -> Iterator[tuple[str, str]]:
        from pygments.lexer import ExtendedRegexLexer, LexerContext, RegexLexer

        if not isinstance(lexer, RegexLexer):
            yield from (
                (_style(kind), part) for _, kind, part in lexer.get_tokens_unprocessed(code)
            )
            return
        # An extended lexer takes its state from outside and leaves it there; its loop will do for
        # any lexer of rules, but for the few whose rules call functions of one argument less.
        context = LexerContext(code, 0, list(self.stack))
        parts: list[tuple[str, str]] = []
        try:
            for _, kind, part in ExtendedRegexLexer.get_tokens_unprocessed(lexer, context=context):
                parts.append((_style(kind), part))
        except (TypeError, KeyError):
            yield "", code
            return
        self.stack = tuple(context.stack)
        yield from parts


@cache
def _aliases() -> frozenset[str]:
    from pygments.lexers import get_all_lexers  # type: ignore[import-untyped] # as above

    return frozenset(alias for row in get_all_lexers(plugins=False) for alias in row[1])


@cache
def _lexer(language: str) -> Lexer | None:
    if language not in _aliases():
        return None
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(language)


@cache
def _style(kind: object) -> str:
    """The style of the nearest type above that has one."""
    name = str(kind)
    while name and name not in theme.SYNTAX:
        name = name.rpartition(".")[0]
    return theme.SYNTAX.get(name, "")
