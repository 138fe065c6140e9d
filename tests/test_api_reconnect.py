"""`reconnect=True`: a lost connection is restored without the program's help.

A close with 1001 is restored at once; after other ends, the first attempt waits half a second.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

import rtchat
from tests.faulty import Close, Mishap, begun, done, error, frame, perform, said, sockets

END = Close(1001, "session expired")


class Server:
    """A Realtime server that keeps its clients' events, for each connection, and confirms them.

    For each `response.create`, it takes the next of `replies`, or sends "Fine.".
    """

    def __init__(self, *replies: tuple[Any, ...], refuses: str = "") -> None:
        self._replies = list(replies)
        self._refuses = refuses
        self.received: list[list[dict[str, Any]]] = []
        self._items = 0
        self.breaks: list[str] = []
        """The types of the next events after which the connection is broken."""
        self.broken = asyncio.Event()
        """Set when a connection has ended."""

    async def talk(self, client: ServerConnection) -> None:
        received: list[dict[str, Any]] = []
        self.received.append(received)
        await perform(client, [frame("session.created", session={"type": "realtime"})])
        try:
            async for data in client:
                event = json.loads(data)
                received.append(event)
                await perform(client, self._answer(event))
        finally:
            self.broken.set()

    def _answer(self, event: dict[str, Any]) -> tuple[Any, ...]:
        if self.breaks and event["type"] == self.breaks[0]:
            del self.breaks[0]
            return (Mishap.RESET,)
        match event["type"]:
            case "session.update" if self._refuses in event["session"]:
                return (error("x", "Unknown.", event_id=event["event_id"]),)
            case "session.update":
                return (frame("session.updated", session=event["session"]),)
            case "conversation.item.create":
                self._items += 1
                item = {"id": f"item_{self._items}"} | event["item"]
                return tuple(
                    frame(f"conversation.item.{what}", item=item) for what in ("added", "done")
                )
            case "response.create":
                return self._replies.pop(0) if self._replies else self.reply("Fine.")
            case _:
                return ()

    def reply(self, text: str) -> tuple[Any, ...]:
        self._items += 1
        item = {"id": f"item_{self._items}", "type": "message", "role": "assistant"}
        whole = item | {"content": [{"type": "output_text", "text": text}], "status": "completed"}
        id = f"response_{self._items}"
        return (
            begun(id),
            frame("conversation.item.added", item=item | {"content": [], "status": "in_progress"}),
            said(text, id),
            frame("response.output_item.done", response_id=id, output_index=0, item=whole),
            frame("conversation.item.done", item=whole),
            done(id=id),
        )

    def messages_of(self, number: int) -> list[str]:
        """The texts of the items of a connection, with the initial of the role."""
        events = (each for each in self.received[number] if "item" in each)
        items = (event["item"] for event in events)
        return [f"{item['role'][0]}: {item['content'][0]['text']}" for item in items]


@asynccontextmanager
async def connected(server: Server, **options: Any) -> AsyncIterator[rtchat.Connection]:
    async with (
        sockets(server.talk) as url,
        rtchat.connect(url=url, reconnect=True, **options) as rt,
    ):
        yield rt


def message(text: str) -> dict[str, object]:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content}


async def whole(rt: rtchat.Connection, question: str) -> str:
    return "".join([piece async for piece in rt.text(question)])


async def types_of_a_reply(rt: rtchat.Connection) -> list[str]:
    """The types of the events to the end of the next response."""
    types: list[str] = []
    async for event in rt:
        types.append(event["type"])
        if event["type"] == "response.done":
            break
    return types


REPLY = [
    "response.created",
    "conversation.item.added",
    "response.output_text.delta",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
]


def test_a_new_session_continues_the_conversation() -> None:
    async def run() -> None:
        server = Server()
        async with connected(server) as rt:
            await rt.session.update({"instructions": "Be brief."})
            await rt.session.update({"audio": {"output": {"voice": "marin"}}})
            assert await whole(rt, "One?") == "Fine."
            server._replies = [(END,)]
            assert await whole(rt, "Two?") == "Fine."  # asked again, as nothing had arrived
        first, second = server.received
        settings = {"instructions": "Be brief.", "audio": {"output": {"voice": "marin"}}}
        assert [event["type"] for event in second] == [
            "session.update",
            *["conversation.item.create"] * 3,
            "response.create",
        ]
        assert second[0]["session"] == {"type": "realtime", **settings}
        assert server.messages_of(1) == ["u: One?", "a: Fine.", "u: Two?"]
        assert len(first) == 6

    asyncio.run(run())


def test_a_loop_does_not_notice_a_new_session() -> None:
    async def run() -> None:
        server = Server((END,))
        async with connected(server) as rt:
            await rt.session.update({"instructions": "Be brief."})
            await rt.conversation.item.create(message("One?"))
            await rt.response.create({"output_modalities": ["text"]})
            assert await types_of_a_reply(rt) == [
                "session.created",
                "session.updated",
                "conversation.item.added",
                "conversation.item.done",
                *REPLY,
            ]
            await rt.conversation.item.create(message("Two?"))
            await rt.response.create()
            assert (await types_of_a_reply(rt))[2:] == REPLY
        assert server.received[0][2] == server.received[1][2]  # the same request
        assert server.messages_of(1) == ["u: One?", "u: Two?"]

    asyncio.run(run())


def test_an_interrupted_response_is_reported_and_its_text_is_kept() -> None:
    async def run() -> None:
        server = Server((begun(), said("So f"), said("ar"), END))
        async with connected(server) as rt:
            await rt.conversation.item.create(message("One?"))
            await rt.response.create()
            with pytest.raises(rtchat.ConnectError, match=r"1001"):
                await types_of_a_reply(rt)
            await rt.conversation.item.create(message("Two?"))
            await rt.response.create()
            assert (await types_of_a_reply(rt))[2:] == REPLY
        assert server.messages_of(1) == ["u: One?", "a: So far", "u: Two?"]
        assert [event["type"] for event in server.received[1]].count("response.create") == 1

    asyncio.run(run())


def test_an_interrupted_text() -> None:
    async def run() -> None:
        server = Server((begun(), said("So far"), END))
        async with connected(server) as rt:
            with pytest.raises(rtchat.ReplyError) as caught:
                await whole(rt, "One?")
            assert (caught.value.text, caught.value.reason) == ("So far", "connection_lost")
            assert await whole(rt, "Two?") == "Fine."
        assert server.messages_of(1) == ["u: One?", "a: So far", "u: Two?"]

    asyncio.run(run())


def test_several_questions_wait_for_the_new_session() -> None:
    async def run() -> list[str]:
        server = Server((END,), (END,))
        async with connected(server) as rt:
            return await asyncio.gather(*(whole(rt, f"{n}?") for n in range(3)))

    assert asyncio.run(run()) == ["Fine."] * 3


@pytest.mark.full
def test_a_question_waits_for_a_restoration_of_several_seconds() -> None:
    async def run() -> str:
        async with connected(Server((END,), (END,), (END,))) as rt:
            return await whole(rt, "One?")

    assert asyncio.run(run()) == "Fine."


def test_sending_restores_the_connection() -> None:
    async def run() -> None:
        server = Server()
        async with connected(server) as rt:
            await rt.conversation.item.create(message("One?"))
            await rt.send({"type": "x"})
            async for event in rt:
                if event["type"] == "conversation.item.done":
                    break
            rt.socket.transport.abort()
            await rt.conversation.item.create(message("Two?"))
            await rt.response.create()
            assert (await types_of_a_reply(rt))[2:] == REPLY
        assert server.messages_of(1) == ["u: One?", "u: Two?"]

    asyncio.run(run())


def test_broken_connections_are_restored_again_and_again() -> None:
    async def run() -> None:
        server = Server((Mishap.RESET,))
        async with connected(server) as rt:
            assert await whole(rt, "One?") == "Fine."
            server._replies = [(END,)]
            assert await whole(rt, "Two?") == "Fine."
        assert server.messages_of(2) == ["u: One?", "a: Fine.", "u: Two?"]

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["conversation.item.create", "response.create"])
def test_a_new_session_is_lost_before_it_has_received_everything(kind: str) -> None:
    async def run() -> None:
        server = Server()
        async with connected(server) as rt:
            await whole(rt, "One?")
            await whole(rt, "Two?")
            server.breaks = [kind, kind]
            assert await whole(rt, "Three?") == "Fine."
        assert server.messages_of(-1) == ["u: One?", "a: Fine.", "u: Two?", "a: Fine.", "u: Three?"]
        assert len(server.received) == 3

    asyncio.run(run())


@pytest.mark.parametrize("code", [3000, 4001])
def test_a_refusal_is_not_restored(code: int) -> None:
    async def run() -> None:
        server = Server((Close(code, "no"),))
        async with connected(server) as rt:
            await rt.response.create()
            for _ in range(2):
                with pytest.raises(rtchat.ConnectError, match=f"{code} no"):
                    await types_of_a_reply(rt)
            with pytest.raises(rtchat.ConnectError):
                await rt.response.create()
        assert len(server.received) == 1

    asyncio.run(run())


def test_a_server_that_refuses_the_new_connection() -> None:
    async def run() -> None:
        server = Server((END,))
        refuse = False

        async def talk(client: ServerConnection) -> None:
            if refuse:
                await client.close(4003, "no")
            else:
                await server.talk(client)

        async with sockets(talk) as url, rtchat.connect(url=url, reconnect=True) as rt:
            refuse = True
            await rt.response.create()
            for _ in range(2):
                with pytest.raises(rtchat.ConnectError, match="4003 no"):
                    await types_of_a_reply(rt)
            with pytest.raises(rtchat.ConnectError, match="4003 no"):
                await whole(rt, "One?")

    asyncio.run(run())


def test_the_first_connection_is_not_retried() -> None:
    async def run() -> None:
        async with sockets(Server().talk, refusals=[(500, "")]) as url:
            with pytest.raises(rtchat.ConnectError, match="500"):
                async with rtchat.connect(url=url, reconnect=True):
                    pass

    asyncio.run(run())


def test_closing_ends_the_loop_also_while_the_connection_is_restored() -> None:
    async def run() -> None:
        server = Server((Mishap.RESET,))
        async with connected(server) as rt:
            await anext(rt)
            await rt.response.create()
            reading = asyncio.ensure_future(types_of_a_reply(rt))
            await server.broken.wait()
            await rt.close()
            assert await reading == []
            assert [event async for event in rt] == []
        assert len(server.received) == 1

    asyncio.run(run())


def test_a_cancelled_wait_is_continued_by_the_next() -> None:
    async def run() -> None:
        server = Server((Mishap.RESET,))
        async with connected(server) as rt:
            question = asyncio.ensure_future(whole(rt, "One?"))
            await server.broken.wait()
            question.cancel()
            with pytest.raises(asyncio.CancelledError):
                await question
            assert await whole(rt, "Two?") == "Fine."
        assert server.messages_of(-1)[-1] == "u: Two?"

    asyncio.run(run())


def test_settings_that_were_refused_are_not_repeated() -> None:
    async def run() -> None:
        server = Server(refuses="speed")
        async with connected(server) as rt:
            rt.on("error", print)
            await rt.session.update({"instructions": "Be brief."})
            await rt.session.update({"speed": 2})
            await whole(rt, "One?")
            server._replies = [(END,)]
            await whole(rt, "Two?")
        update = server.received[1][0]
        assert update["session"] == {"type": "realtime", "instructions": "Be brief."}

    asyncio.run(run())


def test_the_end_of_a_session_is_no_error() -> None:
    expired = error("session_expired", "Your session hit the maximum duration of 60 minutes.")

    async def run() -> None:
        async with connected(Server((expired, END))) as rt:
            await rt.response.create()
            assert (await types_of_a_reply(rt))[1:] == REPLY

    asyncio.run(run())
