"""A network that is cut: the program and its server run in separate network namespaces.

Skipped if namespaces cannot be created (needs root and iproute2). RTCHAT_TEST_CABLE sets for how
many seconds the network is cut, with the program's usual time-outs; without it, time-outs are short
and the network is restored once the program has noticed.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import kept
from tests.program import Program
from tests.terminal import PROMPT, Terminal

CABLE = float(os.environ.get("RTCHAT_TEST_CABLE", "0"))
HERE, THERE = "10.213.71.1", "10.213.71.2"
SCRIPT = {
    "rule": [
        {"match": "slow", "text": "word " * 10_000, "chunk": 5, "delay": 0.05},
        {"text": "Fine."},
    ]
}


def ip(*arguments: str) -> None:
    subprocess.run([IP, *arguments], check=True, capture_output=True, timeout=30)


IP = shutil.which("ip") or "ip"


class Cable:
    """Two namespaces and the link between them."""

    def __init__(self) -> None:
        self.near, self.far = f"rtchat-near-{os.getpid()}", f"rtchat-far-{os.getpid()}"

    def lay(self) -> None:
        for name in (self.near, self.far):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        peer = ("peer", "cable", "netns", self.far)
        ip("-n", self.near, "link", "add", "cable", "type", "veth", *peer)
        for name, address in ((self.near, HERE), (self.far, THERE)):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")

    def remove(self) -> None:
        for name in (self.near, self.far):
            subprocess.run([IP, "netns", "del", name], check=False, capture_output=True)

    def pull(self) -> None:
        ip("-n", self.far, "link", "set", "cable", "down")

    def put_back(self) -> None:
        ip("-n", self.far, "link", "set", "cable", "up")


@pytest.fixture
def cable() -> Iterator[Cable]:
    cable = Cable()
    try:
        cable.lay()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces cannot be made here ({error})")
    else:
        yield cable
    finally:
        cable.remove()


@pytest.fixture
def url(cable: Cable, tmp_path: Path) -> Iterator[str]:
    """The server's end of the link."""
    (tmp_path / "script.json").write_text(json.dumps(SCRIPT))
    command = [IP, "netns", "exec", cable.far, sys.executable, "-m", "rtchat", "serve"]
    command += ["--host", THERE, "--port", "0", "--engine", f"script:{tmp_path / 'script.json'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().decode().strip()
        finally:
            server.terminate()


class Near(Program):
    """The program's end of the link."""

    def __init__(self, home: Path, cable: Cable) -> None:
        super().__init__(home)
        self._cable = cable

    def command(self, *arguments: str) -> list[str]:
        return [IP, "netns", "exec", self._cable.near, *super().command(*arguments)]


class Watched(Terminal):
    def watch(self, until: float) -> None:
        """Read the terminal's output meanwhile, so that the program is not blocked."""
        while (left := until - time.monotonic()) > 0:
            if select.select((self._terminal,), (), (), left)[0]:
                assert self._reads()


def test_a_network_cut_during_a_reply(cable: Cable, url: str, tmp_path: Path) -> None:
    program = Near(tmp_path, cable)
    quick = [] if CABLE else ["--timeout", "5"]
    terminal = Watched(program, ["--url", url, *quick], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("slow\r")
    terminal.shows("│ word word word")
    cable.pull()
    pulled = time.monotonic()
    terminal.shows("retrying in")
    terminal.watch(pulled + CABLE)
    cable.put_back()
    terminal.types("next\r")
    lines = terminal.shows(f"{PROMPT} next", "Fine.", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
    question, reply, *others = kept(program)
    # The loss is noticed when the time-out for the reply is over.
    assert question[1] == reply[1]
    assert reply[1] in ("interrupted", "incomplete")
    assert others == [("next", "completed"), ("Fine.", "completed")]
    assert any("word word" in line for line in lines), "what had come is gone from the screen"
