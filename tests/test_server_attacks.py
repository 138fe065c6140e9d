"""`rtchat serve` left alone with strangers: what they may take, and that others do not notice.

Each attack goes to the program in a process of its own. None of them measures time: a server that
an attack holds up never answers the other client, or never ends.
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

from tests.completions import OPENING, Asked, chunked, completions, delta
from tests.completions import event as chunk
from tests.faulty import certificate
from tests.loopback import Peer, configure, joined, ready, reply, text_of, user
from tests.program import PATIENCE, Program
from tests.strangers import CONTINUATION, PING, event, flooding, frame, stranger
from tests.test_serve import served

SLOW = {"match": "slow", "text": "word " * 20_000, "chunk": 5, "delay": 0.01}
SHORT = {"match": "short", "text": "word " * 30, "chunk": 5, "delay": 0.01}
LARGE = {"match": "large", "text": "word " * 3_000_000, "chunk": 100_000}
SCRIPT = {"rule": [SLOW, SHORT, LARGE, {"text": "Fine."}]}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    (tmp_path / "script.json").write_text(json.dumps(SCRIPT))
    return Program(tmp_path)


@contextmanager
def scripted(program: Program, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with served(program, "--engine", "script:script.json", *arguments) as (url, process):
        yield url, process


def ended(process: subprocess.Popen[bytes], code: int = 143) -> None:
    """Assert that it ends, and says nothing."""
    assert process.stderr is not None
    assert process.wait(PATIENCE) == code
    assert process.stderr.read() == b""


async def turn(peer: Peer, text: str = "hi") -> str:
    """The answer to a question."""
    await peer.send(user(text), reply())
    return text_of(await peer.until("response.done"))


async def refused(peer: Peer, *events: dict[str, object]) -> dict[str, Any]:
    """The error that these events get."""
    await peer.send(*events)
    error: dict[str, Any] = (await peer.until("error"))[-1]["error"]
    return error


# ---------------------------------------------------------------------------------------- its end


def nothing(stack: ExitStack, url: str) -> None:
    pass


def idle(stack: ExitStack, url: str) -> None:
    stack.enter_context(stranger(url))


def asking(text: str) -> Callable[[ExitStack, str], None]:
    """A client that asks this, and from then on reads nothing."""

    def ask(stack: ExitStack, url: str) -> None:
        one = stack.enter_context(stranger(url, small=True))
        session = {"type": "realtime", "output_modalities": ["text"]}
        one.socket.sendall(event("session.update", session=session))
        one.socket.sendall(frame(json.dumps(user(text)).encode()) + event("response.create"))
        came = b""
        while b"output_text.delta" not in came:
            piece = one.socket.recv(1 << 12)
            assert piece, "the connection ended"
            came = came[-100:] + piece

    return ask


def silent(stack: ExitStack, url: str) -> None:
    stack.enter_context(stranger(url, shakes=False))


def trickling(stack: ExitStack, url: str) -> None:
    stack.enter_context(stranger(url, shakes=False)).socket.sendall(b"GET /v1/rea")


def byte_flood(stack: ExitStack, url: str) -> None:
    stack.enter_context(flooding(url, frame(b"x") * 1000, frame(b"x") * 1000))


def deaf_flood(stack: ExitStack, url: str) -> None:
    stack.enter_context(flooding(url, frame(b"x") * 1000, frame(b"x") * 1000, reads=False))


CLIENTS = [
    nothing,
    idle,
    asking("slow"),
    asking("large"),
    silent,
    trickling,
    byte_flood,
    deaf_flood,
]
NAMES = ["nobody", "idle", "in mid reply", "reads nothing", "no handshake", "half a handshake"]


@pytest.mark.parametrize("come", CLIENTS, ids=[*NAMES, "floods", "floods and reads nothing"])
def test_sigterm_ends_it_whatever_a_client_does(
    program: Program, come: Callable[[ExitStack, str], None]
) -> None:
    with scripted(program, "--grace", "0.2") as (url, process), ExitStack() as stack:
        come(stack, url)
        process.terminate()
        ended(process)


def test_sigterm_ends_it_in_mid_tls_handshake(program: Program) -> None:
    file, _ = certificate(program.home, "IP:127.0.0.1")
    key = str(program.home / "key.pem")
    arguments = ("--tls-cert", str(file), "--tls-key", key, "--engine", "echo")
    with served(program, *arguments) as (url, process):
        plain = url.replace("wss:", "ws:")
        with stranger(plain, shakes=False) as one, stranger(plain, shakes=False) as other:
            one.socket.sendall(b"\x16\x03\x01")  # a handshake begins so
            other.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
            other.ends()
            with stranger(url):
                process.terminate()
                ended(process)


def test_a_reply_may_end_before_it_ends(program: Program) -> None:
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
        ended(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(program: Program, number: int) -> None:
    code = 128 + number
    with scripted(program, "--grace", "600") as (url, process), ExitStack() as stack:
        idler = stack.enter_context(stranger(url))
        asking("slow")(stack, url)
        process.terminate()
        idler.ends()  # it has been told, and the other one has its grace
        process.send_signal(number)
        ended(process, code)


# --------------------------------------------------------------------------------------- others


ITEM = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
FLOODS = {
    "bytes": (frame(b"x") * 5000,) * 2,
    "empty frames": (frame(b"") * 5000,) * 2,
    "binary frames": (frame(b"x", 2) * 5000,) * 2,
    "pings": (frame(b"", PING) * 5000,) * 2,
    "fragments without end": (
        frame(b"{", ends=False),
        frame(b"x", CONTINUATION, ends=False) * 5000,
    ),
    "items": (event("conversation.item.create", item=ITEM) * 1000,) * 2,
    "responses": (event("response.create", response={"conversation": "none"}) * 1000,) * 2,
    "updates": (event("session.update", session={"type": "realtime"}) * 1000,) * 2,
    "audio": (event("input_audio_buffer.append", audio="AAAA" * 2000) * 50,) * 2,
    "objects": (frame(b'{"a":[' + b"{}," * 3_000_000 + b"{}]}"),) * 2,
    "depth": (frame(b'{"a":' + b"[" * 10_000_000),) * 2,
    "no JSON": (frame(b"x" * 20_000_000),) * 2,
}


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "reads nothing"])
def test_a_flood_keeps_nobody_else_waiting(program: Program, reads: bool) -> None:
    async def main(url: str) -> None:
        async with ready(url) as peer:
            for _ in range(5):
                assert await turn(peer) == "Fine."

    with scripted(program) as (url, process):
        for first, again in FLOODS.values():
            with flooding(url, first, again, reads=reads):
                asyncio.run(main(url))
        process.terminate()
        ended(process)


def test_who_sends_too_fast_is_told_so_and_loses_nothing(program: Program) -> None:
    async def main(url: str) -> None:
        async with ready(url) as peer:
            for _ in range(220):
                await peer.send({"type": "conversation.item.retrieve", "item_id": "x"})
            codes = [(await peer.receive())["error"]["code"] for _ in range(221)]
            assert codes.count("rate_limit_exceeded") == 1
            assert codes.count("item_retrieve_invalid_item_id") == 220

    with scripted(program, "--max-events", "20") as (url, _):
        asyncio.run(main(url))


def test_too_many_pings_end_a_session(program: Program) -> None:
    with scripted(program, "--max-events", "10") as (url, _), stranger(url) as one:
        one.socket.sendall(frame(b"", PING) * 200)
        assert (1008).to_bytes(2, "big") + b"You send too many pings." in one.ends()


NONSENSE = {
    "no JSON": "invalid_json",
    "depth": "invalid_json",
    "objects": "invalid_json",
    "bytes": "invalid_json",
    "binary frames": "invalid_frame",
}


def test_nonsense_of_any_size_is_an_error_event(program: Program) -> None:
    with scripted(program) as (url, _):
        for name, code in NONSENSE.items():
            with stranger(url) as one:
                one.socket.sendall(FLOODS[name][0])
                came = b""
                while code.encode() not in came:
                    piece = one.socket.recv(1 << 12)
                    assert piece, "the connection ended"
                    came = came[-100:] + piece


# --------------------------------------------------------------------------------- who is let in


@pytest.mark.parametrize("begins", [b"", b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_a_handshake_without_an_end_is_given_up(program: Program, begins: bytes) -> None:
    with ExitStack() as stack:
        url, _ = stack.enter_context(scripted(program, "--client-timeout", "0.5"))
        one = stack.enter_context(stranger(url, shakes=False))
        one.socket.sendall(begins)
        assert one.ends() == b""


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v1/realtime HTTP/1.1\r\nX-A: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"GET /v1/realtime HTTP/1.1\r\n" + b"X-A: x\r\n" * 100_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(1000),
        b"POST /v1/realtime HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 1_000_000,
    ],
    ids=["a long header", "many headers", "TLS", "a body"],
)
def test_a_request_that_is_none_is_refused_and_others_are_served(
    program: Program, request_: bytes
) -> None:
    with scripted(program, "--client-timeout", "1") as (url, process):
        with stranger(url, shakes=False) as one:
            with suppress(ConnectionError):
                one.socket.sendall(request_)
            assert not one.ends().startswith(b"HTTP/1.1 101")
        assert program.run("once", "-q", "hi", "--url", url).text == "Fine.\n"
        process.terminate()
        ended(process)


def test_many_connections_without_a_handshake_keep_nobody_out(program: Program) -> None:
    with scripted(program) as (url, _), ExitStack() as stack:
        crowd = [stack.enter_context(stranger(url, shakes=False)) for _ in range(300)]
        assert program.run("once", "-q", "hi", "--url", url).text == "Fine.\n"
        crowd[0].ends()  # the oldest has given way


def test_sessions_beyond_the_most_are_refused_until_one_ends(program: Program) -> None:
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


def test_a_server_without_files_says_so_and_recovers(program: Program) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    command = program.command("serve", "--port", "0", "--engine", "echo")
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=program.environ,
        cwd=program.home,
        preexec_fn=few,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            url = process.stdout.readline().decode().rstrip("\n")
            with ExitStack() as stack:
                for _ in range(80):
                    stack.enter_context(stranger(url, shakes=False))
                said = process.stderr.readline().decode()
            assert said.startswith("rtchat: too many open files")
            assert program.run("once", "-q", "hi", "--url", url).text == "hi\n"
        finally:
            process.terminate()
        ended(process)


# ------------------------------------------------------------------------------------ who is gone


def test_a_client_that_answers_no_ping_is_gone(program: Program) -> None:
    with scripted(program, "--client-timeout", "0.5") as (url, _), stranger(url) as one:
        one.ends()


def test_a_client_that_reads_nothing_is_gone(program: Program) -> None:
    with scripted(program, "--client-timeout", "1") as (url, _), ExitStack() as stack:
        asking("large")(stack, url)
        with stranger(url) as other:  # it has its turn meanwhile, and then is gone as well
            other.ends()


def test_a_client_that_answers_pings_stays(program: Program) -> None:
    async def main(url: str) -> None:
        async with ready(url) as peer, ready(url) as other:
            for _ in range(3):
                assert await turn(other, "short") == SHORT["text"]
            assert await turn(peer) == "Fine."

    with scripted(program, "--client-timeout", "0.5") as (url, _):
        asyncio.run(main(url))


# ----------------------------------------------------------------------------------------- memory


PNG = b"\x89PNG\r\n\x1a\n"


def image(url: str) -> dict[str, object]:
    content = [{"type": "input_image", "image_url": url}]
    item = {"type": "message", "role": "user", "content": content}
    return {"type": "conversation.item.create", "item": item}


def picture(size: int) -> dict[str, object]:
    return image("data:image/png;base64," + b64encode(PNG + bytes(size)).decode())


def memory(process: subprocess.Popen[bytes]) -> int:
    """Bytes of memory that it has."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_what_a_client_held_is_free_when_it_leaves(program: Program) -> None:
    async def main(url: str) -> None:
        async with ready(url) as peer:
            codes = []
            for _ in range(100):
                await peer.send(picture(3_000_000))
                last = (await peer.until("conversation.item.done", "error"))[-1]
                codes.append(last.get("error", {}).get("code", ""))
            assert codes.count("") >= 20
            assert set(codes) == {"", "session_too_large"}
            assert await turn(peer) == "Fine."  # there is room for small things

    with scripted(program, "--max-session-mb", "100") as (url, process):
        assert program.run("once", "-q", "hi", "--url", url).text == "Fine.\n"
        before = memory(process)
        asyncio.run(main(url))
        for _ in range(100):  # it is freed once the client has been seen to leave
            if memory(process) <= before + 50_000_000:
                break
            with stranger(url):
                pass
        assert memory(process) <= before + 50_000_000


HELD: dict[str, dict[str, object]] = {
    "items": picture(800_000),
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
def test_a_session_and_all_sessions_hold_so_much(program: Program, limit: str, code: str) -> None:
    async def main(url: str) -> None:
        for name, create in HELD.items():
            async with ready(url) as peer:
                assert (await refused(peer, create))["code"] == code, name
                assert await turn(peer) == "Fine."

    with scripted(program, limit, "1") as (url, _):
        asyncio.run(main(url))


def test_items_can_be_deleted_to_make_room(program: Program) -> None:
    first: dict[str, Any] = picture(500_000)
    first["item"]["id"] = "first"

    async def main(url: str) -> None:
        async with ready(url) as peer:
            await peer.send(first)
            await peer.until("conversation.item.done")
            assert (await refused(peer, picture(500_000)))["code"] == "session_too_large"
            await peer.send({"type": "conversation.item.delete", "item_id": "first"})
            await peer.until("conversation.item.deleted")
            await peer.send(picture(500_000))
            await peer.until("conversation.item.done")

    with scripted(program, "--max-session-mb", "1") as (url, _):
        asyncio.run(main(url))


def test_a_response_that_says_too_much_fails(program: Program) -> None:
    async def main(url: str) -> None:
        async with ready(url) as peer:
            await peer.send(user("large"), reply())
            (*_, done) = await peer.until("response.done")
            assert done["response"]["status_details"]["error"]["code"] == "session_too_large"

    with scripted(program, "--max-session-mb", "2") as (url, _):
        asyncio.run(main(url))


def test_events_that_many_clients_send_at_once_are_bounded(program: Program) -> None:
    half = frame(b"x" * 24_000_000)[:23_000_000]  # and no more of it comes
    with scripted(program, "--max-total-mb", "1") as (url, _), ExitStack() as stack:
        crowd = [stack.enter_context(stranger(url)).socket for _ in range(6)]
        left = dict.fromkeys(crowd, memoryview(half))
        came = b""
        says = (1013).to_bytes(2, "big") + b"The server is out of memory."
        while says not in came:  # until one of them is told so
            readable, writable, _ = select.select(
                crowd, [one for one in crowd if left[one]], [], PATIENCE
            )
            assert readable or writable
            for one in writable:
                left[one] = left[one][one.send(left[one][:65536], socket.MSG_DONTWAIT) :]
            for one in readable:
                piece = one.recv(1 << 12)
                assert piece, "a connection was broken"
                came += piece


# ----------------------------------------------------------------------------------------- images


def data_url(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{b64encode(data).decode()}"


PICTURES = [
    data_url("image/png", PNG + b"..."),
    data_url("image/jpeg", b"\xff\xd8\xff..."),
    data_url("image/gif", b"GIF89a..."),
    data_url("image/webp", b"RIFF....WEBP..."),
]
NO_PICTURES = [
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
ADDRESSES = ["http://169.254.169.254/latest/meta-data", "https://127.0.0.1/a.png", "HTTP://x/"]


async def shown(peer: Peer, url: str, *, as_input: bool) -> str:
    """What the server says of an image: an error code, or nothing."""
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
    bad = [*NO_PICTURES, *([] if allowed else ADDRESSES)]
    good = [*PICTURES, *(ADDRESSES if allowed else [])]
    seen: list[str] = []

    async def respond(asked: Asked) -> None:
        parts = [part for said in asked.body["messages"] for part in said["content"]]
        seen.extend(part["image_url"]["url"] for part in parts if "image_url" in part)
        await asked.stream(delta("stop", content="Fine."))

    async def talk(url: str) -> None:
        async with ready(url) as peer:
            for each in bad:
                assert await shown(peer, each, as_input=as_input) == "invalid_value", each
            for each in good:
                assert await shown(peer, each, as_input=as_input) == "", each
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


# --------------------------------------------------------------------------------------- upstream


async def comments(asked: Asked) -> None:
    await asked.write(OPENING)
    await repeat(asked, chunked(b": still here\n\n"))


async def headers(asked: Asked) -> None:
    await asked.write(b"HTTP/1.1 200 OK\r\n")
    await repeat(asked, b"X-A: b\r\n")


async def empty(asked: Asked) -> None:
    await asked.write(OPENING)
    await repeat(asked, chunk(delta(content="")))


async def words(asked: Asked) -> None:
    await asked.write(OPENING)
    await repeat(asked, chunk(delta(content="word ")))


async def repeat(asked: Asked, data: bytes) -> None:
    """Write this slowly until the other side has hung up."""
    gone = asyncio.ensure_future(asked.gone())
    while not gone.done():
        await asked.write(data)
        await asyncio.wait({gone}, timeout=0.05)
    asked.break_off()


@pytest.mark.parametrize("trickle", [comments, headers, empty, words])
def test_an_upstream_that_never_ends_is_given_up(
    program: Program, trickle: Callable[[Asked], Any]
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
