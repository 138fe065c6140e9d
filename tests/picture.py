"""Draw the README's screenshot, `tests/picture.svg`: run `python -m tests.picture`.

The program runs in a terminal against a scripted server. The screenshot is taken while a reply
streams and the next question is typed.
"""

from __future__ import annotations

import tempfile
from html import escape
from itertools import groupby
from pathlib import Path

from pyte.screens import Char

from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

SCRIPT: dict[str, object] = {
    "rule": [
        {
            "match": "two sentences",
            "text": "A WebSocket is a single TCP connection over which **both sides** can send "
            "messages at any time. It begins as an HTTP request that asks to be upgraded.",
            "chunk": 5,
            "delay": 0.01,
            "usage": {"input": 57, "output": 48},
        },
        {
            "text": "Open one, then read what arrives:\n\n```python\n"
            "async with connect(url) as socket:\n    async for message in socket:\n"
            "        print(message)\n```\n\nThe loop ends when "
            "the connection does, and so you need not ask whether it is still there.",
            "chunk": 5,
            "delay": 0.08,
        },
    ]
}
COLORS = {
    "default": "#d0d4da", "cyan": "#56b6c2", "blue": "#61afef", "green": "#98c379",
    "magenta": "#c678dd", "brown": "#d19a66", "red": "#e06c75",
    "brightblack": "#7f848e",
}  # fmt: skip
WIDTH, HEIGHT = 8.4, 19


def svg(rows: list[list[Char]]) -> str:
    """The rows of a terminal as an SVG image."""
    width, height = len(rows[0]) * WIDTH + 24, len(rows) * HEIGHT + 24
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}">',
        '<rect width="100%" height="100%" rx="8" fill="#1d2025"/>',
        '<g font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" '
        'font-size="14">',
    ]
    for number, row in enumerate(rows):
        column = 0
        for style, cells in groupby(row, key=lambda cell: (cell.fg, cell.bold)):
            text = "".join(cell.data for cell in cells)
            places = [column + place for place, character in enumerate(text) if character != " "]
            if places:
                # A position for each character: monospaced fonts differ in width.
                xs = " ".join(f"{12 + place * WIDTH:.1f}" for place in places)
                y = 12 + (number + 0.75) * HEIGHT
                color, weight = COLORS.get(style[0], style[0]), "bold" if style[1] else "normal"
                lines.append(
                    f'<text x="{xs}" y="{y:.1f}" fill="{color}" font-weight="{weight}">'
                    f"{escape(text.replace(' ', ''))}</text>"
                )
            column += len(text)
    return "\n".join([*lines, "</g>", "</svg>", ""])


def main() -> None:
    """Run the session and draw the screen."""
    engine = ScriptEngine(read_script(SCRIPT))
    with tempfile.TemporaryDirectory() as home, background(lambda: run_server(engine)) as url:
        program = Program(Path(home))
        program.environ["RTCHAT_URL"] = url
        terminal = Terminal(program, [], {})
        terminal.shows("connected in", PROMPT)
        terminal.types("What is a WebSocket, in two sentences?\r")
        terminal.shows("48 out", PROMPT)
        terminal.types("And in Python?\r")
        terminal.shows(f"{PROMPT} And in Python?", "\u256d")
        terminal.types("And how do I")
        rows_shown = ("\u256d", "print(message)", "\u2502 The loop ends", "\u2570", "And how do I")
        shown = len(terminal.shows(*rows_shown))
        rows = [[terminal.screen.buffer[y][x] for x in range(80)] for y in range(shown)]
        Path(__file__).with_name("picture.svg").write_text(svg(rows), encoding="utf-8")
        terminal.types("\x03")
        terminal.shows("interrupted", PROMPT)
        terminal.types("\x03\x04")
        terminal.ends()


if __name__ == "__main__":
    main()
