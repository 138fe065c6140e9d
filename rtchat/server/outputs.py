"""What a session gives to its connection: frames to send, and actions for engines and voices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from rtchat.core.text import compact_json
from rtchat.core.values import Dialect, Options, value
from rtchat.server.audio_input import Transcribe, TranscribeEarly
from rtchat.server.engine import Answer, ModelInput
from rtchat.server.response import BuildStep, Speak
from rtchat.wire.server_events import encode_event

_NO_OPTIONS = Options()


@value
class StartResponse:
    """Pass the pieces of this answer to `add_piece` and `finish` as they arrive."""

    response_id: str
    answer: Answer


@value
class PrepareAnswer:
    """Tell the engine that this prompt will probably follow."""

    prompt: ModelInput


@value
class StopResponse:
    """This response has ended: stop its engine and its voice."""

    response_id: str


Work: TypeAlias = (
    StartResponse | PrepareAnswer | Speak | Transcribe | TranscribeEarly | StopResponse
)
"""An action for an engine or a voice."""
Output: TypeAlias = str | Work
"""A frame to send, or an action."""


class EventEncoder:
    """Encodes events as frames in the client's dialect."""

    def __init__(self, dialect: Dialect, new_id: Callable[[str], str]) -> None:
        self.dialect = dialect
        self._new_id = new_id

    def encode(
        self, steps: Iterable[BuildStep], options: Options = _NO_OPTIONS
    ) -> Iterator[Output]:
        """The frames of these events. `options` are those of the response that they belong to."""
        for step in steps:
            if isinstance(step, Speak):
                yield step
                continue
            data = encode_event(step, self._new_id("event"), self.dialect, options)
            if data is not None:
                yield compact_json(data)
