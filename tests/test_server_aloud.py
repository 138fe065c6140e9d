"""Voices over real sockets: a turn spoken and heard, interrupted, transcribed, and badly sent."""

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
from tests.loopback import Peer, configure, joined, reply, text_of, user
from tests.test_server_voice import (
    COMMIT,
    QUIET,
    SPEECH,
    TURN,
    VAD,
    append,
    listen,
    sound,
    transcribe,
)


def spoken(events: Sequence[dict[str, Any]]) -> bytes:
    """The deltas of audio, joined."""
    deltas = [e["delta"] for e in events if e["type"] == "response.output_audio.delta"]
    return b"".join(b64decode(delta) for delta in deltas)


async def stream(peer: Peer, audio: bytes, ms: int = 20) -> None:
    """Send audio as a microphone does, but for the waiting."""
    for at in range(0, len(audio), ms * BYTES_A_MS):
        await peer.send(append(audio[at : at + ms * BYTES_A_MS]))


def test_a_spoken_question_gets_a_spoken_answer() -> None:
    async def main() -> None:
        voice = ToneVoice(("How are you? I am well.",))
        async with run_server(EchoEngine(), voice=voice) as url, joined(url) as peer:
            await peer.send(listen(VAD, transcription={"model": "whisper-1"}))
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


def test_speech_stops_an_engine_and_a_voice() -> None:
    async def main() -> None:
        engine = ScriptEngine(Script((Rule("long", deltas=("One. ",), end=None), Rule())))
        async with run_server(engine, voice=ToneVoice()) as url, joined(url) as peer:
            await peer.send(listen(VAD), user("long"), reply())
            await peer.until("response.output_audio.delta")
            await stream(peer, SPEECH)
            events = await peer.until("response.done")
            assert events[-1]["response"]["status_details"]["reason"] == "turn_detected"

    asyncio.run(main())


class Endless(ToneVoice):
    """A voice that does not stop by itself, and counts who stopped it."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = asyncio.Event()

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield sound(5000)
        finally:
            self.stopped.set()


def test_a_cancel_is_quick_however_much_is_to_be_said() -> None:
    async def main() -> None:
        voice = Endless()
        async with run_server(EchoEngine(), voice=voice) as url, joined(url) as peer:
            await peer.send(user("hi"), reply())
            await peer.until("response.output_audio.delta")
            await peer.send({"type": "response.cancel"})
            events = await peer.until("response.done")
            assert events[-1]["response"]["status"] == "cancelled"
            await asyncio.wait_for(voice.stopped.wait(), 20)
            item_id = events[-1]["response"]["output"][0]["id"]
            cut: dict[str, object] = {"type": "conversation.item.truncate", "item_id": item_id}
            await peer.send(cut | {"content_index": 0, "audio_end_ms": 100})
            assert (await peer.receive())["type"] == "conversation.item.truncated"

    asyncio.run(main())


def test_a_client_that_vanishes_stops_the_voice() -> None:
    async def main() -> None:
        voice = Endless()
        async with run_server(EchoEngine(), voice=voice) as url, joined(url) as peer:
            await peer.send(user("hi"), reply())
            await peer.until("response.output_audio.delta")
            peer.socket.transport.abort()
            await asyncio.wait_for(voice.stopped.wait(), 20)

    asyncio.run(main())


class Broken(ToneVoice):
    """A voice with faults of its own."""

    async def hear(self, audio: bytes) -> AsyncGenerator[str, None]:
        yield "Hello"
        raise ValueError("deaf")

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        yield sound(10)
        raise ValueError("hoarse")


def test_a_voice_s_fault_is_a_failed_reply() -> None:
    async def main() -> None:
        async with run_server(EchoEngine(), voice=Broken()) as url, joined(url) as peer:
            await peer.send(user("hi"), reply())
            done = (await peer.until("response.done"))[-1]["response"]
            problem = done["status_details"]["error"]
            assert problem["message"] == "The voice failed: ValueError: hoarse"
            await peer.send(listen(None, transcription={}), append(sound(100)), COMMIT)
            failed = (await peer.until("conversation.item.input_audio_transcription.failed"))[-1]
            assert failed["error"]["message"] == "The ears failed: ValueError: deaf"
            await peer.send(configure(output_modalities=["text"]), user("still here"))
            await peer.send(reply(input=[user("still here")["item"]]))
            assert text_of(await peer.until("response.done")) == "still here"

    asyncio.run(main())


class Gate(ToneVoice):
    """Ears that hear nothing before they may."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = asyncio.Event()
        self.hearing = 0

    async def hear(self, audio: bytes) -> AsyncGenerator[str, None]:
        self.hearing += 1
        await self.opened.wait()
        yield f"words {self.hearing}"


def test_a_client_waits_while_too_much_is_to_be_heard() -> None:
    async def main() -> None:
        voice = Gate()
        async with run_server(EchoEngine(), voice=voice) as url, joined(url) as peer:
            await peer.send(listen(None))
            for _ in range(20):
                await peer.send(append(sound(100)), COMMIT)
            for _ in range(8):
                await peer.until("conversation.item.done")
            await peer.send({"type": "conversation.item.retrieve", "item_id": "x"})
            assert voice.hearing == 1  # and seven wait, and so does the client
            voice.opened.set()
            await peer.until("error")
            assert voice.hearing >= 13  # of twenty: no more than seven wait

    asyncio.run(main())


def test_a_client_waits_rather_than_be_refused_what_it_says() -> None:
    async def main() -> None:
        voice = Gate()
        limits = ServerLimits(session_bytes=40_000)  # of which recordings take 4,800 each
        async with run_server(EchoEngine(), voice=voice, limits=limits) as url, joined(url) as peer:
            await peer.send(listen(None, transcription={}))
            for _ in range(20):
                await peer.send(append(sound(100)), COMMIT)
            await peer.until("conversation.item.done")
            voice.opened.set()
            for _ in range(20):
                done = "conversation.item.input_audio_transcription.completed"
                assert (await peer.until(done, "error"))[-1]["type"] == done

    asyncio.run(main())


@pytest.mark.parametrize("recordings", [1, 10])
def test_a_client_that_leaves_is_heard_no_more(recordings: int) -> None:
    class Listener(Gate):
        async def hear(self, audio: bytes) -> AsyncGenerator[str, None]:
            try:
                async for piece in super().hear(audio):
                    yield piece
            finally:
                self.hearing -= 1
                if not self.hearing:
                    self.opened.set()

    async def main() -> None:
        voice = Listener()
        limits = ServerLimits(client_seconds=1)
        async with run_server(EchoEngine(), voice=voice, limits=limits) as url, joined(url) as peer:
            await peer.send(listen(None))
            for _ in range(recordings):
                await peer.send(append(sound(100)), COMMIT)
            for _ in range(min(recordings, 8)):
                await peer.until("conversation.item.done")
            peer.socket.transport.abort()
            await asyncio.wait_for(voice.opened.wait(), 20)

    asyncio.run(main())


def test_bad_audio_is_an_error_each_and_the_conversation_goes_on() -> None:
    async def main() -> None:
        async with run_server(EchoEngine(), voice=ToneVoice()) as url, joined(url) as peer:
            await peer.send(configure(output_modalities=["text"]), listen(None))
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


def test_much_audio_at_once_keeps_nobody_else_waiting() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def nothing() -> None:
            """What needs the loop to be free."""

        class Slow(LoudnessDetector):
            def feed(self, audio: bytes) -> list[float]:
                asyncio.run_coroutine_threadsafe(nothing(), loop).result(20)
                return super().feed(audio)

        class Careful(ToneVoice):
            def detector(self) -> LoudnessDetector:
                return Slow()

        async with run_server(EchoEngine(), voice=Careful()) as url, joined(url) as peer:
            await peer.send(append(sound(1100, QUIET)), append(bytes(15_000_000)))
            await peer.send({"type": "response.cancel"})
            await peer.until("error")

    asyncio.run(main())


def test_a_session_for_transcription() -> None:
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
