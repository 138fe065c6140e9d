"""A Realtime server: `rtchat serve` runs it on its own, `--local` inside the program.

May import `rtchat.core`, `rtchat.wire` and `rtchat.system`. Start with `protocol.py`, which handles
one client's session without I/O (`responses.py` has its responses, `audio_input.py` its audio),
then read `connection.py`, which serves it over a WebSocket. `http_endpoints.py` answers other HTTP
requests. `engine.py` and `voice.py` define the protocols that models implement; `factory.py`
selects them by name.
"""
