"""Prompt templates: settings and the text of a question, in a file of the user's config folder.

A template is `prompts/NAME.toml` in the user's config folder. It is never read from another folder,
because it can set anything that the config file can set, except the server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rtchat.config import parsers
from rtchat.config.file import TomlFile
from rtchat.config.prompt_template import PromptTemplate
from rtchat.config.settings import Settings, rows
from rtchat.config.table import Setting
from rtchat.core.errors import UsageError
from rtchat.core.suggestions import closest, did_you_mean

NAME = r"[A-Za-z0-9][\w.-]*"
"""The names that a template may have."""
START = """\
# A prompt template of rtchat. Without {input} in the text, the input follows after a blank line.
#text = '''
#Explain this to a beginner:
#
#{input}
#'''
#system = "Answer briefly."
#model = "gpt-realtime-2.1"
#session = { reasoning = { effort = "low" } }
"""
"""The contents of a new template."""
_TEXT = "text"


def template_names(folder: Path) -> list[str]:
    """The names of all templates in a folder, which may be missing."""
    try:
        return sorted(path.stem for path in folder.iterdir() if path.suffix == ".toml")
    except OSError:
        return []


def template_path(folder: Path, name: str) -> Path:
    """The file of a template. Raises UsageError if there is none."""
    names = template_names(folder)
    if name in names:
        return folder / f"{name}.toml"
    hint = did_you_mean([closest(name, names)], "run `rtchat prompts list` to list the templates")
    raise UsageError(f"unknown template {name!r}", hint=hint)


def read_template(folder: Path, name: str) -> PromptTemplate:
    """A template. Raises UsageError if there is none, or if a line of it is not valid."""
    path = template_path(folder, name)
    file = TomlFile.open(path, _keys())
    data = dict(file.data)
    text = data.pop(_TEXT, "")
    if not isinstance(text, str):
        raise UsageError(f"{file.place('', _TEXT)}: invalid value for text (expected text)")
    for key in data:
        if key not in file.keys and key in _all_keys():
            place = file.place("", key)
            hint = "put it in a profile, and use --profile with --template"
            raise UsageError(f"{place}: a template cannot set {key}", hint=hint)
    located = {key: _located(file.keys.get(key), entry, folder) for key, entry in data.items()}
    return PromptTemplate(name, text, file.read(located, ""))


def _all_keys() -> dict[str, Setting[Any]]:
    return {row.name: row for row in rows() if row.in_file}


def _keys() -> dict[str, Setting[Any]]:
    """The settings that a template can set: all but those of the connection."""
    connection = Settings.model.group
    keys = {name: row for name, row in _all_keys().items() if row.group is not connection}
    return keys | {row.name: row for row in (Settings.model, *_ONLY_HERE)}


_ONLY_HERE: tuple[Setting[Any], ...] = (
    Settings.output_schema,
    Settings.extract,
    Settings.extract_lang,
)
"""Settings that a template can set, but the config file cannot."""


def _located(row: Setting[Any] | None, entry: object, folder: Path) -> object:
    """A value in which the names of files are relative to the folder of templates."""
    if row is None:
        return entry
    if row.parser is parsers.instructions and isinstance(entry, str) and entry[:1] == "@":
        return f"@{folder / Path(entry[1:]).expanduser()}" if entry[1:] else entry
    if row.parser not in (parsers.path, parsers.paths):
        return entry
    if isinstance(entry, list):
        return [_in_folder(folder, each) for each in entry]
    return _in_folder(folder, entry)


def _in_folder(folder: Path, entry: object) -> object:
    return str(folder / entry) if isinstance(entry, str) and entry else entry
