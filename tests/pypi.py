"""Installs Python programs from PyPI, each in its own environment, when a test needs them."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PATIENCE = 120
"""Seconds that an installation may take."""


def installed(folder: Path, *packages: str, without_dependencies: str = "") -> Path:
    """Install packages into a new virtual environment in a folder. Returns its Python. Skips the
    test if that cannot be done. `without_dependencies`: one more package, of which nothing else is
    installed."""
    if find_spec("uv") is None:
        pytest.skip(f"{packages[0]} needs uv, which is not installed")
    environment = folder / "venv"
    python = environment / "bin" / "python"
    _run(packages[0], "venv", "--python", sys.executable, str(environment))
    install = ("pip", "install", "--python", str(python))
    _run(packages[0], *install, *packages)
    if without_dependencies:
        _run(without_dependencies, *install, "--no-deps", without_dependencies)
    return python


def _run(package: str, *arguments: str) -> None:
    try:
        subprocess.run(
            [sys.executable, "-m", "uv", "--quiet", *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"uv did not install {package} within {PATIENCE} s")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"uv cannot install {package}: {error.stderr.strip()[-300:]}")
