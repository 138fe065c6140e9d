"""The conversation without I/O: events in, effects out, no clock and no randomness of its own.

Imports nothing else of the package, and nothing that reaches the outside world. Start at
`events.py` and `effects.py` for the vocabulary, then `conversation.py`, which gives each event to
one of the units that it names. `errors.py` has what can go wrong and the exit codes.
"""
