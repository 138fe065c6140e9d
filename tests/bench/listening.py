"""The CPU time of a voice conversation in each state: `python tests/bench/listening.py [SECONDS]`,
8 a state unless given.

`talk --voice` runs at a terminal with a private sound server and a scripted server, both in other
processes. A figure is the program's CPU time in percent of a core. With `--local`, where that is
installed, the program contains the server and the models.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from rtchat.core.microphone import CLOSE_DELAY
from rtchat.server import model_files
from rtchat.server.local_voice import missing
from tests.bench.duplex import script, started, tell
from tests.program import Program
from tests.sounds import tone, write_wav
from tests.soundserver import SoundServer, reason_to_skip, sound_server
from tests.terminal import PROMPT, Terminal

CTRL_T = "\x14"


def cpu_seconds(process: int) -> float:
    """The CPU time of a process so far, which is exact, unlike that of `times`."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def measure(name: str, terminal: Terminal, seconds: float) -> None:
    """Measure the program's CPU time from now on."""
    before, since = cpu_seconds(terminal.process.pid), time.monotonic()
    terminal.reads_for(seconds)
    spent = cpu_seconds(terminal.process.pid) - before
    tell(f"{name:<24} {100 * spent / (time.monotonic() - since):5.2f} %")


def measure_muted(name: str, terminal: Terminal, seconds: float) -> None:
    """Mute the microphone, and measure once its device is closed."""
    terminal.types(CTRL_T)
    terminal.shows("muted")
    terminal.reads_for(CLOSE_DELAY + 3)
    measure(name, terminal, seconds)


@contextmanager
def talking(program: Program, sound: SoundServer, *options: str) -> Iterator[Terminal]:
    terminal = Terminal(program, ["--no-history", *options], sound.environ)
    try:
        terminal.shows("connected", PROMPT)
        terminal.reads_for(3)  # what is loaded meanwhile
        yield terminal
    finally:
        terminal.types("\x15\x04")
        terminal.ends()


def main() -> None:
    if reason := reason_to_skip():
        sys.exit(reason)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 8.0
    with tempfile.TemporaryDirectory() as folder, sound_server() as sound:
        home = Path(folder)
        second = b"".join(tone(440, 0.1, loud=10 ** (-(3 * step % 7) / 4)) for step in range(10))
        speech = write_wav(home / "speech.wav", second * (round(seconds) + 10))
        serve = ("serve", "--port", "0", "--engine", f"script:{script(home, ['A story.'])}")
        with started(*serve) as server:
            assert server.stdout is not None
            program = Program(home)
            program.environ["RTCHAT_URL"] = server.stdout.readline().strip()
            with talking(program, sound) as terminal:
                measure("text, idle", terminal, seconds)
            with talking(program, sound, "--voice", "--no-aec") as terminal:
                terminal.shows("● listening")
                measure("listening, --no-aec", terminal, seconds)
            with talking(program, sound, "--voice") as terminal:
                terminal.shows("● listening")
                measure("listening, silence", terminal, seconds)
                with sound.play(speech) as player:
                    terminal.reads_for(1)
                    measure("listening, speech", terminal, seconds)
                    player.kill()
                terminal.shows("upon a time")
                measure("playing", terminal, seconds)
                terminal.types("\x1b")
                terminal.reads_for(1)
                measure_muted("muted", terminal, seconds)
            with talking(program, sound, "--voice", "--vad", "off") as terminal:
                measure("--vad off, not speaking", terminal, seconds)
        data_home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
        if missing() or model_files.find(data_home / "rtchat") is None:
            return
        del program.environ["RTCHAT_URL"]
        program.environ["XDG_DATA_HOME"] = str(data_home)
        with talking(program, sound, "--local", "--voice") as terminal:
            terminal.shows("● listening")
            measure("--local, silence", terminal, seconds)
            measure_muted("--local, muted", terminal, seconds)


if __name__ == "__main__":
    main()
