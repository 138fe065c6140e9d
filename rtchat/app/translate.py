"""`translate`: translates speech from a file, a pipe or the microphone into text and speech."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rtchat.app.audio_io import refuse_microphone_options, refuse_options
from rtchat.app.environment import Environment, unblocked
from rtchat.app.frontend import status_writer_of
from rtchat.app.listening import audio_source, price_of, run_session
from rtchat.app.live_audio import LiveAudio, gated
from rtchat.app.recording import (
    Recorder,
    TeePlayer,
    finish_recording,
    no_audio,
    recorder_of,
    text_environment,
)
from rtchat.app.wiring import prepare
from rtchat.config.settings import Settings
from rtchat.core.backoff import Timeouts
from rtchat.core.effects import Notice, error_notice
from rtchat.core.errors import ExitCode, UsageError, to_exception
from rtchat.core.models import Rate
from rtchat.core.ports import Player, Post, Source, View
from rtchat.core.translation import TranslationSetup
from rtchat.core.values import AudioFormat, Dialect, value
from rtchat.ui.json_view import JsonView
from rtchat.ui.plain_view import StatusWriter
from rtchat.ui.translation_view import TranslationView
from rtchat.wire.audio_options import source_model, with_translation

if TYPE_CHECKING:
    from rtchat.audio.devices import Speaker
    from rtchat.audio.echo_canceller import EchoCanceller

MODEL = "gpt-realtime-translate"
"""OpenAI's model for live translation."""


@value
class TranslateOptions:
    """The options of `translate` that are not settings."""

    model: str = MODEL
    audio_out: Path | None = None
    """The file in which the spoken translation is recorded."""
    plays: bool = False
    """Whether the spoken translation is played."""
    shows_source: bool = False
    """Whether the text in the source language is shown, too."""
    as_json: bool = False


def translate(
    file: str | None, settings: Settings, environment: Environment, options: TranslateOptions
) -> ExitCode:
    """Translate a file, stdin (`-`) or, without either, the microphone."""
    if not settings.translate_to:
        raise UsageError(
            "the language to translate to is not set", hint="use --to, such as --to es"
        )
    if settings.local:
        hint = "remove `local` from the config file, or use another profile"
        raise UsageError("the built-in model cannot translate speech", hint=hint)
    file = audio_source(file, environment)
    if file is not None:
        refuse_microphone_options(settings)
    if not options.plays:
        rows = (Settings.output_device, Settings.aec)
        refuse_options(settings, rows, "requires --play", "add --play")
    prepare(settings, environment, status_writer_of(settings, environment))
    setup = _setup(file, settings.translate_to, settings, options)
    with unblocked(environment) as environment, ExitStack() as stack:
        status = status_writer_of(settings, environment)
        shown = text_environment(options.audio_out, environment, is_text=not options.as_json)
        view = _view_of(shown, status, options)
        recorder = None
        if options.audio_out is not None:
            recorder = stack.enter_context(
                recorder_of(options.audio_out, environment, is_folder=False, source=file)
            )
        code = asyncio.run(_run(file, setup, settings, environment, view, recorder, options))
        if recorder is None or options.audio_out is None:
            return code
        code = finish_recording(recorder, code, status)
        if code is ExitCode.OK and recorder.is_empty:
            raise to_exception(no_audio("the translation", options.audio_out))
        return code


def _setup(
    file: str | None, language: str, settings: Settings, options: TranslateOptions
) -> TranslationSetup:
    session = settings.session
    price = price_of(settings, options.model)
    if options.shows_source:
        price = _sum(price, price_of(settings, source_model(session)))
    return TranslationSetup(
        options.model,
        with_translation(session, language=language, has_source=options.shows_source),
        speaks=options.plays or options.audio_out is not None,
        from_file=file is not None,
        input_rate=AudioFormat().rate,
        timeouts=Timeouts(settings.connect_timeout, settings.timeout),
        price=price,
        key_hint=settings.key_hint,
    )


def _sum(one: Rate | None, other: Rate | None) -> Rate | None:
    """The price if both models process the audio; None if one of the prices is not known."""
    if one is None or other is None:
        return None
    return replace(one, minute=one.minute + other.minute)


def _view_of(environment: Environment, status: StatusWriter, options: TranslateOptions) -> View:
    out = environment.stdout.buffer
    if options.as_json:
        return JsonView(out, status)
    is_terminal = environment.stdout_is_terminal
    return TranslationView(
        out,
        environment.stderr if options.shows_source else None,
        status,
        raw=not is_terminal,
        shares_terminal=is_terminal and environment.stderr_is_terminal,
    )


async def _run(
    file: str | None,
    setup: TranslationSetup,
    settings: Settings,
    environment: Environment,
    view: View,
    recorder: Recorder | None,
    options: TranslateOptions,
) -> ExitCode:
    with ExitStack() as stack:
        speaker: Speaker | None = None
        microphone = None
        if options.plays:
            loop = asyncio.get_running_loop()
            canceller = None
            if file is None and settings.aec:
                canceller = await asyncio.to_thread(_canceller, view)
            speaker = stack.enter_context(
                await asyncio.to_thread(_speaker, settings, view, loop, canceller)
            )
            microphone = LiveAudio(settings, speaks=False, canceller=canceller)
        players: list[Player] = [each for each in (speaker, recorder) if each is not None]
        player = TeePlayer(*players) if len(players) == 2 else next(iter(players), None)
        background: Source | None = None
        if recorder is not None:
            background = partial(_watch, recorder, view)
        code = await run_session(
            file,
            setup,
            Dialect.TRANSLATION,
            settings,
            environment,
            view,
            player=player,
            background=background,
            microphone=microphone,
        )
        while speaker is not None and speaker.playing and code is ExitCode.OK:  # noqa: ASYNC110 - the sound device has no event
            await asyncio.sleep(0.05)
        return code


async def _watch(recorder: Recorder, view: View, _: Post) -> None:
    await recorder.watch(view.show)


def _canceller(view: View) -> EchoCanceller:
    """What keeps the translation that is played from being translated again."""
    from rtchat.audio.echo_canceller import EchoCanceller

    def report() -> None:
        notice = gated()
        view.show(Notice("info", notice.text, notice.hint))

    return EchoCanceller(report)


def _speaker(
    settings: Settings,
    view: View,
    loop: asyncio.AbstractEventLoop,
    canceller: EchoCanceller | None,
) -> Speaker:
    from rtchat.audio.device_list import find
    from rtchat.audio.devices import Speaker

    return Speaker(
        find(settings.output_device, "output"),
        on_lost=lambda lost: view.show(error_notice(lost.problem)),
        loop=loop,
        canceller=canceller,
    )
