"""Starts aimock, a third-party Realtime server from npm, with a script and on a free port.

It follows the GA protocol roughly; the tests say where it does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import npm
from tests.program import listening

PACKAGE = "@copilotkit/aimock@1.43.0"


def installed(folder: Path) -> Path:
    """Install the server into a folder; the program. Skips the tests if that cannot be done."""
    return npm.installed(folder, PACKAGE) / ".bin" / "llmock"


@contextmanager
def running(program: Path, fixtures: list[object], folder: Path, key: str) -> Iterator[str]:
    """Serve these fixtures to clients with this key, while the block runs; gives the URL."""
    script = folder / "fixtures.json"
    script.write_text(json.dumps({"fixtures": fixtures}))
    command: list[str | Path] = [
        npm.node(),
        program,
        "--port",
        "0",
        "--fixtures",
        script,
        "--validate-on-load",
    ]
    with listening(command, r"listening on http://(\S+)", {"AIMOCK_API_KEYS": key}) as place:
        yield f"ws://{place}/v1/realtime"
