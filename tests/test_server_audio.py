"""Voices over real sockets: spoken turns, interruptions, transcription and invalid audio."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from rtchat.core.values import BYTES_A_MS
from rtchat.server.limits import ServerLimits
from rtchat.server.script import EchoEngine, Rule, Script, ScriptEngine
from rtchat.server.sockets import run_server
from rtchat.server.tone_voice import CHARACTER_MS, LoudnessDetector, ToneVoice
from rtchat.server.turn_detection import PAUSE_MS
from tests.loopback import Peer, configure, joined, reply, text_of, user
from tests.program import PATIENCE
from tests.test_server_voice import (
    COMMIT,
    QUIET,
    SPEECH,
    TURN,
    VAD,
    append,
    configure_input,
    pcm,
    transcribe,
)


def spoken(events: Sequence[dict[str, Any]]) -> bytes:
    """The joined audio deltas."""
    deltas = [e["delta"] for e in events if e["type"] == "response.output_audio.delta"]
    return b"".join(b64decode(delta) for delta in deltas)


async def stream(peer: Peer, audio: bytes, ms: int = 20) -> None:
    """Send audio in small pieces like a microphone, but without waiting."""
    for at in range(0, len(audio), ms * BYTES_A_MS):
        await peer.send(append(audio[at : at + ms * BYTES_A_MS]))


def test_a_spoken_question_gets_a_spoken_answer() -> None:
    async def main() -> None:
        voice = ToneVoice(("How are you? I am well.",))
        async with run_server(EchoEngine(), voice=voice) as url, joined(url) as peer:
            await peer.send(configure_input(VAD, transcription={"model": "whisper-1"}))
            await stream(peer, TURN)
            events = await peer.until("response.done")
            assert events[-1]["response"]["status_details"] is None
            (item,) = events[-1]["response"]["output"]
            assert item["content"][0]["transcript"] == "How are you? I am well."
            assert len(spoken(events)) == (12 + 10) * CHARACTER_MS * BYTES_A_MS
            longest = max(
                len(e["delta"]) for e in events if e["type"] == "response.output_audio.delta"
            )
            assert longest <= 100 * BYTES_A_MS * 4 // 3

    asyncio.run(main())


def test_speech_stops_the_engine_and_the_voice() -> None:
    async def main() -> None:
        engine = ScriptEngine(Script((Rule("long", deltas=("One. ",), end=None), Rule())))
        async with run_server(engine, voice=ToneVoice()) as url, joined(url) as peer:
            await peer.send(configure_input(VAD), user("long"), reply())
            await peer.until("response.output_audio.delta")
            await stream(peer, SPEECH)
            events = await peer.until("response.done")
            assert events[-1]["response"]["status_details"]["reason"] == "turn_detected"

    asyncio.run(main())


class EndlessVoice(ToneVoice):
    """A voice that speaks endlessly and records when it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = asyncio.Event()

    async def speak(self, text: str, speed: float = 1.0) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield pcm(5000)
        finally:
            self.stopped.set()


def test_a_cancel_stops_endless_speech() -> None:
    async def main() -> None:
        voice = EndlessVoice()
        async with run_server(EchoEngine(), voice=voice) as url, joined(url) as peer:
            await peer.send(user("hi"), reply())
            await peer.until("response.output_audio.delta")
            await peer.send({"type": "response.cancel"})
            events = await peer.until("response.done")
            assert events[-1]["response"]["status"] == "cancelled"
            await asyncio.wait_for(voice.stopped.wait(), PATIENCE)
            item_id = events[-1]["response"]["output"][0]["id"]
            cut: dict[str, object] = {"type": "conversation.item.truncate", "item_id": item_id}
            await peer.send(cut | {"content_index": 0, "audio_end_ms": 100})
            assert (await peer.receive())["type"] == "conversation.item.truncated"

    asyncio.run(main())


def test_a_client_that_disconnects_stops_the_voice() -> None:
    async def main() -> None:
        voice = EndlessVoice()
        async with run_server(EchoEngine(), voice=voice) as url, joined(url) as peer:
            await peer.send(user("hi"), reply())
            await peer.until("response.output_audio.delta")
            peer.socket.transport.abort()
            await asyncio.wait_for(voice.stopped.wait(), PATIENCE)

    asyncio.run(main())


class BrokenVoice(ToneVoice):
    """A voice that raises exceptions."""

    async def transcribe(self, audio: bytes) -> AsyncGenerator[str, None]:
        yield "Hello"
        raise ValueError("deaf")

    async def speak(self, text: str, speed: float = 1.0) -> AsyncGenerator[bytes, None]:
        yield pcm(10)
        raise ValueError("hoarse")


def test_a_voice_error_fails_the_response() -> None:
    async def main() -> None:
        async with run_server(EchoEngine(), voice=BrokenVoice()) as url, joined(url) as peer:
            await peer.send(user("hi"), reply())
            done = (await peer.until("response.done"))[-1]["response"]
            problem = done["status_details"]["error"]
            assert problem["code"] == "server_error"
            assert "ValueError: hoarse" in problem["message"]
            await peer.send(configure_input(None, transcription={}), append(pcm(100)), COMMIT)
            failed = (await peer.until("conversation.item.input_audio_transcription.failed"))[-1]
            assert "ValueError: deaf" in failed["error"]["message"]
            await peer.send(configure(output_modalities=["text"]), user("still here"))
            await peer.send(reply(input=[user("still here")["item"]]))
            assert text_of(await peer.until("response.done")) == "still here"

    asyncio.run(main())


class WaitingVoice(ToneVoice):
    """A voice whose transcriptions wait for an event."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = asyncio.Event()
        self.hearing = 0

    async def transcribe(self, audio: bytes) -> AsyncGenerator[str, None]:
        self.hearing += 1
        await self.opened.wait()
        yield f"words {self.hearing}"


def test_pending_transcriptions_pause_reading() -> None:
    async def main() -> None:
        voice = WaitingVoice()
        async with run_server(EchoEngine(), voice=voice) as url, joined(url) as peer:
            await peer.send(configure_input(None))
            for _ in range(20):
                await peer.send(append(pcm(100)), COMMIT)
            for _ in range(8):
                await peer.until("conversation.item.done")
            await peer.send({"type": "conversation.item.retrieve", "item_id": "x"})
            assert voice.hearing == 1  # seven more are pending, and the server has stopped reading
            voice.opened.set()
            await peer.until("error")
            assert voice.hearing >= 13  # of twenty: at most seven are pending

    asyncio.run(main())


def test_pending_audio_pauses_reading_before_the_limit_is_reached() -> None:
    async def main() -> None:
        voice = WaitingVoice()
        limits = ServerLimits(session_bytes=40_000)  # each recording takes 4,800 bytes
        async with run_server(EchoEngine(), voice=voice, limits=limits) as url, joined(url) as peer:
            await peer.send(configure_input(None, transcription={}))
            for _ in range(20):
                await peer.send(append(pcm(100)), COMMIT)
            await peer.until("conversation.item.done")
            voice.opened.set()
            for _ in range(20):
                done = "conversation.item.input_audio_transcription.completed"
                assert (await peer.until(done, "error"))[-1]["type"] == done

    asyncio.run(main())


@pytest.mark.parametrize("recordings", [1, 10])
def test_a_disconnect_stops_transcriptions(recordings: int) -> None:
    class CountingVoice(WaitingVoice):
        async def transcribe(self, audio: bytes) -> AsyncGenerator[str, None]:
            try:
                async for piece in super().transcribe(audio):
                    yield piece
            finally:
                self.hearing -= 1
                if not self.hearing:
                    self.opened.set()

    async def main() -> None:
        voice = CountingVoice()
        limits = ServerLimits(client_seconds=1)
        async with run_server(EchoEngine(), voice=voice, limits=limits) as url, joined(url) as peer:
            await peer.send(configure_input(None))
            for _ in range(recordings):
                await peer.send(append(pcm(100)), COMMIT)
            for _ in range(min(recordings, 8)):
                await peer.until("conversation.item.done")
            peer.socket.transport.abort()
            await asyncio.wait_for(voice.opened.wait(), PATIENCE)

    asyncio.run(main())


def test_invalid_audio_is_an_error_and_the_session_continues() -> None:
    async def main() -> None:
        async with run_server(EchoEngine(), voice=ToneVoice()) as url, joined(url) as peer:
            await peer.send(configure(output_modalities=["text"]), configure_input(None))
            for event, code in (
                (append(bytes(16_000_000)), "invalid_value"),
                (append(bytes(16 * 1024 * 1024)), "invalid_value"),
                ({"type": "input_audio_buffer.append", "audio": "wrong"}, "invalid_value"),
                (COMMIT, "input_audio_buffer_commit_empty"),
            ):
                await peer.send(event)
                assert (await peer.until("error"))[-1]["error"]["code"] == code
            await peer.send(append(bytes(15 * 1024 * 1024)), append(b"\x01"), COMMIT)
            await peer.until("conversation.item.done")
            await peer.send(user("still here"), reply(input=[user("still here")["item"]]))
            assert text_of(await peer.until("response.done")) == "still here"

    asyncio.run(main())


def test_processing_much_audio_does_not_block_the_loop() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def nothing() -> None:
            """Runs only if the loop is not blocked."""

        class SlowDetector(LoudnessDetector):
            def feed(self, audio: bytes) -> list[float]:
                asyncio.run_coroutine_threadsafe(nothing(), loop).result(20)
                return super().feed(audio)

        class SlowVoice(ToneVoice):
            def detector(self) -> LoudnessDetector:
                return SlowDetector()

        async with run_server(EchoEngine(), voice=SlowVoice()) as url, joined(url) as peer:
            await peer.send(append(pcm(1100, QUIET)), append(bytes(15_000_000)))
            await peer.send({"type": "response.cancel"})
            await peer.until("error")

    asyncio.run(main())


def test_a_transcription_session_over_a_socket() -> None:
    async def check(peer: Peer) -> None:
        (created,) = await peer.until("session.created")
        assert created["session"]["type"] == "transcription"
        await peer.send(transcribe(audio={"input": {"turn_detection": VAD}}))
        for words in ("one", "two"):
            await stream(peer, TURN)
            last = "conversation.item.input_audio_transcription.completed"
            assert (await peer.until(last))[-1]["transcript"] == words
        await peer.send(reply())
        assert (await peer.until("error"))[-1]["error"]["code"] == "invalid_parameter"

    async def main() -> None:
        voice = ToneVoice(("one", "two"))
        async with (
            run_server(EchoEngine(), voice=voice) as url,
            joined(f"{url}?intent=transcription") as peer,
        ):
            await check(peer)

    asyncio.run(main())


@pytest.mark.parametrize("query", ["?intent=other", "?model=transcription", ""])
def test_other_sessions_are_realtime(query: str) -> None:
    async def main() -> None:
        async with run_server(EchoEngine()) as url, joined(url + query) as peer:
            assert (await peer.receive())["session"]["type"] == "realtime"

    asyncio.run(main())


class EarlyVoice(ToneVoice):
    """A voice that transcribes unfinished turns, and records what it hears."""

    transcribes_early = True

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.heard: list[int] = []
        self._failures = failures

    async def transcribe(self, audio: bytes) -> AsyncGenerator[str, None]:
        self.heard.append(len(audio) // BYTES_A_MS)
        if len(self.heard) <= self._failures:
            raise ValueError("deaf")
        yield "Hello."


SLOW = {"type": "server_vad", "prefix_padding_ms": 0, "silence_duration_ms": 320}
HALF_SECOND = pcm(320) + pcm(320, QUIET)


@pytest.mark.parametrize(("failures", "heard"), [(0, [320 + PAUSE_MS]), (1, [320 + PAUSE_MS, 640])])
def test_a_turn_is_transcribed_before_its_end(failures: int, heard: list[int]) -> None:
    async def main() -> None:
        voice = EarlyVoice(failures)
        async with run_server(EchoEngine(), voice=voice) as url, joined(url) as peer:
            await peer.send(configure(output_modalities=["text"]))
            await peer.send(configure_input(SLOW, transcription={}))
            await stream(peer, HALF_SECOND)
            assert text_of(await peer.until("response.done")) == "Hello."
            assert voice.heard == heard

    asyncio.run(main())


def test_the_turns_of_a_recording_are_transcribed_once() -> None:
    async def main() -> None:
        voice = EarlyVoice()
        async with run_server(EchoEngine(), voice=voice) as url, joined(url) as peer:
            await peer.send(configure_input({**SLOW, "create_response": False}, transcription={}))
            await peer.send(append(pcm(60_000, QUIET) + HALF_SECOND))
            await peer.until("conversation.item.input_audio_transcription.completed")
            assert voice.heard == [640]

    asyncio.run(main())
