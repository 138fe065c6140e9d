"""Installs programs from npm when a test needs them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PATIENCE = 120
"""Seconds that the installation may take."""


def installed(folder: Path, *packages: str) -> Path:
    """Install packages into a folder; where they are. Skips the tests if that cannot be done."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"{packages[0]} needs npm, which is not installed")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]
    try:
        subprocess.run(
            [*command, folder, *packages],
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {packages[0]} within {PATIENCE} s")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"npm cannot install {packages[0]}: {error.stderr.strip()[-300:]}")
    return folder / "node_modules"


def node() -> str:
    """The program that runs them."""
    found = shutil.which("node")
    assert found is not None, "npm is installed without node"
    return found
