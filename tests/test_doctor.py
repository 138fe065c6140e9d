"""`rtchat doctor`: the stages of a connection, and the report of the first that fails."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from rtchat.app.doctor import STAGES
from rtchat.server.script import EchoEngine, ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.faulty import Talk, certificate, http, saying, sockets, tcp, unused_port
from tests.program import Program, Ran, background
from tests.test_proxies import PASSWORD, Proxy

KEY = "sk-0123456789abcdef"
NAMES = [name.replace(" ", "_") for name in STAGES]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    program = Program(tmp_path)
    program.environ["OPENAI_API_KEY"] = KEY
    return program


def examined(program: Program, url: str, *options: str, **environ: str) -> Ran:
    return program.run("doctor", "--url", url, *options, environ=environ)


def as_json(ran: Ran) -> dict[str, Any]:
    """The output of `--json`, which is one object and contains no secret."""
    assert ran.text.count("\n") == 1
    assert KEY not in ran.text + ran.err
    found: dict[str, Any] = json.loads(ran.text)
    assert [stage["name"] for stage in found["stages"]] == NAMES
    return found


def failing(found: Mapping[str, Any]) -> tuple[str, str]:
    """The failed stage and its detail. All stages before it succeeded; none after it was tried."""
    oks = [stage["ok"] for stage in found["stages"]]
    place = oks.index(False)
    assert oks == [True] * place + [False] + [None] * (len(oks) - place - 1)
    assert {stage["detail"] for stage in found["stages"][place + 1 :]} <= {"not tried"}
    stage = found["stages"][place]
    assert stage["detail"] == found["error"]["message"]
    return stage["name"], stage["detail"]


def stage(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    (one,) = [stage for stage in found["stages"] if stage["name"] == name]
    return dict(one)


# ------------------------------------------------------------------------------------------ success


def test_each_stage_is_a_line(program: Program) -> None:
    with background(lambda: run_server(EchoEngine(), api_key=KEY)) as url:
        ran = examined(program, url)
    lines = [line for line in ran.text.splitlines() if not line.startswith("  ")]
    assert (ran.code, ran.err) == (0, "")
    assert [re.split(" {2,}", line)[0] for line in lines] == list(STAGES)
    assert {line[17:23].strip() for line in lines} == {"ok"}
    untimed = [re.sub(r"\d+ ms", "", line) for line in lines]
    address = url.removeprefix("ws://").removesuffix("/v1/realtime")
    assert untimed[0].split(maxsplit=2)[2] == f"gpt-realtime-2.1 at {url}"
    assert untimed[1].split() == ["proxy", "ok", "none"]
    assert untimed[3].split() == ["tcp", "ok", *address.replace(":", " port ").split()]
    assert re.search("  sess_.*, gpt-realtime-2.1, dialect ga, until 20", untimed[6])
    assert re.search(r"  \d+ tokens in, \d+ out$", untimed[8])
    assert untimed[9].endswith("  code 1000")


def test_settings_show_their_origins(program: Program) -> None:
    (program.home / ".env").write_text("RTCHAT_TIMEOUT=5\n")
    with background(lambda: run_server(EchoEngine(), api_key=KEY)) as url:
        ran = examined(program, url, "-H", "X-Secret: hunter2", "-m", "other")
    lines = [line.strip() for line in ran.text.splitlines() if line.startswith("  ")]
    assert ran.code == 0
    assert lines == [
        "model: other (--model)",
        f"url: {url} (--url)",
        "dialect: auto (default)",
        "local: false (default)",
        "headers: X-Secret: … (--header)",
        "connect_timeout: 10 (default)",
        "timeout: 5 (RTCHAT_TIMEOUT in .env)",
        "insecure: false (default)",
        "ca_bundle: none (default)",
        "key: …cdef (OPENAI_API_KEY)",
    ]
    assert "hunter2" not in ran.text


def test_json_is_one_object(program: Program) -> None:
    with background(lambda: run_server(EchoEngine(), api_key=KEY)) as url:
        ran = examined(program, url, "--json")
    found = as_json(ran)
    assert (ran.code, ran.err) == (0, "")
    assert found.keys() == {"version", "ok", "stages", "settings", "error"}
    assert (found["ok"], found["error"]) == (True, None)
    assert {stage["ok"] for stage in found["stages"]} == {True}
    timed = {stage["name"] for stage in found["stages"] if stage["ms"] is not None}
    assert timed == {*NAMES} - {"proxy", "tls"}
    assert found["settings"]["key"] == {"value": "…cdef", "origin": "OPENAI_API_KEY"}


def test_doctor_asks_one_question_with_few_tokens(program: Program) -> None:
    asked: list[dict[str, Any]] = []

    async def talk(client: ServerConnection) -> None:
        session = {"type": "realtime", "id": "s", "model": "m"}
        await client.send(json.dumps({"type": "session.created", "session": session}))
        async for frame in client:
            asked.append(json.loads(frame))
            if asked[-1]["type"] == "session.update":
                await client.send(json.dumps({"type": "session.updated", "session": session}))
            if asked[-1]["type"] == "response.create":
                response = {"id": "r", "status": "completed"}
                await client.send(json.dumps({"type": "response.done", "response": response}))

    with background(lambda: sockets(talk)) as url:
        ran = examined(program, url)
    types = ["session.update", "conversation.item.create", "response.create"]
    assert ran.code == 0
    assert [event["type"] for event in asked] == types
    assert asked[-1]["response"] == {"output_modalities": ["text"], "max_output_tokens": 50}


def test_the_older_dialect(program: Program) -> None:
    with background(lambda: run_server(EchoEngine(), api_key=KEY)) as url:
        found = as_json(examined(program, url, "--dialect", "beta", "--json"))
    assert found["ok"]
    assert ", dialect beta, " in stage(found, "session_created")["detail"]


def test_a_reply_cut_off_while_reasoning_counts_as_a_reply(program: Program) -> None:
    rule = {"text": "", "incomplete": "max_output_tokens"}
    with background(lambda: run_server(ScriptEngine(read_script({"rule": [rule]})))) as url:
        found = as_json(examined(program, url, "--json"))
    assert found["ok"]
    assert stage(found, "first_token")["detail"].startswith("incomplete, ")


# ------------------------------------------------------------------------------ below the handshake


def test_invalid_settings(tmp_path: Path) -> None:
    ran = Program(tmp_path).run("doctor", "--json")
    found = as_json(ran)
    assert ran.code == 2
    assert failing(found) == ("settings", "there is no key")
    assert found["settings"] == {}
    assert "OPENAI_API_KEY" in ran.err


def test_an_invalid_url(program: Program) -> None:
    ran = examined(program, "https://a.example", "--json")
    assert ran.code == 2
    assert failing(as_json(ran))[0] == "settings"


def test_an_unknown_host(program: Program) -> None:
    ran = examined(program, "wss://rtchat.invalid/v1", "--connect-timeout", "5", "--json")
    name, detail = failing(as_json(ran))
    assert (ran.code, name) == (4, "dns")
    assert "rtchat.invalid" in detail  # not found, or a slow resolver timed out


def test_a_refused_connection(program: Program) -> None:
    with unused_port() as port:
        address = f"127.0.0.1:{port}"
        ran = examined(program, f"ws://{address}/v1/realtime")
    lines = [line for line in ran.text.splitlines() if not line.startswith("  ")]
    assert ran.code == 4
    assert re.search(f"{address}.*--url", ran.err, re.DOTALL)
    assert re.fullmatch(rf"tcp +failed +\d+ ms  .*{address}.*", lines[3])
    assert [line.split("  ")[-1].strip() for line in lines[4:]] == ["not tried"] * 6


def test_a_trusted_certificate(program: Program) -> None:
    file, context = certificate(program.home, "IP:127.0.0.1")
    with background(lambda: run_server(EchoEngine(), api_key=KEY, ssl=context)) as url:
        by_option = as_json(examined(program, url, "--ca-bundle", str(file), "--json"))
        by_environment = as_json(examined(program, url, "--json", SSL_CERT_FILE=str(file)))
    for found in (by_option, by_environment):
        assert found["ok"]
        detail = stage(found, "tls")["detail"]
        assert re.fullmatch(r"TLSv1\.3, issued by rtchat tests, expires \d{4}-\d\d-\d\d", detail)


def test_an_untrusted_certificate(program: Program) -> None:
    _, context = certificate(program.home, "IP:127.0.0.1")
    with background(lambda: run_server(EchoEngine(), ssl=context)) as url:
        ran = examined(program, url, "--json")
    name, detail = failing(as_json(ran))
    assert (ran.code, name) == (4, "tls")
    assert detail.endswith("is not trusted (self-signed certificate)")


def test_an_expired_certificate(program: Program) -> None:
    file, context = _expired(program.home)
    with background(lambda: run_server(EchoEngine(), ssl=context)) as url:
        ran = examined(program, url, "--ca-bundle", str(file), "--json")
    name, detail = failing(as_json(ran))
    assert (ran.code, name) == (4, "tls")
    assert detail.endswith("is not trusted (certificate has expired)")


def _expired(folder: Path) -> tuple[Path, Any]:
    """A certificate that expired yesterday."""
    file, context = certificate(folder, "IP:127.0.0.1")
    old = folder / "old.pem"
    command = ["openssl", "x509", "-in", str(file), "-signkey", str(folder / "key.pem")]
    command += ["-days", "-1", "-out", str(old)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"this openssl makes no certificate that has expired: {done.stderr!r}")
    context.load_cert_chain(old, folder / "key.pem")
    return old, context


def test_a_server_without_tls(program: Program) -> None:
    with background(lambda: run_server(EchoEngine())) as url:
        ran = examined(program, url.replace("ws:", "wss:"), "--json")
    found = as_json(ran)
    assert (ran.code, failing(found)[0]) == (4, "tls")
    assert "ws://" in found["error"]["hint"]


# -------------------------------------------------------------------------------------------- proxy


def test_a_proxy_replaces_dns_tcp_and_tls(program: Program) -> None:
    async def run() -> tuple[Ran, list[str]]:
        async with run_server(EchoEngine(), api_key=KEY) as url:
            port = int(url.split(":")[2].split("/")[0])
            async with Proxy(port, password=PASSWORD).serving() as proxy:
                where = f"http://me:hunter2%2F%40@{proxy.address}"
                ran = await asyncio.to_thread(
                    examined,
                    program,
                    "ws://realtime.test/v1/realtime",
                    *("--insecure", "--json"),
                    HTTPS_PROXY=where,
                )
                return ran, [proxy.address, *proxy.targets]

    ran, (address, target) = asyncio.run(run())
    found = as_json(ran)
    assert (found["ok"], target) == (True, "realtime.test:80")
    assert stage(found, "proxy")["detail"] == f"http://[key]@{address} (HTTPS_PROXY)"
    assert {stage(found, name)["detail"] for name in ("dns", "tcp", "tls")} == {"done by the proxy"}
    assert "hunter2" not in ran.text


def test_a_proxy_that_refuses(program: Program) -> None:
    with background(lambda: tcp(http("407 Proxy Authentication"))) as port:
        ran = examined(
            program, "wss://realtime.test/v1", "--json", ALL_PROXY=f"http://{port.address}"
        )
    name, detail = failing(as_json(ran))
    assert (ran.code, name) == (4, "handshake")
    assert detail == "the proxy refused to connect to realtime.test (HTTP 407)"


# ------------------------------------------------------------------------------------ the handshake


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        ("401 Unauthorized", 3, "OPENAI_API_KEY"),
        ("404 Not Found", 4, "--model"),
        ("429 Too Many", 5, "plan"),
        ("503 Busy", 4, "later"),
    ],
)
def test_a_refused_handshake(program: Program, status: str, code: int, hint: str) -> None:
    body = json.dumps({"error": {"message": f"No, {KEY}."}}).encode()
    with background(lambda: tcp(http(status, body))) as port:
        ran = examined(program, f"ws://{port.address}/v1/realtime", "--json")
    found = as_json(ran)
    number = status.split()[0]
    assert ran.code == code
    error = found["error"]
    assert failing(found) == ("handshake", error["message"])
    assert error["code"] == number
    assert f"HTTP {number} (No, [key].)" in error["message"]
    assert hint in error["hint"]


def test_a_hanging_handshake(program: Program) -> None:
    with background(lambda: tcp(b"", stays=True)) as port:
        ran = examined(program, f"ws://{port.address}/v1", "--connect-timeout", "0.3", "--json")
    assert ran.code == 4
    name, detail = failing(as_json(ran))
    assert name == "handshake"
    assert re.search(f"{port.address}.*0.3 s", detail)


# -------------------------------------------------------------------------------------- the session


async def silent(client: ServerConnection) -> None:
    """A server that sends nothing."""
    await client.wait_closed()


def conversing(*answers: Mapping[str, Any] | None) -> Talk:
    """Start a session, then answer each event with the next of these; None means no answer."""

    async def talk(client: ServerConnection) -> None:
        await client.send(json.dumps(CREATED))
        rest = iter(answers)
        async for frame in client:
            answer = next(rest, None)
            if answer is not None:
                event_id = json.loads(frame)["event_id"]
                await client.send(json.dumps(answer).replace("THEIRS", event_id))

    return talk


_SESSION = {"type": "realtime", "id": "s", "model": "m"}
CREATED = {"type": "session.created", "session": _SESSION}
UPDATED = {"type": "session.updated", "session": _SESSION}


def _error(**fields: str) -> dict[str, Any]:
    return {"type": "error", "error": fields}


def _done(status: str, **error: str) -> dict[str, Any]:
    response = {"id": "r", "status": status, "status_details": {"error": error}}
    return {"type": "response.done", "response": response}


@pytest.mark.parametrize(
    ("talk", "code", "failed", "detail"),
    [
        (silent, 4, "session_created", "timed out.* 2 s"),
        (
            saying(json.dumps(_error(message=f"Bad {KEY}", code="invalid_api_key"))),
            3,
            "session_created",
            r"Bad \[key\]",
        ),
        (
            saying(json.dumps(_error(message="Too busy")), code=1013, reason="busy"),
            4,
            "session_created",
            r"connection lost \(1013 busy\).*Too busy",
        ),
        (saying("<html>", b"\0"), 4, "session_created", r"connection lost \(1000\)"),
        (conversing(), 4, "session_update", "timed out.* 2 s"),
        (
            conversing(_error(message="Who?")),
            4,
            "session_update",
            r"timed out.* 2 s.*Who\?",
        ),
        (
            conversing(_error(message="No such.", param="session.x", event_id="THEIRS")),
            2,
            "session_update",
            r"session\.x.*No such\.",
        ),
        (
            conversing(UPDATED, None, _error(message="Not that.", event_id="THEIRS")),
            1,
            "first_token",
            r"Not that\.",
        ),
        (
            conversing(UPDATED, None, _done("failed", code="server_error", message="Oh no.")),
            1,
            "first_token",
            r"failed.*Oh no\.",
        ),
        (
            conversing(
                UPDATED, None, _done("failed", code="insufficient_quota", message="No credit.")
            ),
            5,
            "first_token",
            r"failed.*No credit\.",
        ),
        (conversing(UPDATED), 4, "first_token", "timed out.* 2 s"),
    ],
)
def test_a_session_that_fails(
    program: Program, talk: Talk, code: int, failed: str, detail: str
) -> None:
    is_waiting = "timed out" in detail  # the others may take long on a busy machine
    timeouts = ("--connect-timeout", "2", "--timeout", "2") if is_waiting else ()
    with background(lambda: sockets(talk)) as url:
        ran = examined(program, url, *timeouts, "--json")
    assert ran.code == code
    name, found = failing(as_json(ran))
    assert name == failed
    assert re.search(detail, found)
    assert found.rstrip(".") in ran.err


def test_endless_events_do_not_delay_the_timeout(program: Program) -> None:
    async def talk(client: ServerConnection) -> None:
        while True:
            await client.send('{"type": "ping"}')

    with background(lambda: sockets(talk)) as url:
        ran = examined(program, url, "--connect-timeout", "2", "--json")
    assert ran.code == 4
    assert failing(as_json(ran))[0] == "session_created"


def test_server_text_is_escaped(program: Program) -> None:
    session = {"type": "realtime", "id": "\x1b[31m" + "x" * 10_000, "expires_at": 1e17}
    with background(lambda: sockets(saying(_created(session)))) as url:
        ran = examined(program, url)
    assert ran.code == 4
    assert "\x1b" not in ran.text
    assert max(len(line) for line in ran.text.splitlines()) < 400


def _created(session: Mapping[str, object]) -> str:
    return json.dumps({"type": "session.created", "session": session})


# ------------------------------------------------------------------------------------------- output


def test_a_reader_that_has_gone_away(program: Program, gone: int) -> None:
    with background(lambda: run_server(EchoEngine(), api_key=KEY)) as url:
        ran = program.run("doctor", "--url", url, stdout=gone)
    assert (ran.code, ran.err) == (141, "")


def test_a_full_output(program: Program) -> None:
    with background(lambda: run_server(EchoEngine(), api_key=KEY)) as url:
        ran = program.shell(f"rtchat doctor --url {url} >/dev/full")
    assert ran.code == 6
    assert "stdout cannot be written (No space left on device)" in ran.err


def test_the_server_in_this_process(program: Program, data_home: Path) -> None:
    ran = program.run("doctor", "--local", "--json", environ={"XDG_DATA_HOME": str(data_home)})
    found = as_json(ran)
    assert ran.code == 0
    assert found["ok"]
    assert {stage(found, name)["detail"] for name in ("proxy", "dns", "tcp", "tls")} == {
        "in this process"
    }
