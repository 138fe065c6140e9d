"""The saved conversations, as `talk` lists and shows them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing

from rtchat.app.environment import Environment
from rtchat.app.frontend import has_colors, renders, style_sheet
from rtchat.config.settings import Settings
from rtchat.core.errors import UsageError
from rtchat.core.text import visible
from rtchat.core.values import StoredConversation
from rtchat.history.store import FILE, Store
from rtchat.history.transcript import plain
from rtchat.markdown.theme import StyleSheet
from rtchat.ui.pager import Pager


class SavedConversations:
    """The saved conversations, which are shown as Markdown if the settings say so."""

    def __init__(self, settings: Settings, environment: Environment, styles: StyleSheet) -> None:
        self._styles = styles
        self._environment = environment
        self._is_kept = settings.history
        self.can_repaint = renders(settings, environment)
        color = has_colors(settings, environment, is_terminal=True)
        self._environ = dict(environment.environ) | ({} if color else {"NO_COLOR": "1"})
        self.pager = Pager(environment.stdout, self._environ)

    def listed(self) -> Sequence[StoredConversation]:
        """All of them, newest first, without their entries.

        Raises:
            UsageError: there are none, or conversations are not saved.
        """
        if not self._is_kept:
            hint = "remove --no-history and set history to true"
            raise UsageError("conversations are not saved", hint=hint)
        with closing(Store(self._environment.data_dir / FILE)) as store:
            found = store.conversations()
        if not found:
            raise UsageError("there are no saved conversations", hint="ask a question first")
        return found

    def text(self, conversation: StoredConversation) -> str:
        """One of them as it is shown on the terminal."""
        if not self.can_repaint:
            return visible(plain(conversation))
        from rtchat.ui import history_view

        out = self._environment.stdout
        return history_view.drawn(
            lambda console: history_view.show(conversation, console),
            out,
            self._environ,
            self._styles,
        )


def choose(store: Store, settings: Settings, environment: Environment) -> int:
    """The ID of the conversation that the user chooses from a list. If they cancel, the program
    ends as after Ctrl-C.

    Raises:
        UsageError: there is no terminal for the list, or there are no conversations.
    """
    has_terminal = environment.stdin_is_terminal and environment.stdout_is_terminal
    if not has_terminal or not renders(settings, environment):
        hint = "use --resume ID or --resume NAME; `rtchat history list` lists both"
        message = "--resume without an ID requires a terminal, and no --plain"
        raise UsageError(message, hint=hint)
    conversations = store.conversations()
    if not conversations:
        raise UsageError("there are no saved conversations", hint="start without --resume")
    from rtchat.ui.picker import picker_app

    color = has_colors(settings, environment, is_terminal=True)
    styles = style_sheet(settings, environment)
    chosen = picker_app(conversations, now=time.time(), color=color, styles=styles).run()
    if chosen is None:
        raise KeyboardInterrupt
    return chosen.id
