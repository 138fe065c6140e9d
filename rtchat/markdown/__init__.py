"""Markdown for a terminal, block by block while it streams. It knows nothing of conversations.

May import only the safe text of `rtchat.core`. Start at `splitter.py`, which finds the blocks that
are complete, then `render.py`, which turns a block into lines.
"""
