"""The client events as methods, for the public Python API: `session.update` is
`rt.session.update(…)`.

Each method sends one event and does not wait for an answer. Objects have the format of the current
API on every server. `event_id` is an id of your choice, which is in the error if the server refuses
the event. Like `Connection.send`, all methods raise `ConnectError`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

from rtchat.core.values import JsonObject

MAX_APPEND = 1 << 20
"""The maximum size of the audio in one event, in bytes; servers accept up to 15 MiB."""

Send: TypeAlias = Callable[[JsonObject], Awaitable[None]]


class _Resource:
    def __init__(self, send: Send) -> None:
        self._send_event = send

    async def _send(self, kind: str, event_id: str, **fields: object) -> None:
        given = {name: value for name, value in fields.items() if value is not None}
        await self._send_event(
            {"type": kind} | ({"event_id": event_id} if event_id else {}) | given
        )


class SessionResource(_Resource):
    """`rt.session`."""

    async def update(self, session: JsonObject, *, event_id: str = "") -> None:
        """Change settings of the session: those in `session`, which may omit its `type`."""
        await self._send("session.update", event_id, session={"type": "realtime", **session})


class ResponseResource(_Resource):
    """`rt.response`."""

    async def create(self, response: JsonObject | None = None, *, event_id: str = "") -> None:
        """Request a response; `response` has its options."""
        await self._send("response.create", event_id, response=response)

    async def cancel(self, response_id: str | None = None, *, event_id: str = "") -> None:
        """Stop a response, by default the one in progress."""
        await self._send("response.cancel", event_id, response_id=response_id)


class ItemResource(_Resource):
    """`rt.conversation.item`."""

    async def create(
        self, item: JsonObject, *, previous_item_id: str | None = None, event_id: str = ""
    ) -> None:
        """Add an item after another one, or at the end; "root" puts it at the beginning."""
        kind = "conversation.item.create"
        await self._send(kind, event_id, item=item, previous_item_id=previous_item_id)

    async def delete(self, item_id: str, *, event_id: str = "") -> None:
        """Delete an item."""
        await self._send("conversation.item.delete", event_id, item_id=item_id)

    async def retrieve(self, item_id: str, *, event_id: str = "") -> None:
        """Request an item with its audio; the server sends it in `conversation.item.retrieved`."""
        await self._send("conversation.item.retrieve", event_id, item_id=item_id)

    async def truncate(
        self, item_id: str, *, audio_end_ms: int, content_index: int = 0, event_id: str = ""
    ) -> None:
        """Truncate the audio of a reply after `audio_end_ms` milliseconds, the part that was
        heard."""
        place = {"content_index": content_index, "audio_end_ms": audio_end_ms}
        await self._send("conversation.item.truncate", event_id, item_id=item_id, **place)


class ConversationResource:
    """`rt.conversation`."""

    def __init__(self, send: Send) -> None:
        self.item = ItemResource(send)


class InputAudioBufferResource(_Resource):
    """`rt.input_audio_buffer`."""

    async def append(self, audio: bytes | str, *, event_id: str = "") -> None:
        """Append audio in the input format of the session (by default PCM16, 24 kHz, mono): bytes,
        or a base64 string. Many bytes are sent in several events."""
        for piece in (audio,) if isinstance(audio, str) else _encoded(audio):
            await self._send("input_audio_buffer.append", event_id, audio=piece)

    async def commit(self, *, event_id: str = "") -> None:
        """Make the appended audio an item."""
        await self._send("input_audio_buffer.commit", event_id)

    async def clear(self, *, event_id: str = "") -> None:
        """Discard the appended audio."""
        await self._send("input_audio_buffer.clear", event_id)


def _encoded(audio: bytes) -> Iterator[str]:
    for start in range(0, len(audio), MAX_APPEND):
        yield b64encode(audio[start : start + MAX_APPEND]).decode()
