"""How things look: Rich style names, from the 16 colours that the user's own palette defines.

One accent colour for what can be pressed or typed, dim for what is about a reply.
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
"""Token types of pygments; a type without a row looks like the nearest one above it."""
