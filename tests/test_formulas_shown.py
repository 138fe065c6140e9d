"""How formulas are shown: in Unicode where that is exact, and otherwise as their source."""

# ruff: noqa: RUF001 - the symbols of mathematics that look like others are meant

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it.token import Token

from rtchat.markdown import theme
from rtchat.markdown.formula import in_display, in_line
from rtchat.markdown.render import Drawing
from rtchat.markdown.splitter import Piece
from tests.screen import Screen
from tests.test_formulas import lines


@pytest.fixture
def with_extra() -> None:
    pytest.importorskip("pylatexenc", reason="the extra math is not installed")


def shown(formula: str) -> str:
    """How a formula between dollars is shown."""
    return "\n".join(lines(f"${formula}$"))


@pytest.mark.usefixtures("with_extra")
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"\alpha_1", "α₁"),
        (r"x^2 + y^2 = z^2", "x² + y² = z²"),
        (r"a*b*c", "a*b*c"),
        (r"\frac{1}{2} m v^2", "½ m v²"),
        (r"\frac{a}{b}", "a/b"),
        (r"\frac{a+b}{2c}", "(a+b)/(2c)"),
        (r"\frac{-b \pm \sqrt{b^2-4ac}}{2a}", "(-b ± √(b²-4ac))/(2a)"),
        (r"3\frac{2}{9}", "3(2/9)"),
        (r"\frac{a}{b}c", "(a/b)c"),
        (r"c/\frac{a}{b}", "c/(a/b)"),
        (r"\frac{a}{b}^2", "(a/b)²"),
        (r"\frac{1}{2}^n", "(½)ⁿ"),
        (r"\frac{d}{dx} f(x)", "(d/dx) f(x)"),
        (r"\frac{\partial f}{\partial x}", "∂f/∂x"),
        (r"\frac{d^2y}{dx^2} + y = 0", "d²y/dx² + y = 0"),
        (r"\frac12 + \frac34", "½ + ¾"),
        (r"x_n - \frac{f(x_n)}{f'(x_n)}", "xₙ - f(xₙ)/f′(xₙ)"),
        (r"\frac{1}{ab(c)} + \frac{1}{(a)(b)}", "1/(ab(c)) + 1/((a)(b))"),
        (r"\frac{22}{7}:\frac{2}{9}, \frac{\Delta y}{\Delta x}", "(22/7):(2/9), Δy/Δx"),
        (r"\frac{2}{n(n+1)} + \frac{1}{p(x)}", "2/(n(n+1)) + 1/p(x)"),
        (r"\frac{QK^T}{\sqrt{d_k}}", "QKᵀ/√(dₖ)"),
        (r"\frac{e^x}{x^2} + z^f", "eˣ/x² + zᶠ"),
        (r"\text{if } x > 0 \text{ and } y", "if x > 0 and y"),
        (r"\angle ABC = 3 \text{ rad}", "∠ABC = 3 rad"),
        (r"\sqrt{2}", "√2"),
        (r"\sqrt x", "√x"),
        (r"\sqrt{ab}", "√(ab)"),
        (r"\sqrt{2}\pi", "(√2)π"),
        (r"\sqrt[3]{x} + \sqrt[n]{y}", "∛x + ⁿ√y"),
        (r"\sum_{i=1}^{n} i = \frac{n(n+1)}{2}", "∑ᵢ₌₁ⁿ i = n(n+1)/2"),
        (r"\int_0^1 x^2\,dx", "∫₀¹ x² dx"),
        (r"\prod_{k=1}^{n} k = n!", "∏ₖ₌₁ⁿ k = n!"),
        (r"x \in \mathbb{R}^n", "x ∈ ℝⁿ"),
        (r"\mathcal{L} \mathfrak{g} \mathbf{v} \mathbb{1}", "ℒ 𝔤 𝐯 𝟙"),
        (r"A \subseteq B \cup C = \emptyset", "A ⊆ B ∪ C = ∅"),
        (r"\forall x\ \exists y", "∀x ∃y"),
        (r"p \implies q \iff \neg r \land s", "p ⟹ q ⟺ ¬r ∧ s"),
        (r"a \le b \ne c \geq d \approx e", "a ≤ b ≠ c ≥ d ≈ e"),
        (r"2\times 3 \cdot 4 \div 5", "2×3 · 4 ÷ 5"),
        (r"x\to\infty", "x→∞"),
        (r"f: X \to Y, x \mapsto x^2", "f: X → Y, x ↦ x²"),
        (r"\sin\theta + 2\cos x", "sin θ + 2 cos x"),
        (r"\sin^2 x", "sin² x"),
        (r"\log_2 n", "log₂ n"),
        (r"O(n \log n)", "O(n log n)"),
        (r"2\pi r", "2πr"),
        (r"\Delta x", "Δx"),
        (r"\hat{x} + \dot{x}, \bar{y}", "x̂ + ẋ, ȳ"),
        (r"\vec{v}", "v\u20d7"),
        (r"\text{speed} = v", "speed = v"),
        (r"\operatorname{Var}(X)", "Var(X)"),
        (r"\left( \frac{a}{b} \right)^2", "(a/b)²"),
        (r"\left\{ x \right\}", "{x}"),
        (r"\bigl( x \bigr)", "(x)"),
        (r"\{1, 2\}", "{1, 2}"),
        (r"a \equiv b \pmod{n}", "a ≡ b (mod n)"),
        (r"a \bmod n", "a mod n"),
        (r"90^\circ", "90°"),
        (r"f''(x)", "f′′(x)"),
        (r"f^\prime", "f′"),
        (r"H_2O", "H₂O"),
        (r"10^{-3}", "10⁻³"),
        (r"x_i^2", "xᵢ²"),
        (r"a_{n+1}", "aₙ₊₁"),
        (r"x = 50\% \& \$5", "x = 50% & $5"),
        (r"x \notin A, \not\in", "x ∉ A, ∉"),
        (r"\lfloor x \rfloor \quad \|v\|", "⌊x⌋  ‖v‖"),
        (r"P(A \mid B)", "P(A ∣ B)"),
        (r"\nabla \times \mathbf{E}", "∇ × 𝐄"),
        (r"a \quad b", "a  b"),
        (r"1, 2, \ldots, n", "1, 2, …, n"),
        (r"{x}^{2}", "x²"),
        (r"\displaystyle x", "x"),
        (r"{\frac{a}{b}}c + {\frac ab}^2 + {\sqrt{x}}y", "(a/b)c + (a/b)² + (√x)y"),
        (r"\mathrm{H_2O}, \mathrm{m/s^2}, x^\mathrm{T}", "H₂O, m/s², xᵀ"),
        (r"\mathrm{\frac{a}{b}}c", "(a/b)c"),
        (r"f'^2 + {}^{235}_{92}U", "f′² + ²³⁵₉₂U"),
        (r"\lvert x \rvert + \left| y \right|", "|x| + |y|"),
        (r"\left\langle x, y \right\rangle", "⟨x, y⟩"),
        (r"a\pmod{n}, a \mod n", "a (mod n), a mod n"),
        (r"E = mc^2 \tag{1}", "E = mc²    (1)"),
        (r"\overline{A} + 0.\overline{3}", "A̅ + 0.3̅"),
        (r"\mathsf{P}\not=\mathsf{NP} \notag", "𝖯≠𝖭𝖯"),
    ],
)
def test_a_formula_is_shown_in_unicode(source: str, expected: str) -> None:
    assert shown(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        *(
            r"e^{-x^2}",
            r"x^{y^z}",
            r"a_{i,j}",
            r"x^q_Q",
            r"x^*",
            r"\lim_{x \to 0} f",
            r"x^{\infty}",
        ),
        *(
            r"\binom{n}{k}",
            r"\boxed{42}",
            r"\unknown{x}",
            r"\overbrace{x}",
            r"\ce{H2O}",
        ),
        *(r"\begin{matrix} a & b \end{matrix}", r"\left. x \right|", r"a & b", r"\hat{xy}", "x#y"),
        *(r"{x", r"x}^2", r"\frac{a}", r"\frac{}{b}", r"x^", r"x_1_2", r"\sqrt{}", r"\sqrt[,]{x}"),
        *(r"\textbf{x} + 1", r"\label{a} x", r"\color{red} x", r"\phantom{x} y"),
        *(r"{x^2}^3", r"x_1{}_2", r"\overline{AB}", r"\mathrm"),
        *(r"\text{a {b}}", r"\dddot{x}", r"x\-y", r"x = \%5 % y", r"\mathbb{+}"),
    ],
)
def test_other_formulas_are_shown_as_their_source(source: str) -> None:
    assert shown(source) == f"${source}$"


@pytest.mark.usefixtures("with_extra")
def test_the_lines_of_a_formula_are_kept() -> None:
    aligned = "\\begin{align*}\na &= b^2 \\\\[2pt]\n  &= c \\\\\n2d &= \\frac{1}{2}\n\\end{align*}"
    assert lines(aligned) == [" a = b²", "   = c", "2d = ½"]
    assert lines("$$\nx^2\n+ y\n$$") == ["x²", "+ y"]
    nested = "\\begin{equation}\n\\begin{split}\na &= b \\\\\n&= c\n\\end{split}\n\\end{equation}"
    assert lines(nested) == ["a = b", "  = c"]
    assert lines("\\[\\begin{aligned} a &= b \\end{aligned}\\]") == ["a = b"]
    assert lines("\\begin{align}\n\\end{align}") == ["\\begin{align}", "\\end{align}"]
    assert lines("\\[ a \\\\ b \\]") == ["a", "b"]
    cases = "\\begin{cases}\n  1 & x > 0 \\\\\n  0\n\\end{cases}"
    assert lines(cases) == cases.split("\n")
    assert lines("$$\n" + "x + " * 50 + "1\n$$", width=20) == ["x + " * 50 + "1"]


def test_a_formula_has_a_style_of_its_own() -> None:
    for text in ("$x^2$", "$\\unknown$", "$$\nx\n$$"):
        (line,) = Drawing(Screen().console).draw(Piece(text), 80)
        styles = {str(line.style), *(str(span.style) for span in line.spans)}
        assert theme.MATH in styles
    (line, *_) = Drawing(Screen().console).draw(Piece("$$\nx"), 80)
    assert not line.style


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("H<sub>2</sub>O, x<sup>2</sup>, 10<SUP>-3</SUP>", "H₂O, x², 10⁻³"),
        ("SO<sub>4</sub><sup>2-</sup>, **1<sup>st</sup>**", "SO₄²⁻, 1ˢᵗ"),
        *(
            (text, text)
            for text in (
                *("a<sub>i,j</sub>", "a<sup>1 2</sup>", "a<sub>1</sup>", "a<sub>1", "a<sub></sub>"),
                *("<sup>[1]</sup>", "a</sub>1<sub>", "<b>2</b>"),
            )
        ),
    ],
)
def test_html_for_subscripts_and_superscripts(source: str, expected: str) -> None:
    assert lines(f"So {source}") == [f"So {expected}"]


_COMMANDS = (
    *("\\alpha", "\\le", "\\to", "\\frac", "\\sqrt", "\\text", "\\mathbb", "\\left", "\\right"),
    *("\\sin", "\\label", "\\unknown", "\\hat", "\\quad", "\\,", "\\\\", "\\{", "\\}", "\\not"),
    *("\\operatorname", "\\mathbf", "\\vec", "\\pmod", "\\!", "\\bigl", "{}", "{}"),
)
_PIECES = st.sampled_from(
    (*_COMMANDS, *"{}{}{}^_&%#$~'()[]+-=/|!,. \n", *"abcxyzdRT0123456789", "{x}", "{12}", "é")
)


@given(st.lists(_PIECES, max_size=25).map("".join))
def test_nothing_of_a_formula_is_dropped(source: str) -> None:
    wanted = _letters(re.sub(r"\\(?:[A-Za-z]+|.)", "", source, flags=re.DOTALL))
    inline = Token("math_inline", "", 0, content=f"\\({source}\\)", info=source)
    assert wanted <= _letters(in_line(inline))
    display = Token("math_open", "", 1, content=f"$${source}$$", info=source)
    assert wanted <= _letters("".join(in_display(display)))


def _letters(text: str) -> Counter[str]:
    """The letters, digits and operators of a text, whatever their place and alphabet."""
    plain = unicodedata.normalize("NFKD", text.replace("∛", "3").replace("∜", "4"))
    plain = plain.replace("−", "-")
    return Counter(letter for letter in plain if letter.isalnum() or letter in "+-=/|!,.()")


@pytest.mark.parametrize(
    "unit",
    [
        *("{", "^", "_", "\\frac", "\\sqrt{", "\\sqrt", "\\sqrt[", "x^{", "$", "\\(", "&", "\\hat"),
        *("\\bm", "\\left", "\\not", "\\pmod", "\\text"),
    ],
)
def test_hostile_formulas_are_shown_as_their_source(unit: str) -> None:
    for size in (900, 1_200):
        source = (unit * size)[:size]
        assert "".join(lines(f"$$\n{source}\n$$")).replace(" ", "") in f"$${source}$$"


def test_without_the_extra_the_source_is_shown() -> None:
    program = (
        "import sys; sys.modules['pylatexenc'] = None\n"
        "from tests.test_formulas import lines\n"
        "assert lines('$x^2$') == ['$x^2$'], lines('$x^2$')\n"
        "assert lines('$$\\nx^2\\n$$') == ['$$', 'x^2', '$$']\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.usefixtures("with_extra")
def test_the_library_is_loaded_with_the_first_formula() -> None:
    program = (
        "import sys\n"
        "from tests.test_formulas import lines\n"
        "lines('$5 and $6')\n"
        "assert 'pylatexenc' not in sys.modules\n"
        "lines('$x$')\n"
        "assert 'pylatexenc' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
