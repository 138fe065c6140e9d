"""Deviations of servers from the order, the names and the ids of OpenAI's events.

A deviation changes the frames that a simulated server is about to send. The modules make one
deviation for each type of event, or field, to which it can be applied.
"""

from __future__ import annotations

from tests.deviations import content, ids, order, replies

ALL = (*order.ALL, *ids.ALL, *content.ALL, *replies.ALL)
"""All deviations."""
