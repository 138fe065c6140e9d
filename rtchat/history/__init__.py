"""Saved conversations: the database, its writer thread, and exports.

May import `rtchat.markdown`, `rtchat.wire`, `rtchat.system` and `rtchat.core`. Start at `store.py`.
"""
