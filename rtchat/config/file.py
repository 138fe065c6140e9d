"""The config file: what it sets, its profiles, and those that come with rtchat.

Every complaint names the file and the line. A profile of the file is laid over the one of the same
name in `profiles.toml`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias, cast

from rtchat.config.parsers import PARSERS, parse, read_text
from rtchat.core.dotted_keys import merged
from rtchat.core.errors import UsageError
from rtchat.core.values import JsonObject
from rtchat.system.folders import why_unreachable

OPTION_ONLY = frozenset({"quiet", "verbose", "trace_audio"})
"""Settings that no file has."""
KEYS = frozenset(PARSERS) - OPTION_ONLY
MERGED = ("session", "response", "prices")
"""Settings that are tables: one outranks another entry by entry."""

Given: TypeAlias = tuple[object, str]
"""A value, and where it comes from."""
Table: TypeAlias = dict[str, Given]

_BUILT_IN = Path(__file__).with_name("profiles.toml")


@dataclass(frozen=True)
class Config:
    """What a config file says."""

    common: Table
    profiles: Mapping[str, Table]

    def profile(self, name: str) -> Table:
        """The settings of a profile, by whoever defines it."""
        known = all_profiles(self)
        if name in known:
            return known[name]
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "rtchat config profiles lists them"
        raise UsageError(f"no profile {name!r}", hint=hint)


def all_profiles(config: Config) -> dict[str, Table]:
    """Every profile there is."""
    out = {
        name: {
            key: (parse(key, entry, name), f"profile {name} (built in)")
            for key, entry in table.items()
        }
        for name, table in tomllib.loads(_BUILT_IN.read_text(encoding="utf-8")).items()
    }
    return out | {name: layered(out.get(name, {}), own) for name, own in config.profiles.items()}


def layered(below: Table, above: Table) -> Table:
    """Both, where `above` outranks `below`."""
    out = {**below, **above}
    for key in MERGED:
        if key in below and key in above:
            (low, low_origin), (high, high_origin) = below[key], above[key]
            both = merged(cast("JsonObject", low), cast("JsonObject", high))
            out[key] = (both, f"{low_origin}, {high_origin}")
    return out


def read_config(path: Path | None, *, required: bool) -> Config:
    """The config file at a path, which may be missing unless it is `required`."""
    if path is None or not (required or _is_there(path)):
        return Config({}, {})
    text = read_text(path, str(path))
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML ({error})", hint="repair or remove it") from error
    profiles = data.pop("profiles", {})
    file = _File(path, text)
    if not isinstance(profiles, dict):
        raise UsageError(
            f"{file.place('', 'profiles')}: profiles are tables", hint="[profiles.NAME]"
        )
    for name, table in profiles.items():
        if not isinstance(table, dict):
            where = file.place("profiles", name)
            raise UsageError(f"{where}: a profile is a table", hint=f"[profiles.{name}]")
    own = {name: file.read(table, f"profiles.{name}") for name, table in profiles.items()}
    return Config(file.read(data, ""), own)


def _is_there(path: Path) -> bool:
    return not why_unreachable(path) and path.exists()


@dataclass(frozen=True)
class _File:
    path: Path
    text: str

    def read(self, table: Mapping[str, object], name: str) -> Table:
        _, _, profile = name.partition(".")
        out: Table = {}
        for key, entry in table.items():
            place = self.place(name, key)
            if key not in KEYS:
                known = ", ".join(sorted(KEYS))
                raise UsageError(f"{place}: no setting {key!r}", hint=f"the settings are {known}")
            origin = f"profile {profile} in {place}" if profile else place
            if key in MERGED and isinstance(entry, dict):
                inner = f"{name}.{key}".lstrip(".")
                parts = (parse(key, {k: v}, self.place(inner, k)) for k, v in entry.items())
                value: JsonObject = {}
                for part in parts:
                    value = merged(value, cast("JsonObject", part))
                out[key] = (value, origin)
            else:
                out[key] = (parse(key, entry, place), origin)
        return out

    def place(self, table: str, key: str) -> str:
        """The file and the line where a key of a table stands."""
        current = ""
        for number, line in enumerate(self.text.split("\n"), start=1):
            if header := re.match(r"\s*\[+\s*([^]]*?)\s*\]", line):
                current = header[1].replace('"', "")
                if f"{current}.".startswith(f"{table}.{key}.".lstrip(".")):
                    return f"{self.path} line {number}"
            elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
                return f"{self.path} line {number}"
        parent, _, name = table.rpartition(".")  # else it is inside of something on one line
        return self.place(parent, name) if table else str(self.path)
