"""Tests a connection stage by stage: how long each takes, and what to do if it fails.

The stages below the handshake use separate sockets, because the WebSocket library does not report
them one by one.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from rtchat.app.doctor_session import DoctorSession
from rtchat.app.environment import Environment
from rtchat.app.frontend import status_writer_of
from rtchat.app.wiring import model_of, prepare, server_of
from rtchat.client.endpoint import Endpoint, shown_url, tls_context
from rtchat.client.probe import CLOSE_TIMEOUT, Probe
from rtchat.client.proxies import proxy_of
from rtchat.config.settings import Settings
from rtchat.core import server_errors
from rtchat.core.effects import AddItem, Configure, CreateResponse
from rtchat.core.errors import ExitCode, RtchatError, to_exception, writing_stdout
from rtchat.core.events import (
    ReplyEnded,
    SessionCreated,
    SessionUpdated,
)
from rtchat.core.json_output import VERSION
from rtchat.core.ports import Link
from rtchat.core.text import shortened, visible, write_json
from rtchat.core.values import Dialect, Message, Options, Part, Status, value

STAGES = (
    *("settings", "proxy", "dns", "tcp", "tls"),
    *("handshake", "session created", "session update", "first token", "close"),
)
QUESTION = "Say the one word: ready."
MAX_TOKENS = 50
"""The limit for the reply; a reasoning model may use all of it before any text."""
MAX_DETAIL = 300

Described = Mapping[str, tuple[str, str]]
"""Settings by name: the value, without secrets, and where it comes from."""


@value
class Stage:
    """The result of a stage. `ok` is None if it was not tried; `seconds` is None if it was not
    timed."""

    name: str
    ok: bool | None
    seconds: float | None
    detail: str


def doctor(
    resolve: Callable[[], Settings],
    describe: Callable[[Settings], Described],
    environment: Environment,
    *,
    as_json: bool,
) -> ExitCode:
    """Try each stage until one fails. Its error is raised after the report has been printed."""
    checks = _DoctorRun(
        environment, describe, print_line=None if as_json else _line_printer(environment)
    )
    error: RtchatError | None = None
    try:
        asyncio.run(checks.run(resolve))
    except RtchatError as caught:
        error = caught
    checks.mark_not_tried()
    if as_json:
        _print(environment, write_json(checks.as_json(error)))
    if error is not None:
        raise error
    return ExitCode.OK


def _line_printer(environment: Environment) -> Callable[[str], None]:
    return lambda line: _print(environment, visible(line))


def _print(environment: Environment, line: str) -> None:
    with writing_stdout():
        environment.stdout.write(f"{line}\n")
        environment.stdout.flush()


@dataclass
class _Note:
    """The results that a stage reports while it runs."""

    detail: str = ""
    seconds: float | None = None
    """The time to report, if it is not that of the whole stage."""


class _DoctorRun:
    """One run through the stages; `print_line` is called with each line of the report."""

    def __init__(
        self,
        environment: Environment,
        describe: Callable[[Settings], Described],
        print_line: Callable[[str], None] | None,
    ) -> None:
        self._environment = environment
        self._describe = describe
        self._print_line = print_line
        self._stages: list[Stage] = []
        self._described: Described = {}

    async def run(self, resolve: Callable[[], Settings]) -> None:
        """Run all stages. Raises RtchatError when one fails."""
        async with AsyncExitStack() as stack:
            with self._stage("settings") as note:
                settings = resolve()
                prepare(settings, self._environment, status_writer_of(settings, self._environment))
                connect, redactor = server_of(settings, self._environment, stack)
                self._described = self._describe(settings)
                note.detail = f"{model_of(settings)} at {_server_name(settings)}"
            if settings.local:
                self._skip("in this process", "proxy", "dns", "tcp", "tls")
            else:
                await self._network(settings)
            with self._stage("handshake") as note:
                link = await stack.enter_async_context(connect(model_of(settings)))
                note.detail = "HTTP 101, on a new connection"
            await self._check_session(DoctorSession(link, redactor, settings), settings)
            with self._stage("close") as note:
                note.detail = await _close(link)

    def mark_not_tried(self) -> None:
        """Add the remaining stages to the report as not tried."""
        names = {stage.name for stage in self._stages}
        for name in STAGES:
            if name not in names:
                self._add(Stage(name, None, None, "not tried"))

    def as_json(self, error: RtchatError | None) -> dict[str, object]:
        """The report as a JSON object; unknown values are null."""
        problem = None if error is None else error.problem
        stages = [
            {
                "name": stage.name.replace(" ", "_"),
                "ok": stage.ok,
                "ms": None if stage.seconds is None else round(stage.seconds * 1000),
                "detail": stage.detail,
            }
            for stage in self._stages
        ]
        settings = {
            name: {"value": shown, "origin": origin}
            for name, (shown, origin) in self._described.items()
        }
        return {
            "version": VERSION,
            "ok": problem is None,
            "stages": stages,
            "settings": settings,
            "error": problem
            and {
                "code": problem.code or None,
                "message": problem.message,
                "hint": problem.hint or None,
            },
        }

    # ----------------------------------------------------------------------------------- stages

    @contextmanager
    def _stage(self, name: str, *, is_timed: bool = True) -> Iterator[_Note]:
        note = _Note()
        began = time.monotonic()

        def seconds() -> float | None:
            took = time.monotonic() - began if note.seconds is None else note.seconds
            return took if is_timed else None

        try:
            yield note
        except RtchatError as error:
            self._add(Stage(name, False, seconds(), error.message))
            raise
        self._add(Stage(name, True, seconds(), note.detail))

    def _skip(self, why: str, *names: str) -> None:
        for name in names:
            self._add(Stage(name, True, None, why))

    def _add(self, stage: Stage) -> None:
        # A server's text can be of any length.
        detail = shortened(" ".join(stage.detail.split()), MAX_DETAIL)
        self._stages.append(replace(stage, detail=detail))
        if self._print_line is None:
            return
        word = {True: "ok", False: "failed", None: ""}[stage.ok]
        took = "" if stage.seconds is None else f"{stage.seconds * 1000:.0f} ms"
        self._print_line(f"{stage.name:<16} {word:<6} {took:>8}  {detail}")
        if stage.name == "settings":
            for name, (shown, origin) in self._described.items():
                self._print_line(f"  {name}: {shown} ({origin})")

    async def _network(self, settings: Settings) -> None:
        """The stages below the handshake, on separate sockets."""
        where = Endpoint(settings.url)
        url = urlsplit(settings.url)
        with self._stage("proxy", is_timed=False) as note:
            proxy = proxy_of(where)
            note.detail = self._describe_proxy(proxy)
        if proxy is not None:
            self._skip("done by the proxy", "dns", "tcp", "tls")
            return
        probe = Probe(where, settings.connect_timeout)
        with self._stage("dns") as note:
            note.detail = await probe.resolve()
        try:
            with self._stage("tcp") as note:
                note.detail = await probe.connect()
            if url.scheme == "ws":
                self._skip("not used (ws://)", "tls")
                return
            with self._stage("tls") as note:
                context = tls_context(settings.ca_bundle, self._environment.environ)
                note.detail = await probe.start_tls(context or ssl.create_default_context())
        finally:
            await probe.close()

    def _describe_proxy(self, proxy: str | None) -> str:
        if proxy is None:
            return "none"
        names = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
        environ = self._environment.environ
        origin = next((name for name in names if environ.get(name) == proxy), "the system")
        return f"{shown_url(proxy)} ({origin})"

    async def _check_session(self, session: DoctorSession, settings: Settings) -> None:
        """The stages of a session."""
        with self._stage("session created") as note:
            created = await session.wait(
                SessionCreated,
                settings.connect_timeout,
                "did not start a session",
                server_errors.of_error,
            )
            session.dialect = settings.forced_dialect or created.dialect or Dialect.GA
            note.detail = _describe_session(created)
        with self._stage("session update") as note:
            options = Options(settings.system, "text", settings.max_output_tokens)
            await session.send(Configure(options))
            await session.wait(
                SessionUpdated,
                settings.connect_timeout,
                "did not respond to the session settings",
                server_errors.refused_settings,
            )
            note.detail = "accepted"
        with self._stage("first token") as note:
            await session.send(AddItem(Message("user", (Part("text", QUESTION),))))
            await session.send(
                CreateResponse(
                    Options(modality="text", max_output_tokens=MAX_TOKENS), is_marked=False
                )
            )
            began = time.monotonic()
            ended = await session.wait(
                ReplyEnded, settings.timeout, "did not reply", server_errors.of_error
            )
            note.seconds = (session.first_token or time.monotonic()) - began
            note.detail = _describe_reply(ended)


def _server_name(settings: Settings) -> str:
    return "this computer" if settings.local else shown_url(settings.url)


def _describe_session(created: SessionCreated) -> str:
    parts = [created.id or "no id", created.model or "no model"]
    parts.append(f"dialect {created.dialect or 'not reported'}")
    if created.expires_at is not None:
        with suppress(ValueError, OverflowError, OSError):
            until = datetime.fromtimestamp(created.expires_at, UTC)
            parts.append(f"until {until:%Y-%m-%d %H:%M:%S} UTC")
    return ", ".join(parts)


def _describe_reply(ended: ReplyEnded) -> str:
    """The status and usage of a reply. Raises RtchatError if it failed."""
    problem = server_errors.of_reply(ended)
    if problem is not None and problem.code != "max_output_tokens":
        raise to_exception(problem)
    usage = ended.usage
    cost = f"{usage.input} tokens in, {usage.output} out" if usage else "usage not reported"
    return f"{ended.status}, {cost}" if ended.status is not Status.COMPLETED else cost


async def _close(link: Link) -> str:
    await link.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            while await link.receive() is not None:
                pass
    return f"code {link.explain().problem.code}"
