"""--theme and /theme: how the styles on a terminal are drawn."""

from __future__ import annotations

import io
import re
from typing import get_args

import pytest

from rtchat.config.resolve import resolve
from rtchat.config.settings import Settings
from rtchat.core.effects import Notice, ReplyOver, TextArrived, ThemeChosen
from rtchat.core.values import Status, ThemeName
from rtchat.markdown.render import MarkdownStream
from rtchat.markdown.theme import NOTICES, SYNTAX, THEMES, in_theme
from rtchat.ui.console import ThemedConsole, make_console, print_text
from rtchat.ui.live_view import LiveView

NAMES = get_args(ThemeName)
COLORS = {code for ten in (3, 4, 9, 10) for code in map(str, range(ten * 10, ten * 10 + 10))}
DIM, DEFAULTS = "2", {"39", "49"}
DOCUMENT = """# Title

Some *emphasis*, `code` and [a link](https://example.com).

> quoted

- item

```python
def f(x):  # comment
    return "text" + 1
```

| a | b |
|---|---|
| 1 | 2 |
"""


def console(environ: dict[str, str] | None = None) -> tuple[ThemedConsole, io.StringIO]:
    out = io.StringIO()
    made = make_console(out, {"TERM": "xterm", **(environ or {})}, is_terminal=True, colors=True)
    return made, out


def codes(text: str) -> set[str]:
    """The parameters of all SGR sequences."""
    parts = (part.partition("m")[0] for part in text.split("\x1b[")[1:])
    return {code for part in parts for code in part.split(";")}


def drawn(name: ThemeName) -> str:
    """A document, a warning and an error in a theme."""
    made, out = console()
    made.theme = name
    view = LiveView(made, made)
    view.show(TextArrived(DOCUMENT))
    view.show(Notice("warning", "careful"))
    view.show(ReplyOver(Status.COMPLETED, DOCUMENT, "m"))
    view.show(Notice("error", "broken", "fix it"))
    return out.getvalue()


def test_the_table_the_setting_and_the_command_have_the_same_themes() -> None:
    assert tuple(THEMES) == NAMES
    assert Settings.theme.parser.choices == NAMES


def test_only_colours_and_dim_are_replaced() -> None:
    known = {word for style in (*SYNTAX.values(), *NOTICES.values()) for word in style.split()}
    for replaced in THEMES.values():
        assert set(replaced) <= known | {"cyan", "dim"}


def test_dark_and_light_use_other_colours() -> None:
    auto, dark, light = (codes(drawn(name)) & COLORS for name in ("auto", "dark", "light"))
    assert "34" in auto - dark  # blue on black
    assert {"33", "36"} <= auto - light  # yellow and cyan on white


def test_mono_has_no_colours() -> None:
    found = codes(drawn("mono"))
    assert found & (COLORS - DEFAULTS) == set()
    assert {"1", DIM} <= found


def test_high_contrast_is_neither_coloured_nor_dim() -> None:
    found = codes(drawn("high-contrast"))
    assert found & (COLORS - DEFAULTS | {DIM}) == set()
    assert {"1", "7"} <= found


@pytest.mark.parametrize("name", NAMES)
def test_a_theme_does_not_change_the_text(name: ThemeName) -> None:
    made, out = console()
    made.theme = name
    stream = MarkdownStream(made)
    stream.add(DOCUMENT, 60)
    lines = stream.finish(60)
    for line in lines:
        print_text(made, line)
    plain = "\n".join(line.plain for line in lines)
    assert re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).rstrip("\n") == plain


def test_a_style_of_several_words_is_replaced_word_by_word() -> None:
    assert in_theme("bold underline cyan", "light") == "bold underline blue"
    assert in_theme("dim", "high-contrast") == ""


def test_a_theme_also_applies_where_links_can_be_clicked() -> None:
    made, out = console({"TERM_PROGRAM": "vscode"})
    made.theme = "mono"
    made.print("x", style="cyan")
    assert codes(out.getvalue()) & (COLORS - DEFAULTS) == set()


def test_the_theme_can_be_changed_and_shown() -> None:
    made, out = console()
    view = LiveView(made, made)
    view.show(ThemeChosen(None))
    assert "theme: auto" in out.getvalue()
    assert ", ".join(NAMES) in out.getvalue()
    view.show(ThemeChosen("mono"))
    view.show(ThemeChosen(None))
    assert out.getvalue().count("theme: mono") == 2
    assert made.theme == "mono"


def test_the_setting_has_an_option_and_a_variable() -> None:
    assert resolve({"theme": "light"}, {}, needs_key=False).theme == "light"
    assert resolve({}, {"RTCHAT_THEME": "mono"}, needs_key=False).theme == "mono"
