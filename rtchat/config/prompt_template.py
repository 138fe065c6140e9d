"""A prompt template as it is used; `templates` reads it from a file."""

from __future__ import annotations

from dataclasses import dataclass

from rtchat.config.table import Values
from rtchat.core.errors import UsageError

INPUT = "{input}"
"""What is replaced by the input. All other braces remain as they are."""


@dataclass(frozen=True)
class PromptTemplate:
    """A template: the text of a question, empty if there is none, and settings."""

    name: str
    text: str
    values: Values

    def fill(self, given: str) -> str:
        """The question for an input.

        Raises:
            UsageError: there is no input, but the template requires one.
        """
        if INPUT in self.text and not given.strip():
            hint = f'write `rtchat once -t {self.name} "some text"`, or pipe it in'
            raise UsageError(f"the template {self.name} requires an input", hint=hint)
        text = self.text.rstrip("\n")
        if INPUT in text:
            return text.replace(INPUT, given)
        return "\n\n".join(part for part in (text, given) if part.strip())
