"""The rows of the table of settings, and the values that are given for them.

A `Setting` defines one setting: its parser, its default, where its value may come from, whether a
`.env` may set it, and its help text. The rows are in `settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar, overload

from rtchat.config.parsers import ExpectedError, Parser, PartError
from rtchat.core.dotted_keys import merged
from rtchat.core.errors import UsageError
from rtchat.core.suggestions import closest, did_you_mean
from rtchat.core.text import on_a_line, shortened

T = TypeVar("T")

DEFAULT = "default"
"""The origin of a value that is not set anywhere."""
MAX_SHOWN = 60
"""Characters of a value that are shown."""

_YES = ("true", "yes", "1", "enabled", "on", "always")
_NO = ("false", "no", "0", "disabled", "off", "never", "none")
_MEANINGS = {word: words for words in (_YES, _NO) for word in words}
"""Words for values, and others that mean the same."""

Trust: TypeAlias = Literal["yes", "text", "no"]
"""Whether a `.env` may set a variable; "text" means only if the value is not @FILE."""


class Variable(NamedTuple):
    """A variable of the environment."""

    name: str
    dotenv: Trust
    help: str = ""
    example: str = ""


class Group(NamedTuple):
    """A group of settings, which are listed together."""

    title: str
    commands: Sequence[str]
    """The commands that have the options of the group, unless a row says otherwise."""
    in_file: bool = True
    """Whether the config file can set them, unless a row says otherwise."""


def show(value: object) -> str:
    """A value as text on one line, not too long."""
    match value:
        case None | () | "":
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case Mapping() | tuple():
            return shorten(", ".join(map(str, value)) or "none")
        case _:
            return shorten(str(value))


def shorten(text: str) -> str:
    """A text on one line, cut if it is long."""
    return shortened(on_a_line(text), MAX_SHOWN)


def choice_hint(value: object, choices: Collection[str]) -> str:
    """A hint with the choice that an invalid value probably means; empty if there is none."""
    same = set(_MEANINGS.get(str(value).lower(), ())).intersection(choices)
    return did_you_mean([closest(str(value), choices) or "".join(same)])


class Setting(Generic[T]):
    """One setting. As an attribute of `Settings` it is the row; of an object, the value."""

    def __init__(
        self,
        group: Group,
        parser: Parser[T],
        default: T,
        help: str,
        *,
        name: str = "",
        example: object = None,
        option: str = "",
        short: str = "",
        option_help: str = "",
        metavar: str = "",
        commands: Sequence[str] = (),
        variable: Variable | None = None,
        in_file: bool = True,
        is_confidential: bool = False,
        is_merged: bool = False,
        show: Callable[[T], str] = show,
    ) -> None:
        self.group = group
        self.parser = parser
        self.default = default
        self.help = help
        self.name = name
        self.example = default if example is None else example
        """An example value, as in the config file."""
        self.option = option
        """Its long option; empty if it has none. The option of a switch takes no value: it sets
        the opposite of the default."""
        self.short = short
        """Its short option; empty if it has none."""
        self.option_help = option_help or help
        self.metavar = metavar or parser.metavar
        self.commands = (commands or group.commands) if option else ()
        """The commands that have the option."""
        self.variable = variable
        self.in_file = in_file and group.in_file
        """Whether the config file can set it."""
        self.is_confidential = is_confidential
        """Whether a value may contain a key. If so, no message quotes it."""
        self.is_merged = is_merged
        """Whether it is a table whose entries are set one by one."""
        self.show = show
        """Returns a value as text without secrets."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object, owner: type) -> Setting[T] | T:
        if instance is None:
            return self
        value: T = vars(instance)[self.name]
        return value

    def __set__(self, instance: object, value: T) -> None:
        """Called by the initialiser that `dataclass` generates, which treats the row as the
        default."""
        vars(instance)[self.name] = self.default if isinstance(value, Setting) else value

    def parse(self, value: object, place: str, line: str = "") -> T:
        """A value as it is used.

        Raises:
            UsageError: the value is not valid. The message names the place, after the line of the
                file if it is in one.
        """
        prefix = f"{line}: " if line else ""
        try:
            return self.parser.read(value)
        except ExpectedError as error:
            shown = "" if self.is_confidential else f" {value!r}"
            message = f"{prefix}invalid value{shown} for {place} (expected {error})"
            hint = choice_hint(value, self.parser.choices)
            raise UsageError(message, hint=hint) from None
        except PartError as error:
            raise UsageError(f"{prefix}{error.message} in {place}", hint=error.hint) from None


class Given(NamedTuple):
    """A value and its source, as text for the user."""

    value: Any
    origin: str


class Values:
    """The values that were given for some settings."""

    def __init__(self, given: Mapping[Setting[Any], Given] | None = None) -> None:
        self._given = dict(given or {})

    def __contains__(self, setting: Setting[Any]) -> bool:
        return setting in self._given

    def __iter__(self) -> Iterator[tuple[Setting[Any], Given]]:
        return iter(list(self._given.items()))

    def __getitem__(self, setting: Setting[T]) -> T:
        """The given value, or else the default."""
        if setting not in self._given:
            return setting.default
        value: T = self._given[setting].value
        return value

    def origin(self, setting: Setting[Any]) -> str:
        """The source of the value of a setting; empty if none was given."""
        return self._given[setting].origin if setting in self._given else ""

    def set(self, setting: Setting[T], value: T, origin: str) -> None:
        """Set the value of a setting."""
        self._given[setting] = Given(value, origin)

    def remove(self, setting: Setting[Any]) -> None:
        """Remove the value of a setting, if there is one."""
        self._given.pop(setting, None)

    def over(self, below: Values) -> Values:
        """These values and those of `below`; these take precedence. Tables are merged entry by
        entry."""
        out = Values(below._given)
        for setting, (value, origin) in self:
            if setting.is_merged and setting in below:
                value = merged(below[setting], value)
                origin = f"{below.origin(setting)}, {origin}"
            out.set(setting, value, origin)
        return out
