"""The soak in small: a minute. `python tests/soak.py --seconds 1800` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.soak import soak

SECONDS = float(os.environ.get("RTCHAT_TEST_SOAK", "60"))
SEED = int(os.environ.get("RTCHAT_TEST_SEED", "20261122"))


@pytest.mark.full
def test_a_minute_on_a_bad_network(tmp_path: Path) -> None:
    assert len(soak(tmp_path, SECONDS, SEED)) == 7
