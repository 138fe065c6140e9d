"""Shell completion: what the word at the cursor can become.

The scripts of `rtchat completion` call `rtchat __complete SHELL …` for each completion. Nothing is
ever written or sent.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import typer

from rtchat.cli import command_line, command_names
from rtchat.cli.environment import config_file, data_dir, environment_of, stdout
from rtchat.cli.help import summary
from rtchat.core.errors import RtchatError
from rtchat.core.text import on_a_line

if TYPE_CHECKING:
    from rtchat.config.settings import Settings

Paths: TypeAlias = Literal["", "files", "folders"]

MAX_CONVERSATIONS = 50
"""How many of the latest conversations are offered."""
_MENU_TYPES = ("37", "42")
"""Values of COMP_TYPE with which bash inserts the candidates in turn, instead of listing them."""


class Candidate(NamedTuple):
    """A word that can be inserted, and what it means."""

    value: str
    help: str = ""


class Candidates(NamedTuple):
    """The words that can be inserted, and whether also paths can."""

    words: list[Candidate]
    paths: Paths = ""


def complete(shell: str = "", *arguments: str) -> int:
    """Print the candidates for a shell.

    For bash the arguments are the line up to the cursor, COMP_WORDBREAKS and COMP_TYPE; for zsh and
    fish they are the words up to the cursor, without the name of the program.
    """
    if shell == "bash":
        line, breaks, kind = (*arguments, "", "", "")[:3]
        _, *words = split_line(line) or [""]
        found = candidates(words)
        lines = list(_for_bash(found, words[-1] if words else "", breaks, kind))
    else:
        found = candidates(list(arguments))
        separator = ":" if shell == "zsh" else "\t"
        escape = _escape_colons if shell == "zsh" else str
        lines = [found.paths or "words"]
        for word in found.words:
            lines.append(separator.join(filter(None, (escape(word.value), on_a_line(word.help)))))
    stdout().write("".join(f"{line}\n" for line in lines))
    return 0


def split_line(line: str) -> list[str]:
    """The words of a command line up to the cursor, as a shell splits it. The last one is empty
    after a space. A quotation mark may be open."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    is_open = False
    try:
        words.extend(lexer)
    except ValueError:  # an open quotation mark, or a final backslash
        words.append(lexer.token)
        is_open = True
    return words if is_open or not line[-1:].isspace() else [*words, ""]


def _for_bash(found: Candidates, word: str, breaks: str, kind: str) -> Iterator[str]:
    """The lines for bash, which completes only what follows the last break character, and shows no
    descriptions of its own. Paths are completed by bash itself if there are no lines."""
    start = max((word.rfind(each) + 1 for each in "=:" if each in breaks), default=0)
    values = [each.value[start:] for each in found.words]
    if len(values) == 1 or kind in _MENU_TYPES:
        yield from (shlex.quote(value) if " " in value else value for value in values)
        return
    width = max(map(len, values), default=0)
    for value, (_, help) in zip(values, found.words, strict=True):
        yield f"{value:<{width}}  ({on_a_line(help)})" if help else value


def _escape_colons(value: str) -> str:
    return value.replace("\\", "\\\\").replace(":", "\\:")


# ---------------------------------------------------------------------------------- the candidates


def candidates(words: Sequence[str], schema: type[Settings] | None = None) -> Candidates:
    """What the last of the words can become. The default of `schema` is `Settings`."""
    *before, word = words or [""]
    names = command_names()
    if before[:1] == ["help"]:
        return candidates([*before[1:], word], schema)
    if not before and not word.startswith("-"):
        texts = {**names, "help": "Show the help of a command."}
        return _matching(((name, summary(text)) for name, text in texts.items()), word)
    if before and before[0] not in names and not before[0].startswith("-"):
        return Candidates([])  # a question
    is_named = bool(before) and before[0] in names
    name, *rest = before if is_named else ["talk", *before]
    command: Any = typer.main.get_command(command_line(name, schema)).commands[name]  # type: ignore[attr-defined] # a group
    while hasattr(command, "commands"):
        if not rest:
            named = ((each, summary(inner.help or "")) for each, inner in command.commands.items())
            return _matching(named, word)
        first, *rest = rest
        if first not in command.commands:
            return Candidates([])
        command = command.commands[first]
    return _for_command(command, rest, word)


def _for_command(command: Any, before: Sequence[str], word: str) -> Candidates:
    """What a word can become after the other words of a command."""
    context = command.context_class(command)
    parameters = command.get_params(context)
    options = {name: each for each in parameters for name in each.opts if name[:1] == "-"}
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    used: list[Any] = []
    given = 0
    pending = None
    is_open = True
    for each in before:
        option = options.get(each.partition("=")[0]) if is_open else None
        if pending is not None:
            pending = None
        elif each == "--" and is_open:
            is_open = False
        elif option is not None:
            used.append(option)
            pending = None if option.is_flag or "=" in each else option
        else:
            given += 1
    if pending is not None:
        return _values(pending, context, word)
    name, sign, start = word.partition("=")
    if is_open and sign and name in options:
        found = _values(options[name], context, start)
        return Candidates([each._replace(value=f"{name}={each.value}") for each in found.words])
    if is_open and (word.startswith("-") or not arguments):
        named = (
            (name, each.help or "")
            for name, each in options.items()
            if not each.hidden and (each.multiple or each not in used)
        )
        return _matching(named, word)
    index = min(given, len(arguments) - 1)
    if index < 0 or (given > index and arguments[index].nargs != -1):
        return Candidates([])
    return _values(arguments[index], context, word)


def _matching(named: Any, word: str) -> Candidates:
    return Candidates([Candidate(name, text) for name, text in named if name.startswith(word)])


# -------------------------------------------------------------------------------------- the values


def _values(parameter: Any, context: Any, word: str) -> Candidates:
    """What the value of an option or an argument can become."""
    own = [each for each in parameter.shell_complete(context, word) if each.type == "plain"]
    if own:
        return Candidates([Candidate(each.value, each.help or "") for each in own])
    words: list[Candidate] = []
    paths: Paths = ""
    for token in parameter.make_metavar(ctx=context).strip("[].").removesuffix("...").split("|"):
        token = token.strip("[].'")
        if token in ("FILE", "TRACE", "WHEEL"):
            paths = "files"
        elif token == "FOLDER":
            paths = paths or "folders"
        elif token == "@FILE":
            words += _files_after_at(word)
        elif find := _SOURCES.get(parameter.name if token == "NAME" else token):
            with suppress(RtchatError, OSError):
                words += find(word)
        elif token == token.lower():
            words.append(Candidate(token))
        elif ":" in token and token[0].islower():  # such as script:FILE
            words.append(Candidate(f"{token.partition(':')[0]}:"))
    found = {each.value: each for each in reversed(words) if each.value.startswith(word)}
    return Candidates(list(found.values())[::-1], paths)


def _profiles(_word: str) -> Iterator[Candidate]:
    from rtchat.client.endpoint import shown_url
    from rtchat.config.file import all_profiles, read_config
    from rtchat.config.settings import Settings

    for name, values in all_profiles(read_config(_config(), required=False)).items():
        yield Candidate(name, shown_url(values[Settings.url]))


def _voices(_word: str) -> Iterator[Candidate]:
    from rtchat.wire.options import VOICES

    yield from map(Candidate, VOICES)


def _config() -> Path:
    from rtchat.config.variables import CONFIG

    named = os.environ.get(CONFIG.name)
    return Path(named) if named else config_file()


def _models(_word: str) -> Iterator[Candidate]:
    """The known models, those of the config file, and those that were used."""
    from rtchat.app.history import latest
    from rtchat.config.file import read_config
    from rtchat.config.settings import Settings
    from rtchat.core.models import MODELS

    config = read_config(_config(), required=False)
    tables = [config.common, *config.profiles.values()]
    own = [values[Settings.model] for values in tables if Settings.model in values]
    used = [each.model for each in latest(environment_of(), MAX_CONVERSATIONS) if each.model]
    yield from map(Candidate, dict.fromkeys([*own, *MODELS, *used]))


def _conversations(_word: str) -> Iterator[Candidate]:
    from rtchat.app.history import latest

    for each in latest(environment_of(), MAX_CONVERSATIONS):
        yield Candidate(str(each.id), each.title)
        if each.name:
            yield Candidate(each.name, each.title)


def _key_profiles(_word: str) -> Iterator[Candidate]:
    from rtchat.config.keys import KeyStore

    with suppress(RtchatError):
        yield from (Candidate(name, "has a stored key") for name in KeyStore(data_dir()).names())
    yield from _profiles(_word)


def _options(word: str) -> Iterator[Candidate]:
    """The options for --set, with `=`, and then their values."""
    from rtchat.wire.options import RESPONSE_OPTIONS, SESSION_OPTIONS, split, words

    key, sign, _ = word.partition("=")
    if sign:
        yield from (Candidate(f"{key}={value}") for value in words(*split(key)))
        return
    yield from (Candidate(f"{name}=", text) for name, text in SESSION_OPTIONS.items())
    yield from (Candidate(f"response.{name}=", text) for name, text in RESPONSE_OPTIONS.items())


def _files_after_at(word: str) -> Iterator[Candidate]:
    """The files for a value that begins with @."""
    if not word.startswith("@"):
        return
    folder, _, start = word[1:].rpartition("/")
    place = Path(f"{folder}/" if word[1:2] == "/" else folder or ".").expanduser()
    prefix = f"{folder}/" if "/" in word else ""
    with suppress(OSError, RuntimeError):
        for path in sorted(place.iterdir()):
            is_shown = path.name[:1] != "." or start[:1] == "."
            if path.name.startswith(start) and is_shown:
                yield Candidate(f"@{prefix}{path.name}{'/' if path.is_dir() else ''}")


_SOURCES: dict[str, Callable[[str], Iterator[Candidate]]] = {
    "model": _models,
    "voice_name": _voices,
    "profile": _profiles,
    "PROFILE": _key_profiles,
    "ID": _conversations,
    "KEY=VALUE": _options,
}
"""The values of an option or argument by its placeholder, or for NAME by its own name."""
