"""Word errors between a text and its transcript.

Case, punctuation and the spelling of numbers are ignored: "Platform 12" equals "platform twelve".
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

_SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ROUND = [str(number) for number in range(20, 100, 10)]
_NUMBERS = {word: number for number, word in enumerate(_SMALL)}
_NUMBERS |= {word: (index + 2) * 10 for index, word in enumerate(_TENS)}
_SPELLED = dict(
    pair.split()
    for pair in (
        *("dr doctor", "mr mister", "mrs missus", "ok okay", "percent %", "kilometres kilometers"),
        *("second 2", "third 3", "fourth 4", "fifth 5", "sixth 6", "eighteenth 18"),
    )
)


def words(text: str) -> list[str]:
    """The words in a normalized spelling."""
    text = re.sub(r"\$([\d.]+)", r"\1 dollars", text.lower())
    text = re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", text)
    found: list[str] = []
    for word in re.findall(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)*|%", text):
        number = _NUMBERS.get(word)
        if number is None:
            found.append(_SPELLED.get(word, word))
        elif number < 10 and found and found[-1] in _ROUND:
            found[-1] = str(int(found[-1]) + number)
        else:
            found.append(str(number))
    return found


def errors(said: str, heard: str) -> list[str]:
    """The word errors (substitutions, deletions, insertions). May list more than the minimum."""
    before, after = words(said), words(heard)
    found = []
    for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        for index in range(max(b - a, d - c)):
            old = before[a + index] if a + index < b else "-"
            new = after[c + index] if c + index < d else "-"
            found.append(f"{old} > {new}")
    return found
