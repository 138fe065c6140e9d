"""Writes everything that happens in a session to a trace file, and replays it.

May import `rtchat.core`, `rtchat.wire` and `rtchat.system`. Start with `recording.py`, which writes
traces, and `replay.py`. `wire_only.py` replays recordings without local events.
"""
