"""Lets the user choose a saved conversation from a list that is filtered while they type."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Size
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    Window,
)
from prompt_toolkit.layout.processors import BeforeInput
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.utils import get_cwidth

from rtchat.core.effects import Notice
from rtchat.core.text import PROMPT, folded, on_a_line
from rtchat.core.values import StoredConversation
from rtchat.history.dates import ago
from rtchat.markdown.theme import StyleSheet
from rtchat.ui import messages
from rtchat.ui.cells import cut
from rtchat.ui.entry_style import DIM, SELECTED, entry_style
from rtchat.ui.entry_style import PROMPT as PROMPT_STYLE
from rtchat.ui.escape_key import ESCAPE_SECONDS, is_single_key

_MAX_ROWS = 10
"""Conversations that are shown at the same time."""
_HINT = "Up, Down: choose · Enter: resume · Esc: cancel"


class ConversationPicker:
    """A list of conversations and the text that filters it.

    It can be part of any application: `container` is its layout, which contains the focus and the
    keys. `done` is called once, with the chosen conversation, or None if the user cancels. `now` is
    in Unix seconds; `size` returns the size of the terminal.
    """

    def __init__(
        self,
        conversations: Sequence[StoredConversation],
        done: Callable[[StoredConversation | None], None],
        *,
        now: float,
        size: Callable[[], Size],
    ) -> None:
        self._all = [(each, _searched(each)) for each in conversations]
        self._found = list(conversations)
        self._done = done
        self._now = now
        self._size = size
        self._chosen = 0
        """The index of the chosen conversation in `_found`."""
        self._top = 0
        """The index of the first one that is shown."""
        self._filter = Buffer(multiline=False, on_text_changed=lambda _: self._update())
        entry = BufferControl(
            self._filter,
            input_processors=[BeforeInput(f"resume {PROMPT}", style=f"bold {PROMPT_STYLE}")],
            key_bindings=self._keys(),
        )
        self.container = HSplit(
            [
                Window(entry, height=1),
                Window(
                    FormattedTextControl(self._rows), height=lambda: Dimension.exact(self._height)
                ),
                Window(FormattedTextControl(self._details), height=1),
                ConditionalContainer(
                    Window(FormattedTextControl(lambda: [(DIM, self._fit(_HINT))]), height=1),
                    Condition(lambda: self._size().rows > 4),
                ),
            ]
        )

    @property
    def _height(self) -> int:
        """How many rows the list has."""
        return max(1, min(_MAX_ROWS, len(self._found), self._size().rows - 4))

    def _update(self) -> None:
        """Show the conversations that contain every word of the filter."""
        words = folded(self._filter.text).split()
        self._found = [each for each, text in self._all if all(word in text for word in words)]
        self._chosen = self._top = 0

    def _move(self, by: int) -> None:
        self._chosen = max(0, min(self._chosen + by, len(self._found) - 1))

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("up")
        @keys.add("c-p")
        def up(event: KeyPressEvent) -> None:
            self._move(-1)

        @keys.add("down")
        @keys.add("c-n")
        def down(event: KeyPressEvent) -> None:
            self._move(1)

        @keys.add("pageup")
        def page_up(event: KeyPressEvent) -> None:
            self._move(-self._height)

        @keys.add("pagedown")
        def page_down(event: KeyPressEvent) -> None:
            self._move(self._height)

        @keys.add("enter")
        def choose(event: KeyPressEvent) -> None:
            if self._found:
                self._done(self._found[self._chosen])

        @keys.add("escape", eager=is_single_key)
        @keys.add("c-c")
        def cancel(event: KeyPressEvent) -> None:
            self._done(None)

        return keys

    # ------------------------------------------------------------------------------- what is shown

    def _rows(self) -> StyleAndTextTuples:
        if not self._found:
            return [(DIM, "no matches")]
        height = self._height
        self._top = max(min(self._top, self._chosen), self._chosen - height + 1)
        rows: StyleAndTextTuples = []
        for index in range(self._top, min(self._top + height, len(self._found))):
            rows += [("", "\n")] if rows else []
            rows += self._row(self._found[index], is_chosen=index == self._chosen)
        return rows

    def _row(self, conversation: StoredConversation, *, is_chosen: bool) -> StyleAndTextTuples:
        age = ago(conversation.updated, self._now)
        title = " · ".join(filter(None, (conversation.name, conversation.title)))
        width = self._size().columns - len(PROMPT) - len(age) - 3
        style = SELECTED if is_chosen else ""
        mark = PROMPT if is_chosen else " " * len(PROMPT)
        title = cut(on_a_line(title), max(width, 1))
        space = " " * (width - get_cwidth(title) + 2)
        return [(style, f"{mark}{title}{space}"), (DIM, age)]

    def _details(self) -> StyleAndTextTuples:
        """What else is known about the chosen conversation."""
        if not self._found:
            return []
        chosen = self._found[self._chosen]
        parts = (
            f"{self._chosen + 1} of {len(self._found)}",
            f"ID {chosen.id}",
            messages.turns(chosen.turns),
            chosen.model,
            chosen.first_words,
        )
        return [(DIM, self._fit("  " + on_a_line(" · ".join(filter(None, parts)))))]

    def _fit(self, text: str) -> str:
        return cut(text, max(self._size().columns - 1, 1))


def _searched(conversation: StoredConversation) -> str:
    """The text that the filter looks in."""
    words = (conversation.name, conversation.title, conversation.first_words, conversation.model)
    return folded(" ".join((str(conversation.id), *words)))


def as_notice(conversations: Sequence[StoredConversation], now: float) -> Notice:
    """The latest conversations as lines with their IDs, for a terminal on which nothing may be
    repainted. `now` is in Unix seconds."""
    rows = []
    for each in conversations[:_MAX_ROWS]:
        parts = (str(each.id), each.name, each.title, ago(each.updated, now))
        rows.append(on_a_line(" · ".join(filter(None, parts))))
    return Notice("info", "\n".join(rows), hint="use /resume ID or /resume NAME")


def picker_app(
    conversations: Sequence[StoredConversation],
    *,
    now: float,
    styles: StyleSheet | None = None,
    color: bool = True,
    input: Input | None = None,
    output: Output | None = None,
) -> Application[StoredConversation | None]:
    """An application that only shows the picker. It leaves nothing on the screen, and its result is
    the chosen conversation, or None."""
    app: Application[StoredConversation | None]
    picker = ConversationPicker(
        conversations,
        lambda chosen: app.exit(result=chosen),
        now=now,
        size=lambda: app.output.get_size(),
    )
    app = Application(
        Layout(picker.container),
        style=entry_style(styles or StyleSheet()),
        erase_when_done=True,
        color_depth=None if color else ColorDepth.DEPTH_1_BIT,
        input=input,
        output=output,
    )
    app.ttimeoutlen = ESCAPE_SECONDS
    return app
