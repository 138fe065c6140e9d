"""Formulas are recognised, and text that only resembles them is not."""

# ruff: noqa: RUF001 - mathematical symbols that look like other characters are intended

from __future__ import annotations

import re

import pytest

from rtchat.core.text import visible
from rtchat.markdown.code_blocks import code_blocks
from rtchat.markdown.dialect import parser, references
from rtchat.markdown.render import Drawing
from rtchat.markdown.splitter import Piece
from tests.screen import Screen
from tests.work import WorkCounter


def formulas(text: str) -> list[str]:
    """The sources of all formulas in a text."""
    tokens = parser().parse(text, {"references": references({})})
    everything = [each for token in tokens for each in (token, *(token.children or ()))]
    return [token.content for token in everything if token.type in ("math_inline", "math_open")]


def lines(text: str, width: int = 80) -> list[str]:
    return [line.plain for line in Drawing(Screen().console).draw(Piece(visible(text)), width)]


# -------------------------------------------------------------------------------------- recognition


@pytest.mark.parametrize(
    "formula",
    [
        *(r"\(x\)", r"\(\alpha_1\)", r"\( a + b \)", r"\(n\)", r"\(f(x)\)", r"\(2\)", r"\(a, b\)"),
        *(r"\[ e^{-x^2}\,dx \]", r"\[x^2\]", r"\[ a - b \]", r"\[\frac{1}{2}\]"),
        *("$$E = mc^2$$", "$$x$$", "$$ a*b*c $$", r"$$\sum_{i=1}^n i$$"),
        *("$x$", "$n!$", "$a*b*c$", "$a_1*b_2$", "$x_1$", "$x^2$", "$x = 5$", "$f(x)$", "$|x|$"),
        *(
            "$5$",
            "$2x$",
            "$4ac$",
            "$3.14$",
            "$-1$",
            "$2x + 3$",
            "$[0, 1)$",
            "$dx/dt$",
            "$a, b$",
            "$a/b$",
            "$AB$",
        ),
        *(r"$\alpha$", r"$\text{if } x > 0$", r"$5 \times 10$", r"$\$5 + \$6$", "$f'(x)$", "$α$"),
        *("$speed = distance / time$", "$O(n log n)$", "$P(A|B)$", "$sin(x)$", "$10\\%$"),
        *(r"$\$5$", "${x}^2$", "$(0, 1]$"),
        *("$x =\ny$", "$\\{1, 2\\}$", "$ab = ba$", "$x < y$", "$ma$"),
    ],
)
@pytest.mark.parametrize("around", ["so {} is", "({}).", "{}, and", "**{}**", "设{}为"])
def test_an_inline_formula_is_recognised(formula: str, around: str) -> None:
    assert formulas(around.format(formula)) == [formula]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("H$_2$O, SO$_4$$^{2-}$", ["$_2$", "$_4$", "$^{2-}$"]),
        ("10$^{-3}$m, x$_i$y, 1$^+$", ["$^{-3}$", "$_i$", "$^+$"]),
        ("the $n$th, the $2$nd", ["$n$", "$2$"]),
        ("$x$/$y$", ["$x$", "$y$"]),
        ("$x$(엑스)", ["$x$"]),
        ("$x$(y), $x$/y, a$x$, $x$then", []),
    ],
)
def test_what_may_be_beside_a_formula(text: str, expected: list[str]) -> None:
    assert formulas(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("$5 and $10", "between $5 and 10$ each", "costs $5, or US$ 10", "$1,000–$2,000", "A$AP"),
        *("It is $5/month (or $50/year).", "($5) and ($10)", "US$5/US$10", "5$ or 10$", "$20-$30"),
        *(
            "I paid $20 (about 18€) and she paid 30$.",
            "$5/kg, 3$",
            "$10 million, 5$ each",
            "$5m or 6$",
        ),
        *(
            "$HOME/$USER",
            "$x and $y",
            "${a}/${b}",
            "$(date) and $(id)",
            "$FOO:$BAR",
            "$PATH",
            "a$b$c",
        ),
        *(
            '"$1" "$2"',
            "$? or $!",
            "kill $$ and $$",
            "$$$",
            "$ 5 $",
            "$5, 10$",
            "$user_name$",
            "$HOME$",
        ),
        *(
            r"\$5 + 6\$",
            r"\$x$",
            "`$x$`",
            "`a $x` b$",
            "$a `b$` c",
            "^foo$|^bar$",
            "价格$5，比$6",
            "$",
        ),
        *(
            "$.ajax, $.get",
            "$a->$b",
            '$("#a").val($b)',
            "$scope.$apply()",
            "$well-known$",
            "$and/or$",
        ),
        *(r"\[x\] done", r"\[1\] cited", r"\[link\](https://a.example)", r"\[^1\]", r"\[!NOTE\]"),
        *(
            r"\[0-9\]",
            r"\[\\\]",
            r"\[\] none",
            r"\(optional\)",
            r"\(see below\)",
            r"\\(x\\)",
            r"\(x",
            r"x\)",
        ),
        *("$5)-(10$", "$5 (10$)", "${name:-x}$", "${name}$", r"\[use a = b and so on\]"),
        *("$x\n\ny$", "$x `a` $", "$$ is the PID of the shell $$", "    $$x$$", "```\n$x$\n```"),
        *(r"\begin{itemize}", r"\begin{unknown}", r"\[a_b\](u)", "$x $", "$,x$"),
    ],
)
def test_money_variables_and_brackets_are_text(text: str) -> None:
    assert formulas(text) == []


_DISPLAYED = [
    "$$\nx\n$$",
    "\\[\nx\n\\]",
    "\\[ x^2\n+ y \\]",
    "$$ x^2 $$",
    "\\begin{align*}\na &= b\n\\end{align*}",
    "\\begin{matrix}\n\\begin{matrix}\n1\n\\end{matrix}\n\\end{matrix}",
    "$$\n\nx^2\n\n$$",
    "\\[\n\n\nx\n\n\\]",
    "$$\nx\n\n\n$$",
    "$$\n- x\n+ y\n= b\n# n\n> 0\n|x|\n1. z\n---\n$$",
]


@pytest.mark.parametrize("formula", _DISPLAYED)
@pytest.mark.parametrize(
    "before", ["", "text\n", "text\n\n", "# head\n", "- item\n\n", "|a|\n|-|\n"]
)
def test_a_display_formula_is_recognised(formula: str, before: str) -> None:
    assert formulas(before + formula) == [formula]
    assert formulas(f"{before}{formula}\n\nmore") == [formula]
    assert formulas(f"{before}{formula}.\nmore") == [formula]


@pytest.mark.parametrize("formula", _DISPLAYED)
@pytest.mark.parametrize("first", ["> ", "- ", "1. ", "> - "])
def test_a_formula_in_a_quote_or_a_list_is_recognised(formula: str, first: str) -> None:
    others = "> " * first.count(">") + " " * len(first.replace("> ", ""))
    inside = (first + "text\n" + formula).replace("\n", "\n" + others)
    assert formulas(inside) == [formula]


@pytest.mark.parametrize(
    "text",
    [
        "$$\nx",
        "$$\n\nx = 1\n\n",
        "$$\n\nSome text",
        "\\[\n- x",
        "text\n$$\nx\n\n- item",
        "- $$\n  x\n\npara",
    ],
)
def test_a_formula_that_is_not_closed_is_shown_as_written(text: str) -> None:
    written = [line for line in re.sub(r"^- ", "• ", text).split("\n") if line]
    assert [line.replace("• item", "- item") for line in lines(text) if line] == written


def test_a_blank_line_inside_a_formula_ends_it() -> None:
    assert formulas("$$\nx\n\ny\n$$") == ["$$\nx", "$$"]
    assert formulas("$$\n\nThis is **text**.\n\n$$") == ["$$", "$$"]
    assert lines("$$\n\nThis is **text**.") == ["$$", "", "This is text."]


def test_nothing_after_a_formula_is_lost() -> None:
    pytest.importorskip("pylatexenc", reason="the extra math is not installed")
    assert lines("\\[\nx\n\\].") == ["x."]
    assert lines("$$\nx\n$$ where **x**\nis `y`") == ["x", "where x", "is y"]
    assert lines("$$x^2$$ and\n- more") == ["x² and", "", "• more"]
    assert lines("\\[\nx\n\\] a\n\nb") == ["x", "a", "", "b"]


def test_a_formula_contains_no_fence() -> None:
    assert [block.text for block in code_blocks("$$\n```\n$$\n```\n")] == ["$$\n"]


@pytest.mark.parametrize(
    "text",
    [
        *("2*3*4", "a*b*c", "f(x)*g(x)*h", "(a)*(b)*(c)", "x[1]*y[2]*z"),
        *("x**2 + y**2", "2**3**4", "(a+b)**2 - (c)**2", "10**-3 and 10**-6"),
    ],
)
def test_the_stars_of_a_product_or_a_power_are_stars(text: str) -> None:
    assert lines(text) == [text]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        *(("**bold**text", "boldtext"), ("*a*, b", "a, b"), ("(*a*)", "(a)"), ("**a*b**", "a*b")),
        *(("**5**th and **10**x", "5th and 10x"), ("a**b**c", "abc"), ("第**3**章", "第3章")),
        *(("你*好*吗", "你好吗"), ("*a b*", "a b"), ("***x***", "x"), ("[*a*](u)", "a (u)")),
    ],
)
def test_other_stars_are_emphasis(text: str, plain: str) -> None:
    assert lines(text) == [plain]


@pytest.mark.parametrize(
    "unit", ["a", "a ", "ab, ", "$", "$a", "\\(", "\\[", "\\text{", "1,", "a*"]
)
@pytest.mark.parametrize("marks", [("$", "$"), ("\\[ ", " \\]"), ("$$", "$$"), ("", "")])
def test_the_cost_of_recognition_is_linear(unit: str, marks: tuple[str, str]) -> None:
    def work(size: int) -> int:
        text = marks[0] + unit * (size // len(unit)) + marks[1]
        with WorkCounter() as counter:
            formulas(text)
        return counter.count

    work(60)
    assert work(1_200) < 10 * work(300)
