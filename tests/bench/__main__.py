"""How the benchmarks that give ratios compare with the recorded ones: `python -m tests.bench`.

`--record` puts the new ones in the place of the recorded ones. Ratios hold on any machine, but vary
by a tenth or so on one that is busy.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.bench import long, startup, wire

BASELINE = Path(__file__).with_name("baseline.json")


def main(arguments: list[str]) -> None:
    """Measure, and print both columns."""
    recorded: dict[str, float] = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    ratios = {
        name: round(ratio, 2)
        for bench in (startup, wire, long)
        for name, ratio in bench.ratios().items()
    }
    sys.stdout.write(f"{'ratio':<40}{'recorded':>10}{'now':>10}\n")
    for name, ratio in ratios.items():
        sys.stdout.write(f"{name:<40}{recorded.get(name, '-'):>10}{ratio:>10}\n")
    if "--record" in arguments:
        BASELINE.write_text(json.dumps(ratios, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
