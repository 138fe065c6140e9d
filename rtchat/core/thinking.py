"""Separate the model's thoughts in a reply from its answer.

Many models write what they think at the beginning of a reply, between tags. Tags anywhere else are
part of the answer, with one exception: if the opening tag is in the prompt that the server gives
the model, the reply begins within a thought. A closing tag on a line of its own shows this.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from rtchat.core.values import value

_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<reasoning>": "</reasoning>",
    "[THINK]": "[/THINK]",
}
"""The opening tags and their closing tags. Most models use the first pair, Mistral's the last."""
_FENCES = ("```", "~~~")
_SPACE = " \t\r\n"
_LINE_STARTS = (*_TAGS, *_TAGS.values(), *_FENCES)
"""What matters at the beginning of a line of an answer."""
_MAX_START = max(map(len, _LINE_STARTS))
_MAX_SPACE = 1_000
"""Characters of white space before or after a tag. More would keep back the answer."""
_SLICE = 1_000
"""Characters of a whole reply to read at once. Reading more copies them too often."""
_LINE_END = re.compile(r"\n(?=[ \t\r]*(?:[<\[`~]|\Z))")
"""The end of a line before one that may begin with one of them."""


class Kind(Enum):
    """What a piece of a reply is."""

    THOUGHT = auto()
    ANSWER = auto()
    TAG = auto()
    """A tag of a thought, with the white space around it."""
    UNOPENED_TAG = auto()
    """A closing tag without an opening one: what seemed to be the answer before it is a thought."""


class Piece(NamedTuple):
    """A piece of a reply. All pieces together are the whole text."""

    kind: Kind
    text: str


class ThoughtReader:
    """Reads one text that arrives in deltas. The kind of each character does not depend on how the
    text is divided into deltas."""

    def __init__(self) -> None:
        self._read = self._read_start
        """Reads the next piece. Returns False if it needs more text."""
        self._held = ""
        """Text that has arrived and is not in a piece yet."""
        self._closing_tag = ""
        """The closing tag of the current thought."""
        self._has_tag = False
        """Whether a tag precedes the held text."""
        self._fence = ""
        """The fence of the code block that the answer is in; empty if it is in none."""
        self._may_be_thought = True
        """Whether the answer so far has no opening tag, so that a closing tag would make it a
        thought."""
        self._is_within_line = False
        """Whether the beginning of the current line of the answer has been read."""
        self._pieces: list[tuple[Kind, list[str]]] = []

    def feed(self, text: str) -> list[Piece]:
        """Add text. Returns the pieces that are now known."""
        if self._is_within_line and "\n" not in text:  # the most frequent case
            return [Piece(Kind.ANSWER, text)]
        self._held += text
        while self._held and self._read():
            pass
        return self._take()

    def finish(self) -> list[Piece]:
        """End the text. Returns the last pieces."""
        held, self._held = self._held, ""
        if self._read == self._read_thought:
            self._add(Kind.THOUGHT, held)
        elif self._read == self._read_start:
            is_space = self._has_tag and not held.strip(_SPACE)
            self._add(Kind.TAG if is_space else Kind.ANSWER, held)
        else:
            is_end = not self._is_within_line and held.strip(_SPACE) in _TAGS.values()
            self._add(Kind.UNOPENED_TAG if is_end and self._can_end_thought else Kind.ANSWER, held)
        return self._take()

    @property
    def _can_end_thought(self) -> bool:
        return self._may_be_thought and not self._fence

    def _add(self, kind: Kind, text: str) -> None:
        if text and self._pieces and self._pieces[-1][0] is kind:
            self._pieces[-1][1].append(text)
        elif text:
            self._pieces.append((kind, [text]))

    def _cut(self, kind: Kind, end: int) -> None:
        """Add the text held so far up to `end` as a piece."""
        text, self._held = self._held[:end], self._held[end:]
        self._add(kind, text)

    def _take(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return [Piece(kind, "".join(texts)) for kind, texts in pieces]

    def _read_start(self) -> bool:
        """Read an opening tag before the answer, if there is one."""
        body = self._held.lstrip(_SPACE)
        at = len(self._held) - len(body)
        if at <= _MAX_SPACE:
            tag = next((tag for tag in _TAGS if body.startswith(tag)), None)
            if tag is not None:
                self._cut(Kind.TAG, at + len(tag))
                self._closing_tag, self._read, self._has_tag = _TAGS[tag], self._read_thought, True
                return True
            if any(tag.startswith(body) for tag in _TAGS):
                return False
        at = min(at, _MAX_SPACE)
        if self._has_tag:  # the indentation of the first line belongs to the answer
            self._cut(Kind.TAG, self._held.rfind("\n", 0, at) + 1)
        self._read = self._read_answer
        return True

    def _read_thought(self) -> bool:
        end = self._held.find(self._closing_tag)
        if end >= 0:
            self._cut(Kind.THOUGHT, end)
            self._cut(Kind.TAG, len(self._closing_tag))
            self._read = self._read_start
            return True
        may_begin = range(min(len(self._held), len(self._closing_tag) - 1), 0, -1)
        kept = next((n for n in may_begin if self._held.endswith(self._closing_tag[:n])), 0)
        self._cut(Kind.THOUGHT, len(self._held) - kept)
        return False

    def _read_answer(self) -> bool:
        if self._is_within_line:
            found = _LINE_END.search(self._held)
            self._is_within_line = found is None
            self._cut(Kind.ANSWER, found.end() if found else len(self._held))
            return True
        line = self._held[: _MAX_SPACE + _MAX_START]
        start = line.lstrip(" \t\r")
        at = len(line) - len(start)
        if at > _MAX_SPACE:
            self._is_within_line = True
            return True
        start = start[:_MAX_START]
        if any(mark.startswith(start) and mark != start for mark in _LINE_STARTS):
            return False
        tag = next((tag for tag in _TAGS.values() if start.startswith(tag)), None)
        if tag is not None and self._can_end_thought:
            after = self._held[at + len(tag) :]
            rest = after.lstrip(" \t\r")
            is_near = len(after) - len(rest) <= _MAX_SPACE
            if not rest and is_near:
                return False
            if rest[:1] == "\n" and is_near:
                self._cut(Kind.UNOPENED_TAG, len(self._held) - len(rest) + 1)
                self._has_tag, self._read = True, self._read_start
                return True
        self._may_be_thought = self._may_be_thought and not start.startswith(tuple(_TAGS))
        if start[:3] in _FENCES and self._fence in ("", start[:3]):
            self._fence = "" if self._fence else start[:3]
        self._is_within_line = True
        return True


@value
class Reply:
    """A reply without tags: its thoughts and its answer."""

    thought: str
    """All thoughts, without white space around them; empty if there are none."""
    answer: str
    """The rest; if there are no thoughts, exactly the text of the reply."""


def split(text: str) -> Reply:
    """Separate the thoughts in a whole reply from the answer."""
    if not any(tag in text for tags in _TAGS.items() for tag in tags):
        return Reply("", text)
    reader = ThoughtReader()
    slices = (text[at : at + _SLICE] for at in range(0, len(text), _SLICE))
    pieces = [piece for part in slices for piece in reader.feed(part)] + reader.finish()
    thoughts, answer = [""], ""
    for kind, piece in pieces:
        if kind is Kind.THOUGHT:
            thoughts[-1] += piece
        elif kind is Kind.ANSWER:
            answer += piece
        elif kind is Kind.TAG:
            thoughts.append("")
        else:
            thoughts += [answer, ""]
            answer = ""
    return Reply("\n\n".join(filter(None, (each.strip() for each in thoughts))), answer)


def answer_of(text: str) -> str:
    """The answer in a reply; the whole reply if it consists only of thoughts."""
    return split(text).answer or text
