"""A dialogue of the server that is fed JSON, for tests without a socket.

Every event that it answers with is judged by the oracle. Not here: any test.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

from rtchat.core.values import Dialect
from rtchat.server.audio_input import Transcribe
from rtchat.server.engine import CallPiece, Engine, Finish
from rtchat.server.protocol import NO_VOICE, Output, ProtocolSession, StartResponse, StopResponse
from rtchat.server.response import Speak
from rtchat.server.script import EchoEngine
from rtchat.server.voice import Voice
from tests.oracle import assert_server_event


class Desk:
    """Ids count up from one. What is to be done about engines and voices is noted."""

    def __init__(
        self,
        engine: Engine | None = None,
        dialect: Dialect = Dialect.GA,
        voice: Voice | str = NO_VOICE,
        *,
        transcribes: bool = False,
    ) -> None:
        numbers = count(1)
        self.protocol = ProtocolSession(
            engine or EchoEngine(),
            new_id=lambda prefix: f"{prefix}_{next(numbers)}",
            now=1000.0,
            voice=voice,
            model="m",
            dialect=dialect,
            transcribes=transcribes,
        )
        self.is_ga = dialect is Dialect.GA
        self.begun: list[StartResponse] = []
        self.halted: list[str] = []
        self.speaks: list[Speak] = []
        self.hears: list[Transcribe] = []

    def send(self, *events: dict[str, object]) -> list[dict[str, Any]]:
        """What these events are answered with."""
        return self.read(
            [output for event in events for output in self.protocol.receive(as_json(event))]
        )

    def read(self, outputs: Sequence[Output]) -> list[dict[str, Any]]:
        """The events among these; the rest is noted."""
        self.begun += [output for output in outputs if isinstance(output, StartResponse)]
        self.speaks += [output for output in outputs if isinstance(output, Speak)]
        self.hears += [output for output in outputs if isinstance(output, Transcribe)]
        self.halted += [output.reply_id for output in outputs if isinstance(output, StopResponse)]
        read = [json.loads(output) for output in outputs if isinstance(output, str)]
        if self.is_ga:
            for event in read:
                assert_server_event(event)
        return read

    def say(self, piece: str | CallPiece) -> list[dict[str, Any]]:
        """The engine of the last reply says this."""
        return self.read(self.protocol.say(self.begun[-1].reply_id, piece))

    def finish(self, finish: Finish) -> list[dict[str, Any]]:
        """It has said all."""
        return self.read(self.protocol.finish(self.begun[-1].reply_id, finish))

    def sound(self, audio: bytes) -> list[dict[str, Any]]:
        """The voice says this for the last sentence."""
        return self.read(self.protocol.sound(self.speaks[-1].reply_id, audio))

    def spoken(self, failure: str = "") -> list[dict[str, Any]]:
        """It has said that sentence."""
        return self.read(self.protocol.spoken(self.speaks[-1].reply_id, failure))

    def heard(
        self, text: str, failure: str = "", *, hear: Transcribe | None = None
    ) -> list[dict[str, Any]]:
        """These were the words of the last recording, unless it is another."""
        item_id = (hear or self.hears[-1]).item_id
        outputs = self.protocol.hear(item_id, text)
        return self.read([*outputs, *self.protocol.heard(item_id, failure)])


def as_json(event: dict[str, object]) -> str:
    return json.dumps(event)


def types(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]
