"""The commands sent in a session, as long as the server can refuse them."""

from __future__ import annotations

from rtchat.core import effects as fx

_PREFIX = "rtchat_"
MAX_UNANSWERED = 1000
"""How many commands are remembered in case the server refuses them."""


class SentCommands:
    """The commands of one session without an answer yet, by event id."""

    def __init__(self) -> None:
        self._unanswered: dict[str, fx.Command] = {}
        self._sent = 0

    @property
    def is_configuring(self) -> bool:
        """Whether the server has yet to answer a `session.update`."""
        return any(isinstance(command, fx.Configure) for command in self._unanswered.values())

    def clear(self) -> None:
        """Forget the commands: another session begins."""
        self._unanswered.clear()

    def send(self, command: fx.Command) -> fx.Send:
        """Send a command and remember it."""
        self._sent += 1
        event_id = f"{_PREFIX}{self._sent}"
        if isinstance(command, fx.Raw):  # it may have its own id
            event_id = str(command.fields.get("event_id") or event_id)
        if not isinstance(command, fx.AppendAudio):  # has no answer
            self._unanswered[event_id] = command
            if len(self._unanswered) > MAX_UNANSWERED:
                del self._unanswered[next(iter(self._unanswered))]
        return fx.Send(event_id, command)

    def accepted(self, *kinds: type[fx.Command]) -> None:
        """Commands of these kinds can no longer be refused."""
        for event_id, command in list(self._unanswered.items()):
            if isinstance(command, kinds):
                del self._unanswered[event_id]

    def configured(self) -> fx.Configure | None:
        """The server accepted the first `session.update` without an answer: return it."""
        for event_id, command in self._unanswered.items():
            if isinstance(command, fx.Configure):
                del self._unanswered[event_id]
                return command
        return None

    def were_sent(self, event_id: str) -> bool:
        """Whether this is the event id of a command that was sent, answered or not."""
        number = event_id.removeprefix(_PREFIX)
        return number.isdecimal() and event_id.startswith(_PREFIX)

    def refused(self, event_id: str) -> fx.Command | None:
        """The command that an error refers to, if known."""
        return self._unanswered.pop(event_id, None)
