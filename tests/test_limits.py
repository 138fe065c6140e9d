"""Endless models and servers, with the real program: it reports which limit was exceeded, exits
with 1, stores nothing beyond the limit, and answers the next question.

The limits of a single reply are tested in `test_reply`, the steps of a turn in `test_calls`.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from rtchat.history.store import FILE
from tests.faulty import HELLO, READY, begun, done, frame, said, sockets
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

pytest.importorskip("msgspec", reason="the extra tools is not installed")

TOOLS = '''
def again() -> str:
    """Asks to be called again."""
    return "again"

def large() -> str:
    """Returns 80 MB."""
    return "x" * 80_000_000

def deep() -> list:
    """Returns a list that is nested too deeply to be read."""
    nested = []
    for _ in range(100_000):
        nested = [nested]
    return nested

async def deep_async() -> list:
    """The same, without a thread."""
    return deep()

def loop() -> list:
    """Returns a list that contains itself."""
    itself = []
    itself.append(itself)
    return itself
'''
CALLS = ("--tools", "tools.py", "--allow-tool", "again")

Frames: TypeAlias = Callable[[str], Iterable[str]]
"""Makes the frames of the response with this id. The first response has number 1."""


class EndlessServer:
    """A server that sends the same response to every request and records what it receives. It
    answers "Fine." to questions that contain "fine"."""

    def __init__(self, frames: Frames, *, cancels: bool = True) -> None:
        self._frames = frames
        self._cancels = cancels
        self.sent: list[dict[str, Any]] = []

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The received events of a type."""
        return [event for event in self.sent if event["type"] == kind]

    @property
    def asked(self) -> int:
        """The number of responses requested."""
        return len(self.of("response.create"))

    async def talk(self, client: ServerConnection) -> None:
        streaming: asyncio.Task[None] | None = None
        is_fine = False
        for step in HELLO:
            await client.send(step)
        async for data in client:
            event = json.loads(data)
            self.sent.append(event)
            match event["type"]:
                case "session.update":
                    for step in READY:
                        await client.send(step)
                case "conversation.item.create":
                    is_fine |= "fine" in json.dumps(event)
                    await client.send(frame("conversation.item.added", item=event["item"]))
                case "response.create":
                    id = f"r{self.asked}"
                    frames = (begun(id), said("Fine.", id), done(id=id))
                    chosen = frames if is_fine else self._frames(id)
                    streaming = asyncio.create_task(stream(client, chosen))
                case "response.cancel" if streaming is not None and self._cancels:
                    streaming.cancel()
                    await client.send(done("cancelled", id=event.get("response_id", "")))
                case _:
                    pass


async def stream(client: ServerConnection, frames: Iterable[str]) -> None:
    """Send as fast as the other side reads."""
    try:
        for one in frames:
            await client.send(one)
            await asyncio.sleep(0)
    except ConnectionClosed:
        pass


@contextmanager
def serving(program: Program, frames: Frames, *, cancels: bool = True) -> Iterator[EndlessServer]:
    server = EndlessServer(frames, cancels=cancels)
    with background(lambda: sockets(server.talk)) as url:
        program.environ["RTCHAT_URL"] = url
        yield server


@pytest.fixture
def program(tmp_path: Path) -> Program:
    (tmp_path / "tools.py").write_text(TOOLS, encoding="utf-8")
    return Program(tmp_path)


def history(program: Program) -> int:
    """The size of the history in bytes, including its log."""
    folder = program.home / ".local" / "share" / "rtchat"
    return sum(path.stat().st_size for path in folder.glob(f"{FILE}*"))


def call(number: int, name: str = "again", arguments: str = "{}") -> dict[str, object]:
    fields = {"name": name, "call_id": f"c{number}", "arguments": arguments}
    return {"id": f"i{number}", "type": "function_call", **fields}


def completed(id: str, *items: dict[str, object], usage: dict[str, int] | None = None) -> str:
    """A completed response with these items."""
    response = {"id": id, "status": "completed", "output": items, "usage": usage}
    return frame("response.done", response=response)


def calling(id: str) -> Iterable[str]:
    return begun(id), completed(id, call(int(id[1:])))


def requesting_approval(id: str) -> Iterable[str]:
    request = {"type": "mcp_approval_request", "name": "search", "arguments": "{}"}
    return begun(id), completed(id, {**request, "id": f"mcpr_{id}", "server_label": "docs"})


def many_calls(id: str) -> Iterable[str]:
    return begun(id), completed(id, *(call(number) for number in range(3000)))


def endless_calls(id: str) -> Iterable[str]:
    items = (call(number) for number in range(10**9))
    where = {"response_id": id, "output_index": 0}
    return chain((begun(id),), (frame("response.output_item.done", item=i, **where) for i in items))


def large_arguments(id: str) -> Iterable[str]:
    return begun(id), completed(id, call(1, arguments=json.dumps({"x": "y" * 30_000_000})))


def endless_arguments(id: str) -> Iterable[str]:
    where = {"response_id": id, "item_id": "own", "output_index": 0, "call_id": "c1"}
    piece = frame("response.function_call_arguments.delta", delta="x" * 1_000_000, **where)
    return chain((begun(id),), repeat(piece))


def endless_text(id: str) -> Iterable[str]:
    return chain((begun(id),), repeat(said("words " * 20_000, id)))


def endless_parts(id: str) -> Iterable[str]:
    where = {"response_id": id, "content_index": 0}
    kind = "response.output_text.delta"
    pieces = (frame(kind, delta="", item_id=f"i{n}", output_index=n, **where) for n in range(10**9))
    return chain((begun(id),), pieces)


def large_text_at_the_end(id: str) -> Iterable[str]:
    content = [{"type": "output_text", "text": "words " * 5_000_000}]
    return begun(id), completed(
        id, {"id": "m", "type": "message", "role": "assistant", "content": content}
    )


def endless_errors(id: str) -> Iterable[str]:
    return (frame("error", error={"type": "e", "message": f"No {n}."}) for n in range(10**9))


def endless_errors_in_a_reply(id: str) -> Iterable[str]:
    return chain((begun(id), said("It begins.", id)), endless_errors(id))


ROUNDS = ("the model still calls tools after 3 rounds of calls", "--max-tool-rounds")
ATTACKS = {
    "calls": (calling, 4, ROUNDS),
    "approvals": (requesting_approval, 4, ROUNDS),
    "3,000 calls": (
        many_calls,
        1,
        ("one reply has more than 100 tool calls", "--max-tool-calls"),
    ),
    "endless calls": (
        endless_calls,
        1,
        ("one reply has more than 100 tool calls", "--max-tool-calls"),
    ),
    "30 MB of arguments": (
        large_arguments,
        1,
        ("the tool calls of this turn exceed 2000000 bytes", "--max-tool-bytes"),
    ),
    "endless arguments": (
        endless_arguments,
        1,
        ("the tool calls of this turn exceed 2000000 bytes", "--max-tool-bytes"),
    ),
    "endless text": (
        endless_text,
        1,
        ("the reply exceeds 4000000 bytes", "--max-reply-bytes"),
    ),
    "endless parts": (endless_parts, 1, ("the reply has more than 1000 parts", "")),
    "30 MB of text at the end": (
        large_text_at_the_end,
        1,
        ("the reply exceeds 4000000 bytes", "--max-reply-bytes"),
    ),
}
attacks = pytest.mark.parametrize(("frames", "asked", "why"), ATTACKS.values(), ids=ATTACKS.keys())
OPTIONS = (*CALLS, "--max-tool-rounds", "3")


@attacks
def test_once_exits_with_1_and_the_reason(
    program: Program, frames: Frames, asked: int, why: tuple[str, str]
) -> None:
    with serving(program, frames) as server:
        ran = program.run("once", "hi", *OPTIONS)
    assert (ran.code, server.asked) == (1, asked)
    message, option = why
    assert f"rtchat: the reply was stopped because {message}\n" in ran.err
    assert (f"hint: increase {option}\n" in ran.err) is bool(option)
    assert len(ran.out) <= 4_000_001
    assert history(program) < 13_000_000


@attacks
def test_the_next_line_of_a_pipe_is_answered(
    program: Program, frames: Frames, asked: int, why: tuple[str, str]
) -> None:
    with serving(program, frames) as server:
        ran = program.run("talk", "--json", *OPTIONS, stdin=b"hi\nfine?\n")
    first, second = map(json.loads, ran.text.splitlines())
    assert (ran.code, server.asked) == (1, asked + 1)
    assert (first["status"], second["status"], second["text"]) == (
        "incomplete",
        "completed",
        "Fine.",
    )
    message, option = why
    assert message in first["error"]["message"]
    assert option in (first["error"]["hint"] or "")


def test_a_server_that_ignores_a_cancel_gets_a_new_session(program: Program) -> None:
    options = ("--timeout", "3", "--max-reply-bytes", "1000")
    with serving(program, endless_text, cancels=False) as server:
        ran = program.run("talk", "--json", *options, stdin=b"hi\nfine?\n")
    first, second = map(json.loads, ran.text.splitlines())
    assert (ran.code, first["error"]["code"], second["text"]) == (1, "max_reply_bytes", "Fine.")
    assert len(first["text"]) == 1000
    assert len(server.of("response.cancel")) == 1


@pytest.mark.parametrize("frames", [endless_errors, endless_errors_in_a_reply])
def test_endless_errors_end_the_connection(program: Program, frames: Frames) -> None:
    why = "the server reported more than 1000 errors; the server said: No 1000."
    with serving(program, frames):
        ran = program.run("once", "hi")
        err = ran.err.splitlines()
        lines = [line.partition(" (session")[0] for line in err if line.startswith("rtchat: ")]
        assert (ran.code, lines[0], lines[-1]) == (
            1,
            "rtchat: the server reports: No 1.",
            f"rtchat: {why}",
        )
        assert len(lines) == 1000
        ran = program.run("talk", "--json", stdin=b"hi\nfine?\n")
        assert (ran.code, json.loads(ran.text)["error"]["message"]) == (1, why)
        terminal = Terminal(program, ["--plain"], {})
        terminal.shows(PROMPT)
        terminal.types("hi\r")
        # On a slow terminal the first error ends the turn, 3 s later.
        terminal.shows(("the server reported more than 1000 errors", "No 0."), PROMPT)
        terminal.types("fine?\r")
        terminal.shows("Fine.", PROMPT)
        terminal.types("\x04")
        assert terminal.ends() == 0


@pytest.mark.parametrize("frames", [endless_text, endless_parts, endless_calls])
def test_ctrl_c_stops_an_endless_reply(program: Program, frames: Frames) -> None:
    (program.home / "config.toml").write_text(
        "max_reply_bytes = 100000000000\nmax_tool_calls = 999999\nmax_tool_bytes = 1000000000\n"
    )
    program.environ["RTCHAT_CONFIG"] = str(program.home / "config.toml")

    def slowly(id: str) -> Iterable[str]:
        return chain((begun(id), said("It begins.\n\n", id)), islice(frames(id), 1, 900))

    with serving(program, slowly):
        terminal = Terminal(program, ["--plain"], {})
        terminal.shows(PROMPT)
        terminal.types("hi\r")
        terminal.shows("It begins.")
        terminal.types("\x03")
        terminal.shows("interrupted", PROMPT)
        terminal.types("fine?\r")
        terminal.shows("Fine.", PROMPT)
        terminal.types("\x04")
        assert terminal.ends() == 0


@pytest.mark.parametrize("text", ["", "Let me see."])
def test_a_call_of_an_unavailable_tool_is_an_error(program: Program, text: str) -> None:
    def frames(id: str) -> Iterable[str]:
        return begun(id), *([said(text, id)] if text else []), completed(id, call(1, "clock"))

    with serving(program, frames):
        ran = program.run("once", "hi")
        assert (ran.code, ran.text) == (1, f"{text}\n" if text else "")
        assert "the model called clock, " in ran.error
        assert "--tools" in ran.hint
        ran = program.run("once", "hi", "--json")
    reply = json.loads(ran.text)
    assert (ran.code, reply["text"], reply["status"]) == (1, text, "incomplete")
    assert reply["tool_calls"] == [{"name": "clock", "call_id": "c1", "arguments": "{}"}]
    assert reply["error"]["code"] == "tool_calls"
    assert ran.error == f"rtchat: {reply['error']['message']}"
    assert ran.hint == reply["error"]["hint"]


def test_a_call_of_an_unavailable_tool_has_an_output_before_the_next_question(
    program: Program,
) -> None:
    with serving(program, lambda id: (begun(id), completed(id, call(1, "clock")))) as server:
        ran = program.run("talk", stdin=b"hi\nfine?\n")
    assert (ran.code, ran.text) == (1, "Fine.\n")
    kinds = [event["item"]["type"] for event in server.of("conversation.item.create")]
    assert kinds == ["message", "function_call_output", "message"]


# ------------------------------------------------------------------------------------------- tools


def once_then_fine(name: str) -> Frames:
    """The first response calls a tool, the next is text."""

    def frames(id: str) -> Iterable[str]:
        if id == "r1":
            return begun(id), completed(id, call(1, name))
        return begun(id), said("Done.", id), done(id=id)

    return frames


def outputs(server: EndlessServer) -> list[str]:
    items = [event["item"] for event in server.of("conversation.item.create")]
    return [item["output"] for item in items if item["type"] == "function_call_output"]


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("large", "x" * 32_000, "[truncated: the output has 80000000 bytes]"),
        ("deep", "error: RecursionError: ", ""),
        ("deep_async", "error: RecursionError: ", ""),
        ("loop", "[[", "]]"),
    ],
)
def test_the_output_of_a_function_is_limited(
    program: Program, name: str, start: str, end: str
) -> None:
    with serving(program, once_then_fine(name)) as server:
        ran = program.run("once", "hi", "--tools", "tools.py", "--allow-tool", name)
    assert (ran.code, ran.text) == (0, "Done.\n")
    (output,) = outputs(server)
    assert output.startswith(start)
    assert output.endswith(end)
    assert len(output) <= 32 * 1024


MCP = """
import json, sys

HOW = sys.argv[1]
SCHEMA = {"type": "object"}
DEPTH = 1_000 if "rather" in HOW else 100_000
DEEP = '{"a":' * DEPTH + "1" + "}" * DEPTH


def send(id, result):
    frame = json.dumps({"result": "RESULT", "jsonrpc": "2.0", "id": id})
    if HOW.endswith("id first"):
        frame = json.dumps({"jsonrpc": "2.0", "id": id, "result": "RESULT"})
    text = result if isinstance(result, str) else json.dumps(result)
    print(frame.replace('"RESULT"', text), flush=True)


def listed(cursor):
    tools = [{"name": "give", "inputSchema": SCHEMA}]
    match HOW:
        case "endless pages":
            return {"tools": tools if not cursor else [], "nextCursor": str(int(cursor or 0) + 1)}
        case "10,000 tools" | "100,000 tools":
            more = [{"name": f"t{n}", "inputSchema": SCHEMA} for n in range(int(HOW[:-10]) * 1000)]
            return {"tools": tools + more}
        case "large descriptions":
            texts = ["x" * 60_000] + ["x" * 40_000] * 40
            more = [
                {"name": f"t{n}", "description": text, "inputSchema": SCHEMA}
                for n, text in enumerate(texts)
            ]
            return {"tools": tools + more}
        case "large schema":
            properties = {f"p{n}": {"type": "string"} for n in range(5000)}
            more = [{"name": "t", "inputSchema": {**SCHEMA, "properties": properties}}]
            return {"tools": tools + more}
        case "deep schema" | "rather deep schema":
            return '{"tools": [{"name": "t", "inputSchema": %s}]}' % DEEP
    return {"tools": tools}


def given():
    if HOW.startswith("80 MB"):
        return {"content": [{"type": "text", "text": "x" * 80_000_000}]}
    if HOW == "8 MB":
        return {"content": [{"type": "text", "text": "x" * 8_000_000}]}
    if HOW in ("deep", "rather deep"):
        return '{"content": [], "structuredContent": %s}' % DEEP
    return {"content": [{"type": "text", "text": "given"}]}


for line in sys.stdin:
    message = json.loads(line)
    match message["method"]:
        case "initialize":
            info = {"name": "mine", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            send(message["id"], {**result, "serverInfo": info})
        case "tools/list":
            send(message["id"], listed(message.get("params", {}).get("cursor")))
        case "tools/call":
            send(message["id"], given())
        case _ if "id" in message:
            error = {"code": -32601, "message": "no"}
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}), flush=True)
"""


def mcp(program: Program, how: str) -> list[str]:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    (program.home / "mcp_server.py").write_text(MCP, encoding="utf-8")
    command = shlex.join([sys.executable, "mcp_server.py", how])
    return ["once", "hi", "--mcp", command, "--allow-tool", "give"]


@pytest.mark.parametrize(
    ("how", "start", "end"),
    [
        ("8 MB", "x" * 32_000, "[truncated: the output has 8000000 bytes]"),
        (
            "80 MB",
            "error: the MCP server mine failed to run the tool: a message of ",
            " is too large",
        ),
        (
            "deep",
            "error: the MCP server mine failed to run the tool: ",
            "more than 100000 objects and arrays",
        ),
        ("rather deep", "error: the MCP server mine failed to run the tool: ", "nested too deeply"),
        (
            "80 MB, id first",
            "error: the MCP server mine failed to run the tool: a message of ",
            "too large",
        ),
    ],
)
def test_the_output_of_an_mcp_tool_is_limited(
    program: Program, how: str, start: str, end: str
) -> None:
    with serving(program, once_then_fine("give")) as server:
        ran = program.run(*mcp(program, how))
    assert (ran.code, ran.text) == (0, "Done.\n")
    (output,) = outputs(server)
    assert output.startswith(start)
    assert output.endswith(end)
    assert len(output) <= 32 * 1024


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("deep schema", "a message has more than 100000 objects"),
        ("rather deep schema", "a message is nested too deeply"),
        ("100,000 tools", "a message has more than 100000 objects"),
    ],
)
def test_an_mcp_server_whose_tools_cannot_be_read_does_not_start(
    program: Program, how: str, why: str
) -> None:
    ran = program.run(*mcp(program, how), environ={"OPENAI_API_KEY": "none"})
    assert (ran.code, ran.text) == (2, "")
    assert f"did not start ({why}" in ran.error


@pytest.mark.parametrize(
    ("how", "used"),
    [("endless pages", 1), ("10,000 tools", 500), ("large descriptions", 25), ("large schema", 1)],
)
def test_the_tools_of_an_mcp_server_are_limited(program: Program, how: str, used: int) -> None:
    with serving(program, once_then_fine("give")) as server:
        ran = program.run(*mcp(program, how))
    assert (ran.code, ran.text) == (0, "Done.\n")
    assert outputs(server) == ["given"]
    assert f"mine: only {used} of its tools are used" in ran.err
    (update,) = server.of("session.update")
    assert len(update["session"]["tools"]) == used
    assert len(json.dumps(update)) < 1_100_000
