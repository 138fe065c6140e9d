"""Creates the engine that the command line selects, and the voice for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, MutableMapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from rtchat.core.errors import UsageError
from rtchat.core.suggestions import closest, did_you_mean
from rtchat.server import model_files
from rtchat.server.chat_completions import UPSTREAM_SECONDS, Upstream
from rtchat.server.engine import Engine
from rtchat.server.llama import SMOLLM2, load_model, plain_config
from rtchat.server.protocol import NO_VOICE
from rtchat.server.script import EchoEngine, ScriptEngine, load_script
from rtchat.server.tone_voice import ToneVoice
from rtchat.server.voice import Voice
from rtchat.system.installation import extra_hint

_SCRIPT = "script:"


@asynccontextmanager
async def open_engine(
    name: str,
    *,
    data_dir: Path,
    environ: MutableMapping[str, str],
    gguf: Path | None = None,
    upstream: Upstream | None = None,
    upstream_seconds: float = UPSTREAM_SECONDS,
    secrets: Iterable[str] = (),
) -> AsyncIterator[Engine]:
    """Open the engine `local`, `echo`, `script:FILE` or `upstream` for the duration of the block.
    `secrets` are redacted from the upstream's output.

    Raises `UsageError` for an unknown name, an invalid script, or a missing package or model.
    """
    if gguf is not None and name != "local":
        raise UsageError(f"--gguf requires the engine local, not {name}")
    if upstream is not None and name != "upstream":
        raise UsageError(f"--upstream requires the engine upstream, not {name}")
    if name == "upstream":
        async with _upstream_of(upstream, upstream_seconds, secrets) as engine:
            yield engine
    elif name == "echo":
        yield EchoEngine()
    elif name.startswith(_SCRIPT):
        yield ScriptEngine(load_script(Path(name.removeprefix(_SCRIPT))))
    elif name == "local":
        config = SMOLLM2 if gguf is None else plain_config(gguf)
        async with load_model(_model_file(data_dir, gguf), config, environ=environ) as llama:
            yield llama
    else:
        near = closest(name, ("local", "echo", "script:", "upstream"))
        hint = did_you_mean(
            [near.replace(":", ":FILE")], "use local, echo, script:FILE or upstream"
        )
        raise UsageError(f"unknown engine '{name}'", hint=hint)


@asynccontextmanager
async def _upstream_of(
    upstream: Upstream | None, seconds: float, secrets: Iterable[str]
) -> AsyncIterator[Engine]:
    if upstream is None:
        raise UsageError(
            "the engine upstream needs a URL and a model",
            hint="use --upstream URL --upstream-model NAME",
        )
    if find_spec("httpx2") is None:
        raise UsageError(
            "the engine upstream needs the package httpx2",
            hint=extra_hint("upstream"),
        )
    from rtchat.server.upstream import connect_upstream

    async with connect_upstream(upstream, silent_seconds=seconds, secrets=secrets) as engine:
        yield engine


def _model_file(data_dir: Path, gguf: Path | None) -> Path:
    path = model_files.find(data_dir, gguf)
    if path is None:
        raise UsageError("the built-in model is not installed", hint="run `rtchat local install`")
    return path


def voice_of(engine: Engine) -> Voice | str:
    """The voice to use with an engine, or why there is none and what to install."""
    if isinstance(engine, EchoEngine | ScriptEngine):
        return ToneVoice(engine.heard)
    return local_voice()


def local_voice() -> Voice | str:
    """The built-in voice, or why there is none and what to install."""
    from rtchat.server.local_voice import LocalVoice, missing

    if absent := missing():
        why = f"missing: {', '.join(absent)}"
        return f"{NO_VOICE} ({why}). To add it, install rtchat[voice-local]"  # clients see it
    return LocalVoice()
