"""Sound on this machine: PCM16, mono, 24 kHz everywhere.

    audio.py        files and pipes of any format, to that
    recording.py    that, to WAV files, as it comes
    devices.py      the microphone and the speaker
    playback.py     what is heard when: the queue and the clock of a speaker
    portaudio.py    the library that leads to the devices
    quiet.py        keeps C libraries off the terminal

Not here: what a spoken turn is (`rtchat.speech`), or who uses all this (`rtchat.voice`).
"""
