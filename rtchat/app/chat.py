"""One run of `talk` or `run_once`: settings and streams in, an exit code out.

Chooses the view, the source of questions and the way to a server, and hands them to a `Session`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import (
    AsyncExitStack,
    ExitStack,
    contextmanager,
    nullcontext,
)
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias

from rtchat.app.audio_io import (
    AudioSettings,
    LiveAudio,
    Recorder,
    TeePlayer,
    audio_config,
    converter,
)
from rtchat.app.environment import Environment, Shape, unblocked
from rtchat.app.frontend import renders, status_writer_of, terminal_of, unechoed, view_of
from rtchat.app.signals import signal_events
from rtchat.app.wiring import finish, model_of, open_toolbox, prepare, server_of, trace_of
from rtchat.client.history import History
from rtchat.client.session import Session
from rtchat.client.view_queue import MOST_OWED
from rtchat.config.settings import Settings
from rtchat.core import server_errors
from rtchat.core.backoff import Timeouts
from rtchat.core.effects import Notice, ReplyOver, Update
from rtchat.core.errors import ExitCode, Problem, UsageError, to_exception
from rtchat.core.events import (
    AudioSaid,
    CancelPressed,
    InputEnded,
    LeaveAsked,
    LocalEvent,
    UserSaid,
)
from rtchat.core.mode import Mode
from rtchat.core.ports import Player, Post, Source, Tap, View
from rtchat.core.pricing import Budget, known_rates
from rtchat.core.setup import ConversationSetup, SessionSetup
from rtchat.core.text import write_json
from rtchat.core.values import JsonObject, Limits, Options, StoredConversation
from rtchat.inputs.stdin import read_lines, read_prompt
from rtchat.ui import messages
from rtchat.ui.plain_view import StatusWriter
from rtchat.wire import ask_for, with_tools

if TYPE_CHECKING:
    from rtchat.history.writer import HistoryWriter
    from rtchat.tools.toolbox import Toolbox

Past: TypeAlias = int | Literal["latest"] | None
"""The kept conversation to go on with."""


def run_once(
    prompt: str | None,
    settings: Settings,
    shape: Shape,
    streams: Environment,
    past: Past = None,
    files: Sequence[str] = (),
    sound: AudioSettings = AudioSettings(),  # noqa: B008 - a frozen value
) -> ExitCode:
    """One question, with files, and one reply."""
    with unblocked(streams) as streams:
        status = status_writer_of(settings, streams)
        descriptor = None if streams.stdin_is_terminal else streams.stdin
        attached = _attached(files, descriptor)
        if "-" in files:
            descriptor = None
            if prompt in (None, "-") and sound.audio_in is None:
                hint = 'rtchat once --attach - "a question"'
                raise UsageError("no prompt: --attach - takes stdin", hint=hint)
        if sound.audio_in is None:
            question: LocalEvent = UserSaid(read_prompt(prompt, descriptor, status.say))
        else:
            question = _recorded_question(sound.audio_in, prompt, descriptor, status.say)

        async def ask(post: Post) -> None:
            await asyncio.sleep(0)  # start to connect first, as that takes longer
            for file in attached:
                post(file)
            post(question)
            post(InputEnded())
            if shape == "text" and renders(settings, streams):
                from rtchat.ui.live_view import preload

                await asyncio.to_thread(preload)

        prepare(settings, streams, status, sound)
        view = view_of(settings, shape, streams, status)
        return _run(settings, Mode.ONCE, shape, streams, view, ask, past, sound)


def _recorded_question(
    audio_in: str, prompt: str | None, stdin: int | None, tell: Callable[[str], None]
) -> LocalEvent:
    """A question that was recorded, and what was written besides."""
    from rtchat.audio.files import read

    if audio_in != "-":
        said = read(Path(audio_in), tell)
        return AudioSaid(said, read_prompt(prompt, stdin, tell, is_all=False))
    if stdin is None or prompt == "-":
        raise UsageError("--audio-in -: stdin has no audio", hint="pipe a WAV into it")
    return AudioSaid(read(stdin, tell), prompt or "")


def talk(
    settings: Settings,
    shape: Shape,
    streams: Environment,
    past: Past = None,
    files: Sequence[str] = (),
    sound: AudioSettings = AudioSettings(),  # noqa: B008 - a frozen value
) -> ExitCode:
    """A conversation: with a person at a terminal, or with each line of a pipe, and with whoever
    speaks. Files go with its first question."""
    status = status_writer_of(settings, streams)
    voice = LiveAudio(settings) if sound.is_live else None
    if "-" in files:
        raise UsageError("stdin is the questions here", hint="rtchat once --attach -, or a file")
    attached = _attached(files, None)
    is_chat = streams.stdin_is_terminal and streams.stdout_is_terminal and shape == "text"
    if voice is not None and not is_chat and audio_config(settings, sound)[1].push_to_talk:
        raise UsageError("to end a turn by Ctrl-T takes a terminal", hint="--vad server needs none")
    prepare(settings, streams, status, sound)
    if is_chat:
        view, source = terminal_of(settings, streams, voice)
        source = partial(_after, attached, source)
        return _run(settings, Mode.CHAT, shape, streams, view, source, past, sound, voice)
    with unblocked(streams) as streams:
        view = _Paced(
            view_of(settings, shape, streams, status_writer_of(settings, streams)), streams
        )
        source = _no_lines
        if streams.stdin is not None:
            source = partial(read_lines, descriptor=streams.stdin, answered=view.answered)
        source = partial(_after, attached, source)
        return _run(settings, Mode.LINES, shape, streams, view, source, past, sound, voice)


class _Paced:
    """A view that tells when to ask the next question: once the last one was answered, and most of
    the answer has been written."""

    def __init__(self, view: View, streams: Environment) -> None:
        self._view = view
        self._output = streams.output
        self._is_over = asyncio.Event()

    def show(self, update: Update) -> None:
        """Show it."""
        self._view.show(update)
        if isinstance(update, ReplyOver):
            self._is_over.set()

    def tick(self) -> None:
        """Let the view paint."""
        self._view.tick()

    def close(self) -> None:
        """Close the view."""
        self._view.close()

    async def answered(self) -> None:
        """Wait until the next question may be asked."""
        await self._is_over.wait()
        self._is_over.clear()
        if self._output is not None:
            await self._output.written(MOST_OWED)


def _attached(files: Sequence[str], stdin: int | None) -> Sequence[LocalEvent]:
    if not files:
        return ()
    from rtchat.inputs.attachments import read_all

    return read_all(files, stdin)


async def _after(attached: Sequence[LocalEvent], source: Source, post: Post) -> None:
    """What is attached, then all that the source has."""
    for file in attached:
        post(file)
    await source(post)


async def _no_lines(post: Post) -> None:
    post(InputEnded())


# ------------------------------------------------------------------------------------------ running


def _run(
    settings: Settings,
    mode: Mode,
    shape: Shape,
    streams: Environment,
    view: View,
    source: Source,
    past: Past,
    sound: AudioSettings,
    voice: LiveAudio | None = None,
) -> ExitCode:
    with ExitStack() as stack:
        status = status_writer_of(settings, streams)
        keeper, kept = _history(settings, streams, past, status, stack)
        if kept is not None:
            view.show(Notice("info", messages.conversation(kept)))
        player: Player | None = voice
        recorder = None
        if sound.audio_out is not None:
            recorder = stack.enter_context(_recorder(mode, sound.audio_out))
            player = recorder if voice is None else TeePlayer(voice, recorder)
            source = partial(_together, source, recorder.watch)
        if voice is not None:
            source = partial(_together, source, voice.listen)
        held = _hold(
            settings, mode, shape, streams, view, source, kept, keeper, sound=sound, player=player
        )
        code = asyncio.run(held)
        if voice is not None:
            status.show(Notice("detail", voice.describe()))
        if recorder is not None:
            code = _recorded(recorder, code, status)
        if mode is Mode.ONCE and code is ExitCode.OK and recorder and recorder.is_empty:
            message = f"the reply has no sound: {sound.audio_out} was not written"
            raise to_exception(Problem(ExitCode.REPLY, message, "choose a model that speaks"))
        return code


def _history(
    settings: Settings, streams: Environment, past: Past, status: StatusWriter, stack: ExitStack
) -> tuple[History | None, StoredConversation | None]:
    """Returns what keeps this conversation, and the earlier one that it continues. That one is read
    now, as a session begins with it."""
    if not settings.history and past is None:
        return None, None
    from rtchat.history.store import FILE, Store
    from rtchat.history.writer import HistoryWriter

    store = Store(streams.data_dir / FILE)
    writer = HistoryWriter(store)
    stack.callback(_close_history, writer, status)
    kept = None
    if past is not None:
        kept = store.recall(None if past == "latest" else past)
    return (writer if settings.history else None), kept


def _close_history(writer: HistoryWriter, status: StatusWriter) -> None:
    if unwritten := writer.close():
        status.show(Notice("warning", unwritten))


def _recorded(recorder: Recorder, code: ExitCode, status: StatusWriter) -> ExitCode:
    """End the recording of replies; its failure sets the exit code if nothing else failed."""
    recorder.close()
    if recorder.failure is None:
        return code
    if not recorder.is_failure_said:
        status.show(Notice("error", str(recorder.failure)))
    return recorder.failure.exit if code is ExitCode.OK else code


async def _together(source: Source, other: Source, post: Post) -> None:
    await asyncio.gather(source(post), other(post))


@contextmanager
def _recorder(mode: Mode, path: Path) -> Iterator[Recorder]:
    """What records replies: in one file, or each in one of a folder."""
    from rtchat.audio.wav import WavWriter, prepare

    with ExitStack() as files:
        if mode is Mode.ONCE:
            if str(path) == "-":
                raise UsageError("--audio-out -: stdout is for the text", hint="name a file")
            file = files.enter_context(WavWriter(path))
            recorder = Recorder(lambda: file)
        else:
            prepare(path)
            recorder = Recorder(lambda: files.enter_context(WavWriter.next_in(path)))
        files.callback(recorder.close)
        yield recorder


async def _hold(
    settings: Settings,
    mode: Mode,
    shape: Shape,
    streams: Environment,
    view: View,
    source: Source,
    kept: StoredConversation | None,
    keeper: History | None,
    *,
    sound: AudioSettings,
    player: Player | None,
) -> ExitCode:
    async with AsyncExitStack() as stack:
        connect, redactor = server_of(settings, streams, stack)
        taps: list[Tap] = []
        if shape == "events":
            taps.append(partial(_print_event, streams.stdout.buffer))
        trace = trace_of(settings, redactor, stack, view)
        if trace is not None:
            taps.append(trace)
        toolbox = await open_toolbox(settings, stack, lambda line: view.show(Notice("info", line)))
        setup = _setup(settings, mode, kept, toolbox, sound)
        if trace is not None:
            trace("setup", SessionSetup(setup, settings.forced_dialect), 0.0)
        session = Session(
            setup.make(),
            view,
            connect,
            tools=toolbox,
            dialect=settings.forced_dialect,
            redactor=redactor,
            fit=converter(setup.input_rate),
            taps=tuple(taps),
            keeper=keeper,
            player=player,
            output=streams.output,
        )
        with nullcontext() if mode is not Mode.CHAT else unechoed(streams.stdin or 0):
            interrupt = CancelPressed() if mode is Mode.CHAT else LeaveAsked(ExitCode.INTERRUPTED)
            code = await session.run(source, signal_events(interrupt))
        if mode is Mode.CHAT and session.has_lost_output and code is ExitCode.OUTPUT:
            return ExitCode.HANGUP  # the terminal was gone before the signal that says so
        await finish(trace, code)
        return code


def _setup(
    settings: Settings,
    mode: Mode,
    kept: StoredConversation | None,
    toolbox: Toolbox | None,
    sound: AudioSettings,
) -> ConversationSetup:
    model = model_of(settings)
    session, speech = audio_config(settings, sound)
    tools = toolbox.tools if toolbox else ()
    budget = Budget(known_rates(settings.url, settings.prices), settings.max_cost)
    if settings.local:
        budget = Budget()
    elif budget.most is not None and budget.rate(model) is None:
        hint = f'give one in the config file: [prices."{model}"]'
        raise UsageError(server_errors.no_price(model), hint=hint)
    return ConversationSetup(
        model,
        ask_for(
            "audio" if sound.speaks else "text",
            settings.system,
            settings.max_output_tokens,
            with_tools(session, tools),
        ),
        mode=mode,
        timeouts=Timeouts(settings.connect_timeout, settings.timeout),
        past=kept,
        response=Options(other=settings.response),
        speech=speech,
        budget=budget,
        tools=tuple(tool.name for tool in tools),
        allowed=tuple(settings.allow_tools),
        servers=toolbox.servers if toolbox else {},
        asks=mode is Mode.CHAT,
        limits=Limits(
            settings.max_tool_rounds,
            settings.max_tool_calls,
            settings.max_tool_bytes,
            settings.max_reply_bytes,
        ),
    )


def _print_event(
    out: BinaryIO, direction: str, data: JsonObject | str | LocalEvent, _now: float
) -> None:
    if direction == "received" and isinstance(data, dict):
        out.write((write_json(data) + "\n").encode())
        out.flush()
