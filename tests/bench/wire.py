"""How fast rtchat takes events off the wire: `python tests/bench/wire.py [DELTAS]`.

One reply of 50,000 deltas, from a server in a process of its own, to three clients in turn:
rtchat's (transport, decode, conversation, plain view into /dev/null), `openai`'s, which makes typed
events, and a bare loop of `json.loads`. CPU seconds of the client, as machines are shared; ratios
within a round, medians of all rounds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import BinaryIO

from openai import AsyncOpenAI
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it is in nobody's package

from rtchat.client.session import Session, SessionParts
from rtchat.client.transport import endpoint, open_connection
from rtchat.core.conversation import Conversation
from rtchat.core.events import InputEnded, UserSaid
from rtchat.core.mode import Mode
from rtchat.core.ports import Post
from rtchat.core.values import Options
from rtchat.ui.plain_view import PlainView, StatusWriter

ROUNDS = 9
DELTAS = int(sys.argv[1]) if sys.argv[1:2] and sys.argv[1].isdecimal() else 50_000
MODEL = "gpt-realtime"
KEY = "sk-proj-0123456789abcdefghij"
SESSION = {"type": "realtime", "id": "sess_1", "model": MODEL, "output_modalities": ["text"]}
PLACE = {
    "response_id": "resp_C9G8p7IH2WxLbkgPNouYL",
    "item_id": "item_C9G8pqT3yHbCVgFDTq1XM",
    "output_index": 0,
    "content_index": 0,
}
WORDS = (" the", " quick", " brown", " fox", " jumps", " over", " a", " lazy", " dog", ".")
BATCH = 100
"""Frames that the server hands over at once, so that it is never what is waited for."""

# -------------------------------------------------------------------------------------- the server


def reply() -> list[str]:
    """The frames of one reply."""
    response = {"object": "realtime.response", "id": PLACE["response_id"], "output": []}
    deltas = (
        {
            "type": "response.output_text.delta",
            "event_id": f"event_{number:021}",
            **PLACE,
            "delta": WORDS[number % len(WORDS)],
            "obfuscation": f"{number:011}",
        }
        for number in range(DELTAS)
    )
    events = (
        {"type": "response.created", "response": response | {"status": "in_progress"}},
        *deltas,
        {"type": "response.done", "response": response | {"status": "completed"}},
    )
    return [json.dumps(event) for event in events]


async def serve_replies() -> None:
    """Serve until the end of the process; the port goes to stdout."""
    frames = [Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in reply()]
    batches = [b"".join(frames[at : at + BATCH]) for at in range(0, len(frames), BATCH)]

    async def meet(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"type": "session.created", "session": SESSION}))
        async for message in socket:
            kind = json.loads(message)["type"]
            if kind == "session.update":
                await socket.send(json.dumps({"type": "session.updated", "session": SESSION}))
            elif kind == "response.create":
                for batch in batches:
                    socket.transport.write(batch)
                    await socket.drain()

    async with serve(meet, "127.0.0.1", 0, compression=None) as server:
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


# ------------------------------------------------------------------------------------- the clients


async def with_rtchat(url: str, nowhere: BinaryIO) -> None:
    """The program's own way, from the socket to the view."""

    async def ask(post: Post) -> None:
        await asyncio.sleep(0)
        post(UserSaid("hi"))
        post(InputEnded())

    where = endpoint(MODEL, url=url, api_key=KEY)
    conversation = Conversation(MODEL, Options(modality="text"), mode=Mode.ONCE)
    view = PlainView(nowhere, StatusWriter(None), raw=True)
    ports = SessionParts(view, lambda _: open_connection(where), redactor=where.redactor)
    session = Session(conversation, ports)
    assert await session.run(ask) == 0


async def with_openai(url: str) -> None:
    """The official client, each event an object of its type."""
    base = url.removesuffix("/realtime")
    async with (
        AsyncOpenAI(api_key=KEY, websocket_base_url=base) as client,
        client.realtime.connect(model=MODEL) as connection,
    ):
        await connection.response.create()
        text = []
        async for event in connection:
            if event.type == "response.output_text.delta":
                text.append(event.delta)
            elif event.type == "response.done":
                break
    assert len(text) == DELTAS


async def with_a_bare_loop(url: str) -> None:
    """No more than JSON."""
    async with connect(url, compression=None, proxy=None) as socket:
        await socket.send(json.dumps({"type": "response.create"}))
        text = []
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "response.output_text.delta":
                text.append(event["delta"])
            elif event["type"] == "response.done":
                break
    assert len(text) == DELTAS


# --------------------------------------------------------------------------------------- the table


def speed(run: Callable[[str], Coroutine[None, None, None]], url: str) -> float:
    """Events in a CPU second."""
    gc.collect()
    before = time.process_time()
    asyncio.run(run(url))
    return (DELTAS + 2) / (time.process_time() - before)


def measure(url: str) -> list[list[float]]:
    """The speeds in all rounds, after one that warms up: rtchat's, the official client's, a bare
    loop's."""
    with Path(os.devnull).open("wb") as nowhere:
        runs = (partial(with_rtchat, nowhere=nowhere), with_openai, with_a_bare_loop)
        return [[speed(run, url) for run in runs] for _ in range(ROUNDS + 1)][1:]


def measured() -> list[list[float]]:
    """Serve and measure."""
    command = [sys.executable, __file__, str(DELTAS), "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            return measure(f"ws://127.0.0.1:{int(server.stdout.readline())}/v1/realtime")
        finally:
            server.terminate()


def ratios() -> dict[str, float]:
    """The medians of the ratios, by name."""
    rounds = measured()
    return {
        "rtchat / openai, typed events": statistics.median(each[0] / each[1] for each in rounds),
        "rtchat / websockets, json.loads": statistics.median(each[0] / each[2] for each in rounds),
    }


def ratio(of: list[float]) -> tuple[str, str]:
    """The median, and from where to where."""
    return f"{statistics.median(of):.2f}x", f"{min(of):.2f} to {max(of):.2f}"


def row(name: str, *cells: str) -> None:
    """One line of the table."""
    sys.stdout.write(f"{name:<24}" + "".join(f"{cell:>16}" for cell in cells) + "\n")


def main() -> None:
    """Measure and print the table."""
    rounds = measured()
    ours, theirs, bare = (statistics.median(column) for column in zip(*rounds, strict=True))
    row("client", "events/CPU s", "rtchat / it", "range", "goal")
    row("rtchat", f"{ours:,.0f}", "", "", "")
    to_theirs = [each[0] / each[1] for each in rounds]
    row("openai, typed events", f"{theirs:,.0f}", *ratio(to_theirs), ">= 2x")
    to_bare = [each[0] / each[2] for each in rounds]
    row("websockets, json.loads", f"{bare:,.0f}", *ratio(to_bare), ">= 0.5x")


if __name__ == "__main__":
    if sys.argv[2:] == ["serve"]:
        asyncio.run(serve_replies())
    else:
        main()
