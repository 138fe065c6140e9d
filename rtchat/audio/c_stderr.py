"""Suppresses the stderr output of C libraries."""

from __future__ import annotations

from ctypes import CDLL, c_char_p, c_void_p
from functools import cache


@cache
def silence_libraries() -> None:
    """Discard what C libraries write to stderr from now on.

    ALSA, JACK, PortAudio and mpg123 write to C's `stderr` at any time, some from their own threads,
    which would corrupt the screen. In glibc `stderr` is a variable, so it can be redirected without
    affecting Python's stderr, file descriptor 2 or other programs.
    """
    libc = CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return
    libc.fopen.restype = c_void_p
    if nowhere := libc.fopen(c_char_p(b"/dev/null"), c_char_p(b"w")):
        c_void_p.in_dll(libc, "stderr").value = nowhere
