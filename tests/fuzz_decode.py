"""Fuzzes the decoding of a server's frames: `python tests/fuzz_decode.py [FRAMES] [SEED]`.

Takes frames of both dialects, and of the recordings beside the checkout, damages their bytes or
their JSON, decodes them as the program does and passes some to a conversation. Nothing may raise.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script is not part of a package

from rtchat import wire
from rtchat.core.conversation import Conversation
from rtchat.core.effects import Connect, Stop
from rtchat.core.events import (
    ConnectionLost,
    ConnectionOpened,
    ServerEvent,
    SessionCreated,
    SessionUpdated,
    Started,
    Timer,
    TimerFired,
    Unknown,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.text import compact_json
from rtchat.core.values import Options
from tests.wire_examples import BETA_EVENTS, EVENTS, VARIANTS

RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings"
EVERY = 3
"""One of this many frames goes through a conversation."""
LIFE = 300
"""How many frames a conversation gets before it is replaced."""
LONGEST = 20_000
"""The longest recorded frame to use, in characters: long ones are audio and slow."""

Json: TypeAlias = Any

TOKENS = (
    *("null", "true", "-1", "0", "1e999", "-1e-999", "NaN", "Infinity", "9" * 400, "1.5", '""'),
    *("{}", "[]", "{", "}", "[", "]", ",", ":", '"', "\\", "\\u0000", "\\ud800", "\\udc00"),
    *("\x00", "\x1b[31m", "\u2028", "\ufeff", "\u202e", "é", "\U0001f469", "[" * 3000),
    *('{"a":' * 200, '"type":"error"', '"type":5', '"response":{}', '"id":"r"'),
)
VALUES: tuple[Json, ...] = (
    *(None, True, False, 0, -1, 2**63, 10**400, 1.5, -0.0, 1e308),
    *("", "x", "\ud800", "\udc00x", "\x00", "r", "completed", "failed", "rate_limit_exceeded"),
    *("try again in 99999999999999999999m", [], [[]], [None], {}, {"": None}, {"type": "message"}),
)


def seeds() -> list[Json]:
    """Valid events."""
    found: list[Json] = [event for event, _ in (*EVENTS, *BETA_EVENTS)]
    found += [event for _, event, _ in VARIANTS]
    for file in sorted(RECORDINGS.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            frame = json.loads(line)
            if len(line) <= LONGEST and frame["direction"] == "received":
                found.append(frame["data"])
    return found


# ---------------------------------------------------------------------------------------- mutations


class Mutator:
    """Creates damaged frames from events. The same seed creates the same frames."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._events = seeds()
        self._frames = [json.dumps(event) for event in self._events]

    def frame(self) -> str | bytes:
        """The next frame."""
        rng = self._rng
        if rng.random() < 0.7:
            event = json.loads(rng.choice(self._frames))
            for _ in range(rng.randrange(1, 4)):
                event = self._spoil_json(event)
            return json.dumps(event, ensure_ascii=rng.random() < 0.5)
        data = rng.choice(self._frames)
        for _ in range(rng.randrange(1, 5)):
            data = rng.choice(self._spoilers)(self, data)
        return data.encode(errors="surrogatepass") if rng.random() < 0.02 else data

    def _spoil_json(self, value: Json) -> Json:
        """Change one value, at any depth."""
        rng = self._rng
        if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
            return deepcopy(rng.choice((*VALUES, rng.choice(self._events))))
        key: Any = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        act = rng.random()
        if act < 0.15:
            del value[key]
        elif act < 0.3 and isinstance(value, dict):
            value[rng.choice(("type", "id", "response", "item", "delta", "status"))] = value[key]
        elif act < 0.35:
            value[key] = [value[key]]
        else:
            value[key] = self._spoil_json(value[key])
        return value

    def _flip(self, data: str) -> str:
        at = self._rng.randrange(len(data) or 1)
        return data[:at] + chr(self._rng.choice((34, 44, 92, 123, 48, 0xD800, 7))) + data[at + 1 :]

    def _drop(self, data: str) -> str:
        at = self._rng.randrange(len(data) or 1)
        return data[:at] + data[at + self._rng.randrange(1, 30) :]

    def _insert(self, data: str) -> str:
        at = self._rng.randrange(len(data) or 1)
        return data[:at] + self._rng.choice(TOKENS) + data[at:]

    def _replace(self, data: str) -> str:
        """Replace a JSON value by another."""
        at = data.find(":", self._rng.randrange(len(data) or 1)) + 1
        end = min((place for mark in ",}" if (place := data.find(mark, at)) > 0), default=at)
        return data[:at] + self._rng.choice(TOKENS) + data[end:]

    def _cut(self, data: str) -> str:
        return data[: self._rng.randrange(len(data) or 1)]

    def _splice(self, data: str) -> str:
        other = self._rng.choice(self._frames)
        return self._cut(data) + other[self._rng.randrange(len(other)) :]

    _spoilers: tuple[Callable[[Mutator, str], str], ...] = (
        *(_flip, _drop, _insert, _replace, _replace),
        *(_cut, _splice),
    )


# ------------------------------------------------------------------------------------------ reading


class Reader:
    """Decodes frames as the program does, and counts the resulting events."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._fresh()

    def read(self, frame: str | bytes, *, converse: bool) -> None:
        """Decode a frame. Every frame results in some event."""
        data = wire.read_frame(frame)
        events: list[ServerEvent] = [data] if isinstance(data, Unknown) else wire.decode(data)
        assert events, "a frame became nothing"
        if not isinstance(data, Unknown):
            compact_json(data).encode()  # as a trace does
        self.counts[type(events[0]).__name__] += 1
        if converse:
            for event in events:
                self._tell(event)

    def _fresh(self) -> None:
        """A conversation with one question sent."""
        self._left = LIFE
        self._conversation = Conversation("m", Options(modality="text"), mode=Mode.CHAT)
        for event in (Started(), *_HELLO, UserSaid("hi")):
            self._conversation.handle(event)

    def _tell(self, event: ServerEvent | TimerFired | ConnectionLost) -> None:
        effects = self._conversation.handle(event)
        self._left -= 1
        if self._left == 0 or any(isinstance(effect, Stop) for effect in effects):
            self._fresh()
        elif any(isinstance(effect, Connect) for effect in effects):
            for hello in _HELLO:
                self._conversation.handle(hello)
        elif self._left % 20 == 0:
            self._conversation.handle(TimerFired(Timer.LIMIT))
            self._conversation.handle(UserSaid("And?"))


_HELLO = (ConnectionOpened(), SessionCreated("s", "m"), SessionUpdated("s", "m"))


def fuzz(frames: int, seed: int) -> Counter[str]:
    """Decode this many damaged frames. Returns the number of events of each type."""
    mutator, reader = Mutator(seed), Reader()
    for number in range(frames):
        frame = mutator.frame()
        try:
            reader.read(frame, converse=number % EVERY == 0)
        except Exception as error:
            error.add_note(f"frame {number} of seed {seed}: {frame!r}"[:2000])
            raise
    return reader.counts


def main() -> int:
    """Run the fuzzer and print the results."""
    frames, seed = (int(argument) for argument in (*sys.argv[1:], "1000000", "1")[:2])
    began = time.perf_counter()
    counts = fuzz(frames, seed)
    seconds = time.perf_counter() - began
    out = [f"{frames} frames, seed {seed}: no exception in {seconds:.0f} s"]
    out += [f"{count:9d}  {name}" for name, count in counts.most_common()]
    sys.stdout.write("\n".join(out) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
