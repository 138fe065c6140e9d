"""The program with servers that deviate from OpenAI's events, as their users have reported.

Each test simulates one kind of server, and asserts what a user of `once`, `talk` and `transcribe`
sees and what the server receives.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.utils import accept_key

from tests.faulty import connections, http, sockets, tcp
from tests.program import Program, Ran, background
from tests.sounds import tone, write_wav
from tests.terminal import PROMPT, Terminal

Json: TypeAlias = dict[str, Any]
_HEARD = "conversation.item.input_audio_transcription"
_BUSY = "conversation_already_has_active_response"


class Session:
    """The server's side of a connection."""

    def __init__(self, client: ServerConnection) -> None:
        self._client = client
        self.received: list[Json] = []
        self.is_binary = False

    async def send(self, type: str, **fields: object) -> None:
        frame = json.dumps({"type": type, **fields})
        await self._client.send(frame.encode() if self.is_binary else frame)

    async def receive(self) -> Json:
        self.received.append(json.loads(await self._client.recv()))
        return self.received[-1]

    async def until(self, type: str) -> Json:
        """Receive events up to one of this type. Questions are confirmed, as most servers do."""
        while (event := await self.receive())["type"] != type:
            if event["type"] == "conversation.item.create":
                await self.send("conversation.item.added", item=event["item"])
        return event

    async def open(self, **session: object) -> None:
        session = {"type": "realtime", "id": "sess_1", **session}
        await self.send("session.created", session=session)
        await self.until("session.update")
        await self.send("session.updated", session=session)

    async def ask(self) -> Json:
        return await self.until("response.create")

    async def created(self, id: str = "resp_1") -> None:
        await self.send("response.created", response={"id": id, "status": "in_progress"})

    async def delta(self, text: str, id: str = "resp_1", item: str = "item_1") -> None:
        await self.send("response.output_text.delta", delta=text, **_place(id, item))

    async def done(self, *output: Json, id: str = "resp_1", **response: object) -> None:
        response = {"id": id, "status": "completed", "output": output, "usage": None} | response
        await self.send("response.done", response=response)

    async def answer(self, text: str, id: str = "resp_1") -> None:
        await self.created(id)
        await self.delta(text, id, f"item_of_{id}")
        await self.done(_message(text, f"item_of_{id}"), id=id)

    async def error(self, message: str, **error: object) -> None:
        await self.send(
            "error", error={"type": "invalid_request_error", "message": message} | error
        )

    async def close(self, code: int, reason: str = "") -> None:
        await self._client.close(code, reason)

    def drop(self) -> None:
        """Break the connection without a close frame."""
        self._client.transport.abort()

    def count(self, type: str) -> int:
        """How many events of a type it received."""
        return sum(event["type"] == type for event in self.received)

    def items(self, type: str) -> list[Json]:
        """The items of a type that the client created."""
        created = [e["item"] for e in self.received if e["type"] == "conversation.item.create"]
        return [item for item in created if item["type"] == type]


Play: TypeAlias = Callable[[Session], Awaitable[None]]


class OtherServer:
    """Behaves the same on every connection."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.sessions: list[Session] = []

    async def talk(self, client: ServerConnection) -> None:
        session = Session(client)
        self.sessions.append(session)
        with suppress(ConnectionClosed):
            await self._play(session)
            while True:
                await session.receive()

    @property
    def session(self) -> Session:
        """The only connection."""
        (session,) = self.sessions
        return session


def _place(id: str, item: str) -> Json:
    return {"response_id": id, "item_id": item, "output_index": 0, "content_index": 0}


def _message(text: str, id: str = "item_1") -> Json:
    content = [{"type": "output_text", "text": text}]
    return {"id": id, "type": "message", "role": "assistant", "content": content}


def run(
    program: Program, play: Play, *arguments: str, stdin: bytes = b""
) -> tuple[Ran, OtherServer]:
    """The result of the program with this server, and the server."""
    server = OtherServer(play)
    with background(lambda: sockets(server.talk)) as url:
        command, *rest = arguments
        ran = program.run(command, "--url", url, "-m", "m", *rest, stdin=stdin)
    return ran, server


def notes(ran: Ran) -> list[str]:
    """The lines on stderr, without those about usage."""
    return [line for line in ran.err.splitlines() if " · " not in line]


# ------------------------------------------------------------------------------ errors and silence


@pytest.mark.full
def test_an_error_that_names_no_command_ends_the_reply(program: Program) -> None:
    """As LocalAI, vLLM and speaches do."""

    async def play(s: Session) -> None:
        await s.open()
        await s.ask()
        await s.created()
        await s.error("backend error: model not loaded", code="inference_failed", event_id="")

    ran, server = run(program, play, "once", "Hi")
    assert (ran.code, ran.out) == (1, b"")
    assert ran.error == "rtchat: backend error: model not loaded (session sess_1, response resp_1)"
    assert server.session.count("response.create") == 1


def test_a_silent_server_is_asked_once(program: Program) -> None:
    """The server is only slow, so asking again would cost a second response."""

    async def play(s: Session) -> None:
        await s.open()
        await s.ask()

    ran, server = run(program, play, "once", "Hi", "--timeout", "1")
    assert (ran.code, ran.out) == (4, b"")
    assert "--timeout" in ran.hint
    assert server.session.count("response.create") == 1


def test_the_server_is_busy_with_the_reply_that_it_is_about_to_announce(program: Program) -> None:
    """The server answers tool outputs by itself."""

    async def play(s: Session) -> None:
        await s.open()
        await s.ask()
        await s.created()
        await s.done(_CALL)
        request = await s.ask()
        await s.error(
            "Conversation already has an active response in progress: resp_2.",
            code=_BUSY,
            event_id=request["event_id"],
        )
        await s.answer("Sunny.", "resp_2")

    ran, _ = run(program, play, "once", "Hi", *tools(program))
    assert (ran.code, ran.text) == (0, "Sunny.\n")


@pytest.mark.parametrize(
    ("error", "close"),
    [
        ({"message": "Violated content policy", "type": "guardrail_error"}, 1011),
        ({"message": "upstream: HTTP 401", "type": "server_error"}, 1011),
        ({"message": "Failed to load model config", "code": "model_load_error"}, None),
    ],
)
def test_a_refusal_is_final(program: Program, error: Json, close: int | None) -> None:
    """As by LiteLLM and LocalAI."""

    async def play(s: Session) -> None:
        await s.error(**error)
        if close is None:
            s.drop()
        else:
            await s.close(close, error["message"])

    ran, server = run(program, play, "once", "Hi")
    assert (ran.code, ran.out) == (4, b"")
    assert ran.error == f"rtchat: {error['message']}"
    assert len(server.sessions) == 1


@pytest.mark.parametrize(
    ("status", "body", "kind", "shown"),
    [
        (
            "401 Unauthorized",
            b'{"statusCode":401,"message":"Access token is missing."}',
            "application/json",
            "Access token is missing.",
        ),
        ("401 Unauthorized", b'{"detail":"Not authenticated"}', "application/json", "Not auth"),
        ("404 Not Found", b"<html><title>404 Not Found</title></html>", "text/html", "(404 Not"),
    ],
)
def test_an_http_error_is_one_line(
    program: Program, status: str, body: bytes, kind: str, shown: str
) -> None:
    """The formats of Azure, FastAPI and nginx."""
    response = http(status, body, f"Content-Type: {kind}")
    with background(lambda: tcp(response)) as port:
        ran = program.run("once", "--url", f"ws://{port.address}/v1/realtime", "Hi")
    assert shown in ran.error
    assert "<" not in ran.error
    assert "{" not in ran.error


def test_a_redirect_is_shown_without_its_query(program: Program) -> None:
    """The query of a URL of Azure may contain a key."""
    key = "ffffffffaaaaaaaabbbbbbbbcccccccc"
    target = f"Location: wss://a.example/v1/realtime?deployment=x&api-key={key}"
    with background(lambda: tcp(http("302 Found", b"", target))) as port:
        ran = program.run("once", "-v", "--url", f"ws://{port.address}/v1/realtime", "Hi")
    assert "wss://a.example/v1/realtime" in ran.error
    assert key not in ran.err
    assert "deployment" not in ran.err


@pytest.mark.parametrize("header", ["Extensions: permessage-deflate", "Protocol: realtime"])
def test_an_extension_or_subprotocol_that_was_not_requested(program: Program, header: str) -> None:
    """The error says so; it does not say that the server has no WebSocket."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        (key,) = re.findall(r"(?i)sec-websocket-key: (\S+)", request)
        lines = (
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(key)}",
            f"Sec-WebSocket-{header}",
        )
        writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        await reader.read()

    with background(lambda: connections(meet)) as port:
        ran = program.run("once", "--url", f"ws://127.0.0.1:{port}/v1/realtime", "Hi")
    assert ran.code == 4
    assert "extension or subprotocol" in ran.error


# --------------------------------------------------------------------------- replies and their ids


def test_a_greeting_is_not_the_answer(program: Program) -> None:
    """The server speaks first."""

    async def play(s: Session) -> None:
        await s.open()
        await s.answer("Hello, I am your assistant.", "resp_g")
        for number in range(3):
            await s.ask()
            (text,) = s.items("message")[-1]["content"]
            await s.answer(f"Answer to {text['text']}.", f"resp_{number}")

    ran, server = run(program, play, "talk", stdin=b"one\ntwo\nthree\n")
    assert (ran.code, ran.text) == (0, "Answer to one.\nAnswer to two.\nAnswer to three.\n")
    assert any("Hello, I am your assistant." in line for line in notes(ran))
    assert server.session.count("response.create") == 3


@pytest.mark.parametrize("output", [(), ("--json",)])
def test_every_event_under_both_names(program: Program, output: tuple[str, ...]) -> None:
    """The server sends each event under its GA name and its beta name."""

    async def play(s: Session) -> None:
        await s.open()
        await s.ask()
        await s.created()
        for text in ("Hello ", "world."):
            for name in ("response.output_text.delta", "response.text.delta"):
                await s.send(name, delta=text, **_place("resp_1", "item_1"))
        for name in ("response.output_text.done", "response.text.done"):
            await s.send(name, text="Hello world.", **_place("resp_1", "item_1"))
        await s.done(_message("Hello world."))

    ran, _ = run(program, play, "once", "Hi", *output)
    assert ran.code == 0
    text = json.loads(ran.text)["text"] if output else ran.text.removesuffix("\n")
    assert text == "Hello world."


def test_deltas_that_repeat_the_text_so_far(program: Program) -> None:
    """As vllm-omni sends them."""

    async def play(s: Session) -> None:
        await s.open()
        await s.ask()
        await s.created()
        for text in ("He", "Hello", "Hello world."):
            await s.delta(text)
        await s.send("response.output_text.done", text="Hello world.", **_place("resp_1", "item_1"))
        await s.done(_message("Hello world."))

    ran, _ = run(program, play, "once", "Hi")
    assert (ran.code, ran.text) == (0, "Hello world.\n")


@pytest.mark.full
@pytest.mark.parametrize("missing", ["session.created", "session.updated"])
def test_a_session_that_is_not_announced_or_confirmed(program: Program, missing: str) -> None:
    """As by xAI and Hugging Face speech-to-speech."""

    async def play(s: Session) -> None:
        for name in ("session.created", "session.updated"):
            if name == "session.updated":
                await s.until("session.update")
            if name != missing:
                await s.send(name, session={"type": "realtime"})
        await s.ask()
        await s.answer("Hello.")

    ran, _ = run(program, play, "once", "Hi", "--connect-timeout", "8")
    assert (ran.code, ran.text) == (0, "Hello.\n")


def test_json_in_binary_frames(program: Program) -> None:
    """As from a proxy that relays bytes."""

    async def play(s: Session) -> None:
        s.is_binary = True
        await s.open()
        await s.ask()
        await s.answer("Hello.")

    ran, _ = run(program, play, "once", "Hi")
    assert (ran.code, ran.text) == (0, "Hello.\n")


def test_a_warning_is_shown_and_a_late_cancel_is_not(program: Program) -> None:
    """The warnings of Azure's Voice Live, and the error for a cancel that came too late."""

    async def play(s: Session) -> None:
        await s.open()
        await s.send("warning", warning={"message": "Voice x is not there", "code": "fallback"})
        await s.ask()
        await s.error("No active response found", code="response_cancel_not_active")
        await s.answer("Hi.")

    ran, _ = run(program, play, "once", "Hi")
    assert (ran.code, ran.text) == (0, "Hi.\n")
    assert "Voice x is not there" in ran.error
    assert "No active response" not in ran.err


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("nothing", marks=pytest.mark.full),
        "response.cancelled",
        "error",
    ],
)
def test_the_next_question_after_ctrl_c(program: Program, end: str) -> None:
    """xAI sends nothing more of the reply; others send only `response.cancelled`, or an error."""

    async def play(s: Session) -> None:
        await s.open()
        while True:
            await s.ask()
            (content,) = s.items("message")[-1]["content"]
            if content["text"] == "two":
                break
            await s.created()
            await s.delta("Half of it")
            await s.until("response.cancel")
            if end == "response.cancelled":
                await s.send(end, response_id="resp_1")
            elif end == "error":
                await s.error("Cannot cancel", code="response_cancel_not_active")
        await s.answer("Second answer.", "resp_2")

    server = OtherServer(play)
    with background(lambda: sockets(server.talk)) as url:
        terminal = Terminal(program, ["--url", url, "-m", "m", "--no-history"], {})
        terminal.shows(PROMPT)
        terminal.types("one\r")
        terminal.shows("Half of it")
        terminal.types("\x03")
        terminal.shows("interrupted", PROMPT)
        terminal.types("two\r")
        terminal.shows("Second answer.", PROMPT)
        terminal.types("/exit\r")
        assert terminal.ends() == 0


# --------------------------------------------------------------------------------------- tool calls

_CALL = {
    "id": "item_c",
    "type": "function_call",
    "status": "completed",
    "name": "weather",
    "call_id": "call_1",
    "arguments": '{"city": "Oslo"}',
}


def tools(program: Program) -> tuple[str, ...]:
    """Options for a tool that returns the city of its arguments."""
    file = program.home / "tools.py"
    file.write_text(
        'def weather(city: str = "nowhere") -> str:\n'
        '    """The weather."""\n'
        '    return f"21 degrees in {city}"\n'
    )
    return "--tools", str(file), "--allow-tool", "weather"


async def _only_done(s: Session) -> None:
    call = {key: _CALL[key] for key in ("call_id", "name", "arguments")}
    place = {"response_id": "resp_1", "item_id": "item_c", "output_index": 0}
    await s.send("response.function_call_arguments.done", **place, **call)
    await s.done()


async def _empty_item(s: Session) -> None:
    empty = {"response_id": "resp_1", "output_index": 0, "item": _CALL | {"arguments": ""}}
    place = {"response_id": "resp_1", "item_id": "item_c", "output_index": 0, "call_id": "call_1"}
    await s.send("response.output_item.added", **empty)
    await s.send("response.function_call_arguments.delta", **place, delta=_CALL["arguments"])
    await s.send("response.function_call_arguments.done", **place, arguments=_CALL["arguments"])
    await s.send("response.output_item.done", **empty)
    await s.done()


async def _object(s: Session) -> None:
    await s.done(_CALL | {"arguments": {"city": "Oslo"}})


@pytest.mark.parametrize("call", [_only_done, _empty_item, _object])
def test_a_call_is_made_once_with_its_arguments(program: Program, call: Play) -> None:
    """The arguments are in only one event, or they are an object."""

    async def play(s: Session) -> None:
        await s.open()
        await s.ask()
        await s.created()
        await call(s)
        await s.ask()
        await s.answer("Sunny.", "resp_2")

    ran, server = run(program, play, "once", "Hi", *tools(program))
    assert (ran.code, ran.text) == (0, "Sunny.\n")
    (output,) = server.session.items("function_call_output")
    assert (output["call_id"], output["output"]) == ("call_1", "21 degrees in Oslo")


def test_a_call_of_an_incomplete_reply_is_answered(program: Program) -> None:
    """The server refuses every later question until each call has an output."""

    async def play(s: Session) -> None:
        cut = _CALL | {"status": "incomplete", "arguments": '{"ci'}
        await s.open()
        await s.ask()
        await s.created()
        reason = {"type": "incomplete", "reason": "max_output_tokens"}
        await s.done(cut, status="incomplete", status_details=reason)
        for number in (2, 3):
            request = await s.ask()
            if s.items("function_call_output"):
                await s.answer("Fine.", f"resp_{number}")
            else:
                await s.error("No tool output found", event_id=request["event_id"])

    ran, _ = run(program, play, "talk", *tools(program), stdin=b"one\ntwo\nthree\n")
    assert (ran.code, ran.text) == (1, "Fine.\nFine.\n")
    assert "--max-output-tokens" in ran.hint


# ---------------------------------------------------------------------------- tools of MCP servers

_DOCS = {"type": "mcp", "server_label": "docs", "server_url": "https://mcp.example/x"}
_MCP_CALL = {
    "id": "mcp_1",
    "type": "mcp_call",
    "server_label": "docs",
    "name": "search",
    "arguments": '{"q": "x"}',
    "output": "found",
    "error": None,
}


def mcp_tools(approval: str = "never") -> tuple[str, str]:
    """Options for an MCP server that the model's server calls."""
    return "--set", f"tools={json.dumps([_DOCS | {'require_approval': approval}])}"


@pytest.mark.parametrize("waits", [False, True])
def test_a_turn_of_mcp_calls(program: Program, waits: bool) -> None:
    """The server continues by itself, or waits for another `response.create`."""

    async def play(s: Session) -> None:
        await s.open()
        await s.ask()
        await s.created()
        added = _MCP_CALL | {"arguments": "", "output": None}
        item = {"response_id": "resp_1", "output_index": 0}
        state = {"item_id": "mcp_1", "output_index": 0}
        await s.send("response.output_item.added", **item, item=added)
        await s.send("response.mcp_call_arguments.done", **state, arguments='{"q": "x"}')
        await s.send("response.mcp_call.in_progress", **state)
        await s.send("response.mcp_call.completed", **state)
        await s.send("response.output_item.done", **item, item=_MCP_CALL)
        await s.done(_MCP_CALL)
        if waits:
            await s.ask()
        await s.answer("Found it.", "resp_2")

    ran, server = run(program, play, "once", "Hi", "--json", *mcp_tools())
    over = json.loads(ran.text)
    assert (ran.code, over["text"]) == (0, "Found it.")
    call = {"server": "docs", "name": "search", "arguments": '{"q": "x"}', "output": "found"}
    assert over["mcp_calls"] == [call | {"error": None}]
    assert notes(ran) == ['docs.search({"q": "x"})', "docs.search → found"]
    assert server.session.count("response.create") == 1 + waits
    assert '[call docs.search] {"q": "x"} → found' in program.run("history", "show").text


def test_failures_of_mcp_servers_are_shown(program: Program) -> None:
    """A failed listing and a failed call, each shown once."""

    async def play(s: Session) -> None:
        failed = _MCP_CALL | {"output": None, "error": {"type": "x", "message": "HTTP 500"}}
        listing = {"type": "mcp_list_tools", "id": "l", "server_label": "docs", "tools": []}
        await s.open()
        await s.send("conversation.item.added", item=listing)
        for state in ("in_progress", "failed"):
            await s.send(f"mcp_list_tools.{state}", item_id="l")
        await s.ask()
        await s.created()
        await s.send("response.mcp_call.failed", item_id="mcp_1", output_index=0)
        place = {"response_id": "resp_1", "output_index": 0}
        await s.send("response.output_item.done", **place, item=failed)
        await s.done(failed)
        await s.answer("It failed.", "resp_2")

    ran, _ = run(program, play, "once", "Hi", *mcp_tools())
    assert (ran.code, ran.text) == (0, "It failed.\n")
    listing, _hint, _call, call = notes(ran)
    assert "tools of docs" in listing
    assert call == "rtchat: docs.search failed: HTTP 500"


def test_an_approval_has_an_id(program: Program) -> None:
    """Some servers require the `id` of an approval."""

    async def play(s: Session) -> None:
        request = {key: _MCP_CALL[key] for key in ("server_label", "name", "arguments")}
        await s.open()
        await s.ask()
        await s.created()
        await s.done({"id": "mcpr_1", "type": "mcp_approval_request", **request})
        await s.ask()
        await s.answer("Done.", "resp_2")

    allowed = ("--allow-tool", "docs/search")
    ran, server = run(program, play, "once", "Hi", *mcp_tools("always"), *allowed)
    assert (ran.code, ran.text) == (0, "Done.\n")
    (answer,) = server.session.items("mcp_approval_response")
    assert answer["id"]
    assert (answer["approval_request_id"], answer["approve"]) == ("mcpr_1", True)


# ------------------------------------------------------------------------------------------ speech


@pytest.mark.parametrize(
    "heard",
    [
        [{"item_id": "item_B", "transcript": "What is the weather?"}],
        [
            {"item_id": "item_A", "transcript": "What", "status": "in_progress"},
            {"item_id": "item_A", "transcript": "What is the", "status": "in_progress"},
            {"item_id": "item_A", "transcript": "What is the weather?", "status": "completed"},
        ],
    ],
)
def test_the_transcript_of_the_user(program: Program, heard: list[Json]) -> None:
    """They arrive under another item id (LocalAI) or in several events (xAI)."""

    async def play(s: Session) -> None:
        await s.open()
        await s.until("input_audio_buffer.commit")
        await s.send("input_audio_buffer.committed", item_id="item_A")
        for event in heard:
            await s.send(f"{_HEARD}.completed", content_index=0, **event)
        await s.ask()
        await s.answer("Sunny.")

    speech = write_wav(program.home / "question.wav", tone(440, 0.5))
    ran, _ = run(program, play, "once", "--json", "--audio-in", str(speech))
    assert json.loads(ran.text)["heard"] == "What is the weather?"
    assert "What is the weather?" in program.run("history", "show").text


@pytest.mark.parametrize(
    ("item_id", "clears", "refuses"),
    [
        pytest.param("item_A", False, False, marks=pytest.mark.full),
        ("item_B", True, False),
        ("item_A", True, True),
    ],
)
def test_transcribe_ends_when_the_transcript_is_complete(
    program: Program, item_id: str, clears: bool, refuses: bool
) -> None:
    """The server does not know `input_audio_buffer.clear`, uses other item ids, or refuses the
    last commit without an error code."""

    async def play(s: Session) -> None:
        await s.open()
        while True:
            event = await s.receive()
            if event["type"] == "input_audio_buffer.commit":
                await s.send("input_audio_buffer.committed", item_id="item_A")
                place = {"item_id": item_id, "content_index": 0}
                await s.send(f"{_HEARD}.completed", **place, transcript="Hello there.")
                if refuses:
                    await s.error("Error committing input audio buffer: buffer too small.")
            if event["type"] == "input_audio_buffer.clear" and clears:
                await s.send("input_audio_buffer.cleared")

    speech = write_wav(program.home / "speech.wav", tone(440, 0.5))
    ran, server = run(program, play, "transcribe", str(speech))
    assert (ran.code, ran.text) == (0, "Hello there.\n")
    assert len(server.sessions) == 1


# --------------------------------------------------------------------------- what support asks for


def test_the_model_that_answered_and_the_ids(program: Program) -> None:
    """They are in the status lines, in `--json` and in the history."""

    async def play(s: Session) -> None:
        await s.open(model="m-2026-05-01")
        await s.ask()
        await s.answer("Hi.")

    ran, _ = run(program, play, "once", "Hi", "--json", "-v")
    over = json.loads(ran.text)
    assert (over["model"], over["response_model"]) == ("m", "m-2026-05-01")
    assert (over["session_id"], over["response_id"]) == ("sess_1", "resp_1")
    assert over["url"].startswith("ws://127.0.0.1:")
    assert over["url"].endswith("/v1/realtime?model=m")
    assert f"session sess_1 at {over['url']}" in notes(ran)
    assert "response resp_1" in notes(ran)
    assert "m-2026-05-01 (asked for m) · " in ran.err
    entries = json.loads(program.run("history", "export", "1", "--format", "json").text)["entries"]
    assert [(e["model"], e["response_model"]) for e in entries] == [
        ("m", None),
        ("m", "m-2026-05-01"),
    ]


def test_a_model_that_the_response_names(program: Program) -> None:
    async def play(s: Session) -> None:
        await s.open(model="m")
        await s.ask()
        await s.created()
        await s.done(_message("Hi."), model="fallback")

    ran, _ = run(program, play, "once", "Hi", "--json")
    assert json.loads(ran.text)["response_model"] == "fallback"
    assert "fallback (asked for m)" in ran.err


def test_an_error_has_the_ids_and_no_key(program: Program) -> None:
    async def play(s: Session) -> None:
        await s.open()
        await s.ask()
        await s.created()
        error = {"code": "server_error", "message": "It broke."}
        await s.done(status="failed", status_details={"type": "failed", "error": error})

    server = OtherServer(play)
    key = "key-0123456789abcdef"
    with background(lambda: sockets(server.talk)) as url:
        ran = program.run("once", "-v", "--url", f"{url}?api-key={key}", "Hi")
    assert ran.error.endswith("It broke. (session sess_1, response resp_1)")
    assert "api-key=[key]" in ran.err
    assert key not in ran.err
