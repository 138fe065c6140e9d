"""The `rtchat` command. It prints the version itself, because importing the command line takes
longer."""

import gc
import os
import sys


def main() -> int:
    """Run the command line; returns the exit code."""
    if sys.argv[1:] == ["--version"] and _print_version():
        return 0
    import signal

    # Importing creates up to 120,000 objects and no garbage; a collection takes up to 15 ms.
    gc.set_threshold(150_000)
    try:
        from rtchat.cli import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before anything could handle it
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exit itself is quick
    gc.freeze()  # or the interpreter's last collection would take 15 ms
    ffmpeg = sys.modules.get("rtchat.audio.ffmpeg")
    if ffmpeg is not None:
        ffmpeg.kill_all()
    worker = sys.modules.get("rtchat.system.worker")
    if worker is not None and worker.is_any_busy():
        os._exit(code)  # all output is written; do not wait for a disk or a model
    return code


def _print_version() -> bool:
    """Print the version, if stdout can be written. If not, the command line says so."""
    from rtchat._version import __version__

    try:
        if sys.stdout is not None:
            sys.stdout.write(f"rtchat {__version__}\n")
            sys.stdout.flush()
            return True
    except OSError:
        pass
    return False


if __name__ == "__main__":
    sys.exit(main())
