"""Tools that a model can call: functions of a Python file, and tools of MCP servers.

May import `rtchat.core` and `rtchat.wire`. Start at `toolbox.py`, which holds tools of any source.
"""
