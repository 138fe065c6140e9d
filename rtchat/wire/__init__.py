"""Events and commands to JSON objects and back: the only place that knows the names on the wire.

A client encodes commands and decodes what a server sends (`client`); `rtchat serve` does the
reverse (`requests` in, `answers` out). Both speak today's shape (GA); `beta` translates the older
one to and from it. `decode` is total: whatever comes becomes events, what cannot be read becomes
`Unknown`.

Source of the shapes: the GA reference, as typed in `openai.types.realtime`; the tests hold them
together.
"""

from rtchat.wire.codec import ask_for, decode, encode, with_tools
from rtchat.wire.fields import read_error_body, read_frame
from rtchat.wire.redactor import EventRedactor, without_keys

__all__ = [
    "EventRedactor",
    "ask_for",
    "decode",
    "encode",
    "read_error_body",
    "read_frame",
    "with_tools",
    "without_keys",
]
