"""`man`."""


def man() -> int:
    """Show the manual."""
    return 0
