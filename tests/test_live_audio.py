"""The devices of a voice conversation that come, go and are used at random, with fake libraries."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtchat.app import live_audio
from rtchat.app.live_audio import NO_ANSWER, LiveAudio
from rtchat.audio.pulse import watch
from rtchat.config.settings import Settings
from rtchat.core import effects as fx
from rtchat.core import events as ev
from rtchat.core.conversation import Conversation
from rtchat.core.events import Timer
from rtchat.core.speech_input import SpeechOptions
from rtchat.core.values import Options
from tests.fake_portaudio import Stream, device_info, install, settle
from tests.program import PATIENCE

BLOCK = bytes(1920)


class PulseError(Exception):
    """The exception class of the package pulsectl."""


class SoundServer:
    """A sound server with a microphone, a speaker and sometimes a headset."""

    def __init__(self) -> None:
        self.has_headset = True
        self.connects_headset_late = False
        """Whether a headset is connected at the last moment before there are events."""
        self.default = "built-in"
        self.watchers: list[Callable[[Any], None]] = []
        self.is_watched = threading.Event()
        self.answers = threading.Event()
        """Not set while the server hangs."""
        self.answers.set()

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

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Replace the package pulsectl."""
        package = ModuleType("pulsectl")
        package.__dict__.update(
            Pulse=self.client, PulseError=PulseError, PulseDisconnected=PulseError
        )
        patch.setitem(sys.modules, "pulsectl", package)


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
        self._server.answers.wait()

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
        self._server.has_headset |= self._server.connects_headset_late

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
        self.inbox: deque[ev.LocalEvent] = deque()
        self.timers: set[Timer] = set()
        self.status: fx.MicrophoneStatus | None = None
        self.is_used = False
        self.notices: list[str] = []
        self.noticed = asyncio.Event()
        """Set when there is a notice."""
        self.cuts: list[ev.PlaybackCut] = []
        self.tries_again = False
        """Whether the user presses Ctrl-T as soon as there is a notice."""

    def post(self, event: ev.LocalEvent) -> None:
        """Handle an event, or if another one is being handled, handle it next."""
        self.inbox.append(event)
        if len(self.inbox) == 1:
            while self.inbox:
                self.handle(self.inbox[0])
                self.inbox.popleft()

    def handle(self, event: ev.LocalEvent) -> None:
        if isinstance(event, ev.SpeakerLost) and event.cut is not None:
            self.cuts.append(event.cut)
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
                    self.noticed.set()
                    if self.tries_again:
                        self.tries_again = False
                        asyncio.get_running_loop().call_soon(self.post, ev.MicrophoneToggled())
                case _:
                    pass

    async def says(self, text: str) -> None:
        """Wait for a notice."""
        while text not in self.notices:
            self.noticed.clear()
            await asyncio.wait_for(self.noticed.wait(), PATIENCE)

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
async def talking(
    chosen: str | None, *, push_to_talk: bool, hangs: bool = False
) -> AsyncIterator[Talk]:
    """A conversation that has started, with fake libraries. If the sound server `hangs`, it has not
    answered yet."""
    server = SoundServer()
    with pytest.MonkeyPatch.context() as patch:
        install(patch)[:] = [device_info("pulse", 1, 1) | {"index": 0}]
        server.install(patch)
        patch.setattr(sys.modules["sounddevice"], "default", SimpleNamespace(device=(0, 0)))
        patch.setattr(sys.modules["sounddevice"], "_terminate", lambda: None, raising=False)
        patch.setattr(sys.modules["sounddevice"], "_initialize", lambda: None, raising=False)
        patch.setattr(Stream, "cannot_start", False)
        live = LiveAudio(Settings(input_device=chosen, output_device=chosen))
        talk = Talk(server, live, push_to_talk=push_to_talk)
        listening = asyncio.create_task(live.listen(talk.post))
        try:
            talk.post(ev.Started())
            if hangs:
                server.answers.clear()
            else:
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


@pytest.mark.parametrize("stream_ends", [True, False])
@pytest.mark.parametrize("begins_without_speaker", [True, False])
def test_the_rest_of_an_item_is_not_played_by_the_speaker_that_follows(
    stream_ends: bool, begins_without_speaker: bool
) -> None:
    async def main() -> None:
        async with talking("headset", push_to_talk=True) as talk:
            await settle()
            talk.live.play("a", 0, bytes([1, 0]) * 4800)
            await settle()
            (speaker,) = streams("output")
            speaker.play_block()
            if stream_ends:
                end("output")
                await settle()
            connect_or_remove_headset(talk)
            await settle()
            assert [cut.item_id for cut in talk.cuts] == ["a"]
            assert streams("output") == []
            if begins_without_speaker:
                talk.live.play("b", 0, bytes([1, 0]) * 4800)
            connect_or_remove_headset(talk)
            await settle()
            talk.live.play("b" if begins_without_speaker else "a", 0, bytes([1, 0]) * 4800)
            talk.live.play("c", 0, bytes([2, 0]) * 4800)
            await settle()
            (speaker,) = streams("output")
            assert set(speaker.play_block()) == {0, 2}

    asyncio.run(main())


def test_a_sound_system_that_hangs_is_reported_and_used_again_when_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with talking(None, push_to_talk=False) as talk:
            await settle()
            talk.server.answers.clear()
            with monkeypatch.context() as patch:
                patch.setattr(live_audio, "ANSWER_TIMEOUT", 0.0)
                end("input")
                end("output")
                await talk.says(NO_ANSWER.message)
            assert is_without_microphone(talk)
            talk.notices.clear()
            talk.post(ev.MicrophoneToggled())
            assert talk.notices == [NO_ANSWER.message], "the key does not wait for another timeout"
            assert is_without_microphone(talk)
            talk.server.answers.set()
            await settle()
            capture()
            await settle()
            assert talk.status is not None
            assert talk.status.is_on
            assert talk.notices == [NO_ANSWER.message]
            assert len(streams("output")) == 1

    asyncio.run(main())


def test_a_sound_system_that_hangs_while_the_microphone_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with talking(None, push_to_talk=True) as talk:
            await settle()
            talk.server.answers.clear()
            with monkeypatch.context() as patch:
                patch.setattr(live_audio, "ANSWER_TIMEOUT", 0.0)
                talk.post(ev.MicrophoneToggled())
                await talk.says(NO_ANSWER.message)
            assert is_without_microphone(talk)
            talk.server.answers.set()
            await settle()
            assert talk.status == fx.MicrophoneStatus(is_on=False, push_to_talk=True)
            assert streams("input") == []
            talk.post(ev.MicrophoneToggled())
            await settle()
            (microphone,) = streams("input")
            assert microphone.runs

    asyncio.run(main())


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_reply_that_begins_before_the_speaker_is_open_is_played_from_its_beginning(
    is_stopped: bool,
) -> None:
    async def main() -> None:
        async with talking(None, push_to_talk=True, hangs=True) as talk:
            talk.live.play("a", 0, bytes([1, 0]) * 240)
            talk.live.end("a")
            if is_stopped:
                assert talk.live.stop() is None
            talk.server.answers.set()
            await settle()
            (speaker,) = streams("output")
            assert speaker.runs != is_stopped
            assert speaker.play_block().count(1) == (0 if is_stopped else 240)

    asyncio.run(main())


def is_without_microphone(talk: Talk) -> bool:
    status = talk.status
    return status is not None and not (status.is_available or status.is_opening or status.is_on)


def test_devices_that_change_before_there_are_events_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = SoundServer()
    server.has_headset, server.connects_headset_late = False, True
    server.install(monkeypatch)
    seen: list[int] = []
    watch(lambda: seen.append(len(server.devices())))
    assert server.is_watched.wait(PATIENCE)
    assert seen[-1] == 2
