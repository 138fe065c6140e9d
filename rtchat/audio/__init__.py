"""Audio on this machine: files, the microphone and the speaker. PCM16, mono, 24 kHz everywhere.

May import `rtchat.core` and `rtchat.system`; its libraries are the extras `audio` and `voice`, and
are imported only when used. Start at `files.py` for files and pipes, at `devices.py` for the
microphone and the speaker.
"""
