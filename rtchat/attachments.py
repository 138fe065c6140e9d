"""The files for the next question, and which of them the session was told of already.

A server that listens makes questions of speech by itself, so files for such a question are sent to
it beforehand, and deleted there if the user detaches them. `attach` reads the files, and
`conversation` decides when something is sent.
"""

from __future__ import annotations

from rtchat.effects import AddItem, Delete
from rtchat.events import Attached
from rtchat.values import Message, Part


class Attachments:
    """What is attached, in order."""

    def __init__(self) -> None:
        self._files: list[Attached] = []
        self._untold: list[Attached] = []
        self._told: list[str] = []
        """The items of this session that are made of attached files."""
        self._items = 0

    def __len__(self) -> int:
        return len(self._files)

    @property
    def names(self) -> str:
        """All of them, on a line."""
        return ", ".join(file.name for file in self._files)

    def describe(self) -> str:
        """A numbered line for each."""
        lines = [f"{number}  {file.name}" for number, file in enumerate(self._files, start=1)]
        return "\n".join(lines) or "nothing is attached"

    def add(self, file: Attached) -> None:
        """Attach another one."""
        self._files.append(file)
        self._untold.append(file)

    def take(self) -> tuple[Part, ...]:
        """All of them, for a question that is asked now."""
        parts = tuple(file.part for file in self._files)
        self._files, self._untold, self._told = [], [], []
        return parts

    def begin_session(self) -> None:
        """A new session knows of none."""
        self._untold, self._told, self._items = [*self._files], [], 0

    def tell(self) -> AddItem | None:
        """What tells the session of those that it does not know."""
        if not self._untold:
            return None
        self._items += 1
        item = Message("user", tuple(file.part for file in self._untold), f"files_{self._items}")
        self._told.append(item.id)
        self._untold = []
        return AddItem(item)

    def remove(self, number: int | None = None) -> list[Delete]:
        """Detach one of them, or all, and delete what the session was told; what is left is to be
        told again. Raises IndexError if there is no such file."""
        if number is None:
            self._files = []
        else:
            del self._files[number - 1]
        told, self._told = self._told, []
        self._untold = [*self._files]
        return [Delete(item_id) for item_id in told]
