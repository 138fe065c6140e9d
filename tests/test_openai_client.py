"""The official `openai` package's client holds a conversation with our server."""

from __future__ import annotations

import asyncio

import pytest
from openai import AuthenticationError
from websockets.exceptions import InvalidStatus

from rtchat.core.values import BYTES_A_MS
from rtchat.server.engine import CallPiece
from rtchat.server.script import Rule, Script, ScriptEngine
from rtchat.server.sockets import run_server
from rtchat.server.tone_voice import CHARACTER_MS, ToneVoice
from tests.official import (
    ask,
    audio,
    client,
    connected,
    done,
    heard,
    hold_tool_round,
    speak,
    talking,
    transcript,
    until,
)
from tests.test_server_voice import SPEECH, TURN


def script() -> ScriptEngine:
    return ScriptEngine(
        Script(
            (
                Rule("slow", deltas=("well ",), end=None),
                Rule("sum", deltas=("four",)),
                Rule(
                    "weather",
                    calls=(CallPiece(0, '{"city"', "weather"), CallPiece(0, ': "Oslo"}')),
                ),
                Rule(match_output="sunny", deltas=("It is ", "sunny.")),
                Rule(deltas=("Hello, ", "you.")),
            )
        )
    )


def test_a_conversation() -> None:
    async def main() -> None:
        async with talking(script()) as connection:
            await ask(connection, "hi")
            events = await until(connection, "response.done")
            deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
            assert deltas == ["Hello, ", "you."]
            assert done(events).status == "completed"
            await ask(connection, "a sum")
            events = await until(connection, "response.done")
            assert [e.text for e in events if e.type == "response.output_text.done"] == ["four"]
            usage = done(events).usage
            assert usage is not None
            assert (usage.input_tokens, usage.output_tokens) == (6, 1)

    asyncio.run(main())


def test_a_forced_tool_call() -> None:
    async def main() -> None:
        async with talking(script()) as connection:
            assert await hold_tool_round(connection, "Sunny, 21 degrees") == "It is sunny."

    asyncio.run(main())


def test_a_spoken_conversation() -> None:
    async def main() -> None:
        voice = ToneVoice(("what is a sum", "hello"))
        async with connected(script(), voice) as connection:
            await connection.session.update(
                session={
                    "type": "realtime",
                    "output_modalities": ["audio"],
                    "audio": {
                        "input": {
                            "transcription": {"model": "gpt-realtime-whisper"},
                            "turn_detection": {"type": "server_vad", "silence_duration_ms": 64},
                        }
                    },
                }
            )
            await speak(connection, TURN)
            events = await until(connection, "response.done")
            types = [event.type for event in events]
            assert types.index("input_audio_buffer.speech_stopped") < types.index(
                "input_audio_buffer.committed"
            )
            assert heard(events) == ["what is a sum"]
            assert (transcript(events), done(events).status) == ("four", "completed")
            assert len(audio(events)) == 4 * CHARACTER_MS * BYTES_A_MS
            (item,) = done(events).output or []
            assert item.id is not None
            await connection.conversation.item.truncate(
                item_id=item.id, content_index=0, audio_end_ms=100
            )
            await until(connection, "conversation.item.truncated")
            await speak(connection, TURN)
            assert transcript(await until(connection, "response.done")) == "Hello, you."

    asyncio.run(main())


def test_an_interruption() -> None:
    async def main() -> None:
        async with connected(script(), ToneVoice()) as connection:
            await ask(connection, "slow")
            await until(connection, "response.output_audio_transcript.delta")
            await speak(connection, SPEECH)
            response = done(await until(connection, "response.done"))
            assert response.status_details is not None
            assert response.status_details.reason == "turn_detected"

    asyncio.run(main())


def test_a_recording_that_is_committed() -> None:
    async def main() -> None:
        async with connected(script(), ToneVoice(("a sum",))) as connection:
            await connection.session.update(
                session={"type": "realtime", "audio": {"input": {"turn_detection": None}}}
            )
            await connection.input_audio_buffer.append(audio="AAAA")
            await connection.input_audio_buffer.clear()
            await until(connection, "input_audio_buffer.cleared")
            await connection.input_audio_buffer.commit()
            event = (await until(connection, "error"))[-1]
            assert event.type == "error"
            assert event.error.code == "input_audio_buffer_commit_empty"
            await speak(connection, TURN)
            await connection.input_audio_buffer.commit()
            await connection.response.create(response={"output_modalities": ["text"]})
            events = await until(connection, "response.done")
            assert [e.delta for e in events if e.type == "response.output_text.delta"] == ["four"]

    asyncio.run(main())


def test_a_transcription() -> None:
    async def main() -> None:
        voice = ToneVoice(("word for word",))
        async with (
            run_server(script(), voice=voice, api_key="sesame") as url,
            client(url).realtime.connect(extra_query={"intent": "transcription"}) as connection,
        ):
            await connection.session.update(
                session={
                    "type": "transcription",
                    "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}},
                }
            )
            updated = (await until(connection, "session.updated"))[-1]
            assert updated.type == "session.updated"
            assert updated.session.type == "transcription"
            await speak(connection, TURN + bytes(48_000))
            last = "conversation.item.input_audio_transcription.completed"
            assert heard(await until(connection, last)) == ["word for word"]

    asyncio.run(main())


def test_a_cancel() -> None:
    async def main() -> None:
        async with talking(script()) as connection:
            await ask(connection, "slow")
            await until(connection, "response.output_text.delta")
            await connection.response.cancel()
            response = done(await until(connection, "response.done"))
            assert response.status == "cancelled"
            assert response.status_details is not None
            assert response.status_details.reason == "client_cancelled"
            await ask(connection, "a sum")
            assert done(await until(connection, "response.done")).status == "completed"

    asyncio.run(main())


def test_an_error() -> None:
    async def main() -> None:
        async with talking(script()) as connection:
            await connection.response.cancel(event_id="mine")
            event = (await until(connection, "error"))[-1]
            assert event.type == "error"
            assert (event.error.code, event.error.event_id) == (
                "response_cancel_not_active",
                "mine",
            )
            await connection.conversation.item.delete(item_id="nothing")
            event = (await until(connection, "error"))[-1]
            assert event.type == "error"
            assert event.error.param == "item_id"

    asyncio.run(main())


def test_a_wrong_key() -> None:
    async def main() -> None:
        async with run_server(script(), api_key="sesame") as url:
            with pytest.raises(InvalidStatus) as caught:
                async with client(url, "wrong").realtime.connect(model="any"):
                    pass
            assert caught.value.response.status_code == 401

    asyncio.run(main())


def test_models_and_client_secrets() -> None:
    async def main() -> None:
        async with run_server(script(), api_key="sesame") as url:
            official = client(url)
            assert [model.id async for model in official.models.list()] == ["script"]
            minted = await official.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 60},
                session={
                    "type": "realtime",
                    "model": "mine",
                    "output_modalities": ["text"],
                    "instructions": "Brief.",
                },
            )
            assert minted.session.type == "realtime"
            assert (minted.session.model, minted.session.instructions) == ("mine", "Brief.")
            async with client(url, minted.value).realtime.connect() as connection:
                (created,) = await until(connection, "session.created")
                assert created.type == "session.created"
                assert created.session.type == "realtime"
                assert (created.session.model, created.session.instructions) == ("mine", "Brief.")
                await ask(connection, "a sum")
                assert done(await until(connection, "response.done")).status == "completed"
            with pytest.raises(AuthenticationError):
                await client(url, minted.value).realtime.client_secrets.create()

    asyncio.run(main())
