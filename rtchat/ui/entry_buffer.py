"""The text of the entry, and which of it was pasted."""

from __future__ import annotations

from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.history import History

from rtchat.ui.candidates import Candidates
from rtchat.ui.completion import CommandCompleter, command_names
from rtchat.ui.entries import Entry
from rtchat.ui.pasted import Pastes


class EntryBuffer(Buffer):
    """The text that the user is editing. `candidates` completes the arguments of commands."""

    def __init__(self, history: History, candidates: Candidates | None) -> None:
        self.pastes = Pastes()
        """The pastes that are folded."""
        self._pasted: list[str] = []
        """The texts that were pasted into the entry."""
        self._pasted_start = ""
        """The first character of the entry, if it was pasted."""
        self._cleared: Entry | None = None
        """The entry that was cleared last."""
        super().__init__(
            history=history,
            multiline=True,
            tempfile_suffix=".md",
            completer=CommandCompleter(candidates),
            auto_suggest=AutoSuggestFromHistory(),
            on_text_changed=lambda _: self._on_changed(),
        )

    def send(self) -> Entry | None:
        """Empty the entry and return what was in it, if there was more than whitespace."""
        self._cleared = None
        return self._take()

    def clear(self) -> None:
        """Empty the entry; `restore` brings it back."""
        self._cleared = self._take()

    def restore(self) -> bool:
        """Put what was cleared into the empty entry. Returns whether there was anything."""
        entry, self._cleared = self._cleared, None
        if entry is None:
            return False
        self._set(self.pastes.fold(entry.text))
        self._pasted = [*entry.pasted]
        self._pasted_start = entry.text[:1] if entry.is_literal else ""
        return True

    def set_draft(self, text: str) -> None:
        """Put a text before what is in the entry. It counts as pasted."""
        self._pasted.append(text)
        self._pasted_start = text[:1]
        self._set(self.pastes.fold(text), self.text)

    def paste(self, text: str) -> None:
        """Insert a text that the user pastes."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self._pasted.append(text)
        if self.cursor_position == 0:
            self._pasted_start = text[:1]
        self.insert_text(self.pastes.fold(text))

    def unfold(self) -> None:
        """Replace all folded pastes by their texts."""
        self.text = self.pastes.unfold(self.text)

    def complete(self) -> None:
        """Complete what is before the cursor. The only possible name of a command is inserted at
        once, so Enter may follow."""
        names = command_names(self.document.text_before_cursor)
        if len(names) == 1:
            self.apply_completion(names[0])
        else:
            self.start_completion(insert_common_part=True)

    def _take(self) -> Entry | None:
        text = self.pastes.unfold(self.text)
        is_literal = bool(self._pasted_start) and text.startswith(self._pasted_start)
        entry = Entry(text, is_literal, tuple(self._pasted))
        self.reset()
        self._on_changed()
        self.pastes.clear()
        if not text.strip():
            return None
        if self.history.get_strings()[-1:] != [text]:
            self.history.append_string(text)
        return entry

    def _set(self, text: str, rest: str = "") -> None:
        self.set_document(Document(f"{text}\n{rest}" if rest else text, len(text)))

    def _on_changed(self) -> None:
        if not self.text:
            self._pasted_start = ""
            self._pasted.clear()
