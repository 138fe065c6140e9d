"""What engines and voices produce, in pieces that can be sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from rtchat.core.text import sentence
from rtchat.core.values import BYTES_A_MS, Status
from rtchat.server.engine import Answer, Finish
from rtchat.server.handshake import FRAGMENT

_AUDIO_PIECE = 100 * BYTES_A_MS
"""Bytes of audio sent at a time. A cancel can take effect between two pieces."""

ENDED_EARLY = Finish(
    Status.FAILED, code="server_error", message="The engine ended without finishing its response."
)
"""The end of an answer without one."""


async def fragments(frame: str) -> AsyncGenerator[str, None]:
    """A long frame in pieces."""
    for start in range(0, len(frame), FRAGMENT):
        yield frame[start : start + FRAGMENT]
        await asyncio.sleep(0)


async def catch_engine_errors(answer: Answer) -> Answer:
    """Pass the pieces through. An error in the engine ends the response, not the server."""
    try:
        async with aclosing(answer):
            async for piece in answer:
                yield piece
    except Exception as error:
        message = sentence(f"The engine failed: {type(error).__name__}: {error}")
        yield replace(ENDED_EARLY, message=message)
    else:
        yield ENDED_EARLY  # ignored after a `Finish`


async def audio_pieces(audio: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes | str, None]:
    """Pass the audio through in short pieces. If the voice fails, the last piece is the error."""
    try:
        async with aclosing(audio):
            async for whole in audio:
                for start in range(0, len(whole), _AUDIO_PIECE):
                    yield whole[start : start + _AUDIO_PIECE]
                    await asyncio.sleep(0)  # otherwise a fast voice and socket would never yield
    except Exception as error:
        yield f"{type(error).__name__}: {error}"
