"""rtchat: talk to models over the Realtime API, from a terminal or from Python.

Everything that can happen is an event (`core.events`), everything that the program does is an
effect (`core.effects`), and `core.conversation` turns events into effects without I/O.
`client.session` performs the effects, `wire` contains the names of the protocol, `client.transport`
is the socket, `ui` draws and reads keys, `server` is `rtchat serve`, and `app` has a function for
each command of `cli`.

The Python API is `connect`, which returns a `Connection`; see `rtchat.api.connection`.
"""

from rtchat._version import __version__ as __version__

TYPE_CHECKING = False  # like `typing.TYPE_CHECKING`, without importing `typing` at every start
if TYPE_CHECKING:
    from rtchat.api.connection import Connection, connect
    from rtchat.client.failures import ConnectError
    from rtchat.core.errors import RealtimeError, ReplyError, RtchatError, UsageError
    from rtchat.wire.event_types import Event

__all__ = [
    "ConnectError",
    "Connection",
    "Event",
    "RealtimeError",
    "ReplyError",
    "RtchatError",
    "UsageError",
    "connect",
]

_MODULES = {
    "ConnectError": "rtchat.client.failures",
    "Connection": "rtchat.api.connection",
    "Event": "rtchat.wire.event_types",
    "RealtimeError": "rtchat.core.errors",
    "ReplyError": "rtchat.core.errors",
    "RtchatError": "rtchat.core.errors",
    "UsageError": "rtchat.core.errors",
    "connect": "rtchat.api.connection",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
