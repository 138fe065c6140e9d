"""Attacks on `rtchat serve`: resources are limited and other clients are not affected.

Each attack runs against the program in its own process. No test measures time: a server blocked by
an attack would never answer the other client, or never exit.
"""

from __future__ import annotations

import asyncio
import json
import resource
import select
import signal
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from rtchat.server.limits import ServerLimits
from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.completions import OPENING, CompletionRequest, chunked, completions, delta
from tests.completions import event as chunk
from tests.faulty import certificate
from tests.loopback import Peer, configure, joined, ready, reply, text_of, user
from tests.program import PATIENCE, Program
from tests.raw_clients import CONTINUATION, PING, event, flooding, frame, raw_client
from tests.test_serve import served

SLOW = {"match": "slow", "text": "word " * 20_000, "chunk": 5, "delay": 0.01}
SHORT = {"match": "short", "text": "word " * 30, "chunk": 5, "delay": 0.01}
LARGE = {"match": "large", "text": "word " * 3_000_000, "chunk": 100_000}
SCRIPT: dict[str, object] = {"rule": [SLOW, SHORT, LARGE, {"text": "Fine."}]}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    (tmp_path / "script.json").write_text(json.dumps(SCRIPT))
    return Program(tmp_path)


@contextmanager
def scripted(program: Program, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with served(program, "--engine", "script:script.json", *arguments) as (url, process):
        yield url, process


def assert_exits(process: subprocess.Popen[bytes], code: int = 143) -> None:
    """Assert that the process exits and prints nothing."""
    assert process.stderr is not None
    assert process.wait(PATIENCE) == code
    assert process.stderr.read() == b""


async def turn(peer: Peer, text: str = "hi") -> str:
    """Ask a question. Returns the answer."""
    await peer.send(user(text), reply())
    return text_of(await peer.until("response.done"))


async def refused(peer: Peer, *events: dict[str, object]) -> dict[str, Any]:
    """Send events. Returns the error that they cause."""
    await peer.send(*events)
    error: dict[str, Any] = (await peer.until("error"))[-1]["error"]
    return error


# ---------------------------------------------------------------------------------------- shutdown


def idle(stack: ExitStack, url: str) -> None:
    stack.enter_context(raw_client(url))


def asking(text: str) -> Callable[[ExitStack, str], None]:
    """A client that asks a question and then stops reading."""

    def ask(stack: ExitStack, url: str) -> None:
        client = stack.enter_context(raw_client(url, small=True))
        session = {"type": "realtime", "output_modalities": ["text"]}
        client.socket.sendall(event("session.update", session=session))
        client.socket.sendall(frame(json.dumps(user(text)).encode()) + event("response.create"))
        received = b""
        while b"output_text.delta" not in received:
            piece = client.socket.recv(1 << 12)
            assert piece, "the connection ended"
            received = received[-100:] + piece

    return ask


def no_handshake(stack: ExitStack, url: str) -> None:
    stack.enter_context(raw_client(url, handshake=False))


def half_handshake(stack: ExitStack, url: str) -> None:
    stack.enter_context(raw_client(url, handshake=False)).socket.sendall(b"GET /v1/rea")


def byte_flood(stack: ExitStack, url: str) -> None:
    stack.enter_context(flooding(url, frame(b"x") * 1000, frame(b"x") * 1000))


def unread_flood(stack: ExitStack, url: str) -> None:
    stack.enter_context(flooding(url, frame(b"x") * 1000, frame(b"x") * 1000, reads=False))


CLIENTS = {
    "idle": idle,
    "during a response": asking("slow"),
    "reads nothing": asking("large"),
    "no handshake": no_handshake,
    "half a handshake": half_handshake,
    "floods": byte_flood,
    "floods and reads nothing": unread_flood,
}


@pytest.mark.parametrize(
    "names",
    [[], [*CLIENTS], *(pytest.param([name], marks=pytest.mark.full) for name in CLIENTS)],
    ids=lambda names: names[0] if len(names) == 1 else str(len(names)),
)
def test_sigterm_stops_the_server_with_any_client(program: Program, names: list[str]) -> None:
    with scripted(program, "--grace", "0.2") as (url, process), ExitStack() as stack:
        for name in names:
            CLIENTS[name](stack, url)
        process.terminate()
        assert_exits(process)


def test_sigterm_stops_the_server_during_a_tls_handshake(program: Program) -> None:
    file, _ = certificate(program.home, "IP:127.0.0.1")
    key = str(program.home / "key.pem")
    arguments = ("--tls-cert", str(file), "--tls-key", key, "--engine", "echo")
    with served(program, *arguments) as (url, process):
        plain = url.replace("wss:", "ws:")
        with (
            raw_client(plain, handshake=False) as client,
            raw_client(plain, handshake=False) as other,
        ):
            client.socket.sendall(b"\x16\x03\x01")  # the start of a TLS handshake
            other.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
            other.read_to_end()
            with raw_client(url):
                process.terminate()
                assert_exits(process)


def test_responses_may_finish_within_the_grace_period(program: Program) -> None:
    async def main(url: str, process: subprocess.Popen[bytes]) -> None:
        async with ready(url) as peer:
            await peer.send(user("short"), reply())
            await peer.until("response.output_text.delta")
            process.terminate()
            events = await peer.until("response.done")
            assert events[-1]["response"]["status"] == "completed"
            assert (await peer.closed())[0] == 1001

    with scripted(program, "--grace", "600") as (url, process):
        asyncio.run(main(url, process))
        assert_exits(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_the_server_at_once(program: Program, number: int) -> None:
    code = 128 + number
    with scripted(program, "--grace", "600") as (url, process), ExitStack() as stack:
        idler = stack.enter_context(raw_client(url))
        asking("slow")(stack, url)
        process.terminate()
        idler.read_to_end()  # it is closed at once; the other client gets the grace period
        process.send_signal(number)
        assert_exits(process, code)


# ------------------------------------------------------------------------------------------ others


ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
FLOODS = {
    "bytes": (frame(b"x") * 5000,) * 2,
    "empty frames": (frame(b"") * 5000,) * 2,
    "binary frames": (frame(b"x", 2) * 5000,) * 2,
    "pings": (frame(b"", PING) * 5000,) * 2,
    "endless fragments": (
        frame(b"{", ends=False),
        frame(b"x", CONTINUATION, ends=False) * 5000,
    ),
    "items": (event("conversation.item.create", item=ITEM) * 1000,) * 2,
    "responses": (event("response.create", response={"conversation": "none"}) * 1000,) * 2,
    "updates": (event("session.update", session={"type": "realtime"}) * 1000,) * 2,
    "audio": (event("input_audio_buffer.append", audio="AAAA" * 2000) * 50,) * 2,
    "objects": (frame(b'{"a":[' + b"{}," * 3_000_000 + b"{}]}"),) * 2,
    "depth": (frame(b'{"a":' + b"[" * 10_000_000),) * 2,
    "invalid JSON": (frame(b"x" * 20_000_000),) * 2,
}


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "reads nothing"])
def test_a_flood_does_not_block_other_clients(program: Program, reads: bool) -> None:
    async def main(url: str) -> None:
        async with ready(url) as peer:
            for _ in range(5):
                assert await turn(peer) == "Fine."

    with scripted(program) as (url, process):
        for first, again in FLOODS.values():
            with flooding(url, first, again, reads=reads):
                asyncio.run(main(url))
        process.terminate()
        assert_exits(process)


def test_too_many_events_are_reported_and_none_is_lost(program: Program) -> None:
    async def main(url: str) -> None:
        async with ready(url) as peer:
            for _ in range(220):
                await peer.send({"type": "conversation.item.retrieve", "item_id": "x"})
            codes = [(await peer.receive())["error"]["code"] for _ in range(221)]
            assert codes.count("rate_limit_exceeded") == 1
            assert codes.count("item_retrieve_invalid_item_id") == 220

    with scripted(program, "--max-events", "20") as (url, _):
        asyncio.run(main(url))


def test_too_many_pings_close_the_connection(program: Program) -> None:
    with scripted(program, "--max-events", "10") as (url, _), raw_client(url) as client:
        client.socket.sendall(frame(b"", PING) * 200)
        assert (1008).to_bytes(2, "big") + b"Too many pings." in client.read_to_end()


NONSENSE = {
    "invalid JSON": "invalid_json",
    "depth": "invalid_json",
    "objects": "invalid_json",
    "bytes": "invalid_json",
    "binary frames": "invalid_frame",
}


def test_invalid_frames_of_any_size_are_error_events(program: Program) -> None:
    with scripted(program) as (url, _):
        for name, code in NONSENSE.items():
            with raw_client(url) as client:
                client.socket.sendall(FLOODS[name][0])
                received = b""
                while code.encode() not in received:
                    piece = client.socket.recv(1 << 12)
                    assert piece, "the connection ended"
                    received = received[-100:] + piece


# -------------------------------------------------------------------------------------- handshakes


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nX-A: ",
        b"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1/realtime/client_secrets HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
    ],
)
def test_an_unfinished_handshake_times_out(program: Program, start: bytes) -> None:
    with ExitStack() as stack:
        url, _ = stack.enter_context(scripted(program, "--client-timeout", "0.5"))
        client = stack.enter_context(raw_client(url, handshake=False))
        client.socket.sendall(start)
        assert client.read_to_end() == b""


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v1/realtime HTTP/1.1\r\nX-A: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"GET /v1/realtime HTTP/1.1\r\n" + b"X-A: x\r\n" * 100_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(1000),
        b"POST /v1/realtime HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 1_000_000,
        b"POST /v1/realtime/client_secrets HTTP/1.1\r\nX-A: " + b"x" * 1_000_000,
    ],
    ids=["a long header", "many headers", "TLS", "a body", "a long head of a body"],
)
def test_invalid_requests_are_refused_and_others_are_served(
    program: Program, request_: bytes
) -> None:
    with scripted(program, "--client-timeout", "1") as (url, process):
        with raw_client(url, handshake=False) as client:
            with suppress(ConnectionError):
                client.socket.sendall(request_)
            assert not client.read_to_end().startswith(b"HTTP/1.1 101")
        assert program.run("once", "-q", "hi", "--url", url).text == "Fine.\n"
        process.terminate()
        assert_exits(process)


def test_connections_without_a_handshake_do_not_block_clients(program: Program) -> None:
    with scripted(program) as (url, _), ExitStack() as stack:
        clients = [stack.enter_context(raw_client(url, handshake=False)) for _ in range(300)]
        assert program.run("once", "-q", "hi", "--url", url).text == "Fine.\n"
        clients[0].read_to_end()  # the oldest was dropped


def test_the_number_of_sessions_is_limited(program: Program) -> None:
    async def main(url: str) -> None:
        async with ready(url):
            with pytest.raises(InvalidStatus) as caught:
                async with joined(url):
                    pass
            answer = caught.value.response
            assert answer.status_code == 503
            assert answer.headers["Retry-After"].isdecimal()
            assert json.loads(answer.body or b"")["error"]["code"] == "server_overloaded"
        async with ready(url) as peer:
            assert await turn(peer) == "Fine."

    with scripted(program, "--max-sessions", "1") as (url, _):
        asyncio.run(main(url))


def test_the_server_reports_too_many_open_files_and_recovers(program: Program) -> None:
    def limit_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    command = program.command("serve", "--port", "0", "--engine", "echo")
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=program.environ,
        cwd=program.home,
        preexec_fn=limit_files,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            url = process.stdout.readline().decode().rstrip("\n")
            with ExitStack() as stack:
                for _ in range(80):
                    stack.enter_context(raw_client(url, handshake=False))
                said = [process.stderr.readline().decode() for _ in range(2)]
            assert said[0].startswith("rtchat: too many open files")
            assert "ulimit -n" in said[1]
            assert program.run("once", "-q", "hi", "--url", url).text == "hi\n"
        finally:
            process.terminate()
        assert_exits(process)


# ------------------------------------------------------------------------------------- disconnects


def test_a_client_that_answers_no_ping_is_disconnected(program: Program) -> None:
    with scripted(program, "--client-timeout", "0.5") as (url, _), raw_client(url) as client:
        client.read_to_end()


def test_a_client_that_reads_nothing_is_disconnected(program: Program) -> None:
    with scripted(program, "--client-timeout", "1") as (url, _), ExitStack() as stack:
        asking("large")(stack, url)
        with raw_client(url) as other:  # is served meanwhile, then disconnected as well
            other.read_to_end()


def test_a_client_that_answers_pings_stays_connected() -> None:
    """In one process, so that the client cannot be slower than the server."""

    async def main() -> None:
        limits = ServerLimits(client_seconds=0.1)
        async with (
            run_server(ScriptEngine(read_script(SCRIPT)), limits=limits) as url,
            ready(url) as peer,
            ready(url) as other,
        ):
            assert await turn(other, "short") == SHORT["text"]  # takes longer than the limit
            assert await turn(peer) == "Fine."

    asyncio.run(main())


# ------------------------------------------------------------------------------------------ memory


PNG = b"\x89PNG\r\n\x1a\n"


def image(url: str) -> dict[str, object]:
    content = [{"type": "input_image", "image_url": url}]
    item = {"type": "message", "role": "user", "content": content}
    return {"type": "conversation.item.create", "item": item}


def png_image(size: int) -> dict[str, object]:
    return image("data:image/png;base64," + b64encode(PNG + bytes(size)).decode())


def memory(process: subprocess.Popen[bytes]) -> int:
    """The memory of a process in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_freed_when_a_client_disconnects(program: Program) -> None:
    async def main(url: str) -> None:
        async with ready(url) as peer:
            codes = []
            for _ in range(100):
                await peer.send(png_image(3_000_000))
                last = (await peer.until("conversation.item.done", "error"))[-1]
                codes.append(last.get("error", {}).get("code", ""))
            assert codes.count("") >= 20
            assert set(codes) == {"", "session_too_large"}
            assert await turn(peer) == "Fine."  # small items still fit

    with scripted(program, "--max-session-mb", "100") as (url, process):
        assert program.run("once", "-q", "hi", "--url", url).text == "Fine.\n"
        before = memory(process)
        asyncio.run(main(url))
        for _ in range(100):  # memory is freed once the disconnect is noticed
            if memory(process) <= before + 50_000_000:
                break
            with raw_client(url):
                pass
        assert memory(process) <= before + 50_000_000


LARGE_EVENTS: dict[str, dict[str, object]] = {
    "items": png_image(800_000),
    "instructions": configure(instructions="x" * 1_100_000),
    "tools": configure(tools=[{"type": "function", "name": "f", "description": "x" * 1_100_000}]),
    "a response": reply(conversation="none", instructions="x" * 1_100_000),
    "wide characters": user("\N{GRINNING FACE}" + "x" * 300_000),
    "audio": {"type": "input_audio_buffer.append", "audio": "AAAA" * 400_000},
}


@pytest.mark.parametrize(
    ("limit", "code"),
    [("--max-session-mb", "session_too_large"), ("--max-total-mb", "server_overloaded")],
)
def test_memory_is_limited_per_session_and_in_total(
    program: Program, limit: str, code: str
) -> None:
    async def main(url: str) -> None:
        for name, create in LARGE_EVENTS.items():
            async with ready(url) as peer:
                assert (await refused(peer, create))["code"] == code, name
                assert await turn(peer) == "Fine."

    with scripted(program, limit, "1") as (url, _):
        asyncio.run(main(url))


def test_deleting_items_frees_memory(program: Program) -> None:
    first: dict[str, Any] = png_image(500_000)
    first["item"]["id"] = "first"

    async def main(url: str) -> None:
        async with ready(url) as peer:
            await peer.send(first)
            await peer.until("conversation.item.done")
            assert (await refused(peer, png_image(500_000)))["code"] == "session_too_large"
            await peer.send({"type": "conversation.item.delete", "item_id": "first"})
            await peer.until("conversation.item.deleted")
            await peer.send(png_image(500_000))
            await peer.until("conversation.item.done")

    with scripted(program, "--max-session-mb", "1") as (url, _):
        asyncio.run(main(url))


def test_a_response_that_exceeds_the_memory_limit_fails(program: Program) -> None:
    async def main(url: str) -> None:
        async with ready(url) as peer:
            await peer.send(user("large"), reply())
            (*_, done) = await peer.until("response.done")
            assert done["response"]["status_details"]["error"]["code"] == "session_too_large"

    with scripted(program, "--max-session-mb", "2") as (url, _):
        asyncio.run(main(url))


def test_unfinished_events_count_as_memory(program: Program) -> None:
    half = frame(b"x" * 24_000_000)[:23_000_000]  # the rest is never sent
    with scripted(program, "--max-total-mb", "1") as (url, _), ExitStack() as stack:
        clients = [stack.enter_context(raw_client(url)).socket for _ in range(6)]
        left = dict.fromkeys(clients, memoryview(half))
        received = b""
        close_frame = (1013).to_bytes(2, "big") + b"The server is out of memory."
        while close_frame not in received:  # until one client gets this close frame
            readable, writable, _ = select.select(
                clients, [one for one in clients if left[one]], [], PATIENCE
            )
            assert readable or writable
            for one in writable:
                left[one] = left[one][one.send(left[one][:65536], socket.MSG_DONTWAIT) :]
            for one in readable:
                piece = one.recv(1 << 12)
                assert piece, "a connection was dropped"
                received += piece


# ------------------------------------------------------------------------------------------ images


def data_url(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{b64encode(data).decode()}"


IMAGES = [
    data_url("image/png", PNG + b"..."),
    data_url("image/jpeg", b"\xff\xd8\xff..."),
    data_url("image/gif", b"GIF89a..."),
    data_url("image/webp", b"RIFF....WEBP..."),
]
INVALID_IMAGES = [
    "file:///etc/passwd",
    "ftp://127.0.0.1/a.png",
    "//169.254.169.254/a.png",
    "",
    data_url("text/html", b"<script>"),
    data_url("image/svg+xml", b"<svg/>"),
    data_url("image/png", b"<html>"),
    data_url("image/png", b"\xff\xd8\xff..."),
    "data:image/png,abc",
    f"data:image/png;base64,{b64encode(PNG).decode()}\nx",
    "data:image/png;base64,not*base64",
    f" {data_url('image/png', PNG)}",
]
WEB_URLS = ["http://169.254.169.254/latest/meta-data", "https://127.0.0.1/a.png", "HTTP://x/"]


async def error_code_of(peer: Peer, url: str, *, as_input: bool) -> str:
    """The error code for an image; empty if it is accepted."""
    create: dict[str, Any] = image(url)
    where = "item"
    if as_input:
        where = "response.input[0]"
        create = reply(conversation="none", input=[create["item"]])
    await peer.send(create)
    last = (await peer.until("conversation.item.done", "response.done", "error"))[-1]
    if last["type"] != "error":
        return ""
    assert last["error"]["param"] == f"{where}.content[0].image_url"
    code: str = last["error"]["code"]
    return code


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("as_input", [False, True])
def test_only_images_reach_the_upstream(program: Program, allowed: bool, as_input: bool) -> None:
    bad = [*INVALID_IMAGES, *([] if allowed else WEB_URLS)]
    good = [*IMAGES, *(WEB_URLS if allowed else [])]
    seen: list[str] = []

    async def respond(request: CompletionRequest) -> None:
        parts = [part for said in request.body["messages"] for part in said["content"]]
        seen.extend(part["image_url"]["url"] for part in parts if "image_url" in part)
        await request.stream(delta("stop", content="Fine."))

    async def talk(url: str) -> None:
        async with ready(url) as peer:
            for image_url in bad:
                assert await error_code_of(peer, image_url, as_input=as_input) == "invalid_value", (
                    image_url
                )
            for image_url in good:
                assert await error_code_of(peer, image_url, as_input=as_input) == "", image_url
            if not as_input:
                await peer.send(reply())
                await peer.until("response.done")

    def run(api: str) -> None:
        arguments = ["--upstream", api, "--upstream-model", "m"]
        arguments += ["--allow-image-urls"] if allowed else []
        with served(program, *arguments) as (url, _):
            asyncio.run(talk(url))

    async def main() -> None:
        async with completions(respond) as api:
            await asyncio.to_thread(run, api)

    asyncio.run(main())
    assert seen == good


# ---------------------------------------------------------------------------------------- upstream


async def comments(request: CompletionRequest) -> None:
    await request.write(OPENING)
    await repeat(request, chunked(b": still here\n\n"))


async def headers(request: CompletionRequest) -> None:
    await request.write(b"HTTP/1.1 200 OK\r\n")
    await repeat(request, b"X-A: b\r\n")


async def empty(request: CompletionRequest) -> None:
    await request.write(OPENING)
    await repeat(request, chunk(delta(content="")))


async def words(request: CompletionRequest) -> None:
    await request.write(OPENING)
    await repeat(request, chunk(delta(content="word ")))


async def repeat(request: CompletionRequest, data: bytes) -> None:
    """Write the data repeatedly until the other side closes the connection."""
    gone = asyncio.ensure_future(request.wait_closed())
    while not gone.done():
        await request.write(data)
        await asyncio.wait({gone}, timeout=0.05)
    request.close()


@pytest.mark.parametrize("trickle", [comments, headers, empty, words])
def test_an_endless_upstream_times_out(
    program: Program, trickle: Callable[[CompletionRequest], Any]
) -> None:
    async def talk(url: str) -> None:
        async with ready(url) as peer:
            await peer.send(user("hi"), reply())
            response = (await peer.until("response.done"))[-1]["response"]
            assert response["status"] == "failed"

    def run(api: str) -> None:
        arguments = ["--upstream", api, "--upstream-model", "m"]
        limit = "--response-timeout" if trickle is words else "--upstream-timeout"
        with served(program, *arguments, limit, "1") as (url, _):
            asyncio.run(talk(url))

    async def main() -> None:
        async with completions(trickle) as api:
            await asyncio.to_thread(run, api)

    asyncio.run(main())
