"""Read the info string of a fence: the language, as models write it, and the name of a file."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import PurePath
from typing import NamedTuple

from rtchat.core.text import on_a_line

_MAX_LENGTH = 500
"""Characters of an info string that are read."""
_FILE_OPTIONS = ("title", "file", "filename", "name", "path")
_OPTION = re.compile(
    rf"""(?<![\w-])(?:{"|".join(_FILE_OPTIONS)})\s*=\s*(?:"([^"]+)"|'([^']+)'|([^\s"',}}]+))""",
    re.IGNORECASE,
)
_ATTRIBUTES = re.compile(r"\{([^}]*)\}")
_LINE_RANGE = re.compile(r"\d+:\d+:(?=\S)")
"""Matches the lines of a file in `12:15:src/app.ts`."""
_LANGUAGE = re.compile(r"[^\s:,;={}()\[\]]+")
_FILE = re.compile(r"(?:[\w.@~+-]*/)*[\w.@+-]*\.[A-Za-z]\w*")
"""Matches the name of a file with an extension, perhaps with folders."""
_PREFIXES = ("language-", "lang-")

_ALIASES: dict[str, tuple[str, ...]] = {
    "apacheconf": ("htaccess",),
    "batch": ("cmd",),
    "console": ("terminal", "sh-session", "bash-session"),
    "cpp": ("cc", "cxx", "hpp", "hh"),
    "c": ("h",),
    "diff": ("patch", "git-diff"),
    "elisp": ("el",),
    "fsharp": ("fs",),
    "graphql": ("gql",),
    "groovy": ("gradle", "jenkinsfile"),
    "handlebars": ("hbs",),
    "ini": ("conf",),
    "javascript": ("node", "nodejs", "mjs", "cjs"),
    "jinja": ("jinja2",),
    "json": ("jsonc", "jsonl", "ndjson", "geojson", "ipynb"),
    "jsx": ("javascriptreact",),
    "kotlin": ("kt", "kts"),
    "make": ("mk",),
    "nasm": ("assembly", "x86asm"),
    "ocaml": ("ml",),
    "postgres": ("pgsql",),
    "properties": ("dotenv", "env"),
    "pycon": ("python-repl",),
    "python": ("ipython", "jupyter", "pyspark"),
    "scala": ("sbt",),
    "solidity": ("sol",),
    "sql": ("plsql", "sqlite", "bigquery", "snowflake"),
    "systemd": ("service",),
    "tex": ("math", "katex"),
    "text": ("plaintext", "plain", "txt"),
    "tsql": ("mssql",),
    "tsx": ("typescriptreact",),
    "vb.net": ("vb",),
    "vim": ("viml",),
    "xml": ("svg",),
    "yaml": ("compose", "docker-compose", "helm", "k8s", "kubernetes", "ansible"),
}
LANGUAGE_ALIASES = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}
"""Names of languages that Pygments does not know, with a name that it knows for each."""


class Info(NamedTuple):
    """The contents of an info string. Both may be empty."""

    language: str
    """In lower case."""
    file: str
    """The name of a file, perhaps with folders, as written. It is on one line."""


@lru_cache(maxsize=256)
def parse_info(info: str) -> Info:
    """Read an info string: `python`, `python:app.py`, `{.python title="app.py"}`, `src/app.py`."""
    info = info[:_MAX_LENGTH]
    option = _OPTION.search(info)
    file = next(filter(None, option.groups()), "") if option else ""
    words = info.strip()
    if words.startswith("{"):
        inner = _ATTRIBUTES.match(words)
        words = inner[1] if inner else words[1:]
        words = next((word for word in words.split() if word[0] == "."), words)
    words = words.strip().removeprefix(".")
    for prefix in _PREFIXES:
        words = words.removeprefix(prefix)
    if lines := _LINE_RANGE.match(words):
        words = words[lines.end() :]
    first, _, rest = words.partition(" ")
    if _FILE.fullmatch(first) and not _is_known(first.lower()):
        return Info(PurePath(first).suffix[1:].lower(), on_a_line(file or first))
    found = _LANGUAGE.match(words)
    language = found[0].lower() if found else ""
    if not file and found:
        after = words[found.end() :]
        has_colon = after.startswith(":") and not after.startswith("://")
        second = "".join((after[1:] if has_colon else rest).split()[:1])
        if has_colon or _FILE.fullmatch(second):
            file = second
    return Info(on_a_line(language), on_a_line(file))


def lexer_name(language: str) -> str:
    """The name by which Pygments knows a language, in lower case. If it does not know the language,
    the name itself."""
    name = language.lower()
    return LANGUAGE_ALIASES.get(name, name)


@cache
def pygments_languages() -> frozenset[str]:
    """All names and aliases of languages that Pygments knows."""
    from pygments.lexers import get_all_lexers  # type: ignore[import-untyped] # has no types

    return frozenset(name for row in get_all_lexers(plugins=False) for name in row[1])


def _is_known(language: str) -> bool:
    return lexer_name(language) in pygments_languages()
