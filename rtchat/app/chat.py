"""`talk` and `once`: settings and streams in, an exit code out.

Chooses the view, the source of questions and the server, and passes them to a `Session`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from rtchat.app.audio_io import AudioSettings, audio_config, refuse_options
from rtchat.app.chat_history import Past, open_history
from rtchat.app.environment import Environment, OutputFormat, unblocked
from rtchat.app.frontend import renders, status_writer_of, view_of
from rtchat.app.os_signals import signal_events
from rtchat.app.questions import (
    attachments_first,
    no_input,
    read_attachments,
    spoken_question,
    typed_question,
)
from rtchat.app.recording import (
    TeePlayer,
    finish_recording,
    no_audio,
    recorder_of,
    text_environment,
)
from rtchat.app.wiring import (
    close_trace,
    conversion_of,
    model_of,
    open_toolbox,
    prepare,
    server_of,
    trace_of,
)
from rtchat.client.session import Session, SessionParts
from rtchat.client.view_queue import MAX_UNWRITTEN
from rtchat.config.settings import Settings
from rtchat.core import server_errors
from rtchat.core.backoff import Timeouts
from rtchat.core.context import ContextLimits
from rtchat.core.effects import Notice, ReplyOver, Resumed, Update, error_notice
from rtchat.core.errors import ExitCode, Problem, UsageError, to_exception
from rtchat.core.events import (
    CancelPressed,
    InputEnded,
    LeaveAsked,
    LocalEvent,
)
from rtchat.core.log import ConversationLog
from rtchat.core.mode import Mode
from rtchat.core.ports import Player, Post, Source, Tap, View
from rtchat.core.pricing import Budget, known_rates
from rtchat.core.setup import ConversationSetup, SessionSetup
from rtchat.core.text import write_json
from rtchat.core.values import (
    JsonObject,
    Options,
    StoredConversation,
    TurnLimits,
    value,
)
from rtchat.inputs.stdin import read_lines
from rtchat.ui.plain_view import StatusWriter
from rtchat.ui.view_wrapper import ViewWrapper
from rtchat.wire import ask_for, with_tools

if TYPE_CHECKING:
    from rtchat.app.candidates import ChatCandidates
    from rtchat.app.live_audio import LiveAudio
    from rtchat.history.writer import HistoryWriter
    from rtchat.tools.toolbox import Toolbox


@value
class ChatOptions:
    """The options of `talk` and `once` that are not settings."""

    output_format: OutputFormat = "text"
    past: Past = None
    files: Sequence[str] = ()
    """The files to attach to the first question."""
    audio: AudioSettings = AudioSettings()


def run_once(
    prompt: str | None, settings: Settings, environment: Environment, options: ChatOptions
) -> ExitCode:
    """One question, with files, and one reply."""
    audio, files = options.audio, options.files
    if settings.raw is not None and audio.audio_in is None:
        raise UsageError("--raw requires --audio-in", hint="add --audio-in FILE")
    with unblocked(environment) as environment:
        status = status_writer_of(settings, environment)
        descriptor = None if environment.stdin_is_terminal else environment.stdin
        attached = read_attachments(files, descriptor, settings.image_detail)
        if "-" in files:
            descriptor = None
            if prompt in (None, "-") and audio.audio_in is None:
                hint = 'write it as `rtchat once --attach - "a question"`'
                message = "there is no prompt, because --attach - reads stdin"
                raise UsageError(message, hint=hint)
        damage: list[Problem] = []
        if audio.audio_in is None:
            question: LocalEvent = typed_question(settings, prompt, descriptor, status.say)
        else:
            question = spoken_question(
                settings, audio.audio_in, prompt, descriptor, status.say, damage.append
            )
        for problem in damage:
            status.show(error_notice(problem))

        is_text = options.output_format == "text"
        shown = text_environment(audio.audio_out, environment, is_text=is_text)
        view, finish, instructions = _view_of_once(settings, shown, options, status)

        async def ask(post: Post) -> None:
            await asyncio.sleep(0)  # start connecting first, which takes longer
            for event in (*attached, question):
                post(event)
            await finish(post)

        prepare(settings, environment, status, audio)
        chat = _Chat(settings, environment, options, Mode.ONCE, view, instructions=instructions)
        code = chat.run(ask)
        return damage[0].exit if damage and code is ExitCode.OK else code


def _view_of_once(
    settings: Settings, environment: Environment, options: ChatOptions, status: StatusWriter
) -> tuple[View, Source, str]:
    """The view for a single reply, what follows the question, and instructions for the reply."""
    if settings.output_schema or settings.extract or settings.extract_lang:
        from rtchat.app.reply_checks import checked_view

        checked, instructions = checked_view(settings, options.output_format, environment, status)
        return checked, checked.follow, instructions

    async def end(post: Post) -> None:
        post(InputEnded())
        if options.output_format == "text" and renders(settings, environment):
            from rtchat.ui.live_view import preload

            await asyncio.to_thread(preload)

    return view_of(settings, options.output_format, environment, status), end, ""


def talk(settings: Settings, environment: Environment, options: ChatOptions) -> ExitCode:
    """A conversation, typed at a terminal or read line by line from a pipe, and spoken if there is
    a microphone. Files are sent with the first question."""
    from rtchat.app.templates import Templates

    if settings.output_schema or settings.extract or settings.extract_lang:
        raise UsageError(
            "--output-schema and --extract are for a single reply", hint="use `rtchat once`"
        )
    audio = options.audio
    status = status_writer_of(settings, environment)
    voice: LiveAudio | None = None
    if audio.is_live:
        from rtchat.app.live_audio import LiveAudio

        voice = LiveAudio(settings)
    else:
        rows = (Settings.vad, Settings.aec, Settings.input_device, Settings.output_device)
        refuse_options(settings, rows, "requires --voice", "add --voice")
    if "-" in options.files:
        hint = "use `rtchat once --attach -`, or attach a file"
        raise UsageError(
            "--attach - cannot be used, because talk reads its questions from stdin", hint=hint
        )
    attached = read_attachments(options.files, None, settings.image_detail)
    has_terminal = environment.stdin_is_terminal and environment.stdout_is_terminal
    is_interactive = has_terminal and options.output_format == "text"
    if voice is not None and not is_interactive and audio_config(settings, audio)[1].push_to_talk:
        raise UsageError("ending turns with Ctrl-T requires a terminal", hint="use --vad server")
    prepare(settings, environment, status, audio)
    templates = Templates(environment.templates_dir, settings, is_pipe=not is_interactive)
    if is_interactive:
        from rtchat.app.candidates import ChatCandidates
        from rtchat.app.interactive import Interactive, unechoed

        candidates = ChatCandidates(settings, environment)
        prompt = Interactive(settings, environment, voice, candidates, templates.events)
        with unechoed(environment) as typeahead:
            view, source = prompt.open(typeahead)
            source = templates.apply(source)
            source = partial(attachments_first, attached, source)
            chat = _Chat(settings, environment, options, Mode.CHAT, view, voice, candidates)
            return chat.run(source)
    with unblocked(environment) as environment:
        status = status_writer_of(settings, environment)
        view = _PacedView(
            view_of(settings, options.output_format, environment, status), environment
        )
        source = no_input
        if environment.stdin is not None:
            source = partial(read_lines, descriptor=environment.stdin, answered=view.answered)
        source = templates.apply(source)
        source = partial(attachments_first, attached, source)
        return _Chat(settings, environment, options, Mode.LINES, view, voice).run(source)


class _PacedView(ViewWrapper):
    """A view that signals when to ask the next question: once the last one has been answered and
    most of the answer has been written."""

    def __init__(self, view: View, environment: Environment) -> None:
        super().__init__(view)
        self._output = environment.output
        self._is_over = asyncio.Event()

    def show(self, update: Update) -> None:
        """Show an update."""
        super().show(update)
        if isinstance(update, ReplyOver):
            self._is_over.set()

    async def answered(self) -> None:
        """Wait until the next question may be asked."""
        await self._is_over.wait()
        self._is_over.clear()
        if self._output is not None:
            await self._output.written(MAX_UNWRITTEN)


# ------------------------------------------------------------------------------------------ running


@value
class _Chat:
    """One run of `talk` or `once`."""

    settings: Settings
    environment: Environment
    options: ChatOptions
    mode: Mode
    view: View
    voice: LiveAudio | None = None
    candidates: ChatCandidates | None = None
    instructions: str = ""
    """Further instructions for each reply, which are not saved."""

    def run(self, source: Source) -> ExitCode:
        """Run the conversation; `source` posts the input of the user."""
        with ExitStack() as stack:
            status = status_writer_of(self.settings, self.environment)
            history, resumed = open_history(
                self.settings, self.environment, self.options.past, status, stack
            )
            if resumed is not None:
                self.view.show(Resumed(resumed))
            voice = self.voice
            player: Player | None = voice
            recorder = None
            audio = self.options.audio
            if audio.audio_out is not None:
                recorder = stack.enter_context(
                    recorder_of(
                        audio.audio_out,
                        self.environment,
                        is_folder=self.mode is not Mode.ONCE,
                        source=audio.audio_in,
                    )
                )
                player = recorder if voice is None else TeePlayer(voice, recorder)
                watch = partial(recorder.watch, self.view.show)
                source = partial(_gather, source, lambda _post: watch())
            if voice is not None:
                source = partial(_gather, source, voice.listen)
            code = asyncio.run(self._run_session(source, resumed, history, player))
            if voice is not None:
                status.show(Notice("detail", voice.describe()))
            if recorder is not None and audio.audio_out is not None:
                code = finish_recording(recorder, code, status)
                if self.mode is Mode.ONCE and code is ExitCode.OK and recorder.is_empty:
                    raise to_exception(no_audio("the reply", audio.audio_out))
            return code

    async def _run_session(
        self,
        source: Source,
        resumed: StoredConversation | None,
        history: HistoryWriter | None,
        player: Player | None,
    ) -> ExitCode:
        settings, environment, view = self.settings, self.environment, self.view
        async with AsyncExitStack() as stack:
            connect, redactor = server_of(settings, environment, stack)
            taps: list[Tap] = []
            if self.options.output_format == "events":
                taps.append(partial(_print_event, environment.stdout.buffer))
            trace = trace_of(settings, redactor, stack, view)
            is_chat = self.mode is Mode.CHAT
            actions, switch = None, None
            if is_chat:
                from rtchat.app.actions import ShellActions
                from rtchat.trace.switch import TraceSwitch

                switch = TraceSwitch(trace, redactor, complete=settings.trace_audio)
                actions = ShellActions(settings, switch, redactor, history)
                stack.callback(switch.close)
                taps.append(switch)
            elif trace is not None:
                taps.append(trace)
            toolbox = await open_toolbox(
                settings, stack, lambda line: view.show(Notice("info", line))
            )
            setup = self._setup(resumed, toolbox)
            if trace is not None:
                trace("setup", SessionSetup(setup, settings.forced_dialect), 0.0)
            ports = SessionParts(
                view,
                connect,
                settings.forced_dialect,
                redactor,
                conversion=conversion_of(setup),
                taps=tuple(taps),
                history=history,
                tools=toolbox,
                actions=actions,
                player=player,
                microphone=self.voice,
                output=environment.output,
            )
            conversation = setup.make()
            if self.candidates is not None:
                self.candidates.conversation = conversation
            session = Session(conversation, ports)
            interrupt = CancelPressed() if is_chat else LeaveAsked(ExitCode.INTERRUPTED)
            code = await session.run(source, signal_events(interrupt))
            if is_chat and session.has_lost_output and code is ExitCode.OUTPUT:
                # The terminal was closed, but the signal has not arrived yet.
                return ExitCode.HANGUP
            await close_trace(trace if switch is None else switch.trace, code)
            return code

    def _setup(
        self, resumed: StoredConversation | None, toolbox: Toolbox | None
    ) -> ConversationSetup:
        settings, audio = self.settings, self.options.audio
        model = model_of(settings)
        session, speech = audio_config(settings, audio)
        tools = toolbox.tools if toolbox else ()
        budget = Budget(known_rates(settings.url, settings.prices), settings.max_cost)
        if settings.local:
            budget = Budget()
        elif budget.max_cost is not None and budget.rate(model) is None:
            hint = f'add it to the config file as [prices."{model}"]'
            raise UsageError(server_errors.no_price(model), hint=hint)
        elif budget.max_cost is not None and speech.transcription_model:
            self._check_price(budget, speech.transcription_model)
        return ConversationSetup(
            model,
            ask_for(
                "audio" if audio.speaks else "text",
                settings.system,
                settings.max_output_tokens,
                with_tools(session, tools),
            ),
            mode=self.mode,
            timeouts=Timeouts(settings.connect_timeout, settings.timeout),
            stored=resumed,
            response=self._response_options(resumed),
            speech=speech,
            budget=budget,
            tools=tuple(tool.name for tool in tools),
            allowed=tuple(settings.allow_tools),
            servers=toolbox.servers if toolbox else {},
            can_ask=self.mode is Mode.CHAT,
            limits=TurnLimits(
                settings.max_tool_rounds,
                settings.max_tool_calls,
                settings.max_tool_bytes,
                settings.max_reply_bytes,
            ),
            key_hint=settings.key_hint,
            context=ContextLimits(settings.context, settings.warn_tokens),
        )

    def _response_options(self, resumed: StoredConversation | None) -> Options:
        """The options of each response. Its instructions replace those of the session."""
        other = self.settings.response
        if not self.instructions:
            return Options(other=other)
        of_session = self.settings.system or ConversationLog(resumed).instructions
        texts = (other.get("instructions", of_session), self.instructions)
        instructions = "\n\n".join(str(text) for text in texts if text)
        return Options(other={**other, "instructions": instructions})

    def _check_price(self, budget: Budget, model: str) -> None:
        if budget.rate(model) is None:
            self.view.show(Notice("warning", server_errors.no_price(model)))


async def _gather(source: Source, other: Source, post: Post) -> None:
    await asyncio.gather(source(post), other(post))


def _print_event(
    out: BinaryIO, direction: str, data: JsonObject | str | LocalEvent, _now: float
) -> None:
    if direction == "received" and isinstance(data, dict):
        out.write((write_json(data) + "\n").encode())
        out.flush()
