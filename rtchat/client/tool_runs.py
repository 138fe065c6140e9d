"""Runs the tools of a session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rtchat.core.events import ToolFinished
from rtchat.core.ports import Tools
from rtchat.core.values import ToolCall


class ToolRuns:
    """Runs tools concurrently, and calls `finished` with the output of each."""

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
        """Start to run a tool."""
        task = self._tasks.create_task(self._run(call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def stop(self) -> None:
        """Cancel all running tools and drop their outputs."""
        for task in self._running:
            task.cancel()

    async def _run(self, call: ToolCall) -> None:
        assert self._tools is not None
        output = await self._tools.call(call.name, call.arguments)
        self._finished(ToolFinished(call.call_id, output))
