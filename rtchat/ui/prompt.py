"""The entry at the bottom of the screen: one prompt-toolkit application for a whole conversation.

It stays visible and editable while a reply streams above it. `slash_commands` interprets entries,
and `terminal` decides what happens to them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeAlias

from prompt_toolkit.application import Application, get_app, in_terminal, run_in_terminal
from prompt_toolkit.application.current import set_app
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.cursor_shapes import ModalCursorShapeConfig
from prompt_toolkit.document import Document
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
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import Output, create_output
from prompt_toolkit.styles import Style

from rtchat.core.effects import MicrophoneStatus
from rtchat.core.events import (
    Answer,
    CancelPressed,
    DraftAbandoned,
    EntryAbandoned,
    LeaveAsked,
    MicrophoneToggled,
    QueuedTakenBack,
)
from rtchat.core.values import StoredConversation
from rtchat.ui.candidates import Candidates
from rtchat.ui.completion import CommandCompleter, command_names
from rtchat.ui.entries import Entry
from rtchat.ui.entry_layout import EntryLayout
from rtchat.ui.entry_renderer import EntryRenderer
from rtchat.ui.input_history import InputHistory
from rtchat.ui.meter import Meter, Meters
from rtchat.ui.pager import Pager
from rtchat.ui.panel import LivePanel
from rtchat.ui.pasted import Pastes
from rtchat.ui.picker import ConversationPicker

Pressed: TypeAlias = (
    CancelPressed
    | DraftAbandoned
    | EntryAbandoned
    | LeaveAsked
    | MicrophoneToggled
    | QueuedTakenBack
)
ESCAPE_SECONDS = 0.1
"""How long the rest of an escape sequence may take to follow an Esc."""
_METER_SECONDS = 0.1
"""Seconds between two readings of the microphone's level."""
_QUESTION_TIMEOUT = 2.0
"""Seconds that a terminal may take to show a question and report the cursor position."""
_PAUSE = 0.5
"""Seconds without a key after which a user who was typing can be asked a question."""
_ANSWERS: tuple[Answer, ...] = ("yes", "always", "no")
_STYLE = Style.from_dict(
    {
        "auto-suggestion": "fg:ansibrightblack",
        "paste": "fg:ansicyan",
        "queued": "fg:ansibrightblack",
        "completion-menu": "bg:default fg:default",
        "completion-menu.completion": "bg:default fg:default",
        "completion-menu.completion.current": "noreverse bg:default fg:ansicyan bold",
        "completion-menu.meta.completion": "bg:default fg:ansibrightblack",
        "completion-menu.meta.completion.current": "bg:default fg:ansibrightblack",
        "scrollbar.background": "bg:default",
        "scrollbar.button": "bg:default",
    }
)


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
        self.on_press: Callable[[Pressed], None] = lambda _: None
        """Called for a key that the conversation handles."""
        self.on_advice: Callable[[], None] = lambda: None
        """Called when the user may want to know how to exit."""
        self.on_suspend: Callable[[], None] = lambda: None
        """Called on Ctrl-Z."""
        self.on_return: Callable[[], None] = lambda: None
        """Called when $EDITOR is closed."""
        self.on_resize: Callable[[], None] = lambda: None
        """Called when the size of the terminal has changed."""
        self.can_stop: Callable[[], bool] = lambda: False
        """Returns whether there is a reply to stop."""
        self._show_status = status
        self._meters = meters
        self._meter: Meter | None = None
        if meters is not None and paints_meter:
            self._meter = Meter(meters, lambda: output.get_size().columns)
        self._editor: asyncio.Task[None] | None = None
        self._is_recording = False
        """Whether the microphone records a push-to-talk turn."""
        self._cleared: Entry | None = None
        """The entry that Ctrl-C cleared last; Up restores it."""
        self._has_draft = False
        """Whether the entry may hold a draft."""
        self._pasted_start = ""
        """The first character of the entry, if it was pasted."""
        self._pasted: list[str] = []
        """The texts that were pasted into the entry."""
        self._pastes = Pastes()
        self._last_key = 0.0
        """The loop time of the last key."""
        self._answer: asyncio.Future[Answer | None] | None = None
        """The answer to the question that is asked."""
        self._suspension: Awaitable[None] | None = None
        """A reference that keeps the task from being garbage-collected."""
        self._history = InputHistory(history)
        self._buffer = Buffer(
            history=self._history,
            multiline=True,
            tempfile_suffix=".md",
            completer=CommandCompleter(candidates),
            auto_suggest=AutoSuggestFromHistory(),
            on_text_changed=self._on_changed,
        )
        self._choice = Buffer(multiline=False)
        self._layout = EntryLayout(
            self._buffer,
            self._choice,
            self._pastes,
            status=self._status,
            rows=lambda: output.get_size().rows,
            columns=lambda: output.get_size().columns,
        )
        self._app: Application[None] = Application(
            layout=self._layout.layout,
            key_bindings=merge_key_bindings([load_auto_suggest_bindings(), self._keys()]),
            editing_mode=editing_mode,
            style=_STYLE,
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

    # ------------------------------------------------------------------------------- its life

    async def run(self) -> None:
        """Read entries until `exit` is called.

        Exceptions are raised to the caller: the library would print a traceback and wait for Enter.

        Raises:
            EOFError, OSError: the terminal is gone.
        """
        await self._history.ready()
        with self._updating_meter():
            await self._app.run_async(handle_sigint=False, set_exception_handler=False)

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
        self._insert(text)

    def _insert(self, text: str) -> None:
        typed = self._buffer.text
        self._pasted.append(text)
        self._pasted_start = text[:1]
        text = self._pastes.fold(text)
        self._buffer.set_document(Document(f"{text}\n{typed}" if typed else text, len(text)))

    def set_queue(self, texts: Sequence[str]) -> None:
        """Show these questions as waiting."""
        self._layout.queue = texts
        self._app.invalidate()

    def set_microphone(self, microphone: MicrophoneStatus) -> None:
        """Show this microphone state."""
        self._is_recording = microphone.is_on and microphone.push_to_talk
        if self._meter is not None:
            self._meter.set_microphone(microphone)
            self._app.invalidate()

    def _status(self) -> StyleAndTextTuples:
        if self._meter is None:
            return self._show_status()
        status = self._show_status()
        return [*self._meter.paint(), ("", "\n"), *status] if status else self._meter.paint()

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
                self._app.invalidate()

        timer = loop.call_later(_METER_SECONDS, update)
        try:
            yield
        finally:
            timer.cancel()

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

    def _on_changed(self, buffer: Buffer) -> None:
        if not buffer.text:
            self._pasted_start = ""
            self._pasted.clear()

    def _take(self, buffer: Buffer) -> Entry | None:
        """Empty the entry and return what was in it, if there was more than whitespace."""
        text = self._pastes.unfold(buffer.text)
        is_literal = bool(self._pasted_start) and text.startswith(self._pasted_start)
        entry = Entry(text, is_literal, tuple(self._pasted))
        buffer.reset()
        self._on_changed(buffer)
        self._pastes.clear()
        self._app.vi_state.reset()
        if not text.strip():
            return None
        if self._history.get_strings()[-1:] != [text]:
            self._history.append_string(text)
        return entry

    def _send(self, buffer: Buffer) -> None:
        self._cleared = None
        if (entry := self._take(buffer)) is not None:
            self._has_draft = False
            self.on_entry(entry)
        else:
            self._abandon_draft()

    def _abandon_draft(self) -> None:
        if self._has_draft:
            self._has_draft = False
            self.on_press(DraftAbandoned())

    def _restore(self, entry: Entry) -> None:
        """Put what Ctrl-C cleared into the empty entry."""
        text = self._pastes.fold(entry.text)
        self._buffer.set_document(Document(text, len(text)))
        self._pasted = [*entry.pasted]
        self._pasted_start = entry.text[:1] if entry.is_literal else ""
        self._cleared = None

    def _paste(self, text: str) -> None:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self._pasted.append(text)
        if self._buffer.cursor_position == 0:
            self._pasted_start = text[:1]
        self._buffer.insert_text(self._pastes.fold(text))

    def _keys(self) -> KeyBindings:  # noqa: C901 - one function for each key
        keys = KeyBindings()
        typing, choosing = has_focus(self._buffer), has_focus(self._choice)

        @Condition
        def is_stopping() -> bool:
            return self.can_stop() or self._can_be_silenced

        @keys.add("enter", filter=typing)
        def send(event: KeyPressEvent) -> None:
            self._send(event.current_buffer)

        @keys.add("escape", "enter", filter=typing)
        @keys.add("c-j", filter=typing)
        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("tab", filter=typing & ~has_completions)
        def complete(event: KeyPressEvent) -> None:
            """A name that is completed at once can be followed by Enter."""
            buffer = event.current_buffer
            names = command_names(buffer.document.text_before_cursor)
            if len(names) == 1:
                buffer.apply_completion(names[0])
            else:
                buffer.start_completion(insert_common_part=True)

        @keys.add(Keys.BracketedPaste, filter=typing)
        def paste(event: KeyPressEvent) -> None:
            self._paste(event.data)

        @keys.add("c-c", filter=typing)
        def stop_or_clear(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if is_stopping():
                self.on_press(CancelPressed())
            elif buffer.text:
                self._cleared = self._take(buffer)
                self._abandon_draft()
            else:
                self._has_draft = False
                self.on_press(EntryAbandoned())
                self.on_advice()

        @keys.add("up", filter=typing & Condition(lambda: not self._buffer.text))
        def take_back(event: KeyPressEvent) -> None:
            if self._layout.queue:
                self.on_press(QueuedTakenBack())
            elif self._cleared is not None:
                self._restore(self._cleared)
            else:
                event.current_buffer.auto_up()

        @keys.add("c-d", filter=typing & Condition(lambda: not self._buffer.text))
        def leave(event: KeyPressEvent) -> None:
            self.on_press(LeaveAsked())

        @keys.add("c-x", "c-e", filter=typing)
        def edit(event: KeyPressEvent) -> None:
            event.current_buffer.text = self._pastes.unfold(event.current_buffer.text)
            self._editor = event.current_buffer.open_in_editor()
            self._editor.add_done_callback(self._on_editor_closed)

        @keys.add("enter", filter=choosing)
        def answer(event: KeyPressEvent) -> None:
            typed = self._choice.text.strip().lower()
            for each in _ANSWERS:
                if typed and each.startswith(typed):
                    self._decide(each)
                    return
            self._choice.reset()

        @keys.add("c-c", filter=choosing)
        @keys.add("c-d", filter=choosing)
        @keys.add("escape", filter=choosing, eager=_is_single_key)
        def stop(event: KeyPressEvent) -> None:
            self._decide(None)

        @keys.add(
            "escape",
            filter=typing & is_stopping & ~vi_insert_mode & ~has_completions,
            eager=_is_single_key,
        )
        def silence(event: KeyPressEvent) -> None:
            self.on_press(CancelPressed())

        @keys.add(
            "escape",
            filter=typing & emacs_mode & (~is_stopping | has_completions),
            eager=_is_single_key,
        )
        def close_menu(event: KeyPressEvent) -> None:
            """Esc alone is not the beginning of an Alt-key: the next key must not be lost."""
            event.current_buffer.cancel_completion()

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


@Condition
def _is_single_key() -> bool:
    """Whether no other key arrived with this one: Esc, not Alt."""
    return not get_app().key_processor.input_queue
