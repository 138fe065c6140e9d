"""The functions that a model may call: from a Python file or from MCP servers.

May import `rtchat.core`, `rtchat.wire` and `rtchat.system`. Start at `toolbox.py`, which holds
tools of any source.
"""
