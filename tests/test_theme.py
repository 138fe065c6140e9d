"""--theme, /theme and [styles]: how the styles on a terminal are drawn."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import get_args

import pytest
from rich.style import Style

from rtchat.config.file import read_config
from rtchat.config.resolve import resolve, resolve_styles
from rtchat.config.settings import Settings
from rtchat.core.effects import Notice, ReplyOver, TextArrived, ThemeChosen
from rtchat.core.errors import UsageError
from rtchat.core.values import Status, ThemeName
from rtchat.markdown import theme
from rtchat.markdown.render import MarkdownStream
from rtchat.markdown.theme import NOTICES, STYLES, SYNTAX, THEMES, StyleSheet, parse_style
from rtchat.ui.background import hinted_background
from rtchat.ui.console import ThemedConsole, make_console, print_text
from rtchat.ui.entry_style import class_of, entry_style, prompt_style
from rtchat.ui.live_view import LiveView

NAMES = get_args(ThemeName)
COLORS = {code for ten in (3, 4, 9, 10) for code in map(str, range(ten * 10, ten * 10 + 10))}
DIM, DEFAULTS = "2", {"39", "49"}
DOCUMENT = """# Title

## Heading

Some *emphasis*, `code`, <b>HTML</b> and [a link](https://example.com).

> quoted

- item

```python
@decorated
class A:
    def f(x):  # comment
        return "text" + 1 + len(x)
```

```html
<p>tag</p>
```

```diff
-old
+new
```

| a | b |
|---|---|
| 1 | 2 |
"""


def console(
    environ: dict[str, str] | None = None, styles: StyleSheet | None = None, *, colors: bool = True
) -> tuple[ThemedConsole, io.StringIO]:
    out = io.StringIO()
    environ = {"TERM": "xterm", **(environ or {})}
    return make_console(out, environ, is_terminal=True, colors=colors, styles=styles), out


def codes(text: str) -> set[str]:
    """The parameters of all SGR sequences."""
    parts = (part.partition("m")[0] for part in text.split("\x1b[")[1:])
    return {code for part in parts for code in part.split(";")}


def drawn(name: ThemeName, *, colors: bool = True) -> str:
    """A document, a warning and an error in a theme."""
    made, out = console(styles=StyleSheet(name), colors=colors)
    view = LiveView(made, made)
    view.show(TextArrived(DOCUMENT))
    view.show(Notice("warning", "careful"))
    view.show(ReplyOver(Status.COMPLETED, DOCUMENT, "m"))
    view.show(Notice("error", "broken", "fix it"))
    return out.getvalue()


def written(style: str, styles: StyleSheet, environ: dict[str, str] | None = None) -> set[str]:
    """The codes of a text in a style."""
    made, out = console(environ, styles)
    made.print("x", style=style)
    return codes(out.getvalue()) - {"0"}


# ------------------------------------------------------------------------------- built-in themes


def test_the_table_the_setting_and_the_command_have_the_same_themes() -> None:
    assert tuple(THEMES) == NAMES
    assert Settings.theme.parser.choices == NAMES


def test_every_style_that_is_used_is_in_the_table() -> None:
    constants = {
        value
        for name, value in vars(theme).items()
        if re.fullmatch("[A-Z]+", name) and isinstance(value, str)
    }
    assert constants | {*NOTICES.values()} <= STYLES.keys()
    words = {word for row in STYLES.values() for word in row.definition.split()}
    for replaced in THEMES.values():
        assert set(replaced) <= words | STYLES.keys()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("background", [None, "dark", "light"])
def test_every_style_is_defined_in_every_theme(
    name: ThemeName, background: theme.Background | None
) -> None:
    styles = StyleSheet(name, background=background)
    for style in (*STYLES, *SYNTAX.values()):
        definition = styles.definition(style)
        Style.parse(definition)
        assert not {"black", "bright_black", "white", "bright_white"} & set(definition.split())
        assert class_of(style).removeprefix("class:") in str(entry_style(styles).style_rules)


@pytest.mark.parametrize("name", NAMES)
def test_added_and_removed_lines_are_not_red_and_green(name: ThemeName) -> None:
    styles = StyleSheet(name)
    added, removed = styles.definition("diff-added"), styles.definition("diff-removed")
    assert added != removed
    assert "green" not in f"{added} {removed}"


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
def test_without_colours_no_theme_has_any(name: ThemeName) -> None:
    assert codes(drawn(name, colors=False)) & (COLORS - DEFAULTS) == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_theme_does_not_change_the_text(name: ThemeName) -> None:
    made, out = console(styles=StyleSheet(name))
    stream = MarkdownStream(made)
    stream.add(DOCUMENT, 60)
    lines = stream.finish(60)
    for line in lines:
        print_text(made, line)
    plain = "\n".join(line.plain for line in lines)
    assert re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).rstrip("\n") == plain


def test_a_style_of_several_words_is_replaced_word_by_word() -> None:
    assert StyleSheet("light").definition("bold italic code") == "bold italic blue"
    assert StyleSheet("high-contrast").definition("dim") == ""


def test_a_theme_also_applies_where_links_can_be_clicked() -> None:
    assert written("code", StyleSheet("mono"), {"TERM_PROGRAM": "vscode"}) == {"1"}


def test_the_theme_can_be_changed_and_shown() -> None:
    made, out = console()
    view = LiveView(made, made)
    view.show(ThemeChosen(None))
    assert "theme: auto" in out.getvalue()
    assert ", ".join(NAMES) in out.getvalue()
    view.show(ThemeChosen("mono"))
    view.show(ThemeChosen(None))
    assert out.getvalue().count("theme: mono") == 2
    assert made.styles.theme == "mono"
    assert "NO_COLOR" not in out.getvalue()


def test_a_theme_without_its_colours_says_why() -> None:
    made, out = console(colors=False)
    LiveView(made, made).show(ThemeChosen("light"))
    assert "theme: light · " in out.getvalue()
    assert "NO_COLOR" in out.getvalue()


def test_the_setting_has_an_option_and_a_variable() -> None:
    assert resolve({"theme": "light"}, {}, needs_key=False).theme == "light"
    assert resolve({}, {"RTCHAT_THEME": "mono"}, needs_key=False).theme == "mono"


@pytest.mark.parametrize(("name", "meant"), [("drak", "dark"), ("highcontrast", "high-contrast")])
def test_an_unknown_theme(name: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve({"theme": name}, {}, needs_key=False)
    assert ", ".join(NAMES) in caught.value.message
    assert meant in caught.value.hint


# ------------------------------------------------------------------------------------ auto


@pytest.mark.parametrize(
    ("value", "background"),
    [
        *[("15;0", "dark"), ("0;15", "light"), ("0;default;7", "light"), ("7;8", "dark")],
        *[("", None), ("15;default", None), ("0;16", None), ("0;-1", None), ("x", None)],
    ],
)
def test_a_variable_may_name_the_background(value: str, background: str | None) -> None:
    assert hinted_background({"COLORFGBG": value}) == background


def test_auto_follows_the_background() -> None:
    styles = StyleSheet()
    assert written("keyword", styles) == {"34"}
    styles.background = "dark"
    assert written("keyword", styles) == {"94"}
    styles.background = "light"
    assert written("code", styles) == {"34"}
    styles.theme = "mono"
    assert written("code", styles) == {"1"}
    made, out = console(styles=styles)
    view = LiveView(made, made)
    view.show(ThemeChosen("auto"))
    assert "light" in out.getvalue()


# ------------------------------------------------------------------------------ the user's styles


@pytest.mark.parametrize(
    ("text", "definition"),
    [
        ("bold magenta", "bold magenta"),
        ("#D7875f on 17", "#D7875f on color(17)"),
        ("on bright_blue underline", "on bright_blue underline"),
        ("208 italic strike reverse dim", "color(208) italic strike reverse dim"),
        ("default", "default"),
        ("none", ""),
    ],
)
def test_valid_definitions(text: str, definition: str) -> None:
    assert parse_style(text) == definition
    Style.parse(definition)


BAD = (
    *("", " ", "purpel", "red green", "on", "bold on", "on bold", "on red on blue", "256"),
    *("#12345", "link https://a.example", "not bold", "none bold", "color(3)", "²", "blink"),
)


@pytest.mark.parametrize("text", BAD)
def test_invalid_definitions(text: str) -> None:
    with pytest.raises(theme.StyleError):
        parse_style(text)


def config(folder: Path, text: str) -> Settings:
    file = folder / "config.toml"
    file.write_text(text)
    return resolve({}, {}, config=file, needs_key=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[styles]\nheading = 'bold'\ncode = 'bold gren'\n", ("line 3", "code", "gren", "green")),
        ("[styles]\nheadign = 'bold'\n", ("line 2", "headign", "heading")),
        ("[styles]\nmusic = 'bold'\n", ("line 2", "music", "heading, code")),
        ("[styles]\ncode = 3\n", ("line 2", "code", "3", "#rrggbb")),
        ("styles = 'bold'\n", ("line 1", "styles", "a table")),
        ("[profiles.p.styles]\ncode = 'x'\n", ("line 2", "code", "x")),
    ],
)
def test_an_error_names_the_line_the_style_and_what_is_expected(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(UsageError) as caught:
        config(tmp_path, text)
    for word in words:
        assert word in f"{caught.value.message}\n{caught.value.hint}"


def test_a_profile_adds_its_styles_to_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[styles]\ncode = 'red'\nlink = 'blue'\n[profiles.p.styles]\ncode = 'none'\n")
    settings = resolve({"profile": "p"}, {}, config=file, needs_key=False)
    assert settings.styles == {"code": "", "link": "blue"}
    assert read_config(file, required=True).common[Settings.styles]["code"] == "red"


def test_the_user_s_styles_take_precedence_over_the_theme() -> None:
    styles = StyleSheet("light", {"code": "red", "accent": "yellow"})
    assert written("code", styles) == {"31"}
    assert written("marker", styles) == {"33"}  # as it is drawn like the accent
    assert written("bold code", styles) == {"1", "31"}
    assert written("link", StyleSheet("mono", {"dim": "green"})) == {"32"}
    assert written("comment", StyleSheet(overrides={"comment": ""})) == set()


@pytest.mark.parametrize(
    ("environ", "color", "expected"),  # each colour once: Rich keeps the codes of a style
    [
        ({"COLORTERM": "truecolor"}, "#d7875f", {"38", "2", "215", "135", "95"}),
        ({"TERM": "xterm-256color"}, "#d78760", {"38", "5", "173"}),
        ({}, "#d78761", {"91"}),
    ],
)
def test_a_colour_is_the_nearest_that_the_terminal_has(
    environ: dict[str, str], color: str, expected: set[str]
) -> None:
    assert written("code", StyleSheet(overrides={"code": color}), environ) == expected
    assert written("heading", StyleSheet(overrides={"code": color}), environ) == {"1"}


@pytest.mark.parametrize(
    ("definition", "style"),
    [
        ("bold cyan", "fg:ansicyan bold"),
        ("white on bright_white", "fg:ansigray bg:ansiwhite"),
        ("bright_black", "fg:ansibrightblack"),
        ("color(3) underline", "fg:ansiyellow underline"),
        ("color(208) on #102030", "fg:#ff8700 bg:#102030"),
        ("default reverse strike italic", "fg:default italic reverse strike"),
        ("", ""),
    ],
)
def test_the_entry_has_the_same_styles(definition: str, style: str) -> None:
    assert prompt_style(definition) == style


@pytest.mark.parametrize("name", NAMES)
def test_a_suggestion_looks_different_from_typed_text(name: ThemeName) -> None:
    sheet = entry_style(StyleSheet(name))
    typed = sheet.get_attrs_for_style_str("")
    assert sheet.get_attrs_for_style_str("class:auto-suggestion") != typed
    chosen, other = (
        sheet.get_attrs_for_style_str(f"class:completion-menu.completion{end}")
        for end in (".current", "")
    )
    assert chosen != other


def test_the_entry_follows_the_theme() -> None:
    styles = StyleSheet()
    sheet = entry_style(styles)
    before = sheet.invalidation_hash()
    assert sheet.get_attrs_for_style_str("class:completion-menu.completion.current").color
    styles.theme = "mono"
    assert sheet.invalidation_hash() != before
    for part in ("completion-menu.completion.current", "paste", "rtchat-warning"):
        assert sheet.get_attrs_for_style_str(f"class:{part}").color in ("", "default")


# ------------------------------------------------------------------------- commands that only draw


def test_commands_without_a_connection_have_the_same_theme(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("theme = 'dark'\n[styles]\ncode = 'red'\n[profiles.p]\ntheme = 'light'\n")
    dotenv = tmp_path / ".env"
    dotenv.write_text("RTCHAT_PROFILE=p\nRTCHAT_TIMEOUT=never\n")  # of which nothing else is used

    def found(option: str | None, environ: dict[str, str], **files: Path) -> tuple[str, object]:
        settings = resolve_styles({"theme": option}, environ, **files)
        return settings.theme, settings.styles

    assert found(None, {}) == ("auto", {})
    assert found(None, {}, config=file) == ("dark", {"code": "red"})
    assert found(None, {}, config=file, dotenv=dotenv) == ("light", {"code": "red"})
    assert found(None, {"RTCHAT_THEME": "mono"}, config=file) == ("mono", {"code": "red"})
    assert found("auto", {"RTCHAT_CONFIG": str(file)}) == ("auto", {"code": "red"})
    with pytest.raises(UsageError):
        found("drak", {})
