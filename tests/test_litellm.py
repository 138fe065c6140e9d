"""The program with LiteLLM's proxy, which forwards everything to `rtchat serve`.

So the proxy is the program's server and the server's client. It is started once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtchat.core.values import BYTES_A_MS
from rtchat.server.tone_voice import CHARACTER_MS
from tests import pypi
from tests.program import Program, listening
from tests.sounds import silence, tone, wav_audio, write_wav
from tests.terminal import PROMPT, Terminal
from tests.test_serve import served

pytestmark = pytest.mark.full

PACKAGE = "litellm[proxy]==1.108.7"
KEY, UPSTREAM_KEY = "sk-litellm-0123456789", "sk-upstream-0123456789"
CONFIG = """
model_list:
  - model_name: talk
    litellm_params: {{model: openai/gpt-realtime, api_base: "{api}", api_key: {upstream_key}}}
general_settings: {{master_key: {key}}}
"""
SCRIPT = """
heard = ["hello"]
[[rule]]
match = "hello"
text = "Hello, you."
[[rule]]
match = "slow"
deltas = ["It begins ", "and does not end."]
stall = true
[[rule]]
match = "weather"
tool_calls = [{name = "weather", arguments = {city = "Oslo"}}]
[[rule]]
match = "weather"
match_output = "sunny"
text = "It is sunny in Oslo."
"""
TOOLS = """
def weather(city: str) -> str:
    "The weather."
    return f"sunny in {city}"
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the proxy."""
    home = tmp_path_factory.mktemp("litellm")
    python = pypi.installed(home, PACKAGE)
    (home / "talk.toml").write_text(SCRIPT)
    (home / "key").write_text(UPSTREAM_KEY)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it asks the network for prices
        "LITELLM_MODE": "PRODUCTION",
    }
    options = ("--engine", "script:talk.toml", "--api-key-file", "key")
    with served(Program(home), *options) as (upstream, _):
        api = upstream.replace("ws:", "http:").removesuffix("/realtime")
        config = CONFIG.format(api=api, key=KEY, upstream_key=UPSTREAM_KEY)
        (home / "config.yaml").write_text(config)
        where = ("--host", "127.0.0.1", "--port", "0")
        command = (python.with_name("litellm"), "--config", "config.yaml", *where)
        pattern = r"Uvicorn running on http://(\S+)"
        with listening(command, pattern, environ, cwd=home) as place:
            yield f"ws://{place}/v1/realtime"


@pytest.fixture
def program(url: str, tmp_path: Path) -> Program:
    program = Program(tmp_path)
    program.environ |= {"RTCHAT_URL": url, "RTCHAT_MODEL": "talk", "OPENAI_API_KEY": KEY}
    (tmp_path / "tools.py").write_text(TOOLS)
    return program


def test_a_conversation_with_a_tool_call(program: Program) -> None:
    allowed = ("--tools", "tools.py", "--allow-tool", "weather")
    ran = program.run("talk", "-q", "--json", *allowed, stdin=b"hello\nweather?\nhello\n")
    replies = [json.loads(line) for line in ran.text.splitlines()]
    assert (ran.code, ran.err) == (0, "")
    texts = [reply["text"] for reply in replies]
    assert texts == ["Hello, you.", "It is sunny in Oslo.", "Hello, you."]
    assert [len(reply["tool_calls"]) for reply in replies] == [0, 1, 0]


def test_a_reply_is_stopped_and_the_next_question_answered(program: Program) -> None:
    terminal = Terminal(program, [], {})
    terminal.shows(PROMPT)
    terminal.types("slow\r")
    terminal.shows("It begins")
    terminal.types("\x03")
    terminal.shows("interrupted", PROMPT)
    terminal.types("hello\r")
    terminal.shows("interrupted", "Hello, you.", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0


def test_a_spoken_turn(program: Program) -> None:
    write_wav(program.home / "question.wav", tone(480, 0.6) + silence(1))
    ran = program.run("once", "-q", "--audio-in", "question.wav", "--audio-out", "answer.wav")
    assert (ran.code, ran.text) == (0, "Hello, you.\n"), ran.err
    length = len("Hello, you.") * CHARACTER_MS * BYTES_A_MS
    assert len(wav_audio(program.home / "answer.wav")) == length


def test_an_unknown_model_is_refused_at_once(program: Program) -> None:
    ran = program.run("once", "-v", "hello", "--model", "unknown")
    assert ran.code == 4, ran.err
    assert "model=unknown" in ran.error
    assert ran.err.count("connecting to") == 1


def test_a_wrong_key_is_refused_at_once(program: Program) -> None:
    ran = program.run("once", "hello", environ={"OPENAI_API_KEY": "sk-wrong-0123456789"})
    assert ran.code == 3, ran.err
    assert ran.hint
