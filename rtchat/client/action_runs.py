"""Performs the actions that commands ask of the shell, such as writing a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rtchat.core.effects import Action, Update, error_notice
from rtchat.core.errors import RtchatError
from rtchat.core.ports import Actions

END_TIMEOUT = 2.0
"""Seconds to wait, at the end of a session, for actions that are not finished."""


class ActionRuns:
    """Performs actions concurrently. `show` is called with the result of each, `fail` with an error
    that is not an RtchatError."""

    def __init__(
        self,
        actions: Actions | None,
        tasks: asyncio.TaskGroup,
        show: Callable[[Update], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._actions = actions
        self._tasks = tasks
        self._show = show
        self._fail = fail
        self._running: set[asyncio.Task[None]] = set()

    def start(self, action: Action) -> None:
        """Start an action. Without `actions`, do nothing: the session takes no commands."""
        if self._actions is not None:
            task = self._tasks.create_task(self._run(self._actions, action))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def finish(self) -> None:
        """Wait for the running actions, and cancel those that take too long."""
        if not self._running:
            return
        _, unfinished = await asyncio.wait(self._running, timeout=END_TIMEOUT)
        for task in unfinished:
            task.cancel()

    async def _run(self, actions: Actions, action: Action) -> None:
        try:
            self._show(await actions.perform(action))
        except RtchatError as error:
            self._show(error_notice(error.problem))
        except Exception as error:
            self._fail(error)
