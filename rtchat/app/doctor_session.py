"""A session that `doctor` goes through step by step."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from rtchat import wire
from rtchat.config.settings import Settings
from rtchat.core import server_errors
from rtchat.core.effects import Command
from rtchat.core.errors import ExitCode, Problem, to_exception
from rtchat.core.events import Delta, ServerEvent, ServerProblem, Unknown
from rtchat.core.ports import Link
from rtchat.core.redaction import Redactor
from rtchat.core.values import Channel, Dialect

_HINT = "check --url, or increase --timeout and --connect-timeout"

_E = TypeVar("_E", bound=ServerEvent)


class DoctorSession:
    """Sends commands and waits for events on an open connection, one at a time."""

    def __init__(self, link: Link, redactor: Redactor, settings: Settings) -> None:
        self.dialect = settings.forced_dialect or Dialect.GA
        self.first_token: float | None = None
        self._link = link
        self._key_hint = settings.key_hint
        self._redactor = wire.EventRedactor(redactor)
        self._sent: set[str] = set()
        self._events: deque[ServerEvent] = deque()
        self._last_error: ServerProblem | None = None

    async def send(self, command: Command) -> None:
        """Send a command."""
        event_id = f"rtchat_doctor_{len(self._sent)}"
        self._sent.add(event_id)
        await self._link.send(wire.encode(command, event_id, self.dialect))

    async def wait(
        self,
        kind: type[_E],
        timeout: float,
        failure: str,
        explain: Callable[[ServerProblem], Problem],
    ) -> _E:
        """The next event of a kind. `failure` describes what the server did if the event does not
        arrive within `timeout` seconds; `explain` turns an error event into a problem.

        Raises:
            RtchatError: the event did not arrive.
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    event = await self._next()
                    if isinstance(event, kind):
                        return event
                    self._handle(event, explain)
        except TimeoutError:
            error = f" (its last error: {self._last_error.message})" if self._last_error else ""
            message = f"timed out: the server {failure} within {timeout:g} s{error}"
            raise to_exception(Problem(ExitCode.LINK, message, _HINT)) from None

    def _handle(self, event: ServerEvent, explain: Callable[[ServerProblem], Problem]) -> None:
        match event:
            case ServerProblem():
                self._last_error = event
                if event.event_id in self._sent or server_errors.is_fatal(event):
                    raise to_exception(explain(event).about_key(self._key_hint))
            case Delta(channel=Channel.TEXT | Channel.TRANSCRIPT) if self.first_token is None:
                self.first_token = time.monotonic()
            case _:
                pass

    async def _next(self) -> ServerEvent:
        while not self._events:
            await asyncio.sleep(0)  # else frames that have already arrived delay the timeout
            frame = await self._link.receive()
            if frame is None:
                raise to_exception(self._connection_problem())
            data = wire.read_frame(frame)
            if isinstance(data, Unknown):
                self._events.append(data)
                continue
            for redacted, _ in self._redactor.redact(str(frame), data):
                self._events += wire.decode(redacted)
        return self._events.popleft()

    def _connection_problem(self) -> Problem:
        """Why the connection ended, with the server's last error."""
        lost = self._link.explain().problem
        if self._last_error is None:
            return lost
        message = f"{lost.message} (the server's last error: {self._last_error.message})"
        return Problem(lost.exit, message, lost.hint, lost.code)
