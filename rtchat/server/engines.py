"""Which engine: from the name that the command line gives it.

Not here: the engines themselves, and asking the user whether to install the model (`cli`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path

from rtchat.errors import UsageError
from rtchat.server import weights
from rtchat.server.engine import Engine
from rtchat.server.llama import SMOLLM2, plain_recipe, running
from rtchat.server.script import EchoEngine, ScriptEngine, load_script

_SCRIPT = "script:"


@asynccontextmanager
async def opened(
    name: str,
    *,
    data_dir: Path,
    environ: MutableMapping[str, str],
    gguf: Path | None = None,
) -> AsyncIterator[Engine]:
    """The engine `local`, `echo` or `script:FILE`, while the block runs.

    Raises `UsageError` for another name, a bad script, or a model that is not there.
    """
    if gguf is not None and name != "local":
        raise UsageError(f"--gguf is for the engine local, not {name}")
    if name == "echo":
        yield EchoEngine()
    elif name.startswith(_SCRIPT):
        yield ScriptEngine(load_script(Path(name.removeprefix(_SCRIPT))))
    elif name == "local":
        recipe = SMOLLM2 if gguf is None else plain_recipe(gguf)
        async with running(_found(data_dir, gguf), recipe, environ=environ) as engine:
            yield engine
    else:
        raise UsageError(f"no engine {name}", hint="local, echo or script:FILE")


def _found(data_dir: Path, gguf: Path | None) -> Path:
    path = weights.find(data_dir, gguf)
    if path is None:
        raise UsageError("the embedded model is not installed", hint="rtchat local install")
    return path
