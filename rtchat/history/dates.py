"""Dates and times as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo


def when(seconds: float, zone: tzinfo | None = None) -> str:
    """Unix seconds as a date and time, to the minute: 2026-11-22 21:30. `zone` is local if None."""
    return f"{datetime.fromtimestamp(seconds, zone):%Y-%m-%d %H:%M}"


def ago(seconds: float, now: float, zone: tzinfo | None = None) -> str:
    """How long ago something was, both in Unix seconds: `2 hours ago`, `yesterday`, or else a date.

    The days are those of `zone`, or local ones if it is None.
    """
    then, today = datetime.fromtimestamp(seconds, zone), datetime.fromtimestamp(now, zone).date()
    minutes = int(now - seconds) // 60
    if 0 <= minutes < 1:
        return "just now"
    if 0 <= minutes < 60:
        return f"{minutes} minute{'' if minutes == 1 else 's'} ago"
    hours = minutes // 60
    if hours > 0 and (then.date() == today or hours < 6):
        return f"{hours} hour{'' if hours == 1 else 's'} ago"
    if then.date() == today - timedelta(days=1):
        return "yesterday"
    return f"{then:%Y-%m-%d}"
