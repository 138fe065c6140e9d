"""`talk` and `once`: settings and streams in, an exit code out.

Chooses the view, the source of questions and the server, and passes them to a `Session`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    closing,
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
    input_rate,
)
from rtchat.app.frontend import (
    Environment,
    Shape,
    renders,
    status_writer_of,
    terminal_of,
    unblocked,
    unechoed,
    view_of,
)
from rtchat.client.endpoint import tls_context
from rtchat.client.session import MOST_OWED, History, Link, Player, Post, Session, Source, Tap, View
from rtchat.client.transport import Endpoint, endpoint, open_connection, proxy_keys
from rtchat.config.settings import Settings
from rtchat.core import server_errors
from rtchat.core.backoff import Timeouts
from rtchat.core.conversation import Conversation, Mode
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
from rtchat.core.pricing import Budget, known_rates
from rtchat.core.redaction import Redactor
from rtchat.core.text import write_json
from rtchat.core.tool_calls import ToolPolicy
from rtchat.core.values import JsonObject, Limits, Options, StoredConversation
from rtchat.inputs.stdin import read_lines, read_prompt
from rtchat.ui import messages
from rtchat.ui.plain_view import StatusWriter
from rtchat.wire import ask_for, with_tools

if TYPE_CHECKING:
    from rtchat.history.writer import HistoryWriter
    from rtchat.tools.toolbox import Toolbox
    from rtchat.trace.recording import Trace

Past: TypeAlias = int | Literal["latest"] | None
"""The saved conversation to resume."""


def run_once(
    prompt: str | None,
    settings: Settings,
    shape: Shape,
    streams: Environment,
    past: Past = None,
    files: Sequence[str] = (),
    audio: AudioSettings = AudioSettings(),  # noqa: B008 - a frozen value
) -> ExitCode:
    """One question, with files, and one reply."""
    with unblocked(streams) as streams:
        status = status_writer_of(settings, streams)
        descriptor = None if streams.stdin_is_terminal else streams.stdin
        attached = _read_attachments(files, descriptor)
        if "-" in files:
            descriptor = None
            if prompt in (None, "-") and audio.audio_in is None:
                hint = 'rtchat once --attach - "a question"'
                raise UsageError("no prompt: stdin is read by --attach -", hint=hint)
        if audio.audio_in is None:
            question: LocalEvent = UserSaid(read_prompt(prompt, descriptor, status.say))
        else:
            question = _spoken_question(audio.audio_in, prompt, descriptor, status.say)

        async def ask(post: Post) -> None:
            await asyncio.sleep(0)  # start connecting first, which takes longer
            for file in attached:
                post(file)
            post(question)
            post(InputEnded())
            if shape == "text" and renders(settings, streams):
                from rtchat.ui.live_view import preload

                await asyncio.to_thread(preload)

        prepare(settings, streams, status, audio)
        view = view_of(settings, shape, streams, status)
        return _run(settings, Mode.ONCE, shape, streams, view, ask, past, audio)


def _spoken_question(
    audio_in: str, prompt: str | None, stdin: int | None, say: Callable[[str], None]
) -> LocalEvent:
    """A question from an audio file, with any text that accompanies it."""
    from rtchat.audio.files import read

    if audio_in != "-":
        speech = read(Path(audio_in), say)
        return AudioSaid(speech, read_prompt(prompt, stdin, say, is_all=False))
    if stdin is None or prompt == "-":
        raise UsageError("--audio-in -: there is no audio on stdin", hint="pipe a WAV file into it")
    return AudioSaid(read(stdin, say), prompt or "")


def talk(
    settings: Settings,
    shape: Shape,
    streams: Environment,
    past: Past = None,
    files: Sequence[str] = (),
    audio: AudioSettings = AudioSettings(),  # noqa: B008 - a frozen value
) -> ExitCode:
    """A conversation, typed at a terminal or read line by line from a pipe, and spoken if there is
    a microphone. Files are sent with the first question."""
    status = status_writer_of(settings, streams)
    voice = LiveAudio(settings) if audio.is_live else None
    if "-" in files:
        hint = "use rtchat once --attach -, or attach a file"
        raise UsageError("--attach -: talk reads its questions from stdin", hint=hint)
    attached = _read_attachments(files, None)
    is_interactive = streams.stdin_is_terminal and streams.stdout_is_terminal and shape == "text"
    if voice is not None and not is_interactive and audio_config(settings, audio)[1].push_to_talk:
        raise UsageError("ending turns with Ctrl-T requires a terminal", hint="use --vad server")
    prepare(settings, streams, status, audio)
    if is_interactive:
        view, source = terminal_of(settings, streams, voice)
        source = partial(_attachments_first, attached, source)
        return _run(settings, Mode.CHAT, shape, streams, view, source, past, audio, voice)
    with unblocked(streams) as streams:
        view = _PacedView(
            view_of(settings, shape, streams, status_writer_of(settings, streams)), streams
        )
        source = _no_input
        if streams.stdin is not None:
            source = partial(read_lines, descriptor=streams.stdin, answered=view.answered)
        source = partial(_attachments_first, attached, source)
        return _run(settings, Mode.LINES, shape, streams, view, source, past, audio, voice)


class _PacedView:
    """A view that signals when to ask the next question: once the last one has been answered and
    most of the answer has been written."""

    def __init__(self, view: View, streams: Environment) -> None:
        self._view = view
        self._output = streams.output
        self._is_over = asyncio.Event()

    def show(self, update: Update) -> None:
        """Show an update."""
        self._view.show(update)
        if isinstance(update, ReplyOver):
            self._is_over.set()

    def tick(self) -> None:
        """Redraw the view."""
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


def _read_attachments(files: Sequence[str], stdin: int | None) -> Sequence[LocalEvent]:
    if not files:
        return ()
    from rtchat.inputs.attachments import read_all

    return read_all(files, stdin)


async def _attachments_first(attached: Sequence[LocalEvent], source: Source, post: Post) -> None:
    """Post the attachments, then run the source."""
    for file in attached:
        post(file)
    await source(post)


def prepare(
    settings: Settings,
    streams: Environment,
    status: StatusWriter,
    audio: AudioSettings = AudioSettings(),  # noqa: B008 - a frozen value
) -> None:
    """Say where the settings come from, and install the embedded model if it is needed."""
    if settings.dotenv is not None:
        status.show(Notice("detail", f"settings from {settings.dotenv}"))
    if not settings.local:
        origin = settings.origins.get("key")
        status.show(Notice("detail", f"key from {origin}" if origin else "key not set"))
    if settings.local:
        from rtchat.app.serve import prepare_local, prepare_voice

        if audio.hears or audio.speaks:
            prepare_voice(status.say)
        if not audio.transcribes:
            prepare_local(streams.data_dir, status.say)


async def _no_input(post: Post) -> None:
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
    audio: AudioSettings,
    voice: LiveAudio | None = None,
) -> ExitCode:
    with ExitStack() as stack:
        status = status_writer_of(settings, streams)
        history, resumed = _history(settings, streams, past, status, stack)
        if resumed is not None:
            view.show(Notice("info", messages.conversation(resumed)))
        player: Player | None = voice
        recorder = None
        if audio.audio_out is not None:
            recorder = stack.enter_context(_recorder(mode, audio.audio_out))
            player = recorder if voice is None else TeePlayer(voice, recorder)
            source = partial(_gather, source, recorder.watch)
        if voice is not None:
            source = partial(_gather, source, voice.listen)
        running = _run_session(
            settings,
            mode,
            shape,
            streams,
            view,
            source,
            resumed,
            history,
            audio=audio,
            player=player,
        )
        code = asyncio.run(running)
        if voice is not None:
            status.show(Notice("detail", voice.describe()))
        if recorder is not None:
            code = _finish_recording(recorder, code, status)
        if mode is Mode.ONCE and code is ExitCode.OK and recorder and recorder.is_empty:
            message = f"the reply contains no audio, so {audio.audio_out} was not written"
            raise to_exception(Problem(ExitCode.REPLY, message, "choose a model with audio output"))
        return code


def _history(
    settings: Settings, streams: Environment, past: Past, status: StatusWriter, stack: ExitStack
) -> tuple[History | None, StoredConversation | None]:
    """Returns the history that saves this conversation, and the saved conversation to resume. That
    one is read now, because the session starts with it."""
    if not settings.history and past is None:
        return None, None
    from rtchat.history.store import FILE, Store
    from rtchat.history.writer import HistoryWriter

    store = Store(streams.data_dir / FILE)
    writer = HistoryWriter(store)
    stack.callback(_close_history, writer, status)
    resumed = None
    if past is not None:
        resumed = store.recall(None if past == "latest" else past)
    return (writer if settings.history else None), resumed


def _close_history(writer: HistoryWriter, status: StatusWriter) -> None:
    if unwritten := writer.close():
        status.show(Notice("warning", unwritten))


def _finish_recording(recorder: Recorder, code: ExitCode, status: StatusWriter) -> ExitCode:
    """Close the recording. Return its exit code if only the recording failed."""
    recorder.close()
    if recorder.failure is None:
        return code
    if not recorder.is_failure_reported:
        status.show(Notice("error", str(recorder.failure)))
    return recorder.failure.exit if code is ExitCode.OK else code


async def _gather(source: Source, other: Source, post: Post) -> None:
    await asyncio.gather(source(post), other(post))


@contextmanager
def _recorder(mode: Mode, path: Path) -> Iterator[Recorder]:
    """A recorder of replies: into one file for `once`, into a folder of files for `talk`."""
    from rtchat.audio.wav import WavWriter, prepare

    with ExitStack() as files:
        if mode is Mode.ONCE:
            if str(path) == "-":
                raise UsageError("--audio-out -: the text goes to stdout", hint="name a file")
            file = files.enter_context(WavWriter(path))
            recorder = Recorder(lambda: file)
        else:
            prepare(path)
            recorder = Recorder(lambda: files.enter_context(WavWriter.next_in(path)))
        files.callback(recorder.close)
        yield recorder


async def _run_session(
    settings: Settings,
    mode: Mode,
    shape: Shape,
    streams: Environment,
    view: View,
    source: Source,
    resumed: StoredConversation | None,
    history: History | None,
    *,
    audio: AudioSettings,
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
        toolbox = await _open_tools(settings, stack, lambda line: view.show(Notice("info", line)))
        session = Session(
            _conversation(settings, mode, resumed, toolbox, audio),
            view,
            connect,
            tools=toolbox,
            dialect=settings.forced_dialect,
            redactor=redactor,
            fit=input_rate(settings) if audio.hears else None,
            taps=tuple(taps),
            keeper=history,
            player=player,
            output=streams.output,
        )
        with nullcontext() if mode is not Mode.CHAT else unechoed(streams.stdin or 0):
            code = await session.run(source, _signals(mode))
        if mode is Mode.CHAT and session.has_lost_output and code is ExitCode.OUTPUT:
            return ExitCode.HANGUP  # the terminal closed, and its signal has yet to arrive
        await finish(trace, code)
        return code


def trace_of(
    settings: Settings, redactor: Redactor, stack: AsyncExitStack, view: View
) -> Trace | None:
    """The trace of this session, if the settings ask for one."""
    if settings.trace is None:
        return None
    from rtchat.trace.recording import Trace

    trace = Trace(settings.trace, redactor=redactor, complete=settings.trace_audio)
    if trace.path != settings.trace:
        text = f"{settings.trace} exists: recording to {trace.path}"
        view.show(Notice("info", text))
    return stack.enter_context(closing(trace))


async def finish(trace: Trace | None, code: ExitCode) -> None:
    """Close a trace. Raises its error if nothing else failed."""
    if trace is not None:
        await asyncio.to_thread(trace.close)
        if trace.failure is not None and code is ExitCode.OK:
            raise trace.failure


async def _open_tools(
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


def _conversation(
    settings: Settings,
    mode: Mode,
    resumed: StoredConversation | None,
    toolbox: Toolbox | None,
    audio: AudioSettings,
) -> Conversation:
    model = model_of(settings)
    session, speech = audio_config(settings, audio)
    tools = toolbox.tools if toolbox else ()
    budget = Budget(known_rates(settings.url, settings.prices), settings.max_cost)
    if settings.local:
        budget = Budget()
    elif budget.most is not None and budget.rate(model) is None:
        hint = f'set it in the config file: [prices."{model}"]'
        raise UsageError(server_errors.no_price(model), hint=hint)
    return Conversation(
        model,
        ask_for(
            "audio" if audio.speaks else "text",
            settings.system,
            settings.max_output_tokens,
            with_tools(session, tools),
        ),
        mode=mode,
        timeouts=Timeouts(settings.connect_timeout, settings.timeout),
        past=resumed,
        response=Options(other=settings.response),
        speech=speech,
        budget=budget,
        tool_policy=ToolPolicy(
            [tool.name for tool in tools],
            settings.allow_tools,
            servers=toolbox.servers if toolbox else {},
            asks=mode is Mode.CHAT,
            limits=Limits(
                settings.max_tool_rounds,
                settings.max_tool_calls,
                settings.max_tool_bytes,
                settings.max_reply_bytes,
            ),
        ),
    )


def _signals(mode: Mode) -> dict[int, LocalEvent]:
    stop = CancelPressed() if mode is Mode.CHAT else LeaveAsked(ExitCode.INTERRUPTED)
    return {
        signal.SIGINT: stop,
        signal.SIGTERM: LeaveAsked(ExitCode.TERMINATED),
        signal.SIGHUP: LeaveAsked(ExitCode.HANGUP),
    }


def _print_event(out: BinaryIO, direction: str, data: JsonObject | str) -> None:
    if direction == "received" and not isinstance(data, str):
        out.write((write_json(data) + "\n").encode())
        out.flush()


Connect: TypeAlias = Callable[[str], AbstractAsyncContextManager[Link]]


def model_of(settings: Settings) -> str:
    """The model to use."""
    if settings.local:
        from rtchat.app.serve import LOCAL_MODEL

        return LOCAL_MODEL
    return settings.model


def server_of(
    settings: Settings, streams: Environment, stack: AsyncExitStack, *, transcribes: bool = False
) -> tuple[Connect, Redactor]:
    """Returns a function that connects to the server, and a redactor of the user's keys."""
    if settings.local:
        from rtchat.app.serve import LocalServer

        server = LocalServer(stack, streams.data_dir, streams.environ, transcribes=transcribes)
        return server.connect, Redactor()

    def where(model: str) -> Endpoint:
        return endpoint(
            model,
            url=settings.url,
            transcribes=transcribes,
            api_key=settings.key.reveal(),
            headers=settings.headers,
            key_header=settings.key_header,
            beta=settings.dialect == "beta",
            insecure=settings.insecure,
        )

    def connect(model: str) -> AbstractAsyncContextManager[Link]:
        return open_connection(where(model), open_timeout=settings.connect_timeout, tls=tls)

    # Report invalid settings now, before the first question.
    first = where(settings.model)
    tls = tls_context(settings.ca_bundle, streams.environ if first.is_encrypted else {})
    return connect, Redactor((*first.secrets, *proxy_keys(first)))
