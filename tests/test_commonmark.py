"""The examples of the specifications of CommonMark and GFM, rendered and streamed.

They are downloaded into a temporary folder. The HTML of our parser is compared with theirs:
`_DIFFERENCES` lists all examples that differ, with the reasons. Every example is shown in the same
way streamed and at once.
"""

from __future__ import annotations

import re

import pytest

from rtchat.core.text import visible
from rtchat.markdown.dialect import parser, references
from rtchat.markdown.render import Drawing, MarkdownStream
from rtchat.markdown.splitter import Piece
from rtchat.markdown.table_rule import with_cells
from tests import specs
from tests.screen import Screen
from tests.test_scrollback import at_once, streamed

pytestmark = pytest.mark.full

_REFERENCES = "a link is resolved only by references above it: it is printed before others arrive"
_LINE_ENDS = "a line end that the author meant is kept"
_STAR = "a star between letters or digits, as in 2*3*4, is no emphasis"
_LINKS = "addresses without brackets are links, as in GFM"
_RULE = "`---` below several lines, or below a sentence, is a rule"
_DIFFERENCES: dict[str, dict[str, set[int]]] = {
    "commonmark": {
        _REFERENCES: {
            *(23, 33, 203, 204, 214, 218, *range(527, 536), 539, 540, 542, 543, 549),
            *(*range(553, 563), 565, 566, *range(568, 572), 573, 576, 577),
            *(*range(582, 590), 591, 593),
        },
        _LINE_ENDS: {
            *(14, 25, 28, 37, 46, 49, 70, 87, 88, 93, *range(104, 107), 113, 138, 145, 148, 187),
            *(213, 216, 217, 220, *range(222, 225), *range(228, 231), 232, 233, 238, 243, 247),
            *(250, 251, 253, 254, *range(285, 289), *range(290, 294), 304, 312, 334, 367, 384),
            *(394, 405, 423, 432, 490, 494, 505, 552, 621, 648, 649),
        },
        _RULE: {95},
        _STAR: {355, 356, 370, 429},
        _LINKS: {602, 608, 611, 612},
    },
    "gfm": {
        _REFERENCES: {
            *(172, 173, 183, 187, 319, 329, *range(535, 544), 547, 548, 550, 551, 557),
            *(*range(561, 571), 573, 574, *range(576, 580), 581, 584, 585),
            *(*range(590, 598), 599, 601),
        },
        _LINE_ENDS: {
            *(16, 19, 40, 57, 58, 63, *range(74, 77), 83, 108, 115, 118, 156, 182, 185, 186, 190),
            *(*range(192, 195), 203, *range(206, 209), 210, 211, 216, 221, 225, 228, 229, 231),
            *(232, *range(263, 267), *range(268, 272), 284, 292, 310, 321, 324, 333, 344, 376),
            *(393, 403, 414, 432, 441, 499, 503, 513, 560, 640, 668, 669),
        },
        _RULE: {65},
        _STAR: {364, 365, 379, 438},
        _LINKS: {610, 616, 619, 620},
        "text below a table, without a pipe, is no row": {202},
        "cells that a table has no column for are kept": {204},
        "a task has a box, which is no form field": {279, 280},
        "strong text in strong text looks the same": {398, 426, *range(434, 437), *range(473, 476)}
        | {477},
        "no HTML is rendered, so none has to be filtered": {652},
    },
}
"""The numbers of the examples that are read in another way, by the reason."""


@pytest.fixture(scope="module", params=["commonmark", "gfm"])
def spec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pairs(spec: str, tmp_path_factory: pytest.TempPathFactory) -> specs.Examples:
    folder = tmp_path_factory.mktemp("spec")
    return specs.commonmark(folder) if spec == "commonmark" else specs.gfm(folder)


@pytest.fixture(scope="module")
def examples(pairs: specs.Examples) -> list[str]:
    return [text for text, _ in pairs]


def test_each_difference_has_a_reason(spec: str, pairs: specs.Examples) -> None:
    different = {
        number for number, (text, html) in enumerate(pairs, 1) if _html(text) != _normalised(html)
    }
    reasons = _DIFFERENCES[spec]
    assert len(pairs) == {"commonmark": 652, "gfm": 672}[spec]
    assert different == set().union(*reasons.values())
    assert len(different) == sum(map(len, reasons.values()))


def _html(text: str) -> str:
    """The HTML of our tokens."""
    markdown = parser()
    markdown.options["html"] = markdown.options["xhtmlOut"] = True
    env = {"references": references({})}
    tokens = list(with_cells(markdown.parse(text, env)))
    return _normalised(markdown.renderer.render(tokens, markdown.options, env))


_EQUIVALENT = [
    (r"<(/?)s>", r"<\1del>"),
    (r' style="text-align:(\w+)"', r' align="\1"'),
    (r' colspan="\d+"', ""),
    (r"</?tbody>", ""),
    (r"\s+", " "),
    (r" ?(</?(?:table|thead|tr|th|td|li|ul|ol|blockquote)[^>]*>) ?", r"\1"),
]


def _normalised(html: str) -> str:
    """HTML without differences that have no meaning."""
    for pattern, replacement in _EQUIVALENT:
        html = re.sub(pattern, replacement, html)
    return html.strip()


def lines_at_once(text: str, width: int) -> list[str]:
    """The lines of the whole text rendered at once, before they reach a terminal."""
    drawing = Drawing(Screen().console)
    return [line.plain for line in drawing.draw(Piece(visible(text)), width)]


def lines_streamed(deltas: list[str], width: int) -> list[str]:
    """The lines of a stream, before they reach a terminal."""
    stream = MarkdownStream(Screen().console)
    lines = []
    for delta in deltas:
        stream.add(visible(delta), width)
        lines += stream.settled(width) or []
    return [line.plain for line in lines + stream.finish(width)]


@pytest.mark.parametrize("width", [20, 80])
def test_each_example(examples: list[str], width: int) -> None:
    different = {
        number: text
        for number, text in enumerate(examples, 1)
        if lines_streamed(list(text), width) != lines_at_once(text, width)
    }
    assert different == {}


@pytest.mark.parametrize("separator", ["", "\n", "\n\n"])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_all_examples_joined(examples: list[str], separator: str, size: int) -> None:
    text = separator.join(examples)
    deltas = [text[start : start + size] for start in range(0, len(text), size)]
    assert lines_streamed(deltas, 80) == lines_at_once(text, 80)


def test_each_example_on_a_terminal(examples: list[str]) -> None:
    different = {
        number: text
        for number, text in enumerate(examples, 1)
        if streamed([text[:-3], text[-3:]], 40, 8) != at_once(text, 40)
    }
    assert different == {}


def test_all_examples_on_a_terminal(examples: list[str]) -> None:
    text = "\n".join(examples)
    deltas = [text[start : start + 30] for start in range(0, len(text), 30)]
    assert streamed(deltas, 100, 24) == at_once(text, 100)
