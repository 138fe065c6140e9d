"""Audio devices of a private sound server: playback is recorded, and the microphone captures played
audio.

Skipped if no sound server can be used. Misbehaving devices are tested in `test_devices`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from rtchat.audio.pcm import RATE
from rtchat.audio.wav import WavWriter
from tests.program import PATIENCE
from tests.sounds import SECOND, frequency, tone, without_silence, write_wav
from tests.soundserver import Recording, SoundServer, sound_server

pytestmark = pytest.mark.full

PROGRAM = """
import asyncio, json, sys, time
from pathlib import Path
from rtchat.audio.files import read
from rtchat.audio.device_list import find, list_devices
from rtchat.audio.devices import Microphone, Speaker

def say(**what):
    print(json.dumps(what), flush=True)

async def main(wav):
    loop = asyncio.get_running_loop()
    lost = lambda problem: say(lost=problem.message)
    lost_speaker = lambda event: lost(event.problem)
    nothing = lambda audio: None
    with (
        Speaker(find("pulse", "output"), on_lost=lost_speaker, loop=loop) as speaker,
        Microphone(find(None, "input"), nothing, on_lost=lost, loop=loop),
    ):
        audio = read(Path(wav))
        for start in range(0, len(audio), 9600):
            speaker.play("item", 0, audio[start : start + 9600])
        speaker.end("item")
        say(devices=[device.name for device in list_devices()])
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if line == "stop\\n":
                say(at=time.monotonic(), cut=speaker.stop().played_ms)
            else:
                say(playing=speaker.playing)

asyncio.run(main(sys.argv[1]))
"""
LISTEN = """
import asyncio, os, sys
from rtchat.audio.device_list import find
from rtchat.audio.devices import Microphone

async def main():
    loop = asyncio.get_running_loop()
    hand_on = lambda audio: os.write(1, audio)
    with Microphone(find("default", "input"), hand_on, on_lost=print, loop=loop):
        await loop.run_in_executor(None, sys.stdin.readline)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def server() -> Iterator[SoundServer]:
    with sound_server() as server:
        yield server


@contextmanager
def running(
    server: SoundServer, program: str, *arguments: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that must exit without errors when its stdin is closed."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        env=server.environ,
    ) as child:
        try:
            yield child
            assert child.stdin is not None
            assert child.stderr is not None
            child.stdin.close()
            assert child.wait(PATIENCE) == 0
            assert child.stderr.read() == b""
        finally:
            child.kill()


def send_command(child: subprocess.Popen[bytes], what: str) -> dict[str, Any]:
    assert child.stdin is not None
    child.stdin.write(f"{what}\n".encode())
    child.stdin.flush()
    return read_json(child.stdout)


def read_json(file: IO[bytes] | None) -> dict[str, Any]:
    assert file is not None
    answer = json.loads(file.readline())
    assert isinstance(answer, dict)
    return answer


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """Three seconds of a tone."""
    path = tmp_path / "tone.wav"
    with WavWriter(path) as writer:
        writer.write(tone(440, 3))
    return path


def is_over(audio: bytes) -> bool:
    """Whether there was sound, followed by half a second of silence."""
    return any(audio) and not any(audio[-RATE:])


def is_whole(audio: bytes) -> bool:
    """Whether the complete tone was played, ignoring gaps made by a busy machine."""
    return is_over(audio) and len(without_silence(audio)) > 2.8 * SECOND


def test_played_audio_reaches_the_device(server: SoundServer, wav: Path) -> None:
    with server.record() as recording, running(server, PROGRAM, str(wav)) as child:
        assert {"pulse", "default"} <= set(read_json(child.stdout)["devices"])
        recording.waits(lambda _: not send_command(child, "")["playing"])
        audio = without_silence(recording.waits(is_whole))
    assert len(audio) / SECOND == pytest.approx(3, abs=0.2)
    assert frequency(audio) == pytest.approx(440, rel=0.02)


def test_stop_silences_the_device(server: SoundServer, wav: Path) -> None:
    write_wav(wav, tone(440, 3) * 10)
    with server.record() as recording, running(server, PROGRAM, str(wav)) as child:
        read_json(child.stdout)
        recording.waits(lambda audio: len(audio) > RATE and any(audio[-RATE : -RATE + 100]))
        stopped = send_command(child, "stop")
        audio = recording.waits(is_over)
    played = len(without_silence(audio)) / SECOND
    end = len(audio.rstrip(b"\0"))
    silent = next(moment for moment, size in recording.arrivals if size >= end) - stopped["at"]
    figures = f"silent {silent * 1000:.0f} ms after stop(), which said {stopped['cut']} ms"
    print(figures, f"of {played * 1000:.0f} ms")  # noqa: T201 # pytest -s shows them
    assert 0.3 < played < 28
    assert stopped["cut"] / 1000 == pytest.approx(played, abs=0.2)


def test_a_microphone_captures_audio(server: SoundServer, wav: Path) -> None:
    with running(server, LISTEN) as child:
        recording = Recording(child)
        recording.waits(bool)
        with server.play(wav):
            audio = without_silence(recording.waits(is_whole))
        assert child.stdin is not None
        child.stdin.close()
        recording.join()
    assert len(audio) / SECOND == pytest.approx(3, abs=0.2)
    assert frequency(audio) == pytest.approx(440, rel=0.02)


def test_a_crashed_sound_server_is_reported_once(wav: Path) -> None:
    with (
        sound_server() as server,
        server.record() as recording,
        running(server, PROGRAM, str(wav)) as child,
    ):
        read_json(child.stdout)
        recording.waits(any)
        server.dies()
        lost = {read_json(child.stdout)["lost"], read_json(child.stdout)["lost"]}
        assert lost == {"lost the speaker pulse", "lost the microphone Monitor of Null Output"}
        assert send_command(child, "")["playing"] is False
