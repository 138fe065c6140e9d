"""Show the documents, or those that are named, in the terminal, and write them as an HTML page."""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path

from rich.cells import cell_len
from rich.terminal_theme import SVG_EXPORT_THEME

from rtchat.ui.console import ThemedConsole
from tests.gallery import NAMES, WIDTHS, print_document

_PAGE = """\
<!doctype html>
<meta charset="utf-8">
<title>rtchat: gallery</title>
<style>
  body { background: #0c0c0c; color: #d9d9d9; font-family: sans-serif }
  section { display: flex; gap: 2em; overflow-x: auto }
  pre { border: 1px solid #555; padding: 0.5em; flex: none; line-height: 1.2;
    white-space: pre-wrap; word-break: break-all; line-break: anywhere }
  i { display: inline-block; width: 2ch; font-style: inherit; text-decoration: inherit }
  a { color: inherit }
</style>
"""
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def main(names: list[str]) -> None:
    """Show these documents."""
    terminal = ThemedConsole(highlight=False)
    sections = []
    for name in names:
        terminal.rule(name)
        print_document(terminal, name)
        screens = [
            f'<pre style="width: {width}.5ch">{_html(name, width)}</pre>' for width in WIDTHS
        ]
        sections.append(f"<h2>{name}</h2>\n<section>{''.join(screens)}</section>\n")
    page = Path(tempfile.gettempdir()) / "rtchat-gallery.html"
    page.write_text(_PAGE + "".join(sections))
    terminal.print(f"written to {page}", markup=False, soft_wrap=True)


def _html(name: str, width: int) -> str:
    """The screen of a document on a terminal of this width."""
    console = ThemedConsole(
        file=io.StringIO(),
        record=True,
        width=width,
        force_terminal=True,
        color_system="standard",
        legacy_windows=False,
    )
    print_document(console, name)
    page = console.export_html(theme=SVG_EXPORT_THEME, inline_styles=True, code_format="{code}")
    return _NOT_ASCII.sub(_in_cells, page)


def _in_cells(found: re.Match[str]) -> str:
    """A character, in an element that takes two cells if the character does."""
    return f"<i>{found[0]}</i>" if cell_len(found[0]) == 2 else found[0]


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(NAMES)
    if unknown:
        sys.exit(f"unknown document {min(unknown)!r} (known: {', '.join(NAMES)})")
    main(sys.argv[1:] or NAMES)
