"""Documents to stream: what models write, what nobody would, and what somebody did to do harm.

Not here: tests.
"""

from __future__ import annotations

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
    "\n    ",
    "\n- ",
    "\n> ",
)

RANDOM = st.lists(st.sampled_from((*_ATOMS, *_SPACES)), max_size=40).map("".join)
"""Markdown of every kind, with its marks in all the wrong places; no link references."""


_WORDS = st.sampled_from(
    (
        *("word", "and", "The", "1.", "a-b", "x", "[bold]", "[^1]", "*", "_", "\\*", "&amp;", "$1"),
        *("supercalifragilisticexpialidocious", "x" * 90, "col\tumn", "https://example.com/a", "#"),
        *("**bold**", "*it*", "~~no~~", "`code`", "``a ` b``", "<kbd>k</kbd>", "<br>", "!"),
        *("[label](https://example.com/x)", "<https://example.com>", "![image](a.png)", "[ref]"),
        *("日本語", "한국어", "e\u0301", "नमस्ते", "שלום", "مرحبا", "é" * 30, "漢" * 50),
        *("😀", "👩\u200d💻", "❤\ufe0f", "👍🏽", "🇩🇪", "👨\u200d👩\u200d👧\u200d👦"),
    )
)
_JOINTS = st.sampled_from((" ",) * 8 + ("\n", "\n", "  \n", "\\\n", "  "))


@st.composite
def _prose(draw: st.DrawFn) -> str:
    words = draw(st.lists(st.tuples(_WORDS, _JOINTS), min_size=1, max_size=14))
    return "".join(word + joint for word, joint in words).strip()


_LINE = _prose().map(lambda text: " ".join(text.split()))
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
    language = draw(st.sampled_from(("", "python", "js", "diff", "nonsense", "c++")))
    return "\n".join((mark + language, *draw(_CODE), end))


@st.composite
def _table(draw: st.DrawFn) -> str:
    columns = draw(st.integers(1, 5))
    sides = st.sampled_from(("---", ":--", "--:", ":-:"))
    rows = draw(st.lists(st.lists(_LINE, min_size=columns, max_size=columns), max_size=4))
    head = ["Head"] * columns
    marks = draw(st.lists(sides, min_size=columns, max_size=columns))
    return "\n".join("|" + "|".join(row) + "|" for row in (head, marks, *rows))


_LEAF = st.one_of(
    _prose(),
    _prose(),
    _fence(),
    _table(),
    st.tuples(st.sampled_from(("# ", "## ", "###### ")), _LINE).map("".join),
    st.tuples(_LINE, st.sampled_from(("\n===", "\n---"))).map("".join),
    st.sampled_from(("---", "* * *", "<div>\nhtml\n</div>", "<!-- a\n\ncomment -->", "    code")),
    st.sampled_from(("[ref]: https://example.com/ref 'title'", "[^1]: a note", "|a|b|", "")),
)


def _nest(blocks: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    inner = st.lists(blocks, min_size=1, max_size=3).map("\n\n".join)
    marks = st.sampled_from(("- ", "* ", "1. ", "7) ", "10. ", "-    "))
    items = st.lists(inner, min_size=1, max_size=4)
    loose = st.sampled_from(("\n", "\n\n"))
    lists = st.tuples(marks, items, loose).map(
        lambda made: made[2].join(made[0] + _indent(item, " " * len(made[0])) for item in made[1])
    )
    return st.one_of(lists, inner.map(lambda text: "> " + _indent(text, "> ")))


def _indent(text: str, by: str) -> str:
    return text.replace("\n", "\n" + by)


DOCUMENTS = st.lists(
    st.tuples(
        st.recursive(_LEAF, _nest, max_leaves=6), st.sampled_from(("\n\n", "\n\n", "\n", "\n\n\n"))
    ),
    max_size=8,
).map(lambda blocks: "".join(block + joint for block, joint in blocks))
"""What models write, in every combination."""


def cut(text: str, places: list[int]) -> list[str]:
    """A text as deltas, cut at these places (modulo its length)."""
    at = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(at)]
