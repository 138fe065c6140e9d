"""The program with real servers that deviate: a few of those in `test_deviations`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

from rtchat.core.values import Message
from rtchat.history.store import FILE, Store
from tests.deviations import ALL
from tests.deviations.kinds import Deviation
from tests.deviations.server import Answer, Call, Features, Server
from tests.faulty import sockets
from tests.program import Program, background

NAMES = {str(deviation): deviation for deviation in ALL}
TEXT = (Answer("An answer in whole words."),)
ROUND = (Answer("", (Call("add", {"a": 1, "b": 2}),)), Answer("It is three."))


class DeviatingServer:
    """Serves connections that answer each question with `answers`, one after another."""

    def __init__(self, answers: Sequence[Answer], deviation: Deviation) -> None:
        self._answers = answers
        self._deviation = deviation
        self.wrong: list[str] = []

    async def talk(self, client: ServerConnection) -> None:
        """The server's side of a connection."""
        server = Server([self._answers], [self._deviation.make()], Features(), count(1))
        server.open()
        await send_all(server, client)
        async for data in client:
            server.handle(json.loads(data))
            await send_all(server, client)
            self.wrong += server.wrong


async def send_all(server: Server, client: ServerConnection) -> None:
    """Send all frames that are due."""
    while server.queue:
        frame = server.take_frame()
        text = json.dumps(frame.data)
        await client.send(text.encode() if frame.is_binary else text)


def ask(home: Path, answers: Sequence[Answer], name: str, *options: str) -> dict[str, object]:
    """The JSON of a reply, which must be the same as what is saved."""
    program = Program(home)
    server = DeviatingServer(answers, NAMES[name])
    with background(lambda: sockets(server.talk)) as url:
        ran = program.run("once", "question 1", "--json", "--url", url, *options)
    assert ran.code == 0, ran.err
    assert server.wrong == []
    with closing(Store(home / ".local" / "share" / "rtchat" / FILE)) as store:
        (found,) = store.conversations()
        items = [entry.item for entry in store.read(found.id).entries]
    (reply,) = map(json.loads, ran.text.splitlines())
    assert isinstance(reply, dict)
    assert [each.text for each in items if isinstance(each, Message)][1:] == [reply["text"]]
    return reply


@pytest.mark.parametrize(
    "name",
    [
        "all events under both names, GA first",
        "cumulative response.output_text.delta",
        "other item ids in every event",
        "other response ids in every event",
        "text only in response.output_item.done",
        "JSON in all binary frames",
        "response.done with nothing in it",
        "busy, naming the request, before the reply",
        "an unrequested reply before item",
    ],
)
def test_the_text_is_right_once(tmp_path: Path, name: str) -> None:
    reply = ask(tmp_path, TEXT, name)
    assert (reply["text"], reply["status"]) == (TEXT[0].text, "completed")


@pytest.mark.parametrize(
    "name",
    [
        "arguments as objects",
        "arguments only in response.function_call_arguments.delta",
        "call ids only in response.output_item.added",
        "other call ids in every event",
        "response.function_call_arguments.done twice",
    ],
)
def test_a_tool_runs_once(tmp_path: Path, name: str) -> None:
    pytest.importorskip("msgspec", reason="the extra tools is not installed")
    lines = "def add(a: int, b: int) -> int:", '    """Add."""', "    return a + b"
    (tmp_path / "tools.py").write_text("\n".join(lines), encoding="utf-8")
    reply = ask(tmp_path, ROUND, name, "--tools", "tools.py", "--allow-tool", "add")
    assert (reply["text"], reply["status"]) == (ROUND[1].text, "completed")
    calls = reply["tool_calls"]
    assert isinstance(calls, list)
    assert [(call["name"], json.loads(call["arguments"])) for call in calls] == [
        ("add", {"a": 1, "b": 2})
    ]
