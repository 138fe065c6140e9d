"""The styles of the entry and what is around it, as a style sheet of prompt-toolkit."""

from __future__ import annotations

from functools import cache

from prompt_toolkit.styles import Attrs, BaseStyle, DynamicStyle
from prompt_toolkit.styles import Style as PromptStyle
from rich.color import ANSI_COLOR_NAMES, Color
from rich.style import Style

from rtchat.core.values import ThemeName
from rtchat.markdown import theme
from rtchat.markdown.theme import StyleSheet

_PREFIX = "rtchat-"


def class_of(style: str) -> str:
    """The class of a style. Some classes of prompt-toolkit have the names of our styles."""
    return f"class:{_PREFIX}{style}"


DIM, ACCENT, WARNING = class_of(theme.DIM), class_of(theme.ACCENT), class_of("warning")
PROMPT, SELECTED = class_of(theme.PROMPT), class_of(theme.SELECTED)

_PARTS = {
    "auto-suggestion": "suggestion",
    "paste": "accent",
    "completion-menu.completion.current": "selected",
    "completion-menu.meta.completion": "dim",
    "completion-menu.meta.completion.current": "dim",
}
"""Classes of prompt-toolkit, and our styles."""
_BASE = {
    **dict.fromkeys(("scrollbar.background", "scrollbar.button"), "bg:default"),
    **dict.fromkeys(("completion-menu", "completion-menu.completion"), "bg:default fg:default"),
    **dict.fromkeys(
        (
            "completion-menu.completion.current",
            "completion-menu.meta.completion",
            "completion-menu.meta.completion.current",
        ),
        "noreverse bg:default fg:default",
    ),
}
_HAS_DIM = "dim" in Attrs._fields
"""Whether this version of prompt-toolkit has dim text."""
_NAMES = {number: name for name, number in reversed(ANSI_COLOR_NAMES.items()) if number < 16}


def entry_style(styles: StyleSheet) -> BaseStyle:
    """The style sheet of the prompt. It follows changes of `styles`."""

    @cache
    def sheet(_: ThemeName) -> BaseStyle:
        ours = {name: prompt_style(styles.definition(name)) for name in theme.STYLES}
        parts = {part: f"{_BASE.get(part, '')} {ours[style]}" for part, style in _PARTS.items()}
        classes = {f"{_PREFIX}{name}": style for name, style in ours.items()}
        return PromptStyle.from_dict({**classes, **_BASE, **parts})

    return DynamicStyle(lambda: sheet(styles.effective_theme))


def prompt_style(definition: str) -> str:
    """A definition in words of Rich as a style of prompt-toolkit."""
    style = Style.parse(definition)
    words = [f"fg:{_color(style.color)}"] if style.color else []
    words += ["fg:ansibrightblack"] if style.dim and not (words or _HAS_DIM) else []
    words += [f"bg:{_color(style.bgcolor)}"] if style.bgcolor else []
    attributes = {
        "bold": style.bold,
        "dim": style.dim and _HAS_DIM,
        "italic": style.italic,
        "underline": style.underline,
        "reverse": style.reverse,
        "strike": style.strike,
    }
    return " ".join((*words, *(word for word, is_set in attributes.items() if is_set)))


def _color(color: Color) -> str:
    """`bright_black` is `ansibrightblack`; colours without a name are written as `#a0b0c0`."""
    if color.is_default:
        return "default"
    name = _NAMES.get(-1 if color.number is None else color.number, "")
    if not name:
        return color.get_truecolor().hex
    name = {"white": "gray", "bright_white": "white"}.get(name, name)
    return f"ansi{name.replace('_', '')}"
