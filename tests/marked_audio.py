"""Long recordings whose words are marks, and a server that reads them.

Each second of a recording is a word: a number, followed by a pause. All samples of the word are the
number, so that a transcript shows which audio was sent, in which order and whether it was complete.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from array import array
from base64 import b64decode
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from tests.faulty import error, frame, reset
from tests.program import PATIENCE
from tests.sounds import SECOND, write_wav

FIRST = 1000
"""The number of the first word."""
WORD, PAUSE = 0.7, 0.3
"""Seconds."""
_WORD_SAMPLES = round(WORD * SECOND) // 2
_SOUND = re.compile(rb"[^\0]")


def recording(seconds: int) -> bytes:
    """One word in each second."""
    pause = bytes(SECOND - 2 * _WORD_SAMPLES)
    words = (array("h", [FIRST + number]).tobytes() for number in range(seconds))
    return b"".join(word * _WORD_SAMPLES + pause for word in words)


def write_recording(path: Path, seconds: int) -> Path:
    """Write a WAV file with one word in each second."""
    return write_wav(path, recording(seconds))


def words_in(audio: bytes) -> list[str]:
    """The words; those that are cut are marked."""
    words: list[str] = []
    place = 0
    while sound := _SOUND.search(audio, place):
        start = sound.start() // 2 * 2
        sample = audio[start : start + 2]
        is_whole = audio.startswith(sample * _WORD_SAMPLES, start)
        words.append(f"{'' if is_whole else 'cut-'}{int.from_bytes(sample, 'little')}")
        place = start + 2 * _WORD_SAMPLES
        while not is_whole and audio[start : start + 2] == sample:
            place = start = start + 2
    return words


def expected(seconds: int) -> list[str]:
    """All words of a recording."""
    return [f"{FIRST + number}" for number in range(seconds)]


class MarkServer:
    """Transcribes marks, one turn for each session.

    More than `sessions` at once are refused: by HTTP (`refuses_by` "http"), or by an error event
    ("error") after the connection is made. `faults` are words whose first transcription fails, with
    `always` every one: "reset" breaks the connection without a transcript; others are the
    error codes of failed transcriptions. Each session takes `delay` seconds for a minute of audio.
    """

    def __init__(
        self,
        *,
        sessions: int = 100,
        refuses_by: str = "error",
        faults: Mapping[str, str] | None = None,
        always: bool = False,
        delay: float = 0.0,
    ) -> None:
        self._sessions = sessions
        self._refuses_by = refuses_by
        self._faults = dict(faults or {})
        self._always = always
        self._delay = delay
        self._open = 0
        self._held = ""
        self._is_held = threading.Event()
        self._healed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.most = 0
        """The most sessions at once."""
        self.heard: list[list[str]] = []
        """The words of each session whose audio is complete."""

    def hold_at(self, word: str) -> None:
        """Do not transcribe audio with this word."""
        self._held = word

    def wait_for_hold(self) -> None:
        """Wait until audio with this word has arrived."""
        assert self._is_held.wait(PATIENCE)

    def heal(self) -> None:
        """Transcribe everything from now on."""
        self._held = ""
        self._faults.clear()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._healed.set)

    def refuse(self, client: ServerConnection, _: Request) -> Response | None:
        """Answer a handshake by HTTP if there are too many sessions."""
        if self._refuses_by == "http" and self._open >= self._sessions:
            return client.respond(HTTPStatus.TOO_MANY_REQUESTS, "")
        return None

    async def talk(self, client: ServerConnection) -> None:
        """One connection."""
        if self._open >= self._sessions:
            await client.send(error("rate_limit_exceeded", "too many sessions"))
            await client.close(1013)
            return
        self._open += 1
        self.most = max(self.most, self._open)
        try:
            await self._serve(client)
        finally:
            self._open -= 1

    async def _serve(self, client: ServerConnection) -> None:
        session = {"type": "transcription", "id": f"s{len(self.heard)}"}
        await client.send(frame("session.created", session=session))
        audio = bytearray()
        async for data in client:
            event: dict[str, Any] = json.loads(data)
            match event["type"]:
                case "session.update":
                    await client.send(frame("session.updated", session=session))
                case "input_audio_buffer.append":
                    audio += b64decode(event["audio"])
                case "input_audio_buffer.commit" if not audio:
                    await client.send(error("input_audio_buffer_commit_empty", "no audio"))
                case "input_audio_buffer.commit":
                    await client.send(frame("input_audio_buffer.committed", item_id="u"))
                    await self._transcribe(client, bytes(audio))
                    audio.clear()
                case "input_audio_buffer.clear":
                    await client.send(frame("input_audio_buffer.cleared"))
                case _:
                    pass

    async def _transcribe(self, client: ServerConnection, audio: bytes) -> None:
        words = words_in(audio)
        self.heard.append(words)
        if self._held in words:
            await self._hold(client)
        await asyncio.sleep(self._delay * len(audio) / SECOND / 60)
        where = {"item_id": "u", "content_index": 0}
        kind = "conversation.item.input_audio_transcription"
        for fault in self._take_faults(words):
            if fault == "reset":
                reset(client)
            else:
                details = {"message": "noise", "code": fault}
                await client.send(frame(f"{kind}.failed", error=details, **where))
            return
        await client.send(frame(f"{kind}.completed", transcript=" ".join(words), **where))

    async def _hold(self, client: ServerConnection) -> None:
        """Wait until everything is transcribed, or the client has gone."""
        self._loop = asyncio.get_running_loop()
        self._is_held.set()
        ends = [asyncio.ensure_future(end) for end in (self._healed.wait(), client.wait_closed())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()

    def _take_faults(self, words: list[str]) -> list[str]:
        hit = [word for word in words if word in self._faults]
        return [self._faults[word] if self._always else self._faults.pop(word) for word in hit]
