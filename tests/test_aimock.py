"""The installed program with a third-party server (`aimock`).

Every test runs a process with a new environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests import aimock
from tests.program import without_ids

pytestmark = pytest.mark.full

KEY = "sk-aimock-0123456789"
SLOW = "A long answer, bit by bit: äöü € — and its end."
LONG = "word " * 10_000
FIXTURES: list[object] = [
    {"match": {"userMessage": "hello"}, "response": {"content": "Hi, scripted."}},
    {
        "match": {"userMessage": "slow"},
        "response": {"content": SLOW},
        "latency": 40,
        "chunkSize": 4,
    },
    {
        "match": {"userMessage": "for minutes"},
        "response": {"content": LONG},
        "latency": 40,
        "chunkSize": 4,
    },
    {
        "match": {"userMessage": "boom"},
        "response": {
            "error": {
                "message": "Rate limit reached",
                "type": "rate_limit_error",
                "code": "rate_limit_exceeded",
            },
            "status": 429,
        },
    },
    {
        "match": {"userMessage": "cut"},
        "response": {"content": "This will be cut off before its end."},
        "latency": 50,
        "chunkSize": 5,
        "disconnectAfterMs": 170,
    },
    {"match": {}, "response": {"content": "# Anything else\n\n*is* this.\n"}},
]

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server."""
    program = aimock.installed(tmp_path_factory.mktemp("aimock"))
    with aimock.running(program, FIXTURES, tmp_path_factory.mktemp("fixtures"), KEY) as where:
        yield where


@pytest.fixture
def environ(url: str, tmp_path: Path) -> dict[str, str]:
    """An environment for the program, with nothing of ours in it."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "PYTHONWARNINGS": "error",
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "RTCHAT_URL": url,
        "OPENAI_API_KEY": KEY,
    }


@pytest.fixture
def rtchat(environ: dict[str, str], tmp_path: Path) -> Run:
    """Run the program: its arguments, what is piped in, and more environment."""

    def run(
        *arguments: str, stdin: str | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rtchat", *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            encoding="utf-8",
            env=environ | more,
            cwd=tmp_path,
            timeout=60,
            check=False,
        )

    return run


def test_an_answer(rtchat: Run) -> None:
    done = rtchat("once", "-q", "hello")
    assert (done.stdout, done.stderr, done.returncode) == ("Hi, scripted.\n", "", 0)


def test_an_answer_that_ends_its_last_line_gets_no_other_end(rtchat: Run) -> None:
    done = rtchat("once", "-q", stdin="something else\n")
    assert (done.stdout, done.returncode) == ("# Anything else\n\n*is* this.\n", 0)


def test_an_answer_is_written_as_it_arrives(environ: dict[str, str], tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "rtchat", "once", "-q", "for minutes"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environ,
        cwd=tmp_path,
    ) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 2 * len(LONG)).decode()
        process.kill()
    assert first
    assert first != LONG
    assert LONG.startswith(first)


def test_a_rate_limit(rtchat: Run) -> None:
    done = rtchat("once", "boom")
    assert (done.stdout, without_ids(done.stderr), done.returncode) == (
        "",
        "rtchat: the reply failed: Rate limit reached\nhint: wait a moment and try again\n",
        5,
    )


def test_a_connection_that_breaks_in_mid_reply(rtchat: Run) -> None:
    done = rtchat("once", "-q", "cut")
    arrived = done.stdout.removesuffix("\n")
    assert arrived
    assert arrived != "This will be cut off before its end."
    assert "This will be cut off before its end.".startswith(arrived)
    assert (without_ids(done.stderr), done.returncode) == (
        "rtchat: connection lost (1006)\nhint: check the network and try again\n",
        4,
    )


@pytest.mark.parametrize("key", ["sk-wrong-0123456789", ""])
def test_a_wrong_key(rtchat: Run, key: str) -> None:
    done = rtchat("once", "hello", OPENAI_API_KEY=key)
    assert (done.stdout, done.returncode) == ("", 3)
    assert done.stderr.startswith("rtchat: the server responded with HTTP 401 (")
    assert "OPENAI_API_KEY" in done.stderr.splitlines()[-1]
    assert done.stderr.count("\n") == 2
    assert KEY not in done.stderr


def test_the_older_dialect_is_refused(rtchat: Run) -> None:
    done = rtchat("once", "--dialect", "beta", "hello")
    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.startswith("rtchat: The Realtime Beta API is no longer supported.")
    assert done.stderr.endswith("\nhint: remove --dialect beta and any OpenAI-Beta header\n")
    assert done.stderr.count("\n") == 2


def test_a_pipe_of_questions_is_one_session(rtchat: Run, tmp_path: Path) -> None:
    done = rtchat("talk", "-q", "--trace", "trace", stdin="hello\nslow\n\nhello")
    assert (done.stdout, done.stderr, done.returncode) == (
        f"Hi, scripted.\n{SLOW}\nHi, scripted.\n",
        "",
        0,
    )
    received = [event["type"] for event in events(tmp_path / "trace", "received")]
    assert received.count("session.created") == 1


def test_a_pipe_goes_on_after_a_broken_connection_and_a_failed_reply(rtchat: Run) -> None:
    done = rtchat("talk", "-q", stdin="hello\ncut\nboom\nhello\n")
    first, cut, last = done.stdout.splitlines()
    assert (first, last) == ("Hi, scripted.", "Hi, scripted.")
    assert "This will be cut off before its end.".startswith(cut)
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["rtchat", "hint"] * 2
    assert done.returncode == 1


def test_json(rtchat: Run) -> None:
    done = rtchat("once", "-q", "--json", "-m", "gpt-realtime", "hello")
    reply = json.loads(done.stdout)
    assert reply.pop("response_id").startswith("resp_")
    assert reply.pop("session_id").startswith("sess_")
    assert reply.pop("url").endswith("/v1/realtime?model=gpt-realtime")
    timing = reply.pop("timing")
    assert set(timing) == {"connect_ms", "first_token_ms", "total_ms"}
    assert all(0 <= milliseconds < 60_000 for milliseconds in timing.values())
    assert reply == {
        "heard": None,
        "version": 1,
        "parsed": None,
        "extracted": None,
        "text": "Hi, scripted.",
        "status": "completed",
        "reason": None,
        "conversation_id": None,
        "model": "gpt-realtime",
        "response_model": "gpt-realtime",
        "messages": [{"phase": "final_answer", "text": "Hi, scripted."}],
        "usage": None,  # it counts nothing
        "tool_calls": [],
        "mcp_calls": [],
        "transcription": None,
        "error": None,
    }
    assert (done.stderr, done.returncode) == ("", 0)


def test_json_of_a_failure(rtchat: Run) -> None:
    done = rtchat("once", "-q", "--json", "boom")
    reply = json.loads(done.stdout)
    assert (reply["text"], reply["status"], done.returncode) == ("", "failed", 5)
    assert reply["error"] == {
        "code": "rate_limit_exceeded",
        "message": "the reply failed: Rate limit reached",
        "hint": "wait a moment and try again",
    }


def test_every_event_as_a_line(rtchat: Run) -> None:
    done = rtchat("once", "-q", "--events", "hello")
    types = [json.loads(line)["type"] for line in done.stdout.splitlines()]
    assert (types[0], types[-1], done.returncode) == ("session.created", "response.done", 0)
    assert "response.output_text.delta" in types


def events(trace: Path, direction: str) -> list[dict[str, object]]:
    """The events of a recording that went one way."""
    lines = [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]
    return [line["data"] for line in lines if line.get("direction") == direction]


def test_a_trace_has_every_event_and_no_key(rtchat: Run, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    done = rtchat("once", "-q", "--trace", str(trace), "hello")
    assert (done.stdout, done.returncode) == ("Hi, scripted.\n", 0)
    assert [event["type"] for event in events(trace, "sent")] == [
        "session.update",
        "conversation.item.create",
        "response.create",
    ]
    received = [event["type"] for event in events(trace, "received")]
    assert (received[0], received[-1]) == ("session.created", "response.done")
    assert trace.stat().st_mode & 0o777 == 0o600
    assert KEY not in trace.read_text(encoding="utf-8")
