"""Finds the name that was probably meant by an unknown one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def closest(word: str, known: Iterable[str], meanings: Mapping[str, str] | None = None) -> str:
    """The name that was probably meant; empty if there is none.

    It is the entry of `meanings` for the word, or else the known name with the closest spelling, or
    else the only known name that begins with the word. Case, hyphens and underscores make no
    difference.
    """
    key = _normal(word)
    if meanings and key in meanings:
        return meanings[key]
    names = list(known)
    distances = {name: distance(key, _normal(name), _allowed(key)) for name in names}
    near = [name for name in names if distances[name] <= _allowed(key)]
    if near:
        return min(near, key=lambda name: distances[name])
    longer = [name for name in names if len(key) > 2 and _normal(name).startswith(key)]
    return longer[0] if len(longer) == 1 else ""


def did_you_mean(names: Iterable[str], otherwise: str = "") -> str:
    """A hint that offers these names, or the other hint if there are none."""
    *others, last = [name for name in names if name] or [""]
    if not last:
        return otherwise
    return f"did you mean {', '.join(others)} or {last}?" if others else f"did you mean {last}?"


def distance(a: str, b: str, limit: int) -> int:
    """How many insertions, deletions, replacements and swaps of neighbouring characters make one
    word of the other. A distance greater than `limit` may be returned as `limit + 1`."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        two_before, before, row = before, row, [i]
        for j, right in enumerate(b, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, two_before[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _allowed(word: str) -> int:
    """How many mistakes a word may contain."""
    return (len(word) > 2) + (len(word) > 5) + (len(word) > 11)


def _normal(word: str) -> str:
    return word.lower().replace("_", "-")
