"""The turns of a transcription without a transcript yet.

Servers may transcribe several turns at the same time. The transcripts are shown in the order of the
turns, so later ones wait for the first for a limited time.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtchat.core.effects import ClearTimer, SetTimer
from rtchat.core.events import Timer
from rtchat.core.speech_input import AudioClip

ORDER_WAIT = 10.0
"""Seconds that later turns wait for the transcript of an earlier one, to be shown in order."""


class PendingTranscripts:
    """The turns, in order, each with its audio."""

    def __init__(self) -> None:
        self._audio: dict[str, Sequence[AudioClip]] = {}
        """The audio of each turn, by item id."""
        self._first = ""
        """The id of the first turn, for which the others wait."""
        self._other_ids: dict[str, str] = {}
        """The id of the turn for each other id that the server uses in its transcript."""
        self._known: set[str] = set()
        """The ids of all turns of the connection."""
        self._begun = ""
        """The id of the turn that has begun and is not complete."""
        self._skipped: set[str] = set()
        """The ids of the turns that are no longer waited for."""

    def __bool__(self) -> bool:
        return bool(self._audio)

    def begin(self, item_id: str) -> None:
        """A turn has begun. Words of it may arrive before it is complete."""
        self._begun = item_id

    def add(self, item_id: str, audio: Sequence[AudioClip]) -> list[SetTimer | ClearTimer]:
        """Wait for the transcript of another turn."""
        self._begun = ""
        self._audio[item_id] = audio
        self._known.add(item_id)
        return self._wait()

    def own_id(self, item_id: str) -> str:
        """The id of the turn that a transcript belongs to. One with an unknown id belongs to the
        oldest turn without a transcript: some servers use other ids."""
        taken = self._other_ids.values()
        is_begun = item_id != "" and item_id == self._begun
        if (is_begun or item_id in self._known) and item_id not in taken:
            return item_id
        if item_id not in self._other_ids:
            new = f"{item_id} again" if item_id in self._known else item_id
            oldest = next((known for known in self._audio if known not in taken), new)
            self._other_ids[item_id] = oldest
        return self._other_ids[item_id]

    def remove(self, item_id: str) -> list[SetTimer | ClearTimer]:
        """The transcript of a turn is complete, or there will be none."""
        self._audio.pop(item_id, None)
        return self._wait()

    def extend(self, item_id: str) -> list[SetTimer | ClearTimer]:
        """Part of the transcript of a turn has arrived: wait for the rest."""
        return [SetTimer(Timer.TRANSCRIPT, ORDER_WAIT)] if item_id == self._first else []

    def skip(self) -> tuple[str, list[SetTimer | ClearTimer]]:
        """Stop waiting for the first turn, whose transcript may be shown out of order. Return its
        item id."""
        skipped = self._first
        self._skipped.add(skipped)
        return skipped, self._wait()

    def clear(self) -> list[AudioClip]:
        """The session is closed: expect no transcripts. Return the audio of the turns."""
        audio = [clip for clips in self._audio.values() for clip in clips]
        self._audio.clear()
        self._skipped.clear()
        self._known.clear()
        self._other_ids.clear()
        self._first = self._begun = ""
        return audio

    def _wait(self) -> list[SetTimer | ClearTimer]:
        first = next((item_id for item_id in self._audio if item_id not in self._skipped), "")
        if first == self._first:
            return []
        self._first = first
        return [SetTimer(Timer.TRANSCRIPT, ORDER_WAIT) if first else ClearTimer(Timer.TRANSCRIPT)]
