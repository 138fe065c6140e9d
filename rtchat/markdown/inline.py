"""Render the inline text of a block: emphasis, code, links, line breaks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from markdown_it.token import Token
from rich.text import Text

from rtchat.core.text import visible
from rtchat.markdown import theme
from rtchat.markdown.formula import inline_formula
from rtchat.markdown.links import link
from rtchat.markdown.symbols import scripts

_MARKS = {"em": "italic", "strong": "bold", "s": "strike"}
_SCRIPTS = {"<sup>": "^", "<sub>": "_"}
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


def draw_inline(inline: Token, style: str, *, links: bool, backticks: bool) -> Text:
    """Render an inline token with its children, on top of a style. With `links`, the targets of
    links are clickable. With `backticks`, code is shown between backticks, as in the source."""
    return _Inline(links=links, backticks=backticks).draw(inline, style)


def _style(styles: Iterable[str]) -> str:
    """Several styles as one, each once: styles are cached, so text must not make ever new ones."""
    return " ".join(dict.fromkeys(styles))


def _script(tokens: Sequence[Token]) -> str:
    """The text in Unicode of `<sub>text</sub>` or `<sup>text</sup>`; "" if these are other tokens
    or there is no Unicode for it."""
    mark = _SCRIPTS.get(tokens[0].content.lower())
    if mark is None or [token.type for token in tokens[1:]] != ["text", "html_inline"]:
        return ""
    closing = tokens[0].content.replace("<", "</")
    table, source = scripts()[mark], tokens[1].content
    if tokens[2].content != closing or any(each.isspace() or each not in table for each in source):
        return ""
    return "".join(table[each] for each in source)


class _Inline:
    """Renders inline text."""

    def __init__(self, *, links: bool, backticks: bool) -> None:
        self._text = Text()
        self._links = links
        self._backticks = backticks
        self._is_after_break = False
        """Whether `<br>` precedes: spaces after it mean nothing."""

    def draw(self, inline: Token, style: str) -> Text:
        text = self._text
        styles = [style] if style else []
        targets: list[tuple[str, int]] = []
        tokens = list(inline.children or ())
        for index, token in enumerate(tokens):
            match token.type:
                case "html_inline" if script := _script(tokens[index : index + 3]):
                    text.append(script, _style(styles))
                    del tokens[index + 1 : index + 3]
                case "link_open":
                    targets.append((str(token.attrs.get("href", "")), len(text)))
                case "link_close":
                    self._end_link(*targets.pop())
                case "image":
                    start = len(text)
                    text.append(visible(token.content), _style(styles))
                    self._end_link(str(token.attrs.get("src", "")), start)
                case _ if token.tag in _MARKS and token.nesting > 0:
                    styles.append(_MARKS[token.tag])
                case _ if token.tag in _MARKS:
                    styles.pop()
                case _:
                    self._add_text(token, styles)
        return text

    def _add_text(self, token: Token, styles: list[str]) -> None:
        """Add a text token. It is escaped again: the parser has decoded entities by now."""
        is_after_break, self._is_after_break = self._is_after_break, False
        match token.type:
            case "softbreak":
                self._text.append(" ")
            case "hardbreak":
                self._text.append("\n")
            case "html_inline" if _BREAK.fullmatch(token.content):
                self._text.append("\n")
                self._is_after_break = True
            case "html_inline":
                self._text.append(visible(token.content), _style((*styles, theme.HTML)))
            case "math_inline":
                self._text.append(inline_formula(token), _style((*styles, theme.MATH)))
            case "code_inline":
                code = visible(token.content)
                if self._backticks:
                    space = " " if code.startswith("`") or code.endswith("`") else ""
                    code = f"{token.markup}{space}{code}{space}{token.markup}"
                self._text.append(code, _style((*styles, theme.CODE)))
            case _:
                content = token.content.lstrip(" ") if is_after_break else token.content
                self._text.append(visible(content), _style(styles))

    def _end_link(self, href: str, start: int) -> None:
        """Print the target of a link after its label, unless they are the same."""
        text, label = self._text, self._text.plain[start:]
        scheme = "http://" if label[:4].lower() == "www." else "mailto:"
        if label != href and scheme + label != href:
            start = len(text) + 2
            text.append(f" ({visible(href)})", theme.LINK)
            label = href
        clickable = link(href) if self._links else None
        if clickable is not None:
            text.stylize(clickable, start, start + len(label))
