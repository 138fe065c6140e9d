"""The devices of a voice conversation that come, go and are used at random, with fake libraries."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtchat.app.live_audio import LiveAudio
from rtchat.config.settings import Settings
from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.conversation import Conversation
from rtchat.core.events import Timer
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import Options
from tests.fake_portaudio import Stream, device_info, install, settle

BLOCK = bytes(1920)


class PulseError(Exception):
    """The exception class of the package pulsectl."""


class SoundServer:
    """A sound server with a microphone, a speaker and sometimes a headset."""

    def __init__(self) -> None:
        self.has_headset = True
        self.default = "built-in"
        self.watchers: list[Callable[[Any], None]] = []
        self.is_watched = threading.Event()

    def devices(self) -> list[SimpleNamespace]:
        names = ["built-in", *(["headset"] if self.has_headset else [])]
        return [
            SimpleNamespace(index=n, name=name, description=name.title())
            for n, name in enumerate(names)
        ]

    def changes(self, kind: str) -> None:
        for watcher in self.watchers:
            watcher(SimpleNamespace(facility="source", t=kind))

    def client(self, *_: object, **__: object) -> PulseClient:
        return PulseClient(self)


class PulseClient:
    """A connection of the package pulsectl."""

    def __init__(self, server: SoundServer) -> None:
        self._server = server

    def __enter__(self) -> PulseClient:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def connect(self) -> None:
        """Takes no timeout: the package waits for the end of one even if the server answers."""

    def server_info(self) -> SimpleNamespace:
        name = self._server.default
        return SimpleNamespace(default_source_name=name, default_sink_name=name)

    def source_list(self) -> list[SimpleNamespace]:
        return self._server.devices()

    sink_list = source_list

    def source_output_list(self) -> list[SimpleNamespace]:
        return []

    sink_input_list = source_output_list

    def event_mask_set(self, *_: str) -> None:
        return

    def event_callback_set(self, handle: Callable[[Any], None]) -> None:
        self._server.watchers.append(handle)

    def event_listen(self, *, raise_on_disconnect: bool) -> None:
        assert not raise_on_disconnect
        self._server.is_watched.set()
        threading.Event().wait()  # the test calls the handler; the thread ends with the program


class Talk:
    """A conversation and its devices."""

    def __init__(self, server: SoundServer, live: LiveAudio, *, push_to_talk: bool) -> None:
        speech = SpeechOptions(speaks=True, has_microphone=True, push_to_talk=push_to_talk)
        self.server = server
        self.live = live
        self.machine = Conversation("m", Options(modality="audio"), speech=speech)
        self.timers: set[Timer] = set()
        self.status: fx.MicrophoneStatus | None = None
        self.is_used = False
        self.notices: list[str] = []
        self.tries_again = False
        """Whether the user presses Ctrl-T as soon as there is a notice."""

    def post(self, event: ev.LocalEvent) -> None:
        for effect in self.machine.handle(event):
            match effect:
                case fx.UseMicrophone(is_used):
                    self.is_used = is_used
                    self.live.use(is_used)
                case fx.SetTimer(timer):
                    self.timers.add(timer)
                case fx.ClearTimer(timer):
                    self.timers.discard(timer)
                case fx.Show(fx.MicrophoneStatus() as status):
                    self.status = status
                case fx.Show(fx.Notice(_, text)):
                    self.notices.append(text)
                    if self.tries_again:
                        self.tries_again = False
                        asyncio.get_running_loop().call_soon(self.post, ev.MicrophoneToggled())
                case _:
                    pass

    def wait(self) -> None:
        """Ten seconds pass, if the conversation waits for them."""
        if Timer.MICROPHONE in self.timers:
            self.timers.discard(Timer.MICROPHONE)
            self.post(ev.TimerFired(Timer.MICROPHONE))


def connect_or_remove_headset(talk: Talk) -> None:
    server = talk.server
    server.has_headset = not server.has_headset
    if not server.has_headset:
        server.default = "built-in"
    server.changes("new" if server.has_headset else "remove")


def change_default(talk: Talk) -> None:
    talk.server.default = talk.server.devices()[-1].name
    talk.server.changes("change")


def break_or_mend(_: Talk) -> None:
    """No device can be started from now on, or all can again."""
    Stream.cannot_start = not Stream.cannot_start


def end(kind: str) -> None:
    for stream in streams(kind):
        stream.options["finished_callback"]()


def streams(kind: str) -> list[Stream]:
    """The streams that are not closed."""
    return [stream for stream in Stream.made if not stream.is_closed and stream.kind == kind]


def capture() -> None:
    for stream in streams("input"):
        if stream.runs:
            stream.capture(BLOCK)


ACTIONS: list[Callable[[Talk], object] | None] = [
    *[lambda talk: talk.post(ev.MicrophoneToggled())] * 2,
    lambda talk: talk.post(ev.CancelPressed()),
    lambda talk: talk.wait(),
    connect_or_remove_headset,
    change_default,
    break_or_mend,
    lambda _: end("input"),
    lambda _: end("output"),
    lambda talk: talk.live.play("a", 0, bytes(9600)),
    lambda talk: talk.live.stop(),
    lambda _: capture(),
    None,
    None,
]
"""What may happen; None lets the devices do what they were asked to."""


@asynccontextmanager
async def talking(chosen: str | None, *, push_to_talk: bool) -> AsyncIterator[Talk]:
    """A conversation that has started, with fake libraries."""
    server = SoundServer()
    pulsectl = ModuleType("pulsectl")
    pulsectl.__dict__.update(
        Pulse=server.client, PulseError=PulseError, PulseDisconnected=PulseError
    )
    with pytest.MonkeyPatch.context() as patch:
        install(patch)[:] = [device_info("pulse", 1, 1) | {"index": 0}]
        patch.setitem(sys.modules, "pulsectl", pulsectl)
        patch.setattr(sys.modules["sounddevice"], "default", SimpleNamespace(device=(0, 0)))
        patch.setattr(sys.modules["sounddevice"], "_terminate", lambda: None, raising=False)
        patch.setattr(sys.modules["sounddevice"], "_initialize", lambda: None, raising=False)
        patch.setattr(Stream, "cannot_start", False)
        live = LiveAudio(Settings(input_device=chosen, output_device=chosen))
        talk = Talk(server, live, push_to_talk=push_to_talk)
        listening = asyncio.create_task(live.listen(talk.post))
        try:
            talk.post(ev.Started())
            await asyncio.to_thread(server.is_watched.wait)
            yield talk
            assert not listening.done()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        assert not streams("input")
        assert not streams("output")


@given(
    st.lists(st.sampled_from(ACTIONS), max_size=25),
    st.sampled_from([None, "headset"]),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_the_devices_are_as_the_conversation_says_after_any_storm(
    actions: list[Callable[[Talk], object] | None], chosen: str | None, push_to_talk: bool
) -> None:
    async def main() -> None:
        async with talking(chosen, push_to_talk=push_to_talk) as talk:
            for action in actions:
                if action is None:
                    await settle()
                else:
                    action(talk)
            await settle()
            for _ in range(3):
                capture()
                await settle()
            microphones = streams("input")
            status = talk.status
            assert status is not None
            assert len(microphones) == talk.is_used == talk.live.is_open, talk.notices
            assert all(stream.runs for stream in microphones)
            assert len(streams("output")) <= 1
            assert (status.is_on or status.is_opening) <= talk.is_used
            assert not status.is_opening

    asyncio.run(main())


def test_a_microphone_that_is_lost_while_it_opens_can_be_tried_again_at_once() -> None:
    async def main() -> None:
        async with talking(None, push_to_talk=True) as talk:
            Stream.ends_at_start = True
            talk.tries_again = True
            talk.post(ev.MicrophoneToggled())
            await settle()
            capture()
            await settle()
            assert talk.status is not None
            assert talk.status.is_on
            (microphone,) = streams("input")
            assert microphone.runs

    asyncio.run(main())
