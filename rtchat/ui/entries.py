"""What the user's entries mean: events for the conversation, after reading the files they name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from shutil import get_terminal_size
from typing import Protocol, TypeVar

from rtchat.core.errors import RtchatError, UsageError
from rtchat.core.events import (
    Attached,
    CompactAsked,
    LocalEvent,
    LocalNotice,
    ResumeAsked,
    UserSaid,
    local_error,
)
from rtchat.core.values import ImageDetail, StoredConversation, value
from rtchat.system.worker import Worker
from rtchat.ui.slash_arguments import (
    AttachAsked,
    FilesMentioned,
    HelpAsked,
    PickerAsked,
    TemplateAsked,
    TextFileAsked,
)
from rtchat.ui.slash_commands import parse
from rtchat.ui.slash_help import help_text

T = TypeVar("T")


@value
class Entry:
    """What the user sent.

    `is_literal` is whether it begins with pasted text, which is never a command. `pasted` are the
    texts that were pasted into it.
    """

    text: str
    is_literal: bool = False
    pasted: tuple[str, ...] = ()


class Files(Protocol):
    """Finds and reads the files that the user names at the prompt."""

    def may_be_dropped(self, entry: str) -> bool:
        """Whether an entry begins like a path."""

    def paths_from_drop(self, entry: str) -> Sequence[str]:
        """The paths of which an entry consists; empty if it contains anything else."""

    def attach(self, entered: str, detail: ImageDetail | None) -> Attached:
        """Read a file. Raises UsageError if it cannot be attached."""

    def mentioned(self, words: Sequence[str]) -> Sequence[str]:
        """The paths among these words that are files."""

    def text(self, entered: str) -> str:
        """Read a text file. Raises UsageError if it cannot be read or is not text."""


class Host(Protocol):
    """The terminal, as far as entries need it."""

    def echo(self, entry: str) -> None:
        """Print an entry that is not a question."""

    async def page(self, text: str) -> None:
        """Show a text, in a pager if it is long."""

    async def pick(self, conversations: Sequence[StoredConversation]) -> StoredConversation | None:
        """Let the user choose a conversation. Returns None if they cancel."""


class Entries:
    """Interprets entries.

    `detail` is for the images that the user attaches, unless /attach has its own. `templates`
    returns the events of /t, and `conversations` the saved ones; both may raise RtchatError.
    """

    def __init__(
        self,
        files: Files,
        detail: ImageDetail | None,
        templates: Callable[[str, str], Sequence[LocalEvent]],
        conversations: Callable[[], Sequence[StoredConversation]],
        host: Host,
    ) -> None:
        self._files = files
        self._templates = templates
        self._detail = detail
        self._conversations = conversations
        self._host = host
        self._disk = Worker("files")
        self._stopped: asyncio.Future[None] | None = None
        """Done when the user stops waiting for a file."""

    @property
    def is_reading(self) -> bool:
        """Whether a file is being read."""
        return self._stopped is not None

    def stop(self) -> None:
        """Stop waiting for the file that is being read."""
        if self._stopped is not None and not self._stopped.done():
            self._stopped.set_result(None)

    async def meaning(self, entry: Entry) -> Sequence[LocalEvent]:
        """The events of an entry. A path is a file to attach, unless it is a command."""
        line = entry.text
        event = parse(line, entry.is_literal, entry.pasted)
        is_text = isinstance(event, UserSaid | FilesMentioned)
        if (is_text or _is_mistake(event)) and self._files.may_be_dropped(line):
            files = await self._from_disk(lambda: self._files.paths_from_drop(line))
            if files:
                self._host.echo(line)
                return await self._attach(files, self._detail)
        if not (is_text or isinstance(event, CompactAsked)):  # these are shown when they are asked
            self._host.echo(line)
        match event:
            case AttachAsked(file, detail):
                return await self._attach([file], detail or self._detail)
            case TextFileAsked(file, make):
                unchanged = "the instructions were not changed"
                return await self._read(lambda: [make(self._files.text(file))], unchanged)
            case FilesMentioned(text, words):
                return await self._read(lambda: self._question(text, words), "nothing was asked")
            case TemplateAsked(name, text):
                return await self._read(lambda: self._templates(name, text), "nothing was asked")
            case HelpAsked(command):
                await self._host.page(f"{help_text(get_terminal_size().columns, command)}\n")
                return []
            case PickerAsked():
                return await self._pick()
            case _:
                return [event]

    def _question(self, text: str, words: Sequence[str]) -> Sequence[LocalEvent]:
        """A question with the files that it mentions."""
        files = [self._files.attach(file, self._detail) for file in self._files.mentioned(words)]
        return [*files, UserSaid(text)]

    async def _pick(self) -> Sequence[LocalEvent]:
        """Let the user choose the conversation to resume."""
        try:
            conversations = await self._from_disk(self._conversations)
        except RtchatError as error:
            return [local_error(error.problem)]
        if conversations is None:  # the user stopped waiting
            return []
        chosen = await self._host.pick(conversations)
        return [ResumeAsked(chosen.id)] if chosen else []

    async def _attach(
        self, files: Sequence[str], detail: ImageDetail | None
    ) -> Sequence[LocalEvent]:
        """Attach all files, or none and return the reason."""
        unchanged = "nothing was attached"
        return await self._read(
            lambda: [self._files.attach(file, detail) for file in files], unchanged
        )

    async def _read(
        self, read: Callable[[], Sequence[LocalEvent]], unchanged: str
    ) -> Sequence[LocalEvent]:
        """The result of `read`, or a notice about why it failed."""
        try:
            events = await self._from_disk(read)
        except UsageError as error:
            return [local_error(error.problem)]
        if events is None:
            return [LocalNotice(f"reading was stopped; {unchanged}", is_error=True)]
        return events

    async def _from_disk(self, read: Callable[[], T]) -> T | None:
        """Read from a disk, which may be slow or hang. Returns None if the user stops waiting."""
        reading = self._disk.call(read)
        self._stopped = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait((reading, self._stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopped = None
        if reading.done():
            return reading.result()
        self._disk = Worker("files")  # the old one may hang forever
        return None


def _is_mistake(event: object) -> bool:
    """Whether an entry had no effect, so that the user may want to change it."""
    return isinstance(event, LocalNotice) and event.is_error
