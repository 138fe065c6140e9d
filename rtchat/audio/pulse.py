"""The devices of PulseAudio and PipeWire, which PortAudio sees as one: their names, which of them
our streams use, and when they change.

Needs the package pulsectl, part of the extra `voice`. Without it or without such a sound server,
there are no devices here. Functions may block.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rtchat.audio.portaudio import Kind
from rtchat.core.values import value

_RETRY_SECONDS = 2.0
"""Seconds between two attempts to reach a sound server that has ended."""
_VARIABLES = {"input": "PULSE_SOURCE", "output": "PULSE_SINK"}


@value
class PulseDevice:
    """A source or sink of the sound server."""

    id: str
    """Its name on the server."""
    name: str
    """Its description, for people."""
    is_default: bool

    @property
    def is_monitor(self) -> bool:
        """Whether it captures what a sink plays."""
        return self.id.endswith(".monitor")


def pulse_devices(kind: Kind) -> list[PulseDevice]:
    """The sources or sinks of the sound server."""
    found: list[PulseDevice] = []
    with _connected() as pulse:
        if pulse is None:
            return found
        server = pulse.server_info()
        default = server.default_source_name if kind == "input" else server.default_sink_name
        found += [
            PulseDevice(each.name, each.description, each.name == default)
            for each in _devices(pulse, kind)
        ]
    return found


@contextmanager
def opening(kind: Kind, id: str) -> Iterator[None]:
    """A stream that is opened in the context uses this device; the server's default if empty."""
    if not id:
        yield
        return
    variable = _VARIABLES[kind]  # read by ALSA's plug-in for PulseAudio when it connects
    os.putenv(variable, id)
    try:
        yield
    finally:
        os.unsetenv(variable)


def keep(kind: Kind, id: str) -> None:
    """Move our streams back to a device. If it was the default device and another one becomes the
    default, the server moves them there."""
    with _connected() as pulse:
        if pulse is None:
            return
        wanted = next((each.index for each in _devices(pulse, kind) if each.name == id), None)
        is_input = kind == "input"
        for stream in pulse.source_output_list() if is_input else pulse.sink_input_list():
            is_ours = stream.proplist.get("application.process.id") == str(os.getpid())
            if is_ours and wanted not in (None, stream.source if is_input else stream.sink):
                move = pulse.source_output_move if is_input else pulse.sink_input_move
                move(stream.index, wanted)


def watch(changed: Callable[[], object]) -> bool:
    """Call a function, in a thread, whenever a device is added or removed, another one becomes the
    default, or the sound server ends or starts, until the program ends. Returns False, and does
    nothing, if there is no sound server."""
    with _connected() as pulse:
        if pulse is None:
            return False

    def run() -> None:
        while True:
            with _connected() as pulse:
                is_there = pulse is not None
                if is_there:
                    _listen(pulse, changed)
            if is_there:
                changed()
            threading.Event().wait(_RETRY_SECONDS)

    threading.Thread(target=run, name="rtchat-pulse", daemon=True).start()
    return True


def _listen(pulse: Any, changed: Callable[[], object]) -> None:
    """Report that devices may have changed before, and then each event until the server ends."""

    def handle(event: Any) -> None:
        # A device also "changes" with its volume.
        if event.facility == "server" or event.t in ("new", "remove"):
            changed()

    pulse.event_callback_set(handle)
    pulse.event_mask_set("source", "sink", "server")
    changed()
    pulse.event_listen(raise_on_disconnect=False)


@contextmanager
def _connected() -> Iterator[Any]:
    """A connection to the sound server; None if there is none. If it is lost, the context ends."""
    try:
        import pulsectl
    except (ImportError, OSError):  # OSError: the library libpulse is not installed
        yield None
        return
    pulse = pulsectl.Pulse("rtchat", connect=False)
    with suppress(pulsectl.PulseError, pulsectl.PulseDisconnected), pulse:
        try:
            pulse.connect()  # with a timeout, it waits that long even if the server answers
        except pulsectl.PulseError:
            yield None
        else:
            yield pulse


def _devices(pulse: Any, kind: Kind) -> Any:
    return pulse.source_list() if kind == "input" else pulse.sink_list()
