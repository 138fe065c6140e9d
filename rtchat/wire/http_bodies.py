"""The bodies of a server's HTTP requests and responses: models, client secrets and errors.

Source: OpenAI's reference of `/v1/models` and `/v1/realtime/client_secrets`, and, for the two
endpoints of the beta API, the types of `openai` 1.109.
"""

from __future__ import annotations

from enum import Enum

from rtchat.core.effects import Configure
from rtchat.core.events import ServerProblem
from rtchat.core.values import Dialect, JsonObject, Options, value
from rtchat.wire import beta
from rtchat.wire.client_events import INVALID_REQUEST, decode_command, read_request, without_nulls
from rtchat.wire.fields import Fields, read_json
from rtchat.wire.schema import EXPIRY, SECRET_REQUEST, SESSION_TYPE
from rtchat.wire.validators import FieldError


class SecretEndpoint(Enum):
    """The endpoints that create client secrets, by their path after `/realtime`."""

    CLIENT_SECRETS = "/client_secrets"
    SESSIONS = "/sessions"
    """An endpoint of the beta API, like the next one."""
    TRANSCRIPTION_SESSIONS = "/transcription_sessions"


@value
class SecretRequest:
    """A request for a client secret: its validity in seconds, and the options of its sessions."""

    seconds: int
    options: Options
    transcribes: bool
    """Whether its sessions are for transcription only."""


_SECONDS, _BETA_SECONDS = 600, 60
"""How long a secret is valid by default, in seconds."""


def read_secret_request(body: bytes, endpoint: SecretEndpoint) -> SecretRequest | ServerProblem:
    """The request in a body, or the error with which to answer it. Never raises."""
    try:
        data = read_request(body.decode() or "{}")
    except UnicodeDecodeError as error:
        return ServerProblem(f"Invalid UTF-8: {error}.", INVALID_REQUEST, "invalid_json")
    if isinstance(data, ServerProblem):
        return data
    try:
        if endpoint is SecretEndpoint.CLIENT_SECRETS:
            return _read_current(without_nulls(data))
        return _read_beta(data, endpoint is SecretEndpoint.TRANSCRIPTION_SESSIONS)
    except FieldError as error:
        return ServerProblem(str(error), INVALID_REQUEST, error.code, error.param)


def _read_current(data: JsonObject) -> SecretRequest | ServerProblem:
    SECRET_REQUEST(data, "")
    fields = Fields(data, [])
    session = fields.fields("session").data or {"type": "realtime"}
    SESSION_TYPE(session.get("type", "realtime"), "session.type")
    seconds = fields.fields("expires_after").integer("seconds") or _SECONDS
    transcribes = session.get("type") == "transcription"
    event = {"type": "session.update", "session": session}
    return _request(decode_command(event, transcribes=transcribes), seconds, transcribes)


def _read_beta(data: JsonObject, transcribes: bool) -> SecretRequest | ServerProblem:
    secret = Fields(without_nulls(data), []).fields("client_secret")
    # The field has another name for transcription.
    expiry = secret.fields("expires_after").data or secret.fields("expires_at").data
    EXPIRY(expiry, "client_secret.expires_after")
    seconds = Fields(expiry, []).integer("seconds") or _BETA_SECONDS
    # The event of a transcription session has no modalities.
    others = ("client_secret", "modalities") if transcribes else ("client_secret",)
    session = {key: data[key] for key in data if key not in others}
    kind = "transcription_session.update" if transcribes else "session.update"
    event = {"type": kind, "session": session}
    return _request(
        decode_command(event, Dialect.BETA, transcribes=transcribes), seconds, transcribes
    )


def _request(command: object, seconds: int, transcribes: bool) -> SecretRequest | ServerProblem:
    if isinstance(command, ServerProblem):
        return command
    assert isinstance(command, Configure)
    return SecretRequest(seconds, command.options, transcribes)


def write_secret(
    endpoint: SecretEndpoint, secret: str, expires_at: int, session: JsonObject
) -> JsonObject:
    """The response with a new client secret. `session` is a GA session object, and `expires_at` is
    in Unix seconds."""
    secret_fields = {"value": secret, "expires_at": expires_at}
    if endpoint is SecretEndpoint.CLIENT_SECRETS:
        return secret_fields | {"session": session}
    return beta.session_to_beta(session) | {"client_secret": secret_fields}


def write_model(name: str, created: int) -> JsonObject:
    """A model object. `created` is in Unix seconds."""
    return {"id": name, "object": "model", "created": created, "owned_by": "rtchat"}


def write_models(names: list[str], created: int) -> JsonObject:
    """The list of these models."""
    return {"object": "list", "data": [write_model(name, created) for name in names]}


def read_models(body: bytes) -> tuple[str, ...]:
    """The names in a list of models; empty if the body is not such a list."""
    try:
        data = read_json(body.decode())
    except (ValueError, RecursionError):
        return ()
    if not isinstance(data, dict):
        return ()
    names = (model.text("id") for model in Fields(data, []).list("data"))
    return tuple(filter(None, names))


def write_error(problem: ServerProblem) -> JsonObject:
    """The body of an HTTP error."""
    error = {
        "message": problem.message,
        "type": problem.kind,
        "param": problem.param or None,
        "code": problem.code or None,
    }
    return {"error": error}
