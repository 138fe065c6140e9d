"""The options of the session and of each response, as the user has set them so far."""

from __future__ import annotations

from dataclasses import replace

from rtchat.core.dotted_keys import described, has, merged, without
from rtchat.core.events import OptionSet
from rtchat.core.notices import NO_OPTIONS
from rtchat.core.tool_calls import NO_CALLS
from rtchat.core.values import Options


class SessionOptions:
    """The options of one conversation."""

    def __init__(self, session: Options, response: Options) -> None:
        self.session = session
        self._response = response
        self._accepted = session
        """The options that the server last accepted."""

    def accepted(self, options: Options) -> None:
        """The server accepted these options."""
        self._accepted = options

    def refused(self) -> None:
        """The server refused the options: restore those that it last accepted."""
        self.session = self._accepted

    def instruct(self, instructions: str | None) -> None:
        """Set the instructions."""
        self.session = replace(self.session, instructions=instructions)

    def is_set(self, option: OptionSet) -> bool:
        """Whether an option is set."""
        return has(self._options(option).other, option.key)

    def change(self, option: OptionSet) -> None:
        """Set an option, or remove it if `change` is None."""
        options = self._options(option)
        if option.change is None:
            options = replace(options, other=without(options.other, option.key))
        else:
            options = replace(options, other=merged(options.other, option.change))
        if option.scope == "session":
            self.session = options
        else:
            self._response = options

    def reply(self, *, may_call: bool, instructions: str = "") -> Options:
        """The options of a response. Servers honour the modality of the session, of the response,
        or of both, so it is set in both. `instructions` are added to the other instructions, which
        those of a response would replace."""
        modality = self._response.modality or self.session.modality
        other = self._response.other if may_call else {**self._response.other, **NO_CALLS}
        options = replace(self._response, modality=modality, other=other)
        if not instructions:
            return options
        usual = options.instructions or self.session.instructions
        return replace(options, instructions="\n\n".join(filter(None, (usual, instructions))))

    def describe(self) -> str:
        """List the options that are set, one per line."""
        replies = (f"response.{line}" for line in described(self._response.other))
        lines = [*described(self.session.other), *replies]
        return "\n".join(lines) or NO_OPTIONS

    def _options(self, option: OptionSet) -> Options:
        return self.session if option.scope == "session" else self._response
