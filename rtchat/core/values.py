"""The values that events, commands and effects contain.

Times are in seconds and sizes in tokens unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError, field, make_dataclass
from enum import StrEnum
from typing import Literal, TypeAlias, TypeVar, dataclass_transform

OPENAI_URL = "wss://api.openai.com/v1/realtime"
BYTES_A_MS = 48
"""Bytes per millisecond of audio, which is PCM16, mono, 24 kHz throughout."""

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[_T]) -> type[_T]:
    """A frozen dataclass with slots, compared and hashed by its fields.

    `dataclass(frozen=True)` compiles six methods for each of more than two hundred classes, and
    describes their fields, which adds 60 ms to startup. Here all classes share these methods,
    except `__new__`, which has to be fast and is compiled when the first object is made. The
    fields are described when `dataclasses.fields` or `replace` asks for them.
    """
    own = {name: cls.__dict__.get(name, MISSING) for name in cls.__annotations__}
    defaults: dict[str, object] = {**getattr(cls, "_defaults", {}), **own}
    body = {name: known for name, known in cls.__dict__.items() if name not in own}
    for name in ("__dict__", "__weakref__"):
        body.pop(name, None)  # those of the class without slots
    body["__slots__"] = tuple(own)
    body["__match_args__"] = tuple(
        name for name, default in defaults.items() if not _is_keyword(default)
    )
    body["_defaults"] = defaults
    make: Callable[..., type[_T]] = type(cls)
    return make(cls.__name__, cls.__bases__, _METHODS | body)


def _is_keyword(default: object) -> bool:
    """Whether a field with this default is given by its name only."""
    return isinstance(default, Field) and default.kw_only is True


def _first_new(cls: type, *args: object, **given: object) -> object:
    cls.__new__ = _constructor(cls)  # type: ignore[assignment] # replaces this function
    return cls(*args, **given)


def _constructor(cls: type) -> Callable[..., object]:
    """A `__new__` with the parameters of a dataclass.

    It sets the fields of an object whose class has the same slots but permits changes, and then
    makes it an object of `cls`. Using the descriptors of the slots takes twice as long.
    A base class may be a value, too.
    """
    like_cls = {
        "__slots__": cls.__slots__,  # type: ignore[attr-defined] # by `value`
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
    }
    scope: dict[str, object] = {
        "absent": MISSING,
        "new": object.__new__,
        "changeable": type(cls.__name__, cls.__bases__, like_cls),
    }
    parameters: dict[bool, list[str]] = {False: [], True: []}
    lines = [" self = new(changeable)"]
    for name, default in cls._defaults.items():  # type: ignore[attr-defined] # by `value`
        parameter = given = name
        constant = default.default if isinstance(default, Field) else default
        if constant is not MISSING:
            scope[f"default_{name}"] = constant
            parameter = f"{name}=default_{name}"
        elif isinstance(default, Field) and default.default_factory is not MISSING:
            scope[f"make_{name}"] = default.default_factory
            parameter = f"{name}=absent"
            given = f"make_{name}() if {name} is absent else {name}"
        parameters[_is_keyword(default)].append(parameter)
        lines.append(f" self.{name} = {given}")
    after = ["*", *parameters[True]] if parameters[True] else []
    head = f"def __new__({', '.join(['cls', *parameters[False], *after])}):"
    exec("\n".join([head, *lines, " self.__class__ = cls", " return self"]), scope)
    return scope["__new__"]  # type: ignore[return-value] # defined by exec


class _DataclassAttribute:
    """An attribute that `dataclass` would set. It is made when it is first read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, _: object, cls: type) -> object:
        types: dict[str, object] = {}
        for base in reversed(cls.__mro__):
            types |= getattr(base, "__annotations__", {})
        fields = [
            (name, types[name]) if default is MISSING else (name, types[name], default)
            for name, default in cls._defaults.items()  # type: ignore[attr-defined] # by `value`
        ]
        doc = {"__doc__": "Not shown; without it, `dataclass` would make one, which takes long."}
        made = make_dataclass("_", fields, namespace=doc, init=False, repr=False, eq=False)
        setattr(cls, self._name, getattr(made, self._name))
        return getattr(made, self._name)


def _fields(of: object) -> tuple[object, ...]:
    return tuple(getattr(of, name) for name in of.__match_args__)  # type: ignore[attr-defined] # by `value`


def _refuse(self: object, name: str, *_: object) -> None:
    raise FrozenInstanceError(f"cannot change {type(self).__name__}.{name}")


def _reduce(self: object) -> tuple[Callable[..., object], tuple[type, dict[str, object]]]:
    """Support `pickle` and `copy`, which would otherwise set the fields one by one."""
    names = self._defaults  # type: ignore[attr-defined] # by `value`
    return _rebuild, (type(self), {name: getattr(self, name) for name in names})


def _rebuild(cls: type, fields: dict[str, object]) -> object:
    return cls(**fields)


def _equal(self: object, other: object) -> bool:
    return type(self) is type(other) and _fields(self) == _fields(other)


def _hash(self: object) -> int:
    return hash((type(self), _fields(self)))


def _repr(self: object) -> str:
    names: tuple[str, ...] = self.__match_args__  # type: ignore[attr-defined] # by `value`
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
    return f"{type(self).__name__}({shown})"


_METHODS: dict[str, object] = {
    "__new__": _first_new,
    "__eq__": _equal,
    "__hash__": _hash,
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__reduce__": _reduce,
    "__repr__": _repr,
    "__dataclass_fields__": _DataclassAttribute("__dataclass_fields__"),
    "__dataclass_params__": _DataclassAttribute("__dataclass_params__"),
}
"""What all values have, unless they have their own."""


class Dialect(StrEnum):
    """The shape of the events on the wire: the current one (`ga`), the one used before May 2026
    (`beta`), two vendor-specific ones that are similar to both, and that of translation
    sessions."""

    GA = "ga"
    BETA = "beta"
    QWEN = "qwen"
    XAI = "xai"
    TRANSLATION = "translation"


class Channel(StrEnum):
    """The kind of content that a delta belongs to."""

    TEXT = "text"
    TRANSCRIPT = "transcript"
    """The transcript of a spoken reply."""
    AUDIO = "audio"
    """Base64 PCM16."""
    ARGUMENTS = "arguments"
    """The JSON arguments of a function call."""
    INPUT_TRANSCRIPT = "input_transcript"
    """The transcript of the user's speech."""


class Encoding(StrEnum):
    """How the samples of audio are encoded."""

    PCM = "PCM"
    """PCM16, little-endian."""
    ULAW = "µ-law"
    """G.711 µ-law."""
    ALAW = "A-law"
    """G.711 A-law."""

    @property
    def default_rate(self) -> int:
        """The rate in Hz that this encoding usually has."""
        return 24_000 if self is Encoding.PCM else 8_000


MIN_RATE, MAX_RATE = 8_000, 48_000
"""The lowest and the highest sample rate of supported formats, in Hz."""


@value
class AudioFormat:
    """The format of mono audio. `rate` is in samples per second."""

    encoding: Encoding = Encoding.PCM
    rate: int = 24_000


@value
class NamedFormat:
    """An audio format as a server or a setting names it."""

    name: str
    rate: int = 0
    """Samples per second; 0 if not given."""
    encoding: Encoding | None = None
    """None if the format is not supported."""

    def __str__(self) -> str:
        return f"{self.name} at {self.rate} Hz" if self.rate else self.name

    def resolved(self, requested: AudioFormat) -> AudioFormat | None:
        """The format, with the requested rate if this names none; None if it is not supported."""
        if self.encoding is None:
            return None
        is_as_requested = self.encoding is requested.encoding
        usual = requested.rate if is_as_requested else self.encoding.default_rate
        rate = self.rate or usual
        return AudioFormat(self.encoding, rate) if MIN_RATE <= rate <= MAX_RATE else None


class Status(StrEnum):
    """How a reply ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INCOMPLETE = "incomplete"


Role: TypeAlias = Literal["user", "assistant", "system"]
Modality: TypeAlias = Literal["text", "audio"]
PartKind: TypeAlias = Literal["text", "audio", "image"]
Phase: TypeAlias = Literal["commentary", "final_answer"]
"""Whether a message is only commentary or the final answer."""
ImageDetail: TypeAlias = Literal["auto", "low", "high"]
"""The level of detail of an image."""
ThemeName: TypeAlias = Literal["auto", "dark", "light", "mono", "high-contrast"]
"""A theme: how the styles on a terminal are drawn."""
JsonObject: TypeAlias = Mapping[str, object]


@value
class Part:
    """One content part. `text` is the text or the transcript, `data` base64 audio or a data URL."""

    kind: PartKind
    text: str = ""
    data: str = ""
    detail: ImageDetail | None = None
    """For an image; None if it is not given."""


@value
class Message:
    """A message item."""

    role: Role
    parts: tuple[Part, ...]
    id: str = ""
    status: str = ""
    phase: Phase | None = None
    """For a message of the model; None if the server does not give it."""
    heard: int | None = None
    """For a spoken message whose playback was interrupted, how many characters of its text were
    heard. It is no part of the item on the server."""

    @property
    def text(self) -> str:
        """The text and transcripts of all parts, joined."""
        return "".join(part.text for part in self.parts)


@value
class ToolCall:
    """A function call item. `arguments` is JSON, as the model wrote it."""

    name: str
    call_id: str
    arguments: str
    id: str = ""
    status: str = ""


@value
class ToolOutput:
    """The output of a function call."""

    call_id: str
    output: str
    id: str = ""


@value
class Approval:
    """The server's request to call a tool of a remote MCP server."""

    id: str
    name: str
    arguments: str
    server: str = ""


@value
class ApprovalAnswer:
    """The answer to an `Approval` with the id `request_id`."""

    request_id: str
    approve: bool
    id: str = ""
    reason: str = ""
    """Why the call was refused."""


@value
class RemoteCall:
    """A call of an MCP server's tool that the model's server has made, with its output or its
    error."""

    server: str
    name: str
    arguments: str
    output: str
    error: str = ""
    id: str = ""


@value
class OtherItem:
    """An item of a type that the program does not use, with its fields as received."""

    type: str
    id: str = ""
    fields: JsonObject = field(default_factory=dict)
    reasoning: str = field(default="", kw_only=True, compare=False)
    """The summary of the model's reasoning, if the item contains one."""


Item: TypeAlias = (
    Message | ToolCall | ToolOutput | Approval | ApprovalAnswer | RemoteCall | OtherItem
)


@value
class Tool:
    """A function that the model may call. `parameters` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    parameters: JsonObject = field(default_factory=dict)


@value
class Options:
    """The options of a session or a response. None means the server's default."""

    instructions: str | None = None
    modality: Modality | None = None
    max_output_tokens: int | Literal["inf"] | None = None
    other: JsonObject = field(default_factory=dict)
    """Other fields in the GA shape, passed on unchanged."""


@value
class Usage:
    """The tokens of one reply or transcript. Cached tokens are part of `input`, at a lower price.
    The tokens of audio and images, which have their own prices, are part of `input`, `cached` and
    `output`. Some models are billed by the duration of the audio instead: `seconds`."""

    input: int = 0
    cached: int = 0
    output: int = 0
    total: int = 0
    audio_input: int = 0
    audio_cached: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_cached: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, float]:
        """The counts as fields of the JSON output: seconds if there are no tokens."""
        if self.seconds and not self.total:
            return {"seconds": round(self.seconds, 3)}
        return {
            "input_tokens": self.input,
            "cached_tokens": self.cached,
            "output_tokens": self.output,
            "total_tokens": self.total,
        }

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(a + b for a, b in zip(_fields(self), _fields(other), strict=True)))  # type: ignore[operator] # all are numbers


@value
class SessionInfo:
    """What identifies a session. A field is empty if the server did not report it."""

    id: str = ""
    model: str = ""
    """The model that answers; it may differ from the requested one."""
    url: str = ""
    """The URL of the connection, without keys."""

    def ids(self, response_id: str = "") -> str:
        """The ids of the session and of a response, as part of an error message."""
        session = f"session {self.id}" if self.id else ""
        response = f"response {response_id}" if response_id else ""
        return ", ".join(filter(None, (session, response)))


def model_names(asked: str, answered: str) -> str:
    """The model that answered, and the requested one if it is another."""
    return asked if answered in ("", asked) else f"{answered} (asked for {asked})"


@value
class TranscriptDetails:
    """What is known about the transcript of speech besides its text. `cost` is in US dollars, None
    if the price is not known."""

    model: str = ""
    usage: Usage | None = None
    cost: float | None = None
    fields: JsonObject = field(default_factory=dict)
    """The detected languages and the log probabilities, as received."""


@value
class TranscriptSegment:
    """A part of a transcript, spoken by one speaker. `start` and `end` are in seconds."""

    id: str
    text: str
    speaker: str
    start: float
    end: float


@value
class TranscriptWord:
    """A word of a transcript. `start` and `end` are in seconds."""

    text: str
    start: float
    end: float


@value
class TurnLimits:
    """The limits for a model or a server that does not stop by itself."""

    rounds: int = 10
    """Replies with calls in one turn."""
    calls: int = 100
    """Calls in one reply."""
    call_bytes: int = 2_000_000
    """Bytes of the calls and outputs of one turn."""
    reply_bytes: int = 4_000_000
    """Bytes of text in one reply."""
    parts: int = 1_000
    """Parts in one reply."""
    audio_bytes: int = 3_600_000 * BYTES_A_MS
    """Bytes of audio in one reply: an hour."""


class State(StrEnum):
    """The state of a saved item: the states of `Status`, and others."""

    QUEUED = "queued"
    """Entered, but not sent yet."""
    WITHDRAWN = "withdrawn"
    """Taken back by the user before it was sent."""
    ASKED = "asked"
    """Sent; a reply is pending."""
    STREAMING = "streaming"
    """An incomplete reply; it stays in this state if the program is killed."""
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    INTERRUPTED = "interrupted"
    """The connection was lost during the reply."""


@value
class Entry:
    """An item as it is saved, with its state and origin.

    `turn` counts questions from 1; within a turn, the question has `index` 0 and the items that
    follow from it have the next ones. Turn 0 has the instructions as a system message. A question
    gets the state of its reply when the reply is over.
    """

    turn: int
    index: int
    item: Item
    state: State
    model: str = ""
    reason: str = ""
    """Why it is not complete, as a message for the user."""
    usage: Usage | None = None
    first_token: float | None = None
    seconds: float | None = None
    """The time from the question to the end of the reply."""
    response_model: str = ""
    """The model that answered, if the server reported it; `model` is the requested one."""
    parent: int | None = field(default=None, kw_only=True)
    """The turn before this one in its branch, 0 for none; None if it is the turn numbered before.
    """


@value
class StoredConversation:
    """A saved conversation. `began` and `updated` are Unix times in seconds."""

    id: int
    title: str
    began: float
    updated: float
    model: str
    turns: int
    entries: tuple[Entry, ...] = ()
    """The entries in order; empty if only the conversation itself was loaded."""
    newest: int = field(default=0, kw_only=True)
    """The highest turn number in the file, which may be in another branch."""
    head: int = field(default=0, kw_only=True)
    """The last turn of the current branch, 0 if the branch is empty."""
    forked_from: int | None = field(default=None, kw_only=True)
    """The id of the conversation that this one is a fork of."""
    name: str = field(default="", kw_only=True)
    """The name that the user gave it; empty if none."""
    first_words: str = field(default="", kw_only=True)
    """The beginning of its first question, if the title was changed and does not show it."""


def conversation_key(text: str) -> int | str:
    """The ID that a text consists of, or else the name of a conversation, with single spaces."""
    text = " ".join(text.split())
    return int(text) if text.isdecimal() and len(text) < _MAX_DIGITS else text


_MAX_DIGITS = 1000
"""Python refuses to convert much longer numbers."""
