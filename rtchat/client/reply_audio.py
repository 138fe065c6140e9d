"""The audio of replies: what is played, and what fails about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from rtchat.core.effects import Play, StopPlaying
from rtchat.core.errors import OutputError
from rtchat.core.events import PlaybackCut
from rtchat.core.ports import Player


class ReplyAudio:
    """Performs the effects on a player. `complain` is called with the first failure; what can be
    heard, and the text, go on."""

    def __init__(self, player: Player | None, complain: Callable[[str], None]) -> None:
        self._player = player
        self._complain = complain
        self.failure: OutputError | None = None

    def perform(self, effect: Play | StopPlaying) -> PlaybackCut | None:
        """Play or stop; return what was cut, if anything was."""
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
                self._complain(str(error))
        return None
