"""Runs of the program that start fast: each is a fork of a process that has imported it.

To import the program takes most of a short run's time. `python tests/forking.py SOCKET` is the
process that imports it once; `Forked` has it fork for a run. A run is a process of its own in all
that matters to a test: its streams, environment, folder, signals and exit code. So is a run of a
module of the tests.
"""

from __future__ import annotations

import array
import atexit
import faulthandler
import fcntl
import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from pkgutil import iter_modules
from types import FunctionType
from typing import Any, NamedTuple

AT_START = ("PYTHON", "LANG", "LC_", "LD_", "TYPER_", "COVERAGE", "WEBSOCKETS_")
"""What variables begin with that matter while Python starts or imports the program."""
STARTED_WITH = {"LANG": "C.UTF-8", "PYTHONWARNINGS": "error"} | {
    name: text for name, text in os.environ.items() if name.startswith("COVERAGE")
}
_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
"""Keeps numpy from starting threads, which a fork would not have."""
_ONE_AT_A_TIME = threading.Lock()
_FOLDERS = (
    *("app", "cli", "client", "config", "core", "history", "inputs", "markdown", "system"),
    *("tools", "trace", "ui", "wire"),
)
"""Whose modules a run may import."""
_MODULES = (
    *("rtchat.audio.decoding", "rtchat.audio.encoded_file", "rtchat.audio.files"),
    *("dotenv", "encodings.idna", "encodings.utf_16_be", "msgspec", "numpy", "platformdirs"),
    *("prompt_toolkit.key_binding.bindings.search", "prompt_toolkit.patch_stdout"),
    *("pygments.filters", "pygments.lexers.javascript", "pygments.lexers.python"),
    *("pygments.lexers.shell", "rich._unicode_data.unicode17-0-0", "rich.padding", "rich.panel"),
    *("soundfile", "soxr", "typer._click.decorators", "websockets.asyncio.client"),
)
"""What many runs import besides. Not the library of audio devices: it opens them when imported."""


# ------------------------------------------------------------------------------------- for a test


def is_possible(environ: Mapping[str, str]) -> bool:
    """Whether a run with this environment may be a fork: Python starts the same with it."""
    return {
        name: text for name, text in environ.items() if name.startswith(AT_START)
    } == STARTED_WITH


class Process(subprocess.Popen[bytes]):
    """A process that does not outlive a block that fails: nobody would wait for it in vain."""

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            if isinstance(rest[0], subprocess.TimeoutExpired):
                rest[0].add_note(self._state())
            self.kill()
        super().__exit__(kind, *rest)

    def _state(self) -> str:
        """What the process is doing, as far as the system and, in a fork, Python can say."""
        threads = sorted(Path(f"/proc/{self.pid}/task").glob("*"))
        lines = [_one_line(thread / name) for thread in threads for name in ("stat", "wchan")]
        self.send_signal(signal.SIGABRT)
        with suppress(subprocess.TimeoutExpired):
            self.wait(5)
        if self.stderr is not None and select.select([self.stderr], [], [], 0)[0]:
            lines.append(os.read(self.stderr.fileno(), 65_536).decode(errors="replace"))
        return "\n".join(lines)


def _one_line(path: Path) -> str:
    with suppress(OSError):
        return f"{path}: {path.read_text()}"
    return f"{path}: gone"


class Forked(Process):
    """A run of `python -m` with these arguments: rtchat or a module of the tests, and its own."""

    def _execute_child(
        self,
        args: list[str],
        executable: object,
        preexec_fn: FunctionType | None,
        close_fds: object,
        pass_fds: Collection[int],
        cwd: Path,
        env: Mapping[str, str],
        startupinfo: object,
        creationflags: object,
        shell: object,
        *streams_and_more: Any,
    ) -> None:
        streams = streams_and_more[:6]
        self._ended, end = os.pipe()
        given = (streams[0], streams[3], streams[5])
        descriptors = [n if fd == -1 else fd for n, fd in enumerate(given)]
        at_fork = None if preexec_fn is None else preexec_fn.__name__
        request = json.dumps([args, str(cwd), dict(env), at_fork, [*pass_fds]]).encode()
        sent = array.array("i", [*descriptors, end, *pass_fds])
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, sent)
        with _ONE_AT_A_TIME:
            server = _server()
            server.sendmsg([struct.pack("I", len(request))], [rights])
            server.sendall(request)
            (self.pid,) = struct.unpack("i", server.recv(4))
        os.close(end)
        self._close_pipe_fds(*streams)  # type: ignore[attr-defined]  # not in the type's stubs
        self._child_created = True

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if flags & os.WNOHANG and not select.select([self._ended], [], [], 0)[0]:
            return 0, 0
        data = os.read(self._ended, 4)
        os.close(self._ended)
        # The process that forks reports how each run ended, unless it is terminated itself.
        return self.pid, struct.unpack("i", data)[0] if data else signal.SIGKILL

    def _internal_poll(self, _deadstate: int | None = None, **_: object) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]  # not in the stubs
        return self.returncode


def leave_session() -> None:
    """In a new process: have no terminal."""
    os.setsid()


def take_terminal() -> None:
    """In a new process: have the terminal at stdin for itself."""
    leave_session()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


_AT_FORK = {function.__name__: function for function in (leave_session, take_terminal)}
"""What may be a `preexec_fn`."""


@cache
def _server() -> socket.socket:
    """The connection to the process that forks; both end when this process does."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forking", str(theirs.fileno())],
            cwd=Path(__file__).parents[1],
            env={**STARTED_WITH, "PATH": os.environ["PATH"], "HOME": os.devnull, **_NO_THREADS},
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# --------------------------------------------------------------------------- the process that forks


def _serve(server: socket.socket) -> str:
    """Fork as often as asked. Returns in each fork, which has then become the run, the module to
    run."""
    waking, woken = socket.socketpair()
    for end in (waking, woken):
        end.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ends: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([server, waking], [], [])
        if waking in ready:
            waking.recv(4096)
            _report(ends)
        if server in ready:
            data, descriptors = _receive(server)
            if not data:
                os._exit(0)
            request = _Request(*json.loads(data))
            if request.module != "rtchat" and request.module not in sys.modules:
                import_module(request.module)  # and what it imports, for this run and the next
                gc.collect()
                gc.freeze()
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                server.detach()
                waking.detach()
                woken.detach()
                _become(request, descriptors[:3], descriptors[4:])
                return request.module
            ends[pid] = descriptors[3]
            for descriptor in descriptors[:3] + descriptors[4:]:
                os.close(descriptor)
            server.sendall(struct.pack("i", pid))


def _report(ends: dict[int, int]) -> None:
    """Tell of each run that has ended how it did."""
    while ends:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        end = ends.pop(pid)
        with suppress(BrokenPipeError):  # nobody waits for it
            os.write(end, struct.pack("i", status))
        os.close(end)


def _receive(server: socket.socket) -> tuple[bytes, list[int]]:
    size, rights, _, _ = server.recvmsg(4, socket.CMSG_SPACE(8 * 4))
    if not size:
        return b"", []
    (length,) = struct.unpack("I", size)
    descriptors = array.array("i")
    descriptors.frombytes(rights[0][2])
    data = b""
    while len(data) < length:  # a run that ends interrupts the wait for all at once
        data += server.recv(length - len(data))
    return data, descriptors.tolist()


class _Request(NamedTuple):
    """What a fork is asked for."""

    command: list[str]
    folder: str
    environ: dict[str, str]
    at_fork: str | None
    numbers: list[int]
    """Those of the descriptors that are passed besides the streams."""

    @property
    def module(self) -> str:
        return self.command[0]


def _become(request: _Request, streams: list[int], passed: list[int]) -> None:
    """Be as a Python that has just started with these."""
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, target)
    aside = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 512) for descriptor in passed]
    os.closerange(3, 512)
    for target, descriptor in zip(request.numbers, aside, strict=True):
        os.dup2(descriptor, target)
        os.close(descriptor)
    if request.at_fork is not None:
        _AT_FORK[request.at_fork]()
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environ)
    time.tzset()
    sys.path[0] = request.folder
    sys.argv = request.command
    faulthandler.enable(2)  # SIGABRT prints what each thread does
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.stdin = sys.__stdin__ = _opened(0, "r")  # type: ignore[misc]  # Python sets it likewise
    sys.stdout = sys.__stdout__ = _opened(1, "w")  # type: ignore[misc]  # Python sets it likewise
    sys.stderr = sys.__stderr__ = _opened(2, "w")  # type: ignore[misc]  # Python sets it likewise


def _exit(code: int) -> None:
    """Exit as Python does, but without releasing the imported modules: they share their memory with
    the process that imported them, and copying it takes longer than most runs."""
    threading._shutdown()  # type: ignore[attr-defined]  # not in the stubs
    atexit._run_exitfuncs()
    gc.collect()  # reports what was not closed
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except (OSError, ValueError):
        sys.exit(code)  # Python reports it
    os._exit(code)


def _opened(descriptor: int, mode: str) -> TextIOWrapper:
    is_errors = descriptor == 2
    buffer = open(descriptor, f"{mode}b", closefd=False)  # noqa: SIM115 - it stays open
    errors = "backslashreplace" if is_errors else "surrogateescape"
    is_line = is_errors or buffer.isatty()
    return TextIOWrapper(buffer, encoding="utf-8", errors=errors, line_buffering=is_line)


def _import() -> None:
    """What a run would import."""
    for folder in _FOLDERS:
        package = import_module(f"rtchat.{folder}")
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    for name in _MODULES:
        with suppress(ImportError):  # some come with extras
            import_module(name)


def _save_coverage() -> None:
    """Save what was measured during the import, which each run would otherwise save again."""
    if any(name.startswith("COVERAGE") for name in STARTED_WITH):
        coverage = import_module("coverage").Coverage.current()
        if coverage is not None:
            coverage.save()


if __name__ == "__main__":
    _import()
    main = import_module("rtchat.__main__").main
    _save_coverage()
    gc.collect()
    gc.freeze()
    module = _serve(socket.socket(fileno=int(sys.argv[1])))
    if module == "rtchat":
        _exit(main())
    del sys.modules[module]  # it was imported for what it imports
    runpy.run_module(module, run_name="__main__")
    _exit(0)
