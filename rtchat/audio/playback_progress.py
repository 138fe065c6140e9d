"""Reports how far the audio of replies has been played."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rtchat.core.events import PlaybackAdvanced, PlaybackCut, PlaybackEnded
from rtchat.core.ports import Post

_INTERVAL_SECONDS = 0.2
"""The time between two reports."""


class PlaybackProgress:
    """Posts `PlaybackAdvanced` regularly while audio is played, then `PlaybackEnded`. `position`
    returns the item that is playing and where; None if nothing is."""

    def __init__(self, position: Callable[[], PlaybackCut | None], post: Post) -> None:
        self._position = position
        self._post = post
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Audio is played from now on. Call in the event loop."""
        if self._timer is None:
            self._wait()

    def stop(self) -> None:
        """Playback was stopped: nothing more is posted until the next start."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_INTERVAL_SECONDS, self._report)

    def _report(self) -> None:
        at = self._position()
        if at is None:
            self._timer = None
            self._post(PlaybackEnded())
        else:
            self._wait()
            self._post(PlaybackAdvanced(at.item_id, at.content_index, at.played_ms))
