"""Performs what the commands of a conversation ask of the shell: /status, /export, /save, /trace.

Files are written in a thread, because a disk may be slow or hang.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, assert_never

from rtchat.client.endpoint import shown_url
from rtchat.config.settings import Settings
from rtchat.core import effects as fx
from rtchat.core.errors import OutputError, UsageError
from rtchat.core.redaction import Redactor
from rtchat.core.values import StoredConversation
from rtchat.system.files import shown_name
from rtchat.system.worker import Worker
from rtchat.ui import messages

if TYPE_CHECKING:
    from rtchat.history.writer import HistoryWriter
    from rtchat.trace.recording import Trace
    from rtchat.trace.switch import TraceSwitch

T = TypeVar("T")

DISK_TIMEOUT = 5.0
"""Seconds to wait for a disk."""
_MAX_NAME = 40
"""Characters of a title in the name of a file."""


class ShellActions:
    """The actions of one run. `now` returns Unix seconds."""

    def __init__(
        self,
        settings: Settings,
        trace: TraceSwitch,
        redactor: Redactor,
        history: HistoryWriter | None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._trace = trace
        self._redactor = redactor
        self._history = history
        self._now = now
        self._worker = Worker("files")

    async def perform(self, action: fx.Action) -> fx.Update:
        """Perform an action. The result says what was done. Raises RtchatError if it failed."""
        match action:
            case fx.ReportStatus(status):
                return await self._report(status)
            case fx.Export():
                conversation = self._dated(action.conversation, action.age)
                conversation = replace(conversation, id=await self._saved_as() or 0)
                return await self._on_disk(partial(self._export, action, conversation))
            case fx.SaveReply():
                return await self._on_disk(partial(self._save, action))
            case fx.RecordTrace("start", file):
                return await self._start_trace(file)
            case fx.RecordTrace("stop"):
                return await self._stop_trace()
            case fx.RecordTrace():
                return self._describe_trace()
            case _:
                assert_never(action)

    async def _on_disk(self, job: Callable[[], T]) -> T:
        """The result of a job that may hang. Raises OutputError if it does."""
        try:
            return await asyncio.wait_for(self._worker.call(job), DISK_TIMEOUT)
        except TimeoutError:
            self._worker = Worker("files")  # the old one may hang forever
            raise OutputError(
                f"the disk did not respond for {DISK_TIMEOUT:g} s", hint="use another path"
            ) from None

    # --------------------------------------------------------------------------------- /status

    async def _report(self, status: fx.ConversationStatus) -> fx.Report:
        settings = self._settings
        rows = messages.ShellStatus(
            profile=settings.profile,
            url="built-in model" if settings.local else shown_url(settings.url),
            dialect=settings.forced_dialect,
            since=f"{datetime.fromtimestamp(self._now() - status.seconds):%H:%M:%S}",
            keeps_history=self._history is not None,
            conversation=await self._saved_as(),
            trace="" if self._trace.trace is None else shown_name(self._trace.trace.path),
        )
        return fx.Report(self._redactor.redact(messages.status(status, rows)))

    async def _saved_as(self) -> int | None:
        """The id of the saved conversation; None if it is not saved, or the disk is slow."""
        if self._history is None:
            return None
        try:
            return await asyncio.wait_for(self._history.current(), DISK_TIMEOUT)
        except (TimeoutError, OutputError):
            return None

    # ------------------------------------------------------------------------- /export and /save

    def _dated(self, conversation: StoredConversation, age: float) -> StoredConversation:
        """A conversation with what the history would add: its times and its title."""
        from rtchat.history.schema import title

        now = self._now()
        questions = (each.item for each in conversation.entries if each.turn and not each.index)
        return replace(
            conversation,
            title=conversation.title or next(map(title, questions), ""),
            began=conversation.began or now - age,
            updated=now,
        )

    def _export(self, action: fx.Export, conversation: StoredConversation) -> fx.Update:
        from rtchat.app.files import format_of
        from rtchat.history.export import export

        name = self._name(conversation.title or "conversation")
        path = _path(action.file)
        is_named = path is not None and not os.path.isdir(path)
        form = format_of(path if is_named else None, has_option=False)
        content = export(conversation, form).encode()
        file = _save(content, path, name, ".md", force=action.force)
        noun = "turn" if conversation.turns == 1 else "turns"
        return fx.Notice("info", f"exported {conversation.turns} {noun} to {shown_name(file)}")

    def _save(self, action: fx.SaveReply) -> fx.Update:
        text, what, suffix = action.text, "the last reply", ".md"
        if action.block:
            from rtchat.markdown.code_blocks import count_blocks, latest_blocks

            blocks = latest_blocks(action.so_far, text)
            if action.block > len(blocks):
                raise UsageError(f"the reply has {count_blocks(blocks)}")
            block = blocks[action.block - 1]
            what, text, suffix = f"code block {action.block}", block.text, block.extension
        content = (text if text.endswith("\n") else f"{text}\n").encode()
        name = self._name(action.title or "reply")
        file = _save(content, _path(action.file), name, suffix, force=action.force)
        return fx.Notice("info", f"saved {what} to {shown_name(file)}")

    def _name(self, title: str) -> str:
        """The beginning of a file name: the date and the first words of a title."""
        words = re.sub(r"\W+", "-", title.lower())[:_MAX_NAME].strip("-")
        return "-".join(filter(None, (f"{datetime.fromtimestamp(self._now()):%Y-%m-%d}", words)))

    # ---------------------------------------------------------------------------------- /trace

    async def _start_trace(self, file: str) -> fx.Update:
        if (trace := self._trace.trace) is not None:
            message = f"the session is already recorded to {shown_name(trace.path)}"
            raise UsageError(message, hint="use /trace off first")
        trace = await self._on_disk(partial(self._open_trace, file))
        self._trace.start(trace)
        return fx.Notice("info", f"recording to {shown_name(trace.path)} from now on")

    def _open_trace(self, file: str) -> Trace:
        path = _path(file)
        if path is None or str(path) == "-":
            raise UsageError("/trace needs a file", hint="write it as /trace FILE")
        return self._trace.open(path)

    async def _stop_trace(self) -> fx.Update:
        trace = self._trace.stop()
        if trace is None:
            raise UsageError("the session is not being recorded", hint="use /trace FILE to start")
        await asyncio.to_thread(trace.close)
        if trace.failure is not None:
            raise trace.failure
        return fx.Notice("info", f"the recording in {shown_name(trace.path)} has ended")

    def _describe_trace(self) -> fx.Report:
        trace = self._trace.trace
        if trace is None:
            return fx.Report("the session is not being recorded; use /trace FILE to start")
        if trace.failure is not None:
            raise trace.failure
        return fx.Report(f"recording to {shown_name(trace.path)}; use /trace off to stop")


def _path(entered: str) -> Path | None:
    """The path that the user entered; None if there is none."""
    from rtchat.inputs.attachments import entered_path

    return entered_path(entered) if entered else None


def _save(content: bytes, path: Path | None, stem: str, suffix: str, *, force: bool) -> Path:
    """Write a file: `path`, or, if that is a folder or None, a new file with this name."""
    from rtchat.app.files import save_file, save_new_file

    if path is None or os.path.isdir(path):  # unlike Path.is_dir, never raises
        return save_new_file(path or Path(), stem, suffix, content)
    save_file(path, content, force=force)
    return path
