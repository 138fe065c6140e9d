"""The client of a Realtime server: where it is, the WebSocket, and the session.

May import `rtchat.core`, `rtchat.wire` and `rtchat.system`. Start at `session.py`, which performs
the effects of the core with the help of a module for each kind. `transport.py` is the connection.
"""
