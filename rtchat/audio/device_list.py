"""The audio devices of this machine: PortAudio's, and those of a sound server, which PortAudio
sees as one device.

Needs the extra `voice`. Functions may block.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from rtchat.audio.portaudio import Kind, library
from rtchat.audio.pulse import keep, pulse_devices
from rtchat.core.errors import UsageError
from rtchat.core.values import value

_PULSE = "pulse"
"""PortAudio's name for PulseAudio and PipeWire."""
_SERVED = (_PULSE, "default")
"""Names of the device that follows the default of the sound server."""


@value
class Device:
    """An audio device: its number and name for users, and its numbers of channels. The number is
    PortAudio's index, except for devices of a sound server."""

    index: int
    name: str
    api: str
    inputs: int
    outputs: int
    default_input: bool = False
    default_output: bool = False
    pulse_id: str = ""
    """The sound server's name for the device; empty if it is PortAudio's own."""
    portaudio_index: int | None = None
    """For a device of a sound server, PortAudio's index of that server."""

    @property
    def is_monitor(self) -> bool:
        """Whether it captures what a speaker plays."""
        return self.pulse_id.endswith(".monitor")

    def supports(self, kind: Kind) -> bool:
        return bool(self.inputs if kind == "input" else self.outputs)


def list_devices() -> list[Device]:
    """All devices of the machine.

    Raises:
        UsageError: there are none, or a required library is not installed.
    """
    sounddevice = library()
    found = sounddevice.query_devices()
    apis = sounddevice.query_hostapis()
    default_input, default_output = sounddevice.default.device
    devices = [
        Device(
            info["index"],
            info["name"],
            apis[info["hostapi"]]["name"],
            info["max_input_channels"],
            info["max_output_channels"],
            default_input=info["index"] == default_input,
            default_output=info["index"] == default_output,
        )
        for info in found
    ]
    if not devices:
        raise UsageError("no audio device found", hint="connect one, or use text instead")
    return devices + _pulse_devices(devices)


def _pulse_devices(devices: list[Device]) -> list[Device]:
    """The devices of PulseAudio or PipeWire, if PortAudio can use them. Monitors come last."""
    through = next((device for device in devices if device.name == _PULSE), None)
    if through is None:
        return []
    found = [
        *((each, 1, 0) for each in pulse_devices("input")),
        *((each, 0, 1) for each in pulse_devices("output")),
    ]
    return [
        Device(
            number,
            each.name,
            "PulseAudio",
            inputs,
            outputs,
            default_input=each.is_default and bool(inputs),
            default_output=each.is_default and bool(outputs),
            pulse_id=each.id,
            portaudio_index=through.index,
        )
        for number, (each, inputs, outputs) in enumerate(
            sorted(found, key=lambda each: each[0].is_monitor), len(devices)
        )
    ]


def find(name_or_index: str | int | None, kind: Kind) -> Device:
    """The device with this index or part of a name; the system's default for None.

    Raises:
        UsageError: as `list_devices`, or no device matches, or several do.
    """
    what = "microphone" if kind == "input" else "speaker"
    devices = [device for device in list_devices() if device.supports(kind)]
    hint = "run `rtchat devices` to list the devices"
    if not devices:
        raise UsageError(f"no {what} found", hint="connect one, or use text instead")
    if name_or_index is None:
        default = [info for info in devices if getattr(info, f"default_{kind}")] or devices
        # The sound server's default is opened without naming it, so that its change is followed.
        is_served = default[0].name in _SERVED and bool(default[-1].pulse_id)
        return replace(default[0], name=default[-1].name) if is_served else default[0]
    if isinstance(name_or_index, int) or name_or_index.isdecimal():
        matches = [device for device in devices if device.index == int(name_or_index)]
    else:
        matches = _matches(name_or_index.casefold(), devices)
    if not matches:
        raise UsageError(f"no {what} matches '{name_or_index}'", hint=hint)
    if len(matches) > 1:
        names = ", ".join(f"{device.index} {device.name}" for device in matches)
        raise UsageError(
            f"'{name_or_index}' matches several devices ({names})",
            hint="use the number of one of them",
        )
    return matches[0]


def _matches(name: str, devices: list[Device]) -> list[Device]:
    """The devices with this name. If there are none, those whose names contain it: the devices of a
    sound server, else the others, which that server uses itself, else the monitors of speakers."""
    exact = [device for device in devices if device.name.casefold() == name]
    found = [device for device in devices if name in device.name.casefold()]
    served = [device for device in found if device.pulse_id and not device.is_monitor]
    direct = [device for device in found if not device.pulse_id]
    return exact or served or direct or found


def is_there(name_or_index: str | None, kind: Kind) -> bool:
    """Whether a device that was lost can be used again, after the sound server's devices have
    changed."""
    with suppress(UsageError):
        find(name_or_index, kind)
        return name_or_index is not None or bool(pulse_devices(kind))
    return False


def follow(device: Device, name_or_index: str | None, kind: Kind) -> Device | None:
    """The device that an open stream uses after the sound server's devices have changed: None if it
    was removed or the server has ended."""
    if name_or_index is None:
        with suppress(UsageError):
            name = find(None, kind).name
            return None if name in _SERVED else replace(device, name=name)
    if device.pulse_id and device.pulse_id not in (each.id for each in pulse_devices(kind)):
        return None
    if device.pulse_id:
        keep(kind, device.pulse_id)
    return device
