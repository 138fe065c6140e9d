"""Input other than typed lines: stdin, files, images.

May import `rtchat.core` and `rtchat.system`. Start at `stdin.py`.
"""
