"""Emphasis next to Chinese, Japanese and Korean punctuation: the CJK-friendly amendments."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rtchat.markdown.render import Drawing
from rtchat.markdown.splitter import Piece


def shown(text: str) -> str:
    """The text of a paragraph as it is shown, with emphasis in brackets."""
    (line,) = Drawing(Console(file=io.StringIO(), width=200)).draw(Piece(text), 200)
    plain = line.plain
    for span in sorted(line.spans, key=lambda span: -span.start):
        plain = f"{plain[: span.start]}[{plain[span.start : span.end]}]{plain[span.end :]}"
    return plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**注意：**请看", "[注意：]请看"),
        ("**중요(중요)**합니다", "[중요(중요)]합니다"),
        ("これは**「強調」**です", "これは[「強調」]です"),
        ("**text。**後", "[text。]後"),
        ("湾岸の**46%**を", "湾岸の[46%]を"),
        ("**“引用”**后", "[“引用”]后"),
        ("前*（括号）*后", "前[（括号）]后"),
        ("~~取消。~~后", "[取消。]后"),
        ("a**「b」**c", "a[「b」]c"),
        ("***两者：***都是", "[两者：]都是"),
        ("**葛\U000e0100**(葛)", "[葛<U+E0100>](葛)"),
        ("丸**㊙\ufe0e**(秘)", "丸[㊙\ufe0e](秘)"),
        ("_강조_ 한국", "[강조] 한국"),
    ],
)
def test_marks_next_to_cjk_punctuation(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text",
    ["a**(b)**c", "é**(b)**é", "漢_字_漢", "**開く **字", "😀**(a)**b", "** 字**", "a**“b”**c"],
)
def test_other_emphasis_is_as_in_commonmark(text: str) -> None:
    assert shown(text) == text
