"""Audio on this machine: files, the microphone and the speaker. All audio is PCM16, mono, 24 kHz.

May import `rtchat.core` and `rtchat.system`. Its libraries are in the extras `audio` and `voice`
and are imported only when needed. Start with `files.py` for files and pipes, and with `devices.py`
for the microphone and the speaker; `pcm.py` has the format of the audio.
"""
