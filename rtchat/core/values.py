"""The nouns: what events, commands and effects carry.

Times are seconds and sizes are tokens unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, FrozenInstanceError, dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias, TypeVar, dataclass_transform

OPENAI_URL = "wss://api.openai.com/v1/realtime"
BYTES_A_MS = 48
"""Of audio, which is PCM16, mono, 24 kHz everywhere: what a millisecond takes."""

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[_T]) -> type[_T]:
    """A frozen dataclass with slots, compared and hashed by its fields.

    `dataclass(frozen=True)` compiles six methods for each of more than a hundred classes, which
    adds 35 ms to every start. Here all classes share these methods, and `__init__`, which has to be
    fast, is compiled when the first object is made.
    """
    made = dataclass(slots=True, init=False, eq=False, repr=False)(cls)
    made.__init__ = _first_init  # type: ignore[method-assign] # likewise
    made.__eq__ = _equal  # type: ignore[method-assign] # set on the class, as dataclass does
    made.__hash__ = _hash  # type: ignore[method-assign]
    made.__setattr__ = made.__delattr__ = _refuse  # type: ignore[method-assign]
    made.__reduce__ = _reduce  # type: ignore[method-assign]
    if "__repr__" not in cls.__dict__:
        made.__repr__ = _repr  # type: ignore[method-assign]
    return made


def _first_init(self: object, *args: object, **given: object) -> None:
    cls = type(self)
    cls.__init__ = _initialiser(cls)  # type: ignore[method-assign] # likewise
    cls.__init__(self, *args, **given)


def _initialiser(cls: type) -> Callable[..., None]:
    """The `__init__` that a dataclass would have."""
    scope: dict[str, object] = {"absent": MISSING}
    parameters: dict[bool, list[str]] = {False: [], True: []}
    lines: list[str] = []
    for name, known in cls.__dataclass_fields__.items():  # type: ignore[attr-defined] # by dataclass
        parameter = given = name
        if known.default is not MISSING:
            scope[f"default_{name}"] = known.default
            parameter = f"{name}=default_{name}"
        elif known.default_factory is not MISSING:
            scope[f"make_{name}"] = known.default_factory
            parameter = f"{name}=absent"
            given = f"make_{name}() if {name} is absent else {name}"
        parameters[known.kw_only].append(parameter)
        scope[f"set_{name}"] = getattr(cls, name).__set__  # the slot's, past `__setattr__`
        lines.append(f" set_{name}(self, {given})")
    after = ["*", *parameters[True]] if parameters[True] else []
    head = f"def __init__({', '.join(['self', *parameters[False], *after])}):"
    exec("\n".join([head, *(lines or [" pass"])]), scope)  # as dataclass does
    return scope["__init__"]  # type: ignore[return-value] # just made


def _fields(of: object) -> tuple[object, ...]:
    return tuple(getattr(of, name) for name in of.__match_args__)  # type: ignore[attr-defined] # by dataclass


def _refuse(self: object, name: str, *_: object) -> None:
    raise FrozenInstanceError(f"cannot change {type(self).__name__}.{name}")


def _reduce(self: object) -> tuple[Callable[..., object], tuple[type, dict[str, object]]]:
    """For `pickle` and `copy`, which would set the fields one by one."""
    names = self.__dataclass_fields__  # type: ignore[attr-defined] # by dataclass
    return _rebuild, (type(self), {name: getattr(self, name) for name in names})


def _rebuild(cls: type, fields: dict[str, object]) -> object:
    return cls(**fields)


def _equal(self: object, other: object) -> bool:
    return type(self) is type(other) and _fields(self) == _fields(other)


def _hash(self: object) -> int:
    return hash((type(self), _fields(self)))


def _repr(self: object) -> str:
    names: tuple[str, ...] = self.__match_args__  # type: ignore[attr-defined] # by dataclass
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
    return f"{type(self).__name__}({shown})"


class Dialect(StrEnum):
    """The shape of the events on the wire: today's (`ga`) or the one before May 2026 (`beta`), and
    two between these that only vendors of their own speak."""

    GA = "ga"
    BETA = "beta"
    QWEN = "qwen"
    XAI = "xai"


class Channel(StrEnum):
    """What a delta is a piece of."""

    TEXT = "text"
    TRANSCRIPT = "transcript"
    """The words of a spoken reply."""
    AUDIO = "audio"
    """Base64 PCM16."""
    ARGUMENTS = "arguments"
    """The JSON arguments of a function call."""
    HEARD = "heard"
    """The transcript of what the user said aloud."""


@value
class AudioFormat:
    """A sound format. `name` is what the server calls it, empty if it does not say."""

    name: str = ""
    rate: int = 0
    """Samples per second; 0 if it does not say."""
    is_pcm: bool = True

    def __str__(self) -> str:
        return f"{self.name} at {self.rate} Hz" if self.rate else self.name

    def fits(self, rate: int) -> bool:
        """Whether it can be PCM16 at this rate."""
        return self.is_pcm and self.rate in (0, rate)


class Status(StrEnum):
    """How a reply ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INCOMPLETE = "incomplete"


Role: TypeAlias = Literal["user", "assistant", "system"]
Modality: TypeAlias = Literal["text", "audio"]
PartKind: TypeAlias = Literal["text", "audio", "image"]
JsonObject: TypeAlias = Mapping[str, object]


@value
class Part:
    """One content part. `text` is the text or the transcript, `data` base64 audio or a data URL."""

    kind: PartKind
    text: str = ""
    data: str = ""


@value
class Message:
    """A message item."""

    role: Role
    parts: tuple[Part, ...]
    id: str = ""
    status: str = ""

    @property
    def text(self) -> str:
        """Its text and transcripts, joined."""
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
    """What a function call gave back."""

    call_id: str
    output: str
    id: str = ""


@value
class Approval:
    """A remote MCP server's tool that the server would call, if it may."""

    id: str
    name: str
    arguments: str
    server: str = ""


@value
class ApprovalAnswer:
    """Whether it may."""

    request_id: str
    approve: bool
    id: str = ""


@value
class OtherItem:
    """An item of a type that this program does not read, kept as it came."""

    type: str
    id: str = ""
    fields: JsonObject = field(default_factory=dict)


Item: TypeAlias = Message | ToolCall | ToolOutput | Approval | ApprovalAnswer | OtherItem


@value
class Tool:
    """A function that the model may call. `parameters` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    parameters: JsonObject = field(default_factory=dict)


@value
class Options:
    """What a session, or one response, is asked to be. None leaves a thing to the server."""

    instructions: str | None = None
    modality: Modality | None = None
    max_output_tokens: int | Literal["inf"] | None = None
    other: JsonObject = field(default_factory=dict)
    """Fields in the GA shape that the program carries without reading them."""


@value
class Usage:
    """Tokens of one reply. `cached` are part of `input` (they cost less, they still count), and
    those of audio and images, which have their own prices, are part of what they are named after.
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    total: int = 0
    audio_input: int = 0
    audio_cached: int = 0
    audio_output: int = 0
    image_input: int = 0
    image_cached: int = 0

    def as_json(self) -> dict[str, int]:
        """The sums, as scripts read them."""
        return {
            "input_tokens": self.input,
            "cached_tokens": self.cached,
            "output_tokens": self.output,
            "total_tokens": self.total,
        }

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(a + b for a, b in zip(_fields(self), _fields(other), strict=True)))  # type: ignore[operator] # all are numbers


@value
class Limits:
    """When to stop a model or a server that does not stop by itself."""

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
    """How far a kept item has come: those of a reply, and these."""

    QUEUED = "queued"
    """Entered; not sent yet."""
    ASKED = "asked"
    """Sent; the reply is due."""
    STREAMING = "streaming"
    """A reply that is not over; in the file of a program that was killed, one that was cut."""
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    INTERRUPTED = "interrupted"
    """The connection was lost in mid reply."""


@value
class Entry:
    """An item as it is kept on disk, with what is known about how it came about.

    `turn` counts questions from 1; within a turn `index` 0 is the question and what came of it
    follows. Turn 0 is the instructions, as a system message. A question takes over the state of its
    reply once that is over.
    """

    turn: int
    index: int
    item: Item
    state: State
    model: str = ""
    reason: str = ""
    """Why it is not complete, in plain words."""
    usage: Usage | None = None
    first_token: float | None = None
    seconds: float | None = None
    """From the question to the end of the reply."""


@value
class StoredConversation:
    """A kept conversation. `began` and `updated` are Unix seconds."""

    id: int
    title: str
    began: float
    updated: float
    model: str
    turns: int
    entries: tuple[Entry, ...] = ()
    """In order; empty where only the conversation itself was asked for."""
