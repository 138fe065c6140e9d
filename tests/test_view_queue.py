"""The output of a program that two signals end."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from rtchat.client.view_queue import ViewQueue
from rtchat.core.effects import Update
from rtchat.core.errors import ExitCode
from rtchat.core.ports import View
from rtchat.system.output import Output
from tests.test_output import MUCH, pipe, read, read_the_rest

ENDING = "the terminal is restored\n"


class Restoring(View):
    """A view that writes a line when it is closed."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, update: Update) -> None:
        """Show nothing."""

    def close(self) -> None:
        self._output.stdout.write(ENDING)


def unexpected(error: object) -> None:
    pytest.fail(f"unexpected: {error}")


@pytest.mark.parametrize("signals", [1, 2])
def test_what_a_view_writes_at_its_end_survives_earlier_signals(signals: int) -> None:
    """Signals during the end of the sessions, when no output is waiting."""

    async def main(output: Output) -> None:
        views = ViewQueue(Restoring(output), output, lambda: 0.0, lost=unexpected, fail=unexpected)
        views.start()
        for _ in range(signals + 1):  # the first one does not end the wait at once
            assert views.signalled(signal.SIGINT, ExitCode.OK) is ExitCode.OK
        await views.close(ExitCode.INTERRUPTED)

    with pipe() as (reading, writing):
        with Output(writing, None) as output:
            asyncio.run(main(output))
        os.close(writing)
        assert os.read(reading, 1000).decode() == ENDING


def test_output_that_nobody_reads_is_given_up_at_a_signal() -> None:
    async def main(output: Output) -> None:
        views = ViewQueue(Restoring(output), output, lambda: 0.0, lost=unexpected, fail=unexpected)
        views.start()
        output.stdout.write("x" * MUCH)
        await asyncio.to_thread(read, reading, 1)
        assert views.signalled(signal.SIGINT, None) is None
        assert views.signalled(signal.SIGTERM, ExitCode.OK) is ExitCode.TERMINATED
        await views.close(None)
        assert output.unwritten == 0

    with pipe() as (reading, writing), Output(writing, None) as output:
        asyncio.run(main(output))
        read_the_rest(reading)
