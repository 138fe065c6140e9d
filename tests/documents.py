"""Documents to stream: what models write, and what nobody would. Not here: tests."""

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


def cut(text: str, places: list[int]) -> list[str]:
    """A text as deltas, cut at these places (modulo its length)."""
    at = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(at)]
