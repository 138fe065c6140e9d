"""The history of a conversation that starts: the one it continues, and where it is saved."""

from __future__ import annotations

from contextlib import ExitStack
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from rtchat.app.environment import Environment
from rtchat.config.settings import Settings
from rtchat.core.effects import error_notice
from rtchat.core.values import StoredConversation
from rtchat.ui.plain_view import StatusWriter

if TYPE_CHECKING:
    from rtchat.history.writer import HistoryWriter


class Choice(Enum):
    """How to choose the saved conversation to resume."""

    LATEST = "latest"
    PICKED = "picked"
    """The user chooses it from a list."""


Past: TypeAlias = int | str | Choice | None
"""The saved conversation to resume: its ID, its name, or how to choose it."""


def open_history(
    settings: Settings, environment: Environment, past: Past, status: StatusWriter, stack: ExitStack
) -> tuple[HistoryWriter | None, StoredConversation | None]:
    """Returns what saves this conversation, and the saved conversation to resume, which is read
    now, because the session starts with it. `stack` closes the history."""
    if not settings.history and past is None:
        return None, None
    from rtchat.history.store import FILE, Store
    from rtchat.history.writer import HistoryWriter

    store = Store(environment.data_dir / FILE)
    writer = HistoryWriter(store)
    stack.callback(_close_history, writer, status)
    resumed = None
    if past is not None:
        if past is Choice.PICKED:
            from rtchat.app.saved_conversations import choose

            past = choose(store, settings, environment)
        resumed = store.recall(None if past is Choice.LATEST else past)
    return (writer if settings.history else None), resumed


def _close_history(writer: HistoryWriter, status: StatusWriter) -> None:
    if unwritten := writer.close():
        status.show(error_notice(unwritten, "warning"))
