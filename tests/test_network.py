"""Connections that depend on the environment: DNS, certificates and proxies.

Some connections are made by a process with its own environment; the servers run here, on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidProxy, InvalidProxyStatus, ProxyError
from websockets.http11 import Response

from rtchat.client.transport import ConnectError, endpoint, explain, open_connection
from rtchat.core.errors import ExitCode
from rtchat.core.events import ConnectionLost, Retry
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from tests.faulty import certificate, http, tcp, unused_port
from tests.program import Program, Ran, background

PROGRAM = """
import asyncio, sys
from rtchat.client.transport import ConnectError, endpoint, open_connection

async def main():
    try:
        async with open_connection(endpoint(url=sys.argv[1]), open_timeout=float(sys.argv[2])):
            print("connected")
    except ConnectError as error:
        print(int(error.exit), error.lost.retry.value, error.message, error.hint, sep="|")

asyncio.run(main())
"""


async def in_a_process(url: str, open_timeout: str = "30", **environ: str) -> str:
    """The result of opening a connection in this environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, url, open_timeout),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1]), **environ},
    )
    out, _ = await process.communicate()
    return out.decode().strip()


def check(result: str, retry: str, *words: str) -> None:
    """Check the result of `in_a_process`: exit code 4, this retry, and words in the message."""
    assert result.startswith(f"4|{retry}|")
    assert [word for word in words if word not in result] == []
    assert "hunter2" not in result


async def refused(url: str) -> ConnectionLost:
    """Why opening a connection fails in this process."""
    with pytest.raises(ConnectError) as caught:
        async with open_connection(endpoint(url=url), open_timeout=30.0):
            pass
    return caught.value.lost


# ---------------------------------------------------------------------------------------------- TLS


def test_the_certificate_file_of_the_environment_is_trusted(tmp_path: Path) -> None:
    file, context = certificate(tmp_path, "IP:127.0.0.1")

    async def run() -> None:
        async with run_server(EchoEngine(), ssl=context) as url:
            assert await in_a_process(url, SSL_CERT_FILE=str(file)) == "connected"

    asyncio.run(run())


def test_a_certificate_of_another_host(tmp_path: Path) -> None:
    file, context = certificate(tmp_path, "DNS:other.example")

    async def run() -> None:
        async with tcp(b"", tls=context) as port:
            result = await in_a_process(f"wss://{port.address}", SSL_CERT_FILE=str(file))
            check(result, "never", port.address, "not trusted (IP address mismatch", "--url")

    asyncio.run(run())


# -------------------------------------------------------------------------- certificate authorities


class Trusting:
    """A server with a self-signed certificate, and the program."""

    def __init__(self, folder: Path, name: str = "IP:127.0.0.1") -> None:
        folder.mkdir(exist_ok=True)
        self.file, self._context = certificate(folder, name)
        self.program = Program(folder)
        self.program.environ["OPENAI_API_KEY"] = "sk-0123456789abcdef"

    def once(self, *arguments: str, **environ: str) -> Ran:
        with background(lambda: run_server(EchoEngine(), ssl=self._context)) as url:
            return self.program.run("once", "hi", "--url", url, *arguments, environ=environ)


NOT_TRUSTED = "is not trusted (self-signed certificate)"


@pytest.mark.parametrize("how", ["option", "environment", "config"])
def test_a_ca_bundle_is_trusted(tmp_path: Path, how: str) -> None:
    server = Trusting(tmp_path)
    bundle = tmp_path / "bundle.pem"
    (tmp_path / "other").mkdir()
    other, _ = certificate(tmp_path / "other", "DNS:other.example")
    bundle.write_text(server.file.read_text() + "and\n" + other.read_text())
    if how == "config":
        (tmp_path / "c.toml").write_text("ca_bundle = 'bundle.pem'\n")
        server.program.environ["RTCHAT_CONFIG"] = "c.toml"
    environ = {"RTCHAT_CA_BUNDLE": "bundle.pem"} if how == "environment" else {}
    arguments = ["--ca-bundle", str(bundle)] if how == "option" else []
    ran = server.once(*arguments, **environ)
    assert (ran.code, ran.text) == (0, "hi\n")


def test_a_ca_bundle_in_dotenv_is_ignored(tmp_path: Path) -> None:
    server = Trusting(tmp_path)
    (tmp_path / ".env").write_text(f"RTCHAT_CA_BUNDLE={server.file}\n")
    ran = server.once("-q")
    assert ran.code == 4
    assert ran.err.startswith("rtchat: RTCHAT_CA_BUNDLE in .env is ignored")
    assert NOT_TRUSTED in ran.err


def test_a_ca_bundle_replaces_all_other_authorities(tmp_path: Path) -> None:
    server, other = Trusting(tmp_path), Trusting(tmp_path / "other")
    assert server.once(SSL_CERT_FILE=str(server.file)).code == 0
    ran = server.once("--ca-bundle", str(other.file), SSL_CERT_FILE=str(server.file))
    assert (ran.code, ran.text) == (4, "")
    assert NOT_TRUSTED in ran.error
    assert "--ca-bundle" in ran.hint


@pytest.mark.parametrize("arguments", [[], ["--insecure"]])
def test_no_option_disables_verification(tmp_path: Path, arguments: list[str]) -> None:
    ran = Trusting(tmp_path).once(*arguments)
    assert (ran.code, ran.text) == (4, "")
    assert NOT_TRUSTED in ran.error
    assert "--ca-bundle" in ran.hint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("a folder", "cannot be read (Is a directory)"),
        ("", "contains no certificates"),
        ("some text", "contains no certificates"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "contains no certificates",
        ),
        ("the private key", "contains no certificates"),
    ],
)
@pytest.mark.parametrize("named", ["the CA bundle", "SSL_CERT_FILE"])
def test_an_invalid_ca_bundle_is_reported_before_connecting(
    tmp_path: Path, content: str | None, words: str, named: str
) -> None:
    file = tmp_path / "bundle.pem"
    if content == "a folder":
        file.mkdir()
    elif content == "the private key":
        certificate(tmp_path, "IP:127.0.0.1")
        (tmp_path / "key.pem").rename(file)
    elif content is not None:
        file.write_text(content)
    program = Program(tmp_path)
    variable = "RTCHAT_CA_BUNDLE" if named == "the CA bundle" else named
    with background(lambda: tcp(http("400 Bad Request"), at_once=True)) as port:
        environ = {variable: str(file)}
        ran = program.run("once", "hi", "--url", f"wss://{port.address}/", environ=environ)
        assert (ran.code, ran.text) == (2, "")
        assert f"rtchat: {named} {file} {words}" in ran.err
        assert port.heads == []


def test_ssl_cert_file_is_ignored_without_tls(tmp_path: Path) -> None:
    program = Program(tmp_path)
    with background(lambda: run_server(EchoEngine())) as url:
        ran = program.run("once", "hi", "--url", url, environ={"SSL_CERT_FILE": "nowhere.pem"})
        assert (ran.code, ran.text) == (0, "hi\n")
        (tmp_path / "b.pem").touch()
        ran = program.run("once", "hi", "--url", url, "--ca-bundle", "b.pem")
        assert ran.code == 2


def test_tls_to_a_server_without_tls() -> None:
    async def run() -> None:
        async with tcp(http("400 Bad Request"), at_once=True) as port:
            lost = await refused(f"wss://{port.address}/")
            # The reason differs between versions of OpenSSL.
            assert f"TLS with {port.address}" in lost.problem.message
            assert "ws://" in lost.problem.hint
            assert lost.retry is Retry.NEVER

    asyncio.run(run())


# ------------------------------------------------------------------------------------------ proxies

UNUSABLE = ("the proxy for a.invalid cannot be used", "HTTPS_PROXY")


@pytest.mark.parametrize(
    ("proxy", "retry", "words"),
    [
        ("http://{unused}", "if it worked", UNUSABLE),
        ("http://me:hunter2@{unused}", "if it worked", UNUSABLE),
        ("http://127.0.0.1:99999", "if it worked", UNUSABLE),
        ("ftp://me:hunter2@127.0.0.1", "never", (*UNUSABLE, "(scheme ftp isn't supported)")),
        ("http://{refusing}", "never", ("a.invalid (HTTP 407)", "name:password@host:port")),
        ("http://{babbling}", "if it worked", UNUSABLE),
    ],
)
def test_a_proxy_that_does_not_work(proxy: str, retry: str, words: tuple[str, ...]) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            refusing = await stack.enter_async_context(tcp(http("407 Proxy Authentication")))
            babbling = await stack.enter_async_context(tcp(b"SSH-2.0-x\r\n", at_once=True))
            url = proxy.format(
                unused=f"127.0.0.1:{stack.enter_context(unused_port())}",
                refusing=refusing.address,
                babbling=babbling.address,
            )
            check(await in_a_process("wss://a.invalid", HTTPS_PROXY=url), retry, *words)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "words", "hint", "retry"),
    [
        (
            ImportError("connecting through a SOCKS proxy requires python-socks"),
            "python-socks is not installed",
            "[socks]",
            Retry.NEVER,
        ),
        (
            InvalidProxy("http://me:hunter2@b.example/x", "path is meaningless"),
            "cannot be used (path is meaningless)",
            "HTTPS_PROXY",
            Retry.NEVER,
        ),
        (
            InvalidProxyStatus(Response(403, "Forbidden", Headers())),
            "refused to connect to a.example (HTTP 403)",
            "HTTPS_PROXY",
            Retry.NEVER,
        ),
        (
            InvalidProxyStatus(Response(502, "Bad Gateway", Headers())),
            "refused to connect to a.example (HTTP 502)",
            "HTTPS_PROXY",
            Retry.IF_IT_WORKED,
        ),
        (
            ProxyError("http://me:hunter2@b.example"),
            "cannot be used",
            "HTTPS_PROXY",
            Retry.IF_IT_WORKED,
        ),
    ],
)
def test_proxy_errors_of_the_library(error: Exception, words: str, hint: str, retry: Retry) -> None:
    lost = explain(error, endpoint(url="wss://a.example"))
    assert (lost.problem.exit, lost.retry) == (ExitCode.LINK, retry)
    assert "a.example" in lost.problem.message
    assert words in lost.problem.message
    assert hint in lost.problem.hint
    assert "hunter2" not in str(lost.problem)


def test_the_choice_of_proxy() -> None:
    async def run() -> None:
        async with tcp(http("407 Proxy Authentication")) as proxy, tcp(b"") as other:
            asked, unasked = f"http://{proxy.address}", f"http://{other.address}"
            for url in ("wss://a.invalid:1", "ws://a.invalid:1"):
                for environ in (
                    {"ALL_PROXY": asked},
                    {"https_proxy": asked, "ALL_PROXY": unasked},
                ):
                    check(await in_a_process(url, **environ), "never", "a.invalid:1 (HTTP 407)")
            assert [head.split()[:2] for head in proxy.heads] == [[b"CONNECT", b"a.invalid:1"]] * 4
            said = await in_a_process(
                "wss://a.invalid:1", "5", ALL_PROXY=asked, NO_PROXY=".invalid"
            )
            assert said.startswith("4|if it worked|")
            assert (len(proxy.heads), other.heads) == (4, [])

    asyncio.run(run())


def test_loopback_is_reached_without_the_proxy() -> None:
    async def run() -> None:
        async with tcp(http("407 Proxy Authentication")) as proxy, run_server(EchoEngine()) as url:
            address = f"http://{proxy.address}"
            assert await in_a_process(url, HTTPS_PROXY=address, ALL_PROXY=address) == "connected"
            assert proxy.heads == []

    asyncio.run(run())
