"""The examples of the CommonMark and the GFM specification, from packages that contain them."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import npm, pypi

_EXAMPLE = re.compile(r"^`{32} example[^\n]*\n(.*?)^\.\n(.*?)^`{32}$", re.DOTALL | re.MULTILINE)

Examples = list[tuple[str, str]]
"""The Markdown and the HTML of each example. The first is number 1."""


def commonmark(folder: Path) -> Examples:
    """The examples of CommonMark 0.31.2."""
    modules = npm.installed(folder, "commonmark-spec@0.31.2")
    return _read(modules / "commonmark-spec" / "spec.txt")


def gfm(folder: Path) -> Examples:
    """The examples of GFM 0.29, which is CommonMark 0.29 with extensions. They are among the tests
    of a package, which only its source distribution contains. uv unpacks it into its cache."""
    if find_spec("uv") is None:
        pytest.skip("the examples need uv, which is not installed")
    command = [sys.executable, "-m", "uv", "--quiet", "--cache-dir", str(folder / "cache")]
    install = ["pip", "install", "--target", str(folder / "package"), "--no-deps"]
    try:
        subprocess.run(
            [*command, *install, "--no-binary", "marko", "marko==2.2.4"],
            check=True,
            capture_output=True,
            timeout=pypi.PATIENCE,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the examples cannot be downloaded: {error}")
    (file,) = folder.glob("cache/**/tests/spec/gfm.txt")
    return _read(file)


def _read(file: Path) -> Examples:
    found = _EXAMPLE.findall(file.read_text())
    return [(text.replace("→", "\t"), html.replace("→", "\t")) for text, html in found]
