"""The official `openai` package's client holds a conversation with our server."""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import InvalidStatus

from rtchat.server.engine import CallPiece
from rtchat.server.realtime import serving
from rtchat.server.script import Rule, Script, ScriptEngine
from tests.official import ask, client, done, hold_tool_round, talking, until


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
        async with serving(script(), api_key="sesame") as url:
            with pytest.raises(InvalidStatus) as caught:
                async with client(url, "wrong").realtime.connect(model="any"):
                    pass
            assert caught.value.response.status_code == 401

    asyncio.run(main())
