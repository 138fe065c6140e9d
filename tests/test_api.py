"""The public Python API: `rtchat.connect` and its connection.

The servers are rtchat's own and small scripted ones. Failing connections are in `test_transport`.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection

import rtchat
from rtchat.client.endpoint import Auth
from rtchat.client.transport import ConnectError
from rtchat.core.errors import ExitCode, LinkError
from rtchat.server.script import EchoEngine, ScriptEngine, load_script
from rtchat.server.sockets import run_server
from tests.faulty import breaking, certificate, http, saying, sockets, tcp
from tests.oracle import assert_client_event

ROOT = Path(__file__).parents[1]
EXAMPLE_URL = "ws://127.0.0.1:8765/v1/realtime"
WEATHER = """
[[rule]]
match = "weather"
match_output = "sunny in Oslo"
text = "Sunny."
[[rule]]
match = "weather"
tool_calls = [{name = "weather", arguments = {city = "Oslo"}}]
[[rule]]
text = "Hello."
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
    assert all(hasattr(rtchat, name) for name in rtchat.__all__)
    errors = {name for name in rtchat.__all__ if name.endswith("Error")}
    assert all(issubclass(getattr(rtchat, name), rtchat.RtchatError) for name in errors)
    name = "nonsense"
    with pytest.raises(AttributeError, match=r"^module 'rtchat' has no attribute 'nonsense'$"):
        getattr(rtchat, name)


def test_the_package_is_typed() -> None:
    assert files("rtchat").joinpath("py.typed").is_file()


@pytest.mark.parametrize(
    ("example", "out"),
    [("text", "Hello.\nHello.\n"), ("events", "Hello.\ncompleted\n"), ("tools", "Sunny.\n")],
)
def test_the_examples_of_the_readme(tmp_path: Path, example: str, out: str) -> None:
    """The check of all types reads them, too, and `test_readme` finds them in the README."""
    code = (ROOT / "tests" / "examples" / f"{example}.py").read_text()
    assert EXAMPLE_URL in code
    (tmp_path / "script.toml").write_text(WEATHER)

    async def run() -> tuple[str, int | None]:
        async with run_server(ScriptEngine(load_script(tmp_path / "script.toml"))) as url:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "error", "-c", code.replace(EXAMPLE_URL, url)),
                stdout=asyncio.subprocess.PIPE,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            )
            printed, _ = await process.communicate()
            return printed.decode(), process.returncode

    assert asyncio.run(run()) == (out, 0)


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
            return dict(await anext(rt))

    assert asyncio.run(run()) == sent | {"text": "😀 é \0"}


def test_sending_during_iteration() -> None:
    async def run() -> list[object]:
        async with sockets(echo) as url, rtchat.connect(url=url) as rt:

            async def send() -> None:
                for number in range(300):
                    await rt.send({"type": "x", "number": number})

            async def read() -> list[object]:
                return [dict(await anext(rt))["number"] for _ in range(300)]

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


ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
METHODS: list[tuple[Callable[[rtchat.Connection], Awaitable[None]], dict[str, object]]] = [
    (
        lambda rt: rt.session.update({"output_modalities": ["text"]}, event_id="e"),
        {
            "type": "session.update",
            "session": {"type": "realtime", "output_modalities": ["text"]},
            "event_id": "e",
        },
    ),
    (
        lambda rt: rt.session.update(session={"type": "transcription"}),
        {"type": "session.update", "session": {"type": "transcription"}},
    ),
    (lambda rt: rt.response.create(), {"type": "response.create"}),
    (
        lambda rt: rt.response.create(response={"instructions": "Be brief."}),
        {"type": "response.create", "response": {"instructions": "Be brief."}},
    ),
    (lambda rt: rt.response.cancel(), {"type": "response.cancel"}),
    (
        lambda rt: rt.response.cancel(response_id="r"),
        {"type": "response.cancel", "response_id": "r"},
    ),
    (
        lambda rt: rt.conversation.item.create(item=ITEM, previous_item_id="root"),
        {"type": "conversation.item.create", "item": ITEM, "previous_item_id": "root"},
    ),
    (
        lambda rt: rt.conversation.item.delete(item_id="i"),
        {"type": "conversation.item.delete", "item_id": "i"},
    ),
    (
        lambda rt: rt.conversation.item.retrieve("i", event_id="e"),
        {"type": "conversation.item.retrieve", "item_id": "i", "event_id": "e"},
    ),
    (
        lambda rt: rt.conversation.item.truncate("i", audio_end_ms=0),
        {
            "type": "conversation.item.truncate",
            "item_id": "i",
            "content_index": 0,
            "audio_end_ms": 0,
        },
    ),
    (
        lambda rt: rt.input_audio_buffer.append(b"\0\1"),
        {"type": "input_audio_buffer.append", "audio": "AAE="},
    ),
    (
        lambda rt: rt.input_audio_buffer.append(audio="AAE="),
        {"type": "input_audio_buffer.append", "audio": "AAE="},
    ),
    (lambda rt: rt.input_audio_buffer.commit(), {"type": "input_audio_buffer.commit"}),
    (lambda rt: rt.input_audio_buffer.clear(), {"type": "input_audio_buffer.clear"}),
]


def test_each_method_sends_an_event_of_the_api() -> None:
    async def run() -> None:
        async with sockets(echo) as url, rtchat.connect(url=url) as rt:
            for call, event in METHODS:
                await call(rt)
                assert await anext(rt) == event
                assert_client_event(event)

    asyncio.run(run())


def test_a_large_piece_of_audio_is_sent_in_several_events() -> None:
    audio = bytes(range(256)) * 20_000

    async def run() -> bytes:
        async with sockets(echo) as url, rtchat.connect(url=url) as rt:
            await rt.input_audio_buffer.append(audio)
            await rt.input_audio_buffer.commit()
            received = b""
            async for event in rt:
                if str(event["type"]) != "input_audio_buffer.append":
                    break
                received += b64decode(str(dict(event)["audio"]))
            return received

    assert asyncio.run(run()) == audio


def test_a_large_event_from_the_server() -> None:
    audio = "A" * 20_000_000

    async def run() -> object:
        event = json.dumps({"type": "response.output_audio.delta", "delta": audio})
        async with sockets(saying(event)) as url, rtchat.connect(url=url) as rt:
            return dict(await anext(rt))["delta"]

    assert asyncio.run(run()) == audio


# -------------------------------------------------------------------------- what a connection needs


async def headers_of(url: str, **options: Any) -> str:
    """The head of the request with which `connect` opens a connection, for the address `url`."""
    async with tcp(http("503 Busy")) as port:
        with pytest.raises(rtchat.ConnectError, match="503"):
            async with rtchat.connect(url=url.replace("HOST", port.address), **options):
                pass
        return port.heads[0].decode()


def test_the_key_of_the_environment_is_sent_only_to_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    assert "sk-0123456789" not in asyncio.run(headers_of("ws://HOST/"))
    assert "Bearer mine" in asyncio.run(headers_of("ws://HOST/", api_key="mine"))
    for headers in ({"X-Team": "blue"}, [("X-Team", "blue")]):
        assert "blue" in asyncio.run(headers_of("ws://HOST/", headers=headers))
    with pytest.raises(rtchat.UsageError, match=r"refusing to send a key over plain ws:// to api"):
        rtchat.connect(url="ws://api.openai.com/v1/realtime")
    rtchat.connect(url="ws://api.openai.com/v1/realtime", api_key="")
    rtchat.connect(url="ws://api.openai.com.example/v1/realtime")
    rtchat.connect(url="ws://notopenai.com/v1/realtime")
    with pytest.raises(rtchat.UsageError, match="is not a WebSocket URL"):
        rtchat.connect(url="ws://[/")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_time_out_is_positive(seconds: float) -> None:
    with pytest.raises(rtchat.UsageError):
        rtchat.connect("m", api_key="k", timeout=seconds)
    with pytest.raises(rtchat.UsageError):
        rtchat.connect("m", api_key="k", open_timeout=seconds)


def test_a_key_over_a_network_unencrypted() -> None:
    with pytest.raises(rtchat.UsageError, match="refusing to send a key"):
        rtchat.connect(url="ws://192.0.2.1/", api_key="mine")
    rtchat.connect(url="ws://192.0.2.1/", api_key="mine", insecure=True)


def test_certificates(tmp_path: Path) -> None:
    file, context = certificate(tmp_path, "IP:127.0.0.1")
    trusting = ssl.create_default_context(cafile=file)

    async def run() -> None:
        async with run_server(EchoEngine(), ssl=context) as url:
            with pytest.raises(rtchat.ConnectError, match="is not trusted"):
                async with rtchat.connect(url=url):
                    pass
            for options in ({"ca_bundle": file}, {"ca_bundle": str(file)}, {"ssl": trusting}):
                async with rtchat.connect(url=url, **options) as rt:
                    assert (await anext(rt))["type"] == "session.created"
            with pytest.raises(rtchat.UsageError, match="cannot be used together"):
                rtchat.connect(url=url, ssl=trusting, ca_bundle=file)
            with pytest.raises(rtchat.UsageError, match="cannot be read"):
                rtchat.connect(url=url, ca_bundle=tmp_path / "missing.pem")

    asyncio.run(run())


# ---------------------------------------------------------------------------------------- listeners


def test_decorators() -> None:
    heard: list[object] = []

    async def run() -> None:
        async with sockets(saying(*FRAMES, *FRAMES)) as url, rtchat.connect(url=url) as rt:

            @rt.on("one")
            async def always(event: dict[str, object]) -> None:
                heard.append(("always", event["type"]))

            @rt.once("event")
            def first(event: dict[str, object]) -> None:
                heard.append(("first", event["type"]))

            rt.once("two", heard.append)
            rt.once("never", heard.append)
            assert [event["type"] async for event in rt] == ["one", "two", "one", "two"]
            assert rt.on("one", always) is always

    asyncio.run(run())
    assert heard == [("first", "one"), ("always", "one"), TWO, ("always", "one")]


def test_a_callback_that_removes_another() -> None:
    heard: list[object] = []

    async def run() -> None:
        async with sockets(saying(*FRAMES)) as url, rtchat.connect(url=url) as rt:

            @rt.once("one")
            def remover(_: object) -> None:
                rt.off("one", remover)
                rt.off("one", heard.append)

            rt.once("one", heard.append)
            assert len([event async for event in rt]) == 2

    asyncio.run(run())
    assert heard == [ONE]  # the callbacks for an event are those when it arrived


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


def test_a_callback_for_one_error() -> None:
    errors: list[rtchat.RealtimeError] = []

    async def run() -> None:
        talk = saying(ERROR_FRAME, FRAMES[0], ERROR_FRAME, FRAMES[1])
        async with sockets(talk) as url, rtchat.connect(url=url) as rt:
            rt.once("error", errors.append)
            assert [await anext(rt), await anext(rt)] == [ERROR, ONE]
            with pytest.raises(rtchat.RealtimeError):
                await anext(rt)

    asyncio.run(run())
    assert len(errors) == 1


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
