"""Prompt templates and aliases of models in a conversation: `talk -t NAME`, `/t`, `/model`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rtchat.config.settings import Settings
from rtchat.config.table import Values
from rtchat.core.events import (
    LocalEvent,
    LocalNotice,
    ModelSet,
    OptionSet,
    RetryAsked,
    SystemSet,
    UserSaid,
)
from rtchat.core.ports import Post, Source

if TYPE_CHECKING:
    from rtchat.config.prompt_template import PromptTemplate

_IN_A_CONVERSATION = (
    Settings.model,
    Settings.system,
    Settings.max_output_tokens,
    Settings.session,
    Settings.response,
)
"""The settings that a running conversation can change."""


class Templates:
    """The templates of one conversation; `folder` contains them.

    The text of `settings.template` applies to the first question, or with `is_pipe` to each.
    """

    def __init__(self, folder: Path, settings: Settings, *, is_pipe: bool = False) -> None:
        self._folder = folder
        self._aliases = settings.aliases
        self._is_pipe = is_pipe
        self._template = settings.template
        self._model = settings.model

    def apply(self, source: Source) -> Source:
        """The source, with each event changed: templates are filled, and aliases replaced."""

        async def run(post: Post) -> None:
            await source(self._posting(post))

        return run

    def _posting(self, post: Post) -> Callable[[LocalEvent], None]:
        def changed(event: LocalEvent) -> LocalEvent:
            match event:
                case UserSaid(text) if self._template is not None:
                    template = self._template
                    if not self._is_pipe:
                        self._template = None
                    return UserSaid(template.fill(text))
                case ModelSet(name):
                    self._model = self._aliases.get(name, name)
                    return ModelSet(self._model)
                case RetryAsked(name) if name:
                    self._model = self._aliases.get(name, name)
                    return replace(event, model=self._model)
                case _:
                    return event

        return lambda event: post(changed(event))

    def names(self) -> list[str]:
        """The names of all templates, for completion."""
        from rtchat.config.templates import template_names

        return template_names(self._folder)

    def events(self, name: str, text: str) -> Sequence[LocalEvent]:
        """The events of /t: the settings of the template, which remain, then the question. Without
        a name, the list of templates.

        Raises:
            UsageError: there is no such template, it is not valid, or it requires an input.
        """
        from rtchat.config.templates import read_template

        if not name:
            names = self.names()
            hint = "run `rtchat prompts edit NAME` to create one"
            if not names:
                return [LocalNotice("there are no templates", hint=hint)]
            return [LocalNotice(f"templates: {', '.join(names)}")]
        template = read_template(self._folder, name)
        question = template.fill(text)
        self._template = None
        events = [*self._settings(template.values), *_not_applied(template)]
        return [*events, UserSaid(question)] if question.strip() else events

    def _settings(self, values: Values) -> Sequence[LocalEvent]:
        """The events that change the settings of the conversation, except those that it has."""
        out: list[LocalEvent] = []
        model = values[Settings.model]
        if Settings.model in values and self._aliases.get(model, model) != self._model:
            out.append(ModelSet(model))
        if instructions := values[Settings.system]:
            out.append(SystemSet(instructions))
        if (tokens := values[Settings.max_output_tokens]) is not None:
            name = Settings.max_output_tokens.name
            out.append(OptionSet("session", name, {name: tokens}))
        out += [OptionSet("session", k, {k: v}) for k, v in values[Settings.session].items()]
        out += [OptionSet("response", k, {k: v}) for k, v in values[Settings.response].items()]
        return out


def _not_applied(template: PromptTemplate) -> Sequence[LocalEvent]:
    others = [row.name for row, _ in template.values if row not in _IN_A_CONVERSATION]
    if not others:
        return ()
    hint = f"start rtchat with --template {template.name} to apply them"
    return [LocalNotice(f"/t does not apply {', '.join(others)}", hint=hint)]
