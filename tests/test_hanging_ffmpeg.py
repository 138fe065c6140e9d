"""Ctrl-C while the decoder hangs."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.audio_samples import needs_ffmpeg, sample_file
from tests.program import PATIENCE, Program
from tests.test_translate_runs import TranslationServer, served

pytestmark = needs_ffmpeg
_HANGS = '#!/bin/sh\necho $$ > "$HOME/pid"\nexec /bin/sleep 1000\n'


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A program with an M4A file, and a server that hears and translates nothing."""
    with served(tmp_path, TranslationServer()) as program:
        (tmp_path / "said.m4a").write_bytes(sample_file("m4a"))
        os.mkfifo(tmp_path / "pid")
        yield program


@pytest.mark.parametrize(
    ("hanging", "arguments"),
    [
        ("ffmpeg", ["translate", "said.m4a", "--to", "es"]),
        *(
            pytest.param(hanging, arguments, marks=pytest.mark.full)
            for hanging, arguments in (
                ("ffmpeg", ["once", "--audio-in", "said.m4a"]),
                ("ffmpeg", ["transcribe", "said.m4a"]),
                ("ffmpeg", ["transcribe", "said.m4a", "q.wav"]),
                ("ffprobe", ["transcribe", "said.m4a"]),
            )
        ),
    ],
)
def test_ctrl_c_ends_a_decoder_that_hangs(
    program: Program, tmp_path: Path, hanging: str, arguments: list[str]
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / hanging).write_text(_HANGS)
    (tmp_path / "bin" / hanging).chmod(0o755)
    started = os.open(tmp_path / "pid", os.O_RDWR)
    with program.start(*arguments, environ={"PATH": str(tmp_path / "bin")}) as process:
        assert select.select([started], [], [], PATIENCE)[0]
        decoder = os.pidfd_open(int(os.read(started, 100)))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        is_over = bool(select.select([decoder], [], [], PATIENCE)[0])
    if not is_over:
        signal.pidfd_send_signal(decoder, signal.SIGKILL)
    os.close(decoder)
    os.close(started)
    assert process.returncode == 130
    assert is_over


_INTERRUPTED = """
import os, signal
from rtchat.audio import ffmpeg, file_format

for _ in range(50):
    if (child := os.fork()) == 0:
        try:
            with open("said.m4a", "rb") as file:
                ffmpeg.duration(file, file_format.recognise(file))
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            ffmpeg.kill_all()
            os._exit(130)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
"""


def test_ctrl_c_while_a_decoder_starts_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "said.m4a").write_bytes(sample_file("m4a"))
    decoder = tmp_path / "ffprobe"
    decoder.write_text("#!/bin/sh\nexec 3>running; echo $$ >&3; kill -INT $PPID; exec sleep 1000\n")
    decoder.chmod(0o755)
    os.mkfifo(tmp_path / "running")
    running = os.open(tmp_path / "running", os.O_RDONLY | os.O_NONBLOCK)
    try:
        environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        subprocess.run([sys.executable, "-c", _INTERRUPTED], cwd=tmp_path, env=environ, check=True)
        poll = select.poll()
        poll.register(running, 0)  # only the end of the last writer
        is_over = bool(poll.poll(PATIENCE * 1000))
        for process in () if is_over else os.read(running, 1000).split():
            with suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        assert is_over
    finally:
        os.close(running)
