"""Nothing that a server sends controls the terminal, in any field and however it is split.

The output is checked: apart from the few sequences that rtchat writes itself, it may contain no
control character. A pipe gets the model's text byte for byte.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest

from rtchat.client.session import Session, SessionParts
from rtchat.client.transport import endpoint, open_connection
from rtchat.core.conversation import Conversation
from rtchat.core.effects import QuestionAsked, ReplyOver, TextArrived
from rtchat.core.events import InputEnded, UserSaid
from rtchat.core.mode import Mode
from rtchat.core.ports import Post, View
from rtchat.core.values import Options, Status
from rtchat.ui.console import ThemedConsole, ThemedLinkingConsole
from rtchat.ui.live_view import LiveView
from rtchat.ui.plain_view import PlainView, StatusWriter
from tests.faulty import FaultyServer, frame, http, sockets, tcp
from tests.program import Program, background
from tests.scripted import HELLO, QUESTION, Emit, End, ScriptedServer, Step, answer, run_fast

HOSTILE = {
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;b3duZWQ=\x1b\\",
    "link": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "clear": "\x1b[2J\x1b[999;999H",
    "colour": "\x1b[38;2;1;2;3mred",
    "report": "\x1b[6n\x1b[>0c\x05",
    "mode": "\x1b[?1049h\x1b[?1000h\x1bc",
    "dcs": '\x1bP$q"p\x1b\\',
    "apc": "\x1b_Gf=100;AAAA\x1b\\",
    "c1": "\x9b2J\x9d0;owned\x9c\x90q\x9c\x85",
    "back": "safe\x08\x08\x08\x08evil",
    "return": "safe\revil\x0b\x0c\x00\x07\x0e\x0f",
    "delete": "a\x7fb",
    "bidi": "a\u202eb\u2066c\u2069\u200f\u061cd",
    "hidden": "a\u200bb\u2060c\ufeffd\u00ade\U000e0041f\U000e0100g\u3164\u034fh",
    "lines": "a\u2028b\u2029c\x85d\x1c\x1d\x1e",
    "entity": "&#27;[2J&#155;2J&#8238;&#x7;",
    "markdown": "[x](<https://example.com/\x1b[2J>) `\x1b[2J` ![\x1b](\x1b)\n",
    "fence": "```\x1b[2J\n\x1b[2J\n```\n",
    "table": "|\x1b[2J|\n|-|\n|\u202e|\n",
    "links": "<https://example.com/\x1b\\x> [a](https://a.example/%1b%5c&#27;&#7;\x9c;x) "
    "[b](<https://a.example/ \u202e\u200b>) ![c](https://a.example/\x07) [d](https://é.example/é)",
    "other links": "[a](javascript:x) [b](file:///etc/passwd) [c](HTTPS://A) <mailto:a@b>",
    "rich": "[bold][/bold][link=https://evil.example]x[/link]:smile:",
}
_OURS = re.compile(
    r"\x1b\[(?:\d\d?(?:;\d\d?)*)?m"  # the 16 colours
    r"|\x1b\[\d?\d?[ABCGLM]|\x1b\[0?K|\x1b\[J|\r"  # cursor movement and erasing for the panel
    r"|\x1b[78]|\x1b\[\?(?:25|2026)[hl]"  # the cursor, and synchronised output
    r"|\x1b\]8;id=\d+-?\d*;https?://[!-~]+\x1b\\|\x1b\]8;;\x1b\\"  # links to what is printed
)
_BAD = {"Cc", "Cs", "Cf", "Zl", "Zp"}
_ALLOWED = "\n\u200d\u200c"

each = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())


def acting(written: str) -> set[str]:
    """Sequences that control a terminal or deceive a reader."""
    rest = _OURS.sub("", written)
    return {char for char in rest if unicodedata.category(char) in _BAD and char not in _ALLOWED}


class Terminal:
    """Views on one terminal, and the output written to it."""

    def __init__(self, kind: type[ThemedConsole] = ThemedConsole) -> None:
        self._file = io.StringIO()
        self._bytes = io.BytesIO()
        self.console = kind(
            file=self._file,
            force_terminal=True,
            color_system="standard",
            legacy_windows=False,
            width=60,
            height=24,
            _environ={},
        )

    def live(self) -> View:
        return LiveView(self.console, self.console, banner=True, verbose=True)

    def plain(self) -> View:
        return PlainView(
            self._bytes, StatusWriter(self._file, verbose=True, banner=True), raw=False
        )

    @property
    def written(self) -> str:
        return self._file.getvalue() + self._bytes.getvalue().decode()


def show(view: View, deltas: list[str]) -> None:
    view.show(QuestionAsked("?", "model"))
    for delta in deltas:
        view.show(TextArrived(delta))
        view.tick()
    view.show(ReplyOver(Status.COMPLETED, "".join(deltas), "model"))


@each
@pytest.mark.parametrize("kind", ["live", "plain"])
def test_sequences_in_a_reply_split_anywhere(text: str, kind: str) -> None:
    for at in range(len(text) + 1):
        terminal = Terminal()
        view: View = terminal.live() if kind == "live" else terminal.plain()
        show(view, ["before ", text[:at], text[at:], " after"])
        assert acting(terminal.written) == set()


@each
def test_sequences_on_a_terminal_with_links(text: str) -> None:
    for at in range(len(text) + 1):
        terminal = Terminal(ThemedLinkingConsole)
        show(terminal.live(), ["before ", text[:at], text[at:], " after"])
        assert acting(terminal.written) == set()


@each
def test_a_pipe_gets_the_text_unchanged(text: str) -> None:
    out = io.BytesIO()
    show(PlainView(out, StatusWriter(None), raw=True), ["before ", *text, " after\n"])
    assert out.getvalue() == f"before {text} after\n".encode()


async def ask(post: Post) -> None:
    post(UserSaid("hi"))
    post(InputEnded())


def converse(view: View, *scripts: tuple[Step, ...]) -> None:
    """A conversation with a server that follows these scripts."""
    server = ScriptedServer(*scripts)
    conversation = Conversation("m", Options(modality="text"), mode=Mode.LINES)

    async def run() -> None:
        now = asyncio.get_running_loop().time
        ports = SessionParts(view, server.connect, now=now, rng=lambda: 1.0)
        await Session(conversation, ports).run(ask)

    run_fast(run)


def session(**fields: object) -> dict[str, object]:
    return {"type": "realtime", "id": "s", "model": "m", **fields}


def scripts(text: str) -> list[tuple[Step, ...]]:
    """Server scripts with the sequence in every event field that this program reads."""
    called = {"call_id": text, "item_id": text, "response_id": "r1", "output_index": 0}
    item = {"type": "function_call", "id": text, "name": text, "call_id": text, "arguments": text}
    part = {"response_id": text, "item_id": text, "output_index": 0, "content_index": 0}
    error = {"type": text, "code": text, "message": text, "param": text}
    return [
        (
            Emit({"type": "session.created", "session": session(model=text, id=text)}),
            HELLO[1],
            Emit({"type": "session.updated", "session": session(model=text, id=text)}),
            *QUESTION,
            *answer("fine", reply=text),
        ),
        (*HELLO, *QUESTION, Emit({"type": "error", "error": error}), *answer("fine")),
        (*HELLO, *QUESTION, Emit({"type": text}), Emit(f"not json {text}"), *answer("fine")),
        (
            *HELLO,
            *QUESTION,
            *answer("", ends=False),
            Emit({"type": "response.output_item.added", "item": item, "response_id": "r1"}),
            Emit({"type": "response.function_call_arguments.done", "name": text, **called}),
            Emit({"type": "response.output_text.delta", "delta": text, **part}),
            Emit({"type": "response.done", "response": {"id": "r1", "output": [item]}}),
        ),
        (
            *HELLO,
            *QUESTION,
            *answer("", ends=False),
            Emit(
                {
                    "type": "response.done",
                    "response": {
                        "id": "r1",
                        "status": "failed",
                        "status_details": {"type": "failed", "reason": text, "error": error},
                    },
                }
            ),
        ),
        (*HELLO, *QUESTION, *answer("some", ends=False), End(1008, text)),
        (*HELLO, *QUESTION, End(4000, text)),
        (End(1008, text),),
    ]


@each
@pytest.mark.parametrize("kind", ["live", "plain"])
def test_sequences_in_event_fields_and_close_reasons(text: str, kind: str) -> None:
    for script in scripts(text):
        terminal = Terminal()
        converse(terminal.live() if kind == "live" else terminal.plain(), script)
        assert terminal.written
        assert acting(terminal.written) == set()


@each
@pytest.mark.parametrize("status", ["401 \x1b[2JUnauthorized", "404 Not Found", "200 OK"])
def test_sequences_in_http_bodies_and_status_lines(text: str, status: str) -> None:
    terminal = Terminal()
    body = text.encode()

    async def run() -> None:
        async with tcp(http(status, body, f"X-Evil: {status}")) as port:
            where = endpoint("m", url=f"ws://{port.address}/v1/realtime")
            conversation = Conversation("m", Options(modality="text"), mode=Mode.ONCE)
            connect = partial(lambda _: open_connection(where))
            await Session(conversation, SessionParts(terminal.live(), connect)).run(ask)

    asyncio.run(run())
    assert terminal.written
    assert acting(terminal.written) == set()


# ------------------------------------------------------------------------------ JSON that it writes

ALL = "".join(HOSTILE.values())


def test_json_output_is_escaped_and_complete(tmp_path: Path) -> None:
    program = Program(tmp_path)
    place = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    frames = [
        frame("response.created", response={"id": "r"}),
        frame("response.output_text.delta", delta=ALL, **place),
        frame("response.done", response={"id": "r", "status": "completed"}),
    ]

    def run(*arguments: str) -> str:
        with background(lambda: sockets(FaultyServer(frames).talk)) as url:
            ran = program.run(*arguments, environ={"RTCHAT_URL": url})
        assert ran.code == 0
        return ran.text

    written = {
        "--json": run("once", f"Say {ALL}".replace("\0", ""), "--json", "--trace", "trace.jsonl"),
        "--trace": (tmp_path / "trace.jsonl").read_text(encoding="utf-8"),
        "--events": run("once", "hi", "--events"),
        "history list": run("history", "list", "--json"),
        "history search": run("history", "search", "Say", "--json"),
        "history export": run("history", "export", "1", "--format", "json"),
    }
    for name, text in written.items():
        assert {char for char in text if unicodedata.category(char) in _BAD} <= set(_ALLOWED), name
        lines = [text] if name == "history export" else text.splitlines()
        said = re.sub(r"\s", "", "".join(strings(map(json.loads, lines))))
        known = "owned" if name in ("history list", "history search") else re.sub(r"\s", "", ALL)
        assert known in said, name


def strings(values: Iterable[object]) -> Iterator[str]:
    """All strings in JSON values."""
    for value in values:
        match value:
            case str():
                yield value
            case list():
                yield from strings(value)
            case dict():
                yield from strings(value.values())
            case _:
                pass


def test_the_json_output_of_doctor_is_escaped(tmp_path: Path) -> None:
    refused = [frame("error", error={"code": "invalid_api_key", "message": ALL})]
    with background(lambda: sockets(FaultyServer(greetings=[refused]).talk)) as url:
        ran = Program(tmp_path).run("doctor", "--json", "--url", url)
    assert ran.code == 3
    assert {char for char in ran.text if unicodedata.category(char) in _BAD} <= set(_ALLOWED)
    assert "owned" in "".join(strings([json.loads(ran.text)]))
