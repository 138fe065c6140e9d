"""The configuration of one session, and the session object that clients see."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from rtchat.core.events import SessionCreated, SessionUpdated
from rtchat.core.models import max_output_tokens
from rtchat.core.values import Dialect, JsonObject, Options
from rtchat.server.items import CommandError
from rtchat.server.limits import size_of
from rtchat.wire.client_events import merge_options, model_asked
from rtchat.wire.fields import Fields
from rtchat.wire.session_object import write_session, write_transcription


class SessionConfig:
    """The options of a session. `model` is the one that the handshake named, or else the default of
    the engine. `transcribes` is whether the session is for transcription only."""

    def __init__(
        self,
        session_id: str,
        expires_at: int,
        model: str,
        dialect: Dialect,
        options: Options,
        *,
        is_model_fixed: bool,
        transcribes: bool,
    ) -> None:
        self.options = options
        self.size = size_of(options)
        """The approximate size of the options in bytes."""
        self._session_id = session_id
        self._expires_at = expires_at
        self._model = model
        self._is_model_fixed = is_model_fixed
        self._dialect = dialect
        self._transcribes = transcribes

    def check_limit(self, options: Options, param: str) -> None:
        """Raises `CommandError` if the model cannot generate as many tokens as the options allow.
        `param` is the path of the options."""
        limit, maximum = options.max_output_tokens, max_output_tokens(self._model_after(options))
        if isinstance(limit, int) and maximum is not None and limit > maximum:
            path = f"{param}.max_output_tokens"
            expected = f"expected a value from 1 to {maximum}"
            message = f"Invalid value for '{path}': {expected}, but got {limit} instead."
            raise CommandError("invalid_value", message, path)

    def _model_after(self, options: Options) -> str:
        """The model of the session after these options are merged. If the handshake named one, it
        does not change, because many clients name a model in each update."""
        return (not self._is_model_fixed and model_asked(options)) or self._model

    def update(self, options: Options) -> None:
        """Merge these options into those of the session."""
        if options.instructions == "":  # as with OpenAI's server, empty means unchanged
            options = replace(options, instructions=None)
        self._model = self._model_after(options)
        self.options = merge_options(self.options, options)
        self.size = size_of(self.options)

    def clear(self) -> None:
        """Remove all options."""
        self.options = Options()
        self.size = 0

    def response_options(self, options: Options) -> Options:
        """The options of a response that sets these itself."""
        # A response object contains only its own settings and the audio format and voice, not the
        # session's tools or truncation.
        output = Fields(self.session_object(), []).fields("audio").fields("output").data
        format_and_voice = {"format": output["format"], "voice": output["voice"]}
        modality = self.options.modality or "audio"
        base = replace(
            self.options, modality=modality, other={"audio": {"output": format_and_voice}}
        )
        return merge_options(base, options)

    @property
    def voice(self) -> object:
        """The voice of the session: a name, or an object with an id."""
        return voice_of(self.session_object())

    @property
    def speed(self) -> float:
        """The speed of the voice; 1.0 is normal."""
        output = Fields(self.session_object(), []).fields("audio").fields("output")
        return output.number("speed") or 1.0

    def session_object(self) -> JsonObject:
        """The complete session object."""
        write = (
            write_transcription if self._transcribes else partial(write_session, model=self._model)
        )
        return write(session_id=self._session_id, expires_at=self._expires_at, options=self.options)

    def event(self, make: type[SessionCreated | SessionUpdated]) -> SessionCreated | SessionUpdated:
        """The event that announces the session or its new options."""
        model = "" if self._transcribes else self._model
        session = self.session_object()
        return make(self._session_id, model, self._dialect, self._expires_at, session)


def voice_of(session: JsonObject) -> object:
    """The voice that these options name; None if they name none."""
    return Fields(session, []).fields("audio").fields("output").data.get("voice")
