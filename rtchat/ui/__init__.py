"""What draws, and what reads keys.

May import `rtchat.history`, `rtchat.markdown` and what is below them. Start
at `live_view.py` for the screen, at `terminal.py` for the keyboard; the sentences that people read
stand in `messages.py`.
"""
