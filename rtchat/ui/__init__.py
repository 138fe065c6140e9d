"""Terminal output and keyboard input.

May import `rtchat.history`, `rtchat.markdown` and the layers below them. Start at `live_view.py`
for the screen, and at `terminal.py` and `prompt.py` for the keyboard. The wording of status lines
is in `messages.py`; that of errors is where they are raised.
"""
