"""Traces: every frame of a run in a file, and what a trace says when it is replayed.

May import `rtchat.client` and what is below it. Start at `recording.py`.
"""
