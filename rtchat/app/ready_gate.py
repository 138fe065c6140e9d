"""Sends audio that can be read at any speed no faster than the server accepts it."""

from __future__ import annotations

import asyncio

from rtchat.client.session import Session
from rtchat.core.effects import Connecting, Ready, Update, Waiting
from rtchat.core.events import AudioCaptured
from rtchat.core.ports import Post, View
from rtchat.ui.view_wrapper import ViewWrapper


class ReadyGate(ViewWrapper):
    """Notes, in front of a view, whether the server accepts audio."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._is_ready = asyncio.Event()

    async def send(self, audio: bytes, session: Session, post: Post) -> None:
        """Post audio to the session once the server accepts it, and wait until it is sent."""
        await self._is_ready.wait()
        post(AudioCaptured(audio))
        await session.drained()

    def show(self, update: Update) -> None:
        """Show an update."""
        match update:
            case Ready():
                self._is_ready.set()
            case Waiting() | Connecting():
                self._is_ready.clear()
            case _:
                pass
        super().show(update)
