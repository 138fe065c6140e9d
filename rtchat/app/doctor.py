"""Each stage of a connection, one after the other: how long it takes, and what to do if it fails.

The stages below the handshake are tried with sockets of their own, as the program's one would not
tell them apart.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import urlsplit

from rtchat import wire
from rtchat.app.chat import model_of, prepare, server_of
from rtchat.app.frontend import Environment, status_writer_of
from rtchat.client.endpoint import Endpoint, shown_url, trust
from rtchat.client.probe import CLOSE_TIMEOUT, Probe
from rtchat.client.session import Link
from rtchat.client.transport import proxy_of
from rtchat.config.settings import Settings
from rtchat.core import server_errors
from rtchat.core.effects import AddItem, Command, Configure, CreateResponse
from rtchat.core.errors import ExitCode, Problem, RtchatError, to_exception, writing_stdout
from rtchat.core.events import (
    Delta,
    ReplyEnded,
    ServerEvent,
    ServerProblem,
    SessionCreated,
    SessionUpdated,
    Unknown,
)
from rtchat.core.redaction import Redactor
from rtchat.core.text import visible, write_json
from rtchat.core.values import Channel, Dialect, Message, Options, Part, Status, value

STAGES = (
    *("settings", "proxy", "dns", "tcp", "tls"),
    *("handshake", "session created", "session update", "first token", "close"),
)
SETTINGS = (
    *("model", "url", "dialect", "connect_timeout", "timeout", "headers"),
    *("ca_bundle", "insecure", "local", "key"),
)
"""Those that decide about a connection."""
QUESTION = "Say the one word: ready."
MOST_TOKENS = 50
"""What the reply may cost; a model that thinks first may get no further."""
LONGEST_DETAIL = 300
_HINT = "check --url, or give it longer with --timeout and --connect-timeout"

Described = Mapping[str, tuple[str, str]]
"""Settings by name: a value, for anybody to see, and where it comes from."""

_E = TypeVar("_E", bound=ServerEvent)


@value
class Stage:
    """How one stage went. `ok` is None if it was not tried; `seconds` too if there was nothing to
    wait for."""

    name: str
    ok: bool | None
    seconds: float | None
    detail: str


def doctor(
    resolve: Callable[[], Settings],
    describe: Callable[[Settings], Described],
    streams: Environment,
    *,
    as_json: bool,
) -> ExitCode:
    """Try every stage up to the first that fails, whose error is raised once all is printed."""
    examination = _DoctorRun(streams, describe, tell=None if as_json else _teller(streams))
    error: RtchatError | None = None
    try:
        asyncio.run(examination.run(resolve))
    except RtchatError as caught:
        error = caught
    examination.give_up()
    if as_json:
        _print(streams, write_json(examination.as_json(error)))
    if error is not None:
        raise error
    return ExitCode.OK


def _teller(streams: Environment) -> Callable[[str], None]:
    return lambda line: _print(streams, visible(line))


def _print(streams: Environment, line: str) -> None:
    with writing_stdout():
        streams.stdout.write(f"{line}\n")
        streams.stdout.flush()


@dataclass
class _Note:
    """What a stage has to say of itself while it goes."""

    detail: str = ""
    seconds: float | None = None
    """If not all of the time that it took counts."""


class _DoctorRun:
    """One run through the stages; `tell` is given each line as it is known."""

    def __init__(
        self,
        streams: Environment,
        describe: Callable[[Settings], Described],
        tell: Callable[[str], None] | None,
    ) -> None:
        self._streams = streams
        self._describe = describe
        self._tell = tell
        self._stages: list[Stage] = []
        self._described: Described = {}

    async def run(self, resolve: Callable[[], Settings]) -> None:
        """Go through all stages. Raises RtchatError for the first that fails."""
        async with AsyncExitStack() as stack:
            with self._stage("settings") as note:
                settings = resolve()
                prepare(settings, self._streams, status_writer_of(settings, self._streams))
                connect, redactor = server_of(settings, self._streams, stack)
                self._described = self._describe(settings)
                note.detail = f"{model_of(settings)} at {_place(settings)}"
            if settings.local:
                self._skip("in this process", "proxy", "dns", "tcp", "tls")
            else:
                await self._network(settings)
            with self._stage("handshake") as note:
                link = await stack.enter_async_context(connect(model_of(settings)))
                note.detail = "HTTP 101, on a connection of its own"
            await self._talk(_Talk(link, redactor, settings), settings)
            with self._stage("close") as note:
                note.detail = await _close(link)

    def give_up(self) -> None:
        """What has not been tried will not be."""
        names = {stage.name for stage in self._stages}
        for name in STAGES:
            if name not in names:
                self._add(Stage(name, None, None, "not tried"))

    def as_json(self, error: RtchatError | None) -> dict[str, object]:
        """All of it as one object; null where a thing is not known."""
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
        detail = " ".join(stage.detail.split())
        if len(detail) > LONGEST_DETAIL:  # a server may send anything, of any length
            detail = detail[: LONGEST_DETAIL - 1] + "…"
        self._stages.append(replace(stage, detail=detail))
        if self._tell is None:
            return
        word = {True: "ok", False: "failed", None: ""}[stage.ok]
        took = "" if stage.seconds is None else f"{stage.seconds * 1000:.0f} ms"
        self._tell(f"{stage.name:<16} {word:<6} {took:>8}  {detail}")
        if stage.name == "settings":
            for name, (shown, origin) in self._described.items():
                self._tell(f"  {name}: {shown} ({origin})")

    async def _network(self, settings: Settings) -> None:
        """The stages below the handshake, each with a socket of its own."""
        where = Endpoint(settings.url)
        url = urlsplit(settings.url)
        with self._stage("proxy", is_timed=False) as note:
            proxy = proxy_of(where)
            note.detail = self._describe_proxy(proxy)
        if proxy is not None:
            self._skip("the proxy's business", "dns", "tcp", "tls")
            return
        probe = Probe(where, settings.connect_timeout)
        with self._stage("dns") as note:
            note.detail = await probe.find()
        try:
            with self._stage("tcp") as note:
                note.detail = await probe.reach()
            if url.scheme == "ws":
                self._skip("none, as ws:// has none", "tls")
                return
            with self._stage("tls") as note:
                context = trust(settings.ca_bundle, self._streams.environ)
                note.detail = await probe.encrypt(context or ssl.create_default_context())
        finally:
            await probe.close()

    def _describe_proxy(self, proxy: str | None) -> str:
        if proxy is None:
            return "none"
        names = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
        environ = self._streams.environ
        origin = next((name for name in names if environ.get(name) == proxy), "the system")
        return f"{shown_url(proxy)} ({origin})"

    async def _talk(self, talk: _Talk, settings: Settings) -> None:
        """The stages of a session."""
        with self._stage("session created") as note:
            created = await talk.wait(
                SessionCreated, settings.connect_timeout, "began no session", server_errors.of_error
            )
            talk.dialect = settings.forced_dialect or created.dialect or Dialect.GA
            note.detail = _described_session(created)
        with self._stage("session update") as note:
            options = Options(settings.system, "text", settings.max_output_tokens)
            await talk.send(Configure(options))
            await talk.wait(
                SessionUpdated,
                settings.connect_timeout,
                "did not answer our settings",
                server_errors.refused_settings,
            )
            note.detail = "accepted"
        with self._stage("first token") as note:
            await talk.send(AddItem(Message("user", (Part("text", QUESTION),))))
            await talk.send(CreateResponse(Options(modality="text", max_output_tokens=MOST_TOKENS)))
            began = time.monotonic()
            ended = await talk.wait(
                ReplyEnded, settings.timeout, "said no word", server_errors.of_error
            )
            note.seconds = (talk.first_token or time.monotonic()) - began
            note.detail = _described_reply(ended)


def _place(settings: Settings) -> str:
    return "this computer" if settings.local else shown_url(settings.url)


def _described_session(created: SessionCreated) -> str:
    parts = [created.id or "no id", created.model or "no model"]
    parts.append(f"dialect {created.dialect or 'not said'}")
    if created.expires_at is not None:
        with suppress(ValueError, OverflowError, OSError):
            until = datetime.fromtimestamp(created.expires_at, UTC)
            parts.append(f"until {until:%Y-%m-%d %H:%M:%S} UTC")
    return ", ".join(parts)


def _described_reply(ended: ReplyEnded) -> str:
    """Raises RtchatError if the reply is none."""
    problem = server_errors.of_reply(ended)
    if problem is not None and problem.code != "max_output_tokens":
        raise to_exception(problem)
    usage = ended.usage
    cost = f"{usage.input} tokens in, {usage.output} out" if usage else "usage not said"
    return f"{ended.status}, {cost}" if ended.status is not Status.COMPLETED else cost


async def _close(link: Link) -> str:
    await link.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            while await link.receive() is not None:
                pass
    return f"code {link.explain().problem.code}"


# ------------------------------------------------------------------------------------------ session


class _Talk:
    """Commands and answers on an open connection, one at a time."""

    def __init__(self, link: Link, redactor: Redactor, settings: Settings) -> None:
        self.dialect = settings.forced_dialect or Dialect.GA
        self.first_token: float | None = None
        self._link = link
        self._redactor = wire.EventRedactor(redactor)
        self._sent: set[str] = set()
        self._events: deque[ServerEvent] = deque()
        self._last_error: ServerProblem | None = None

    async def send(self, command: Command) -> None:
        """Send a command."""
        event_id = f"rtchat_doctor_{len(self._sent)}"
        self._sent.add(event_id)
        await self._link.send(wire.encode(command, event_id, self.dialect))

    async def wait(
        self,
        kind: type[_E],
        timeouts: float,
        lapse: str,
        blame: Callable[[ServerProblem], Problem],
    ) -> _E:
        """The next event of a kind. `lapse` is what the server has done if it does not come,
        `blame` what an error that comes instead means.

        Raises:
            RtchatError: it does not come.
        """
        try:
            async with asyncio.timeout(timeouts):
                while True:
                    event = await self._next()
                    if isinstance(event, kind):
                        return event
                    self._look_at(event, blame)
        except TimeoutError:
            said = f"; it said: {self._last_error.message}" if self._last_error else ""
            message = f"the server {lapse} within {timeouts:g} s{said}"
            raise to_exception(Problem(ExitCode.LINK, message, _HINT)) from None

    def _look_at(self, event: ServerEvent, blame: Callable[[ServerProblem], Problem]) -> None:
        match event:
            case ServerProblem():
                self._last_error = event
                if event.event_id in self._sent or server_errors.is_fatal(event):
                    raise to_exception(blame(event))
            case Delta(channel=Channel.TEXT | Channel.TRANSCRIPT) if self.first_token is None:
                self.first_token = time.monotonic()
            case _:
                pass

    async def _next(self) -> ServerEvent:
        while not self._events:
            await asyncio.sleep(0)  # or frames that have all come would hold up the clock
            frame = await self._link.receive()
            if frame is None:
                raise to_exception(self._loss())
            data = wire.read_frame(frame)
            if isinstance(data, Unknown):
                self._events.append(data)
                continue
            for redacted, _ in self._redactor.redact(str(frame), data):
                self._events += wire.decode(redacted)
        return self._events.popleft()

    def _loss(self) -> Problem:
        """Why the connection is over, in the light of the error that came before."""
        lost = self._link.explain().problem
        if self._last_error is None:
            return lost
        message = f"{lost.message}; the server said: {self._last_error.message}"
        return Problem(lost.exit, message, lost.hint, lost.code)
