"""`keys mint`: requests a client secret from the server of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from rtchat.app.environment import Environment
from rtchat.app.wiring import endpoint_of, tls_of
from rtchat.client.endpoint import http_endpoint
from rtchat.client.failures import ConnectError
from rtchat.client.http_request import post
from rtchat.config.settings import Settings
from rtchat.core.errors import ExitCode, Problem, UsageError, to_exception, writing_stdout
from rtchat.core.text import write_json
from rtchat.core.values import Dialect, JsonObject, Options
from rtchat.wire import without_keys
from rtchat.wire.client_secrets import (
    ClientSecret,
    read_response,
    read_secret,
    secret_endpoint,
    write_secret_request,
)


def mint(
    settings: Settings,
    environment: Environment,
    seconds: int,
    *,
    as_json: bool,
    say: Callable[[str], None],
) -> ExitCode:
    """Print a new client secret that is valid for `seconds`, or the whole response. `say` receives
    a line about its expiry.

    Raises:
        RtchatError: the server did not create a secret.
    """
    if settings.local:
        raise UsageError("the built-in model needs no key", hint="choose a server with --profile")
    data = asyncio.run(_request(settings, environment, seconds))
    secret = read_secret(data)
    if secret is None:
        message = "the response of the server contains no client secret"
        raise to_exception(Problem(ExitCode.LINK, message, "check --url and --dialect"))
    with writing_stdout():
        environment.stdout.write(f"{write_json(data) if as_json else secret.text}\n")
        environment.stdout.flush()
    if not as_json:
        say(_validity(secret))
    return ExitCode.OK


def _validity(secret: ClientSecret) -> str:
    if secret.expires_at is not None:
        with suppress(ValueError, OverflowError, OSError):
            until = datetime.fromtimestamp(secret.expires_at, UTC)
            return f"valid until {until:%Y-%m-%d %H:%M:%S} UTC"
    return "the server does not report when the client secret expires"


async def _request(settings: Settings, environment: Environment, seconds: int) -> JsonObject:
    """The response of the server. If the dialect is not set, the current API is tried first."""
    if settings.forced_dialect is not None:
        return await _request_in(settings.forced_dialect, settings, environment, seconds)
    try:
        return await _request_in(Dialect.GA, settings, environment, seconds)
    except ConnectError as error:
        if error.code not in _NO_SUCH_ENDPOINT:
            raise
    return await _request_in(Dialect.BETA, settings, environment, seconds)


_NO_SUCH_ENDPOINT = ("404", "405")
_REFUSED_SETTINGS = ("400", "422")


async def _request_in(
    dialect: Dialect, settings: Settings, environment: Environment, seconds: int
) -> JsonObject:
    where = endpoint_of(settings, settings.model, beta=dialect is Dialect.BETA)
    options = Options(settings.system, None, settings.max_output_tokens, settings.session)
    try:
        body = await post(
            http_endpoint(where, secret_endpoint(dialect).value),
            write_secret_request(settings.model, options, seconds, dialect),
            timeout=settings.connect_timeout,
            tls=tls_of(settings, environment, where),
        )
    except ConnectError as error:
        if error.code in _REFUSED_SETTINGS:
            raise UsageError(error.message, hint="check --set, --model and --dialect") from error
        raise
    return without_keys(read_response(body), where.redactor)
