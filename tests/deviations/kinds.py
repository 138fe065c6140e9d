"""Deviations in general, and the names of the events that they change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.deviations.server import Data, Frame, Server, Transform

TEXT_DELTAS = ("response.output_text.delta", "response.output_audio_transcript.delta")
TEXT_DONE = ("response.output_text.done", "response.output_audio_transcript.done")
ARGUMENTS = "response.function_call_arguments"
TRANSCRIPTION = "conversation.item.input_audio_transcription"
TYPES = (
    "session.created",
    "session.updated",
    "conversation.item.added",
    "conversation.item.done",
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    f"{TRANSCRIPTION}.delta",
    f"{TRANSCRIPTION}.completed",
    "response.created",
    "response.output_item.added",
    "response.content_part.added",
    *TEXT_DELTAS,
    *TEXT_DONE,
    "response.output_audio.delta",
    "response.output_audio.done",
    f"{ARGUMENTS}.delta",
    f"{ARGUMENTS}.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.done",
    "rate_limits.updated",
)
"""The events of a correct server."""
CALL_EVENTS = (
    "response.output_item.added",
    f"{ARGUMENTS}.done",
    "response.output_item.done",
    "response.done",
)
"""The events that describe a call."""
SESSION = ("session.created", "session.updated")


@dataclass(frozen=True, eq=False)
class Deviation:
    """One deviation. `make` returns its transform for one run. `hides` is what a client cannot rely
    on because of it, and `needs` what a client must rely on to compensate for it."""

    name: str
    make: Callable[[], Transform]
    hides: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    order: int = 0
    """Deviations with a lower order are applied first; the others also change the frames that these
    add."""

    def __str__(self) -> str:
        return self.name


def each(
    name: str,
    change: Callable[[Frame], Iterable[Frame]],
    *,
    hides: Iterable[str] = (),
    needs: Iterable[str] = (),
) -> Deviation:
    """A deviation that replaces each frame."""

    def transform(_: Server, __: str, frames: list[Frame]) -> list[Frame]:
        return [new for frame in frames for new in change(frame)]

    return Deviation(name, lambda: transform, frozenset(hides), frozenset(needs))


def edited(name: str, edit: Callable[[Data], None], *, hides: Iterable[str] = ()) -> Deviation:
    """A deviation that changes the data of each frame in place."""

    def change(frame: Frame) -> Iterator[Frame]:
        edit(frame.data)
        yield frame

    return each(name, change, hides=hides)


def bodies(data: Data) -> Iterator[Data]:
    """The objects in an event that may have an item id."""
    if isinstance(item := data.get("item"), dict):
        yield item
    if isinstance(response := data.get("response"), dict):
        yield from response.get("output") or ()
