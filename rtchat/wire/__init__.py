"""Converts events and commands to JSON objects and back. Wire names appear only here.

A client encodes commands (`commands`) and decodes a server's events (`events`); `rtchat serve` does
the reverse (`client_events` decodes, `server_events` encodes). Both use the current dialect (GA);
`beta` translates the older one to and from it. `decode` never raises: input that it cannot read
becomes `Unknown`.

Source: the GA reference, as typed in `openai.types.realtime`. Tests compare the two.
"""

from rtchat.wire.beta import type_to_ga
from rtchat.wire.commands import ask_for, encode, to_dialect, with_tools
from rtchat.wire.decoder import Decoder
from rtchat.wire.errors import read_error_body
from rtchat.wire.events import decode, session_event
from rtchat.wire.fields import as_text, read_frame
from rtchat.wire.redactor import EventRedactor, without_keys

__all__ = [
    "Decoder",
    "EventRedactor",
    "as_text",
    "ask_for",
    "decode",
    "encode",
    "read_error_body",
    "read_frame",
    "session_event",
    "to_dialect",
    "type_to_ga",
    "with_tools",
    "without_keys",
]
