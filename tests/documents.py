"""Markdown documents to stream: typical, random and malicious ones."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import strategies as st

ANSWER = """\
# WebSockets in practice

A **WebSocket** is a single TCP connection over which *both sides* can send messages at any time,
which makes it a good fit for `chat`, see [the standard](https://example.com/rfc6455).
## Steps

1. Open the connection.
2. Send a message:

   ```python
   async with connect("wss://example.com/socket") as ws:
       await ws.send("hello")      # a comment

       print("a line of code that goes on and on, past the right side of the terminal, unbroken")
   ```
3. Close it:
   - with a code
   - with a reason
     - even nested

| Feature   | HTTP             | WebSocket  |
|-----------|:----------------:|-----------:|
| Direction | request/response | both ways  |
| Overhead  | headers          | 2-14 bytes |

> Proxies may cut idle connections.
>
> - so send pings
> - and pongs

```js
function hello(name) { return `hi ${name}`; }


const x = [1, 2, 3];
```

A heading
---------

The [bold] text is text, so is <kbd>this</kbd>, and &#27;[31m is not red. One<br>two.

***

Done.
"""

_WORDY = "alpha **bold** and *em*, some `code`, [a link](https://example.com/x) and so on "


def _block(line: str, *, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda size: before + (line * (size // len(line) + 1))[:size] + after


BLOCKS: dict[str, Callable[[int], str]] = {
    "table": _block("| a cell | **bold** | 1234 |\n", before="| a | b | c |\n|---|:-:|--:|\n"),
    "table of short rows": _block("|a\n", before="|" + "a|" * 20 + "\n|" + "-|" * 20 + "\n"),
    "table of records": _block(
        "| a cell | `a || b` | 1234 " * 4 + "|\n", before="|" + "a|" * 12 + "\n|" + "-|" * 12 + "\n"
    ),
    "table of long cells": _block(
        f"| {_WORDY} | a<br>b | {_WORDY}|\n", before="| a | b | c |\n|---|:-:|--:|\n"
    ),
    "paragraph of one line": _block(_WORDY),
    "paragraph of many lines": _block(_WORDY + "\n"),
    "paragraph of short lines": _block("a\n"),
    "paragraph of no words": _block("漢字👩\u200d💻"),
    "setext heading": _block(_WORDY + "\n", after="\n===\n"),
    "brackets": _block("["),
    "brackets, many times": _block("[" * 150 + "\n\n"),
    "emphasis": _block("a**b"),
    "heading": _block(_WORDY, before="# "),
    "fence": _block("def f(x):  # a comment\n    return x + 'text'\n", before="```python\n"),
    "fence of one line": _block('{"a": [1, 2, "x"]}, ', before="```json\n"),
    "indented code": _block("    code\n"),
    "list": _block("- an item with **bold** text\n"),
    "list of short items": _block("- a\n"),
    "list, nested": _block("".join("  " * depth + "- a\n" for depth in range(12))),
    "item of many lines": _block(_WORDY + "\n  ", before="- "),
    "quote": _block("> " + _WORDY + "\n"),
    "quotes, nested": _block(">" * 70 + " x\n"),
    "HTML": _block("text <b>x</b>\n", before="<div>\n"),
    "comment": _block("text\n\n", before="<!-- "),
    "link references": _block("[a]: /u\n"),
    "title of a link": _block("words\n", before="[a]: /u '"),
    "empty lines": _block("\n"),
    "empty lines in a fence": _block("\n", before="```\n", after="x"),
    "empty quotes": _block(">\n"),
    "spaces": _block(" "),
    "escapes": _block("\x1b[2J"),
    "formula": _block("- x^2 + \\alpha\n", before="$$\n"),
    "formula that is closed": _block("x^2\n", before="\\[\n", after="\n\\]"),
    "formula of one line": _block("x^2 + ", before="$$ "),
    "formulas": _block("$x^2$ \\(\\alpha_1\\) "),
    "dollars": _block("$a "),
    "text after a formula": _block(_WORDY + "\n", before="$$\nx\n$$ "),
    "links without brackets": _block("https://a.b/c_d www.e.f g@h.ij "),
    "a long URL": _block("a_b*/(", before="https://a.b/"),
    "brackets after a URL": _block(")", before="https://a.b/"),
    "backticks in a table": _block(
        "".join("`" * n + " " for n in range(60)) + "|x|y\n", before="|a|\n|-|\n"
    ),
    "one word": _block("한국어"),
    "closing brackets": _block("」）】"),
    "wide text": _block("他说：“你好”（笑），**注意：**请看。"),
}
"""Makers of one block of any size. A program that waits for the end of a block would be delayed."""

_ATOMS = (
    *(
        "- ",
        "* ",
        "1. ",
        "2) ",
        "10. ",
        "> ",
        ">",
        "```",
        "~~~",
        "````",
        "```py",
        "# ",
        "## ",
        "===",
    ),
    *("---", "***", "|a|b|", "|---|---|", "|", "-", "a", "foo", "[x]", "'", '"', "<div>", "<!--"),
    *("-->", "</div>", "`", "**", "&#27;", "\\", "<br>", "!", "[", "](", "word", "あ", "😀"),
    *("[ ] ", "[x] ", "[!NOTE]", "1. ", "007. ", "a) ", "Key: ", "    - "),
    *("**Label**", "Label:", "foo.", "1.1 ", "/\\_/\\", "+--+", "|-- "),
    *("$$", "\\[", "\\]", "\\(", "\\)", "$x$", "\\begin{align}", "\\end{align}", "x^2"),
    *("|`a|b`|c|", "$|x|$", "x**2", "ftp://a.b/_c_"),
)
_SPACES = (
    " ",
    "  ",
    "    ",
    "\t",
    "\n",
    "\n",
    "\n",
    "\n\n",
    "\n\n",
    "\n  ",
    "\n   ",
    "\n    ",
    "\n- ",
    "\n> ",
)

RANDOM = st.lists(st.sampled_from((*_ATOMS, *_SPACES)), max_size=40).map("".join)
"""Random sequences of Markdown syntax, without link references."""


_WORDS = st.sampled_from(
    (
        *("word", "and", "The", "1.", "a-b", "x", "[bold]", "[^1]", "*", "_", "\\*", "&amp;", "$1"),
        *("supercalifragilisticexpialidocious", "x" * 90, "col\tumn", "https://example.com/a", "#"),
        *("**bold**", "*it*", "~~no~~", "`code`", "``a ` b``", "<kbd>k</kbd>", "<br>", "!"),
        *("[label](https://example.com/x)", "<https://example.com>", "![image](a.png)", "[ref]"),
        *("日本語", "한국어", "e\u0301", "नमस्ते", "שלום", "مرحبا", "é" * 30, "漢" * 50),
        *(
            "$x_1$",
            "\\(\\alpha\\)",
            "\\[x^2\\]",
            "$$a*b$$",
            "2*3*4",
            "x**2",
            "H$_2$O",
            "x<sup>2</sup>",
            "$$\n\nx\n\n$$",
            "$$",
            "\\]",
            "$5",
            "$",
            "\\frac",
        ),
        *("😀", "👩\u200d💻", "❤\ufe0f", "👍🏽", "🇩🇪", "👨\u200d👩\u200d👧\u200d👦"),
        *("[ ]", "[x]", "[!NOTE]", "a)", "•", "Key:", "| cell |", "|", "├──", "✓"),
        *("https://example.com/" + "a_b*c/" * 20, "www.example.com/x_y", "me@example.com"),
        *(
            "**注意：**请看",
            "他说“你好”，然后（走了）。",
            "**중요(중요)**합니다",
            "これは「例」です。",
        ),
        *("https://example.com/a。", "ภาษาไทยไม่มีช่องว่าง", "हिन्दी", "word—word", "café—", "1,000円"),
    )
)
_SEPARATORS = st.sampled_from((" ",) * 8 + ("\n", "\n", "  \n", "\\\n", "  "))


@st.composite
def _prose(draw: st.DrawFn) -> str:
    words = draw(st.lists(st.tuples(_WORDS, _SEPARATORS), min_size=1, max_size=14))
    return "".join(word + separator for word, separator in words).strip()


_LINE = _prose().map(lambda text: " ".join(text.split()))
_FORMULA_LINES = (
    *(
        "x^2",
        "- x",
        "+ \\alpha_1",
        "= b",
        "# n",
        "> 0",
        "|x| \\\\",
        "a &= b \\\\",
        "\\frac{a}{b}",
        "",
    ),
    *("1. y", "\\text{if } x", "```", "  x_{ij}", "{", "e^{-x^2}", "$", "---", "z" * 130),
)
_CODE = st.lists(
    st.sampled_from(
        (
            "def f(x):",
            "    return x",
            "",
            "  ",
            "# a comment",
            "'text'",
            "\tx = 1",
            "a\tb  \t\tc",
            "漢\t" * 9,
            "y" * 22 + "\t" + "y" * 60 + "\tz",
            "@@ -1 +1 @@",
            "z" * 130,
            "```",
        )
    ),
    max_size=8,
)


@st.composite
def _fence(draw: st.DrawFn) -> str:
    mark = draw(st.sampled_from(("```", "~~~", "````")))
    end = draw(st.sampled_from((mark, mark, mark, "")))
    language = draw(
        st.sampled_from(
            (
                *("", "python", "js", "diff", "nonsense", "c++", "py:src/a.py", "{.go .x}"),
                *("jsonc title=\x1b漢/x.json", "console " + "x/" * 60 + "y.z"),
            )
        )
    )
    return "\n".join((mark + language, *draw(_CODE), end))


_CELL = st.one_of(
    _LINE,
    _WORDS,
    st.sampled_from(("", "1", "$1,234.50", "10 ms", "yes", "`a || b`", "a \\| b", "`", "a<br>b")),
)


@st.composite
def _table(draw: st.DrawFn) -> str:
    columns = draw(st.integers(1, 8))
    sides = st.sampled_from(("---", ":--", "--:", ":-:"))
    cells = draw(st.sampled_from((_LINE, _CELL)))
    surplus = draw(st.sampled_from((0, 0, 2)))
    row = st.lists(cells, min_size=max(columns - surplus, 1), max_size=columns + surplus)
    head = ["Head"] * columns
    if draw(st.booleans()):
        heads = st.sampled_from(
            ("", "#", "A head", "`x`", "`a|b`", "$|x|$", "a<br>b", "Internationalization")
        )
        head = draw(st.lists(heads, min_size=columns, max_size=columns))
    marks = draw(st.lists(sides, min_size=columns, max_size=columns))
    rows = draw(st.lists(row, max_size=4))
    return "\n".join("|" + "|".join(row) + "|" for row in (head, marks, *rows))


@st.composite
def _formula(draw: st.DrawFn) -> str:
    """A display formula: closed or not, with text after it or not, perhaps with empty lines."""
    marks = (("$$", "$$"), ("\\[", "\\]"), ("\\begin{align*}", "\\end{align*}"))
    opening, closing = draw(st.sampled_from(marks))
    lines = draw(st.lists(st.sampled_from(_FORMULA_LINES), max_size=5))
    between = draw(st.sampled_from(("\n", "\n", "\n\n", " ")))
    end = draw(st.sampled_from((closing, closing, closing + ".", closing + " where", "")))
    after = draw(st.sampled_from(("", "", "\nand more *text*")))
    return opening + between + "\n".join(lines) + between + end + after


_LEAF = st.one_of(
    _formula(),
    _prose(),
    _prose(),
    _fence(),
    _table(),
    st.tuples(st.sampled_from(("# ", "## ", "###### ")), _LINE).map("".join),
    st.tuples(_LINE, st.sampled_from(("\n===", "\n---"))).map("".join),
    st.sampled_from(("---", "* * *", "<div>\nhtml\n</div>", "<!-- a\n\ncomment -->", "    code")),
    st.sampled_from(("    code\n\n    more", "\ta\tb", "    \tmore\n\n\n\tx\n")),
    st.sampled_from(("[ref]: https://example.com/ref 'title'", "[^1]: a note", "|a|b|", "")),
    st.sampled_from(("**Label**", "Label:", "one line.\n---", "two\nlines\n---", "  a\n b\n   c")),
    st.sampled_from(("/\\_/\\\n( *.* )", "a\n|-- `b\n`-- c", "+---+\n| *a* |\n+---+")),
    st.tuples(_LINE, _table(), _LINE).map("\n".join),
)


def _numbered(line: str, count: int) -> str:
    return "".join(line.replace("%", str(number**3)) for number in range(count))


_LONG = st.tuples(
    st.sampled_from(
        (
            "|a cell|another *cell*|\n",
            "|a|\n",
            "|%|a % cell|\n",
            "| a cell that is wrapped | 1 | a | `b || c` | https://example.com/% |\n",
            "a line of **words**, and\n",
            "a line | with a pipe\n",
            "x_1 + % &= *y* \\\\\n",
            "[x]: /u\n",
            "> \n",
            "    code\n",
            "<b>bold</b>\n\ntext\n",
            "\n",
        )
    ),
    st.integers(10, 400),
    st.sampled_from(
        (
            "",
            "| a | b |\n|---|--:|\n",
            "|a|b||d|e|\n" + "|-" * 5 + "\n",
            "$$\n",
            "<!--\n",
            "<div>\n",
            "```\n",
            "[x]: /u '",
        )
    ),
    st.sampled_from(
        ("===", "---", "-->", "|-|-|", "|---|", "'", "[x]", "word", "- item", "$$", "")
    ),
).map(lambda parts: parts[2] + _numbered(parts[0], parts[1])[:6_500] + parts[3])
_LONG_LINE = st.tuples(
    st.sampled_from(("", "", "# ", "```\n", "| a |\n|---|\n|", "    ", "<b>", "- a\n\n  ")),
    st.sampled_from(("word ", "x", "漢字 ", "[a](b) ", "a|b", "**b** ", "\tx", "👩\u200d💻")),
    st.sampled_from((5_500, 9_990, 10_000, 10_010, 12_000)),
).map(lambda parts: parts[0] + (parts[1] * parts[2])[: parts[2]])


def _nest(blocks: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    inner = st.lists(blocks, min_size=1, max_size=3).map("\n\n".join)
    marks = st.sampled_from(("- ", "* ", "1. ", "7) ", "10. ", "-    ", "- [x] ", "007. [ ] "))
    items = st.lists(inner, min_size=1, max_size=4)
    loose = st.sampled_from(("\n", "\n\n"))
    indents = st.sampled_from((10, 10, 10, 2, 0))
    lists = st.tuples(marks, items, loose, indents).map(
        lambda parts: parts[2].join(
            parts[0] + _indent(item, " " * min(len(parts[0].split("[")[0]), parts[3]))
            for item in parts[1]
        )
    )
    return st.one_of(lists, inner.map(lambda text: "> " + _indent(text, "> ")))


def _indent(text: str, by: str) -> str:
    return text.replace("\n", "\n" + by)


LONG = st.lists(
    st.tuples(
        st.one_of(_LONG, _LONG, _nest(_LONG), _LONG_LINE, _prose()), st.sampled_from(("\n\n", "\n"))
    ),
    min_size=1,
    max_size=3,
).map(lambda blocks: "".join(block + separator for block, separator in blocks))
"""Documents with blocks that exceed the limits of the dialect and of lines."""

DOCUMENTS = st.lists(
    st.tuples(
        st.recursive(_LEAF, _nest, max_leaves=6), st.sampled_from(("\n\n", "\n\n", "\n", "\n\n\n"))
    ),
    max_size=8,
).map(lambda blocks: "".join(block + separator for block, separator in blocks))
"""Documents of typical blocks, in every combination."""


def cut(text: str, places: list[int]) -> list[str]:
    """Split a text into deltas at these positions (modulo its length)."""
    at = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(at)]
