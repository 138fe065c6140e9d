"""What a start does not load: each of these costs more time than the program's own code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rtchat import __version__
from tests.faulty import unused_port
from tests.program import Program
from tests.sounds import tone, write_wav

_RUN = """\
import sys
sys.argv[1:] = {arguments!r}
from rtchat.__main__ import main
code = main()
sys.stdout.flush()
sys.stderr.write("\\n".join(["", "loaded:", *sys.modules]))
sys.exit(code)
"""


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address where nobody listens, nor can begin to."""
    with unused_port() as port:
        yield f"ws://127.0.0.1:{port}/v1/realtime"


def _run(folder: Path, *arguments: str) -> tuple[int, str, str, set[str]]:
    """The exit code, both streams and the modules of a start with nothing in the environment."""
    program = _RUN.format(arguments=list(arguments))
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={"HOME": str(folder), "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    errors, _, modules = done.stderr.partition("\nloaded:\n")
    return done.returncode, done.stdout, errors, set(modules.split("\n"))


def test_the_version_needs_next_to_nothing(tmp_path: Path) -> None:
    code, out, errors, modules = _run(tmp_path, "--version")
    assert (code, out, errors) == (0, f"rtchat {__version__}\n", "")
    ours = {name for name in modules if name.startswith("rtchat")}
    assert ours == {"rtchat", "rtchat.__main__", "rtchat._version"}
    heavy = {"typer", "asyncio", "dataclasses", "enum", "re", "typing", "inspect", "json", "socket"}
    assert modules & (heavy - _loaded_by_python(tmp_path)) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_version_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    program = Program(tmp_path)
    with open("/dev/full", "wb") as full:
        ran = program.run("--version", stdout=full)
    assert (ran.code, ran.error.startswith("rtchat: stdout cannot be written")) == (6, True)
    ran = program.shell("rtchat --version >&-")
    assert (ran.code, ran.error.startswith("rtchat: stdout is closed")) == (6, True)
    assert program.shell("rtchat --version | true; exit ${PIPESTATUS[0]}").err == ""


def _loaded_by_python(folder: Path) -> set[str]:
    """What the interpreter has loaded of itself, for instance to find an editable install."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=folder,
        env={"HOME": str(folder)},
    )
    return set(done.stdout.split())


def test_the_help_needs_no_network_and_no_screen(tmp_path: Path) -> None:
    code, out, errors, modules = _run(tmp_path, "--help")
    assert (code, errors) == (0, "")
    assert "once" in out
    heavy = {"asyncio", "websockets", "rich", "prompt_toolkit", "pydantic", "dotenv", "ssl"}
    assert modules & (heavy | {"importlib.metadata", "rtchat.core.conversation"}) == set()


def test_a_question_needs_no_screen(tmp_path: Path, nowhere: str) -> None:
    code, out, errors, modules = _run(tmp_path, "once", "hi", "--url", nowhere)
    assert (code, out) == (4, "")
    assert errors.startswith(f"rtchat: {urlsplit(nowhere).netloc} refused the connection\nhint: ")
    assert "rtchat.core.conversation" in modules
    # importlib.metadata is loaded too, but by websockets itself.
    heavy = {"rich", "prompt_toolkit", "pydantic", "openai", "httpx", "dotenv", "markdown_it"}
    assert modules & (heavy | _SOUND) == set()


def test_a_question_in_a_file_needs_no_device(tmp_path: Path, nowhere: str) -> None:
    write_wav(tmp_path / "q.wav", tone(440, 0.2))
    code, _, _, modules = _run(tmp_path, "once", "--audio-in", "q.wav", "--url", nowhere)
    assert code == 4
    assert modules & _SOUND == {"rtchat.audio", "rtchat.audio.files"}


def test_a_transcription_of_a_file_needs_no_screen(tmp_path: Path, nowhere: str) -> None:
    write_wav(tmp_path / "a.wav", tone(440, 0.2))
    code, _, _, modules = _run(tmp_path, "transcribe", "a.wav", "--url", nowhere)
    assert code == 4
    assert modules & {"rich.console", "prompt_toolkit", "numpy", "sounddevice"} == set()


_SOUND = {
    *("numpy", "soxr", "soundfile", "sounddevice"),
    *("rtchat.audio", "rtchat.audio.files", "rtchat.audio.devices", "rtchat.app.live_audio"),
}


def test_a_question_loads_dotenv_only_to_read_one(tmp_path: Path, nowhere: str) -> None:
    (tmp_path / ".env").write_text(f"RTCHAT_URL={nowhere}")
    code, _, _, modules = _run(tmp_path, "once", "hi")
    assert code == 4
    assert "dotenv" in modules


def test_when_the_cap_on_typer_can_go(tmp_path: Path, nowhere: str) -> None:
    """From 0.29 it loads pydantic at every start. If that fails here, the cap has to stay."""
    below = tuple(map(int, version("typer").split(".")[:2])) < (0, 29)
    _, _, _, modules = _run(tmp_path, "once", "hi", "--url", nowhere)
    assert below or "pydantic" not in modules
