"""The settings of a run, from all sources.

Precedence: option > environment > `.env` of the working directory > template > profile > config
file > default. All of them are parameters: only `cli` reads argv and the environment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rtchat.config import destination, variables
from rtchat.config.destination import Stored
from rtchat.config.settings import (
    API_KEY_COMMAND,
    PROFILE,
    REASONING,
    SET,
    SPEED,
    TEMPLATE,
    VOICE_NAME,
    Secret,
    Settings,
    attributes,
    rows,
)
from rtchat.config.sources import Sources, Tell, Warn
from rtchat.config.table import DEFAULT, Setting, Values
from rtchat.core.dotted_keys import merged
from rtchat.core.errors import UsageError
from rtchat.system.folders import why_unreachable


def resolve(
    options: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    dotenv: Path | None = None,
    config: Path | None = None,
    templates: Path | None = None,
    stored: Stored | None = None,
    needs_key: bool = True,
    warn: Warn = lambda *_: None,
    note: Tell = lambda _: None,
    schema: type[Settings] = Settings,
) -> Settings:
    """The settings of a run. An option that was not given is absent, or None.

    `dotenv` and `config` are files that may be missing; `RTCHAT_CONFIG` names one that may not.
    `templates` is the folder of prompt templates.
    `stored` is called only if nothing else gives a key. `warn` is called once for each value of the
    `.env` that is ignored or has consequences, and `note` if a folder cannot be read.

    Raises: UsageError: a value is invalid, or the settings do not work together. The message says
    where the value is.
    """
    sources = Sources(environ, dotenv, warn)
    named = sources.get(variables.CONFIG)
    path = Path(named) if named else _reachable(config, note)
    given = _from_options(options, schema).over(_from_environment(sources, rows(schema)))
    values, leads = _from_files(given, path, schema, is_named=bool(named))
    own_url = destination.own_url(values, given[PROFILE], sources)
    template = None
    if given[TEMPLATE] and templates is not None:
        from rtchat.config.templates import read_template

        template = read_template(templates, given[TEMPLATE])
        values = template.values.over(values)
    values = given.over(values)
    _resolve_alias(values)
    is_foreign = leads and _is_foreign(values)
    _set_options(values)
    destination.add_base_url(values, sources)
    destination.fill(values, sources)
    destination.trust_own_host(values, own_url)
    if leads:
        destination.warn_of_profile(values, sources)
    destination.set_headers(values, sources, is_foreign=is_foreign)
    destination.ask_before_tools(values, sources)
    key, key_origin = destination.find_key(values, sources, stored, needs_key=needs_key)
    destination.warn_of_host(values, sources)
    origins = {row.name: values.origin(row) or DEFAULT for row in attributes(schema)}
    return schema(
        **{row.name: values[row] for row in attributes(schema)},
        key=Secret(key),
        origins=origins | ({"key": key_origin} if key else {}),
        profile=given[PROFILE],
        key_hint=destination.key_hint(values, key_origin),
        dotenv=sources.dotenv,
        template=template,
    )


def _from_options(options: Mapping[str, object], schema: type[Settings]) -> Values:
    by_name = {row.name: row for row in rows(schema) if row.option}
    out = Values()
    for name, value in options.items():
        if value is not None:
            row = by_name[name]
            out.set(row, row.parse(value, row.option), row.option)
    return out


def resolve_styles(
    options: Mapping[str, object],
    environ: Mapping[str, str],
    *,
    dotenv: Path | None = None,
    config: Path | None = None,
) -> Settings:
    """The default settings with the user's theme and styles, for commands that only print.

    The parameters are those of `resolve`, which would also look for a key.

    Raises:
        UsageError: the theme or something in the config file is invalid.
    """
    sources = Sources(environ, dotenv, lambda *_: None)
    named = sources.get(variables.CONFIG)
    path = Path(named) if named else _reachable(config, lambda _: None)
    given = _from_environment(sources, (Settings.theme, PROFILE))
    given = _from_options(options, Settings).over(given)
    values, _ = _from_files(given, path, Settings, is_named=bool(named))
    values = given.over(values)
    return Settings(theme=values[Settings.theme], styles=values[Settings.styles])


def _from_environment(sources: Sources, settings: Iterable[Setting[Any]]) -> Values:
    """The values of these settings in the environment and in `.env`."""
    out = Values()
    for row in settings:
        if row.variable is not None and (text := sources.get(row.variable)):
            origin = sources.origin(row.variable.name)
            out.set(row, row.parse(text, origin), origin)
    return out


_OPENAI = r"wss://([\w-]+\.)*openai\.com([:/?]|$)"
_ABOUT_KEYS = (Settings.key_env, Settings.key_header, API_KEY_COMMAND, Settings.headers)


def _is_foreign(values: Values) -> bool:
    """Whether the address belongs to another vendor, who must not receive anything meant for
    OpenAI."""
    return not re.match(_OPENAI, values[Settings.url])


def _reachable(path: Path | None, note: Tell) -> Path | None:
    """The usual config file, unless the user's folder cannot be read."""
    if path is not None and (problem := why_unreachable(path)):
        note(problem)
        return None
    return path


def _from_files(
    given: Values, path: Path | None, schema: type[Settings], *, is_named: bool
) -> tuple[Values, bool]:
    """The values of the config file and the profile, and whether the profile sets the address."""
    profile = given[PROFILE]
    if not (profile or is_named or (path is not None and path.exists())):
        return Values(), False
    from rtchat.config.file import read_config

    read = read_config(path, required=is_named, schema=schema)
    if not profile:
        return read.common, False
    above, common = read.profile(profile), read.common
    leads = Settings.url in above and Settings.url not in given
    if leads and _is_foreign(above):
        for row in _ABOUT_KEYS:
            common.remove(row)
        if Settings.key_env not in above:
            above.set(Settings.key_env, (), DEFAULT)
    return above.over(common), leads


def _resolve_alias(values: Values) -> None:
    alias = values[Settings.model]
    if model := values[Settings.aliases].get(alias):
        values.set(Settings.model, model, f"{values.origin(Settings.model)} (alias {alias})")


def _set_options(values: Values) -> None:
    """Apply --set and then its short forms, which take precedence, to the options of the session
    and of replies, and check these."""
    lines = (*values[SET], *_short_forms(values))
    tables = (Settings.session, Settings.response)
    if not (lines or any(table in values for table in tables)):
        return
    from rtchat.wire import options

    for line in lines:
        name, sign, text = line.partition("=")
        if not (name and sign):
            raise UsageError(f"--set {name} has no value", hint="write it as --set KEY=VALUE")
        scope, key = options.split(name.strip())
        if scope == "session" and key in options.AT_THE_START:
            raise UsageError(
                f"the option {key} cannot be set with --set",
                hint=f"use {options.AT_THE_START[key]}",
            )
        try:
            change = options.change(scope, key, options.read_value(text))
        except options.OptionError as error:
            raise UsageError(f"{error.message} in --set", hint=error.hint) from None
        table = Settings.session if scope == "session" else Settings.response
        row = _OVERRIDDEN.get(key) if scope == "session" else None
        if row is not None and values.origin(row) != row.option:
            values.remove(row)
        origin = values.origin(table)
        origin = origin if origin.endswith("--set") else f"{origin}, --set".lstrip(", ")
        values.set(table, merged(values[table], change), origin)
    for table in tables:
        try:
            options.check("session" if table is Settings.session else "response", values[table])
        except options.OptionError as error:
            message = f"{error.message} in {values.origin(table)}"
            raise UsageError(message, hint=error.hint) from None


_OVERRIDDEN: Mapping[str, Setting[Any]] = {
    "audio.input.transcription.language": Settings.language,
    "audio.input.transcription.prompt": Settings.transcription_prompt,
    "audio.input.turn_detection": Settings.vad,
    "audio.input.turn_detection.type": Settings.vad,
}
"""For keys of --set, the settings that they override, unless an option of its own sets one."""


def _short_forms(values: Values) -> Iterator[str]:
    """What other options set, as lines of --set."""
    if effort := values[REASONING]:
        yield f"reasoning.effort={effort}"
    if voice := values[VOICE_NAME]:
        if values[Settings.local]:
            _check_local_voice(voice)
        yield f"audio.output.voice={json.dumps(voice)}"
    if (speed := values[SPEED]) is not None:
        yield f"audio.output.speed={speed}"


def _check_local_voice(voice: str) -> None:
    from rtchat.wire.options import LOCAL_VOICES

    if voice not in LOCAL_VOICES:
        hint = f"use {' or '.join(LOCAL_VOICES)}"
        raise UsageError(f"the built-in model has no voice {voice!r}", hint=hint)


def config_path(
    environ: Mapping[str, str], *, dotenv: Path | None, usual: Path, warn: Warn = lambda *_: None
) -> Path:
    """The path of the config file, whether or not it exists."""
    named = Sources(environ, dotenv, warn).get(variables.CONFIG)
    return Path(named) if named else usual
