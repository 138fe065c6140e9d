"""`rtchat serve` with the answers of a script and a voice of tones, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rtchat.server.factory import voice_of
from rtchat.server.script import ScriptEngine, read_script
from rtchat.server.sockets import run_server
from tests.program import background


@contextmanager
def scripted_server(script: object) -> Iterator[str]:
    """Run a server for the duration of the block. Yields its URL."""
    engine = ScriptEngine(read_script(script))
    with background(lambda: run_server(engine, voice=voice_of(engine))) as url:
        yield url
