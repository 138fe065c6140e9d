"""Translation between the dialect before May 2026 (beta) and the current one (GA)."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.wire import decode
from rtchat.wire.beta import param_to_beta, to_beta, to_ga
from tests.oracle import assert_client_event
from tests.wire_examples import EVENTS, Json

_VAD: Json = {"type": "server_vad", "threshold": 0.5}
_BETA_SESSION: Json = {
    "modalities": ["text", "audio"],
    "instructions": "Be brief.",
    "voice": "alloy",
    "speed": 1.0,
    "input_audio_format": "g711_ulaw",
    "output_audio_format": "pcm16",
    "input_audio_transcription": {"model": "whisper-1"},
    "input_audio_noise_reduction": {"type": "near_field"},
    "turn_detection": _VAD,
    "max_response_output_tokens": "inf",
    "tools": [],
}
_GA_SESSION: Json = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "Be brief.",
    "audio": {
        "input": {
            "format": {"type": "audio/pcmu"},
            "transcription": {"model": "whisper-1"},
            "noise_reduction": {"type": "near_field"},
            "turn_detection": _VAD,
        },
        "output": {
            "voice": "alloy",
            "speed": 1.0,
            "format": {"type": "audio/pcm", "rate": 24000},
        },
    },
    "max_output_tokens": "inf",
    "tools": [],
}


def _item(kind: str) -> Json:
    content = [{"type": kind, "text": "hi"}]
    return {"type": "message", "role": "assistant", "content": content}


_PAIRS: list[tuple[Json, Json]] = [
    (
        {"type": "session.update", "session": _BETA_SESSION},
        {"type": "session.update", "session": _GA_SESSION},
    ),
    (
        {"type": "response.create", "response": {"modalities": ["text"], "voice": "ash"}},
        {
            "type": "response.create",
            "response": {"output_modalities": ["text"], "audio": {"output": {"voice": "ash"}}},
        },
    ),
    (
        {"type": "conversation.item.create", "item": _item("text")},
        {"type": "conversation.item.create", "item": _item("output_text")},
    ),
    ({"type": "response.cancel"}, {"type": "response.cancel"}),
    ({"type": "response.create"}, {"type": "response.create"}),
]


@pytest.mark.parametrize(("beta", "ga"), _PAIRS)
def test_a_client_event_both_ways(beta: Json, ga: Json) -> None:
    before = deepcopy((beta, ga))
    assert to_ga(beta) == ga
    assert to_beta(ga) == beta
    assert (beta, ga) == before
    assert_client_event(ga)


_FORMATS: st.SearchStrategy[Json] = st.sampled_from(
    [{"type": "audio/pcm", "rate": 24000}, {"type": "audio/pcmu"}, {"type": "audio/pcma"}]
)
_VOICES = st.sampled_from(["alloy", "marin"])
_MODALITIES = st.sampled_from([["text"], ["audio"]])
_LIMITS = st.integers(1, 4096) | st.just("inf")
_OUTPUT = st.fixed_dictionaries(
    {}, optional={"voice": _VOICES, "format": _FORMATS, "speed": st.floats(0.25, 1.5)}
)
_INPUT = st.fixed_dictionaries(
    {},
    optional={
        "format": _FORMATS,
        "transcription": st.just({"model": "whisper-1"}),
        "noise_reduction": st.just({"type": "near_field"}),
        "turn_detection": st.none() | st.just(_VAD),
    },
)


def _full(audio: Mapping[str, object]) -> Json:
    """Without empty objects, which beta's flat fields cannot represent."""
    return {key: half for key, half in audio.items() if half}


_AUDIO = st.builds(lambda i, o: _full({"input": i, "output": o}), _INPUT, _OUTPUT).filter(bool)
_SESSIONS = st.fixed_dictionaries(
    {"type": st.just("realtime")},
    optional={
        "output_modalities": _MODALITIES,
        "instructions": st.text(max_size=5),
        "max_output_tokens": _LIMITS,
        "audio": _AUDIO,
        "tool_choice": st.just("auto"),
    },
)
_RESPONSES = st.fixed_dictionaries(
    {},
    optional={
        "output_modalities": _MODALITIES,
        "instructions": st.text(max_size=5),
        "max_output_tokens": _LIMITS,
        "conversation": st.just("none"),
        "audio": st.fixed_dictionaries(
            {"output": st.fixed_dictionaries({"voice": _VOICES}, optional={"format": _FORMATS})}
        ),
    },
)
_CONTENT = st.one_of(
    st.fixed_dictionaries({"type": st.just("output_text"), "text": st.text(max_size=5)}),
    st.fixed_dictionaries({"type": st.just("output_audio"), "transcript": st.text(max_size=5)}),
)
_ITEMS = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("message"),
            "role": st.just("assistant"),
            "content": st.lists(_CONTENT, max_size=3),
        }
    ),
    st.just(
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "hi"}],
        }
    ),
    st.just({"type": "function_call_output", "call_id": "c", "output": "o"}),
)
_GA_EVENTS: st.SearchStrategy[Json] = st.one_of(
    st.fixed_dictionaries({"type": st.just("session.update"), "session": _SESSIONS}),
    st.fixed_dictionaries({"type": st.just("response.create"), "response": _RESPONSES}),
    st.fixed_dictionaries({"type": st.just("conversation.item.create"), "item": _ITEMS}),
    st.fixed_dictionaries({"type": st.just("response.cancel"), "response_id": st.text()}),
)


@given(_GA_EVENTS)
def test_translation_is_reversible(event: Json) -> None:
    assert_client_event(event)
    before = deepcopy(event)
    beta = to_beta(event)
    assert beta is not None
    assert to_ga(beta) == event
    assert to_ga(event) == event
    assert event == before


@pytest.mark.parametrize(
    ("beta", "ga"),
    [
        ("response.text.delta", "response.output_text.delta"),
        ("response.text.done", "response.output_text.done"),
        ("response.audio.delta", "response.output_audio.delta"),
        ("response.audio.done", "response.output_audio.done"),
        ("response.audio_transcript.delta", "response.output_audio_transcript.delta"),
        ("response.audio_transcript.done", "response.output_audio_transcript.done"),
        ("conversation.item.created", "conversation.item.added"),
        ("session.created", "session.created"),
        ("response.done", "response.done"),
        ("error", "error"),
    ],
)
def test_the_names_of_server_events(beta: str, ga: str) -> None:
    assert to_ga({"type": beta, "delta": "x"}) == {"type": ga, "delta": "x"}
    assert to_beta({"type": ga, "delta": "x"}) == {"type": beta, "delta": "x"}


def test_server_events_in_beta() -> None:
    session = _GA_SESSION | {"id": "s", "object": "realtime.session"}
    assert to_beta({"type": "session.created", "session": session}) == {
        "type": "session.created",
        "session": {"id": "s", "object": "realtime.session"} | _BETA_SESSION,
    }
    response = {
        "id": "r",
        "output_modalities": ["text"],
        "max_output_tokens": 7,
        "output": [_item("output_text"), 5],
    }
    sent = {"object": "realtime.item"} | _item("text")
    assert to_beta({"type": "response.done", "response": response}) == {
        "type": "response.done",
        "response": {
            "id": "r",
            "modalities": ["text"],
            "max_output_tokens": 7,
            "output": [sent, 5],
        },
    }
    item = {"type": "response.output_item.done", "item": _item("output_text")}
    assert to_beta(item) == {"type": "response.output_item.done", "item": sent}
    part = {"type": "response.content_part.done", "part": {"type": "output_audio"}}
    assert to_beta(part) == {"type": "response.content_part.done", "part": {"type": "audio"}}
    assert to_beta({"type": "conversation.item.done", "item": {}}) is None
    assert to_beta({"type": 5}) == {"type": 5}


_TRANSLATED = [
    (data, beta)
    for data, _ in EVENTS
    if not str(data["type"]).startswith("session.") and (beta := to_beta(data)) is not None
]


@pytest.mark.parametrize(("data", "beta"), _TRANSLATED)
def test_both_dialects_decode_to_the_same_events(data: Json, beta: Json) -> None:
    assert decode(beta) == decode(data)


def test_a_transcription_session_keeps_its_type() -> None:
    session: Json = {"input_audio_transcription": {"model": "whisper-1"}}
    assert to_ga({"type": "transcription_session.update", "session": session}) == {
        "type": "session.update",
        "session": {
            "type": "transcription",
            "audio": {"input": {"transcription": {"model": "whisper-1"}}},
        },
    }


def test_temperature_is_omitted_in_ga() -> None:
    event: Json = {"type": "session.update", "session": {"temperature": 0.8}}
    assert to_ga(event) == {"type": "session.update", "session": {"type": "realtime"}}


def test_a_custom_format_or_voice_is_unchanged() -> None:
    event: Json = {
        "type": "session.update",
        "session": {"type": "realtime", "audio": {"output": {"format": 5, "voice": {"id": "v"}}}},
    }
    beta = {
        "type": "session.update",
        "session": {"output_audio_format": 5, "voice": {"id": "v"}},
    }
    assert to_beta(event) == beta
    assert to_ga(beta) == event


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "content", "output", "audio", "role"]), inner)
    ),
    max_leaves=8,
)


@given(
    st.sampled_from(["session.update", "response.create", "conversation.item.create", "x"]),
    st.dictionaries(st.sampled_from(["session", "response", "item", "part"]), _JSON),
)
def test_any_object_is_translated_without_an_exception(kind: str, data: Json) -> None:
    once = to_ga(data | {"type": kind})
    assert to_ga(once) == once
    assert to_beta(once) is not None


@pytest.mark.parametrize(
    ("ga", "beta"),
    [
        ("session.audio.input.turn_detection.threshold", "session.turn_detection.threshold"),
        ("session.output_modalities[0]", "session.modalities[0]"),
        ("response.audio.output.voice", "response.voice"),
        ("session.max_output_tokens", "session.max_response_output_tokens"),
        ("session.instructions", "session.instructions"),
        ("item.content", "item.content"),
        ("type", "type"),
    ],
)
def test_an_error_names_the_beta_field(ga: str, beta: str) -> None:
    assert param_to_beta(ga) == beta
