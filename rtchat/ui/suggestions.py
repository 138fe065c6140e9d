"""Which command was meant by a word that is not one: by its meaning, or by its spelling."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rtchat.core.suggestions import closest

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
        "attach": "file files image add upload read include picture photo attachment attachments",
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


def suggestion(word: str, names: Collection[str]) -> str:
    """The command that was probably meant by a word; empty if there is none."""
    known = {word: name for word, name in SYNONYMS.items() if name in names}
    return closest(word, names, known)
