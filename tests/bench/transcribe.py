"""Long recordings in one session and in pieces: `python tests/bench/transcribe.py [--hour]`.

A server on loopback takes two seconds for a minute of audio, in each session, and allows 1, 2 or 4
sessions at once. Wall time and peak memory of the program for a recording of 10 or 60 minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))  # run as a script, it is in nobody's package

from tests.faulty import sockets
from tests.marked_audio import MarkServer, expected, write_recording
from tests.program import background

SECONDS_A_MINUTE = 2.0
SESSIONS = (1, 2, 4)


def measure(
    recording: Path, seconds: int, sessions: int, *, in_pieces: bool
) -> tuple[float, float]:
    """The wall time in seconds and the peak memory in MB if the server allows so many sessions."""
    server = MarkServer(sessions=sessions, delay=SECONDS_A_MINUTE)
    with (
        background(lambda: sockets(server.talk)) as url,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryDirectory() as home,
    ):
        command = [sys.executable, "-m", "rtchat", "transcribe", str(recording), "--url", url]
        if not in_pieces:
            command += ["--trace", f"{home}/trace.jsonl"]
        environ = {"PATH": os.environ["PATH"], "HOME": home}
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env=environ)
        peak = 0.0
        while process.poll() is None:  # the usage that the system reports includes this process
            with suppress(OSError, IndexError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = float(status.split("VmHWM:")[1].split()[0]) / 1000
            time.sleep(0.05)
        wall = time.perf_counter() - began
        out.seek(0)
        assert out.read().decode().split() == expected(seconds)
    return wall, peak


def main() -> None:
    """Measure, and print a table."""
    seconds = 3600 if "--hour" in sys.argv else 600
    sys.stdout.write(f"{'':<24}{'seconds':>10}{'speed':>8}{'MB':>8}\n")
    with tempfile.TemporaryDirectory() as folder:
        recording = write_recording(Path(folder) / "a.wav", seconds)
        rows = [("one session (--trace)", 1, False)]
        rows += [(f"pieces, {each} at once", each, True) for each in SESSIONS]
        for name, sessions, in_pieces in rows:
            wall, memory = measure(recording, seconds, sessions, in_pieces=in_pieces)
            speed = f"{seconds / wall:.0f}x"
            sys.stdout.write(f"{name:<24}{wall:>10.1f}{speed:>8}{memory:>8.0f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
