"""A key is never shown, wherever and in any form the server quotes it.

The tests use real sockets and, for what a user sees, the program itself.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
from base64 import b64encode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import pytest
from websockets.asyncio.server import ServerConnection

from rtchat.api.connection import open_events
from rtchat.client.endpoint import Endpoint, endpoint, shown_url
from rtchat.client.proxies import proxy_keys
from rtchat.core.errors import LinkError, RealtimeError, UsageError
from rtchat.core.redaction import Redactor
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from tests.faulty import (
    HELLO,
    READY,
    Close,
    FaultyServer,
    Mishap,
    Port,
    Step,
    frame,
    http,
    perform,
    saying,
    sockets,
    tcp,
)
from tests.program import PATIENCE, Program, Ran, background
from tests.sounds import tone, write_wav

KEY = "sk-0123456789/abc+def&Z"
BASIC = b64encode(f"user:{KEY}".encode()).decode()

FORMS = {
    "as it is": KEY,
    "escaped slash": KEY.replace("/", "\\/"),
    "as Go has it": KEY.replace("&", "\\u0026"),
    "url": quote(KEY, safe=""),
    "url, small letters": quote(KEY, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    "path": quote(KEY),
    "html": KEY.replace("&", "&amp;"),
    "base64": b64encode(KEY.encode()).decode(),
    "base64 for URLs": urlsafe_b64encode(KEY.encode()).decode(),
    "basic": BASIC,
    "basic, no name": b64encode(f":{KEY}".encode()).decode(),
    "basic, short name": b64encode(f"me:{KEY}".encode()).decode(),
}
"""How a server may quote the key."""

CARRIERS: dict[str, list[tuple[str, str]]] = {
    "key": [],
    "bearer": [("Authorization", f"Bearer {KEY}")],
    "basic": [("authorization", f"Basic {BASIC}")],
    "azure": [("api-key", KEY)],
    "gateway": [("X-Gateway-Api-Key", KEY)],
    "google": [("x-goog-api-key", KEY)],
    "token": [("X-Auth-Token", f"Token token={KEY}")],
    "secret": [("CF-Access-Client-Secret", KEY)],
    "cookie": [("Cookie", f"a=b; session={KEY}; c=d")],
    "parameter": [],
}
"""How the key gets to the server: headers, or the two ways without."""


def carried(how: str, url: str) -> Endpoint:
    """An endpoint with the key in it."""
    if how == "parameter":
        url = f"{url}?{urlencode({'api-key': KEY})}"
    return endpoint(url=url, api_key=KEY if how == "key" else "", headers=CARRIERS[how])


def pieces(text: str) -> list[str]:
    """What of the key is in a text: its characters four by four, as they are and in base64."""
    spelt = [KEY, *(b64encode(b"-" * n + KEY.encode()).decode()[4:-4] for n in range(3))]
    runs = {form[at : at + 8] for form in spelt for at in range(len(form) - 7)}
    return [run for run in runs if run in text]


# --------------------------------------------------------------------------------- what is redacted


@pytest.mark.parametrize("how", CARRIERS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_of_a_key_is_taken_out(how: str, form: str) -> None:
    where = carried(how, "wss://a.example/r")
    shown = where.redact(f"before {form} after")
    assert pieces(shown) == []
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "[key]" in shown


def test_what_is_no_secret_stays() -> None:
    headers = [
        ("OpenAI-Beta", "realtime=v1-0123456789"),
        ("OpenAI-Project", "proj_0123456789ab"),
        ("X-Trace", "trace-0123456789"),
        ("X-Author", "somebody-0123456789"),
        ("X-Keyboard", "keyboard-0123456789"),
    ]
    where = endpoint(url="ws://a.example/?deployment=mine-1&max_tokens=1000", headers=headers)
    text = " ".join([*(value for _, value in headers), "mine-1"])
    assert (where.secrets, where.redact(text)) == ((), text)


def test_a_short_key_does_not_spoil_what_is_like_its_base64() -> None:
    where = endpoint(url="wss://a.example/", api_key="sk-1")
    text = b64encode(b"some sk-1 or other").decode()
    assert where.redact(text) == text


def test_a_basic_header_that_is_none_is_a_key_all_the_same() -> None:
    where = endpoint(url="wss://a.example/", headers=[("Authorization", "Basic no-base-64")])
    assert where.redact("no-base-64") == "[key]"


@pytest.mark.parametrize("how", CARRIERS)
def test_no_key_crosses_a_network_unencrypted(how: str) -> None:
    with pytest.raises(UsageError) as caught:
        carried(how, "ws://a.example/r")
    assert str(caught.value).startswith("refusing to send a key over plain ws:// to a.example")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://a/r?model=m", "wss://a/r?model=m"),
        ("wss://a/r?api-key=K&x=1", "wss://a/r?api-key=[key]&x=1"),
        ("wss://a/r?x=1&Access_Token=K#f", "wss://a/r?x=1&Access_Token=[key]#f"),
        ("wss://a/?sig=K&key=", "wss://a/?sig=[key]&key="),
        ("wss://me:K@a/r@b", "wss://[key]@a/r@b"),
        ("https://K@[nonsense", "https://[key]@[nonsense"),
    ],
)
def test_a_url_is_shown_without_its_keys(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_a_url_that_will_not_do_is_shown_without_its_keys() -> None:
    with pytest.raises(UsageError) as caught:
        endpoint(url=f"https://a.example/r?api-key={quote(KEY)}")
    assert str(caught.value).startswith("'https://a.example/r?api-key=[key]' is not a WebSocket")
    where = carried("parameter", "wss://a.example/r")
    assert repr(where) == "Endpoint('wss://a.example/r?api-key=[key]')"


# -------------------------------------------------------------------------------- over real sockets

Server: TypeAlias = AbstractAsyncContextManager[str] | AbstractAsyncContextManager[Port]


async def said_of(server: Server, how: str) -> list[str]:
    """All that the Python API says of a connection to a server that quotes the key."""
    said: list[str] = []
    async with server as place:
        url = place if isinstance(place, str) else f"ws://{place.address}/"
        try:
            async with open_events(carried(how, url)) as connection:
                connection.on("event", lambda event: said.append(json.dumps(event)))
                while "the end" not in said:
                    try:
                        said += [json.dumps(event) async for event in connection]
                        said.append("the end")
                    except RealtimeError as error:
                        said.append(f"{error} {error!r} {error.event}")
        except LinkError as error:
            said.append(f"{error} {error!r} {error.problem}")
    return said


PLACES: dict[str, Callable[[str], Server]] = {
    "body": lambda form: tcp(http("401 Unauthorized", f"bad key {form}".encode())),
    "json body": lambda form: tcp(
        http("403 Forbidden", json.dumps({"error": {"message": f"bad key {form}"}}).encode())
    ),
    "location": lambda form: tcp(http("302 Found", b"", f"Location: wss://b.example/{form}")),
    "reason": lambda form: sockets(saying(code=4000, reason=f"bad key {form}")),
    "error": lambda form: sockets(
        saying(f'{{"type": "error", "error": {{"message": "bad key {form}", "code": "{form}"}}}}')
    ),
    "event": lambda form: sockets(saying(f'{{"type": "x", "y": ["bad key {form}"], "{form}": 1}}')),
    "not JSON": lambda form: sockets(saying(f"bad key {form}")),
    "binary": lambda form: sockets(saying(f"bad key {form}".encode())),
}


@pytest.mark.parametrize("how", ["key", "basic", "azure", "parameter"])
@pytest.mark.parametrize("place", PLACES)
def test_no_place_shows_a_key(place: str, how: str) -> None:
    for form in FORMS.values():
        said = asyncio.run(said_of(PLACES[place](form), how))
        assert said
        assert pieces(" ".join(said)) == []


# --------------------------------------------------------------------------------- by the program

SESSION = {"type": "realtime", "id": "s", "model": "m"}
IDS = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
QUOTES: dict[str, list[dict[str, object] | str | bytes]] = {
    "an error": [{"type": "error", "error": {"type": "x", "message": f"no: {KEY}", "code": KEY}}],
    "an unknown event": [{"type": KEY, "x": {KEY: [KEY]}}],
    "no JSON": [f"{{{KEY}"],
    "a binary frame": [KEY.encode()],
    "a delta": [
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_text.delta", "delta": f"It is {KEY}.", **IDS},
        {"type": "response.output_text.done", "text": f"It is {KEY}.", **IDS},
        {"type": "response.done", "response": {"id": "r", "status": "completed"}},
    ],
    "a failed reply": [
        {"type": "response.created", "response": {"id": "r"}},
        {
            "type": "response.done",
            "response": {
                "id": "r",
                "status": "failed",
                "status_details": {"error": {"code": "invalid_api_key", "message": f"no: {KEY}"}},
            },
        },
    ],
}


def quoting(place: str) -> AbstractAsyncContextManager[str]:
    """A server that quotes the key there, once it is asked."""

    async def talk(client: ServerConnection) -> None:
        model = KEY if place == "the session" else "m"
        for kind in ("session.created", "session.updated"):
            session = SESSION | {"model": model}
            await client.send(json.dumps({"type": kind, "session": session}))
            await client.recv()
        while json.loads(await client.recv())["type"] != "response.create":
            pass
        for event in QUOTES.get(place, []):
            await client.send(json.dumps(event) if isinstance(event, dict) else event)
        if place != "a delta":
            await client.close(4000, f"no: {KEY}")
        await client.wait_closed()

    return sockets(talk)


def shown(ran: Ran, trace: Path) -> str:
    return ran.text + ran.err + trace.read_text()


@pytest.mark.parametrize("shape", ["--plain", "--render=always", "--json", "--events"])
@pytest.mark.parametrize("place", [*QUOTES, "the session", "a close"])
def test_nothing_that_the_program_writes_has_the_key(
    tmp_path: Path, place: str, shape: str
) -> None:
    with background(lambda: quoting(place)) as url:
        ran = Program(tmp_path).run(
            *("once", "hi", "--url", url, "--verbose", "--trace", "trace.jsonl", shape),
            environ={"OPENAI_API_KEY": KEY, "RTCHAT_DEBUG": "1"},
        )
    text = shown(ran, tmp_path / "trace.jsonl")
    assert pieces(text) == []
    assert "[key]" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--header", f"api-key: {KEY}"],
        ["--header", f"Authorization: Basic {BASIC}"],
        ["--header", f"Authorization: {KEY}"],
    ],
)
def test_a_header_is_as_secret_as_the_key(tmp_path: Path, arguments: list[str]) -> None:
    with background(lambda: quoting("an error")) as url:
        ran = Program(tmp_path).run(
            *("once", f"Is it {KEY}?", "--url", url, "-v", "--trace", "trace.jsonl", *arguments)
        )
    text = shown(ran, tmp_path / "trace.jsonl")
    assert "Is it [key]?" in text
    assert pieces(text) == []


# ------------------------------------------------------------------------ by the program, in pieces

PLAIN, HEARD = "response.output_text", "response.output_audio_transcript"
ESCAPED = "".join(f"\\u{ord(char):04x}" for char in KEY)


def reply(*deltas: str, stem: str = PLAIN, ends: bool = True) -> list[str]:
    """The frames of a reply of these deltas, each as it stands in JSON."""
    place = json.dumps(IDS)[1:]
    frames = [f'{{"type": "{stem}.delta", "delta": "{delta}", {place}' for delta in deltas]
    begins = frame("response.created", response={"id": "r"})
    if not ends:
        return [begins, *frames]
    done = frame("response.done", response={"id": "r", "status": "completed"})
    return [begins, *frames, frame(f"{stem}.done", **IDS), done]


def in_two(text: str, at: int) -> tuple[str, str]:
    return text[:at], text[at:]


CUT: dict[str, list[str]] = {
    "in two": reply("It is ", *in_two(KEY, 9), "."),
    "almost at its end": reply(f"It is {KEY[:-1]}", f"{KEY[-1:]}."),
    "letter by letter": reply("It is ", *KEY, "."),
    "escaped": reply(f"It is {ESCAPED}."),
    "escaped, each letter": reply("It is ", *re.findall(r"\\u....", ESCAPED), "."),
    "escaped twice and cut": reply("It is ", *in_two(ESCAPED.replace("\\", "\\\\"), 61), "."),
    "percent signs": reply("It is ", *in_two("".join(f"%{ord(c):02x}" for c in KEY), 14), "."),
    "base64": reply("It is ", *in_two(b64encode(KEY.encode()).decode(), 11), "."),
    "of what is spoken": reply("It is ", *in_two(KEY, 9), ".", stem=HEARD),
    "with sound between": [
        *reply("It is ", KEY[:9], stem=HEARD, ends=False),
        frame("response.output_audio.delta", delta="c2s=", **IDS),
        *reply(KEY[9:], ".", stem=HEARD)[1:],
    ],
    "with another part between": [
        *reply("It is ", KEY[:9], ends=False),
        frame(f"{PLAIN}.delta", delta="s", **{**IDS, "content_index": 1}),
        *reply(KEY[9:], ".")[1:-1],
        frame("response.done", response={"id": "r", "status": "completed"}),
    ],
    "in the beta dialect": reply("It is ", *in_two(KEY, 9), ".", stem="response.text"),
}
"""The frames of replies that have the key in pieces."""


@asynccontextmanager
async def replying(frames: list[str]) -> AsyncIterator[str]:
    """A server that answers the first question with these frames."""
    async with sockets(FaultyServer(frames).talk) as url:
        yield url


def joined(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """The text of each part, put together from its deltas."""
    parts: defaultdict[tuple[object, object], str] = defaultdict(str)
    for event in events:
        if isinstance(event.get("delta"), str):
            parts[event["type"], event["content_index"]] += event["delta"]
    return list(parts.values())


@pytest.mark.parametrize("frames", CUT.values(), ids=CUT.keys())
def test_a_key_that_is_sent_in_pieces_reaches_nothing(tmp_path: Path, frames: list[str]) -> None:
    program = Program(tmp_path)
    program.environ["XDG_DATA_HOME"] = str(tmp_path / "data")
    shapes = (["--render=always"], ["--json"], ["--events"])
    for shape in shapes:
        (tmp_path / "trace.jsonl").unlink(missing_ok=True)
        with background(lambda: replying(frames)) as url:
            ran = program.run(
                *("once", "hi", "--url", url, "--verbose", "--trace", "trace.jsonl", *shape),
                environ={"OPENAI_API_KEY": KEY},
            )
        lines = list(map(json.loads, (tmp_path / "trace.jsonl").read_text().splitlines()[1:]))
        received = [line["data"] for line in lines if line["direction"] == "received"]
        events = list(map(json.loads, ran.text.splitlines())) if shape == ["--events"] else []
        written = [shown(ran, tmp_path / "trace.jsonl"), *joined(received), *joined(events)]
        assert pieces("\n".join(written)) == []
        if shape != ["--events"]:
            assert "It is [key]." in ran.text
        else:
            assert "It is [key]." in joined(events)
    kept = [file.read_bytes() for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert b"[key]" in b"".join(kept)
    assert pieces(b"".join(kept).decode("latin-1")) == []


@pytest.mark.parametrize("text", ["sk-", f"a {KEY[:-1]}", "s\ns\ns", "x\\u00"])
@pytest.mark.parametrize("end", ["done", "close", "no end of the text"])
def test_nothing_is_lost_of_a_text_that_might_have_become_a_key(
    tmp_path: Path, text: str, end: str
) -> None:
    frames: list[Step] = [*reply(*(json.dumps(char)[1:-1] for char in text), ends=False)]
    whole = frame("response.done", response={"id": "r", "status": "completed"})
    ends: dict[str, list[Step]] = {
        "done": [frame(f"{PLAIN}.done", **IDS), whole],
        "close": [Close(4000, "")],
        "no end of the text": [whole],
    }
    frames += ends[end]
    program = Program(tmp_path)
    for shape in ("--plain", "--events"):
        (tmp_path / "trace.jsonl").unlink(missing_ok=True)
        with background(lambda: sockets(FaultyServer(frames).talk)) as url:
            ran = program.run(
                *("once", "hi", "--url", url, shape, "--trace", "trace.jsonl"),
                environ={"OPENAI_API_KEY": KEY},
            )
        lines = list(map(json.loads, (tmp_path / "trace.jsonl").read_text().splitlines()[1:]))
        assert joined(line["data"] for line in lines if line["direction"] == "received") == [text]
        if shape == "--plain":
            assert ran.text == f"{text}\n"
        else:
            assert joined(map(json.loads, ran.text.splitlines())) == [text]
        assert ran.code == (0 if end in ("done", "no end of the text") else 4)


def test_a_reply_that_is_stopped_keeps_what_was_held_back(tmp_path: Path) -> None:
    frames: list[Step] = [*reply(f"It is {KEY[:9]}", ends=False), Mishap.SILENCE]
    with (
        background(lambda: sockets(FaultyServer(frames).talk)) as url,
        Program(tmp_path).start(
            "once", "hi", "--url", url, "--no-stdin", environ={"OPENAI_API_KEY": KEY}
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.read(6) == b"It is "
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, rest) == (130, f"{KEY[:9]}\n".encode())


def test_what_the_user_did_is_recorded_without_the_key(tmp_path: Path) -> None:
    """It may be in a question, a file or the instructions; a replay sends the same all the same."""
    program = Program(tmp_path)
    (tmp_path / "notes.txt").write_text(f"the key is {KEY}\n", encoding="utf-8")
    questions = "".join(f"{form}\n" for form in FORMS.values())
    with background(lambda: run_server(EchoEngine())) as url:
        ran = program.run(
            *("talk", "--url", url, "--attach", "notes.txt", "--system", f"Never say {KEY}."),
            *("--set", f"prompt.id={KEY}", "--trace", "trace.jsonl", "-q"),
            stdin=questions.encode(),
            environ={"OPENAI_API_KEY": KEY},
        )
    assert ran.code == 0
    trace = (tmp_path / "trace.jsonl").read_text(encoding="utf-8")
    assert pieces(trace) == []
    assert {json.loads(line).get("direction") for line in trace.splitlines()[1:]} >= {
        *("setup", "local", "sent", "received")
    }
    checked = program.run("replay", "--check", "trace.jsonl")
    assert (checked.code, checked.text.splitlines()[-1].rpartition(", ")[2]) == (
        0,
        "differences: 0",
    )


TOOL = """
def look(word: str) -> str:
    'Look it up.'
    with open("got", "a") as file:
        file.write(word)
    return "found " + word
"""


@pytest.mark.parametrize("written", [KEY, ESCAPED.replace("\\", "\\\\")], ids=["plain", "escaped"])
def test_a_tool_is_given_no_key(tmp_path: Path, written: str) -> None:
    pytest.importorskip("msgspec", reason="the extra tools is not installed")
    arguments = f'{{\\"word\\": \\"{written}\\"}}'
    stem = "response.function_call_arguments"
    call = '"type": "function_call", "id": "i", "name": "look", "call_id": "c"'
    response = '"response": {"id": "r", "status": "completed", "output": [%s]}'
    frames = [
        *reply(*in_two(arguments, 40), stem=stem, ends=False),
        f'{{"type": "{stem}.done", "call_id": "c", "arguments": "{arguments}", "item_id": "i"}}',
        f'{{"type": "response.done", {response}}}' % f'{{{call}, "arguments": "{arguments}"}}',
    ]
    (tmp_path / "tools.py").write_text(TOOL, encoding="utf-8")
    with background(lambda: sockets(Calling(frames).talk)) as url:
        ran = Program(tmp_path).run(
            *("once", "hi", "--url", url, "--tools", "tools.py", "--allow-tool", "look"),
            *("--trace", "trace.jsonl"),
            environ={"OPENAI_API_KEY": KEY},
        )
    assert (ran.code, ran.text) == (0, "Fine.\n")
    assert (tmp_path / "got").read_text() == "[key]"
    lines = list(map(json.loads, (tmp_path / "trace.jsonl").read_text().splitlines()[1:]))
    received = joined(line["data"] for line in lines if line["direction"] == "received")
    assert pieces("\n".join([shown(ran, tmp_path / "trace.jsonl"), *received])) == []


class Calling(FaultyServer):
    """One that takes the outputs of tools as well."""

    async def talk(self, client: ServerConnection) -> None:
        await perform(client, HELLO)
        async for data in client:
            match json.loads(data)["type"]:
                case "session.update":
                    await perform(client, READY)
                case "response.create":
                    await perform(client, self._next())
                case _:
                    pass


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_what_was_heard_of_a_user_has_no_key(tmp_path: Path, end: str) -> None:
    stem = "conversation.item.input_audio_transcription"
    deltas = [frame(f"{stem}.delta", item_id="u", delta=text) for text in in_two(KEY, 9)]
    ends = {"transcript": KEY} if end == "completed" else {"error": {"message": KEY}}
    heard = [*deltas, frame(f"{stem}.{end}", item_id="u", **ends)]

    async def talk(client: ServerConnection) -> None:
        await perform(client, HELLO)
        async for data in client:
            kind = json.loads(data)["type"]
            if kind == "session.update":
                await perform(client, READY)
            elif kind == "input_audio_buffer.commit":
                await perform(client, [frame("input_audio_buffer.committed", item_id="u"), *heard])
            elif kind == "input_audio_buffer.clear":
                await perform(client, [frame("input_audio_buffer.cleared")])

    write_wav(tmp_path / "said.wav", tone(440, 0.5))
    with background(lambda: sockets(talk)) as url:
        ran = Program(tmp_path).run(
            *("transcribe", "said.wav", "--url", url, "--trace", "trace.jsonl"),
            environ={"OPENAI_API_KEY": KEY},
        )
    assert "[key]" in ran.text + ran.err
    assert pieces(shown(ran, tmp_path / "trace.jsonl")) == []


def test_a_translation_has_no_key(tmp_path: Path) -> None:
    async def talk(client: ServerConnection) -> None:
        session = {"type": "translation", "id": "s"}
        await perform(client, [frame("session.created", session=session)])
        async for data in client:
            kind = json.loads(data)["type"]
            if kind == "session.update":
                await perform(client, [frame("session.updated", session=session)])
            elif kind == "session.close":
                for way in ("input", "output"):
                    stem = f"session.{way}_transcript.delta"
                    await perform(client, [frame(stem, delta=text) for text in in_two(KEY, 9)])
                await perform(client, [frame("session.closed")])

    write_wav(tmp_path / "said.wav", tone(440, 0.5))
    with background(lambda: sockets(talk)) as url:
        ran = Program(tmp_path).run(
            *("translate", "said.wav", "--to", "es", "--show-original"),
            *("--url", url, "--trace", "trace.jsonl"),
            environ={"OPENAI_API_KEY": KEY},
        )
    assert ran.text == "[key]\n"
    assert "[key]" in ran.err
    assert pieces(shown(ran, tmp_path / "trace.jsonl")) == []


def test_the_python_api_gives_no_key_in_pieces(tmp_path: Path) -> None:
    async def main() -> list[dict[str, object]]:
        frames: list[Step] = [*reply("It is ", *KEY, ". s", ends=False), Close(1000, "")]
        async with (
            sockets(FaultyServer(frames).talk) as url,
            open_events(endpoint(url=url, api_key=KEY)) as connection,
        ):
            await connection.send({"type": "response.create"})
            return [dict(event) async for event in connection]

    assert joined(asyncio.run(main())) == ["It is [key]. s"]


def test_the_password_of_a_proxy_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    where = endpoint(url="wss://a.example/r", api_key=KEY)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pass%2Fword@127.0.0.1:1")
    assert Redactor(proxy_keys(where)).redact("me:pass/word, pass/word") == "[key], [key]"
    monkeypatch.setenv("HTTPS_PROXY", "http://[")
    assert proxy_keys(where) == []


# ------------------------------------------------------------------------------ what is said of it


def test_it_is_said_where_settings_and_key_come_from(tmp_path: Path) -> None:
    program = Program(tmp_path)
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    with background(lambda: quoting("a delta")) as url:
        ran = program.run("once", "hi", "--url", url, "--verbose")
        assert ran.err.split("\n")[:2] == [
            f"settings from {tmp_path / '.env'}",
            "key from OPENAI_API_KEY in .env",
        ]
        piped = program.run("talk", "--url", url, "--verbose", stdin=b"hi\n")
        assert piped.err.count("key from") == 1
        assert "key from" not in program.run("once", "hi", "--url", url).err
        (tmp_path / ".env").unlink()
        none = program.run("once", "hi", "--url", url, "--verbose")
        assert none.err.startswith("key not set\n")


def test_a_dotenv_of_a_folder_above_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={KEY}\n")
    below = tmp_path / "below"
    below.mkdir()
    assert "OPENAI_API_KEY" in Program(below).run("once", "hi").hint


def test_no_option_takes_a_key(tmp_path: Path) -> None:
    program = Program(tmp_path)
    for command in ("talk", "once", "serve", "keys set", "config show"):
        ran = program.run(*command.split(), "--help")
        assert ran.code == 0
        assert "--api-key " not in ran.text
        assert "--key " not in ran.text
