"""Requests for client secrets: short-lived keys for browsers and other clients.

Sources: the references of OpenAI and xAI, and, for the beta API, the types of `openai` 1.109.
"""

from __future__ import annotations

import re

from rtchat.core.values import Dialect, JsonObject, Options, value
from rtchat.wire import beta
from rtchat.wire.commands import write_options
from rtchat.wire.fields import Fields, read_json
from rtchat.wire.http_bodies import SecretEndpoint

_TOKEN = r"[\w.~+/-]+=*"
"""The format of a key (RFC 6750 §2.1)."""


@value
class ClientSecret:
    """A secret, and when it expires, in Unix seconds; None if the server does not report it."""

    text: str
    expires_at: float | None = None


def secret_endpoint(dialect: Dialect) -> SecretEndpoint:
    """The endpoint that creates secrets for sessions."""
    return SecretEndpoint.SESSIONS if _is_beta(dialect) else SecretEndpoint.CLIENT_SECRETS


def _is_beta(dialect: Dialect) -> bool:
    return dialect in (Dialect.BETA, Dialect.QWEN)


def write_secret_request(
    model: str, options: Options, seconds: int, dialect: Dialect
) -> JsonObject:
    """The body of a request for a secret that is valid for `seconds` and opens sessions with these
    options."""
    if dialect is Dialect.XAI:
        return {"expires_after": {"seconds": seconds}}  # xAI supports nothing else
    expiry = {"expires_after": {"anchor": "created_at", "seconds": seconds}}
    session = {"type": "realtime", "model": model, **write_options(options)}
    if _is_beta(dialect):
        return {**beta.flattened(session), "client_secret": expiry}
    return {**expiry, "session": session}


def read_response(body: bytes) -> JsonObject:
    """The JSON object in the body of a response; empty if there is none."""
    try:
        data = read_json(body.decode())
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def read_secret(data: JsonObject) -> ClientSecret | None:
    """The secret in a response, in either dialect; None if there is none that has the format of a
    key."""
    fields = Fields(data, [])
    fields = fields if fields.text("value") else fields.fields("client_secret")
    text = fields.text("value")
    if not re.fullmatch(_TOKEN, text, re.ASCII):
        return None
    return ClientSecret(text, fields.number("expires_at"))
