"""rtchat: talk to models over the Realtime API, from a terminal or from Python.

Everything that can happen is an event (`core.events`), everything that the program does is an
effect (`core.effects`), and `core.conversation` turns events into effects without I/O.
`client.session` performs the effects, `wire` contains the names of the protocol, `client.transport`
is the socket, `ui` draws and reads keys, `server` is `rtchat serve`, and `app` has a function for
each command of `cli`.

The Python API is `connect`, which returns a `Connection`; see `rtchat.client.transport`.
"""

from rtchat._version import __version__ as __version__

TYPE_CHECKING = False  # like `typing.TYPE_CHECKING`, without importing `typing` at every start
if TYPE_CHECKING:
    from rtchat.client.transport import Connection, connect
    from rtchat.core.errors import RealtimeError, RtchatError

__all__ = ["Connection", "RealtimeError", "RtchatError", "connect"]

_MODULES = {
    "Connection": "rtchat.client.transport",
    "RealtimeError": "rtchat.core.errors",
    "RtchatError": "rtchat.core.errors",
    "connect": "rtchat.client.transport",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
