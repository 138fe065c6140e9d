"""Large random runs in chunks, of which the quick suite runs the first."""

from __future__ import annotations

import pytest


def in_chunks(count: int) -> pytest.MarkDecorator:
    """Run a test once for each number of a chunk. All but the first are for the full suite, where
    measuring their coverage would take long and tell nothing new."""
    marks = (pytest.mark.full, pytest.mark.no_cover)
    rest = (pytest.param(chunk, marks=marks) for chunk in range(1, count))
    return pytest.mark.parametrize("chunk", [0, *rest])
