"""A view in front of another one."""

from __future__ import annotations

from rtchat.core.effects import Update
from rtchat.core.ports import View


class ViewWrapper(View):
    """Passes everything on to another view. Subclasses note what is shown, or add to it."""

    def __init__(self, view: View) -> None:
        self._view = view

    def show(self, update: Update) -> None:
        """Show an update."""
        self._view.show(update)

    def tick(self) -> None:
        """Redraw the view."""
        self._view.tick()

    def close(self) -> None:
        """Close the view."""
        self._view.close()
