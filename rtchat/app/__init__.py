"""What each command does.

The command line (`rtchat.cli`) passes each function here its settings and an environment;
`rtchat.ui` draws the output. May import everything except `rtchat.cli`. Start at `chat.py`: one
conversation, from settings to exit code.
"""
