"""The files for the next question, and which of them were already sent to the session.

A server that listens turns speech into questions by itself, so files for such a question are sent
beforehand, and deleted again if the user detaches them. `attach` reads the files, and
`conversation` decides when to send them.
"""

from __future__ import annotations

from rtchat.core.effects import AddItem, Delete
from rtchat.core.events import Attached
from rtchat.core.values import Message, Part


class Attachments:
    """The attached files, in order."""

    def __init__(self) -> None:
        self._files: list[Attached] = []
        self._unsent: list[Attached] = []
        self._told: list[str] = []
        """The ids of this session's items that hold attached files."""
        self._items = 0

    def __len__(self) -> int:
        return len(self._files)

    def names(self, number: int | None = None) -> str:
        """The name of one file, or those of all, on one line."""
        files = self._files if number is None else [self._files[number - 1]]
        return ", ".join(file.name for file in files)

    def describe(self) -> str:
        """A numbered line for each."""
        lines = [f"{number}  {file.name}" for number, file in enumerate(self._files, start=1)]
        return "\n".join(lines) or "nothing is attached"

    def add(self, file: Attached) -> None:
        """Attach another file."""
        self._files.append(file)
        self._unsent.append(file)

    def take(self) -> tuple[Part, ...]:
        """Return all files for a question that is asked now, and forget them."""
        parts = tuple(file.part for file in self._files)
        self._files, self._unsent, self._told = [], [], []
        return parts

    def begin_session(self) -> None:
        """A new session has none of them yet."""
        self._unsent, self._told, self._items = [*self._files], [], 0

    def tell(self) -> AddItem | None:
        """The item with the files that the session does not have yet, if any."""
        if not self._unsent:
            return None
        self._items += 1
        item = Message("user", tuple(file.part for file in self._unsent), f"files_{self._items}")
        self._told.append(item.id)
        self._unsent = []
        return AddItem(item)

    def remove(self, number: int | None = None) -> list[Delete]:
        """Detach one file, or all, and delete the session's items; the remaining files have to be
        sent again. Raises IndexError if there is no such file."""
        if number is None:
            self._files = []
        else:
            del self._files[number - 1]
        told, self._told = self._told, []
        self._unsent = [*self._files]
        return [Delete(item_id) for item_id in told]
