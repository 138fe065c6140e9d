"""The code blocks of a Markdown text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rtchat.markdown.dialect import parser, references


class CodeBlock(NamedTuple):
    """A code block. `language` is the first word after the fence, or empty."""

    language: str
    code: str


def code_blocks(text: str) -> list[CodeBlock]:
    """The fenced and indented code blocks, in order."""
    return [
        CodeBlock(token.info.strip().partition(" ")[0], token.content)
        for token in parser().parse(text, {"references": references({})})
        if token.type in {"fence", "code_block"}
    ]


def count_blocks(blocks: Sequence[CodeBlock]) -> str:
    """How many code blocks there are, in words."""
    return f"{len(blocks) or 'no'} {'code block' if len(blocks) == 1 else 'code blocks'}"
