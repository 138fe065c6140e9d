"""The public Python API: `rtchat.connect` and its connection.

The servers are rtchat's own and small scripted ones. Failing connections are in `test_transport`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection

import rtchat
from rtchat.client.endpoint import Auth
from rtchat.client.transport import ConnectError
from rtchat.core.errors import ExitCode, LinkError
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from tests.faulty import breaking, saying, sockets

EXAMPLE_URL = "ws://127.0.0.1:8765/v1/realtime"
EXAMPLE = """\
import asyncio

import rtchat

QUESTION = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi!"}]}


async def main():
    async with rtchat.connect(url="ws://127.0.0.1:8765/v1/realtime") as rt:
        await rt.send({"type": "conversation.item.create", "item": QUESTION})
        await rt.send({"type": "response.create", "response": {"output_modalities": ["text"]}})
        async for event in rt:
            if event["type"] == "response.output_text.delta":
                print(event["delta"], end="", flush=True)
            if event["type"] == "response.done":
                break


asyncio.run(main())
"""

ONE, TWO = {"type": "one"}, {"type": "two"}
FRAMES = ('{"type":"one"}', '{"type":"two"}')
ERROR = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "code": "unknown_parameter",
        "message": "Unknown parameter.",
        "param": "session.x",
        "event_id": "mine",
    },
}
ERROR_FRAME = json.dumps(ERROR)


async def hold(client: ServerConnection) -> None:
    """Send one frame and keep the connection open."""
    await client.send(FRAMES[0])
    await client.wait_closed()


async def echo(client: ServerConnection) -> None:
    """Echo every frame."""
    async for frame in client:
        await client.send(frame)


# -------------------------------------------------------------------------------------- the package


def test_the_names_of_the_package() -> None:
    assert rtchat.__all__ == ["Connection", "RealtimeError", "RtchatError", "connect"]
    assert all(getattr(rtchat, name).__name__ == name for name in rtchat.__all__)
    name = "nonsense"
    with pytest.raises(AttributeError, match=r"^module 'rtchat' has no attribute 'nonsense'$"):
        getattr(rtchat, name)


def test_the_package_is_typed() -> None:
    assert files("rtchat").joinpath("py.typed").is_file()


def test_the_example_of_the_readme() -> None:
    assert EXAMPLE_URL in EXAMPLE

    async def run() -> tuple[bytes, int | None]:
        async with run_server(EchoEngine()) as url:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", "-c", EXAMPLE.replace(EXAMPLE_URL, url)),
                stdout=asyncio.subprocess.PIPE,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1])},
            )
            out, _ = await process.communicate()
            return out, process.returncode

    assert asyncio.run(run()) == (b"Hi!", 0)


# --------------------------------------------------------------------------------- sending, reading


def test_a_conversation_with_our_own_server() -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hé!"}]}
    settings = {"type": "realtime", "output_modalities": ["text"]}

    async def run() -> None:
        async with run_server(EchoEngine()) as url, rtchat.connect("some-model", url=url) as rt:
            assert isinstance(rt, rtchat.Connection)
            assert isinstance(rt.socket, ClientConnection)
            assert rt.url == f"{url}?model=some-model"
            types, text, model = [], "", ""
            async for event in rt:
                types.append(event["type"])
                match event:
                    case {"type": "session.created", "session": {"model": str(model)}}:
                        await rt.send({"type": "session.update", "session": settings})
                    case {"type": "session.updated"}:
                        await rt.send({"type": "conversation.item.create", "item": item})
                        await rt.send({"type": "response.create"})
                    case {"type": "response.output_text.delta", "delta": str(delta)}:
                        text += delta
                    case {"type": "response.done"}:
                        await rt.close()
                    case _:
                        pass
            assert (model, text) == ("some-model", "Hé!")
            assert types[:2] == ["session.created", "session.updated"]
            assert types[-1] == "response.done"
            assert (rt.socket.close_code, rt.socket.close_reason) == (1000, "")

    asyncio.run(run())


def test_events_are_wire_dicts() -> None:
    sent = {"type": "x", "text": "\ud83d\ude00 é \0", "null": None, "list": [1.5, {"a": True}]}

    async def run() -> dict[str, object]:
        async with sockets(echo) as url, rtchat.connect(url=url) as rt:
            await rt.send(sent)
            return await anext(rt)

    assert asyncio.run(run()) == sent | {"text": "😀 é \0"}


def test_sending_during_iteration() -> None:
    async def run() -> list[object]:
        async with sockets(echo) as url, rtchat.connect(url=url) as rt:

            async def send() -> None:
                for number in range(300):
                    await rt.send({"type": "x", "number": number})

            async def read() -> list[object]:
                return [(await anext(rt))["number"] for _ in range(300)]

            async with asyncio.TaskGroup() as group:
                reading = group.create_task(read())
                group.create_task(send())
            return reading.result()

    assert asyncio.run(run()) == list(range(300))


@pytest.mark.parametrize("auth", ["header", "subprotocol"])
def test_both_ways_to_send_a_key(auth: Auth) -> None:
    async def run() -> None:
        async with run_server(EchoEngine(), api_key="ek_0123456789") as url:
            async with rtchat.connect(url=url, api_key="ek_0123456789", auth=auth) as rt:
                assert (await anext(rt))["type"] == "session.created"
                expected = "realtime" if auth == "subprotocol" else None
                assert rt.socket.subprotocol == expected
            with pytest.raises(rtchat.RtchatError) as caught:
                async with rtchat.connect(url=url, api_key="ek_wrong", auth=auth):
                    pass
            assert caught.value.exit is ExitCode.REFUSED
            assert "401 (Incorrect API key provided.)" in caught.value.message
            assert "key" in caught.value.hint

    asyncio.run(run())


# ---------------------------------------------------------------------------------------- listeners


def test_listeners_are_called_before_the_loop() -> None:
    heard: list[object] = []

    async def slowly(event: dict[str, object]) -> None:
        await asyncio.sleep(0)
        heard.append(("slowly", event))

    async def run() -> None:
        async with sockets(saying(*FRAMES)) as url, rtchat.connect(url=url) as rt:
            rt.on("one", slowly)
            rt.on("one", lambda event: heard.append(("second", event)))
            rt.on("event", lambda event: heard.append(("all", event)))
            rt.on("never", heard.append)
            heard.append(("loop", await anext(rt)))
            heard.append(("loop", await anext(rt)))

    asyncio.run(run())
    assert heard == [
        ("all", ONE),
        ("slowly", ONE),
        ("second", ONE),
        ("loop", ONE),
        ("all", TWO),
        ("loop", TWO),
    ]


def test_a_removed_listener() -> None:
    heard: list[object] = []

    async def run() -> None:
        async with sockets(saying(*FRAMES * 2)) as url, rtchat.connect(url=url) as rt:

            def once(event: object) -> None:
                heard.append("once")
                rt.off("one", once)

            rt.on("one", once)
            rt.on("one", lambda event: heard.append("always"))
            rt.off("one", print)
            rt.off("nothing", once)
            assert [event["type"] async for event in rt] == ["one", "two", "one", "two"]

    asyncio.run(run())
    assert heard == ["once", "always", "always"]


def test_exceptions_of_listeners_propagate() -> None:
    def fail(event: object) -> None:
        raise ZeroDivisionError(event)

    async def run() -> list[object]:
        async with sockets(saying(*FRAMES)) as url, rtchat.connect(url=url) as rt:
            rt.on("one", fail)
            with pytest.raises(ZeroDivisionError):
                await anext(rt)
            return [event async for event in rt]

    assert asyncio.run(run()) == [TWO]


# ------------------------------------------------------------------------------------------- errors


def test_an_error_without_a_listener_is_raised_and_the_loop_can_continue() -> None:
    heard: list[object] = []

    async def run() -> list[object]:
        talk = saying(FRAMES[0], ERROR_FRAME, FRAMES[1])
        async with sockets(talk) as url, rtchat.connect(url=url) as rt:
            rt.on("event", heard.append)
            assert await anext(rt) == ONE
            with pytest.raises(rtchat.RealtimeError) as caught:
                await anext(rt)
            error = caught.value
            assert (error.event, error.kind) == (ERROR, "invalid_request_error")
            assert (error.code, error.param) == ("unknown_parameter", "session.x")
            assert (error.event_id, str(error)) == ("mine", "Unknown parameter.")
            return [event async for event in rt]

    assert asyncio.run(run()) == [TWO]
    assert heard == [ONE, ERROR, TWO]


def test_an_error_goes_to_its_listeners() -> None:
    errors: list[rtchat.RealtimeError] = []

    async def run() -> list[object]:
        talk = saying(FRAMES[0], ERROR_FRAME, FRAMES[1])
        async with sockets(talk) as url, rtchat.connect(url=url) as rt:
            rt.on("error", errors.append)
            return [event async for event in rt]

    assert asyncio.run(run()) == [ONE, ERROR, TWO]
    assert [(type(error), error.event) for error in errors] == [(rtchat.RealtimeError, ERROR)]


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ("hello", "invalid JSON: Expecting value: line 1 column 1 (char 0)"),
        ("", "invalid JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[1]", "not a JSON object"),
        ('{"kind":"x"}', "the object has no type"),
        ('{"type":7}', "the object has no type"),
        (b'{"type":"\xff"}', "binary frame of 12 bytes"),
        ('{"type":"error"}', "the server reported an error"),
        ('{"type":"error","error":"no"}', "the server reported an error"),
        ('{"type":"error","error":{"message":null,"code":1}}', "the server reported an error"),
    ],
)
def test_an_unreadable_frame_is_an_error(frame: str | bytes, why: str) -> None:
    async def run() -> list[object]:
        async with sockets(saying(frame, FRAMES[0])) as url, rtchat.connect(url=url) as rt:
            with pytest.raises(rtchat.RealtimeError) as caught:
                await anext(rt)
            assert str(caught.value) == why
            return [event async for event in rt]

    assert asyncio.run(run()) == [ONE]


def test_json_in_a_binary_frame_is_an_event() -> None:
    async def run() -> list[object]:
        frame = FRAMES[0].encode()
        async with sockets(saying(frame)) as url, rtchat.connect(url=url) as rt:
            return [event async for event in rt]

    assert asyncio.run(run()) == [ONE]


# ------------------------------------------------------------------------------------------ closing


async def without_code(client: ServerConnection) -> None:
    """Close without a code, like JavaScript's `socket.close()`."""
    client.transport.write(b"\x88\x00")
    await client.wait_closed()


def test_a_normal_close_ends_the_loop_for_good() -> None:
    async def run() -> None:
        for talk in (saying(FRAMES[0]), saying(FRAMES[0], code=1001, reason="expired")):
            async with sockets(talk) as url, rtchat.connect(url=url) as rt:
                assert [event async for event in rt] == [ONE]
                assert [event async for event in rt] == []
        async with sockets(without_code) as url, rtchat.connect(url=url) as rt:
            assert [event async for event in rt] == []

    asyncio.run(run())


def test_any_other_close_is_raised_every_time() -> None:
    async def run() -> None:
        talk = saying(FRAMES[0], code=3000, reason="invalid_api_key")
        async with sockets(talk) as url, rtchat.connect(url=url) as rt:
            assert await anext(rt) == ONE
            # The command line relies on the class: it is the same for every reason.
            for again in (lambda: anext(rt), lambda: anext(rt), lambda: rt.send(ONE)):
                with pytest.raises(LinkError) as caught:
                    await again()
                assert (caught.value.exit, caught.value.code) == (ExitCode.REFUSED, "3000")
                assert "(3000 invalid_api_key)" in caught.value.message
                assert "key" in caught.value.hint

    asyncio.run(run())


def test_a_broken_connection_raises() -> None:
    async def run() -> None:
        async with sockets(breaking) as url, rtchat.connect(url=url) as rt:
            with pytest.raises(ConnectError, match=r"^connection lost \(1006\)"):
                await anext(rt)

    asyncio.run(run())


def test_closing_ends_the_loop() -> None:
    async def run() -> None:
        async with sockets(hold) as url, rtchat.connect(url=url) as rt:
            assert await anext(rt) == ONE
            await rt.close()
            await rt.close()
            assert [event async for event in rt] == []
            with pytest.raises(ConnectError, match=r"^connection lost \(1000\)"):
                await rt.send(ONE)

    asyncio.run(run())


def test_the_server_gets_the_close_code_and_reason() -> None:
    ends: list[object] = []

    async def note(client: ServerConnection) -> None:
        await client.wait_closed()
        ends.append((client.close_code, client.close_reason))

    async def run() -> None:
        async with sockets(note) as url, rtchat.connect(url=url) as rt:
            await rt.close(4001, "enough")
        async with sockets(note) as url:
            with pytest.raises(ZeroDivisionError):
                async with rtchat.connect(url=url):
                    raise ZeroDivisionError

    asyncio.run(run())
    assert ends == [(4001, "enough"), (1000, "")]


def test_an_invalid_url_is_reported_before_connecting() -> None:
    with pytest.raises(rtchat.RtchatError, match="is not a WebSocket URL"):
        rtchat.connect(url="https://a.example")
