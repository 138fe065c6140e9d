"""Traces: all that happens in a run as a file, and its replay.

May import `rtchat.core`, `rtchat.wire` and `rtchat.system`. Start at `recording.py`, which writes
them, and `replay.py`. `wire_only.py` shows recordings that have no local events.
"""
