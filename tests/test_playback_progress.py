"""How far the audio of replies has been played is reported while it plays."""

from __future__ import annotations

import asyncio

from rtchat.audio.playback_progress import PlaybackProgress
from rtchat.core.events import LocalEvent, PlaybackAdvanced, PlaybackCut, PlaybackEnded
from tests.scripted import run_fast


def test_the_position_is_reported_until_the_end_of_each_playback() -> None:
    positions: list[PlaybackCut] = []
    posted: list[LocalEvent] = []

    async def play() -> None:
        progress = PlaybackProgress(lambda: positions.pop(0) if positions else None, posted.append)
        for item_id in ("a", "b"):
            positions.extend(PlaybackCut(item_id, 1, 200 * at) for at in (1, 2))
            progress.start()
            progress.start()
            await asyncio.sleep(5)

    run_fast(play)
    assert posted == [
        *(PlaybackAdvanced("a", 1, 200), PlaybackAdvanced("a", 1, 400), PlaybackEnded()),
        *(PlaybackAdvanced("b", 1, 200), PlaybackAdvanced("b", 1, 400), PlaybackEnded()),
    ]


def test_nothing_is_reported_after_playback_was_stopped() -> None:
    posted: list[LocalEvent] = []

    async def play() -> None:
        progress = PlaybackProgress(lambda: PlaybackCut("a", 0, 200), posted.append)
        progress.stop()
        progress.start()
        progress.stop()
        await asyncio.sleep(5)

    run_fast(play)
    assert posted == []
