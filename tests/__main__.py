"""Everything that has to pass: `python -m tests` is quick, `python -m tests --full` is all of it.

The quick suite is format, lint, types, and each behaviour once. The full one adds coverage, the
large random runs, and what others made: models, servers, a sound server, a browser. Other arguments
go to pytest. The tests that depend on exact times of sound run last, one at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINT = (["ruff", "format", "--check", "--quiet"], ["ruff", "check", "--quiet"])
TYPES = ["mypy"]
WORKERS = (os.cpu_count() or 1) + 1
"""One more than there are processors, as many tests wait for a process."""
PYTEST = ["pytest", "-n", str(WORKERS), "--dist", "worksteal"]
ENVIRON = {name: v for name, v in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Otherwise each worker compiles each test file, in each run."""
QUICK = [[*PYTEST, "-m", "not full"]]
FULL = [
    [*PYTEST, "-m", "not alone", "--cov", "--cov-report=term:skip-covered"],
    ["pytest", "-m", "alone"],
]

NO_TESTS = 5
"""The exit code of pytest if no test was selected."""


def main(arguments: list[str]) -> int:
    """Run the steps. Returns the exit code of one that fails; `NO_TESTS` if none was selected."""
    suites = FULL if "--full" in arguments else QUICK
    rest = [each for each in arguments if each != "--full"]
    for step in LINT:
        if code := start(step).wait():
            return code
    types = start(TYPES)  # beside the tests, which leave a processor idle now and then
    try:
        codes = [start([*suite, *rest]).wait() for suite in suites]
    finally:
        types_code = types.wait()
    failed = [code for code in codes if code not in (0, NO_TESTS)]
    return types_code or max(failed, default=min(codes))


def start(step: list[str]) -> subprocess.Popen[bytes]:
    """Start one of the steps."""
    return subprocess.Popen([sys.executable, "-m", *step], cwd=ROOT, env=ENVIRON)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
