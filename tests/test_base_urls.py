"""The addresses that people paste: base URLs of other programs, and complete Realtime URLs."""

from __future__ import annotations

import pytest

from rtchat.client.endpoint import endpoint
from rtchat.config.resolve import resolve
from rtchat.core.errors import UsageError

_AZURE = "wss://res.openai.azure.com/openai/v1/realtime?model=m"
_PREVIEW = "res.openai.azure.com/openai/realtime?api-version=2025-04-01-preview&deployment=d"
_VOICE_LIVE = "res.services.ai.azure.com/voice-live/realtime?api-version=2025-10-01&model=v"

_BASE_URLS = {
    # OpenAI
    "https://api.openai.com/v1": "wss://api.openai.com/v1/realtime?model=m",
    "https://api.openai.com/v1/": "wss://api.openai.com/v1/realtime?model=m",
    "https://api.openai.com/v1//": "wss://api.openai.com/v1/realtime?model=m",
    "https://api.openai.com/v1/realtime": "wss://api.openai.com/v1/realtime?model=m",
    "wss://api.openai.com/v1/realtime/": "wss://api.openai.com/v1/realtime?model=m",
    "wss://api.openai.com/v1/realtime?model=x": "wss://api.openai.com/v1/realtime?model=x",
    "wss://api.openai.com/v1/realtime/?model=x": "wss://api.openai.com/v1/realtime?model=x",
    # Azure
    "https://res.openai.azure.com/openai/v1": _AZURE,
    "https://res.openai.azure.com/openai/v1/": _AZURE,
    "https://res.openai.azure.com/openai/v1/realtime": _AZURE,
    f"https://{_PREVIEW}": f"wss://{_PREVIEW}",
    f"wss://{_PREVIEW}": f"wss://{_PREVIEW}",
    f"wss://{_VOICE_LIVE}": f"wss://{_VOICE_LIVE}",
    # xAI, DashScope, Inworld
    "https://api.x.ai/v1": "wss://api.x.ai/v1/realtime?model=m",
    "wss://api.x.ai/v1/realtime": "wss://api.x.ai/v1/realtime?model=m",
    "wss://dashscope.aliyuncs.com/api-ws/v1/realtime": (
        "wss://dashscope.aliyuncs.com/api-ws/v1/realtime?model=m"
    ),
    "wss://api.inworld.ai/api/v1/realtime/session?protocol=realtime": (
        "wss://api.inworld.ai/api/v1/realtime/session?protocol=realtime&model=m"
    ),
    # LiteLLM, LocalAI, speaches, vLLM
    "http://127.0.0.1:4000": "ws://127.0.0.1:4000/realtime?model=m",
    "http://127.0.0.1:4000/": "ws://127.0.0.1:4000/realtime?model=m",
    "http://127.0.0.1:4000/v1": "ws://127.0.0.1:4000/v1/realtime?model=m",
    "http://localhost:8080/v1/": "ws://localhost:8080/v1/realtime?model=m",
    "ws://localhost:8000/v1/realtime?model=x": "ws://localhost:8000/v1/realtime?model=x",
    # a gateway with "realtime" in its own path
    "https://realtime.example/realtime/v1": "wss://realtime.example/realtime/v1/realtime?model=m",
    "https://a.example/v1/realtime-2": "wss://a.example/v1/realtime-2/realtime?model=m",
}


@pytest.mark.parametrize("base", _BASE_URLS)
def test_a_base_url(base: str) -> None:
    settings = resolve({"model": "m"}, {"OPENAI_BASE_URL": base, "OPENAI_API_KEY": "k"})
    assert endpoint(settings.model, url=settings.url).url == _BASE_URLS[base]


_ENDPOINTS = {
    ("azure", "https://res.openai.azure.com"): _AZURE,
    ("azure", "https://res.openai.azure.com/"): _AZURE,
    ("azure", "https://res.openai.azure.com/openai"): _AZURE,
    ("azure", "https://res.openai.azure.com/openai/v1/"): _AZURE,
    ("azure", "https://res.openai.azure.com/openai/v1/realtime"): _AZURE,
    ("azure", "wss://res.openai.azure.com/openai/v1/realtime/?model=x"): _AZURE.replace("=m", "=x"),
    ("azure", f"wss://{_PREVIEW}"): f"wss://{_PREVIEW}",
    (
        "azure",
        "https://res.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
    ): _AZURE,
    ("azure", "https://gateway.example/team"): (
        "wss://gateway.example/team/openai/v1/realtime?model=m"
    ),
    ("azure", "https://gateway.example/team/openai/v1"): (
        "wss://gateway.example/team/openai/v1/realtime?model=m"
    ),
    ("azure-preview", "https://res.openai.azure.com/openai/v1/"): (
        f"wss://{_PREVIEW.replace('deployment=d', 'deployment=m')}"
    ),
    ("azure-voice-live", "https://res.services.ai.azure.com/"): (
        f"wss://{_VOICE_LIVE.replace('model=v', 'model=m')}"
    ),
    ("azure-voice-live", f"wss://{_VOICE_LIVE}"): f"wss://{_VOICE_LIVE}",
}


@pytest.mark.parametrize(("profile", "address"), _ENDPOINTS)
def test_the_address_of_a_profile(profile: str, address: str) -> None:
    environ = {
        "AZURE_OPENAI_ENDPOINT": address,
        "AZURE_VOICELIVE_ENDPOINT": address,
        "AZURE_OPENAI_API_KEY": "k",
        "AZURE_VOICELIVE_API_KEY": "k",
    }
    settings = resolve({"profile": profile, "model": "m"}, environ)
    assert endpoint(settings.model, url=settings.url).url == _ENDPOINTS[profile, address]


def test_an_address_that_is_not_a_url_is_an_error() -> None:
    environ = {"AZURE_OPENAI_ENDPOINT": "https://[oops", "AZURE_OPENAI_API_KEY": "k"}
    settings = resolve({"profile": "azure"}, environ)
    with pytest.raises(UsageError):
        endpoint(url=settings.url)


def test_an_intent_is_not_repeated() -> None:
    url = "wss://a.example/v1/realtime?intent=transcription"
    assert endpoint("m", url=url, transcribes=True).url == url
