"""The tools that run for a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rtchat.core.events import ToolFinished
from rtchat.core.ports import Tools
from rtchat.core.values import ToolCall


class ToolRuns:
    """Runs tools at the same time, and calls `finished` with the output of each."""

    def __init__(
        self,
        tools: Tools | None,
        tasks: asyncio.TaskGroup,
        finished: Callable[[ToolFinished], None],
    ) -> None:
        self._tools = tools
        self._tasks = tasks
        self._finished = finished
        self._running: set[asyncio.Task[None]] = set()

    def start(self, call: ToolCall) -> None:
        """Run a tool."""
        task = self._tasks.create_task(self._run(call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def stop(self) -> None:
        """Stop all that run; what they still give back is dropped."""
        for task in self._running:
            task.cancel()

    async def _run(self, call: ToolCall) -> None:
        assert self._tools is not None
        output = await self._tools.call(call.name, call.arguments)
        self._finished(ToolFinished(call.call_id, output))
