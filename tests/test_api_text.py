"""`Connection.text`: questions and their replies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

import pytest
from websockets.asyncio.server import ServerConnection

import rtchat
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from tests.faulty import (
    HELLO,
    Close,
    FaultyServer,
    Mishap,
    begun,
    done,
    frame,
    perform,
    said,
    sockets,
)

T = TypeVar("T")
CALL = {
    "id": "call_item",
    "type": "function_call",
    "status": "completed",
    "name": "weather",
    "call_id": "call_1",
    "arguments": "{}",
}
WITH_CALL = (
    begun(),
    frame("response.output_item.done", response_id="r", output_index=0, item=CALL),
    frame("response.done", response={"id": "r", "status": "completed", "output": [CALL]}),
)


async def whole(rt: rtchat.Connection, question: str) -> str:
    """The reply to a question."""
    return "".join([piece async for piece in rt.text(question)])


async def collect(rt: rtchat.Connection, question: str, pieces: list[str]) -> None:
    """Add the pieces of a reply, which may not be complete."""
    async for piece in rt.text(question):
        pieces.append(piece)  # noqa: PERF401 - a comprehension would lose them if it raises


def with_echo(talk: Callable[[rtchat.Connection], Coroutine[None, None, T]]) -> T:
    """Talk to a server that repeats what it is asked."""

    async def run() -> T:
        async with run_server(EchoEngine()) as url, rtchat.connect(url=url) as rt:
            return await talk(rt)

    return asyncio.run(run())


class StoppedClock:
    """The clock of the running loop, which stands still unless the test changes `now`: a machine
    that is busy is not mistaken for a server that is slow."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        loop.time = lambda: self.now  # type: ignore[method-assign]


class Recording:
    """A server that follows a script and keeps what it receives."""

    def __init__(self, server: FaultyServer) -> None:
        self._server = server
        self.received: list[dict[str, Any]] = []

    async def talk(self, client: ServerConnection) -> None:
        await self._server.talk(_Tap(client, self.received))  # type: ignore[arg-type] # iterated

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.received]


class _Tap:
    """A connection whose frames are kept as they are read."""

    def __init__(self, client: ServerConnection, received: list[dict[str, Any]]) -> None:
        self._client = client
        self._received = received

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for data in self._client:
            self._received.append(json.loads(data))
            yield data


@asynccontextmanager
async def scripted(
    *replies: tuple[Any, ...], **options: Any
) -> AsyncIterator[tuple[rtchat.Connection, Recording]]:
    """A connection to a server with these replies."""
    server = Recording(FaultyServer(*replies))
    async with sockets(server.talk) as url, rtchat.connect(url=url, **options) as rt:
        yield rt, server


# ------------------------------------------------------------------------------------------ replies


def test_the_text_arrives_in_pieces() -> None:
    async def run() -> None:
        async with scripted((begun(), said("One, "), said("two."), done())) as (
            rt,
            server,
        ):
            assert [piece async for piece in rt.text("Count.")] == ["One, ", "two."]
            assert server.types == ["conversation.item.create", "response.create"]
            item, request = server.received
            assert item["item"]["content"] == [{"type": "input_text", "text": "Count."}]
            assert request["response"]["output_modalities"] == ["text"]
            assert await whole(rt, "More.") == "Fine."

    asyncio.run(run())


@pytest.mark.full  # text waits for the first event, and whether the response is the reply
def test_a_server_without_the_optional_events() -> None:
    """No `session.created`, no `response.created`, the text at the end only."""

    async def talk(client: ServerConnection) -> None:
        async for data in client:
            if json.loads(data)["type"] == "response.create":
                item = {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text"}],
                }
                item["content"][0]["text"] = "Late."  # type: ignore[index] # a list
                response = {"id": "r", "status": "completed", "output": [item]}
                await perform(client, [frame("response.done", response=response)])

    async def run() -> str:
        async with sockets(talk) as url, rtchat.connect(url=url) as rt:
            return await whole(rt, "Hi")

    assert asyncio.run(run()) == "Late."


def test_a_greeting_is_no_reply() -> None:
    async def talk(client: ServerConnection) -> None:
        await perform(client, [*HELLO, begun("g"), said("Welcome!", "g"), done(id="g")])
        await FaultyServer(greetings=[()]).talk(client)

    async def run() -> str:
        async with sockets(talk) as url, rtchat.connect(url=url) as rt:
            return await whole(rt, "Hi")

    assert asyncio.run(run()) == "Fine."


@pytest.mark.parametrize(
    ("ending", "status", "reason", "code"),
    [
        (
            done("failed", type="failed", error={"code": "server_error", "message": "No."}),
            "failed",
            "",
            "server_error",
        ),
        (
            done("incomplete", type="incomplete", reason="max_output_tokens"),
            "incomplete",
            "max_output_tokens",
            "max_output_tokens",
        ),
        (
            done("cancelled", type="cancelled", reason="turn_detected"),
            "cancelled",
            "turn_detected",
            "turn_detected",
        ),
    ],
)
def test_a_reply_that_is_not_complete(ending: str, status: str, reason: str, code: str) -> None:
    async def run() -> None:
        async with scripted((begun(), said("So f"), said("ar"), ending)) as (rt, _):
            pieces: list[str] = []
            with pytest.raises(rtchat.ReplyError) as caught:
                await collect(rt, "Hi", pieces)
            error = caught.value
            assert "".join(pieces) == error.text == "So far"
            assert (error.status, error.reason, error.code) == (status, reason, code)
            assert await whole(rt, "Again.") == "Fine."

    asyncio.run(run())


def test_a_refused_question() -> None:
    async def talk(client: ServerConnection) -> None:
        await perform(client, HELLO)
        async for data in client:
            event = json.loads(data)
            if event["type"] == "conversation.item.create":
                details = {
                    "code": "too_long",
                    "message": "Too long.",
                    "event_id": event["event_id"],
                }
                await perform(client, [frame("error", error=details)])

    async def run() -> None:
        async with sockets(talk) as url, rtchat.connect(url=url) as rt:
            with pytest.raises(rtchat.ReplyError, match=r"^Too long\.$") as caught:
                await whole(rt, "Hi")
            assert (caught.value.code, caught.value.text) == ("too_long", "")

    asyncio.run(run())


@pytest.mark.full
def test_an_error_that_names_no_event_ends_the_reply() -> None:
    async def run() -> None:
        async with scripted((frame("error", error={"message": "Out of memory."}),)) as (rt, _):
            errors: list[rtchat.RealtimeError] = []
            rt.on("error", errors.append)
            with pytest.raises(rtchat.ReplyError, match=r"^Out of memory\.$"):
                await whole(rt, "Hi")
            assert [str(error) for error in errors] == ["Out of memory."]

    asyncio.run(run())


def test_an_error_about_something_else_is_raised_after_the_reply() -> None:
    error = frame("error", error={"message": "Unknown parameter.", "event_id": "mine"})

    async def run() -> None:
        async with scripted((error, begun(), said("Fine"), said(" too."), done())) as (rt, _):
            pieces: list[str] = []
            with pytest.raises(rtchat.RealtimeError, match=r"^Unknown parameter\.$"):
                await collect(rt, "Hi", pieces)
            assert pieces == ["Fine", " too."]
            assert await whole(rt, "Hi") == "Fine."

    asyncio.run(run())


def test_errors_of_the_programs_own_events_do_not_end_the_reply() -> None:
    error = {"message": "Unknown item.", "event_id": "mine"}

    async def run() -> None:
        replies = (
            begun(),
            frame("error", error=error),
            said("Fine"),
            said(" too."),
            done(),
        )
        async with scripted(replies) as (rt, _):
            errors: list[rtchat.RealtimeError] = []
            rt.once("error", errors.append)
            assert await whole(rt, "Hi") == "Fine too."
            assert [error.event_id for error in errors] == ["mine"]

    asyncio.run(run())


def test_a_silent_server() -> None:
    async def run() -> None:
        async with scripted((begun(), said("So f")), timeout=0.2) as (rt, server):
            clock = StoppedClock()
            pieces = rt.text("Hi")
            assert await anext(pieces) == "So f"
            waiting = asyncio.ensure_future(anext(pieces))
            await asyncio.sleep(0)
            clock.now += 0.3
            with pytest.raises(rtchat.ReplyError, match=r"no response for 0\.2 s") as caught:
                await waiting
            assert (caught.value.reason, caught.value.text) == ("timed_out", "So f")
            assert await whole(rt, "Again.") == "Fine."
            assert server.types == ["conversation.item.create", "response.create"] * 2

    asyncio.run(run())


def test_a_busy_program_is_not_a_silent_server() -> None:
    async def run() -> str:
        replies = (begun(), said("One, "), said("two."), done())
        text = ""
        async with scripted(replies, timeout=0.2) as (rt, _):
            clock = StoppedClock()
            async for piece in rt.text("Hi"):
                clock.now += 0.3
                text += piece
        return text

    assert asyncio.run(run()) == "One, two."


def test_the_calls_of_a_session_are_left_to_the_program() -> None:
    async def run() -> None:
        async with scripted(WITH_CALL, WITH_CALL) as (rt, server):
            with pytest.raises(rtchat.ReplyError) as caught:
                await whole(rt, "Weather?")
            assert (caught.value.reason, caught.value.status) == ("tool_calls", "incomplete")
            await rt.response.create()
            async for event in rt:
                if event["type"] == "response.done":
                    break
            assert await whole(rt, "Hi") == "Fine."
            outputs = [event for event in server.received if "output" in event.get("item", {})]
            assert outputs == []

    asyncio.run(run())


# ---------------------------------------------------------------------------- leaving, losing, both


def test_leaving_early_stops_the_reply() -> None:
    slow = (begun(), said("One, "), said("two, "))

    async def run() -> None:
        async with scripted(slow) as (rt, server):
            async for piece in rt.text("Count."):
                assert piece == "One, "
                break
            while "response.cancel" not in server.types:
                await rt.send({"type": "x"})
                await asyncio.sleep(0)
            (cancel,) = (event for event in server.received if event["type"] == "response.cancel")
            assert cancel["response_id"] == "r"

    asyncio.run(run())


@pytest.mark.full
@pytest.mark.parametrize("late", [(), (said("late "), said("text"), done())])
def test_a_server_that_does_not_end_a_stopped_reply(late: tuple[Any, ...]) -> None:
    answer = (begun("r2"), said("Yes.", "r2"), done(id="r2"))

    async def run() -> str:
        async with scripted((begun(), said("One, "), said("two, ")), (*late, *answer)) as (rt, _):
            async for _piece in rt.text("Count."):
                break
            async with asyncio.timeout(20):
                return await whole(rt, "Really?")

    assert asyncio.run(run()) == "Yes."


def test_closing_the_iterator_stops_the_reply_at_once() -> None:
    async def run() -> None:
        async with scripted((begun(), said("One, "))) as (rt, server):
            async with aclosing(rt.text("Count.")) as pieces:
                assert await anext(pieces) == "One, "
            await rt.send({"type": "session.update"})
            async for event in rt:
                if event["type"] == "session.updated":
                    break
            assert server.types[2:] == ["response.cancel", "session.update"]

    asyncio.run(run())


def test_cancellation_stops_the_reply_and_the_connection_stays_usable() -> None:
    async def talk(rt: rtchat.Connection) -> str:
        async def forever() -> None:
            async for _ in rt.text("one two three four five six seven eight"):
                started.set()
                await asyncio.Event().wait()

        started = asyncio.Event()
        task = asyncio.ensure_future(forever())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        waiting = asyncio.ensure_future(whole(rt, "never heard"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return await whole(rt, "next")

    assert with_echo(talk) == "next"


@pytest.mark.parametrize("end", [Close(1011, "broken"), Close(1000), Mishap.RESET])
def test_a_server_that_goes_away(end: Close | Mishap) -> None:
    async def run() -> None:
        async with scripted((begun(), said("So f"), end)) as (rt, _):
            pieces: list[str] = []
            with pytest.raises(rtchat.ConnectError, match=r"^connection lost"):
                await collect(rt, "Hi", pieces)
            assert pieces == ["So f"]
            with pytest.raises(rtchat.ConnectError):
                await whole(rt, "Again.")

    asyncio.run(run())


def test_every_reader_notices_that_the_server_goes_away() -> None:
    async def run() -> None:
        async with scripted((begun(), said("So f"), Close(1011))) as (rt, _):
            questions = (whole(rt, f"{n}?") for n in range(3))
            for result in await asyncio.gather(*questions, return_exceptions=True):
                assert isinstance(result, rtchat.ConnectError)

    asyncio.run(run())


def test_a_program_that_does_not_read_answers_pings() -> None:
    async def talk(client: ServerConnection) -> None:
        await perform(client, [said("x")] * 2000)
        await (await client.ping())
        answered.set()
        await client.close()

    async def run() -> int:
        async with sockets(talk) as url, rtchat.connect(url=url) as rt:
            await answered.wait()
            return len([event async for event in rt])

    answered = asyncio.Event()
    assert asyncio.run(run()) == 2000


def test_closing_in_the_middle() -> None:
    async def run() -> None:
        async with scripted((begun(), said("So f"), Mishap.SILENCE)) as (rt, _):
            pieces = rt.text("Hi")
            assert await anext(pieces) == "So f"
            await rt.close()
            with pytest.raises(rtchat.ConnectError):
                await anext(pieces)

    asyncio.run(run())


def test_a_wrong_key() -> None:
    async def run() -> None:
        async with run_server(EchoEngine(), api_key="right") as url:
            with pytest.raises(rtchat.ConnectError, match="401"):
                async with rtchat.connect(url=url, api_key="wrong"):
                    pass

    asyncio.run(run())


# -------------------------------------------------------------------------------- several at a time


def test_questions_of_several_coroutines_get_their_own_replies() -> None:
    async def talk(rt: rtchat.Connection) -> list[str]:
        return await asyncio.gather(*(whole(rt, f"question {n}") for n in range(5)))

    assert with_echo(talk) == [f"question {n}" for n in range(5)]


def test_a_question_while_a_reply_is_read() -> None:
    async def talk(rt: rtchat.Connection) -> list[str]:
        texts = []
        async for piece in rt.text("one two three four"):
            texts += [piece, await whole(rt, "inner")]
        return texts

    texts = with_echo(talk)
    assert "".join(texts[::2]) == "one two three four"
    assert set(texts[1::2]) == {"inner"}


def test_a_question_in_a_callback() -> None:
    async def talk(rt: rtchat.Connection) -> list[str]:
        texts: list[str] = []

        @rt.once("response.created")
        async def more(_: object) -> None:
            texts.append(await whole(rt, "inner"))

        return [*texts, await whole(rt, "outer"), *texts]

    assert with_echo(talk) == ["outer", "inner"]


def test_a_loop_during_a_text_yields_every_event() -> None:
    async def talk(rt: rtchat.Connection) -> tuple[str, str]:
        async def read() -> str:
            text = ""
            async for event in rt:
                if event["type"] == "response.output_text.delta":
                    text += event["delta"]
                if event["type"] == "response.done":
                    return text
            raise AssertionError

        reading = asyncio.ensure_future(read())
        await asyncio.sleep(0)
        text = await whole(rt, "one two three four")
        return text, await reading

    assert with_echo(talk) == ("one two three four",) * 2


def test_loops_in_several_coroutines_yield_every_event() -> None:
    async def talk(rt: rtchat.Connection) -> list[list[str]]:
        async def read() -> list[str]:
            types: list[str] = []
            async for event in rt:
                types.append(event["type"])
                if event["type"] == "response.done":
                    break
            return types

        await anext(rt)
        tasks = [asyncio.ensure_future(read()) for _ in range(3)]
        await asyncio.sleep(0)
        await rt.response.create({"output_modalities": ["text"]})
        return await asyncio.gather(*tasks)

    first, *others = with_echo(talk)
    assert len(first) > 3
    assert others == [first, first]


def test_a_callback_that_raises() -> None:
    async def talk(rt: rtchat.Connection) -> str:
        @rt.once("response.output_text.delta")
        def fail(_: object) -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await whole(rt, "one")
        return await whole(rt, "two")

    assert with_echo(talk) == "two"


def test_events_that_a_loop_leaves_behind_are_for_the_next_loop() -> None:
    async def run() -> list[str]:
        replies = (
            begun(),
            frame("error", error={"message": "No."}),
            said("Hi."),
            done(),
        )
        async with scripted(replies) as (rt, _):
            types: list[str] = []

            async def read() -> None:
                while True:
                    try:
                        async for event in rt:
                            types.append(event["type"])
                            if event["type"] == "response.done":
                                return
                    except rtchat.RealtimeError:
                        types.append("raised")

            reading = asyncio.ensure_future(read())
            await asyncio.sleep(0)
            await whole(rt, "Hi")
            await reading
            return types

    assert asyncio.run(run()) == [
        "session.created",
        "conversation.item.added",
        "response.created",
        "raised",
        "response.output_text.delta",
        "response.done",
    ]


# -------------------------------------------------------------------------------- the older dialect


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_server_of_the_older_dialect(is_asked: bool) -> None:
    session = {"id": "s", "model": "m", "modalities": ["text", "audio"]}
    received: list[dict[str, Any]] = []

    async def talk(client: ServerConnection) -> None:
        await perform(client, [frame("session.created", session=session)])
        async for data in client:
            event = json.loads(data)
            received.append(event)
            if event["type"] == "response.create":
                where = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
                delta = frame("response.text.delta", delta="Old.", **where)
                await perform(client, [begun(), delta, done()])

    async def run() -> None:
        async with sockets(talk) as url, rtchat.connect(url=url, beta=is_asked) as rt:
            heard: list[object] = []
            rt.on("response.text.delta", heard.append)
            assert await whole(rt, "Hi") == "Old."
            await rt.session.update({"output_modalities": ["text"], "max_output_tokens": 9})
            await rt.response.create()
            types = [(await anext(rt))["type"] for _ in range(3)]
            assert types == ["response.created", "response.output_text.delta", "response.done"]
            assert len(heard) == 2

    asyncio.run(run())
    (update,) = (event for event in received if event["type"] == "session.update")
    assert update["session"] == {"modalities": ["text"], "max_response_output_tokens": 9}
