"""Parses the value of a setting, given as text or as TOML.

A `Parser` also defines how its option looks on the command line. It raises `ExpectedError`, or
`PartError` for a part of a table; `Setting.parse` adds where the value is.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

from rtchat.core.dotted_keys import flat
from rtchat.core.errors import UsageError
from rtchat.core.suggestions import closest, did_you_mean
from rtchat.system.files import unreadable

if TYPE_CHECKING:
    from rtchat.core.models import Rate

Headers: TypeAlias = tuple[tuple[str, str], ...]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Word = TypeVar("Word", bound=str)

MAX_FILE_SIZE = 10_000_000
"""Characters; a longer text file is refused."""


class ExpectedError(ValueError):
    """A value is not valid. The text says what is expected."""


class PartError(UsageError):
    """A part of a table is not valid."""


class Parser(Generic[T_co]):
    """Reads the values of a kind of setting."""

    def __init__(
        self,
        read: Callable[[object], T_co],
        metavar: str,
        *,
        choices: tuple[str, ...] = (),
        is_switch: bool = False,
        is_list: bool = False,
    ) -> None:
        self.read = read
        self.metavar = metavar
        """The placeholder for the value in help texts."""
        self.choices = choices
        """All valid values, if there are only a few; used for shell completion."""
        self.is_switch = is_switch
        """Whether its option takes no value."""
        self.is_list = is_list
        """Whether its option can be repeated."""


def read_text(path: Path, what: str) -> str:
    """A whole text file; `what` is its name for the user."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            content = file.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise unreadable(what, error) from error
    except UnicodeDecodeError as error:
        hint = "save it as UTF-8, or use another file"
        raise UsageError(f"{what} is not UTF-8 text", hint=hint) from error
    if len(content) > MAX_FILE_SIZE:
        raise UsageError(f"{what} is too large", hint="use a smaller file")
    return content


def header_value(content: str, origin: str) -> str:
    """The value of an HTTP header, without surrounding white space."""
    content = content.strip()
    if not (content.isascii() and content.isprintable()):
        hint = "set it again without line breaks or quotation marks"
        raise UsageError(
            f"{origin} contains characters that are not allowed in an HTTP header", hint=hint
        )
    return content


# ------------------------------------------------------------------------------------- text, words


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ExpectedError("text")
    return value


def _path(value: object) -> Path:
    return Path(_text(value))


def _list_of(read: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    def read_list(value: object) -> tuple[T, ...]:
        return tuple(map(read, value if isinstance(value, list | tuple) else (value,)))

    return read_list


text = Parser(_text, "TEXT")
texts = Parser(_list_of(_text), "TEXT", is_list=True)
path = Parser(_path, "FILE")
paths = Parser(_list_of(_path), "FILE", is_list=True)


def choice(*words: Word) -> Parser[Word]:
    """One of these words."""

    def read(value: object) -> Word:
        for word in words:
            if word == value:
                return word
        raise ExpectedError(f"one of {', '.join(words)}")

    return Parser(read, "|".join(words), choices=words)


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("on", "off"):
        raise ExpectedError("on or off" if isinstance(value, str) else "true or false")
    return value == "on"


switch = Parser(_switch, "on|off", choices=("on", "off"), is_switch=True)


def _instructions(value: object) -> str:
    content = _text(value)
    if not content.startswith("@"):
        return content
    if content == "@":
        raise ExpectedError("text, or @FILE")
    return read_text(Path(os.path.expanduser(content[1:])), content[1:])


instructions = Parser(_instructions, "TEXT|@FILE")


def _language(value: object) -> str:
    code = _text(value).lower()
    if not re.fullmatch(r"[a-z]{2,3}", code):
        raise ExpectedError("a language code of two or three letters, such as en or de")
    return code


language = Parser(_language, "CODE")


# ----------------------------------------------------------------------------------------- numbers


def _number(value: object) -> float:
    """A number, also if given as text; otherwise NaN."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _positive(what: str) -> Callable[[object], float]:
    def read(value: object) -> float:
        number = _number(value)
        if not 0 < number < 1e6:
            raise ExpectedError(f"a number of {what}, more than 0 and less than a million")
        return number

    return read


def _duration(value: object) -> float:
    number = _number(value)
    if not 0 <= number < 1e6:
        raise ExpectedError("a number of seconds, 0 or more and less than a million")
    return number


def _speed(value: object) -> float:
    number = _number(value)
    if not 0.25 <= number <= 1.5:
        raise ExpectedError("a number, 0.25 to 1.5")
    return number


def _whole(what: str, limit: float, minimum: int = 1) -> Callable[[object], int]:
    def read(value: object) -> int:
        number = _number(value)
        if not (minimum <= number < limit and number.is_integer()):
            raise ExpectedError(what)
        return int(number)

    return read


seconds = Parser(_positive("seconds"), "S")
duration = Parser(_duration, "S")
"""Like `seconds`, but 0 is allowed."""
dollars = Parser(_positive("US dollars"), "USD")
count = Parser(_whole("a whole number, 1 or more", 1e6), "N")
port = Parser(_whole("a port, 0 to 65535", 65536, minimum=0), "PORT")
sample_rate = Parser(_whole("a sample rate in Hz, 8000 to 48000", 48_001, 8000), "RATE")
speed = Parser(_speed, "X")
size = Parser(_whole("a number of bytes, 1 or more", 1e12), "N")
token_count = Parser(_whole("a number of tokens, 1 or more", 1e9), "N")
_read_tokens = _whole('a number of tokens, 1 or more, or "inf"', 1e9)


def _tokens(value: object) -> int | Literal["inf"]:
    return "inf" if value == "inf" else _read_tokens(value)


tokens = Parser(_tokens, "N|inf")


# ----------------------------------------------------------------------- headers, keys, commands

_HEADER_NAME = r"[\w!#$%&'*+.^`|~-]+"


def _headers(value: object) -> Headers:
    if isinstance(value, dict):
        pairs = [(str(name), content) for name, content in value.items()]
    elif isinstance(value, list | tuple):
        parts = [str(line).partition(":") for line in value]
        pairs = [(name.strip(), content.strip()) for name, _, content in parts]
    else:
        pairs = [("", value)]
    for name, content in pairs:
        is_value = isinstance(content, str) and content and content.isprintable()
        if not re.fullmatch(_HEADER_NAME, name) or not is_value:
            raise ExpectedError("'Name: value'")
    return tuple(pairs)


headers = Parser(_headers, "'Name: value'", is_list=True)


def _key_header(value: object) -> str:
    name, _, content = _text(value).partition(":")
    if not re.fullmatch(_HEADER_NAME, name) or content.count("{key}") != 1:
        raise ExpectedError("'Name: {key}', or 'Authorization: Scheme {key}'")
    return _text(value)


key_header = Parser(_key_header, "'Name: {key}'")


def _variables(value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(name, str) and re.fullmatch(r"[A-Za-z_]\w*", name) for name in names):
        raise ExpectedError("the name of a variable, or a list of such names")
    return tuple(names)


variables = Parser(_variables, "NAME", is_list=True)


def _command(value: object) -> tuple[str, ...]:
    import shlex

    line = _text(value)
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ExpectedError(f"a command; this has {str(error).lower()}") from None
    if not (words and words[0]):
        raise ExpectedError("a command")
    return tuple(words)


command = Parser(_command, "COMMAND")


# ------------------------------------------------------------------------------------------ tables


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ExpectedError("a table")
    return value


def _prices(value: object) -> dict[str, Rate]:
    return {model: _rate(entry) for model, entry in _table(value).items()}


def _rate(value: object) -> Rate:
    from rtchat.core.models import Rate

    names = [field.name for field in fields(Rate)]
    if not isinstance(value, dict) or value.keys() - set(names):
        raise ExpectedError(f"for each model a table of {', '.join(names)}")
    numbers = {name: _number(price) for name, price in value.items()}
    if numbers.keys() == {"minute"}:
        numbers |= {"input": 0.0, "output": 0.0}
    if not numbers.keys() >= {"input", "output"}:
        raise ExpectedError("for each model at least input and output, or minute")
    if not all(0 <= number < 1e9 for number in numbers.values()):
        raise ExpectedError("prices in US dollars per million tokens or per minute")
    return Rate(**{"cached": numbers["input"], **numbers})


prices = Parser(_prices, "TABLE")


def _aliases(value: object) -> dict[str, str]:
    table = _table(value)
    if not all(isinstance(model, str) and model for model in table.values()):
        raise ExpectedError("for each alias the name of a model")
    return {alias: str(model) for alias, model in table.items()}


aliases = Parser(_aliases, "TABLE")


def _options(scope: Literal["session", "response"]) -> Callable[[object], dict[str, object]]:
    def read(value: object) -> dict[str, object]:
        from rtchat.wire import options

        entries = options.completed(_table(value))
        for key in entries.keys() & options.AT_THE_START.keys() if scope == "session" else ():
            hint = f"use {options.AT_THE_START[key]}"
            raise PartError(f"the option {key} cannot be set", hint=hint)
        try:
            options.check(scope, entries, only=", ".join(key for key, _ in flat(entries)))
        except options.OptionError as error:
            raise PartError(error.message, hint=error.hint) from None
        return entries

    return read


def _styles(value: object) -> dict[str, str]:
    return {name: _style(name, entry) for name, entry in _table(value).items()}


def _style(name: str, value: object) -> str:
    from rtchat.markdown import theme

    if name not in theme.STYLES:
        otherwise = f"use one of {', '.join(theme.STYLES)}"
        hint = did_you_mean([closest(name, theme.STYLES)], otherwise)
        raise PartError(f"unknown style {name!r}", hint=hint)
    try:
        return theme.parse_style(value)
    except theme.StyleError as error:
        raise PartError(f"invalid value {value!r} for {name}", hint=str(error)) from None


styles = Parser(_styles, "TABLE")
session = Parser(_options("session"), "TABLE")
response = Parser(_options("response"), "TABLE")
