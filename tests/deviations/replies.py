"""Deviations of whole replies: their ends, errors, and replies that were not requested."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from tests.deviations.kinds import Deviation
from tests.deviations.server import Answer, Frame, Response, Server, Transform


def cancelled(
    name: str, change: Callable[[Frame], list[Frame]], *, hides: Iterable[str] = ()
) -> Deviation:
    """Another answer to `response.cancel`."""

    def transform(_: Server, stage: str, frames: list[Frame]) -> list[Frame]:
        if stage != "cancel":
            return frames
        return [new for f in frames for new in (change(f) if "response" in f.data else [f])]

    return Deviation(f"after a cancel: {name}", lambda: transform, frozenset(hides))


def only_cancelled(frame: Frame) -> list[Frame]:
    """`response.cancelled`, which OpenAI does not send."""
    assert frame.response is not None
    return [replace(frame, data={"type": "response.cancelled", "response_id": frame.response.id})]


def only_cancelled_without_id(frame: Frame) -> list[Frame]:
    """`response.cancelled` without a field."""
    return [replace(frame, data={"type": "response.cancelled"})]


def completed(frame: Frame) -> list[Frame]:
    """The response had already ended."""
    frame.data["response"] |= {"status": "completed", "status_details": None}
    return [frame]


def error(at: str, *, kills: bool = False, **fields: object) -> Deviation:
    """An error that names no command: before the reply, during it or after it. If it `kills`,
    nothing of the reply follows."""

    def transform(server: Server, stage: str, frames: list[Frame]) -> list[Frame]:
        if stage != "response" or frames[0].response is None or frames[0].response.turn is None:
            return frames
        response = frames[0].response
        index = {"before": 0, "during": len(frames) // 2, "after": len(frames)}[at]
        data = {"type": "error", "error": {"type": "server_error", "message": "Odd."}} | fields
        data.setdefault("event_id", server.new_id("event"))
        new = Frame(data, response, error="Odd.")
        return [*frames[:index], new, *([] if kills else frames[index:])]

    name = "an error instead of the rest" if kills else "an error"
    shape = f" ({next(iter(fields))})" if fields else ""
    hides = frozenset({"an answer"} if kills else ())
    return Deviation(f"{name} {at} the reply{shape}", lambda: transform, hides=hides, order=1)


def busy_before(*, names_request: bool) -> Deviation:
    """The server says that it is busy, and then begins the reply."""

    def transform(server: Server, stage: str, frames: list[Frame]) -> list[Frame]:
        response = frames[0].response if frames else None
        if stage != "response" or response is None or response.turn is None:
            return frames
        code, message = "conversation_already_has_active_response", "Busy."
        fields = {"event_id": server.request} if names_request else {}
        data = {"type": "error", "error": {"code": code, "message": message} | fields}
        return [Frame(data), *frames]

    about = "naming the request" if names_request else "naming nothing"
    return Deviation(f"busy, {about}, before the reply", lambda: transform, frozenset({"refusals"}))


# ------------------------------------------------------------------------------ unrequested replies

GREETING = "Welcome to our service."


def unrequested(
    stage: str, *, after: bool, is_busy: bool = False, split: bool = False
) -> Deviation:
    """A reply that was not requested, before or after the events of a stage. With `is_busy`, the
    server refuses requests until the reply is over; with `split`, its end comes after
    the events."""

    def make() -> Transform:
        is_done = False

        def transform(server: Server, at: str, frames: list[Frame]) -> list[Frame]:
            nonlocal is_done
            if at != stage or is_done:
                return frames
            is_done = True
            response = Response(Answer(GREETING), None, server.new_id("resp"))
            new = [f.copy(event_id=server.new_id("event")) for f in server.frames(response)]
            if is_busy:
                server.active = response
            if split:
                middle = len(new) // 2
                return [*new[:middle], *frames, *new[middle:]]
            return [*frames, *new] if after else [*new, *frames]

        return transform

    where = "around" if split else "after" if after else "before"
    name = f"an unrequested reply {where} {stage}{' that makes it busy' if is_busy else ''}"
    needs = {"response ids", "announcements", "confirmations", "refusals", "an answer"}
    if stage == "response":
        needs.add("marks")
    return Deviation(name, make, needs=frozenset(needs), order=-1)


UNREQUESTED: tuple[Deviation, ...] = (
    unrequested("open", after=True),
    unrequested("configured", after=False),
    unrequested("configured", after=True),
    unrequested("configured", after=True, is_busy=True),
    unrequested("item", after=False),
    unrequested("item", after=False, is_busy=True),
    unrequested("item", after=False, split=True),
    unrequested("response", after=True),
)
ALL: tuple[Deviation, ...] = (
    cancelled("only response.cancelled", only_cancelled),
    cancelled(
        "only response.cancelled without an id",
        only_cancelled_without_id,
        hides=["response ids"],
    ),
    cancelled("nothing", lambda _: []),
    cancelled("it had ended", completed),
    *(error(at) for at in ("before", "during", "after")),
    *(error(at, kills=True) for at in ("before", "during")),
    error("before", error="Odd."),
    error("before", kills=True, error="Odd."),
    error("before", kills=True, error=None, message="Odd."),
    busy_before(names_request=True),
    busy_before(names_request=False),
    *UNREQUESTED,
)
