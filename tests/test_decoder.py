"""Events that a server sends twice are handled once."""

from __future__ import annotations

from rtchat.core.events import Delta, ServerEvent, Unknown
from rtchat.core.values import JsonObject
from rtchat.wire import Decoder


def delta(name: str, text: str, **fields: str) -> JsonObject:
    return {"type": name, "response_id": "r", "item_id": "i", "delta": text} | fields


def texts(*events: JsonObject) -> list[str]:
    decoder = Decoder()
    decoded: list[ServerEvent] = [each for event in events for each in decoder.decode(event)]
    assert all(isinstance(each, Delta | Unknown) for each in decoded)
    return [each.text for each in decoded if isinstance(each, Delta)]


GA, BETA = "response.output_text.delta", "response.text.delta"


def test_an_event_under_both_of_its_names_is_one_event() -> None:
    for first, second in ((GA, BETA), (BETA, GA)):
        twice = [delta(name, text) for text in ("ha", "ha", "!") for name in (first, second)]
        assert texts(*twice) == ["ha", "ha", "!"]


def test_each_type_of_event_has_a_name_of_its_own() -> None:
    audio = delta("response.audio_transcript.delta", "ha")
    assert texts(delta(GA, "ha"), audio, delta(GA, "ho"), audio) == ["ha", "ha", "ho", "ha"]


def test_an_event_that_is_sent_again_is_one_event() -> None:
    first, *events = [delta(GA, "ha", event_id=f"e{number}") for number in range(4)]
    assert texts(first, *(each for event in events for each in (event, event))) == ["ha"] * 4


def test_events_with_the_same_id_or_none_are_different_events() -> None:
    assert texts(*[delta(GA, "ha")] * 3) == ["ha", "ha", "ha"]
    assert texts(*[delta(GA, "ha", event_id="e")] * 3) == ["ha", "ha", "ha"]


def test_an_event_without_a_type_is_unknown() -> None:
    assert [type(event) for event in Decoder().decode({})] == [Unknown]
