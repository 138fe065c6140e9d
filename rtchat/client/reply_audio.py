"""Plays the audio of replies, and reports the first failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from rtchat.core.effects import Play, StopPlaying
from rtchat.core.errors import OutputError, Problem
from rtchat.core.events import PlaybackCut
from rtchat.core.ports import Player


class AudioPlayback:
    """Performs the effects on a player. `report` is called with the first failure; after it, the
    conversation and any working playback continue."""

    def __init__(self, player: Player | None, report: Callable[[Problem], None]) -> None:
        self._player = player
        self._report = report
        self.failure: OutputError | None = None

    def perform(self, effect: Play | StopPlaying) -> PlaybackCut | None:
        """Play or stop; return how playback was cut, if it was."""
        if self._player is None:
            return None
        try:
            match effect:
                case Play(item_id, index, audio, is_last):
                    if audio:
                        self._player.play(item_id, index, audio)
                    if is_last:
                        self._player.end(item_id)
                case StopPlaying():
                    return self._player.stop()
                case _:
                    assert_never(effect)
        except OutputError as error:
            if self.failure is None:
                self.failure = error
                self._report(error.problem)
        return None
