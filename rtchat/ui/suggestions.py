"""Which command was meant by a word that is not one: by its meaning, or by its spelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

SYNONYMS: Mapping[str, str] = {
    word: name
    for name, words in {
        "help": "commands man manual usage-help keys shortcuts h",
        "exit": "stop bye goodbye close end leave logout kill",
        "new": "reset restart fresh begin clean start",
        "resume": "continue load open reopen restore sessions conversations chats",
        "history": "log transcript previous past messages",
        "name": "rename title label call",
        "compact": "summarize summarise compress shorten condense summary",
        "retry": "again regenerate regen redo repeat rerun",
        "edit": "change rewrite modify fix correct editor",
        "undo": "back rewind revert rollback remove delete pop",
        "fork": "branch split duplicate clone checkpoint",
        "copy": "yank clipboard cp pbcopy",
        "save": "write store dump output",
        "export": "html markdown share download",
        "model": "engine llm switch use",
        "system": "instructions prompt persona role preprompt",
        "set": "option options config configure setting settings temperature param preferences",
        "reasoning": "think thinking effort",
        "tools": "functions tool function mcp plugins",
        "t": "template templates prompts",
        "attach": "file files image add upload read include picture photo",
        "detach": "unattach drop unload discard",
        "voice": "speak speech audio talk say tts",
        "mute": "mic microphone unmute silence listen record",
        "usage": "tokens token cost costs price money spend limits billing stats",
        "status": "info connection about session whoami version state",
        "trace": "debug recording",
        "events": "frames wire stream",
        "raw": "json send event",
        "theme": "color colour colors colours dark light style",
    }.items()
    for word in words.split()
}
"""The command that a word means. A word that is itself a command or an alias is not listed."""
_MIN_PREFIX = 2


def suggestion(word: str, names: Sequence[str]) -> str | None:
    """The name that a word most likely means; None if no name is near."""
    word = word.lower()
    if (meant := SYNONYMS.get(word)) in names:
        return meant
    if word in names:
        return word
    allowed = 1 if len(word) < 6 else 2
    distance, nearest = min((_distance(word, name), name) for name in names)
    if distance <= allowed and distance < len(nearest):
        return nearest
    longer = [name for name in names if name.startswith(word) and len(word) >= _MIN_PREFIX]
    shorter = [name for name in names if word.startswith(name) and len(name) > _MIN_PREFIX]
    return next(iter(longer + shorter), None)


def _distance(one: str, other: str) -> int:
    """How many insertions, deletions, replacements and swaps of neighbours turn one word into the
    other (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        older, before, row = before, row, [i]
        for j, wanted in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and (letter, one[i - 2]) == (other[j - 2], wanted):
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]
