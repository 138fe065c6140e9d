"""Ctrl-C while the decoder hangs."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
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
