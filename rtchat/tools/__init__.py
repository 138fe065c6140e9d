"""Tools that a model can call: functions of a Python file, and tools of MCP servers.

May import `rtchat.core`, `rtchat.wire` and `rtchat.system`. Start at `toolbox.py`, which holds
tools of any source.
"""
