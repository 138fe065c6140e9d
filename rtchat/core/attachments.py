"""The files for the next question, and which of them were already sent to the session.

A server that detects turns makes questions from speech by itself, so files for such a question are
sent in advance, and deleted again if the user detaches them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rtchat.core import effects as fx
from rtchat.core import notices
from rtchat.core.events import Attached
from rtchat.core.mode import Mode
from rtchat.core.shared import SharedState
from rtchat.core.signals import Output, notice
from rtchat.core.values import Item, Message, Part

_FILES = "files_"
"""The beginning of the ids of items that hold attached files."""
_MAX_NAME = 80
"""Characters of a name that is taken from the text of a file."""


def holds_files(item: Item) -> bool:
    """Whether a confirmed item holds files that are attached to the next question."""
    return item.id.startswith(_FILES)


class Attachments:
    """The attached files, in order."""

    def __init__(self, shared: SharedState) -> None:
        self._connection = shared.connection
        self._speech = shared.speech
        self._mode = shared.mode
        self._files: list[Attached] = []
        self._unsent: list[Attached] = []
        self._sent_ids: list[str] = []
        """The ids of this session's items that hold attached files."""
        self._items = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the files."""
        return tuple(file.name for file in self._files)

    def describe(self) -> str:
        """List the files, one numbered line each."""
        lines = [f"{number}  {name}" for number, name in enumerate(self.names, start=1)]
        return "\n".join(lines) or notices.NOTHING_ATTACHED

    def attach(self, file: Attached) -> list[Output]:
        """Attach another file."""
        self._files.append(file)
        self._unsent.append(file)
        shown = notices.attached(file.name, shows_command=self._mode is Mode.CHAT)
        return [shown, *self._send_while_speaking()]

    def take(self) -> tuple[Part, ...]:
        """Return the parts of all files for the question being asked, and forget the files."""
        parts = tuple(file.part for file in self._files)
        self._files, self._unsent, self._sent_ids = [], [], []
        return parts

    def put_back(self, parts: Iterable[Part]) -> list[Output]:
        """Attach the files of a question again that the user takes back or edits."""
        return [output for part in parts for output in self.attach(Attached(_name(part), part))]

    def detach(self, number: int | None) -> list[Output]:
        """Detach one file, numbered from 1, or all files if `number` is None."""
        if not self._files:
            return [notice("error", notices.NOTHING_ATTACHED)]
        if number is None:
            return self.forget()
        if 0 < number <= len(self._files):
            return self._remove([self._files.pop(number - 1)])
        return [notices.no_attachment(number)]

    def forget(self, parts: Collection[Part] | None = None) -> list[Output]:
        """Detach all files, or those with these parts."""
        removed = [file for file in self._files if parts is None or file.part in parts]
        self._files = [file for file in self._files if file not in removed]
        return self._remove(removed) if removed else []

    def _remove(self, removed: list[Attached]) -> list[Output]:
        """Delete the session's items; the remaining files have to be sent again."""
        sent_ids, self._sent_ids = self._sent_ids, []
        self._unsent = [*self._files]
        out: list[Output] = []
        if self._connection.has_session:
            out += [self._connection.send(fx.Delete(item_id)) for item_id in sent_ids]
        out += self._send_while_speaking()
        if names := ", ".join(file.name for file in removed):
            out.append(notices.detached(names))
        return out

    def session_closed(self) -> None:
        """The session is closed; the next one has none of the files."""
        self._unsent, self._sent_ids, self._items = [*self._files], [], 0

    def _send_while_speaking(self) -> list[Output]:
        return self.send() if self._speech.is_speaking else []

    def send(self) -> list[Output]:
        """Send the files that the session does not have yet, if the server detects turns: it may
        make a question from speech at any time."""
        can_send = self._speech.listens and self._connection.has_session
        if not can_send or not self._unsent:
            return []
        self._items += 1
        item = Message("user", tuple(file.part for file in self._unsent), f"{_FILES}{self._items}")
        self._sent_ids.append(item.id)
        self._connection.items.lose_track()  # the item belongs to a turn that has not begun
        self._unsent = []
        return [self._connection.send(fx.AddItem(item))]


def _name(part: Part) -> str:
    """The name of a file that was attached earlier, as far as it is known."""
    if part.kind == "image":
        return "image"
    return part.text.partition("\n")[0].removeprefix("File: ")[:_MAX_NAME] or "text"
