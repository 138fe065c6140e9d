"""The code blocks of a Markdown text, for `/copy N`, `/save N` and `--extract`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rtchat.markdown.dialect import parser, references


class CodeBlock(NamedTuple):
    """A code block. `language` is the first word after its fence, in lower case; it may be
    empty."""

    language: str
    text: str


def code_blocks(text: str) -> list[CodeBlock]:
    """All code blocks, fenced and indented, in order."""
    tokens = parser().parse(text, {"references": references({})})
    return [
        CodeBlock("".join(token.info.lower().split()[:1]), token.content)
        for token in tokens
        if token.type in {"fence", "code_block"}
    ]


def last_block(text: str, language: str = "") -> CodeBlock | None:
    """The last code block, or the last one of a language, which may have several names."""
    blocks = reversed(code_blocks(text))
    return next((block for block in blocks if _is_in(block.language, language.lower())), None)


def _is_in(found: str, language: str) -> bool:
    if language in ("", found):
        return True
    from pygments.lexers import get_all_lexers  # type: ignore[import-untyped] # has no types

    return any(
        language in names and found in names for _, names, _, _ in get_all_lexers(plugins=False)
    )


def count_blocks(blocks: Sequence[CodeBlock]) -> str:
    """How many code blocks there are, in words."""
    return f"{len(blocks) or 'no'} {'code block' if len(blocks) == 1 else 'code blocks'}"
