"""Conversations of third-party clients with `rtchat serve`.

Each client asks a question, has a tool called, stops an answer, speaks, and interrupts an answer by
voice. `clients` contains a program for each of them, which prints what it received; the results are
the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TypeAlias

import pytest

from rtchat.core.values import BYTES_A_MS
from rtchat.server.tone_voice import CHARACTER_MS
from tests import npm, pypi
from tests.faulty import certificate
from tests.program import PATIENCE, Program
from tests.test_serve import served
from tests.test_server_voice import QUIET, pcm

pytestmark = pytest.mark.full

PROGRAMS = Path(__file__).parent / "clients"
KEY = "sk-clients-0123456789"
SCRIPT = """
heard = {heard}
[[rule]]
match = "hello"
text = "Hello, you."
[[rule]]
match = "weather"
tool_calls = [{{name = "{tool}", arguments = {{city = "Oslo"}}}}]
[[rule]]
match = "weather"
match_output = "sunny"
text = "It is sunny in Oslo."
[[rule]]
match = "long"
deltas = ["This is long. ", "And it does not end"]
stall = true
[[rule]]
match = "sum"
text = "Four."
"""
HEARD = ("A sum, please.", "Something long, please.", "A sum, please.")
Seen: TypeAlias = dict[str, object]
SEEN: list[Seen] = [
    {"text": "Hello, you."},
    {"tool": {"city": "Oslo"}, "output": "sunny in Oslo"},
    {"text": "It is sunny in Oslo."},
    {"interrupted": True},
    {"text": "Hello, you."},
    {"heard": "A sum, please."},
    {"audio": len("Four.") * CHARACTER_MS * BYTES_A_MS},
    {"text": "Four."},
    {"interrupted": True},
    {"text": "Four."},
]
TRANSCRIBED: list[Seen] = [*SEEN, {"transcribed": "Bye."}]
"""What the clients receive that also transcribe without a conversation."""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    (tmp_path / "speech").write_bytes(pcm(600) + pcm(1500, QUIET))
    (tmp_path / "key").write_text(KEY)
    return Program(tmp_path)


def hold(
    program: Program,
    *command: str | Path,
    query: str = "",
    heard: Sequence[str] = HEARD,
    tool: str = "weather",
    seen: Sequence[Seen] = SEEN,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Run a client against a server, and assert what it saw. `query` is added to the URL. With
    `NODE_EXTRA_CA_CERTS` in its environment, the server has TLS."""
    environ = {} if environ is None else environ
    home = program.home
    (home / "talk.toml").write_text(SCRIPT.format(heard=json.dumps(heard), tool=tool))
    options = ["--engine", "script:talk.toml", "--api-key-file", "key"]
    if "NODE_EXTRA_CA_CERTS" in environ:
        options += ["--tls-cert", environ["NODE_EXTRA_CA_CERTS"], "--tls-key", "key.pem"]
    with served(program, *options) as (url, _):
        done = subprocess.run(
            [*command, url + query, home / "speech"],
            capture_output=True,
            text=True,
            env={
                "HOME": str(home),
                "PATH": program.environ["PATH"],
                "OPENAI_API_KEY": KEY,
                **environ,
            },
            cwd=home,
            timeout=PATIENCE,
            check=False,
        )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert (lines, done.returncode) == ([*seen], 0), done.stderr


# ------------------------------------------------------------------------------------------- Python


def test_the_agents_sdk_for_python(program: Program) -> None:
    python = pypi.installed(program.home, "openai-agents==0.24.0")
    for query in ("", "?model=gpt-realtime"):
        hold(program, python, PROGRAMS / "openai_agents.py", query=query)


def test_the_beta_part_of_the_openai_package(program: Program) -> None:
    """In the newest release and in an old one; `test_openai_client` tests the current part."""
    old = pypi.installed(program.home, "openai[realtime]==1.109.1")
    for python in (sys.executable, old):
        hold(program, python, PROGRAMS / "openai_beta.py")


def test_livekit(program: Program) -> None:
    python = pypi.installed(program.home, "livekit-plugins-openai==1.8.9")
    agents = (python, PROGRAMS / "livekit_agents.py")
    hold(program, *agents, heard=(*HEARD, "Bye."), seen=TRANSCRIBED)


def test_pipecat(program: Program) -> None:
    python = pypi.installed(program.home, "pipecat-ai[openai]==1.14.0")
    pipeline = (python, PROGRAMS / "pipecat_pipeline.py")
    hold(program, *pipeline, heard=("Hello.", *HEARD, "Bye."), seen=TRANSCRIBED)


def test_pydantic_ai(program: Program) -> None:
    python = pypi.installed(program.home, "pydantic-ai-slim[openai-realtime]==2.68.0")
    hold(program, python, PROGRAMS / "pydantic_agents.py")


def test_semantic_kernel(program: Program) -> None:
    python = pypi.installed(program.home, "semantic-kernel[realtime]==1.45.0")
    service = (python, PROGRAMS / "semantic_kernel_service.py")
    hold(program, *service, tool="Tools-weather")


# --------------------------------------------------------------------------------------- JavaScript


def script(program: Program, name: str) -> Path:
    """A copy of a program next to its packages, where Node looks for them."""
    copy = program.home / name
    copy.write_bytes((PROGRAMS / name).read_bytes())
    return copy


def test_the_agents_sdk_for_javascript(program: Program) -> None:
    npm.installed(program.home, "@openai/agents-realtime@0.20.0", "zod@4.6.7")
    agents = script(program, "openai_agents.mjs")
    for query in ("", "?model=gpt-realtime"):
        hold(program, npm.node(), agents, query=query)
    browser = ("--experimental-websocket", "--conditions=browser")
    hold(program, npm.node(), *browser, agents)


def test_the_openai_package_for_javascript(program: Program) -> None:
    npm.installed(program.home, "openai@7.59.0", "ws@8.23.0")
    trusted, _ = certificate(program.home, "IP:127.0.0.1")  # it speaks TLS only
    node = (npm.node(), "--experimental-websocket", script(program, "openai_sdk.mjs"))
    for dialect, socket in product(("ga", "beta"), ("ws", "websocket")):
        environ = {"DIALECT": dialect, "SOCKET": socket, "NODE_EXTRA_CA_CERTS": str(trusted)}
        hold(program, *node, environ=environ)
