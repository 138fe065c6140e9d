"""Tells the Esc key from the beginning of an escape sequence."""

from __future__ import annotations

from prompt_toolkit.application import get_app
from prompt_toolkit.filters import Condition

ESCAPE_SECONDS = 0.1
"""How long the rest of an escape sequence may take to follow an Esc."""


@Condition
def is_single_key() -> bool:
    """Whether no other key arrived with this one: Esc, not Alt."""
    return not get_app().key_processor.input_queue
