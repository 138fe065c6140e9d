"""Exports of saved conversations."""

from __future__ import annotations

import json
import re
from datetime import UTC
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rtchat import __version__
from rtchat.core.values import (
    Entry,
    Item,
    Message,
    OtherItem,
    Part,
    Role,
    State,
    StoredConversation,
    ToolCall,
    ToolOutput,
    Usage,
)
from rtchat.history.export import export


def _message(role: Role, text: str) -> Message:
    return Message(role, (Part("text", text),))


def _conversation(
    *items: Item, state: State = State.COMPLETED, title: str = "Hi?"
) -> StoredConversation:
    entries = tuple(Entry(1, index, item, state) for index, item in enumerate(items))
    return StoredConversation(7, title, 1795384632.0, 1795384700.5, "m1", 1, entries)


_REPLY = """A **WebSocket**:

```python
print("<b>")
```"""
_PIXEL = "data:image/png;base64,QQ=="
_ALL = StoredConversation(
    7,
    "What is *it*?",
    1795384632.0,
    1795384700.5,
    "m2",
    2,
    (
        Entry(0, 0, _message("system", "Be brief."), State.COMPLETED),
        Entry(1, 0, _message("user", "What is *it*?\nIn short."), State.COMPLETED, "m1"),
        Entry(
            1,
            1,
            _message("assistant", _REPLY),
            State.COMPLETED,
            "m1",
            "",
            Usage(57, 16, 48, 105),
            0.2104,
            1.9,
            "m1",
        ),
        Entry(
            2, 0, Message("user", (Part("image", "", "data:image/png;base64,QQ=="),)), State.FAILED
        ),
        Entry(2, 1, ToolCall("get", "c1", '{"a": "```"}', "i1"), State.COMPLETED, "m2"),
        Entry(2, 2, ToolOutput("c1", "4"), State.COMPLETED),
        Entry(2, 3, OtherItem("odd", "", {"type": "odd", "x": 1}), State.COMPLETED),
        Entry(2, 4, _message("assistant", "So"), State.FAILED, "m2", "no\nquota"),
    ),
)


# ---------------------------------------------------------------------------------------- Markdown


def test_markdown() -> None:
    assert export(_ALL, "markdown", UTC) == (
        """# What is \\*it\\*?

2026-11-22 21:57 · m2 · 2 turns

## Instructions

Be brief.

## You

What is *it*?
In short.

## m1

A **WebSocket**:

```python
print("<b>")
```

## You

*image*

## Tool call: get

````
{"a": "```"}
````

## Tool output

```
4
```

## Item: odd

## m2

So

*failed: no quota*
"""
    )


def _headings(text: str) -> list[str]:
    tokens = MarkdownIt("commonmark").parse(text)
    return [
        inline.content
        for opening, inline in pairwise(tokens)
        if opening.type == "heading_open" and opening.tag == "h2" and not opening.level
    ]


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)",
        "~~~~\n```\n",
        "> ```\n> x",
        "- ```\n  x",
        "<!-- and then",
        "<script>\nalert(1)",
        "<pre>",
        "```\n<!--\n````",
        "a\n\n    code",
        "| a |\n|---|",
        "[x]: /url '",
        "text\n---",
    ],
)
def test_a_reply_does_not_affect_what_follows_it(text: str) -> None:
    kept = _conversation(
        _message("user", "Hi?"), _message("assistant", text), _message("user", "next")
    )
    headings = _headings(export(kept, "markdown"))
    assert [heading for heading in headings if heading in ("You", "m1")] == ["You", "m1", "You"]


@given(st.text("`~<!-a \n>|#[]:*", max_size=60))
def test_any_reply_leaves_the_next_heading_intact(text: str) -> None:
    kept = _conversation(_message("assistant", text), _message("user", "next"))
    assert _headings(export(kept, "markdown"))[-1] == "You"


def test_a_complete_message_is_unchanged() -> None:
    text = "# One\n\n- a\n- b\n\n```sh\nls\n```\n\n[x]: /y"
    assert text in export(_conversation(_message("assistant", text)), "markdown")


def test_an_open_fence_is_closed() -> None:
    kept = _conversation(_message("assistant", "See:\n~~~~sh\nls"), state=State.CANCELLED)
    assert export(kept, "markdown").endswith("See:\n~~~~sh\nls\n~~~~\n\n*cancelled*\n")


def test_titles_and_names_are_escaped() -> None:
    kept = _conversation(ToolCall("a_b\n# c", "", ""), title="<b> `x` [y](z)")
    lines = export(kept, "markdown", UTC).splitlines()
    assert lines[0] == r"# \<b\> \`x\` \[y\](z)"
    assert lines[4] == r"## Tool call: a\_b \# c"


@pytest.mark.parametrize(
    ("state", "note"),
    [
        (State.QUEUED, "not sent"),
        (State.ASKED, "not answered"),
        (State.INTERRUPTED, "interrupted"),
        (State.INCOMPLETE, "incomplete"),
        (State.STREAMING, "unfinished"),
    ],
)
def test_an_incomplete_turn_is_marked_once(state: State, note: str) -> None:
    alone = export(_conversation(_message("user", "Hi?"), state=state), "markdown")
    assert alone.endswith(f"Hi?\n\n*{note}*\n")
    both = export(
        _conversation(_message("user", "Hi?"), _message("assistant", "So"), state=state), "markdown"
    )
    assert both.count(note) == 1
    assert both.endswith(f"So\n\n*{note}*\n")


def test_the_default_title_is_the_number() -> None:
    assert export(_conversation(title=""), "markdown").startswith("# Conversation 7\n")


# -------------------------------------------------------------------------------------------- JSON


def test_json_has_all_fields() -> None:
    text = export(_ALL, "json")
    data = json.loads(text)
    entries = data.pop("entries")
    assert data == {
        "rtchat": __version__,
        "format": 1,
        "name": None,
        "id": 7,
        "title": "What is *it*?",
        "began": 1795384632.0,
        "updated": 1795384700.5,
        "model": "m2",
        "turns": 2,
        "head": 0,
        "forked_from": None,
    }
    assert len(entries) == len(_ALL.entries)
    assert entries[2] == {
        "turn": 1,
        "parent": 0,
        "index": 1,
        "state": "completed",
        "model": "m1",
        "response_model": "m1",
        "reason": None,
        "usage": {
            "input_tokens": 57,
            "cached_tokens": 16,
            "output_tokens": 48,
            "total_tokens": 105,
        },
        "timing": {"first_token_ms": 210, "total_ms": 1900},
        "heard": None,
        "item": {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": _REPLY}],
        },
    }
    assert entries[6] == {
        "turn": 2,
        "parent": 1,
        "index": 3,
        "state": "completed",
        "model": None,
        "response_model": None,
        "reason": None,
        "usage": None,
        "timing": {"first_token_ms": None, "total_ms": None},
        "heard": None,
        "item": {"type": "odd", "x": 1},
    }
    assert entries[7]["reason"] == "no\nquota"


def test_json_is_valid_for_any_text() -> None:
    data = json.loads(export(_conversation(_message("user", "\ud800ä\0")), "json").encode())
    assert data["entries"][0]["item"]["content"][0]["text"] == "�ä\0"


# -------------------------------------------------------------------------------------------- HTML


class _Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]


_FRAME = _Page(export(_conversation(), "html"))
_PROSE = {
    *("section", "div", "h2", "p", "a", "em", "strong", "s", "code", "pre", "br", "hr", "ul", "ol"),
    *("li", "blockquote", "h1", "h3", "h4", "h5", "h6"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


def _check_escaped(text: str) -> _Page:
    page = _Page(text)
    assert page.tags <= _FRAME.tags | _PROSE | {"img"}
    names = {name for name, _ in page.attributes}
    assert not [name for name in names if name.startswith("on")]
    styles = {
        *_FRAME.values("style"),
        *(f"text-align:{side}" for side in ("left", "right", "center")),
    }
    assert set(page.values("style")) <= styles
    assert all(url.startswith("data:image/png;base64,") for url in page.values("src"))
    schemes = {url.partition(":")[0].strip().lower() for url in page.values("href") if ":" in url}
    assert not schemes & {"javascript", "vbscript", "file"}
    assert not [url for url in page.values("href") if url.lower().startswith("data:text")]
    return page


_ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "</div></section><script>alert(1)</script>",
    "<!-- --><iframe src=//evil>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt&colon;alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x]( javascript:alert(1) )",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox)",
    "<javascript:alert(1)>",
    '[x](http://a "\\" onmouseover=alert(1) \\"")',
    "![x](http://tracker.example/pixel.png)",
    "![x](javascript:alert(1))",
    "[r]\n\n[r]: javascript:alert(1)",
    '```"><script>alert(1)</script>\nx\n```',
    "``` x onload=alert(1)\nx\n```",
    "`<script>`",
    "| <script> |\n|---|\n| <b onclick=x> |",
    "long <script>alert(1)</script> " * 500,
    "&lt;script&gt;alert(1)&lt;/script&gt;",
]


@pytest.mark.parametrize("attack", _ATTACKS)
@pytest.mark.parametrize("role", ["assistant", "user", "system"])
def test_attacks_in_messages_are_escaped(attack: str, role: Role) -> None:
    page = _check_escaped(export(_conversation(_message(role, attack), title=attack), "html"))
    assert page.values("src") == []


@pytest.mark.parametrize("attack", _ATTACKS)
def test_attacks_in_other_fields_are_escaped(attack: str) -> None:
    entries = (
        Entry(1, 0, _message("user", "Hi?"), State.FAILED, attack, attack),
        Entry(1, 1, ToolCall(attack, attack, attack), State.FAILED, attack, attack),
        Entry(1, 2, ToolOutput(attack, attack), State.COMPLETED, attack),
        Entry(1, 3, OtherItem(attack, attack, {}), State.COMPLETED, attack),
        Entry(1, 4, Message("assistant", (Part("image", "", attack),)), State.COMPLETED, attack),
    )
    page = _check_escaped(export(StoredConversation(1, "", 0.0, 0.0, attack, 1, entries), "html"))
    assert page.values("src") == page.values("href") == []


@given(st.text("<>&\"'`![]()*:/\n javscriptdtonle=#x;0", max_size=80))
def test_any_text_is_escaped(text: str) -> None:
    _check_escaped(export(_conversation(_message("assistant", text)), "html"))


def test_a_page_is_self_contained_and_loads_nothing() -> None:
    text = export(_ALL, "html", UTC)
    page = _check_escaped(text)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert policy in page.values("content")
    assert page.values("src") == [_PIXEL]
    assert not re.search(r"@import|url\(|<link|<script", text)
    assert "prefers-color-scheme: dark" in text
    assert "<strong>WebSocket</strong>" in text
    assert '<pre><code class="language-python">print(&quot;&lt;b&gt;&quot;)\n</code></pre>' in text
    for part in ("What is *it*?", "2026-11-22 21:57 · m2 · 2 turns", "failed: no quota", "m1"):
        assert part in page.text


@pytest.mark.parametrize("info", ["python:app.py", "{.python}", "Python", 'python title="a.py"'])
def test_the_class_of_a_code_block_is_its_language(info: str) -> None:
    text = export(_conversation(_message("assistant", f"```{info}\nx\n```")), "html")
    assert '<pre><code class="language-python">x\n</code></pre>' in text


@pytest.mark.parametrize(
    "url",
    [
        "https://tracker.example/x.png",
        "data:image/svg+xml;base64,QQ==",
        'data:image/png;base64,QQ=="onload="x',
        "data:image/png;base64,QQ==\n",
        "",
    ],
)
def test_a_remote_image_is_not_loaded(url: str) -> None:
    page = _Page(export(_conversation(Message("user", (Part("image", "", url),))), "html"))
    assert page.values("src") == []
    assert "[image]" in page.text


def test_invisible_and_bidi_characters_are_shown() -> None:
    text = export(_conversation(_message("assistant", "a\u202eb &#x202e; \x1b[1m")), "html")
    assert "a&lt;U+202E&gt;b &lt;U+202E&gt; ␛[1m" in text


_TABLES = [
    ("| a | b |\n|:-:|--:|\n| 1 | 2 |", [["1", "2"]], ["center", "right"]),
    (
        "| a | b |\n|---|---|\n| 1 |\n|  | 2 |\n| 1 | 2 | 3 |",
        [["1", ""], ["", "2"], ["1", "2 | 3"]],
        [],
    ),
    ("| a |\n|---|", [], []),
    ("> | a | b |\n> |--|--|\n> | *1* | `2` |\n\n| c |\n|--|\n| 3 |", [["1", "2"], ["3"]], []),
]


@pytest.mark.parametrize(("text", "rows", "sides"), _TABLES)
def test_a_table_has_its_cells(text: str, rows: list[list[str]], sides: list[str]) -> None:
    page = export(_conversation(_message("assistant", text)), "html")
    found = [
        [_Page(cell).text for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    ]
    assert [row for row in found if row] == rows
    assert re.findall(r'<td style="text-align:(\w+)">', page) == sides


def test_missing_cells_of_a_row_become_one_cell() -> None:
    text = f"{'| a ' * 20}|\n{'|---' * 20}|\n| 1 |"
    assert '<td colspan="19"></td>' in export(_conversation(_message("assistant", text)), "html")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("[x](//host/y)", '<a href="https://host/y">x</a>'),
        ("[x](/etc/passwd)", "x (/etc/passwd)"),
        ("[x](data:image/png;base64,QQ==)", "x (data:image/png;base64,QQ==)"),
        ('[x](https://a/ "say \\"hi\\"")', '<a href="https://a/" title="say &quot;hi&quot;">x</a>'),
        ("![x](https://a/y.png)", '<a href="https://a/y.png">x</a>'),
        ("![](y.png)", "<p>image</p>"),
        ("[![x](https://a/y.png)](https://b/)", '<p><a href="https://b/">x</a></p>'),
        ("a<br>b <u>c</u>", "<p>a<br>\nb &lt;u&gt;c&lt;/u&gt;</p>"),
        ("<p>a\n<b>", "<pre><code>&lt;p&gt;a\n&lt;b&gt;\n</code></pre>"),
        (r"a \(x_1 < y_2\)", r'<p>a <code class="math">\(x_1 &lt; y_2\)</code></p>'),
        ("$$\n<b\n$$ *c*", "<pre><code>$$\n&lt;b\n$$</code></pre><em>c</em></div>"),
    ],
)
def test_links_images_and_html_in_a_reply(text: str, html: str) -> None:
    assert html in export(_conversation(_message("assistant", text)), "html")


def test_a_long_paragraph_is_exported() -> None:
    text = "word " * 3000 + "end"
    page: Any = _Page(export(_conversation(_message("assistant", text)), "html"))
    assert "word word end" in " ".join(page.text.split())


def test_what_was_not_heard_of_a_reply_is_apart() -> None:
    reply = Message("assistant", (Part("audio", "It is *late*. Go to <b>."),), heard=14)
    conversation = _conversation(_message("user", "When?"), reply)
    blocks = export(conversation, "markdown", UTC).split("\n\n")
    assert blocks[-2:] == ["It is *late*.", "*not heard:* Go to \\<b\\>.\n"]
    page = export(conversation, "html", UTC)
    assert "<p>It is <em>late</em>.</p>" in page
    assert '<p class="unheard" dir="auto">[not heard] Go to &lt;b&gt;.</p>' in page
    entries = json.loads(export(conversation, "json"))["entries"]
    assert [entry["heard"] for entry in entries] == [None, 14]
