"""Documents of every kind that models write, and what they look like on terminals.

`documents` has the Markdown, `rendered` the screens, which the tests compare. `python -m
tests.gallery` shows all documents in the terminal and writes them as one HTML page.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from rtchat.core.text import visible
from rtchat.markdown.render import Drawing
from rtchat.markdown.splitter import Lines, Piece
from rtchat.ui.console import print_text

_FOLDER = Path(__file__).parent
WIDTHS = (40, 80, 120)
NAMES = sorted(path.stem for path in (_FOLDER / "documents").glob("*.md"))


def document(name: str) -> str:
    """The Markdown of a document."""
    return (_FOLDER / "documents" / f"{name}.md").read_text()


def screen_file(name: str, width: int) -> Path:
    """The file with the screen of a document on a terminal of this width."""
    return _FOLDER / "rendered" / f"{name}.{width}.txt"


def print_document(console: Console, name: str) -> None:
    """Print a document as a reply."""
    lines = Lines()
    source = "".join(lines.feed(visible(document(name)))) + lines.rest
    print_text(console, Text("\n").join(Drawing(console).draw(Piece(source), console.width)))
