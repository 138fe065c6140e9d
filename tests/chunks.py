"""Large random runs in parts, of which the quick suite runs the first."""

from __future__ import annotations

import pytest

_MARKS = (pytest.mark.full, pytest.mark.no_cover)
"""To measure the coverage of more cases would take long and tell nothing new."""


def in_chunks(count: int) -> pytest.MarkDecorator:
    """Run a test once for each number of a chunk. All but the first are for the full suite."""
    rest = (pytest.param(chunk, marks=_MARKS) for chunk in range(1, count))
    return pytest.mark.parametrize("chunk", [0, *rest])


def seeds(quick: int, full: int) -> pytest.MarkDecorator:
    """Run a test with `full` seeds, of which the quick suite has the first `quick`."""
    rest = (pytest.param(seed, marks=_MARKS) for seed in range(quick, full))
    return pytest.mark.parametrize("seed", [*range(quick), *rest])
