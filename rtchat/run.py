"""One run of `talk` or `once`: settings and streams in, an exit code out.

Chooses the view, the source of questions and the way to a server, and hands them to a `Session`.
Not here: reading argv or the environment (`cli`), or anything that happens once the session runs.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, closing
from functools import partial
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TextIO, TypeAlias

from rtchat import piped
from rtchat.conversation import Conversation, Mode, Patience
from rtchat.effects import Update
from rtchat.errors import ExitCode
from rtchat.events import CancelPressed, InputEnded, LeaveAsked, LocalEvent, UserSaid
from rtchat.session import Link, Post, Session, Source, Tap, View
from rtchat.settings import Settings
from rtchat.trace import Trace
from rtchat.transport import Endpoint, endpoint, open_connection
from rtchat.ui.plain_view import Aside, PlainView
from rtchat.values import JsonObject, Options, value
from rtchat.wire import write_frame

if TYPE_CHECKING:
    from rich.console import Console

    from rtchat.ui.terminal import Screen

Shape: TypeAlias = Literal["text", "json", "events"]
"""What goes to stdout: replies as text, as JSON, or every server event."""


@value
class Surroundings:
    """The three streams, what is at their other ends, and where things are kept."""

    stdin: int | None
    """The descriptor; None if it is closed."""
    stdout: TextIO
    stderr: TextIO | None
    data_dir: Path
    state_dir: Path
    environ: MutableMapping[str, str]
    stdin_is_terminal: bool = False
    stdout_is_terminal: bool = False
    stderr_is_terminal: bool = False


def once(prompt: str | None, settings: Settings, shape: Shape, streams: Surroundings) -> ExitCode:
    """One question, one reply."""
    aside = _aside(settings, streams)
    descriptor = None if streams.stdin_is_terminal else streams.stdin
    text = piped.question(prompt, descriptor, aside.say)

    async def ask(post: Post) -> None:
        post(UserSaid(text))
        post(InputEnded())
        if shape == "text" and _renders(settings, streams):
            from rtchat.ui.live_view import preload

            await asyncio.to_thread(preload)

    _prepare(settings, streams, aside)
    view = _view(settings, shape, streams, aside)
    return _run(settings, Mode.ONCE, shape, streams, view, ask)


def talk(settings: Settings, shape: Shape, streams: Surroundings) -> ExitCode:
    """A conversation: with a person at a terminal, or with each line of a pipe."""
    aside = _aside(settings, streams)
    _prepare(settings, streams, aside)
    if streams.stdin_is_terminal and streams.stdout_is_terminal and shape == "text":
        return _run(settings, Mode.CHAT, shape, streams, *_terminal(settings, streams))
    view = _view(settings, shape, streams, aside)
    source: Source = _no_lines
    if streams.stdin is not None:
        source = partial(piped.lines, descriptor=streams.stdin)
    return _run(settings, Mode.LINES, shape, streams, view, source)


def _prepare(settings: Settings, streams: Surroundings, aside: Aside) -> None:
    if settings.local:
        from rtchat.serve import prepare_local

        prepare_local(streams.data_dir, aside.say)


async def _no_lines(post: Post) -> None:
    post(InputEnded())


# -------------------------------------------------------------------------------------------- views


def _aside(settings: Settings, streams: Surroundings) -> Aside:
    return Aside(streams.stderr, verbose=settings.verbose, quiet=settings.quiet)


def _view(settings: Settings, shape: Shape, streams: Surroundings, aside: Aside) -> View:
    if shape == "events":
        return aside
    if shape == "json":
        from rtchat.ui.json_view import JsonView

        return JsonView(streams.stdout.buffer, aside)
    if _renders(settings, streams):
        from rtchat.ui.live_view import LiveView

        consoles = _consoles(settings, streams)
        return LiveView(*consoles, verbose=settings.verbose, quiet=settings.quiet)
    return PlainView(streams.stdout.buffer, aside, raw=not streams.stdout_is_terminal)


def _renders(settings: Settings, streams: Surroundings) -> bool:
    if settings.render == "auto":
        return streams.stdout_is_terminal and streams.environ.get("TERM") != "dumb"
    return settings.render == "always"


def _colors(settings: Settings, streams: Surroundings, is_terminal: bool) -> bool:
    """Whether to colour a stream: the option, then NO_COLOR, FORCE_COLOR and TERM, then what it
    is."""
    if settings.color != "auto":
        return settings.color == "always"
    if streams.environ.get("NO_COLOR"):
        return False
    if streams.environ.get("FORCE_COLOR"):
        return True
    return is_terminal and streams.environ.get("TERM") != "dumb"


def _consoles(settings: Settings, streams: Surroundings) -> tuple[Console, Console]:
    from rich.console import Console

    def console(file: TextIO, is_terminal: bool) -> Console:
        colors = _colors(settings, streams, is_terminal)
        # The 16 colours of the terminal's own palette read on any background; without colours a
        # terminal still has bold and underline.
        styled = colors or (is_terminal and streams.environ.get("TERM") != "dumb")
        return Console(
            file=file,
            force_terminal=is_terminal,
            color_system="standard" if styled else None,
            no_color=not colors,
            legacy_windows=False,
            _environ=dict(streams.environ),
        )

    err = streams.stderr or StringIO()  # closed: nobody is to be told
    out = console(streams.stdout, streams.stdout_is_terminal)
    return out, console(err, streams.stderr_is_terminal)


class _Later:
    """A view that is not there yet: keeps what it is told until it is.

    Should the program end before, `otherwise` is told: an error may be among it.
    """

    def __init__(self, otherwise: View) -> None:
        self._otherwise = otherwise
        self._view: View | None = None
        self._kept: list[Update] = []

    def show(self, update: Update) -> None:
        if self._view is None:
            self._kept.append(update)
        else:
            self._view.show(update)

    def tick(self) -> None:
        if self._view is not None:
            self._view.tick()

    def close(self) -> None:
        if self._view is None:
            self.become(self._otherwise)
        else:
            self._view.close()

    def become(self, view: View) -> None:
        self._view = view
        for update in self._kept:
            view.show(update)


def _screen(settings: Settings, streams: Surroundings) -> Screen:
    """What a conversation is seen on: a screen reader's, `--plain`, is never painted twice."""
    verbose, quiet = settings.verbose, settings.quiet
    if not _renders(settings, streams):
        aside = Aside(streams.stderr, verbose=verbose, quiet=quiet, banner=True)
        return PlainView(streams.stdout.buffer, aside, raw=False)
    from rtchat.ui.live_view import LiveView

    consoles = _consoles(settings, streams)
    return LiveView(*consoles, banner=True, verbose=verbose, quiet=quiet)


def _terminal(settings: Settings, streams: Surroundings) -> tuple[View, Source]:
    """A prompt and a live view. They take longer to import than a connection to be made, so both
    happen at once."""
    later = _Later(_aside(settings, streams))

    async def run(post: Post) -> None:
        await asyncio.to_thread(import_module, "rtchat.ui.terminal")
        from rtchat.ui.clipboard import Clipboard
        from rtchat.ui.live_view import preload
        from rtchat.ui.prompt import Prompt
        from rtchat.ui.terminal import Terminal

        colors = _colors(settings, streams, is_terminal=True)
        prompt = Prompt(streams.state_dir / "input_history", color=colors)
        clipboard = Clipboard(streams.stdout, streams.environ)
        terminal = Terminal(_screen(settings, streams), prompt, clipboard)
        later.become(terminal)
        if _renders(settings, streams):
            await asyncio.gather(terminal.run(post), asyncio.to_thread(preload))
        else:
            await terminal.run(post)

    return later, run


# ------------------------------------------------------------------------------------------ running


def _run(
    settings: Settings, mode: Mode, shape: Shape, streams: Surroundings, view: View, source: Source
) -> ExitCode:
    options = Options(settings.system, "text", settings.max_output_tokens)
    patience = Patience(settings.connect_timeout, settings.timeout)
    conversation = Conversation(_model(settings), options, mode=mode, patience=patience)
    signals: dict[int, LocalEvent] = {
        signal.SIGINT: CancelPressed() if mode is Mode.CHAT else LeaveAsked(ExitCode.INTERRUPTED),
        signal.SIGTERM: LeaveAsked(ExitCode.TERMINATED),
    }

    async def run() -> ExitCode:
        async with AsyncExitStack() as stack:
            connect, redact = _server(settings, streams, stack)
            taps: list[Tap] = []
            if shape == "events":
                taps.append(partial(_print_event, streams.stdout.buffer))
            trace = None
            if settings.trace is not None:
                trace = stack.enter_context(closing(Trace(settings.trace, redact=redact)))
                taps.append(trace)
            session = Session(
                conversation,
                view,
                connect,
                dialect=settings.forced_dialect,
                redact=redact,
                taps=tuple(taps),
            )
            code = await session.run(source, signals)
            if trace is not None and trace.failure is not None and code is ExitCode.OK:
                raise trace.failure
            return code

    return asyncio.run(run())


def _print_event(out: BinaryIO, direction: str, data: JsonObject | str) -> None:
    if direction == "received" and not isinstance(data, str):
        out.write((write_frame(data) + "\n").encode())
        out.flush()


Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[Link]]


def _model(settings: Settings) -> str:
    if settings.local:
        from rtchat.serve import LOCAL_MODEL

        return LOCAL_MODEL
    return settings.model


def _server(
    settings: Settings, streams: Surroundings, stack: AsyncExitStack
) -> tuple[Connect, Callable[[str], str]]:
    """The way to a server, and how to take secrets out of what passes."""
    if settings.local:
        from rtchat.serve import LocalServer

        return LocalServer(stack, streams.data_dir, streams.environ).connect, str

    def where(model: str) -> Endpoint:
        return endpoint(
            model,
            url=settings.url,
            api_key=settings.key.reveal(),
            headers=settings.headers,
            beta=settings.dialect == "beta",
            insecure=settings.insecure,
        )

    def connect(model: str) -> AbstractAsyncContextManager[Link]:
        return open_connection(where(model), open_timeout=settings.connect_timeout)

    # A URL that cannot work is said now, before anything is asked.
    return connect, where(settings.model).redact
