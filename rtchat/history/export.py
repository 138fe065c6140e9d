"""Exports a saved conversation as Markdown, JSON or a web page.

A web page runs no scripts and loads nothing, whatever a reply contains: HTML in replies is escaped,
and remote images become links. In Markdown, a reply cannot affect what follows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import tzinfo
from html import escape
from typing import Any, Literal, TypeAlias, assert_never

from rtchat._version import __version__
from rtchat.core.text import visible, write_json
from rtchat.core.thinking import split
from rtchat.core.turn_tree import parents_of
from rtchat.core.values import Entry, Message, StoredConversation
from rtchat.history.dates import when
from rtchat.history.transcript import NOT_HEARD, TranscriptEntry, transcript_entries
from rtchat.markdown.dialect import parser, references
from rtchat.markdown.info_string import parse_info
from rtchat.markdown.list_items import add_boxes, number_items
from rtchat.markdown.table_rule import with_cells
from rtchat.wire.items import write_item

Format: TypeAlias = Literal["markdown", "json", "html"]


def export(conversation: StoredConversation, format: Format, zone: tzinfo | None = None) -> str:
    """A conversation in a format. Times are in `zone`, or local if it is None."""
    match format:
        case "markdown":
            return _markdown(conversation, zone)
        case "json":
            return _json(conversation)
        case "html":
            return _html(conversation, zone)
    assert_never(format)


def _subtitle(conversation: StoredConversation, zone: tzinfo | None) -> str:
    turns = f"{conversation.turns} turn{'' if conversation.turns == 1 else 's'}"
    return " · ".join(
        part for part in (when(conversation.began, zone), conversation.model, turns) if part
    )


def _heading(entry: TranscriptEntry) -> str:
    match entry.kind:
        case "question":
            return " ".join(filter(None, ("You", entry.mark)))
        case "reply":
            return entry.name
        case "instructions":
            return entry.name.capitalize() or "Instructions"
        case "call":
            return f"Tool call: {entry.name}"
        case "output":
            return "Tool output"
        case "other":
            return f"Item: {entry.name}"
    assert_never(entry.kind)


# ----------------------------------------------------------------------------------------- JSON


def summary(conversation: StoredConversation) -> dict[str, object]:
    """A conversation without its items, as JSON fields; times are Unix seconds. The id of one that
    is not saved is null."""
    return {
        "id": conversation.id or None,
        "name": conversation.name or None,
        "title": conversation.title,
        "began": conversation.began,
        "updated": conversation.updated,
        "model": conversation.model,
        "turns": conversation.turns,
    }


def _json(conversation: StoredConversation) -> str:
    parents = parents_of(conversation)
    entries = [_entry(entry, parents) for entry in conversation.entries]
    data = {
        "rtchat": __version__,
        "format": 1,
        **summary(conversation),
        "head": conversation.head,
        "forked_from": conversation.forked_from,
        "entries": entries,
    }
    return write_json(data, indent=2) + "\n"


def _entry(entry: Entry, parents: Mapping[int, int]) -> dict[str, object]:
    return {
        "turn": entry.turn,
        "parent": parents.get(entry.turn),
        "index": entry.index,
        "state": entry.state.value,
        "model": entry.model or None,
        "response_model": entry.response_model or None,
        "reason": entry.reason or None,
        "usage": entry.usage and entry.usage.as_json(),
        "timing": {
            "first_token_ms": _milliseconds(entry.first_token),
            "total_ms": _milliseconds(entry.seconds),
        },
        "heard": entry.item.heard if isinstance(entry.item, Message) else None,
        "item": write_item(entry.item),
    }


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


# ------------------------------------------------------------------------------------- Markdown


def _markdown(conversation: StoredConversation, zone: tzinfo | None) -> str:
    title = _literal(conversation.title or f"Conversation {conversation.id}")
    blocks = [f"# {title}", _literal(_subtitle(conversation, zone))]
    for entry in transcript_entries(conversation):
        blocks += [f"## {_literal(_heading(entry))}", *_body(entry)]
        if entry.unheard:
            blocks.append(f"*{NOT_HEARD}:* {_literal(entry.unheard)}")
        if entry.note:
            blocks.append(f"*{_literal(entry.note)}*")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _body(entry: TranscriptEntry) -> list[str]:
    if entry.kind in ("question", "reply", "instructions"):
        text = entry.text.strip("\n")
        return [_self_contained(text), *["*image*"] * len(entry.images)]
    return [_fenced(entry.text)] if entry.text else []


_MARKUP = re.compile(r"[\\`*_\[\]<>#&!|~]")


def _literal(text: str) -> str:
    """A text as one line of Markdown, with all markup characters escaped."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def _fenced(text: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _self_contained(text: str) -> str:
    """A message that does not affect the Markdown after it: an open code fence is closed."""
    if _ends_blocks(text):
        return text
    last = _blocks(text)[-1]
    if last.type == "fence" and _ends_blocks(completed := f"{text}\n{last.markup}"):
        return completed
    return _fenced(text)


def _ends_blocks(text: str) -> bool:
    """Whether a heading after this text is read as a heading."""
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
.unheard { color: var(--soft); white-space: pre-wrap }
.about, .note { color: var(--soft); font-size: .85rem }
.note { color: var(--bad) }
.question, .instructions { white-space: pre-wrap; border-left: 3px solid var(--accent);
  padding-left: .8rem }
.instructions { border-color: var(--line); color: var(--soft) }
.thought { color: var(--soft); font-size: .85rem }
.thought div { white-space: pre-wrap }
a { color: var(--accent) }
pre, code { font-family: ui-monospace, monospace; font-size: .9em; background: var(--code);
  border-radius: 4px }
code { padding: .1em .3em }
pre { padding: .7rem; overflow-x: auto; overflow-wrap: normal }
pre code { padding: 0; font-size: inherit }
blockquote { margin: 0; padding-left: .8rem; border-left: 3px solid var(--line) }
table { border-collapse: collapse; display: block; overflow-x: auto; overflow-wrap: normal }
th, td { border: 1px solid var(--line); padding: .25rem .6rem }
li.task { list-style: none }
img { max-width: 100% }
"""
_IMAGE_URL = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+")


_NOT_ASCII = re.compile(r"[^\t\n -~]+")


def _html(conversation: StoredConversation, zone: tzinfo | None) -> str:
    return _PAGE.format(
        title=_escaped(conversation.title or f"Conversation {conversation.id}"),
        style=_STYLE,
        about=_escaped(_subtitle(conversation, zone)),
        body="\n".join(_section(entry) for entry in transcript_entries(conversation)),
    )


def _escaped(text: str) -> str:
    return escape(visible(text))


def _section(entry: TranscriptEntry) -> str:
    return "\n".join(
        (
            f'<section>\n<h2 class="who" dir="auto">{_escaped(_heading(entry))}</h2>',
            _content(entry),
            *(_image_tag(url) for url in entry.images),
            *([_unheard(entry.unheard)] if entry.unheard else ()),
            f'<p class="note">{_escaped(entry.note)}</p>\n</section>'
            if entry.note
            else "</section>",
        )
    )


def _content(entry: TranscriptEntry) -> str:
    match entry.kind:
        case "reply":
            reply = split(entry.text)
            answer = f'<div class="reply" dir="auto">\n{_rendered(reply.answer)}</div>'
            return f"{_thought(reply.thought)}{answer}" if reply.thought else answer
        case "question" | "instructions":
            return f'<div class="{entry.kind}" dir="auto">{_escaped(entry.text)}</div>'
        case "call" | "output" | "other":
            return f"<pre><code>{_escaped(entry.text)}</code></pre>" if entry.text else ""
    assert_never(entry.kind)


def _thought(text: str) -> str:
    return (
        '<details class="thought" dir="auto">\n<summary>Reasoning</summary>\n'
        f"<div>{_escaped(text)}</div>\n</details>\n"
    )


def _unheard(text: str) -> str:
    return f'<p class="unheard" dir="auto">[{NOT_HEARD}] {_escaped(text)}</p>'


def _image_tag(url: str) -> str:
    if not _IMAGE_URL.fullmatch(url):
        return "<p>[image]</p>"
    return f'<p><img src="{url}" alt="image"></p>'


def _rendered(text: str) -> str:
    """A reply as HTML. HTML in it is shown as text, and images become links."""
    markdown = parser()
    for name, rule in _RULES.items():
        markdown.add_render_rule(name, rule)
    env: dict[str, Any] = {"references": references({}), "links": []}
    tokens = list(with_cells(markdown.parse(visible(text), env)))
    number_items(tokens)
    add_boxes(tokens)
    for token in tokens:
        if token.type == "fence":
            token.info = parse_info(token.info).language
    page = markdown.renderer.render(tokens, markdown.options, env)
    # Rendering decodes entities, so the characters that they stand for are escaped here.
    return _NOT_ASCII.sub(lambda found: _escaped(found.group()), page)


_EXTERNAL = re.compile(r"(https?://[^/]|mailto:.).*", re.IGNORECASE)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def _external_url(url: str) -> str:
    """The URL if it is http, https or mailto, else "". In a page that is opened from a disk, a URL
    without a scheme would lead to a local file."""
    url = f"https:{url}" if url.startswith("//") else url
    return url if _EXTERNAL.fullmatch(url) else ""


def _anchor(url: str, title: str = "") -> str:
    tip = f' title="{escape(title)}"' if title else ""
    return f'<a href="{escape(url)}"{tip}>'


def _link_open(_renderer: object, tokens: list[Any], index: int, *rest: Any) -> str:
    url, title = (str(tokens[index].attrs.get(name, "")) for name in ("href", "title"))
    rest[-1]["links"].append(url)
    return _anchor(_external_url(url), title) if _external_url(url) else ""


def _link_close(_renderer: object, _tokens: list[Any], _index: int, *rest: Any) -> str:
    url = rest[-1]["links"].pop()
    return "</a>" if _external_url(url) else f" ({escape(url)})"


def _image(_renderer: object, tokens: list[Any], index: int, *rest: Any) -> str:
    """A link to the image, or only its text inside another link. The image is never loaded."""
    text = escape(tokens[index].content) or "image"
    url = _external_url(str(tokens[index].attrs.get("src", "")))
    return f"{_anchor(url)}{text}</a>" if url and not rest[-1]["links"] else text


def _html_inline(_renderer: object, tokens: list[Any], index: int, *_: object) -> str:
    content = tokens[index].content
    return "<br>\n" if _BREAK.fullmatch(content) else escape(content)


def _html_block(_renderer: object, tokens: list[Any], index: int, *_: object) -> str:
    return f"<pre><code>{escape(tokens[index].content)}</code></pre>\n"


def _as_written(_renderer: object, tokens: list[Any], index: int, *_: object) -> str:
    return f"<p>{escape(tokens[index].content)}</p>\n"


def _math_inline(_renderer: object, tokens: list[Any], index: int, *_: object) -> str:
    return f'<code class="math">{escape(tokens[index].content)}</code>'


def _math_open(_renderer: object, tokens: list[Any], index: int, *_: object) -> str:
    return f'<div class="math"><pre><code>{escape(tokens[index].content)}</code></pre>'


def _math_close(*_: object) -> str:
    return "</div>\n"


_RULES: Mapping[str, Callable[..., str]] = {
    "link_open": _link_open,
    "link_close": _link_close,
    "image": _image,
    "html_inline": _html_inline,
    "html_block": _html_block,
    "long": _as_written,
    "definition": _as_written,
    "math_inline": _math_inline,
    "math_open": _math_open,
    "math_close": _math_close,
}
