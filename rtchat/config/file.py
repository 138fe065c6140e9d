"""The config file: its settings, its profiles, and the built-in profiles.

Every error names the file and the line. A profile of the file is merged into the one of the same
name in `profiles.toml`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from rtchat.config.parsers import read_text
from rtchat.config.settings import Settings, rows
from rtchat.config.table import Setting, Values
from rtchat.core.dotted_keys import merged
from rtchat.core.errors import UsageError
from rtchat.core.suggestions import closest, did_you_mean
from rtchat.core.values import JsonObject
from rtchat.system.folders import why_unreachable

_PROFILES = {
    **dict.fromkeys(("grok", "x.ai", "x-ai"), "xai"),
    **dict.fromkeys(("qwen", "alibaba", "aliyun", "bailian"), "dashscope"),
    **dict.fromkeys(("microsoft", "azure-openai"), "azure"),
    **dict.fromkeys(("entra", "azure-ad"), "azure-entra"),
    **dict.fromkeys(("huggingface", "hugging-face", "speech-to-speech"), "hf"),
    **dict.fromkeys(("chatgpt", "gpt", "oai"), "openai"),
}
"""Other names of the vendors of built-in profiles."""
_BUILT_IN = Path(__file__).with_name("profiles.toml")


@dataclass(frozen=True)
class Config:
    """The contents of a config file."""

    common: Values
    profiles: Mapping[str, Values]

    def profile(self, name: str) -> Values:
        """The settings of a profile of the file, or of a built-in one."""
        known = all_profiles(self)
        if name in known:
            return known[name]
        near = closest(name, known, _PROFILES)
        hint = did_you_mean([near], "run `rtchat config profiles` to list the profiles")
        raise UsageError(f"unknown profile {name!r}", hint=hint)


def all_profiles(config: Config) -> dict[str, Values]:
    """All profiles, built-in ones and those of the file."""
    keys = file_keys(Settings)
    out: dict[str, Values] = {}
    for name, table in tomllib.loads(_BUILT_IN.read_text(encoding="utf-8")).items():
        out[name] = Values()
        for key, entry in table.items():
            out[name].set(keys[key], keys[key].parse(entry, key), f"profile {name} (built in)")
    return out | {name: own.over(out.get(name, Values())) for name, own in config.profiles.items()}


def file_keys(schema: type[Settings]) -> dict[str, Setting[Any]]:
    """The settings that a config file can set, by their names there."""
    return {row.name: row for row in rows(schema) if row.in_file}


def read_config(path: Path | None, *, required: bool, schema: type[Settings] = Settings) -> Config:
    """The config file at a path, which may be missing unless it is `required`."""
    if path is None or not (required or _exists(path)):
        return Config(Values(), {})
    file = TomlFile.open(path, file_keys(schema))
    data = dict(file.data)
    profiles = data.pop("profiles", {})
    if not isinstance(profiles, dict):
        raise UsageError(
            f"{file.place('', 'profiles')}: profiles must be tables",
            hint="write each as [profiles.NAME]",
        )
    for name, table in profiles.items():
        if not isinstance(table, dict):
            where = file.place("profiles", name)
            raise UsageError(
                f"{where}: a profile must be a table", hint=f"write it as [profiles.{name}]"
            )
    own = {name: file.read(table, f"profiles.{name}") for name, table in profiles.items()}
    return Config(file.read(data, ""), own)


def _exists(path: Path) -> bool:
    return not why_unreachable(path) and path.exists()


_LONG_STRING = re.compile(r'("""|\'\'\').*?\1', re.DOTALL)


@dataclass(frozen=True)
class TomlFile:
    """A TOML file whose keys are settings."""

    path: Path
    text: str
    """Its text, without the contents of strings of several lines."""
    keys: Mapping[str, Setting[Any]]
    data: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path, keys: Mapping[str, Setting[Any]]) -> TomlFile:
        """Read a file. Raises UsageError if it is not TOML."""
        text = read_text(path, str(path))
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(
                f"{path} is not TOML ({error})", hint="repair or remove the file"
            ) from error
        text = _LONG_STRING.sub(lambda found: '""' + "\n" * found[0].count("\n"), text)
        return cls(path, text, keys, data)

    def read(self, table: Mapping[str, object], name: str) -> Values:
        """The settings in one of its tables; `name` is empty for the top level."""
        _, _, profile = name.partition(".")
        out = Values()
        for key, entry in table.items():
            place = self.place(name, key)
            if key not in self.keys:
                raise self._unknown(key, place)
            setting = self.keys[key]
            origin = f"profile {profile} in {place}" if profile else place
            if setting.is_merged and isinstance(entry, dict):
                value: JsonObject = {}
                for inner, part in entry.items():  # one by one, so that an error names its line
                    line = self.place(f"{name}.{key}".lstrip("."), inner)
                    value = merged(value, setting.parse({inner: part}, key, line))
                out.set(setting, value, origin)
            else:
                out.set(setting, setting.parse(entry, key, place), origin)
        return out

    def _unknown(self, key: str, place: str) -> UsageError:
        from rtchat.config.meanings import setting_hint

        known = f"use one of {', '.join(sorted(self.keys))}"
        hint = setting_hint(key, self.keys) or known
        return UsageError(f"{place}: unknown setting {key!r}", hint=hint)

    def place(self, table: str, key: str) -> str:
        """The file and the line where a key of a table is."""
        current = ""
        for number, line in enumerate(self.text.split("\n"), start=1):
            if header := re.match(r"\s*\[+\s*([^]]*?)\s*\]", line):
                current = header[1].replace('"', "")
                if f"{current}.".startswith(f"{table}.{key}.".lstrip(".")):
                    return f"{self.path} line {number}"
            elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
                return f"{self.path} line {number}"
        parent, _, name = table.rpartition(".")  # otherwise it is inside a value on one line
        return self.place(parent, name) if table else str(self.path)


# ------------------------------------------------------------------------------------ a new file

_START = """\
# Settings of rtchat. To change a setting, remove the # before its name.
# Options, the environment and .env take precedence over this file.
# Do not put keys here: use rtchat keys set.
"""
_END = """
# A profile is a named set of settings: rtchat --profile work. A table with the name of a built-in
# profile is merged into that profile; rtchat config profiles lists all of them.
#[profiles.work]
#model = "gpt-realtime-2.1"
"""


def template(schema: type[Settings] = Settings) -> str:
    """A config file with every setting as a comment."""
    out = [_START]
    for group, members in groupby(file_keys(schema).values(), key=lambda row: row.group):
        out.append(f"\n# {group.title} options\n\n")
        out += [f"# {row.help}\n#{row.name} = {toml(row.example)}\n" for row in members]
    return "".join([*out, _END])


def toml(value: object) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(key)} = {toml(entry)}" for key, entry in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)
