"""The first run: without a key, rtchat says what to do, and on a terminal it can store one."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rtchat.config.keys import key_problem
from tests.faulty import unused_port
from tests.program import PATIENCE, Program

_KEY = "sk-proj-0123456789abcdef"
_PROMPT = b"not shown"


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The program where no keyring is, and OpenAI's server cannot be reached."""
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "keyring.py").write_text("raise ImportError\n")
    program = Program(tmp_path)
    path = [str(tmp_path / "none"), str(Path(__file__).parents[1])]
    program.environ["PYTHONPATH"] = os.pathsep.join(path)
    with unused_port() as port:
        program.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{port}"
        yield program


def _on_a_terminal(
    program: Program, arguments: Sequence[str], answers: Sequence[str]
) -> tuple[int, str]:
    """The exit code and the screen of a run in which each prompt for a key gets an answer."""
    terminal, theirs = pty.openpty()
    seen = b""
    left = list(answers)
    with program.start(
        *arguments, stdin=theirs, stdout=theirs, stderr=theirs, on_terminal=True
    ) as process:
        os.close(theirs)
        while select.select((terminal,), (), (), PATIENCE)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            seen += data
            if left and seen.count(_PROMPT) > len(answers) - len(left):
                os.write(terminal, left.pop(0).encode())
        os.close(terminal)
    return process.returncode, seen.decode()


def _stored(program: Program) -> object:
    file = program.home / ".local" / "share" / "rtchat" / "keys.json"
    return json.loads(file.read_text()) if file.exists() else None


@pytest.mark.parametrize(
    "arguments",
    [["once", "hi"], ["A quoted question"], ["transcribe", "speech.wav"], ["talk"]],
)
def test_a_script_gets_an_error_with_the_three_ways(program: Program, arguments: list[str]) -> None:
    ran = program.run(*arguments, stdin=b"")
    assert ran.code == 2
    for way in ("there is no key", "OPENAI_API_KEY", "`rtchat keys set`", "--local", "--url"):
        assert way in f"{ran.error} {ran.hint}"


def test_a_key_is_stored_and_the_run_goes_on(program: Program) -> None:
    code, screen = _on_a_terminal(program, ["once", "hi"], [f" {_KEY} \n"])
    for way in ("there is no key", "OPENAI_API_KEY", "--local", "--url"):
        assert way in screen
    assert _KEY not in screen
    assert _stored(program) == {"default": _KEY}
    assert (code, "refused the connection" in screen or "proxy" in screen) == (4, True)
    code, screen = _on_a_terminal(program, ["once", "hi"], [])
    assert (code, "there is no key" in screen) == (4, False)


def test_the_key_of_a_profile(program: Program) -> None:
    key = "xai-0123456789abcdef"
    code, screen = _on_a_terminal(program, ["once", "-p", "xai", "hi"], [f"{key}\n"])
    assert "XAI_API_KEY" in screen
    assert (code, _stored(program)) == (4, {"xai": key})


@pytest.mark.parametrize(("answer", "code"), [("\n", 2), (" \n", 2), ("\x04", 2), ("\x03", 130)])
@pytest.mark.parametrize("arguments", [["once", "hi"], ["translate", "--to", "es", "x.wav"]])
def test_who_enters_none_leaves(
    program: Program, arguments: list[str], answer: str, code: int
) -> None:
    assert _on_a_terminal(program, arguments, [answer])[0] == code
    assert _stored(program) is None


def test_an_obvious_mistake_is_asked_again(program: Program) -> None:
    code, screen = _on_a_terminal(program, ["talk"], [f'"{_KEY}"\n', "sk-...cdef\n", "\n"])
    assert (code, _stored(program)) == (2, None)
    assert "quotation marks" in screen
    assert "is not complete" in screen
    assert "cdef" not in screen
    code, screen = _on_a_terminal(program, ["once", "hi"], ["x\n", "y\n", "z\n"])
    assert (code, screen.count("not shown")) == (2, 3)


@pytest.mark.parametrize(
    "arguments", [["once", "--json", "hi"], ["talk", "--events"], ["transcribe", "--json", "x"]]
)
def test_a_run_for_a_program_asks_nothing(program: Program, arguments: list[str]) -> None:
    code, screen = _on_a_terminal(program, arguments, [])
    assert (code, "not shown" in screen) == (2, False)


def test_a_pipe_at_any_stream_asks_nothing(program: Program) -> None:
    terminal, theirs = pty.openpty()
    try:
        for stream in ("stdin", "stdout", "stderr"):
            streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
            streams[stream] = subprocess.DEVNULL
            with program.start("once", "hi", **streams) as process:  # type: ignore[arg-type] # as named
                assert process.wait(PATIENCE) == 2
    finally:
        os.close(terminal)
        os.close(theirs)
    assert _stored(program) is None


def test_a_server_of_the_dotenv_is_not_given_a_key(program: Program) -> None:
    (program.home / ".env").write_text("RTCHAT_PROFILE=xai\n")
    code, screen = _on_a_terminal(program, ["once", "hi"], ["\n"])
    assert code == 2
    (program.home / ".env").write_text("OPENAI_BASE_URL=https://a.example/v1\n")
    code, screen = _on_a_terminal(program, ["once", "hi"], [])
    assert (code, "not shown" in screen) == (4, False)


@pytest.mark.parametrize(
    "text",
    [
        *(f"OPENAI_API_KEY={_KEY}", f"export OPENAI_API_KEY={_KEY}", f"Bearer {_KEY}"),
        *(f"'{_KEY}'", f'"{_KEY}"', f"{_KEY} {_KEY}", "https://platform.example/keys"),
        *("sk-...cdef", "sk-proj-***cdef"),
    ],
)
def test_an_obvious_mistake(program: Program, text: str) -> None:
    problem = key_problem(text)
    assert problem
    ran = program.run("keys", "set", stdin=text.encode())
    assert (ran.code, _stored(program)) == (2, None)
    assert problem in ran.error
    assert _KEY not in ran.err


def test_keys_of_all_vendors_are_accepted() -> None:
    for key in (_KEY, "ek_0123456789abcdef0123", "xai-abc", "AQVNabc", "QUJDREVGRw==", "a b"[:1]):
        assert key_problem(key) == ""
    assert key_problem(_KEY, is_openai=True) == ""
    assert key_problem("ek_0123456789abcdef0123", is_openai=True) == ""
    assert key_problem("xai-0123456789abcdef0123", is_openai=True)
    assert key_problem("sk-", is_openai=True)
