"""The entry at the bottom of the screen: one prompt-toolkit application for a whole conversation.

It stays visible and editable while a reply streams above it. `slash_commands` interprets entries,
and `terminal` decides what happens to them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TextIO

from prompt_toolkit.application import Application, in_terminal, run_in_terminal
from prompt_toolkit.application.current import set_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.cursor_shapes import ModalCursorShapeConfig
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import (
    Condition,
    emacs_mode,
    has_completions,
    has_focus,
    has_selection,
    shift_selection_mode,
    vi_insert_mode,
)
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input, create_input
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.input.vt100 import raw_mode
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent, merge_key_bindings
from prompt_toolkit.key_binding.bindings.auto_suggest import load_auto_suggest_bindings
from prompt_toolkit.key_binding.vi_state import InputMode
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output, create_output

from rtchat.core.effects import MicrophoneStatus, ReplyPlaying, SpeechHeard, Update
from rtchat.core.events import (
    Answer,
    CancelPressed,
    DraftAbandoned,
    EntryAbandoned,
    LeaveAsked,
    LocalEvent,
    MicrophoneToggled,
    QueuedTakenBack,
)
from rtchat.core.values import StoredConversation
from rtchat.ui.approval import answer_of
from rtchat.ui.candidates import Candidates
from rtchat.ui.entries import Entry
from rtchat.ui.entry_buffer import EntryBuffer
from rtchat.ui.entry_layout import EntryLayout
from rtchat.ui.entry_renderer import EntryRenderer
from rtchat.ui.entry_style import entry_style
from rtchat.ui.escape_key import ESCAPE_SECONDS, is_single_key
from rtchat.ui.input_history import InputHistory
from rtchat.ui.meter import Meter, Meters
from rtchat.ui.pager import Pager
from rtchat.ui.panel import LivePanel
from rtchat.ui.picker import ConversationPicker

_QUESTION_TIMEOUT = 2.0
"""Seconds that a terminal may take to show a question and report the cursor position."""
_PAUSE = 0.5
"""Seconds without a key after which a user who was typing can be asked a question."""


class Prompt:
    """Reads entries from a terminal. If `history` is None, they are kept in memory only.

    `panel` is where it is shown. `meters` is for voice conversations; the microphone's level is
    shown below the entry if `paints_meter`, before the status that `status` returns. `candidates`
    completes the arguments of commands.
    """

    def __init__(
        self,
        panel: LivePanel,
        history: Path | None,
        *,
        meters: Meters | None = None,
        paints_meter: bool = True,
        status: Callable[[], StyleAndTextTuples] = list,
        candidates: Candidates | None = None,
        editing_mode: EditingMode = EditingMode.EMACS,
        input: Input | None = None,
        output: Output | None = None,
        stdout: TextIO | None = None,
    ) -> None:
        output = output or create_output(stdout)
        self.panel = panel
        self.on_entry: Callable[[Entry], None] = lambda _: None
        """Called with what the user sends."""
        self.on_press: Callable[[LocalEvent], None] = lambda _: None
        """Called for a key that the conversation handles."""
        self.on_advice: Callable[[], None] = lambda: None
        """Called when the user may want to know how to exit."""
        self.on_suspend: Callable[[], None] = lambda: None
        """Called on Ctrl-Z."""
        self.on_return: Callable[[], None] = lambda: None
        """Called when $EDITOR is closed."""
        self.on_resize: Callable[[], None] = lambda: None
        """Called when the size of the terminal has changed."""
        self.shown = asyncio.Event()
        """Set when the entry has been drawn, or never will be."""
        self.can_stop: Callable[[], bool] = lambda: False
        """Returns whether there is a reply to stop."""
        self._show_status = status
        self._meters = meters
        self._meter: Meter | None = None
        if meters is not None and paints_meter:
            self._meter = Meter(meters, lambda: output.get_size().columns)
        self._editor: asyncio.Task[None] | None = None
        self._is_recording = False
        """Whether the microphone records a push-to-talk turn, or is about to."""
        self._has_draft = False
        """Whether the entry may hold a draft."""
        self._last_key = 0.0
        """The loop time of the last key."""
        self._answer: asyncio.Future[Answer | None] | None = None
        """The answer to the question that is asked."""
        self._suspension: Awaitable[None] | None = None
        """A reference that keeps the task from being garbage-collected."""
        self._history = InputHistory(history)
        self._buffer = EntryBuffer(self._history, candidates)
        self._choice = Buffer(multiline=False)
        self._layout = EntryLayout(
            self._buffer,
            self._choice,
            status=self._status,
            size=output.get_size,
        )
        self._app: Application[None] = Application(
            layout=self._layout.layout,
            key_bindings=merge_key_bindings([load_auto_suggest_bindings(), self._keys()]),
            editing_mode=editing_mode,
            style=entry_style(panel.console.styles),
            cursor=ModalCursorShapeConfig() if editing_mode is EditingMode.VI else None,
            erase_when_done=True,
            input=input or create_input(),
            output=output,
        )
        self._app.ttimeoutlen = ESCAPE_SECONDS
        self._renderer = EntryRenderer(panel, self._app.renderer.style, output)
        self._renderer.on_resize = lambda: self.on_resize()
        self._app.renderer = self._renderer
        self._app.key_processor.before_key_press += self._on_key
        self._app.after_render += lambda _: self.shown.set()

    # ------------------------------------------------------------------------------- its life

    async def run(self) -> None:
        """Read entries until `exit` is called.

        Exceptions are raised to the caller: the library would print a traceback and wait for Enter.

        Raises:
            EOFError, OSError: the terminal is gone.
        """
        try:
            await self._history.ready()
            with self._meter.polling(self._draw_status) if self._meter else nullcontext():
                await self._app.run_async(handle_sigint=False, set_exception_handler=False)
        finally:
            self.shown.set()

    def type_ahead(self, keys: list[KeyPress]) -> None:
        """Treat these as pressed, once the prompt runs."""
        store_typeahead(self._app.input, keys)

    def exit(self) -> None:
        """Remove the entry from the screen and stop reading."""
        if self._app.is_running and not self._app.is_done:
            self._app.exit()

    def close(self) -> None:
        """Finish writing the input history."""
        self._history.close()

    @property
    def is_in_editor(self) -> bool:
        """Whether $EDITOR has the screen."""
        return self._editor is not None

    def suspend(self, stop: Callable[[], None]) -> None:
        """Call `stop` with the terminal in its original mode, then continue."""
        self._suspension = run_in_terminal(stop)

    async def page(self, text: str, pager: Pager) -> None:
        """Show a text in a pager, which has the whole terminal.

        The terminal stays in raw mode: otherwise keys typed at the end of the pager would change.
        """
        try:
            async with in_terminal():
                with raw_mode(self._app.input.fileno()):
                    await asyncio.to_thread(pager.show, text)
        except asyncio.CancelledError:
            pager.stop()
            raise

    # ----------------------------------------------------------------------------- what it shows

    def set_draft(self, text: str) -> None:
        """Put a text into the entry, before what is in it. It counts as pasted: it is not a command
        and mentions no files. If the user clears the entry, `DraftAbandoned` is posted."""
        self._has_draft = True
        self._buffer.set_draft(text)

    def set_queue(self, texts: Sequence[str]) -> None:
        """Show these questions as waiting."""
        self._layout.queue = texts
        self._app.invalidate()

    def show(self, update: Update) -> None:
        """Show the state of the microphone and of what it hears."""
        if isinstance(update, MicrophoneStatus):
            self._is_recording = update.push_to_talk and (update.is_on or update.is_opening)
        if self._meter is not None:
            self._meter.show(update)
            if isinstance(update, MicrophoneStatus | SpeechHeard | ReplyPlaying):
                self._app.invalidate()

    def _status(self) -> StyleAndTextTuples:
        if self._meter is None:
            return self._show_status()
        status = self._show_status()
        return [*self._meter.paint(), ("", "\n"), *status] if status else self._meter.paint()

    # ------------------------------------------------------------------------------- questions

    async def pick(self, conversations: Sequence[StoredConversation]) -> StoredConversation | None:
        """Let the user choose a conversation. Returns None if they cancel."""
        chosen: asyncio.Future[StoredConversation | None]
        chosen = asyncio.get_running_loop().create_future()

        def done(conversation: StoredConversation | None) -> None:
            self._layout.show_entry()  # the next key may have been read already
            chosen.set_result(conversation)

        picker = ConversationPicker(
            conversations, done, now=time.time(), size=self._app.output.get_size
        )
        self._layout.show_instead(picker.container)
        self._app.invalidate()
        try:
            return await chosen
        finally:
            self._app.invalidate()

    async def choose(self) -> tuple[Answer | None, str]:
        """Ask until the answer is yes, always or no, and return it with what was typed. None is for
        stopping the reply.

        Keys pressed before the question was on the screen go to the entry, and so do those of a
        user who is typing an entry, until there is a pause.
        """
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        try:
            await self._renderer.shown(_QUESTION_TIMEOUT)
            while self._buffer.text and (pause := self._last_key + _PAUSE - loop.time()) > 0:
                await asyncio.wait((self._answer,), timeout=pause)
            self._choice.reset()
            if not self._answer.done():
                self._layout.show_choice()
                self._draw()
            return await self._answer, self._choice.text
        finally:
            self._answer = None
            self._layout.show_entry()
            self._draw()

    def _draw(self) -> None:
        """Draw the entry at once: `invalidate` may wait until other tasks have printed."""
        if self._app.is_running and not self._app.is_done:
            with set_app(self._app):
                self._renderer.render(self._app, self._app.layout)

    def _draw_status(self) -> None:
        """Draw only the status line, whose level changes often: to draw all costs CPU time."""
        if self._app.is_running and not self._app.is_done:
            with set_app(self._app):
                self._renderer.render_window(self._app, self._layout.status)

    def cursor_reported(self, row: int, _: int) -> None:
        """The terminal has reported the position of its cursor."""
        self._renderer.report_absolute_cursor_row(row)

    def invalidate(self) -> None:
        """Repaint what is below the entry."""
        self._app.invalidate()

    def dismiss_question(self) -> None:
        """The question no longer needs an answer: keys go to the entry again."""
        if self._answer is not None:
            self._decide(None)
            self._layout.show_entry()

    def _decide(self, answer: Answer | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    # ------------------------------------------------------------------------------------ keys

    def _on_key(self, _: object) -> None:
        self._last_key = asyncio.get_running_loop().time()

    def _abandon_draft(self) -> None:
        if self._has_draft:
            self._has_draft = False
            self.on_press(DraftAbandoned())

    def _keys(self) -> KeyBindings:  # noqa: C901 - one function for each key
        keys = KeyBindings()
        typing, choosing = has_focus(self._buffer), has_focus(self._choice)

        @Condition
        def is_stopping() -> bool:
            return self.can_stop() or self._can_be_silenced

        @keys.add("enter", filter=typing)
        def send(event: KeyPressEvent) -> None:
            self._app.vi_state.reset()
            if (entry := self._buffer.send()) is None:
                self._abandon_draft()
            else:
                self._has_draft = False
                self._draw()  # otherwise it may be on the screen twice for a moment
                self.on_entry(entry)

        @keys.add("escape", "enter", filter=typing)
        @keys.add("c-j", filter=typing)
        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("tab", filter=typing & ~has_completions)
        def complete(event: KeyPressEvent) -> None:
            self._buffer.complete()

        @keys.add(Keys.BracketedPaste, filter=typing)
        def paste(event: KeyPressEvent) -> None:
            self._buffer.paste(event.data)

        @keys.add("c-c", filter=typing)
        def stop_or_clear(event: KeyPressEvent) -> None:
            if is_stopping():
                self.on_press(CancelPressed())
            elif self._buffer.text:
                self._app.vi_state.reset()
                self._buffer.clear()
                self._abandon_draft()
            else:
                self._has_draft = False
                self.on_press(EntryAbandoned())
                self.on_advice()

        @keys.add("up", filter=typing & Condition(lambda: not self._buffer.text))
        def take_back(event: KeyPressEvent) -> None:
            if self._layout.queue:
                self.on_press(QueuedTakenBack())
            elif not self._buffer.restore():
                self._buffer.auto_up()

        @keys.add("c-d", filter=typing & Condition(lambda: not self._buffer.text))
        def leave(event: KeyPressEvent) -> None:
            self.on_press(LeaveAsked())

        @keys.add("c-x", "c-e", filter=typing)
        def edit(event: KeyPressEvent) -> None:
            self._buffer.unfold()
            self._editor = self._buffer.open_in_editor()
            self._editor.add_done_callback(self._on_editor_closed)

        @keys.add("enter", filter=choosing)
        def choose(event: KeyPressEvent) -> None:
            if (answer := answer_of(self._choice.text)) is None:
                self._choice.reset()
            else:
                self._decide(answer)

        @keys.add("c-c", filter=choosing)
        @keys.add("c-d", filter=choosing)
        @keys.add("escape", filter=choosing, eager=is_single_key)
        def stop(event: KeyPressEvent) -> None:
            self._decide(None)

        @keys.add(
            "escape",
            filter=typing & is_stopping & ~vi_insert_mode & ~has_completions,
            eager=is_single_key,
        )
        def silence(event: KeyPressEvent) -> None:
            self.on_press(CancelPressed())

        @keys.add(
            "escape",
            filter=typing & ((has_completions & ~vi_insert_mode) | (emacs_mode & ~is_stopping)),
            eager=is_single_key,
        )
        def close_menu(event: KeyPressEvent) -> None:
            """Esc alone is not the beginning of an Alt-key: the next key must not be lost."""
            event.current_buffer.cancel_completion()

        @keys.add("escape", filter=typing & vi_insert_mode, eager=is_single_key)
        def leave_insert_mode(event: KeyPressEvent) -> None:
            """At once: otherwise it would take a second, in which Enter could make it Alt-Enter."""
            buffer = event.current_buffer
            buffer.cursor_position += buffer.document.get_cursor_left_position()
            event.app.vi_state.input_mode = InputMode.NAVIGATION

        @keys.add(Keys.Any, filter=typing & emacs_mode & has_selection & ~shift_selection_mode)
        def forget_mark(event: KeyPressEvent) -> None:
            """After Ctrl-Space, prompt_toolkit would ignore what is typed."""
            event.current_buffer.exit_selection()
            event.key_processor.feed(event.key_sequence[-1], first=True)

        @keys.add("escape", Keys.Any, filter=emacs_mode)
        def ignore(event: KeyPressEvent) -> None:
            """An Alt-key without a meaning would insert its letter."""

        @keys.add("c-z")
        def suspend(event: KeyPressEvent) -> None:
            self.on_suspend()

        @keys.add("c-t", filter=Condition(lambda: self._meters is not None))
        def toggle(event: KeyPressEvent) -> None:
            self.on_press(MicrophoneToggled())

        return keys

    @property
    def _can_be_silenced(self) -> bool:
        """Whether there is playback or a recording to stop."""
        return self._is_recording or (self._meters is not None and self._meters.is_playing)

    def _on_editor_closed(self, editor: asyncio.Task[None]) -> None:
        self._editor = None
        self.on_return()
