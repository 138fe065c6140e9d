"""What the session and every reply are asked to be, as the user has set it so far."""

from __future__ import annotations

from dataclasses import replace

from rtchat.core.dotted_keys import described, has, merged, without
from rtchat.core.events import OptionSet
from rtchat.core.tool_calls import NO_CALLS
from rtchat.core.values import Options


class SessionOptions:
    """The options of one conversation."""

    def __init__(self, session: Options, response: Options) -> None:
        self.session = session
        self._response = response
        self._taken = session
        """What the server has taken."""

    def took(self, options: Options) -> None:
        """The server agreed to this."""
        self._taken = options

    def refused(self) -> None:
        """The server did not agree: what holds is what it agreed to before."""
        self.session = self._taken

    def instruct(self, instructions: str | None) -> None:
        """Other instructions."""
        self.session = replace(self.session, instructions=instructions)

    def is_set(self, option: OptionSet) -> bool:
        """Whether there is anything to take back."""
        return has(self._options(option).other, option.key)

    def change(self, option: OptionSet) -> None:
        """Set an option, or take it back."""
        options = self._options(option)
        if option.change is None:
            options = replace(options, other=without(options.other, option.key))
        else:
            options = replace(options, other=merged(options.other, option.change))
        if option.of == "session":
            self.session = options
        else:
            self._response = options

    def reply(self, *, may_call: bool) -> Options:
        """The options of a reply. A server may honour the session's modality, or the response's,
        or both: it is asked for in both."""
        modality = self._response.modality or self.session.modality
        other = self._response.other if may_call else {**self._response.other, **NO_CALLS}
        return replace(self._response, modality=modality, other=other)

    def describe(self) -> str:
        """What is set, an option a line."""
        replies = (f"response.{line}" for line in described(self._response.other))
        lines = [*described(self.session.other), *replies]
        return "\n".join(lines) or "no option is set: /set KEY VALUE sets one"

    def _options(self, option: OptionSet) -> Options:
        return self.session if option.of == "session" else self._response
