"""One value of a setting, from text or from TOML: `parse` gives it as the setting wants it.

Every complaint names the place where the value stands, and shows none that may hold a key. Not
here: where values come from, and which of them counts (`settings`).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

from rtchat.core.dotted_keys import flat
from rtchat.core.errors import UsageError

Headers: TypeAlias = tuple[tuple[str, str], ...]


def parse(key: str, value: object, place: str) -> object:
    """A value as its setting wants it, whether it came as text or as a TOML value."""
    try:
        return PARSERS[key](value)
    except (ValueError, TypeError) as error:
        shown = "this" if key in _CONFIDENTIAL else repr(value)
        raise UsageError(f"{place}: {shown} is not valid", hint=str(error)) from None


_CONFIDENTIAL = frozenset({"headers", "url", "api_key_command", "session", "response", "prices"})
"""Settings that may hold a key, or are too long to be shown."""


_LONGEST = 10_000_000
"""Characters; a longer text file is refused."""


def read_text(path: Path, what: str) -> str:
    """A whole file of text; `what` it is to the user."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_LONGEST + 1)
    except OSError as error:
        raise UsageError(
            f"{what} cannot be read ({error.strerror})", hint="repair or remove it"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} is not UTF-8 text", hint="repair or remove it") from error
    if len(text) > _LONGEST:
        raise UsageError(f"{what} is too large", hint="name another file")
    return text


def header_value(text: str, origin: str) -> str:
    """What an HTTP header is to carry, without what stands around it."""
    text = text.strip()
    if not (text.isascii() and text.isprintable()):
        hint = "set it again, without line breaks and quotation marks"
        raise UsageError(f"{origin} has characters that no HTTP header can carry", hint=hint)
    return text


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("it must be text")
    return value


def _number(value: object) -> float:
    """A number, or text that is one; else NaN."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _seconds(value: object) -> float:
    seconds = _number(value)
    if not 0 < seconds < 1e6:
        raise ValueError("it must be a number of seconds, more than 0 and less than a million")
    return seconds


def _tokens(value: object) -> int | Literal["inf"]:
    if value == "inf":
        return "inf"
    tokens = _number(value)
    if not (1 <= tokens < 1e9 and tokens.is_integer()):
        raise ValueError('it must be a number of tokens, 1 or more, or "inf"')
    return int(tokens)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("it must be true or false")
    return value


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("on", "off"):
        raise ValueError("it must be on or off")
    return value == "on"


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(_text, value if isinstance(value, list | tuple) else (value,)))


def _paths(value: object) -> tuple[Path, ...]:
    return tuple(map(_path, value if isinstance(value, list | tuple) else (value,)))


def _count(value: object) -> int:
    count = _number(value)
    if not (1 <= count < 1e6 and count.is_integer()):
        raise ValueError("it must be a number, 1 or more")
    return int(count)


def _bytes(value: object) -> int:
    count = _number(value)
    if not (1 <= count < 1e12 and count.is_integer()):
        raise ValueError("it must be a number of bytes, 1 or more")
    return int(count)


def _choice(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError(f"it must be one of {', '.join(words)}")
        return str(value)

    return parse


def _path(value: object) -> Path:
    return Path(_text(value))


def _command(value: object) -> tuple[str, ...]:
    import shlex

    words = shlex.split(_text(value))
    if not (words and words[0]):
        raise ValueError("it must be a command")
    return tuple(words)


def _instructions(value: object) -> str:
    text = _text(value)
    if not text.startswith("@"):
        return text
    if text == "@":
        raise ValueError("a file is written @FILE")
    return read_text(Path(os.path.expanduser(text[1:])), text[1:])


_HEADER_NAME = r"[\w!#$%&'*+.^`|~-]+"


def _headers(value: object) -> Headers:
    if isinstance(value, dict):
        pairs = [(str(name), content) for name, content in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [
            (name.strip(), content.strip()) for name, _, content in (_colon(line) for line in value)
        ]
    else:
        pairs = [("", value)]
    for name, content in pairs:
        if not re.fullmatch(_HEADER_NAME, name) or not _is_header_value(content):
            raise ValueError("a header is written 'Name: value'")
    return tuple(pairs)


def _dollars(value: object) -> float:
    dollars = _number(value)
    if not 0 < dollars < 1e6:
        raise ValueError("it must be a number of US dollars, more than 0 and less than a million")
    return dollars


def _prices(value: object) -> dict[str, object]:
    from rtchat.core.pricing import Rate

    def rate(prices: object) -> Rate:
        if not isinstance(prices, dict) or prices.keys() - set(Rate.__match_args__):
            raise ValueError(f"a model's prices are a table of {', '.join(Rate.__match_args__)}")
        numbers = {name: _number(price) for name, price in prices.items()}
        if not numbers.keys() >= {"input", "output"}:
            raise ValueError("a model's prices are at least input and output")
        if not all(0 <= number < 1e9 for number in numbers.values()):
            raise ValueError("a price is a number of US dollars for a million tokens")
        return Rate(**{"cached": numbers["input"], **numbers})

    return {model: rate(prices) for model, prices in _table(value).items()}


def _table(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("it must be a table")
    return value


def _variables(value: object) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and re.fullmatch(r"[A-Za-z_]\w*", name) for name in names):
        raise ValueError("it must be the name of a variable, or a list of such names")
    return tuple(names)


def _key_header(value: object) -> str:
    name, _, content = _text(value).partition(":")
    if not re.fullmatch(_HEADER_NAME, name) or content.count("{key}") != 1:
        raise ValueError("it is written 'Name: {key}', or 'Authorization: Scheme {key}'")
    return _text(value)


def _options(of: Literal["session", "response"], value: object) -> dict[str, object]:
    from rtchat.wire import options

    fields = options.completed(_table(value))
    for key in fields.keys() & options.AT_THE_START.keys() if of == "session" else ():
        raise ValueError(f"{key}: use {options.AT_THE_START[key]}")
    options.check(of, fields, only=", ".join(key for key, _ in flat(fields)))
    return fields


def _colon(line: object) -> tuple[str, str, str]:
    return str(line).partition(":")


def _is_header_value(content: object) -> bool:
    return isinstance(content, str) and bool(content) and content.isprintable()


PARSERS: dict[str, Callable[[object], object]] = {
    "model": _text,
    "url": _text,
    "dialect": _choice("auto", "ga", "beta", "qwen", "xai"),
    "system": _instructions,
    "max_output_tokens": _tokens,
    "connect_timeout": _seconds,
    "timeout": _seconds,
    "headers": _headers,
    "render": _choice("auto", "always", "never"),
    "color": _choice("auto", "always", "never"),
    "history": _switch,
    "trace": _path,
    "trace_audio": _flag,
    "ca_bundle": _path,
    "api_key_command": _command,
    "tools": _paths,
    "mcp": _texts,
    "allow_tools": _texts,
    "max_tool_rounds": _count,
    "max_tool_calls": _count,
    "max_tool_bytes": _bytes,
    "max_reply_bytes": _bytes,
    "insecure": _flag,
    "local": _flag,
    "quiet": _flag,
    "verbose": _flag,
    "voice": _flag,
    "vad": _choice("server", "semantic", "off"),
    "input_device": _text,
    "output_device": _text,
    "keep_audio": _switch,
    "max_cost": _dollars,
    "prices": _prices,
    "key_env": _variables,
    "key_header": _key_header,
    "session": lambda value: _options("session", value),
    "response": lambda value: _options("response", value),
}
