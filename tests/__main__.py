"""Everything that has to pass, in one command: `python -m tests`. Arguments go to pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STEPS = (
    ["ruff", "format", "--check", "--quiet"],
    ["ruff", "check", "--quiet"],
    ["mypy"],
)
PYTEST = ["pytest", "-n", "auto", "--dist", "worksteal", "--cov", "--cov-report=term:skip-covered"]


def main() -> int:
    """Run the steps in order; the first that fails ends it."""
    for step in (*STEPS, [*PYTEST, *sys.argv[1:]]):
        code = subprocess.run([sys.executable, "-m", *step], cwd=ROOT, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
