"""The official `openai` package's client holds a conversation with our server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types.realtime import RealtimeServerEvent, ResponseDoneEvent
from websockets.exceptions import InvalidStatus

from rtchat.server.realtime import serving
from rtchat.server.script import Rule, Script, ScriptEngine


def script() -> ScriptEngine:
    return ScriptEngine(
        Script(
            (
                Rule("slow", deltas=("well ",), end=None),
                Rule("sum", deltas=("four",)),
                Rule(deltas=("Hello, ", "you.")),
            )
        )
    )


def client(url: str, key: str = "sesame") -> AsyncOpenAI:
    return AsyncOpenAI(api_key=key, websocket_base_url=url.removesuffix("/realtime"))


@asynccontextmanager
async def talking() -> AsyncIterator[AsyncRealtimeConnection]:
    async with (
        serving(script(), api_key="sesame") as url,
        client(url).realtime.connect(model="any") as connection,
    ):
        await connection.session.update(
            session={"type": "realtime", "output_modalities": ["text"], "instructions": "Brief."}
        )
        updated = (await until(connection, "session.updated"))[-1]
        assert updated.type == "session.updated"
        assert updated.session.type == "realtime"
        assert updated.session.instructions == "Brief."
        yield connection


async def until(connection: AsyncRealtimeConnection, kind: str) -> list[RealtimeServerEvent]:
    events = []
    async with asyncio.timeout(20):
        async for event in connection:
            events.append(event)
            if event.type == kind:
                break
    return events


async def ask(connection: AsyncRealtimeConnection, text: str) -> None:
    await connection.conversation.item.create(
        item={
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": text}],
        }
    )
    await connection.response.create()


def done(events: list[RealtimeServerEvent]) -> ResponseDoneEvent:
    last = events[-1]
    assert isinstance(last, ResponseDoneEvent)
    return last


def test_a_conversation() -> None:
    async def main() -> None:
        async with talking() as connection:
            await ask(connection, "hi")
            events = await until(connection, "response.done")
            deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
            assert deltas == ["Hello, ", "you."]
            assert done(events).response.status == "completed"
            await ask(connection, "a sum")
            events = await until(connection, "response.done")
            assert [e.text for e in events if e.type == "response.output_text.done"] == ["four"]
            usage = done(events).response.usage
            assert usage is not None
            assert (usage.input_tokens, usage.output_tokens) == (6, 1)

    asyncio.run(main())


def test_a_cancel() -> None:
    async def main() -> None:
        async with talking() as connection:
            await ask(connection, "slow")
            await until(connection, "response.output_text.delta")
            await connection.response.cancel()
            response = done(await until(connection, "response.done")).response
            assert response.status == "cancelled"
            assert response.status_details is not None
            assert response.status_details.reason == "client_cancelled"
            await ask(connection, "a sum")
            assert done(await until(connection, "response.done")).response.status == "completed"

    asyncio.run(main())


def test_an_error() -> None:
    async def main() -> None:
        async with talking() as connection:
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
        async with serving(script(), api_key="sesame") as url:
            with pytest.raises(InvalidStatus) as caught:
                async with client(url, "wrong").realtime.connect(model="any"):
                    pass
            assert caught.value.response.status_code == 401

    asyncio.run(main())
