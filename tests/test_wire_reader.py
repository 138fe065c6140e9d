"""Redaction of keys in events: in every string, and in every text that arrives in deltas, even if
other events arrive in between."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.core.redaction import Redactor
from rtchat.wire import EventRedactor, without_keys

KEY = "sk-0123456789/abc"
REDACTOR = Redactor([KEY])

Event = dict[str, Any]


def delta(text: str, kind: str = "response.output_text.delta", **place: object) -> Event:
    ids = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
    return {"type": kind, "delta": text, **ids, **place}


def read(*events: Event, ends: bool = True) -> list[tuple[Event, str]]:
    """The redacted events, each with the text that is held back."""
    events_redactor = EventRedactor(REDACTOR)
    out: list[tuple[Event, str]] = []
    for event in events:
        frame = json.dumps(event)
        out += events_redactor.redact(frame, json.loads(frame))
    return out + [(event, "") for event in events_redactor.end()] if ends else out


def texts(events: Iterable[tuple[Event, str]]) -> list[str]:
    return [event["delta"] for event, _ in events if "delta" in event]


def test_the_possible_start_of_a_key_is_held_back() -> None:
    event = delta("yes sk-01")
    assert read(event, ends=False) == [(event | {"delta": "yes "}, "sk-01")]
    assert texts(read(event, delta("9"))) == ["yes ", "sk-019"]
    assert texts(read(event, delta("23456789/abc!"))) == ["yes ", "[key]!"]


@pytest.mark.parametrize(
    "end",
    [
        {"type": "response.output_text.done", "item_id": "i", "text": "yes s"},
        {"type": "response.text.done", "item_id": "i", "text": "yes s"},
        {"type": "response.content_part.done", "item_id": "i"},
        {"type": "response.output_item.done", "item": {"id": "i"}},
        {"type": "conversation.item.done", "item": {"id": "i"}},
        {"type": "response.done", "response": {"id": "r"}},
    ],
    ids=lambda end: str(end["type"]),
)
def test_the_end_of_a_text_releases_the_held_back_text(end: Event) -> None:
    assert read(delta("yes s"), end, ends=False) == [
        (delta("yes "), "s"),
        (delta("s"), ""),
        (end, ""),
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"type": "response.output_audio.delta", "item_id": "i", "delta": "c2s="},
        {"type": "response.output_audio.done", "item_id": "i"},
        {"type": "response.output_text.done", "item_id": "another"},
        {"type": "response.output_text.done", "item_id": "i", "content_index": 1},
        {"type": "response.content_part.done", "item_id": "i", "content_index": 1},
        {"type": "response.output_item.done", "item": {"id": "another"}},
        {"type": "rate_limits.updated"},
        delta("k", content_index=1),
        delta("k", item_id="another"),
        delta("k", "response.output_audio_transcript.delta"),
    ],
    ids=lambda other: str(other["type"]),
)
def test_other_events_do_not_release_held_back_text(other: Event) -> None:
    out = read(delta("s"), other, delta(KEY[1:]))
    assert out == [(delta(""), "s"), (other, ""), (delta("[key]"), "")]


def test_a_part_is_one_text_however_its_events_differ() -> None:
    ways: list[dict[str, Any]] = [
        {"response_id": ""},
        {"output_index": 3},
        {"kind": "response.text.delta"},
        {"content_index": None},
        {"content_index": 0.0},
    ]
    for way in ways:
        assert texts(read(delta(KEY[:9]), delta(KEY[9:], **way))) == ["", "[key]"]


def test_each_input_transcript_is_one_text() -> None:
    kind = "conversation.item.input_audio_transcription"
    heard = [delta(KEY[:9], f"{kind}.delta"), delta(KEY[9:12], f"{kind}.delta", content_index=1)]
    item = {"type": "conversation.item.done", "item": {"id": "i"}}
    reply = {"type": "response.done", "response": {"id": "r"}}
    end = {"type": f"{kind}.completed", "item_id": "i", "transcript": KEY[:12]}
    assert texts(read(*heard, item, reply, delta(KEY[12:], f"{kind}.delta"))) == ["", "", "[key]"]
    assert texts(read(*heard, item, reply, end, ends=False)) == ["", "", KEY[:12]]


def test_a_text_continued_after_its_end_reveals_no_key() -> None:
    done = {"type": "response.output_text.done", "item_id": "i"}
    over = {"type": "response.done", "response": {"id": "r"}}
    out = texts(read(delta(KEY[:9]), done, over, delta(KEY[9:])))
    assert out == ["", KEY[:9], "[key]"]
    more = [delta(KEY[:3]), done, delta(KEY[3:9]), done, delta(KEY[9:])]
    assert texts(read(*more)) == ["", KEY[:3], "", "[key]", KEY[9:-1], KEY[-1]]
    begins = {"type": "response.created", "response": {"id": "r2"}}
    assert texts(read(delta(KEY[:9]), over, begins, delta("x"))) == ["", KEY[:9], "x"]


def test_every_string_of_an_event_is_redacted() -> None:
    event = {
        "type": "x",
        KEY: [1, 2.5, None, True, {"a": [KEY, "b"]}],
        "escaped": "".join(f"\\u{ord(char):04x}" for char in KEY),
    }
    redacted = {"type": "x", "[key]": [1, 2.5, None, True, {"a": ["[key]", "b"]}]}
    assert read(event) == [(redacted | {"escaped": "[key]"}, "")]
    digits = Redactor(["12345678901234567"])
    assert without_keys({"n": 12345678901234567, "m": 12}, digits) == {"n": "[key]", "m": 12}


def test_keys_in_json_escapes_are_redacted() -> None:
    escaped = "".join(f"\\u{ord(char):04x}" for char in KEY)
    frame = '{"type": "response.output_text.delta", "item_id": "i", "delta": "%s", "%s": 1}'
    events = EventRedactor(REDACTOR)
    frame %= (escaped, escaped)
    (out,) = events.redact(frame, json.loads(frame))
    assert out[0] == {
        "type": "response.output_text.delta",
        "item_id": "i",
        "delta": "[key]",
        "[key]": 1,
    }


def test_the_words_of_the_user_stay_held_back_at_the_end_of_a_reply() -> None:
    events = EventRedactor(REDACTOR)
    heard: dict[str, object] = {
        "type": "conversation.item.input_audio_transcription.delta",
        "item_id": "u",
        "delta": f"it is {KEY[:5]}",
    }
    events.redact(json.dumps(heard), heard)
    assert list(events.end(replies_only=True)) == []
    (rest,) = events.end()
    assert rest["delta"] == KEY[:5]


def test_without_keys_events_are_unchanged() -> None:
    event = delta("sk-\\u0061 % &")
    events = EventRedactor(Redactor())
    assert events.redact(json.dumps(event), event) == ((event, ""),)


_STEMS = ("response.output_text", "response.output_audio_transcript")
_PIECES = (KEY[:1], KEY[:5], KEY[5:], KEY, "plain", "s", "k-", "\\u0073", "k-0123456789/abc", "")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(_STEMS),
            st.integers(0, 1),
            st.one_of(st.sampled_from(_PIECES), st.none()),
        ),
        max_size=20,
    )
)
def test_each_text_is_redacted_as_a_whole(history: list[tuple[str, int, str | None]]) -> None:
    """None ends a text; what follows it is not checked."""
    events: list[Event] = []
    whole: dict[tuple[str, int], str] = defaultdict(str)
    done: set[tuple[str, int]] = set()
    for stem, index, text in history:
        place = stem, index
        if place in done:
            continue
        if text is None:
            done.add(place)
            events.append({"type": f"{stem}.done", "item_id": "i", "content_index": index})
        else:
            whole[place] += text
            events.append(delta(text, f"{stem}.delta", content_index=index))
    out: dict[tuple[str, int], str] = defaultdict(str)
    for event, held in read(*events):
        if "delta" in event:
            place = event["type"].removesuffix(".delta"), event["content_index"]
            out[place] += event["delta"]
            assert REDACTOR.redact(whole[place]).startswith(out[place])
            assert whole[place].find(held) >= 0
    assert out == {place: REDACTOR.redact(text) for place, text in whole.items()}
