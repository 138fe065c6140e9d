"""Our styles as a style sheet of prompt-toolkit, for the entry and what is around it."""

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
    """The class of prompt-toolkit for one of our styles. The prefix tells it from prompt-toolkit's
    own classes."""
    return f"class:{_PREFIX}{style}"


DIM, ACCENT, WARNING = class_of(theme.DIM), class_of(theme.ACCENT), class_of("warning")
PROMPT, SELECTED = class_of(theme.PROMPT), class_of(theme.SELECTED)

_STYLES_OF_CLASSES = {
    "auto-suggestion": "suggestion",
    "paste": "accent",
    "completion-menu.completion.current": "selected",
    "completion-menu.meta.completion": "dim",
    "completion-menu.meta.completion.current": "dim",
}
"""Classes of prompt-toolkit, and the styles that they get."""
_BASE_STYLES = {
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
"""Classes of prompt-toolkit, and the styles that replace their defaults."""
_HAS_DIM = "dim" in Attrs._fields
"""Whether this version of prompt-toolkit supports dim text."""
_COLOR_NAMES = {number: name for name, number in reversed(ANSI_COLOR_NAMES.items()) if number < 16}


def entry_style(styles: StyleSheet) -> BaseStyle:
    """The style sheet of the prompt. It follows changes of `styles`."""

    @cache
    def sheet(_: ThemeName) -> BaseStyle:
        ours = {name: prompt_style(styles.definition(name)) for name in theme.STYLES}
        parts = {
            part: f"{_BASE_STYLES.get(part, '')} {ours[style]}"
            for part, style in _STYLES_OF_CLASSES.items()
        }
        classes = {f"{_PREFIX}{name}": style for name, style in ours.items()}
        return PromptStyle.from_dict({**classes, **_BASE_STYLES, **parts})

    return DynamicStyle(lambda: sheet(styles.effective_theme))


def prompt_style(definition: str) -> str:
    """The style of prompt-toolkit for a definition in words of Rich."""
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
    """A colour as prompt-toolkit writes it: `ansibrightblack`, or `#a0b0c0` if it has no name."""
    if color.is_default:
        return "default"
    name = _COLOR_NAMES.get(-1 if color.number is None else color.number, "")
    if not name:
        return color.get_truecolor().hex
    name = {"white": "gray", "bright_white": "white"}.get(name, name)
    return f"ansi{name.replace('_', '')}"
