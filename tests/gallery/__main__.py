"""Show the documents, or those that are named, in the terminal, and write them as an HTML page."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from rich.terminal_theme import MONOKAI

from rtchat.ui.console import ThemedConsole
from tests.gallery import NAMES, WIDTHS, print_document

_PAGE = """\
<!doctype html>
<meta charset="utf-8">
<title>rtchat: gallery</title>
<style>
  body { background: #0c0c0c; color: #d9d9d9; font-family: sans-serif }
  section { display: flex; gap: 2em; overflow-x: auto }
  pre { border: 1px solid #555; padding: 0.5em; flex: none; overflow: auto }
  a { color: inherit }
</style>
"""


def main(names: list[str]) -> None:
    """Show these documents."""
    terminal = ThemedConsole(highlight=False)
    sections = []
    for name in names:
        terminal.rule(name)
        print_document(terminal, name)
        screens = [f'<pre style="width: {width}ch">{_html(name, width)}</pre>' for width in WIDTHS]
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
    return console.export_html(theme=MONOKAI, inline_styles=True, code_format="{code}")


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(NAMES)
    if unknown:
        sys.exit(f"unknown document {min(unknown)!r} (known: {', '.join(NAMES)})")
    main(sys.argv[1:] or NAMES)
