"""Sound both ways at real time: `python tests/bench/duplex.py [SECONDS]`, 600 unless given.

A sound server of its own stands for the machine's: speech goes into its microphone every six
seconds, `talk --voice` sends it to a scripted server, and what its speaker gives is recorded. First
some replies are interrupted: how long until it is silent, and how far is what the server was told
from what was heard? Then the long run: neither memory nor the delay of a reply may grow, and on an
idle machine nothing is lost.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.sounds import silence, tone, utterances, write_wav
from tests.soundserver import SoundServer, reason_to_skip, sound_server

RATE = 24_000
PERIOD = 6.0
"""Seconds from one question to the next."""
ANSWER = "A reply that takes some four seconds and a half to be hummed to its end."
STORY = "Once upon a time there was a terminal. " * 20
CUTS = 5


def tell(line: str) -> None:
    """Print it, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def script(folder: Path, heard: Sequence[str]) -> Path:
    """A script in which a story is told when one is asked for."""
    path = folder / "script.toml"
    path.write_text(
        f"heard = {json.dumps(list(heard))}\n"
        f'[[rule]]\nmatch = "story"\ntext = {json.dumps(STORY)}\n'
        f"[[rule]]\ntext = {json.dumps(ANSWER)}\n",
        encoding="utf-8",
    )
    return path


@contextmanager
def started(
    *arguments: str, environ: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The program, until the end."""
    command = [sys.executable, "-m", "rtchat", *arguments]
    with subprocess.Popen(
        command,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def talking(
    sound: SoundServer, folder: Path, heard: Sequence[str]
) -> Iterator[tuple[subprocess.Popen[str], subprocess.Popen[str]]]:
    """A server, and a conversation with it that listens."""
    serve = ("serve", "--port", "0", "--engine", f"script:{script(folder, heard)}")
    with started(*serve) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        options = ("--voice", "-v", "--no-history", "--trace", str(folder / "trace.jsonl"))
        environ = {**sound.environ, "HOME": str(folder), "RTCHAT_URL": url}
        with started("talk", *options, environ=environ) as talk:
            assert talk.stdout is not None
            while "connected in" not in talk.stdout.readline():
                pass
            yield server, talk


def leave(process: subprocess.Popen[str]) -> str:
    """End the conversation; what it says of lost audio."""
    process.terminate()
    said = process.communicate(timeout=30)[0]
    found = re.search(r"audio: .*", said)
    return found[0] if found else f"it said nothing of lost audio: {said[-300:]}"


def interruptions(sound: SoundServer, folder: Path) -> None:
    """Each cut is a conversation of its own."""
    took: list[float] = []
    errors: list[float] = []
    for _ in range(CUTS):
        with (
            sound.record("mic") as microphone,
            sound.record() as speaker,
            talking(sound, folder, ["A story, please.", "Stop."]) as (_, talk),
        ):
            sound.says(tone(440, 1.0), folder)
            speaker.waits(lambda audio: any(b - a > RATE for a, b in utterances(audio)))
            sound.says(tone(880, 0.5), folder)
            leave(talk)
            story = utterances(speaker.audio)[0]
            onset = utterances(microphone.audio)[1][0]
            took.append(speaker.when(story[1]) - microphone.when(onset))
            lines = (folder / "trace.jsonl").read_text(encoding="utf-8").splitlines()[1:]
            told = next(
                event["data"]["audio_end_ms"]
                for event in map(json.loads, lines)
                if event.get("data", {}).get("type") == "conversation.item.truncate"
            )
            errors.append(told - (story[1] - story[0]) * 1000 / RATE)
    shown = ", ".join(f"{seconds * 1000:.0f}" for seconds in sorted(took))
    tell(f"barge-in, from the first sound of speech to silence: {shown} ms (goal 100)")
    furthest = f"{min(errors):+.0f} to {max(errors):+.0f} ms"
    tell(f"what the server was told was heard, less what was: {furthest}")


def memory(process: subprocess.Popen[str]) -> float:
    """Resident, in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def processor(process: subprocess.Popen[str]) -> float:
    """Seconds of it that were used."""
    fields = (
        Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    )
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def long_run(sound: SoundServer, folder: Path, seconds: float) -> None:
    """Questions at a steady pace, at least one."""
    turns = max(1, int(seconds / PERIOD))
    seconds = turns * PERIOD
    turn = tone(440, 1.0) + silence(PERIOD - 1.0)
    with (
        sound.record("mic") as microphone,
        sound.record() as speaker,
        talking(sound, folder, ["Go on."] * turns) as (server, talk),
    ):
        wav = write_wav(folder / "long.wav", turn * turns)
        sizes: list[tuple[float, float]] = []
        with sound.play(wav) as player:
            while player.poll() is None:
                Event().wait(min(10.0, seconds / 20))
                sizes.append((memory(talk), memory(server)))
        used = processor(talk), processor(server)
        lost = leave(talk)
        asked, heard = utterances(microphone.audio), utterances(speaker.audio)
        delays = [
            speaker.when(reply[0]) - microphone.when(question[1])
            for question, reply in zip(asked, heard, strict=False)
        ]
    early, late = sizes[len(sizes) // 10], sizes[-1]
    tenth = max(1, len(delays) // 10)
    tell(f"{seconds:.0f} s, {len(asked)} questions, {len(heard)} replies heard")
    for name, place in (("client", 0), ("server", 1)):
        tell(
            f"{name}: {early[place]:.1f} MB after a tenth, {late[place]:.1f} MB at the end;"
            f" {100 * used[place] / seconds:.1f} % of a core"
        )
    tell(
        "from the end of a question to its reply:"
        f" first tenth {statistics.median(delays[:tenth]):.2f} s,"
        f" last tenth {statistics.median(delays[-tenth:]):.2f} s, worst {max(delays):.2f} s"
    )
    tell(lost)


def main() -> None:
    """Print the figures."""
    if reason := reason_to_skip():
        sys.exit(reason)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    with tempfile.TemporaryDirectory() as folder, sound_server() as sound:
        tell(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        interruptions(sound, Path(folder))
        long_run(sound, Path(folder), seconds)
        tell(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
