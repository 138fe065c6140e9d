"""Rich styles, in the 16 colours of the terminal's own palette.

There is one accent colour; everything about a reply is dim.
"""

from __future__ import annotations

ACCENT = "cyan"
DIM = "dim"
FRAME = "dim"
NOTICES = {"detail": "dim", "info": "dim", "warning": "yellow", "error": "red"}

HEADING = "bold"
TITLE = "bold underline"
CODE = "cyan"
LINK = "dim"
MATCH = "bold yellow"
MARKER = "cyan"
QUOTE = "dim"
HTML = "dim"

SYNTAX = {
    "Token.Comment": "dim",
    "Token.Keyword": "blue",
    "Token.Literal.Number": "magenta",
    "Token.Literal.String": "green",
    "Token.Name.Builtin": "cyan",
    "Token.Name.Class": "bold",
    "Token.Name.Decorator": "magenta",
    "Token.Name.Function": "bold",
    "Token.Name.Tag": "blue",
    "Token.Generic.Deleted": "red",
    "Token.Generic.Inserted": "green",
}
"""Styles of Pygments token types. Types not listed have the style of their nearest ancestor."""
