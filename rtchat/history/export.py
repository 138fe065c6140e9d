"""A kept conversation as a file for others to read: Markdown, JSON or a web page.

A page acts on nothing and loads nothing, whatever a reply says: no script, no HTML of its own, no
picture from elsewhere. In Markdown no reply can swallow what comes after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from html import escape
from typing import Any, Literal, TypeAlias, assert_never

from rtchat._version import __version__
from rtchat.core.text import visible, write_json
from rtchat.core.values import Entry, StoredConversation
from rtchat.history.transcript import TranscriptEntry, transcript_entries
from rtchat.markdown.dialect import parser, references, with_cells
from rtchat.wire.items import write_item

Format: TypeAlias = Literal["markdown", "json", "html"]


def export(kept: StoredConversation, format: Format, zone: tzinfo | None = None) -> str:
    """A conversation in a format, its times those of `zone`, the local one if None."""
    match format:
        case "markdown":
            return _markdown(kept, zone)
        case "json":
            return _json(kept)
        case "html":
            return _html(kept, zone)
    assert_never(format)


def when(seconds: float, zone: tzinfo | None = None) -> str:
    """A moment as people write it, to the minute: 2026-11-22 21:30."""
    return f"{datetime.fromtimestamp(seconds, zone):%Y-%m-%d %H:%M}"


def _about(kept: StoredConversation, zone: tzinfo | None) -> str:
    turns = f"{kept.turns} turn{'' if kept.turns == 1 else 's'}"
    return " · ".join(part for part in (when(kept.began, zone), kept.model, turns) if part)


def _heading(passage: TranscriptEntry) -> str:
    match passage.kind:
        case "question":
            return "You"
        case "reply":
            return passage.name
        case "instructions":
            return "Instructions"
        case "call":
            return f"Tool call: {passage.name}"
        case "output":
            return "Tool output"
        case "other":
            return f"Item: {passage.name}"
    assert_never(passage.kind)


# ----------------------------------------------------------------------------------------- JSON


def summary(kept: StoredConversation) -> dict[str, object]:
    """What is to be known of a conversation without its items; times are Unix seconds."""
    return {
        "id": kept.id,
        "title": kept.title,
        "began": kept.began,
        "updated": kept.updated,
        "model": kept.model,
        "turns": kept.turns,
    }


def _json(kept: StoredConversation) -> str:
    entries = [_entry(entry) for entry in kept.entries]
    data = {"rtchat": __version__, "format": 1, **summary(kept), "entries": entries}
    return write_json(data, indent=2) + "\n"


def _entry(entry: Entry) -> dict[str, object]:
    return {
        "turn": entry.turn,
        "index": entry.index,
        "state": entry.state.value,
        "model": entry.model or None,
        "reason": entry.reason or None,
        "usage": entry.usage and entry.usage.as_json(),
        "timing": {
            "first_token_ms": _milliseconds(entry.first_token),
            "total_ms": _milliseconds(entry.seconds),
        },
        "item": write_item(entry.item),
    }


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


# ------------------------------------------------------------------------------------- Markdown


def _markdown(kept: StoredConversation, zone: tzinfo | None) -> str:
    title = _literal(kept.title or f"Conversation {kept.id}")
    blocks = [f"# {title}", _literal(_about(kept, zone))]
    for passage in transcript_entries(kept):
        blocks += [f"## {_literal(_heading(passage))}", *_body(passage)]
        if passage.note:
            blocks.append(f"*{_literal(passage.note)}*")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _body(passage: TranscriptEntry) -> list[str]:
    if passage.kind in ("question", "reply", "instructions"):
        text = passage.text.strip("\n")
        return [_closed(text), *["*image*"] * len(passage.pictures)]
    return [_fenced(passage.text)] if passage.text else []


_MARK = re.compile(r"[\\`*_\[\]<>#&!|~]")


def _literal(text: str) -> str:
    """A text as one line of Markdown in which nothing is a mark."""
    return _MARK.sub(r"\\\g<0>", " ".join(text.split()))


def _fenced(text: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _closed(text: str) -> str:
    """A message behind which a document can go on: a fence that it leaves open is closed."""
    if _goes_on(text):
        return text
    last = _blocks(text)[-1]
    if last.type == "fence" and _goes_on(closed := f"{text}\n{last.markup}"):
        return closed
    return _fenced(text)


def _goes_on(text: str) -> bool:
    """Whether a heading after it is one."""
    return [token.type for token in _blocks(f"{text}\n\n# x")[-3:]] == [
        "heading_open",
        "inline",
        "heading_close",
    ]


def _blocks(text: str) -> list[Any]:
    markdown = parser()
    tokens: list[Any] = []
    markdown.block.parse(text + "\n", markdown, {}, tokens)
    return tokens


# ----------------------------------------------------------------------------------------- HTML

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p class="about">{about}</p></header>
<main>
{body}
</main>
</body>
</html>
"""
_STYLE = """
:root { --text: #1f2328; --back: #fff; --soft: #59636e; --line: #d1d9e0; --code: #f3f5f7;
  --accent: #0969da; --bad: #b42318 }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --back: #14171b; --soft: #9aa4ae;
  --line: #363d45; --code: #1f242a; --accent: #6cb0ff; --bad: #ff8a7a } }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: var(--text);
  background: var(--back); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere }
header h1 { font-size: 1.4rem; margin: 0 }
h2.who { font-size: .85rem; font-weight: 600; color: var(--soft); margin: 2rem 0 .3rem }
.about, .note { color: var(--soft); font-size: .85rem }
.note { color: var(--bad) }
.question, .instructions { white-space: pre-wrap; border-left: 3px solid var(--accent);
  padding-left: .8rem }
.instructions { border-color: var(--line); color: var(--soft) }
a { color: var(--accent) }
pre, code { font-family: ui-monospace, monospace; font-size: .9em; background: var(--code);
  border-radius: 4px }
code { padding: .1em .3em }
pre { padding: .7rem; overflow-x: auto; overflow-wrap: normal }
pre code { padding: 0; font-size: inherit }
blockquote { margin: 0; padding-left: .8rem; border-left: 3px solid var(--line) }
table { border-collapse: collapse }
th, td { border: 1px solid var(--line); padding: .25rem .6rem }
img { max-width: 100% }
"""
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+")


_ODD = re.compile(r"[^\t\n -~]+")


def _html(kept: StoredConversation, zone: tzinfo | None) -> str:
    return _PAGE.format(
        title=_safe(kept.title or f"Conversation {kept.id}"),
        style=_STYLE,
        about=_safe(_about(kept, zone)),
        body="\n".join(_section(passage) for passage in transcript_entries(kept)),
    )


def _safe(text: str) -> str:
    return escape(visible(text))


def _section(passage: TranscriptEntry) -> str:
    return "\n".join(
        (
            f'<section>\n<h2 class="who" dir="auto">{_safe(_heading(passage))}</h2>',
            _content(passage),
            *(_picture(url) for url in passage.pictures),
            f'<p class="note">{_safe(passage.note)}</p>\n</section>'
            if passage.note
            else "</section>",
        )
    )


def _content(passage: TranscriptEntry) -> str:
    match passage.kind:
        case "reply":
            return f'<div class="reply" dir="auto">\n{_rendered(passage.text)}</div>'
        case "question" | "instructions":
            return f'<div class="{passage.kind}" dir="auto">{_safe(passage.text)}</div>'
        case "call" | "output" | "other":
            return f"<pre><code>{_safe(passage.text)}</code></pre>" if passage.text else ""
    assert_never(passage.kind)


def _picture(url: str) -> str:
    if not _PICTURE.fullmatch(url):
        return "<p>[image]</p>"
    return f'<p><img src="{url}" alt="image"></p>'


def _rendered(text: str) -> str:
    """A reply as HTML. Its own HTML is shown as text, and pictures become links."""
    markdown = parser()
    for name, rule in _RULES.items():
        markdown.add_render_rule(name, rule)
    env: dict[str, Any] = {"references": references({}), "links": []}
    tokens = list(with_cells(markdown.parse(visible(text), env)))
    page = markdown.renderer.render(tokens, markdown.options, env)
    # Entities were read only now: what they stand for goes through the gate too.
    return _ODD.sub(lambda odd: _safe(odd.group()), page)


_WEB = re.compile(r"(https?://[^/]|mailto:.).*", re.IGNORECASE)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def _web(url: str) -> str:
    """The URL if it leads to the web or a mailbox, else nothing: in a page on a disk, one without a
    scheme would lead to a local file."""
    url = f"https:{url}" if url.startswith("//") else url
    return url if _WEB.fullmatch(url) else ""


def _anchor(url: str, title: str = "") -> str:
    tip = f' title="{escape(title)}"' if title else ""
    return f'<a href="{escape(url)}"{tip}>'


def _link_open(_renderer: object, tokens: list[Any], index: int, *rest: Any) -> str:
    url, title = (str(tokens[index].attrs.get(name, "")) for name in ("href", "title"))
    rest[-1]["links"].append(url)
    return _anchor(_web(url), title) if _web(url) else ""


def _link_close(_renderer: object, _tokens: list[Any], _index: int, *rest: Any) -> str:
    url = rest[-1]["links"].pop()
    return "</a>" if _web(url) else f" ({escape(url)})"


def _image(_renderer: object, tokens: list[Any], index: int, *rest: Any) -> str:
    """A link to the image, unless it is inside a link. It is never loaded."""
    text = escape(tokens[index].content) or "image"
    url = _web(str(tokens[index].attrs.get("src", "")))
    return f"{_anchor(url)}{text}</a>" if url and not rest[-1]["links"] else text


def _html_inline(_renderer: object, tokens: list[Any], index: int, *_: object) -> str:
    content = tokens[index].content
    return "<br>\n" if _BREAK.fullmatch(content) else escape(content)


def _html_block(_renderer: object, tokens: list[Any], index: int, *_: object) -> str:
    return f"<pre><code>{escape(tokens[index].content)}</code></pre>\n"


def _long(_renderer: object, tokens: list[Any], index: int, *_: object) -> str:
    return f"<p>{escape(tokens[index].content)}</p>\n"


_RULES: Mapping[str, Callable[..., str]] = {
    "link_open": _link_open,
    "link_close": _link_close,
    "image": _image,
    "html_inline": _html_inline,
    "html_block": _html_block,
    "long": _long,
}
