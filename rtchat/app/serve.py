"""The command `serve`."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import ssl
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from rtchat.app.local_model import Say, prepare_local
from rtchat.app.signals import EXIT_CODES
from rtchat.client.endpoint import keys_of_query
from rtchat.core.errors import ExitCode, UsageError, error_lines
from rtchat.server.chat_completions import Upstream, upstream
from rtchat.server.factory import open_engine, voice_of
from rtchat.server.limits import ServerLimits
from rtchat.server.sockets import run_server

UPSTREAM_KEY = "RTCHAT_UPSTREAM_KEY"


def read_upstream(
    url: str | None,
    model: str | None,
    key_file: Path | None,
    *,
    insecure: bool,
    environ: Mapping[str, str],
) -> Upstream | None:
    """The upstream that the options name; None if there is none.

    Raises:
        UsageError: an option is missing, or the key file cannot be read.
    """
    if url is None:
        if model is None and key_file is None:
            return None
        hint = "use --upstream URL --upstream-model NAME"
        raise UsageError("--upstream is missing", hint=hint)
    if not model:
        raise UsageError("--upstream-model is missing", hint="use --upstream-model NAME")
    key = _read_key(key_file) if key_file else environ.get(UPSTREAM_KEY, "").strip()
    return upstream(url, model, key, insecure=insecure)


def serve(
    engine: str | None,
    *,
    host: str,
    port: int,
    gguf: Path | None,
    upstream: Upstream | None,
    api_key_file: Path | None,
    tls: tuple[Path, Path | None] | None,
    allow_origins: Sequence[str],
    limits: ServerLimits,
    upstream_seconds: float,
    grace: float,
    data_dir: Path,
    environ: MutableMapping[str, str],
    out: BinaryIO,
    say: Say,
) -> ExitCode:
    """Serve until a signal; a second signal ends the process at once. `out` receives one line, the
    URL. `upstream_seconds` and `grace` are time-outs in seconds."""
    name = engine or ("upstream" if upstream else "local")
    key = _read_key(api_key_file) if api_key_file else None
    context = _read_tls(*tls) if tls else None
    if name == "local" and gguf is None:
        prepare_local(data_dir, say)

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
                data_dir=data_dir,
                environ=environ,
                gguf=gguf,
                upstream=upstream,
                upstream_seconds=upstream_seconds,
                secrets=_secrets(upstream, key),
            ) as opened_engine,
            run_server(
                opened_engine,
                voice=voice_of(opened_engine),
                host=host,
                port=port,
                api_key=key,
                allow_origins=allow_origins,
                ssl=context,
                limits=limits,
                grace=grace,
            ) as url,
        ):
            out.write(f"{url}\n".encode())
            out.flush()
            return await stopped

    return asyncio.run(run())


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
