"""Deviations of one type of event: whether, how often, when and under which name it is sent."""

from __future__ import annotations

from tests.deviations.kinds import ARGUMENTS, TEXT_DELTAS, TYPES, Deviation, each, edited
from tests.deviations.server import BETA, Data, Frame, Server


def dropped(type: str) -> Deviation:
    """The event is never sent."""
    return each(f"no {type}", lambda f: [] if f.type == type else [f], hides=_hidden(type))


def _hidden(type: str) -> frozenset[str]:
    """What cannot be relied on if an event is not sent, or not in time."""
    return {
        "response.created": frozenset({"announcements"}),
        "input_audio_buffer.committed": frozenset({"confirmations"}),
    }.get(type, frozenset())


def twice(type: str, *, as_two: bool) -> Deviation:
    """The event is sent twice: the same one, or as two events."""

    def change(frame: Frame) -> list[Frame]:
        if frame.type != type:
            return [frame]
        again = frame.copy()
        if as_two and "event_id" in again.data:
            again.data["event_id"] += " again"
        return [frame, again]

    needs = {
        "response.done": ["response ids", "call ids"],
        "response.created": ["announcements"],
    }.get(type, ())
    hides = ["pieces"] if type in (*TEXT_DELTAS, f"{ARGUMENTS}.delta") else ()
    name = f"{type} twice{' with other ids' if as_two else ''}"
    return each(name, change, hides=hides, needs=needs)


def delayed(type: str) -> Deviation:
    """The event comes after the next one."""

    def transform(_: Server, __: str, frames: list[Frame]) -> list[Frame]:
        frames = list(frames)
        for at in range(len(frames) - 2, -1, -1):
            if frames[at].type == type:
                frames[at : at + 2] = [frames[at + 1], frames[at]]
        return frames

    name = f"{type} after the next event"
    return Deviation(name, lambda: transform, hides=_hidden(type), needs=_late(type))


def last(type: str) -> Deviation:
    """The event comes after all others of its response."""

    def transform(_: Server, __: str, frames: list[Frame]) -> list[Frame]:
        late = [frame for frame in frames if frame.type == type]
        return [*(frame for frame in frames if frame.type != type), *late]

    return Deviation(f"{type} last", lambda: transform, hides=_hidden(type), needs=_late(type))


def _late(type: str) -> frozenset[str]:
    """What identifies the response of a late event."""
    return frozenset({"response ids", "item ids"} if type.startswith("response.") else ())


def renamed(*types: str) -> Deviation:
    """The events have their beta names."""
    name = types[0] if len(types) == 1 else "all events"

    def edit(data: Data) -> None:
        data["type"] = BETA[data["type"]] if data["type"] in types else data["type"]

    return edited(f"{name} under the beta name", edit)


def both_names(*types: str, beta_first: bool) -> Deviation:
    """The events are sent under both names."""
    name = types[0] if len(types) == 1 else "all events"

    def change(frame: Frame) -> list[Frame]:
        if frame.data["type"] not in types:
            return [frame]
        beta = frame.copy(type=BETA[frame.data["type"]], event_id=f"{frame.data.get('event_id')} b")
        return [beta, frame] if beta_first else [frame, beta]

    return each(f"{name} under both names, {'beta' if beta_first else 'GA'} first", change)


RENAMED = tuple(BETA)
ALL: tuple[Deviation, ...] = (
    *(make(type) for make in (dropped, delayed, last) for type in TYPES),
    *(twice(type, as_two=as_two) for type in TYPES for as_two in (False, True)),
    *map(renamed, RENAMED),
    renamed(*RENAMED),
    *(both_names(type, beta_first=first) for type in RENAMED for first in (False, True)),
    *(both_names(*RENAMED, beta_first=first) for first in (False, True)),
)
