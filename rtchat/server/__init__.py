"""A Realtime server: what `rtchat serve` runs by itself and `--local` within the program.

May import `rtchat.core`, `rtchat.wire` and `rtchat.system`. Start at `protocol.py`, one client's
conversation without I/O, then `connection.py`, the same over a WebSocket. `engine.py` and
`voice.py` are the protocols that the models implement; `factory.py` chooses between them by name.
"""
