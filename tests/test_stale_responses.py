"""Which response an event belongs to, with servers that change the ids of a response."""

from __future__ import annotations

from rtchat.core.stale_responses import StaleResponses


def test_events_without_an_id_belong_to_the_expected_response() -> None:
    assert StaleResponses().matches("", "r1")


def test_a_server_may_use_another_id_in_every_event() -> None:
    ids = StaleResponses()
    assert [ids.matches(other, "r1") for other in ("r2", "r3", "r4")] == [True] * 3


def test_another_id_is_another_response_if_the_server_repeats_ids() -> None:
    ids = StaleResponses()
    assert ids.matches("r1", "r1")
    assert not ids.matches("r2", "r1")
    assert "r2" in ids
    assert not ids.matches("r2", "r1", is_end=True)


def test_only_the_end_may_have_another_id() -> None:
    ids = StaleResponses()
    assert ids.matches("r1", "r1")
    assert ids.matches("r2", "r1", is_end=True)


def test_late_events_are_ignored_under_both_ids_of_their_response() -> None:
    ids = StaleResponses()
    assert ids.matches("r2", "r1")
    ids.ignore("r1")
    assert not ids.matches("r1", "")
    assert not ids.matches("r2", "")
    ids.clear()
    assert ids.matches("r2", "")
