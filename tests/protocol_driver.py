"""Drives a server's protocol session with JSON events, for tests without a socket.

The oracle validates every event of the server.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

from rtchat.core.values import Dialect
from rtchat.server.audio_input import Transcribe, TranscribeEarly
from rtchat.server.engine import Answer, CallPiece, Engine, Finish, ModelInput
from rtchat.server.outputs import Output, PrepareAnswer, StartResponse, StopResponse
from rtchat.server.protocol import NO_VOICE, ProtocolSession
from rtchat.server.response import Speak
from rtchat.server.script import EchoEngine
from rtchat.server.tone_voice import ToneVoice
from rtchat.server.voice import Voice
from tests.oracle import assert_server_event


class _RecordingEngine(EchoEngine):
    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[ModelInput] = []

    def answer(self, prompt: ModelInput) -> Answer:
        self.prompts.append(prompt)
        return super().answer(prompt)


_TEXTS = {
    "text": "text",
    "audio_transcript": "transcript",
    "function_call_arguments": "arguments",
}
"""The field of a `done` event that repeats the text of its deltas."""


class EarlyVoice(ToneVoice):
    """A voice that also transcribes unfinished turns."""

    transcribes_early = True


class ProtocolDriver:
    """Ids are numbered from one. Actions for engines and voices are recorded, and so are the
    prompts unless another engine is given."""

    def __init__(
        self,
        engine: Engine | None = None,
        dialect: Dialect = Dialect.GA,
        voice: Voice | str = NO_VOICE,
        *,
        transcribes: bool = False,
        model: str = "m",
    ) -> None:
        numbers = count(1)
        default = _RecordingEngine()
        self.prompts = default.prompts
        self.protocol = ProtocolSession(
            engine or default,
            new_id=lambda prefix: f"{prefix}_{next(numbers)}",
            now=1000.0,
            voice=voice,
            model=model,
            dialect=dialect,
            transcribes=transcribes,
        )
        self.is_ga = dialect is Dialect.GA
        self.started: list[StartResponse] = []
        self.stopped: list[str] = []
        self.speaks: list[Speak] = []
        self.transcriptions: list[Transcribe] = []
        self.early: list[TranscribeEarly] = []
        self.prepared: list[ModelInput] = []
        self._sent: dict[str, str] = {}
        """The text of the deltas so far, by item id."""

    def send(self, *events: dict[str, object]) -> list[dict[str, Any]]:
        """Send events. Returns the server's events."""
        return self.read(
            [output for event in events for output in self.protocol.receive(as_json(event))]
        )

    def read(self, outputs: Sequence[Output]) -> list[dict[str, Any]]:
        """Returns the events among `outputs` and records the other actions."""
        self.started += [output for output in outputs if isinstance(output, StartResponse)]
        self.speaks += [output for output in outputs if isinstance(output, Speak)]
        self.transcriptions += [output for output in outputs if isinstance(output, Transcribe)]
        self.early += [output for output in outputs if isinstance(output, TranscribeEarly)]
        self.prepared += [output.prompt for output in outputs if isinstance(output, PrepareAnswer)]
        self.stopped += [
            output.response_id for output in outputs if isinstance(output, StopResponse)
        ]
        read = [json.loads(output) for output in outputs if isinstance(output, str)]
        for event in read:
            self._check_text(event)
            if self.is_ga:
                assert_server_event(event)
        return read

    def _check_text(self, event: dict[str, Any]) -> None:
        """Whatever ends, also early, has exactly the text of its deltas. Some clients show both if
        they differ."""
        channel, _, last = event["type"].rpartition(".")
        whole = _TEXTS.get(channel.removeprefix("response.").removeprefix("output_"))
        if whole is not None:
            key = event["item_id"]
            if last == "delta":
                self._sent[key] = self._sent.get(key, "") + event["delta"]
            else:
                assert event[whole] == self._sent.get(key, "")
        if event["type"] == "response.output_item.done":
            item = event["item"]
            parts = item.get("content", [{"text": item.get("arguments", "")}])
            texts = [part.get("text", part.get("transcript")) or "" for part in parts]
            assert "".join(texts) == self._sent.get(item["id"], "")

    def say(self, piece: str | CallPiece) -> list[dict[str, Any]]:
        """Add a piece to the last response."""
        return self.read(self.protocol.add_piece(self.started[-1].response_id, piece))

    def finish(self, finish: Finish) -> list[dict[str, Any]]:
        """End the last response."""
        return self.read(self.protocol.finish(self.started[-1].response_id, finish))

    def add_audio(self, audio: bytes) -> list[dict[str, Any]]:
        """Add audio of the last sentence."""
        return self.read(self.protocol.add_audio(self.speaks[-1].response_id, audio))

    def end_speech(self, failure: str = "") -> list[dict[str, Any]]:
        """End the last sentence."""
        return self.read(self.protocol.end_speech(self.speaks[-1].response_id, failure))

    def end_early(self, text: str | None, index: int = -1) -> list[dict[str, Any]]:
        """End a transcription of an unfinished turn (by default the last one) with this text."""
        item_id = self.early[index].item_id
        return self.read(self.protocol.add_early_transcript(item_id, text))

    def end_transcript(
        self, text: str, failure: str = "", *, transcription: Transcribe | None = None
    ) -> list[dict[str, Any]]:
        """End a transcription (by default the last one) with this text."""
        item_id = (transcription or self.transcriptions[-1]).item_id
        outputs = self.protocol.add_transcript(item_id, text)
        return self.read([*outputs, *self.protocol.end_transcript(item_id, failure)])


def as_json(event: dict[str, object]) -> str:
    return json.dumps(event)


def types(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]
