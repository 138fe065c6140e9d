"""What each command does, and how its parts are put together.

The command line (`rtchat.cli`) hands each function here its settings and an environment; what is
drawn is drawn by `rtchat.ui`. May import everything but `rtchat.cli`. Start at `chat.py`: one
conversation, from settings to exit code.
"""
