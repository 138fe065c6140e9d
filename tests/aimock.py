"""A Realtime server that we did not write: aimock, from npm, scripted and started on a free port.

Not here: any test. It keeps to the GA protocol roughly; where it does not, the tests say so.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGE = "@copilotkit/aimock@1.43.0"
PATIENCE = 60
"""Seconds that the installation may take."""


def installed(folder: Path) -> Path:
    """Install the server into a folder; the program. Skips the tests if that cannot be done."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, which brings aimock")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]
    try:
        subprocess.run(
            [*command, folder, PACKAGE],
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not bring {PACKAGE} within {PATIENCE} s")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"npm cannot bring {PACKAGE}: {error.stderr.strip()[-300:]}")
    return folder / "node_modules" / ".bin" / "llmock"


@contextmanager
def running(program: Path, fixtures: list[object], folder: Path, key: str) -> Iterator[str]:
    """Serve these fixtures to clients with this key, while the block runs; gives the URL."""
    script = folder / "fixtures.json"
    script.write_text(json.dumps({"fixtures": fixtures}))
    node = shutil.which("node")
    assert node is not None, "npm is installed without node"
    with subprocess.Popen(
        [node, program, "--port", "0", "--fixtures", script, "--validate-on-load"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"AIMOCK_API_KEYS": key},
    ) as process:
        assert process.stdout is not None
        try:
            said = ""
            for line in process.stdout:
                said += line
                if found := re.search(r"listening on http://(\S+)", line):
                    yield f"ws://{found[1]}/v1/realtime"
                    return
            pytest.fail(f"aimock did not start: {said}")
        finally:
            process.terminate()
