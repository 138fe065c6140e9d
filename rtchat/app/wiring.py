"""Opens what the settings select: the server, the tools and the trace."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing
from typing import TYPE_CHECKING, TypeAlias

from rtchat.app.audio_io import AudioSettings
from rtchat.app.environment import Environment
from rtchat.client.endpoint import tls_context
from rtchat.client.proxies import proxy_keys
from rtchat.client.transport import Endpoint, endpoint, open_connection
from rtchat.config.settings import Settings
from rtchat.core.effects import Notice
from rtchat.core.errors import ExitCode
from rtchat.core.ports import AudioConversion, Link, View
from rtchat.core.redaction import Redactor
from rtchat.core.setup import MachineSetup
from rtchat.ui.plain_view import StatusWriter

if TYPE_CHECKING:
    from rtchat.tools.toolbox import Toolbox
    from rtchat.trace.recording import Trace


def prepare(
    settings: Settings,
    environment: Environment,
    status: StatusWriter,
    audio: AudioSettings = AudioSettings(),  # noqa: B008 - a frozen value
) -> None:
    """Show where the settings come from, and install the built-in model if it is needed."""
    if settings.dotenv is not None:
        status.show(Notice("detail", f"settings from {settings.dotenv}"))
    if not settings.local:
        origin = settings.origins.get("key")
        status.show(Notice("detail", f"key from {origin}" if origin else "key not set"))
    if settings.local:
        from rtchat.app.local_model import prepare_local, prepare_voice

        if audio.hears or audio.speaks:
            prepare_voice(status.say)
        if not audio.transcribes:
            prepare_local(environment.data_dir, status.say)


def trace_of(
    settings: Settings, redactor: Redactor, stack: AsyncExitStack, view: View
) -> Trace | None:
    """The trace of this session, if the settings ask for one."""
    if settings.trace is None:
        return None
    from rtchat.trace.recording import Trace

    trace = Trace(settings.trace, redactor=redactor, complete=settings.trace_audio)
    if trace.path != settings.trace:
        text = f"{settings.trace} exists, so the run is recorded to {trace.path}"
        view.show(Notice("info", text))
    return stack.enter_context(closing(trace))


async def close_trace(trace: Trace | None, code: ExitCode) -> None:
    """Close a trace. Raises its error if nothing else failed."""
    if trace is not None:
        await asyncio.to_thread(trace.close)
        if trace.failure is not None and code is ExitCode.OK:
            raise trace.failure


async def open_toolbox(
    settings: Settings, stack: AsyncExitStack, say: Callable[[str], None]
) -> Toolbox | None:
    """The tools that the model may call. `say` receives what the tools print."""
    if not (settings.tools or settings.mcp):
        return None
    from rtchat.tools.toolbox import combine, printing_to

    stack.enter_context(printing_to(say))
    toolboxes: list[Toolbox] = []
    if settings.tools:
        from rtchat.tools.functions import load

        toolboxes += [load(path) for path in settings.tools]
    if settings.mcp:
        from rtchat.tools.mcp import open_servers

        toolboxes.append(await stack.enter_async_context(open_servers(settings.mcp, say=say)))
    return combine(*toolboxes)


def conversion_of(setup: MachineSetup) -> AudioConversion | None:
    """The conversion of a session's audio; None if it has none. Raises UsageError if that needs a
    package that is not installed."""
    if setup.input_format is None and setup.output_format is None:
        return None
    from rtchat.app.audio_conversion import SessionAudio

    return SessionAudio(setup.input_format, setup.output_format)


Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[Link]]


def model_of(settings: Settings) -> str:
    """The model to use."""
    if settings.local:
        from rtchat.app.local_model import LOCAL_MODEL

        return LOCAL_MODEL
    return settings.model


def endpoint_of(
    settings: Settings,
    model: str,
    *,
    beta: bool,
    transcribes: bool = False,
    translates: bool = False,
) -> Endpoint:
    """The endpoint of the server that the settings select."""
    return endpoint(
        model,
        url=settings.url,
        transcribes=transcribes,
        translates=translates,
        api_key=settings.key.reveal(),
        headers=settings.headers,
        key_header=settings.key_header,
        beta=beta,
        insecure=settings.insecure,
        key_hint=settings.key_hint,
    )


def tls_of(settings: Settings, environment: Environment, where: Endpoint) -> ssl.SSLContext | None:
    """The TLS settings of connections to an endpoint, None for the defaults."""
    return tls_context(settings.ca_bundle, environment.environ if where.is_encrypted else {})


def server_of(
    settings: Settings,
    environment: Environment,
    stack: AsyncExitStack,
    *,
    transcribes: bool = False,
    translates: bool = False,
) -> tuple[Connect, Redactor]:
    """Returns a function that connects to the server, and a redactor of the user's keys."""
    if settings.local:
        from rtchat.app.local_model import LocalServer

        server = LocalServer(
            stack, environment.data_dir, environment.environ, transcribes=transcribes
        )
        return server.connect, Redactor()

    def where(model: str) -> Endpoint:
        is_beta = settings.dialect == "beta"
        return endpoint_of(
            settings, model, beta=is_beta, transcribes=transcribes, translates=translates
        )

    def connect(model: str) -> AbstractAsyncContextManager[Link]:
        return open_connection(
            where(model),
            open_timeout=settings.connect_timeout,
            silence=max(20.0, settings.timeout),
            tls=tls,
        )

    # Report invalid settings now, before the first question.
    first = where(settings.model)
    tls = tls_of(settings, environment, first)
    return connect, Redactor((*first.secrets, *proxy_keys(first)))
