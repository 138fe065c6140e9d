"""The functions that a model may call: from a Python file or from MCP servers.

May import `rtchat.core` and `rtchat.wire`. Start at `toolbox.py`, which holds tools of any source.
"""
