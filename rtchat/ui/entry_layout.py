"""The layout of the entry: questions that wait, the text, completions and the status line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Size
from prompt_toolkit.filters import Condition, has_completions, has_focus, is_done, is_searching
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout import (
    AnyContainer,
    BufferControl,
    ConditionalContainer,
    DynamicContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    Window,
)
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.layout.processors import (
    AppendAutoSuggestion,
    ConditionalProcessor,
    HighlightIncrementalSearchProcessor,
    HighlightSelectionProcessor,
    TabsProcessor,
)
from prompt_toolkit.widgets import SearchToolbar

from rtchat.core.text import PROMPT, on_a_line
from rtchat.ui.cells import cut
from rtchat.ui.entry_buffer import EntryBuffer
from rtchat.ui.entry_style import DIM
from rtchat.ui.entry_style import PROMPT as PROMPT_STYLE
from rtchat.ui.pasted import FoldedPastes
from rtchat.ui.shown_question import ANSWER

_MAX_QUEUED = 3
"""How many waiting questions are shown."""
_MAX_COMPLETIONS = 8


class EntryLayout:
    """Rows from top to bottom. `status` returns the status line, which is not shown if it is empty;
    `size` returns the size of the terminal."""

    def __init__(
        self,
        entry: EntryBuffer,
        choice: Buffer,
        *,
        status: Callable[[], StyleAndTextTuples],
        size: Callable[[], Size],
    ) -> None:
        self.queue: Sequence[str] = ()
        """The questions that wait to be asked."""
        self._size = size
        self._instead: AnyContainer | None = None
        """What is shown in place of the entry, if anything is."""
        search = SearchToolbar(ignore_case=True)
        control = BufferControl(
            entry,
            input_processors=[
                HighlightIncrementalSearchProcessor(),
                HighlightSelectionProcessor(),
                ConditionalProcessor(AppendAutoSuggestion(), has_focus(entry) & ~is_done),
                FoldedPastes(entry.pastes),
                TabsProcessor(tabstop=4, char1=" ", char2=" "),
            ],
            search_buffer_control=search.control,
            preview_search=True,
        )
        self._entry = Window(
            control,
            height=self._height,
            get_line_prefix=_line_prefix,
            wrap_lines=True,
            dont_extend_height=True,
        )
        self._choice = Window(
            BufferControl(choice),
            height=1,
            get_line_prefix=lambda *_: [("bold", ANSWER[:1]), ("", ANSWER[1:])],
        )
        is_replaced = Condition(lambda: self._instead is not None)
        menu = CompletionsMenu(max_height=self._menu_height())
        self.status = Window(FormattedTextControl(status), dont_extend_height=True)
        """The row of the status line."""
        self.layout = Layout(
            HSplit(
                [
                    ConditionalContainer(
                        Window(FormattedTextControl(self._queue), dont_extend_height=True),
                        Condition(lambda: bool(self.queue)) & ~is_replaced,
                    ),
                    ConditionalContainer(
                        DynamicContainer(lambda: self._instead or Window()), is_replaced
                    ),
                    ConditionalContainer(self._entry, ~is_replaced),
                    ConditionalContainer(search, is_searching),
                    ConditionalContainer(menu, has_completions & ~is_searching),
                    ConditionalContainer(self.status, Condition(lambda: bool(status()))),
                ]
            ),
            focused_element=self._entry,
        )

    def show_choice(self) -> None:
        """Show the row for the answer to a question in place of the entry."""
        self.show_instead(self._choice)

    def show_instead(self, container: AnyContainer) -> None:
        """Show something in place of the entry, and give it the keyboard."""
        self._instead = container
        self.layout.focus(container)

    def show_entry(self) -> None:
        """Show the entry again."""
        self._instead = None
        self.layout.focus(self._entry)

    def _height(self) -> Dimension:
        """The entry takes at most half of the screen, and scrolls beyond that."""
        return Dimension(min=1, max=max(self._size().rows // 2, 1))

    def _menu_height(self) -> int:
        return max(min(_MAX_COMPLETIONS, self._size().rows // 3), 1)

    def _queue(self) -> StyleAndTextTuples:
        """One line for each of the first waiting questions."""
        shown: StyleAndTextTuples = []
        room = max(self._size().columns - 1, 1)
        lines = [f"queued: {on_a_line(text)}" for text in self.queue[:_MAX_QUEUED]]
        if len(self.queue) > _MAX_QUEUED:
            lines[-1] = f"queued: {len(self.queue) - _MAX_QUEUED + 1} more questions"
        for number, line in enumerate(lines, start=1):
            shown.append((DIM, cut(line, room)))
            if number < len(lines):
                shown.append(("", "\n"))
        return shown


def _line_prefix(line: int, wrapped: int) -> StyleAndTextTuples:
    return [(PROMPT_STYLE, PROMPT)] if line == wrapped == 0 else [("", "  ")]
