"""The line editor: reads one entry at a time, and what is typed while a reply streams.

`slash_commands` interprets entries, and `terminal` decides when to read one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TextIO, TypeAlias

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, get_app, in_terminal, run_in_terminal
from prompt_toolkit.enums import DEFAULT_BUFFER, EditingMode
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.input.typeahead import get_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, Output, create_output
from prompt_toolkit.renderer import CPR_Support, print_formatted_text
from prompt_toolkit.styles import Style

from rtchat.core.effects import MicrophoneStatus
from rtchat.core.events import Answer, CancelPressed, EntryAbandoned, MicrophoneToggled
from rtchat.core.values import StoredConversation
from rtchat.ui.approval import ToolQuestion
from rtchat.ui.completion import CommandCompleter
from rtchat.ui.input_history import InputHistory
from rtchat.ui.meter import Meter, Meters
from rtchat.ui.pager import Pager
from rtchat.ui.picker import picker_app
from rtchat.ui.shown_question import ShownQuestion
from rtchat.ui.typeahead import ESCAPE_SECONDS, TypeaheadBuffer, TypeaheadReader

Pressed: TypeAlias = CancelPressed | EntryAbandoned | MicrophoneToggled
_METER_SECONDS = 0.1
"""Seconds between two readings of the microphone's level."""
_QUESTION_TIMEOUT = 2.0
"""Seconds that a terminal may take to show a question and report the cursor position."""
_ANSWERS: tuple[Answer, ...] = ("yes", "always", "no")
_HOW_TO_LEAVE = "Ctrl-D or /exit leaves"
_STYLE = {"bottom-toolbar": "noreverse"}
_PLAIN = Style([])


class Prompt:
    """Reads entries from a terminal. If `history` is None, they are kept in memory only.

    `meters` is for voice conversations; it is shown below the entry if `paints_meter`.
    """

    def __init__(
        self,
        history: Path | None,
        *,
        color: bool = True,
        meters: Meters | None = None,
        paints_meter: bool = True,
        input: Input | None = None,
        output: Output | None = None,
        stdout: TextIO | None = None,
    ) -> None:
        output = output or create_output(stdout)
        self._input = input or create_input()
        self._typed = TypeaheadBuffer()
        self.on_suspend: Callable[[], None] = lambda: None
        """Called on Ctrl-Z."""
        self.on_press: Callable[[Pressed], None] = lambda _: None
        """Called for a key that the conversation handles."""
        self.on_return: Callable[[], None] = lambda: None
        """Called when $EDITOR is closed."""
        self._meters = meters
        self._meter: Meter | None = None
        if meters is not None and paints_meter:
            self._meter = Meter(meters, lambda: output.get_size().columns)
        self._editor: asyncio.Task[None] | None = None
        self._is_set_aside = False
        self._is_asking = False
        self._early_until = 0.0
        """The loop time from which keys are answers, even without a report from the terminal."""
        self._cleared = ""
        """The text that Ctrl-C cleared last; Up restores it."""
        self._is_advised = False
        """Whether the last line above the entry says how to exit."""
        self._is_recording = False
        """Whether the microphone records a push-to-talk turn."""
        self._suspension: Awaitable[None] | None = None
        """A reference that keeps the task from being garbage-collected."""
        self._history = InputHistory(history)
        self._session: PromptSession[str] = PromptSession(
            "› ",  # noqa: RUF001 # the prompt is meant to look like this
            history=self._history,
            multiline=True,
            editing_mode=EditingMode.EMACS,
            tempfile_suffix=".md",
            completer=CommandCompleter(),
            complete_while_typing=False,
            key_bindings=self._keys(),
            prompt_continuation="  ",
            bottom_toolbar=self._meter.paint if self._meter else None,
            style=Style.from_dict(_STYLE),
            color_depth=None if color else ColorDepth.DEPTH_1_BIT,
            input=self._input,
            output=output,
        )
        self._choices: PromptSession[str] = PromptSession(
            history=InMemoryHistory(),
            key_bindings=self._choice_keys(),
            color_depth=None if color else ColorDepth.DEPTH_1_BIT,
            input=self._input,
            output=output,
        )
        self._choices.app.ttimeoutlen = ESCAPE_SECONDS
        if meters is not None:
            self._session.app.ttimeoutlen = ESCAPE_SECONDS

    @property
    def active(self) -> bool:
        """Whether an entry or an answer is being edited."""
        return self._running is not None

    @property
    def _running(self) -> Application[str] | None:
        apps = (self._session.app, self._choices.app)
        return next((app for app in apps if app.is_running), None)

    @property
    def is_in_editor(self) -> bool:
        """Whether $EDITOR has the screen."""
        return self._editor is not None

    def without_echo(self) -> AbstractContextManager[None]:
        """A context in which keys pressed between two entries are not echoed."""
        return self._input.raw_mode()

    async def read(self, default: str = "") -> str | None:
        """Read one entry. It begins with `default` and the typeahead, or with the entry that was
        set aside. Returns None if the user exits, and "" if the entry is set aside.

        Exceptions are raised to the caller: the library would print a traceback and wait for Enter.
        """
        await self._history.ready()
        session, self._session.app.erase_when_done = self._session, False
        self._is_advised, self._cleared = False, ""
        with self._updating_meter():
            try:
                if not self._is_set_aside:
                    default += self._typed.take()
                    return await session.prompt_async(
                        default=default, handle_sigint=False, set_exception_handler=False
                    )
                self._is_set_aside = False
                self._typed.apply_to(session.default_buffer)
                return await session.app.run_async(handle_sigint=False, set_exception_handler=False)
            except EOFError:
                return None

    def set_aside(self) -> None:
        """Remove the entry from the screen; the next `read` continues it."""
        app = self._session.app
        if not app.is_running or app.is_done:
            return
        self._session.search_buffer.reset()
        self._session.layout.focus(DEFAULT_BUFFER)
        self._is_set_aside = app.erase_when_done = True
        app.exit(result="")

    def set_microphone(self, microphone: MicrophoneStatus) -> None:
        """Show this microphone state."""
        self._is_recording = microphone.is_on and microphone.push_to_talk
        if self._meter is not None:
            self._meter.set_microphone(microphone)

    @contextmanager
    def _updating_meter(self) -> Iterator[None]:
        """A context in which the meter is repainted whenever it changes."""
        if (meter := self._meter) is None:
            yield
            return
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def update() -> None:
            nonlocal timer
            timer = loop.call_later(_METER_SECONDS, update)
            if meter.poll():
                self._session.app.invalidate()

        timer = loop.call_later(_METER_SECONDS, update)
        try:
            yield
        finally:
            timer.cancel()

    def close(self) -> None:
        """Finish writing the input history."""
        self._history.close()

    async def choose(self, question: ToolQuestion) -> Answer | None:
        """Ask until the answer is yes, always or no. Returns None if the reply is to be stopped.

        Keys that were pressed before the question was on the screen go to the next entry.
        """
        app = self._choices.app
        app.renderer.cpr_support = self._session.app.renderer.cpr_support
        shown = ShownQuestion(question, app.output)
        self._is_asking = True
        while self._is_asking:
            app.erase_when_done = False
            for key in get_typeahead(self._input):
                self._typed.press(key)
            app.before_render += self._before_question
            try:
                typed = await self._choices.prompt_async(
                    lambda: shown.message(self.print_above),
                    handle_sigint=False,
                    set_exception_handler=False,
                )
            except (EOFError, KeyboardInterrupt):
                return None
            for answer in _ANSWERS:
                if typed.strip() and answer.startswith(typed.strip().lower()):
                    return answer
        return None

    def _before_question(self, app: Application[str]) -> None:
        """The question is about to appear: input that can be read now was typed before it."""
        app.before_render -= self._before_question
        self._early_until = asyncio.get_running_loop().time() + _QUESTION_TIMEOUT
        while keys := self._input.read_keys():
            for key in keys:
                self._handle_early_key(app, key)

    def _handle_early_key(self, app: Application[str], key: KeyPress) -> None:
        """Handle a key pressed before the question was shown: Ctrl-C stops the reply, other keys
        are typeahead."""
        if key.key is Keys.CPRResponse:
            app.renderer.report_absolute_cursor_row(int(key.data[2:].partition(";")[0]))
        elif key.key is Keys.ControlC and not app.is_done:
            app.exit(exception=KeyboardInterrupt)
        else:
            self._typed.press(key)

    async def pick(self, conversations: Sequence[StoredConversation]) -> StoredConversation | None:
        """Let the user choose a conversation. Returns None if they cancel."""
        output, color = self._session.app.output, self._session.color_depth is None
        app = picker_app(
            conversations, now=time.time(), color=color, input=self._input, output=output
        )
        return await app.run_async(handle_sigint=False, set_exception_handler=False)

    async def page(self, text: str, pager: Pager) -> None:
        """Show text above the entry, or in a pager if it is long.

        The terminal stays in raw mode: otherwise keys typed at the end of the pager would change.
        """
        if not pager.is_long(text):
            self.print_above(lambda: pager.show(text))
            return
        try:
            if self.active:
                async with in_terminal():
                    with self._input.raw_mode():
                        await asyncio.to_thread(pager.show, text)
            else:
                with self._input.detach():
                    await asyncio.to_thread(pager.show, text)
        except asyncio.CancelledError:
            pager.stop()
            raise

    def dismiss_question(self) -> None:
        """Remove the question: it no longer needs an answer."""
        self._is_asking = False
        app = self._choices.app
        if app.is_running and not app.is_done:
            app.erase_when_done = True
            app.exit(exception=EOFError)

    def print_above(self, show: Callable[[], None]) -> None:
        """Call `show`, which prints above the entry that is being edited, if there is one.

        The terminal stays in raw mode, which `run_in_terminal` would leave: otherwise an Enter
        typed at this moment would become a new line.
        """
        self._is_advised = False
        app = self._running
        if app is None:
            show()
            return
        app.renderer.erase()
        show()
        app.renderer.request_absolute_cursor_position()
        app.invalidate()

    def suspend(self, stop: Callable[[], None]) -> None:
        """Call `stop` with the terminal in its original mode, then continue."""
        if self.active:
            self._suspension = run_in_terminal(stop)
        else:
            with self._input.cooked_mode():
                stop()

    @contextmanager
    def replying(self, on_cancel: Callable[[], None]) -> Iterator[None]:
        """A context in which Ctrl-C and Esc call `on_cancel`; other keys are typeahead."""
        actions = {
            Keys.Escape: on_cancel,
            Keys.ControlC: on_cancel,
            Keys.ControlZ: lambda: self.on_suspend(),
        }
        if self._meters is not None:
            actions[Keys.ControlT] = lambda: self.on_press(MicrophoneToggled())
        keys = TypeaheadReader(self._input, self._typed, actions)
        keys.take(get_typeahead(self._input))
        with self._input.raw_mode(), self._input.attach(keys.ready):
            try:
                yield
            finally:
                keys.stop()

    def _keys(self) -> KeyBindings:
        keys = self._common_keys()
        typing = has_focus(DEFAULT_BUFFER)

        @keys.add("enter", filter=typing)
        def send(event: KeyPressEvent) -> None:
            event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter", filter=typing)
        @keys.add("c-j", filter=typing)
        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("c-c", filter=typing)
        def clear(event: KeyPressEvent) -> None:
            if text := event.current_buffer.text:
                event.current_buffer.reset(append_to_history=True)
                self._cleared = text
            elif self._can_be_silenced:
                self.on_press(CancelPressed())
            else:
                self.on_press(EntryAbandoned())
                self._advise(event.app.output)

        @keys.add("up", filter=typing & Condition(lambda: bool(self._cleared)))
        def restore(event: KeyPressEvent) -> None:
            event.current_buffer.auto_up()
            if not event.current_buffer.text:  # the history has not been reloaded yet
                event.current_buffer.insert_text(self._cleared)
            self._cleared = ""

        @keys.add("c-x", "c-e", filter=typing)
        def edit(event: KeyPressEvent) -> None:
            self._editor = event.current_buffer.open_in_editor()
            self._editor.add_done_callback(self._on_editor_closed)

        return keys

    def _choice_keys(self) -> KeyBindings:
        keys = self._common_keys()

        @Condition
        def is_early() -> bool:
            """Whether the terminal may not have shown the question yet. Its report of the cursor
            position follows everything typed before, but may get lost."""
            renderer = get_app().renderer
            is_waiting = renderer.waiting_for_cpr and renderer.cpr_support is CPR_Support.SUPPORTED
            return is_waiting and asyncio.get_running_loop().time() < self._early_until

        @keys.add(Keys.Any, filter=is_early, eager=True)
        def keep(event: KeyPressEvent) -> None:
            for key in event.key_sequence:
                self._handle_early_key(event.app, key)

        @keys.add("escape", eager=_is_single_key)
        def stop(event: KeyPressEvent) -> None:
            event.app.exit(exception=KeyboardInterrupt)

        return keys

    def _common_keys(self) -> KeyBindings:
        """The keys for both entries and questions."""
        keys = KeyBindings()

        @keys.add("c-z")
        def suspend(event: KeyPressEvent) -> None:
            self.on_suspend()

        @keys.add("c-t", filter=Condition(lambda: self._meters is not None))
        def toggle(event: KeyPressEvent) -> None:
            self.on_press(MicrophoneToggled())

        @keys.add("escape", filter=Condition(lambda: self._can_be_silenced), eager=_is_single_key)
        def silence(event: KeyPressEvent) -> None:
            self.on_press(CancelPressed())

        return keys

    def _advise(self, output: Output) -> None:
        """Print how to exit, unless the last line above already says so."""
        if not self._is_advised:
            advice = FormattedText([("fg:ansibrightblack", _HOW_TO_LEAVE), ("", "\n")])
            self.print_above(lambda: print_formatted_text(output, advice, _PLAIN))
            self._is_advised = True

    @property
    def _can_be_silenced(self) -> bool:
        """Whether there is playback or a recording to stop."""
        return self._is_recording or (self._meters is not None and self._meters.is_playing)

    def _on_editor_closed(self, editor: asyncio.Task[None]) -> None:
        self._editor = None
        self.on_return()


@Condition
def _is_single_key() -> bool:
    """Whether no other key arrived with this one: Esc, not Alt."""
    return not get_app().key_processor.input_queue
