"""The command `serve`."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rtchat.app.environment import Environment
from rtchat.app.local_model import Say, prepare_local
from rtchat.app.os_signals import EXIT_CODES
from rtchat.client.endpoint import keys_of_query
from rtchat.config.serve import ServeSettings
from rtchat.config.variables import UPSTREAM_KEY
from rtchat.core.errors import ExitCode, UsageError, error_lines
from rtchat.server.chat_completions import Upstream, upstream
from rtchat.server.factory import open_engine, voice_of
from rtchat.server.limits import MB, ServerLimits
from rtchat.server.sockets import run_server


def serve(settings: ServeSettings, environment: Environment, say: Say) -> ExitCode:
    """Serve until a signal; a second signal ends the process at once. Stdout receives one line, the
    URL."""
    upstream = _upstream_of(settings, environment.environ)
    name = settings.engine or ("upstream" if upstream else "local")
    key = _read_key(settings.api_key_file) if settings.api_key_file else None
    context = _read_tls(settings.tls_cert, settings.tls_key) if settings.tls_cert else None
    if name == "local" and settings.gguf is None:
        prepare_local(environment.data_dir, say)

    async def run() -> ExitCode:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_ErrorReporter(say).handle)
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns about lost clients
        stopped: asyncio.Future[ExitCode] = loop.create_future()
        for number, code in EXIT_CODES.items():
            loop.add_signal_handler(number, _stop, stopped, code)
        async with (
            open_engine(
                name,
                data_dir=environment.data_dir,
                environ=environment.environ,
                gguf=settings.gguf,
                upstream=upstream,
                upstream_seconds=settings.upstream_timeout,
                secrets=_secrets(upstream, key),
            ) as engine,
            run_server(
                engine,
                voice=voice_of(engine),
                host=settings.host,
                port=settings.port,
                api_key=key,
                allow_origins=settings.allow_origins,
                ssl=context,
                limits=_limits_of(settings),
                grace=settings.grace,
            ) as url,
        ):
            out = environment.stdout.buffer
            out.write(f"{url}\n".encode())
            out.flush()
            return await stopped

    return asyncio.run(run())


def _upstream_of(settings: ServeSettings, environ: Mapping[str, str]) -> Upstream | None:
    """The upstream that the options name; None if there is none. Raises `UsageError`."""
    url, model, key_file = settings.upstream, settings.upstream_model, settings.upstream_key_file
    if url is None:
        if model is None and key_file is None:
            return None
        hint = "use --upstream URL --upstream-model NAME"
        raise UsageError("--upstream is missing", hint=hint)
    if not model:
        raise UsageError("--upstream-model is missing", hint="use --upstream-model NAME")
    key = _read_key(key_file) if key_file else environ.get(UPSTREAM_KEY.name, "").strip()
    return upstream(url, model, key, insecure=settings.insecure)


def _limits_of(settings: ServeSettings) -> ServerLimits:
    return ServerLimits(
        sessions=settings.max_sessions,
        session_bytes=settings.max_session_mb * MB,
        total_bytes=settings.max_total_mb * MB,
        events_per_second=settings.max_events,
        client_seconds=settings.client_timeout,
        response_seconds=settings.response_timeout,
        image_urls=settings.allow_image_urls,
    )


def _secrets(upstream: Upstream | None, key: str | None) -> list[str]:
    """Secrets that must not reach clients: keys in the upstream's URL, and the server's key."""
    query = urlsplit(upstream.url).query if upstream else ""
    return [*keys_of_query(query), *([key] if key else [])]


def _stop(stopped: asyncio.Future[ExitCode], code: ExitCode) -> None:
    if not stopped.done():
        stopped.set_result(code)
    loop = stopped.get_loop()
    for number, exit_code in EXIT_CODES.items():
        # A second signal ends the process even if the loop is blocked.
        loop.remove_signal_handler(number)
        signal.signal(number, lambda *_, exit_code=exit_code: os._exit(exit_code))


class _ErrorReporter:
    """Reports errors outside any session."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._reported_at = -_REPORT_INTERVAL

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop's exception handler."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _OUT_OF_FILES):
            loop.default_exception_handler(context)
        elif loop.time() - self._reported_at >= _REPORT_INTERVAL:  # the loop reports it each second
            self._reported_at = loop.time()
            message = "too many open files, so new connections have to wait"
            hint = "increase ulimit -n or decrease --max-sessions"
            for line in error_lines(message, hint).splitlines():
                self._say(line)


_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REPORT_INTERVAL = 60.0


def _read_key(file: Path) -> str:
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        message = f"the key file {file} cannot be read ({why})"
        raise UsageError(message, hint="check the path and its permissions") from error
    if not key:
        raise UsageError(f"the key file {file} is empty", hint="write the key on its first line")
    return key


def _read_tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        message = f"the certificate {certificate} cannot be used ({error})"
        raise UsageError(message, hint="check --tls-cert and --tls-key") from error
    return context
