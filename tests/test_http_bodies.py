"""The bodies of the HTTP endpoints, compared with the types of the official package."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Model
from openai.types.realtime import ClientSecretCreateResponse
from pydantic import TypeAdapter

from rtchat.core.events import ServerProblem
from rtchat.core.values import Options
from rtchat.wire.http_bodies import (
    SecretEndpoint,
    SecretRequest,
    read_secret_request,
    write_model,
    write_models,
    write_secret,
)
from rtchat.wire.session_object import write_session, write_transcription

GA, BETA, BETA_TRANSCRIPTION = SecretEndpoint


@pytest.mark.parametrize(
    ("endpoint", "body", "read"),
    [
        (GA, None, SecretRequest(600, Options(), transcribes=False)),
        (GA, {}, SecretRequest(600, Options(), transcribes=False)),
        (
            GA,
            {"expires_after": None, "session": None},
            SecretRequest(600, Options(), transcribes=False),
        ),
        (
            GA,
            {
                "expires_after": {"anchor": "created_at", "seconds": 10},
                "session": {"type": "realtime", "model": "m", "output_modalities": ["text"]},
            },
            SecretRequest(10, Options(modality="text", other={"model": "m"}), transcribes=False),
        ),
        (
            GA,
            {"session": {"type": "transcription", "audio": {"input": {"turn_detection": None}}}},
            SecretRequest(
                600,
                Options(other={"audio": {"input": {"turn_detection": None}}}),
                transcribes=True,
            ),
        ),
        (BETA, None, SecretRequest(60, Options(), transcribes=False)),
        (
            BETA,
            {
                "model": "m",
                "modalities": ["text"],
                "temperature": 0.8,
                "client_secret": {"expires_after": {"anchor": "created_at", "seconds": 7200}},
            },
            SecretRequest(7200, Options(modality="text", other={"model": "m"}), transcribes=False),
        ),
        (
            BETA_TRANSCRIPTION,
            {
                "modalities": ["text"],
                "input_audio_transcription": {"model": "whisper-1"},
                "client_secret": {"expires_at": {"anchor": "created_at", "seconds": 30}},
            },
            SecretRequest(
                30,
                Options(other={"audio": {"input": {"transcription": {"model": "whisper-1"}}}}),
                transcribes=True,
            ),
        ),
    ],
)
def test_a_request_for_a_secret(endpoint: SecretEndpoint, body: object, read: object) -> None:
    assert read_secret_request(_bytes(body), endpoint) == read


def _bytes(body: object) -> bytes:
    return b"" if body is None else json.dumps(body).encode()


@pytest.mark.parametrize(
    ("endpoint", "body", "code", "param"),
    [
        (GA, b"{", "invalid_json", ""),
        (GA, b"\xff", "invalid_json", ""),
        (GA, b"[]", "invalid_type", ""),
        (GA, {"colour": "red"}, "unknown_parameter", "colour"),
        (GA, {"session": 5}, "invalid_type", "session"),
        (GA, {"session": {"model": "m"}}, "missing_required_parameter", "session.type"),
        (GA, {"session": {"type": "translation"}}, "invalid_value", "session.type"),
        (
            GA,
            {"session": {"type": "realtime", "voice": "a"}},
            "unknown_parameter",
            "session.voice",
        ),
        (GA, {"expires_after": {"seconds": 9}}, "invalid_value", "expires_after.seconds"),
        (GA, {"expires_after": {"seconds": 7201}}, "invalid_value", "expires_after.seconds"),
        (GA, {"expires_after": {"anchor": "now"}}, "invalid_value", "expires_after.anchor"),
        (BETA, {"colour": "red"}, "unknown_parameter", "session.colour"),
        (
            BETA,
            {"client_secret": {"expires_after": {"seconds": 0}}},
            "invalid_value",
            "client_secret.expires_after.seconds",
        ),
        (BETA_TRANSCRIPTION, {"tools": []}, "unknown_parameter", "session.tools"),
    ],
)
def test_an_invalid_request_for_a_secret(
    endpoint: SecretEndpoint, body: Any, code: str, param: str
) -> None:
    problem = read_secret_request(body if isinstance(body, bytes) else _bytes(body), endpoint)
    assert isinstance(problem, ServerProblem)
    assert (problem.kind, problem.code, problem.param) == ("invalid_request_error", code, param)


@pytest.mark.parametrize("transcribes", [False, True])
def test_the_secret_has_the_official_shape(transcribes: bool) -> None:
    options = Options()
    session = (
        write_transcription(session_id="s", expires_at=0, options=options)
        if transcribes
        else write_session(session_id="s", model="m", expires_at=0, options=options)
    )
    body = write_secret(GA, "ek_1", 5, session)
    read = TypeAdapter(ClientSecretCreateResponse).validate_python(body, strict=True)
    assert (read.value, read.expires_at, read.session.id) == ("ek_1", 5, "s")
    beta = write_secret(BETA, "ek_1", 5, session)
    assert beta["client_secret"] == {"value": "ek_1", "expires_at": 5}
    assert (beta["id"], beta["input_audio_format"]) == ("s", "pcm16")


def test_the_models_have_the_official_shape() -> None:
    body = write_models(["a", "b"], 5)
    assert body["object"] == "list"
    models = TypeAdapter(list[Model]).validate_python(body["data"], strict=True)
    assert [(model.id, model.created) for model in models] == [("a", 5), ("b", 5)]
    assert TypeAdapter(Model).validate_python(write_model("a", 5), strict=True) == models[0]
