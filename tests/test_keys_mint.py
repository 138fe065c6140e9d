"""`rtchat keys mint`: the request for a client secret, what is printed, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from ssl import SSLContext
from typing import Any

import pytest
from openai.types.realtime import ClientSecretCreateResponse
from openai.types.realtime.client_secret_create_params import ClientSecretCreateParams
from pydantic import TypeAdapter

from rtchat.client.endpoint import endpoint, http_endpoint
from rtchat.core.text import compact_json
from rtchat.core.values import Dialect, JsonObject, Options
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from rtchat.wire.client_secrets import (
    ClientSecret,
    read_response,
    read_secret,
    secret_endpoint,
    write_secret_request,
)
from rtchat.wire.http_bodies import SecretEndpoint, SecretRequest, read_secret_request
from tests.faulty import certificate, connections, http, tcp, unused_port
from tests.program import Program, Ran, background
from tests.test_proxies import Proxy, Socks

KEY = "sk-0123456789abcdef"
SECRET = "ek_68af296e8e408191a1120ab6383263c2"
EXPIRES = 1756310470
RESPONSE = {"value": SECRET, "expires_at": EXPIRES, "session": {"type": "realtime"}}
BETA_RESPONSE = {"id": "sess_1", "client_secret": {"value": SECRET, "expires_at": EXPIRES}}


def answer(status: str, body: object, *headers: str) -> bytes:
    return http(status, json.dumps(body).encode(), *headers)


# -------------------------------------------------------------------------------- request, response

OPTIONS = Options("Be brief.", None, "inf", {"audio": {"output": {"voice": "ash"}}})


def test_the_request_of_the_current_api() -> None:
    request = write_secret_request("m", OPTIONS, 60, Dialect.GA)
    assert request == {
        "expires_after": {"anchor": "created_at", "seconds": 60},
        "session": {
            "type": "realtime",
            "model": "m",
            "instructions": "Be brief.",
            "max_output_tokens": "inf",
            "audio": {"output": {"voice": "ash"}},
        },
    }
    TypeAdapter(ClientSecretCreateParams).validate_python(request, strict=True)


@pytest.mark.parametrize("dialect", [Dialect.BETA, Dialect.QWEN])
def test_the_request_of_the_beta_api(dialect: Dialect) -> None:
    assert write_secret_request("m", OPTIONS, 60, dialect) == {
        "model": "m",
        "instructions": "Be brief.",
        "max_response_output_tokens": "inf",
        "voice": "ash",
        "client_secret": {"expires_after": {"anchor": "created_at", "seconds": 60}},
    }


def test_xai_supports_only_the_time() -> None:
    request = write_secret_request("m", OPTIONS, 60, Dialect.XAI)
    assert request == {"expires_after": {"seconds": 60}}


@pytest.mark.parametrize(
    ("dialect", "endpoint"),
    [
        (Dialect.GA, SecretEndpoint.CLIENT_SECRETS),
        (Dialect.XAI, SecretEndpoint.CLIENT_SECRETS),
        (Dialect.BETA, SecretEndpoint.SESSIONS),
        (Dialect.QWEN, SecretEndpoint.SESSIONS),
    ],
)
def test_our_server_reads_the_request(dialect: Dialect, endpoint: SecretEndpoint) -> None:
    assert secret_endpoint(dialect) is endpoint
    request = write_secret_request("m", OPTIONS, 60, dialect)
    if dialect is not Dialect.XAI:
        options = replace(OPTIONS, other={"model": "m", **OPTIONS.other})
        body = compact_json(request).encode()
        assert read_secret_request(body, endpoint) == SecretRequest(60, options, transcribes=False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("wss://h/v1/realtime", "wss://h/v1/realtime/x"),
        ("wss://h/v1/realtime/", "wss://h/v1/realtime/x"),
        ("wss://h/v1/realtime?model=a", "wss://h/v1/realtime/x"),
        ("wss://h/realtime?api-version=1&deployment=d", "wss://h/realtime/x?api-version=1"),
        ("wss://h:8/openai/v1/realtime?intent=transcription", "wss://h:8/openai/v1/realtime/x"),
    ],
)
def test_the_address_is_below_that_of_the_realtime_api(url: str, expected: str) -> None:
    where = endpoint("m", url=url, api_key=KEY)
    assert http_endpoint(where, "/x").url == expected
    assert http_endpoint(where, "/x").headers == where.headers


@pytest.mark.parametrize(
    ("response", "secret"),
    [
        (RESPONSE, ClientSecret(SECRET, EXPIRES)),
        (BETA_RESPONSE, ClientSecret(SECRET, EXPIRES)),
        ({"value": "eyJh.eyJz-_.Sfl/+=="}, ClientSecret("eyJh.eyJz-_.Sfl/+==")),
        ({"value": SECRET, "expires_at": "soon"}, ClientSecret(SECRET)),
        ({}, None),
        ({"value": ""}, None),
        ({"value": 5}, None),
        ({"value": "two words"}, None),
        ({"value": "\x1b[31m"}, None),
        ({"value": "a\nb"}, None),
        ({"value": "[key]"}, None),
        ({"client_secret": "x"}, None),
    ],
)
def test_the_secret_in_a_response(response: JsonObject, secret: ClientSecret | None) -> None:
    assert read_secret(read_response(compact_json(response).encode())) == secret


@pytest.mark.parametrize("body", [b"", b"\xff", b"[1]", b"<html>", b"[" * 100_000])
def test_a_response_that_is_not_a_json_object(body: bytes) -> None:
    assert read_response(body) == {}


def test_the_response_is_that_of_the_official_client() -> None:
    assert ClientSecretCreateResponse.construct(**RESPONSE).value == SECRET  # type: ignore[arg-type] # the package builds it from any fields


# ---------------------------------------------------------------------------------------- a program


class Server:
    """Answers each request with the next of these responses, and keeps the requests."""

    def __init__(self, *responses: bytes, tls: SSLContext | None = None) -> None:
        self._responses = list(responses) or [answer("200 OK", RESPONSE)]
        self._tls = tls
        self.port = 0
        self.heads: list[str] = []
        self.bodies: list[dict[str, Any]] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        async with connections(self._meet, tls=self._tls) as self.port:
            yield f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}/v1/realtime"

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        found = re.search(r"(?i)content-length: (\d+)", head)
        assert found is not None
        self.bodies.append(json.loads(await reader.readexactly(int(found[1]))))
        writer.write(self._responses.pop(0) if self._responses[1:] else self._responses[0])
        await writer.drain()
        await reader.read()  # the client ends the connection

    @property
    def requests(self) -> list[str]:
        """The method and path of each request."""
        return [head.partition(" HTTP/1.1\r\n")[0] for head in self.heads]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    program = Program(tmp_path)
    program.environ["OPENAI_API_KEY"] = KEY
    return program


def minted(program: Program, url: str, *options: str) -> Ran:
    """The result of the command, which never contains the key."""
    ran = program.run("keys", "mint", "--url", url, *options)
    assert KEY not in ran.text + ran.err
    return ran


def test_the_secret_alone_is_on_stdout(program: Program) -> None:
    server = Server()
    with background(server.serving) as url:
        ran = minted(program, url, "--ttl", "60")
    assert (ran.code, ran.text) == (0, f"{SECRET}\n")
    assert ran.err == "valid until 2025-08-27 16:01:10 UTC\n"
    assert server.requests == ["POST /v1/realtime/client_secrets"]
    head = server.heads[0].lower()
    assert f"authorization: bearer {KEY}" in head
    assert "content-type: application/json" in head
    assert "upgrade" not in head
    assert server.bodies[0]["expires_after"] == {"anchor": "created_at", "seconds": 60}


def test_json_is_the_whole_response(program: Program) -> None:
    with background(Server().serving) as url:
        ran = minted(program, url, "--json")
    assert (ran.code, json.loads(ran.text), ran.err) == (0, RESPONSE, "")


def test_the_session_is_as_the_settings_say(program: Program, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        '[profiles.web]\nmodel = "gpt-realtime-mini"\nsystem = "Be brief."\n'
        'key_header = "api-key: {key}"\nkey_env = ["OPENAI_API_KEY"]\n'
        'headers = { X-Team = "a" }\n[profiles.web.session.audio.output]\nvoice = "ash"\n'
    )
    program.environ["RTCHAT_CONFIG"] = str(config)
    server = Server()
    options = ("-p", "web", "--set", "audio.output.speed=1.2", "--reasoning", "none")
    with background(server.serving) as url:
        assert minted(program, url, *options, "--max-output-tokens", "5000").code == 0
    assert server.bodies[0]["session"] == {
        "type": "realtime",
        "model": "gpt-realtime-mini",
        "instructions": "Be brief.",
        "max_output_tokens": 5000,
        "audio": {"output": {"voice": "ash", "speed": 1.2}},
        "reasoning": {"effort": "none"},
    }
    assert server.bodies[0]["expires_after"]["seconds"] == 600
    head = server.heads[0].lower()
    assert f"api-key: {KEY}" in head
    assert "x-team: a" in head
    assert "authorization" not in head


@pytest.mark.parametrize("status", ["404 Not Found", "405 Method Not Allowed"])
def test_a_server_of_the_beta_api_is_recognised(program: Program, status: str) -> None:
    server = Server(http(status), answer("200 OK", BETA_RESPONSE))
    with background(server.serving) as url:
        ran = minted(program, url)
    assert (ran.code, ran.text) == (0, f"{SECRET}\n")
    paths = ["POST /v1/realtime/client_secrets", "POST /v1/realtime/sessions"]
    assert server.requests == paths
    assert "openai-beta: realtime=v1" in server.heads[1].lower()
    assert "client_secret" in server.bodies[1]


@pytest.mark.parametrize(
    ("dialect", "path"), [("ga", "client_secrets"), ("xai", "client_secrets"), ("beta", "sessions")]
)
def test_a_dialect_that_was_chosen_is_the_only_one(
    program: Program, dialect: str, path: str
) -> None:
    server = Server(http("404 Not Found"))
    with background(server.serving) as url:
        assert minted(program, url, "--dialect", dialect).code == 4
    assert server.requests == [f"POST /v1/realtime/{path}"]


WHY = {"error": {"message": f"No, {KEY}.", "code": "c"}}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("400 Bad Request", 2),
        ("422 Unprocessable Entity", 2),
        ("401 Unauthorized", 3),
        ("403 Forbidden", 3),
        ("404 Not Found", 4),
        ("429 Too Many Requests", 5),
        ("500 Internal Server Error", 4),
    ],
)
def test_a_refusal_has_the_server_s_message(program: Program, status: str, code: int) -> None:
    with background(Server(answer(status, WHY)).serving) as url:
        ran = minted(program, url)
    assert (ran.code, ran.text) == (code, "")
    assert f"HTTP {status[:3]} (No, [key].)" in ran.error
    assert ran.hint
    assert len(ran.err.splitlines()) == 2


def test_a_refusal_names_the_key(program: Program) -> None:
    with background(Server(answer("401 Unauthorized", WHY)).serving) as url:
        ran = minted(program, url)
    assert ran.hint == "check OPENAI_API_KEY"


def test_a_traceback_does_not_show_the_key(program: Program) -> None:
    program.environ["RTCHAT_DEBUG"] = "1"
    with background(Server(answer("401 Unauthorized", WHY)).serving) as url:
        ran = minted(program, url)
    assert ran.code == 3
    assert "Traceback" in ran.err


@pytest.mark.parametrize(
    "response",
    [
        answer("200 OK", {}),
        answer("200 OK", {"value": KEY}),
        answer("200 OK", {"value": "\x1b]0;\x07"}),
        http("200 OK", b"<html>"),
        http("204 No Content"),
        answer("101 Switching Protocols", RESPONSE),
        b"SSH-2.0\r\n\r\n",
        b"",
        http("200 OK", b" " * 2**21),
    ],
)
def test_a_response_without_a_secret(program: Program, response: bytes) -> None:
    with background(lambda: tcp(response)) as port:
        ran = minted(program, f"ws://{port.address}/v1/realtime")
    assert (ran.code, ran.text) == (4, "")
    assert ran.error.startswith("rtchat: ")


def test_a_redirect_is_not_followed(program: Program) -> None:
    with background(lambda: tcp(answer("200 OK", RESPONSE))) as other:
        location = f"Location: http://{other.address}/v1/realtime/client_secrets"
        with background(Server(http("307 Temporary Redirect", b"", location)).serving) as url:
            ran = minted(program, url)
        assert other.heads == []
    assert (ran.code, ran.text) == (4, "")
    assert "a redirect to" in ran.error


def test_a_server_that_does_not_respond(program: Program) -> None:
    with background(lambda: tcp(b"HTTP/1.1 200 OK\r\n", stays=True)) as port:
        ran = minted(program, f"ws://{port.address}/v1/realtime", "--connect-timeout", "0.3")
    assert (ran.code, ran.text) == (4, "")
    assert "timed out" in ran.error
    with unused_port() as number:
        ran = minted(program, f"ws://127.0.0.1:{number}/v1/realtime")
    assert (ran.code, ran.text) == (4, "")
    assert "refused the connection" in ran.error


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--ttl", "9"], "--ttl"),
        (["--ttl", "7201"], "--ttl"),
        (["--ttl", "10m"], "--ttl"),
        (["--url", "ws://a.example/v1/realtime"], "plain ws://"),
        (["--set", "voice=ash"], "voice"),
        (["--set", "conversation"], "--set"),
    ],
)
def test_wrong_usage(program: Program, options: Sequence[str], named: str) -> None:
    ran = program.run("keys", "mint", *options)
    assert (ran.code, ran.text) == (2, "")
    assert named in ran.error


def test_a_key_is_needed(program: Program) -> None:
    del program.environ["OPENAI_API_KEY"]
    ran = program.run("keys", "mint")
    assert (ran.code, ran.text) == (2, "")
    assert "there is no key" in ran.error
    (program.home / "config.toml").write_text("local = true\n")
    ran = program.run("keys", "mint", environ={"RTCHAT_CONFIG": "config.toml"})
    assert (ran.code, ran.text) == (2, "")
    assert "built-in model" in ran.error


@pytest.mark.parametrize("dialect", ["auto", "ga", "beta"])
def test_a_run_may_use_a_secret_instead_of_the_key(program: Program, dialect: str) -> None:
    """With our own server, which accepts its key for handshakes, too."""
    mint = f"{sys.executable} -m rtchat keys mint --no-env -p main --dialect {dialect}"
    with background(lambda: run_server(EchoEngine(), api_key=KEY)) as url:
        (program.home / "config.toml").write_text(
            f'url = "{url}"\n[profiles.main]\nkey_env = ["OPENAI_API_KEY"]\n'
            f'[profiles.secret]\nkey_env = []\napi_key_command = "{mint}"\n'
        )
        ran = program.run(
            *("once", "hi", "-p", "secret", "--trace", "trace.jsonl"),
            environ={"RTCHAT_CONFIG": "config.toml"},
        )
    assert (ran.code, ran.text) == (0, "hi\n"), ran.err
    assert KEY not in (program.home / "trace.jsonl").read_text()


# ---------------------------------------------------------------------------------- proxies and TLS

needs_socks = pytest.mark.skipif(
    find_spec("python_socks") is None, reason="python-socks is not installed (the extra socks)"
)


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [(Proxy, "http"), (Proxy, "https"), pytest.param(Socks, "socks5h", marks=needs_socks)],
)
def test_the_request_goes_through_the_proxy(
    program: Program, tmp_path: Path, kind: type[Proxy], scheme: str
) -> None:
    file, context = certificate(tmp_path, "DNS:realtime.test", "IP:127.0.0.1")
    server = Server(tls=context)
    with background(server.serving):
        of_proxy = context if scheme == "https" else None
        with background(lambda: kind(server.port).serving(of_proxy)) as proxy:
            program.environ["HTTPS_PROXY"] = f"{scheme}://{proxy.address}"
            ran = minted(program, "wss://realtime.test/v1/realtime", "--ca-bundle", str(file))
            assert proxy.targets == ["realtime.test:443"]
            assert all(KEY.encode() not in head for head in proxy.heads)
    assert (ran.code, ran.text) == (0, f"{SECRET}\n"), ran.err


def test_a_proxy_s_password_is_not_shown(program: Program) -> None:
    with background(Proxy(0, password="hunter2").serving) as proxy:
        program.environ["HTTPS_PROXY"] = f"http://me:wrong-word@{proxy.address}"
        ran = minted(program, "wss://realtime.test/v1/realtime")
    assert (ran.code, ran.text) == (4, "")
    assert "the proxy refused" in ran.err
    assert "wrong-word" not in ran.err


def test_a_certificate_that_is_not_trusted(program: Program, tmp_path: Path) -> None:
    _, context = certificate(tmp_path, "IP:127.0.0.1")
    server = Server(tls=context)
    with background(server.serving) as url:
        ran = minted(program, url)
    assert (ran.code, ran.text) == (4, "")
    assert "is not trusted" in ran.err
    assert server.heads == []
