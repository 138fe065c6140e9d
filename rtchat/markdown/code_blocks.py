"""The code blocks of a Markdown text, for `/copy N`, `/save N` and `--extract`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rtchat.markdown.dialect import parser, references
from rtchat.markdown.info_string import lexer_name, parse_info

_EXTENSION = re.compile(r"\.\w+\Z", re.ASCII)


class CodeBlock(NamedTuple):
    """A code block, with the language and the name of the file that follow its fence. They may be
    empty."""

    language: str
    text: str
    file: str = ""

    @property
    def extension(self) -> str:
        """The extension for a file with this code."""
        from rtchat.markdown.highlight import file_extension

        named = _EXTENSION.search(self.file)
        return named[0] if named else file_extension(self.language)


def code_blocks(text: str) -> list[CodeBlock]:
    """All code blocks, fenced and indented, in order."""
    tokens = parser().parse(text, {"references": references({})})
    blocks = [token for token in tokens if token.type in {"fence", "code_block"}]
    infos = [parse_info(token.info) for token in blocks]
    return [
        CodeBlock(info.language, token.content, info.file)
        for info, token in zip(infos, blocks, strict=True)
    ]


def latest_blocks(*replies: str) -> list[CodeBlock]:
    """The code blocks of the first of these texts that has any."""
    return next(filter(None, map(code_blocks, replies)), [])


def last_block(text: str, language: str = "") -> CodeBlock | None:
    """The last code block, or the last one of a language, which may have several names."""
    blocks = reversed(code_blocks(text))
    return next((block for block in blocks if _is_in(block.language, language.lower())), None)


def _is_in(found: str, language: str) -> bool:
    if language in ("", found):
        return True
    from pygments.lexers import get_all_lexers  # type: ignore[import-untyped] # has no types

    both = {lexer_name(language), lexer_name(found)}
    return len(both) == 1 or any(
        both.issubset(names) for _, names, _, _ in get_all_lexers(plugins=False)
    )


def count_blocks(blocks: Sequence[CodeBlock]) -> str:
    """How many code blocks there are, in words."""
    return f"{len(blocks) or 'no'} {'code block' if len(blocks) == 1 else 'code blocks'}"
