"""A private sound server for tests: PulseAudio or PipeWire, with a recorded speaker, and a
microphone that captures what is played into it. To start one that cannot run here skips the test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from time import monotonic
from typing import Literal

import pytest

from rtchat.audio.pcm import RATE
from tests.program import PATIENCE
from tests.sounds import silence, write_wav

_DAEMON = (
    *("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disallow-exit"),
    *("--use-pid-file=no", "--log-target=stderr", "--log-level=info", "--realtime=no"),
)
_SCRIPT = """
load-module module-null-sink sink_name=speaker rate=48000 channels=1
load-module module-null-sink sink_name=mic rate=48000 channels=1
load-module module-native-protocol-unix auth-anonymous=1 socket={socket}
set-default-sink speaker
set-default-source mic.monitor
"""
_ALSA = """
pcm.pulse { type pulse }
ctl.pulse { type pulse }
pcm.!default { type pulse }
ctl.!default { type pulse }
"""
_READY = b"Daemon startup complete"
_PIPEWIRE = """
context.exec = [ { path = "wireplumber" } { path = "pipewire-pulse" } ]
"""
_PIPEWIRE_PULSE = """
pulse.cmd = [
    { cmd = "load-module" args = "module-null-sink sink_name=speaker rate=48000 channels=1" }
    { cmd = "load-module" args = "module-null-sink sink_name=mic rate=48000 channels=1" }
]
"""
_DEFAULTS = (("set-default-sink", "speaker"), ("set-default-source", "mic.monitor"))


# ---------------------------------------------------------------------------------------- a server


def reason_to_skip() -> str:
    """Why a sound server cannot be used here; empty if it can."""
    for tool in ("pulseaudio", "parec", "paplay"):
        if which(tool) is None:
            return f"{tool} is not installed"
    if find_library("portaudio") is None:
        return "PortAudio is not installed (libportaudio2)"
    if not any(Path("/usr").glob("lib*/**/alsa-lib/libasound_module_pcm_pulse.so")):
        return "the ALSA plug-in for pulseaudio is not installed (libasound2-plugins)"
    if find_spec("sounddevice") is None:
        return "the package sounddevice is not installed"
    return ""


def _reason_to_skip_pipewire() -> str:
    """Why PipeWire cannot be used here; empty if it can."""
    for tool in ("pipewire", "pipewire-pulse", "wireplumber", "dbus-run-session"):
        if which(tool) is None:
            return f"{tool} is not installed"
    return reason_to_skip()


def _real_time() -> tuple[str, ...]:
    """The beginning of a command that runs at real-time priority, as sound servers do, if that is
    allowed. Otherwise other tests delay the sound, which no room does."""
    command = ("chrt", "--rr", "5")
    allowed = (
        which("chrt") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    )
    return command if allowed else ()


class Recording:
    """The audio of a sink since the recording started: PCM16, mono, 24 kHz."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._changed = threading.Condition()
        self._audio = bytearray()
        self.arrivals: list[tuple[float, int]] = []
        """Pairs of the monotonic time and the number of bytes received by then."""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := os.read(self._process.stdout.fileno(), 4096):
            with self._changed:
                self._audio += data
                self.arrivals.append((monotonic(), len(self._audio)))
                self._changed.notify_all()

    @property
    def audio(self) -> bytes:
        with self._changed:
            return bytes(self._audio)

    def waits(self, until: Callable[[bytes], bool]) -> bytes:
        """Wait until the condition holds for the audio. Returns all of it."""
        with self._changed:
            assert self._changed.wait_for(lambda: until(bytes(self._audio)), PATIENCE)
            return bytes(self._audio)

    def when(self, sample: int) -> float:
        """The monotonic time at which a sample had been received."""
        return next(moment for moment, size in self.arrivals if size > 2 * sample)

    def join(self) -> None:
        """Wait for the end of the audio."""
        self._thread.join(PATIENCE)


class SoundServer:
    """A running pulseaudio. `environ` is the complete environment for programs that use it."""

    def __init__(self, process: subprocess.Popen[bytes], environ: dict[str, str]) -> None:
        self.environ = environ
        self.process = process

    @contextmanager
    def play(self, wav: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Play a WAV file into the microphone. The block ends when it has been played."""
        command = ["paplay", "--device=mic", str(wav)]
        with subprocess.Popen(command, env=self.environ) as player:
            try:
                yield player
                player.wait(PATIENCE)
            finally:
                player.kill()

    def says(self, audio: bytes, folder: Path) -> None:
        """Play audio and a second of silence into the microphone."""
        with self.play(write_wav(folder / "said.wav", audio + silence(1.0))):
            pass

    @contextmanager
    def record(self, sink: Literal["speaker", "mic"] = "speaker") -> Iterator[Recording]:
        """Record the speaker or the microphone from now on."""
        with self._recording(sink) as recording:
            recording.waits(bool)
            yield recording

    @contextmanager
    def listened_to(self) -> Iterator[None]:
        """Record both sinks. Without a low-latency reader, a null sink runs up to two seconds
        ahead of the clock."""
        with self._recording("speaker") as speaker, self._recording("mic") as mic:
            speaker.waits(bool)
            mic.waits(bool)
            yield

    @contextmanager
    def _recording(self, sink: str) -> Iterator[Recording]:
        command = ["parec", f"--device={sink}.monitor", "--raw", "--latency-msec=10"]
        command += [f"--rate={RATE}", "--channels=1", "--format=s16le"]
        with subprocess.Popen(command, env=self.environ, stdout=subprocess.PIPE) as process:
            recording = Recording(process)
            try:
                yield recording
            finally:
                process.kill()
                recording.join()

    @contextmanager
    def headset(self) -> Iterator[None]:
        """Connect a headset: a sink and a source whose names contain "Headset"."""
        options = ("sink_name=headset", "sink_properties=device.description=Headset")
        module = self.pactl("load-module", "module-null-sink", *options)
        try:
            yield
        finally:
            self.pactl("unload-module", module)

    def pactl(self, *arguments: str) -> str:
        """Run pactl; returns its output."""
        command = ["pactl", *arguments]
        ran = subprocess.run(command, env=self.environ, stdout=subprocess.PIPE, check=True)
        return ran.stdout.decode().strip()

    def does(self, *arguments: str) -> bool:
        """Run pactl; returns whether it succeeded."""
        command = ["pactl", *arguments]
        return subprocess.run(command, env=self.environ, capture_output=True).returncode == 0

    def captured(self) -> list[str]:
        """The sources that programs capture from, except the recordings of this class. Without
        streams that come, go or move at this moment."""
        sources = {line.split()[0]: line.split()[1] for line in self._short("sources")}
        clients = {line.split()[0]: line for line in self._short("clients")}
        streams = [line.split("\t") for line in self._short("source-outputs")]
        return [
            sources[source]
            for _, source, client, *_ in streams
            if source in sources and client in clients and "pacat" not in clients[client]
        ]

    def _short(self, what: str) -> list[str]:
        return self.pactl("list", "short", what).splitlines()

    def captures(self, *sources: str) -> None:
        """Wait until programs capture from these sources."""
        until = monotonic() + PATIENCE
        while (now := self.captured()) != list(sources):
            assert monotonic() < until, f"captured: {now}"

    @contextmanager
    def room(self, db: float, delay_ms: int) -> Iterator[None]:
        """The microphone captures the speaker, that many decibels louder, and later by the delay
        and the few milliseconds that it takes."""
        options = ("source=speaker.monitor", "sink=mic", f"latency_msec={delay_ms}")
        module = self.pactl("load-module", "module-loopback", *options)
        streams = [line.split("\t") for line in self._short("sink-inputs")]
        (loop,) = (stream for stream, _, _, by, *_ in streams if by == "module-loopback.c")
        self.pactl("set-sink-input-volume", loop, f"{db}dB")
        try:
            yield
        finally:
            self.pactl("unload-module", module)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """The server does not answer for the duration of the block."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)

    def dies(self) -> None:
        """Kill the server, like a crash."""
        _kill(self.process)
        self.process.wait(PATIENCE)


@contextmanager
def sound_server() -> Iterator[SoundServer]:
    """Run PulseAudio in its own temporary folder for the duration of the block."""
    if reason := reason_to_skip():
        pytest.skip(reason)
    with ExitStack() as stack:
        folder, private = stack.enter_context(_folder())
        (folder / "default.pa").write_text(_SCRIPT.format(socket=f"{folder}/socket"))
        process = stack.enter_context(_pulseaudio(folder, private))
        server = SoundServer(process, private | _found(folder, "socket"))
        stack.enter_context(server.listened_to())
        yield server


@contextmanager
def started_again(server: SoundServer) -> Iterator[None]:
    """Run a PulseAudio again that was killed, for the duration of the block."""
    folder = Path(server.environ["HOME"])
    (folder / "socket").unlink(missing_ok=True)
    with _pulseaudio(folder, server.environ), server.listened_to():
        yield


@contextmanager
def _pulseaudio(folder: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [*_DAEMON, f"--file={folder}/default.pa"]
    with _started(command, environ, subprocess.PIPE) as process:
        said = _Log(process)
        try:
            assert said.ready.wait(PATIENCE), b"".join(said.lines).decode()
            yield process
        finally:
            said.end()


@contextmanager
def pipewire() -> Iterator[SoundServer]:
    """Run PipeWire in its own temporary folder for the duration of the block."""
    if reason := _reason_to_skip_pipewire():
        pytest.skip(reason)
    with ExitStack() as stack:
        folder, private = stack.enter_context(_folder())
        for program, text in {"pipewire": _PIPEWIRE, "pipewire-pulse": _PIPEWIRE_PULSE}.items():
            fragments = folder / ".config" / "pipewire" / f"{program}.conf.d"
            fragments.mkdir(parents=True)
            (fragments / "test.conf").write_text(text, encoding="utf-8")
        command = ["dbus-run-session", "--", "pipewire"]
        process = stack.enter_context(_started(command, private, subprocess.DEVNULL))
        server = SoundServer(process, private | _found(folder, "pulse/native"))
        until = monotonic() + PATIENCE
        for default in _DEFAULTS:
            while not server.does(*default):
                assert process.poll() is None, "PipeWire has ended"
                assert monotonic() < until, "PipeWire does not start"
        stack.enter_context(server.listened_to())
        yield server


@contextmanager
def _folder() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder for a server and the environment that it runs in."""
    # Socket paths must be short, so pytest's folders cannot be used.
    with tempfile.TemporaryDirectory(prefix="rtchat-", ignore_cleanup_errors=True) as name:
        (Path(name) / "asound.conf").write_text(_ALSA, encoding="utf-8")
        yield Path(name), {"PATH": os.environ["PATH"], "HOME": name, "XDG_RUNTIME_DIR": name}


def _found(folder: Path, socket: str) -> dict[str, str]:
    """The variables by which programs find the server."""
    return {
        "PULSE_SERVER": f"unix:{folder}/{socket}",
        "ALSA_CONFIG_PATH": f"{folder}/asound.conf",
    }


@contextmanager
def _started(
    command: list[str], environ: dict[str, str], stderr: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for the duration of the block."""
    with subprocess.Popen(
        [*_real_time(), *command],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        cwd=environ["HOME"],
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a server and the processes that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


class _Log:
    """Reads the server's log, so that its pipe does not fill up. `ready` is also set at its end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.lines: list[bytes] = []
        self.ready = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)
            if _READY in line:
                self.ready.set()
        self.ready.set()

    def end(self) -> None:
        self._process.kill()
        self._thread.join(PATIENCE)
