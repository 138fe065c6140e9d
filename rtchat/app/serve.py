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
from rtchat.core.errors import ExitCode, UsageError
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
    """The upstream that the options name; None if they name none."""
    if url is None:
        if model is None and key_file is None:
            return None
        raise UsageError("which upstream?", hint="--upstream URL --upstream-model NAME")
    if not model:
        raise UsageError("which model of the upstream?", hint="--upstream-model NAME")
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
    """Serve until a signal; the URL is the one line on `out`. A second signal ends it at once."""
    name = engine or ("upstream" if upstream else "local")
    key = _read_key(api_key_file) if api_key_file else None
    context = _read_tls(*tls) if tls else None
    if name == "local" and gguf is None:
        prepare_local(data_dir, say)

    async def run() -> ExitCode:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_Faults(say).handle)
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
            ) as answering,
            run_server(
                answering,
                voice=voice_of(answering),
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
    """Keys that the upstream has and clients must not see."""
    query = urlsplit(upstream.url).query if upstream else ""
    return [*keys_of_query(query), *([key] if key else [])]


def _stop(stopped: asyncio.Future[ExitCode], code: ExitCode) -> None:
    if not stopped.done():
        stopped.set_result(code)
    loop = stopped.get_loop()
    for number, ending in EXIT_CODES.items():
        # A second signal ends the process whatever the loop is doing.
        loop.remove_signal_handler(number)
        signal.signal(number, lambda *_, ending=ending: os._exit(ending))


class _Faults:
    """Reports errors outside of any session."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._said_at = -_QUIET_SECONDS

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle an error; the event loop calls this."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _OUT_OF_FILES):
            loop.default_exception_handler(context)
        elif loop.time() - self._said_at >= _QUIET_SECONDS:  # the loop reports it every second
            self._said_at = loop.time()
            self._say(
                "rtchat: too many open files; new connections have to wait: "
                "raise the limit (ulimit -n) or lower --max-sessions"
            )


_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_QUIET_SECONDS = 60.0


def _read_key(file: Path) -> str:
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the key file {file} cannot be read", hint=str(error)) from error
    if not key:
        raise UsageError(f"the key file {file} is empty", hint="put the key into it, on one line")
    return key


def _read_tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"the certificate {certificate} cannot be used", hint=str(error)
        ) from error
    return context
