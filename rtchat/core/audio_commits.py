"""The commits of a transcription, by which audio becomes a turn that the server transcribes."""

from __future__ import annotations

from rtchat.core import effects as fx
from rtchat.core import server_errors
from rtchat.core.connection import SessionConnection
from rtchat.core.events import ServerProblem
from rtchat.core.speech_input import MIN_TURN_MS
from rtchat.core.values import BYTES_A_MS

PART_MS = 600_000
"""Milliseconds of audio committed as a turn if the server does not detect turns. rtchat's own
server accepts up to 15 minutes."""


class AudioCommits:
    """The commits on one connection. `has_turns` is whether the server detects turns and commits
    the audio itself, all but the last."""

    def __init__(self, connection: SessionConnection, *, has_turns: bool) -> None:
        self._connection = connection
        self._has_turns = has_turns
        self._uncommitted = 0
        """Bytes of audio that are not part of a turn yet."""
        self._has_parts = False
        """Whether the client committed earlier audio."""
        self._commit = ""
        """The event id of the last commit."""
        self._clear = ""
        """The event id of the command after it, until the server has answered that command."""

    @property
    def is_pending(self) -> bool:
        """Whether the server has yet to process the last audio."""
        return bool(self._clear)

    @property
    def is_complete(self) -> bool:
        """Whether no audio remains to be committed, so that a refusal is expected."""
        is_short = self._uncommitted < MIN_TURN_MS * BYTES_A_MS
        return self._has_turns or (self._has_parts and is_short)

    def sent(self, audio: bytes) -> list[fx.Send]:
        """Audio was sent: commit it if a turn is long enough."""
        self._uncommitted += len(audio)
        if self._has_turns or self._uncommitted < PART_MS * BYTES_A_MS:
            return []
        self._uncommitted, self._has_parts = 0, True
        return [self._connection.send(fx.CommitAudio())]

    def finish(self) -> list[fx.Send]:
        """Commit the remaining audio as the last turn."""
        commit = self._connection.send(fx.CommitAudio())
        # The server may still be processing its own turns: it answers this after them.
        clear = self._connection.send(fx.ClearAudio())
        self._commit, self._clear = commit.event_id, clear.event_id
        return [commit, clear]

    def forget(self) -> None:
        """The server has processed the last audio, or the session is closed. The last commit may
        still be refused."""
        self._clear = ""

    def is_about_clear(self, error: ServerProblem) -> bool:
        """Whether an error is about the last command, and thus its answer."""
        return bool(error.event_id) and error.event_id == self._clear

    def is_about_commit(self, error: ServerProblem) -> bool:
        """Whether an error is about the last commit. Not every server names the command."""
        if not error.event_id:
            return error.code == server_errors.EMPTY_COMMIT
        return error.event_id == self._commit
