"""Code blocks: the line above them, their numbers, languages, tabs and colours."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from rtchat.core import effects as fx
from rtchat.core.text import visible
from rtchat.core.values import Status, ThemeName, ToolCall
from rtchat.markdown.code_blocks import CodeBlock, code_blocks, last_block
from rtchat.markdown.highlight import Highlighter, file_extension
from rtchat.markdown.info_string import LANGUAGE_ALIASES, parse_info, pygments_languages
from rtchat.markdown.render import MarkdownStream
from rtchat.ui.console import make_console, print_text
from rtchat.ui.live_view import LiveView
from tests.chunks import in_chunks
from tests.documents import ANSWER, DOCUMENTS, RANDOM, cut
from tests.screen import Screen

_NUMBER = re.compile(r"── (?:.* · )?/copy (\d+)")


def rendered(deltas: list[str], width: int = 60, numbers_from: int | None = 0) -> list[Text]:
    """The lines of a streamed text."""
    stream = MarkdownStream(Screen(width).console, numbers_from)
    lines: list[Text] = []
    for delta in deltas:
        stream.add(visible(delta), width)
        lines += stream.settled(width) or []
        stream.preview(width, 10)
    return lines + stream.finish(width)


def shown(text: str, width: int = 60, numbers_from: int | None = 0) -> list[str]:
    """The lines of a text, without those that are empty."""
    return [line.plain for line in rendered([text], width, numbers_from) if line.plain]


def numbers(lines: list[str]) -> list[int]:
    """The numbers in the lines above code blocks."""
    return [int(found[1]) for line in lines if (found := _NUMBER.search(line))]


# ------------------------------------------------------------------------------ the line above


@in_chunks(8)
def test_the_numbers_are_those_of_the_copy_command(chunk: int) -> None:
    @seed(chunk)
    @settings(max_examples=12, suppress_health_check=list(HealthCheck), deadline=None)
    @given(
        text=st.one_of(DOCUMENTS, RANDOM),
        places=st.lists(st.integers(0, 2_000), max_size=30),
        width=st.integers(20, 120),
    )
    def check(text: str, places: list[int], width: int) -> None:
        lines = [line.plain for line in rendered(cut(text, places), width)]
        assert numbers(lines) == list(range(1, len(code_blocks(visible(text))) + 1))

    check()


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("```python\nx\n```", ["── python · /copy 1", "x"]),
        ("```\nx\n```", ["── /copy 1", "x"]),
        ("    x", ["── /copy 1", "x"]),
        ("```python:src/app.py\nx", ["── python · src/app.py · /copy 1", "x"]),
        ("~~~src/app.py\nx", ["── src/app.py · /copy 1", "x"]),
        ("```sh\n```", ["── sh · /copy 1"]),
        ("- ````c\n  x\n  ````", ["• ── c · /copy 1", "  x"]),
        ("> ```c\n> x\n\n    y", ["▌ ── c · /copy 1", "▌ x", "── /copy 2", "y"]),
        ("```made-up\x1b[2J\nx", ["── made-up␛ · /copy 1", "x"]),
    ],
)
def test_the_line_above_a_code_block(source: str, lines: list[str]) -> None:
    assert shown(source) == lines


def test_without_a_copy_command_there_are_no_numbers() -> None:
    text = "```c\nx\n```\n\n    y"
    assert shown(text, numbers_from=None) == ["── c", "x", "── code", "y"]


def test_a_long_name_is_shortened_and_the_number_is_not() -> None:
    label, _ = shown(f"```python title='{'a/' * 60}x.py'\nx", 40)
    assert label.startswith("── python · a/")
    assert label.endswith("/… · /copy 1")
    assert len(label) <= 40


def test_a_fence_of_ten_thousand_lines_has_one_line_above() -> None:
    lines = rendered(cut("```sh\n" + "ls\n" * 10_000, list(range(0, 30_000, 1_111))))
    assert len(lines) == 10_001
    assert sum(line.plain == "── sh · /copy 1" for line in lines) == 1


def test_the_numbers_go_on_after_a_tool_call_and_begin_anew_in_the_next_reply() -> None:
    screen = Screen()
    view = LiveView(screen.console, screen.console, banner=True)
    call = ToolCall("1", "look", "{}")
    view.show(fx.TextArrived("```\na\n```"))
    view.show(fx.ToolBegan(call))
    view.show(fx.TextArrived("```\nb\n```"))
    view.show(fx.ReplyOver(Status.COMPLETED, "", "m"))
    view.show(fx.TextArrived("    c"))
    view.show(fx.ReplyOver(Status.COMPLETED, "", "m"))
    assert numbers(screen.rows()) == [1, 2, 1]


# ---------------------------------------------------------------------------------- info strings


@pytest.mark.parametrize(
    ("info", "language", "file"),
    [
        ("", "", ""),
        ("Python", "python", ""),
        ("python:src/app.py", "python", "src/app.py"),
        ("python app.py", "python", "app.py"),
        ("makefile:Makefile", "makefile", "Makefile"),
        ('python title="my app.py" {1}', "python", "my app.py"),
        ("yaml filename=docker-compose.yml", "yaml", "docker-compose.yml"),
        ('js name="a\nb"', "js", "a b"),
        ("{.python}", "python", ""),
        ("{python}", "python", ""),
        ("{#id .python .numberLines}", "python", ""),
        ('{.python title="x.py"}', "python", "x.py"),
        ("{r, echo=FALSE}", "r", ""),
        ("js{1,3}", "js", ""),
        ("js {1,3}", "js", ""),
        ("rust,no_run", "rust", ""),
        ("language-js", "js", ""),
        ("ts showLineNumbers", "ts", ""),
        ("c++", "c++", ""),
        ("C#", "c#", ""),
        ("objective-c", "objective-c", ""),
        ("vb.net", "vb.net", ""),
        ("html+jinja", "html+jinja", ""),
        ("app.py", "py", "app.py"),
        ("12:15:src/app.tsx", "tsx", "src/app.tsx"),
        (".env", "env", ""),
        ("http://example.com/x", "http", ""),
        ("diff --git a/x", "diff", ""),
        *((mark, "", "") for mark in ("{", "{}", ":", "==")),
    ],
)
def test_the_language_and_the_file(info: str, language: str, file: str) -> None:
    assert parse_info(info) == (language, file)


@given(st.text() | st.text(alphabet="{}.:=/ '\"a\n1", max_size=30))
def test_any_info_string_is_read(info: str) -> None:
    found = parse_info(info)
    assert visible(found.language + found.file) == found.language + found.file
    assert "\n" not in found.language + found.file
    assert " " not in found.language


def test_aliases_are_only_for_names_that_pygments_does_not_know() -> None:
    assert not pygments_languages() & LANGUAGE_ALIASES.keys()
    assert pygments_languages() >= {*LANGUAGE_ALIASES.values()}


@pytest.mark.parametrize(
    "language",
    [
        *("jsonc", "json5", "py3", "golang", "c#", "C++", "f#", "shell", "console", "terminal"),
        *("sh-session", "text", "plaintext", "txt", "dotenv", "env", "tsx", "jsx", "vue", "proto"),
        *("tf", "hcl", "ps1", "bat", "dockerfile", "makefile", "assembly", "latex", "vb", "http"),
        "objective-c",
    ],
)
def test_names_that_models_write_are_known(language: str) -> None:
    assert LANGUAGE_ALIASES.get(language.lower(), language.lower()) in pygments_languages()


def test_a_block_is_found_by_each_name_of_its_language() -> None:
    block = CodeBlock("jsonc", "{}\n", "a.json")
    text = "```jsonc title=a.json\n{}\n```\n\n```made-up\n```\n"
    assert [last_block(text, name) for name in ("json", "jsonc", "JSONL")] == [block] * 3
    assert last_block(text, "json5") is None


@pytest.mark.parametrize(
    ("block", "extension"),
    [
        (CodeBlock("python", ""), ".py"),
        (CodeBlock("hpp", ""), ".hpp"),
        (CodeBlock("text", "", "src/notes.rst"), ".rst"),
        (CodeBlock("make", "", "Makefile"), ".mak"),
        (CodeBlock("", "", "a.b/c"), ".txt"),
        (CodeBlock("made-up", ""), ".txt"),
    ],
)
def test_the_extension_of_a_file_with_the_code(block: CodeBlock, extension: str) -> None:
    assert block.extension == extension
    assert file_extension(block.language).startswith(".")


# ------------------------------------------------------------------------------------------- tabs


def printed(text: str, width: int = 40, term: str = "xterm", *, is_terminal: bool = True) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=is_terminal,
        color_system=None,
        _environ={"TERM": term},
    )
    stream = MarkdownStream(console)
    stream.add(text, width)
    for line in stream.finish(width):
        print_text(console, line)
    return out.getvalue()


def test_tabs_of_code_are_kept() -> None:
    assert printed("```make\nall:\n\tls\t-l\n```").endswith("\nall:\n\tls\t-l\n")
    assert printed("\tif x:\n\t\ty").endswith("\nif x:\n\ty\n")


def test_a_tab_beyond_the_right_margin_becomes_spaces() -> None:
    line = printed(f"```\n\ta\t{'x' * 20}\tb\tc\n```").splitlines()[-1]
    assert line == f"\ta\t{'x' * 20}    b       c"


def test_in_a_pipe_all_tabs_are_kept() -> None:
    line = f"\ta\t{'x' * 90}\tb"
    assert printed(f"```\n{line}\n```", is_terminal=False).endswith(f"\n{line}\n")


def test_a_dumb_terminal_gets_spaces() -> None:
    assert printed("```\na\tb\n```", term="dumb").endswith("\na       b\n")


@pytest.mark.parametrize(("before", "indent"), [("> ", "▌ "), ("- ", "  ")])
def test_tabs_after_other_characters_are_as_wide_as_in_the_code(before: str, indent: str) -> None:
    source = f"{before}```\n{before.replace('-', ' ')}a\tb\n"
    assert shown(source)[1] == f"{indent}a       b"


def test_the_panel_stays_in_place_if_a_line_with_tabs_is_printed() -> None:
    screen = Screen(40, 12)
    view = LiveView(screen.console, screen.console)
    view.show(fx.QuestionAsked("?", "m"))
    view.show(fx.TextArrived("```\n\ta\n"))
    view.tick()
    view.show(fx.TextArrived("\tb\tc\n"))
    view.tick()
    assert [row for row in screen.visible() if row][:3] == [
        "── code",
        " " * 8 + "a",
        f"{' ' * 8}b       c",
    ]
    assert "\t" in screen.output


# ---------------------------------------------------------------------------------------- colours


def no_color(text: str) -> list[str]:
    out = io.StringIO()
    console = make_console(out, {"TERM": "xterm"}, is_terminal=True, colors=False)
    stream = MarkdownStream(console)
    stream.add(text, 60)
    return [line.plain for line in stream.finish(60)]


@pytest.mark.parametrize("source", ["`a`", "``a ` b``", "`` ` ``", "# The `x`", "**`x`**"])
def test_without_colours_inline_code_is_marked_as_in_the_source(source: str) -> None:
    assert no_color(source) == [source.strip("#* ")]


@pytest.mark.parametrize("theme", ["mono", "high-contrast"])
def test_a_theme_without_colours_marks_inline_code_too(theme: ThemeName) -> None:
    console = make_console(io.StringIO(), {"TERM": "xterm"}, is_terminal=True, colors=True)
    console.styles.theme = theme
    stream = MarkdownStream(console)
    stream.add("a `b`", 60)
    assert stream.finish(60)[0].plain == "a `b`"


def test_in_colour_inline_code_has_no_backticks() -> None:
    assert shown("a `b`") == ["a b"]


def test_the_lines_of_a_diff_have_different_styles() -> None:
    text = "```patch\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n c\n```"
    *_, head, old, new, hunk, removed, added, same = rendered([text])
    styles = [{str(span.style) for span in line.spans} for line in (head, hunk, removed, added)]
    assert len({frozenset(each) for each in styles}) == 4
    assert all(styles)
    assert [{str(span.style) for span in line.spans} for line in (old, new)] == [styles[0]] * 2
    assert not {str(span.style) for span in same.spans} & {*styles[2], *styles[3]}


@pytest.mark.parametrize(
    ("line", "style"),
    [
        ("--- /dev/null", "diff-file"),
        ("+++ src/app.py\t2026-11-30", "diff-file"),
        ("--- DROP TABLE x;", "diff-removed"),
        ("+++ i;", "diff-added"),
        ("---", ""),
    ],
)
def test_lines_of_a_diff_that_name_files(line: str, style: str) -> None:
    *_, shown = rendered([f"```diff\n{line}\n```"])
    assert "".join(str(span.style) for span in shown.spans) == style


def test_a_name_that_pygments_does_not_know_has_no_colours() -> None:
    label, code = rendered(["```mermaid\ngraph TD\n```"])
    assert (label.plain, code.plain, code.spans) == ("── mermaid · /copy 1", "graph TD", [])


def test_a_typical_answer_has_its_blocks_in_order() -> None:
    languages = [block.language for block in code_blocks(ANSWER)]
    labels = [line for line in shown(ANSWER) if "/copy" in line]
    assert [f"── {name} · /copy {i}" for i, name in enumerate(languages, 1)] == [
        label.strip() for label in labels
    ]


_SOURCES = [
    'a: 1\nb: # c\n  - &x !t {y: [1, 2]}\n  - d: |\n      text\n\n    e: "x\n      y"',
    "def f(x):\n    return <<~EOS + \"a#{x}b\" + 'c'\n  text\n  EOS\nend",
    "<a href='x'>&amp;</a>\n<?php echo $x; ?>\n{% if x %}{{ y|z }}{% endif %}",
    "int main(void) { /* a\n b */ return 0; } // x\n}\n)]",
]


@pytest.mark.full
@pytest.mark.parametrize("source", _SOURCES)
def test_no_language_loses_code_or_fails(source: str) -> None:
    for language in pygments_languages():
        at_once = Highlighter(language).lines(source)
        assert [line.plain for line in at_once] == source.split("\n"), language
        highlighter = Highlighter(language)
        for line in source.split("\n"):
            assert [part.plain for part in highlighter.lines(line)] == [line], language


def test_yaml_has_colours_line_by_line() -> None:
    highlighter = Highlighter("yaml")
    lines = [line for source in ("a:", "  b: 1 # c") for line in highlighter.lines(source)]
    assert [[str(span.style) for span in line.spans] for line in lines] == [
        ["tag"],
        ["tag", "comment"],
    ]
