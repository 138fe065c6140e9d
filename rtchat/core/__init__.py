"""The conversation without I/O: events in, effects out, no clock and no randomness.

Imports nothing else from the package, and nothing that does I/O. Start with the events and effects
in `events.py` and `effects.py`, then read `conversation.py`, which passes each event to one of the
units it lists. `errors.py` defines the errors and the exit codes.
"""
