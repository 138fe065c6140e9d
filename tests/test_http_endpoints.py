"""The HTTP endpoints of a server, over sockets."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus

from rtchat.server.client_secrets import MAX_SECRETS
from rtchat.server.limits import ServerLimits
from rtchat.server.request_body import MAX_BODY
from rtchat.server.script import EchoEngine
from rtchat.server.tone_voice import ToneVoice
from tests.loopback import joined
from tests.program import PATIENCE
from tests.test_server import serve

MODELS, SECRETS = "/v1/models", "/v1/realtime/client_secrets"
SESSIONS, TRANSCRIPTIONS = "/v1/realtime/sessions", "/v1/realtime/transcription_sessions"


class Answer:
    """An HTTP response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body: Any = json.loads(body) if body else None

    @property
    def error(self) -> tuple[int, str | None, str | None]:
        """The status, code and parameter of an error. Fails if it has another form."""
        assert self.headers["content-type"] == "application/json"
        error = self.body["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["message"]
        return self.status, error["code"], error["param"]


async def fetch(
    url: str, path: str, body: object = None, *, method: str = "", **headers: str
) -> Answer:
    """The answer to a request: a GET, or a POST if there is a body."""

    def send() -> Answer:
        parts = urlsplit(url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body)
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, data, named)
            response = connection.getresponse()
            found = {name.lower(): text for name, text in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    return await asyncio.to_thread(send)


async def session_with(url: str, secret: str, *, beta: bool = False) -> dict[str, Any]:
    """The session of a browser's connection with a client secret."""
    names = ["realtime", f"openai-insecure-api-key.{secret}"]
    if beta:
        names.append("openai-beta.realtime-v1")
    async with joined(url, subprotocols=names, is_beta=beta) as peer:
        created: dict[str, Any] = (await peer.receive())["session"]
        return created


# ------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("prefix", ["", "/v1", "/openai", "/openai/v1"])
def test_the_models(prefix: str) -> None:
    async def check(url: str) -> None:
        listed = await fetch(url, f"{prefix}/models")
        assert listed.status == 200
        assert [model["id"] for model in listed.body["data"]] == ["echo"]
        assert (await fetch(url, f"{prefix}/models/echo")).body == listed.body["data"][0]
        unknown = await fetch(url, f"{prefix}/models/other%2Fname")
        assert unknown.error == (404, "model_not_found", "model")
        assert "'other/name'" in unknown.body["error"]["message"]

    serve(check)


# -------------------------------------------------------------------------------------- connections


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/realtime", "echo"),
        ("/v1/realtime?model=a", "a"),
        ("/openai/v1/realtime?model=a", "a"),
        ("/openai/realtime?api-version=2025-04-01-preview&deployment=a", "a"),
    ],
)
def test_the_paths_of_openai_and_azure(path: str, model: str) -> None:
    async def check(url: str) -> None:
        async with joined(url.removesuffix("/v1/realtime") + path) as peer:
            assert (await peer.receive())["session"]["model"] == model

    serve(check)


# ------------------------------------------------------------------------------------------ secrets


def test_a_secret_opens_sessions_with_its_options() -> None:
    async def check(url: str) -> None:
        options = {"type": "realtime", "model": "mine", "instructions": "Be brief."}
        minted = await fetch(url, SECRETS, {"session": options}, Authorization="Bearer sesame")
        secret, session = minted.body["value"], minted.body["session"]
        assert secret.startswith("ek_")
        assert (session["model"], session["instructions"]) == ("mine", "Be brief.")
        for _ in range(2):
            opened = await session_with(url, secret)
            assert (opened["model"], opened["instructions"]) == ("mine", "Be brief.")
        assert (await session_with(f"{url}?model=a", secret))["model"] == "a"
        headers = {"Authorization": f"Bearer {secret}"}
        async with joined(url, headers=headers) as peer:
            assert (await peer.receive())["session"]["instructions"] == "Be brief."
        async with joined(url, headers={"Authorization": "Bearer sesame"}) as peer:
            assert (await peer.receive())["session"]["instructions"] == EchoEngine.instructions
        with pytest.raises(InvalidStatus):
            await session_with(url, f"{secret}x")

    serve(check, api_key="sesame")


def test_a_secret_applies_without_a_key_of_the_server_too() -> None:
    async def check(url: str) -> None:
        options = {"type": "realtime", "instructions": "Be brief."}
        minted = await fetch(url, SECRETS, {"session": options})
        assert (await session_with(url, minted.body["value"]))["instructions"] == "Be brief."

    serve(check)


def test_a_secret_for_transcription() -> None:
    async def check(url: str) -> None:
        options = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}
        minted = await fetch(url, SECRETS, {"session": options})
        assert minted.body["session"]["type"] == "transcription"
        opened = await session_with(url, minted.body["value"])
        assert opened["type"] == "transcription"
        assert opened["audio"]["input"]["turn_detection"] is None

    serve(check, voice=ToneVoice())


def test_secrets_of_the_beta_api() -> None:
    async def check(url: str) -> None:
        minted = await fetch(url, SESSIONS, {"model": "mine", "modalities": ["text"]})
        assert (minted.body["modalities"], minted.body["model"]) == (["text"], "mine")
        secret = minted.body["client_secret"]["value"]
        opened = await session_with(url, secret, beta=True)
        assert (opened["modalities"], opened["model"]) == (["text"], "mine")
        minted = await fetch(url, TRANSCRIPTIONS, {"input_audio_format": "pcm16"})
        assert minted.body["object"] == "realtime.transcription_session"
        opened = await session_with(url, minted.body["client_secret"]["value"], beta=True)
        assert opened["object"] == "realtime.transcription_session"

    serve(check, voice=ToneVoice())


def test_a_secret_is_no_key_for_other_requests() -> None:
    async def check(url: str) -> None:
        minted = await fetch(url, SECRETS, {}, api_key="sesame")
        secret = f"Bearer {minted.body['value']}"
        for path, body in ((MODELS, None), (SECRETS, {}), (SESSIONS, {})):
            refused = await fetch(url, path, body, Authorization=secret)
            assert refused.error == (401, "invalid_api_key", None)
            assert (await fetch(url, path, body)).error == (401, None, None)
            assert (await fetch(url, path, body, Authorization="Bearer sesame")).status == 200

    serve(check, api_key="sesame")


def test_memory_for_secrets_is_limited() -> None:
    async def check(url: str) -> None:
        options = {"session": {"type": "realtime", "instructions": "x" * 60_000}}
        answers = [await fetch(url, SECRETS, options) for _ in range(5)]
        assert answers[0].status == 200
        assert answers[-1].error == (503, "server_overloaded", None)
        assert answers[-1].headers["retry-after"].isdecimal()

    serve(check, limits=ServerLimits(total_bytes=250_000))


def test_the_number_of_secrets_is_limited() -> None:
    async def check(url: str) -> None:
        for _ in range(MAX_SECRETS):
            assert (await fetch(url, SECRETS, b"")).status == 200
        assert (await fetch(url, SECRETS, b"")).error == (503, "server_overloaded", None)

    serve(check)


# ----------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"{", (400, "invalid_json", None)),
        ({"session": {"type": "realtime", "x": 1}}, (400, "unknown_parameter", "session.x")),
        (
            {
                "session": {
                    "type": "realtime",
                    "model": "gpt-realtime",
                    "max_output_tokens": 5000,
                }
            },
            (400, "invalid_value", "session.max_output_tokens"),
        ),
        (b" " * (MAX_BODY + 1), (413, None, None)),
        (b" " * MAX_BODY + b"{}", (413, None, None)),
    ],
)
def test_an_invalid_body_is_refused(body: object, refusal: tuple[int, str, str]) -> None:
    async def check(url: str) -> None:
        assert (await fetch(url, SECRETS, body)).error == refusal
        assert (await fetch(url, SECRETS, b"")).status == 200

    serve(check)


@pytest.mark.parametrize(
    ("method", "path", "refusal", "allowed"),
    [
        ("GET", "/v2/realtime", (404, None, None), None),
        ("GET", "//[", (404, None, None), None),
        ("POST", "/v1/realtime/calls", (404, None, None), None),
        ("POST", "/v1/realtime", (405, None, None), "GET"),
        ("DELETE", MODELS, (405, None, None), "GET"),
        ("GET", SECRETS, (405, None, None), "POST"),
        ("GET", "/v1/realtime", (426, None, None), None),
    ],
)
def test_an_error_has_the_form_of_the_api(
    method: str, path: str, refusal: tuple[int, str, str], allowed: str | None
) -> None:
    async def check(url: str) -> None:
        answer = await fetch(url, path, method=method)
        assert answer.error == refusal
        assert answer.headers.get("allow") == allowed

    serve(check)


def test_an_invalid_handshake_is_refused_in_the_form_of_the_api() -> None:
    async def check(url: str) -> None:
        key = b64encode(bytes(3)).decode()
        answer = await fetch(
            url, "/v1/realtime", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Key=key
        )
        assert answer.error == (400, None, None)

    serve(check)


# ---------------------------------------------------------------------------------------- web pages


def test_only_pages_of_an_allowed_origin_are_answered() -> None:
    async def check(url: str) -> None:
        for path, body in ((MODELS, None), (SECRETS, {})):
            assert (await fetch(url, path, body)).headers.get("access-control-allow-origin") is None
            allowed = await fetch(url, path, body, Origin="https://good.example")
            assert allowed.status == 200
            assert allowed.headers["access-control-allow-origin"] == "https://good.example"
            refused = await fetch(url, path, body, Origin="https://evil.example")
            assert refused.error == (403, "origin_not_allowed", None)
            assert "access-control-allow-origin" not in refused.headers

    serve(check, allow_origins=["https://good.example"])


def test_a_browser_may_ask_before_it_sends_a_key() -> None:
    async def check(url: str) -> None:
        asked = {
            "Access_Control_Request_Method": "POST",
            "Access_Control_Request_Headers": "authorization, x-stainless-os",
        }
        good, evil = "https://good.example", "https://evil.example"
        allowed = await fetch(url, SECRETS, method="OPTIONS", Origin=good, **asked)
        assert (allowed.status, allowed.body) == (204, None)
        assert allowed.headers["access-control-allow-origin"] == good
        assert allowed.headers["access-control-allow-methods"] == "POST"
        assert allowed.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
        refused = await fetch(url, SECRETS, method="OPTIONS", Origin=evil, **asked)
        assert refused.error == (403, "origin_not_allowed", None)

    serve(check, api_key="sesame", allow_origins=["https://good.example"])
