"""Libraries written in C that write to stderr whenever they like, silenced."""

from __future__ import annotations

from ctypes import CDLL, c_char_p, c_void_p
from functools import cache


@cache
def silence_libraries() -> None:
    """Have C libraries say nothing, from here on.

    ALSA, JACK and PortAudio write to C's `stderr` at any time, from threads of their own, and so
    does mpg123: that would break what is on the screen. With glibc it is a variable, so that it
    goes nowhere while Python's stderr, descriptor 2 and other programs' go where they went.
    """
    libc = CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return
    libc.fopen.restype = c_void_p
    if nowhere := libc.fopen(c_char_p(b"/dev/null"), c_char_p(b"w")):
        c_void_p.in_dll(libc, "stderr").value = nowhere
