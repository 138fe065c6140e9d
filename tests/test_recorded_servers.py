"""Real servers, as recorded, hold their conversation with the program over a real socket.

The server says what it said then, at the points where the client of then asked for it; what that
client sent before it asked is compared with what the program sends. The recordings are not part of
the project; the tests are skipped where they are not.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from websockets.asyncio.server import ServerConnection, serve

from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from rtchat.wire.beta import to_ga
from tests.program import Program, background
from tests.test_recordings import read, spoken

Lines: TypeAlias = list[tuple[str, dict[str, Any]]]

GATES = ("session.update", "response.create", "input_audio_buffer.append")
"""Where the recorded server waited. The program may add items earlier or later than that client."""
WAYS = {
    "azure": ("-p", "azure-voice-live"),
    "openai": ("-p", "openai", "-m", "gpt-realtime"),
    "xai": ("-p", "xai"),
}
KEYS = dict.fromkeys(("OPENAI_API_KEY", "XAI_API_KEY", "AZURE_VOICELIVE_API_KEY"), "sk-0123456789")
TOOL_ROUNDS = (
    "azure-voice-live-beta-tool-round",
    "openai-gpt-realtime-2.1-tool-round",
    "openai-gpt-realtime-tool-round",
    "xai-tool-round",
)
SEEDINGS = ("openai-history-seeding", "xai-history-seeding")
OTHERS = ("azure-voice-live-beta-text-turn", "openai-text-in-audio-out")

# -------------------------------------------------------------------------------- the recorded side


@asynccontextmanager
async def playing(lines: Lines, heard: list[dict[str, Any]]) -> AsyncIterator[str]:
    """A server that plays the recording to each connection; gives its address."""

    async def wait_for(socket: ServerConnection, kind: str) -> None:
        async for message in socket:
            heard.append(json.loads(message))
            if heard[-1]["type"] == kind:
                return

    async def meet(socket: ServerConnection) -> None:
        for direction, data in lines:
            if direction == "received":
                await socket.send(json.dumps(data))
            elif data["type"] in GATES:
                await wait_for(socket, data["type"])
        await socket.wait_closed()

    async with serve(meet, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def sent(lines: Lines) -> list[dict[str, Any]]:
    return [data for direction, data in lines if direction == "sent"]


def session_of(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client asked of the session."""
    (session,) = (event["session"] for event in events if event["type"] == "session.update")
    assert isinstance(session, dict)
    return session


def turns(events: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """What a client said: who, what kind of part, the text; an output by its call; and its asking.

    In the words of GA, as the two dialects differ in the name of a part.
    """
    said: list[tuple[str, ...]] = []
    for event in events:
        item = {"type": "", **dict[str, Any](to_ga(event)).get("item", {})}
        if event["type"] == "response.create":
            said.append(("asks",))
        elif item["type"] == "message":
            (part,) = item["content"]
            said.append((item["role"], part["type"], part["text"]))
        elif item["type"]:
            said.append((item["type"], item["call_id"], item["output"]))
    return said


def told(lines: Lines) -> dict[str, object]:
    """What the program ought to report: the texts, calls and numbers of the recorded replies."""
    done = [data for _, data in lines if data["type"] == "response.done"]
    responses = [event["response"] for event in done]
    usages = [event["response"].get("usage") or event["usage"] for event in done]
    usage = {
        key: sum(usage[key] for usage in usages)
        for key in ("input_tokens", "output_tokens", "total_tokens")
    }
    cached = sum(usage["input_token_details"].get("cached_tokens", 0) for usage in usages)
    created = next(data["session"] for _, data in lines if data["type"] == "session.created")
    messages = [
        {"phase": item.get("phase"), "text": spoken({"output": [item]})}
        for response in responses
        for item in response["output"]
        if item["type"] == "message"
    ]
    return {
        "version": 1,
        "text": "\n\n".join(text for text in map(spoken, responses) if text),
        "messages": messages if any(message["phase"] for message in messages) else None,
        "status": "completed",
        "reason": None,
        "response_id": responses[-1]["id"],
        "usage": usage | {"cached_tokens": cached},
        "tool_calls": [
            {key: item[key] for key in ("name", "call_id", "arguments")}
            for response in responses
            for item in response["output"]
            if item["type"] == "function_call"
        ],
        "error": None,
        "mcp_calls": [],
        "parsed": None,
        "extracted": None,
        "response_model": created["model"],
        "session_id": created["id"],
    }


# ------------------------------------------------------------------------------------- our own side


def ask(
    program: Program, name: str, lines: Lines, *options: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The recording's last question, put by the program: its report, and what the server heard."""
    heard: list[dict[str, Any]] = []
    *_, question = (turn[2] for turn in turns(sent(lines)) if turn[0] == "user")
    instructions = session_of(sent(lines))["instructions"]
    with background(partial(playing, lines, heard)) as url:
        ran = program.run(
            *("once", question, "--json", "-q", "--system", instructions),
            *WAYS[name.partition("-")[0]],
            *("--url", f"{url}/v1/realtime", *options),
            environ=KEYS,
        )
    assert (ran.code, ran.err) == (0, "")
    report = json.loads(ran.text)
    for key in ("timing", "conversation_id", "model", "heard", "url", "transcription"):
        del report[key]
    del report["usage"]["cost_usd"]
    return report, heard


@pytest.mark.parametrize("name", TOOL_ROUNDS)
def test_a_recorded_tool_round(name: str, tmp_path: Path) -> None:
    pytest.importorskip("msgspec", reason="the extra tools is not installed")
    lines = read(name)
    (tool,) = session_of(sent(lines))["tools"]
    (output,) = (turn[2] for turn in turns(sent(lines)) if turn[0] == "function_call_output")
    Path(tmp_path, "tools.py").write_text(
        f"def {tool['name']}(city: str) -> str:\n"
        f'    """{tool["description"]}"""\n'
        f'    assert city == "London"\n'
        f"    return {output!r}\n"
    )
    options = ("--tools", "tools.py", "--allow-tool", tool["name"])
    report, heard = ask(Program(tmp_path), name, lines, *options)
    assert report == told(lines)
    assert report["text"]
    assert len(report["tool_calls"]) == 1
    assert turns(heard) == turns(sent(lines))
    (offered,) = session_of(heard)["tools"]
    assert [offered[key] for key in ("type", "name", "description")] == [
        tool[key] for key in ("type", "name", "description")
    ]
    for key in ("type", "properties", "required"):
        assert offered["parameters"][key] == tool["parameters"][key]


@pytest.mark.parametrize("name", SEEDINGS)
def test_a_recorded_conversation_that_was_begun_elsewhere(name: str, tmp_path: Path) -> None:
    lines = read(name)
    program = Program(tmp_path)
    first, answer = (turn[2] for turn in turns(sent(lines))[:2])
    script = ScriptEngine(read_script({"rule": [{"text": answer}]}))
    with background(lambda: run_server(script)) as url:
        assert program.run("once", first, "--url", url).text == f"{answer}\n"
    report, heard = ask(program, name, lines, "--continue")
    assert report == told(lines)
    assert report["text"]
    assert turns(heard) == turns(sent(lines))


@pytest.mark.parametrize("name", OTHERS)
def test_a_recorded_turn(name: str, tmp_path: Path) -> None:
    lines = read(name)
    report, heard = ask(Program(tmp_path), name, lines)
    assert report == told(lines)
    assert report["text"]
    assert turns(heard) == turns(sent(lines))
