"""Markdown for a terminal, rendered block by block while it streams.

May import only `rtchat.core`, for safe text and values. Start at `splitter.py`, which finds the
complete blocks, then `render.py` and `blocks.py`, which turn a block into lines. `dialect.py` has
the parser and says where it differs from CommonMark. `math.py` recognises formulas, and
`formula.py` writes them in Unicode.
"""
