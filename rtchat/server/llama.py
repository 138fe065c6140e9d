"""The built-in model: llama.cpp in this process, through `xllamacpp`.

The model has one slot, so one thread answers all requests in order. Prompts grow only at the end,
because the model caches what it has processed; a changed beginning costs seconds. Tools are ignored
because the model is too small to use them.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Literal, Protocol, TypeAlias

from rtchat.core.errors import UsageError
from rtchat.core.values import Item, JsonObject, Message, Status, value
from rtchat.server.engine import Answer, CloseConnection, Finish, ModelInput
from rtchat.server.llama_chunks import CONTEXT_EXCEEDED, failed, read_chunk, read_usage
from rtchat.system.installation import extra_hint
from rtchat.system.loop import post_to

LABEL = "SmolLM2-135M, a tiny model for trying out the interface (do not rely on its answers)"

_MAGIC = b"GGUF"
_CACHE_MIB = 128
"""The cache for other clients' prompts. The runtime's default is 8 GiB."""
_MAX_TOKEN_CHARS = 32
"""The maximum number of characters in a token. Most have four."""
_SENTENCE_END = re.compile(r"[a-z]{3}[.!?]$")
"""The end of a sentence in the text so far, but not of an abbreviation or a list number."""
_INSTRUCTIONS = "You are a helpful AI assistant. Answer briefly and clearly."


@value
class ModelConfig:
    """How to use a model. Sizes are in tokens. `sampling` is passed to the runtime with each
    request."""

    model: str
    context: int
    """The size of the context, including the answer."""
    budget: int
    """The maximum length of the history. The model reads about 100 tokens per second."""
    max_tokens: int
    sampling: JsonObject
    max_spoken_tokens: int | None = None
    """The limit of a spoken answer, which stops at the end of a sentence once it has half of these
    tokens. None: the same limit as for text."""
    examples: tuple[tuple[str, str], ...] = ()
    """Example turns placed before the conversation. Clients do not see them."""


SMOLLM2 = ModelConfig(
    model="smollm2-135m-instruct",
    context=2048,
    budget=800,
    max_tokens=512,
    max_spoken_tokens=120,
    # The examples raise the score on factual questions from 9 to 13 of 14. The penalties prevent
    # loops: without the last three settings, two of five long answers reached the limit, with them
    # none.
    examples=(
        ("Hello", "Hello! How can I help you today?"),
        ("What is the capital of Italy?", "The capital of Italy is Rome."),
        ("What is 3+4?", "3 + 4 = 7."),
    ),
    sampling={
        "temperature": 0,
        "frequency_penalty": 0.2,
        "repeat_last_n": 512,
        "dry_multiplier": 0.8,
        "dry_penalty_last_n": 512,
    },
)


def plain_config(gguf: Path) -> ModelConfig:
    """The configuration for a user's own model: the defaults of its file."""
    return ModelConfig(gguf.stem, context=4096, budget=2800, max_tokens=1024, sampling={})


class Model(Protocol):
    """The part of the runtime (`xllamacpp.Server`) that is used here."""

    def handle_chat_completions(
        self, request: dict[str, object], emit: Callable[[dict[str, object]], bool]
    ) -> object:
        """Answer a chat. Calls `emit` with each chunk until it returns true."""


_Emit: TypeAlias = Callable[[str | Finish], None]
_Chat: TypeAlias = list[dict[str, str]]


class LlamaEngine:
    """Answers with a model. Create it with `load_model`, which also shuts it down."""

    instructions = _INSTRUCTIONS

    def __init__(self, model: Model, config: ModelConfig, worker: ThreadPoolExecutor) -> None:
        self.model = config.model
        self._model = model
        self._config = config
        self._worker = worker
        self._preparation: Future[None] | None = None

    def on_connect(self) -> CloseConnection | None:
        return None

    def warm_up(self) -> None:
        """Process the common beginning of all prompts in advance."""
        self._prefill(_opening(self._config, _INSTRUCTIONS))

    def _prefill(self, chat: _Chat) -> None:
        # Queued after any pending requests.
        request = {"messages": [*chat, _chat_messages("user", "Hello")], "max_tokens": 1}
        self._worker.submit(self._model.handle_chat_completions, request, lambda _: False)

    def prepare(self, prompt: ModelInput) -> None:
        """Process the prompt in advance, so that the answer starts sooner. If its last message
        becomes longer, the beginning that both prompts share is processed only once."""
        if self._preparation is not None:
            self._preparation.cancel()  # unless it has started
        self._preparation = self._worker.submit(self._process, prompt)

    def _process(self, prompt: ModelInput) -> None:
        turns = recent_turns(_turns(prompt.items), self._config.budget)
        chat = [*_opening(self._config, prompt.instructions), *chain(*turns)]
        if not self._is_too_long(chat):
            with suppress(Exception):  # the answer reports it
                request = {"messages": chat, "max_tokens": 1}
                self._model.handle_chat_completions(request, lambda _: False)

    def _is_too_long(self, chat: _Chat) -> bool:
        """Whether a chat cannot fit in the context. Tokenizing megabytes cannot be interrupted."""
        return sum(len(line["content"]) for line in chat) > self._config.context * _MAX_TOKEN_CHARS

    async def answer(self, prompt: ModelInput) -> Answer:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | Finish] = asyncio.Queue()
        stop = Event()

        def emit(piece: str | Finish) -> None:
            if not stop.is_set():
                post_to(loop, pieces.put_nowait, piece)

        self._worker.submit(self._run, prompt, emit, stop)
        try:
            while True:
                piece = await pieces.get()
                yield piece
                if isinstance(piece, Finish):
                    return
        finally:
            stop.set()

    def _run(self, prompt: ModelInput, emit: _Emit, stop: Event) -> None:
        try:
            emit(self._generate(prompt, emit, stop))
        except Exception as error:  # fails this response, not the worker thread
            emit(failed("server_error", f"The model failed: {error}"))

    def _generate(self, prompt: ModelInput, emit: _Emit, stop: Event) -> Finish:
        if (kind := _not_text(prompt)) is not None:
            return failed(f"{kind}_not_supported", f"{self.model} does not support {kind} input.")
        opening = _opening(self._config, prompt.instructions)
        turns = _turns(prompt.items)
        budget = self._config.budget
        while True:
            included = recent_turns(turns, budget)
            text, finish = self._chat([*opening, *chain(*included)], prompt, emit, stop)
            if finish.code != CONTEXT_EXCEEDED or len(included) <= 1:
                break
            budget //= 2
        if included and text:
            answered = [*included[:-1], [*included[-1], _chat_messages("assistant", text)], []]
            next_included = recent_turns(answered, self._config.budget)[:-1]
            if len(next_included) < len(included):  # reprocess now, while the user is not waiting
                self._prefill([*opening, *chain(*next_included)])
        return finish

    def _chat(
        self, chat: _Chat, prompt: ModelInput, emit: _Emit, stop: Event
    ) -> tuple[str, Finish]:
        if self._is_too_long(chat):
            return "", failed(
                CONTEXT_EXCEEDED,
                f"This model's maximum context length is {self._config.context} tokens.",
            )
        finish = Finish(Status.CANCELLED, "client_cancelled")
        max_spoken = self._config.max_spoken_tokens if prompt.is_spoken else None
        pieces: list[str] = []

        def on_chunk(chunk: dict[str, object]) -> bool:
            nonlocal finish
            text, end = read_chunk(chunk)
            if text:
                emit(text)
                pieces.append(text)
            finish = end or finish
            if max_spoken is None or len(pieces) < max_spoken // 2:
                return stop.is_set()
            if is_enough := _SENTENCE_END.search("".join(pieces[-4:])) is not None:
                finish = Finish(usage=read_usage(chunk))
            return is_enough or stop.is_set()

        limit, default = prompt.max_output_tokens, max_spoken or self._config.max_tokens
        request: dict[str, object] = {
            "messages": chat,
            "stream": True,
            "timings_per_token": True,  # for the usage of responses that are stopped early
            "max_tokens": default if limit is None else min(limit, default),
            **self._config.sampling,
        }
        if not stop.is_set():
            self._model.handle_chat_completions(request, on_chunk)
        return "".join(pieces), finish


# ----------------------------------------------------------------------------------------- prompts


def _chat_messages(role: Literal["system", "user", "assistant"], content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _opening(config: ModelConfig, instructions: str) -> _Chat:
    chat = [_chat_messages("system", instructions)]
    for question, answer in config.examples:
        chat += [_chat_messages("user", question), _chat_messages("assistant", answer)]
    return chat


def _not_text(prompt: ModelInput) -> str | None:
    user_messages = [
        item for item in prompt.items if isinstance(item, Message) and item.role == "user"
    ]
    kinds = [part.kind for item in user_messages[-1:] for part in item.parts if part.kind != "text"]
    return kinds[0] if kinds else None


def _turns(items: Sequence[Item]) -> list[_Chat]:
    """Split the items into turns. Each starts with a user message, except perhaps the first."""
    turns: list[_Chat] = []
    for item in items:
        if not isinstance(item, Message) or not item.text:
            continue
        if item.role == "user" or not turns:
            turns.append([])
        turns[-1].append(_chat_messages(item.role, item.text))
    return turns


def recent_turns(turns: list[_Chat], budget: int) -> list[_Chat]:
    """The most recent turns that fit in `budget` tokens, but always the last one.

    A history over budget is cut to half of it, so that its beginning stays the same for many turns
    (the model caches it). Walking the complete history each time keeps the cut the same as turns
    are added, unless a new turn is itself long.
    """
    included: list[_Chat] = []
    size = 0
    for turn in turns:
        more = _size(turn)
        if size > budget or size + more > budget * 3 // 2:
            while included and size > budget // 2:
                size -= _size(included.pop(0))
        included.append(turn)
        size += more
    return included


def _size(turn: _Chat) -> int:
    # An upper estimate in tokens: English has four characters per token, code and other languages
    # fewer.
    return sum(len(line["content"]) // 3 + 5 for line in turn)


# ----------------------------------------------------------------------------------------- loading


@asynccontextmanager
async def load_model(
    gguf: Path, config: ModelConfig, *, environ: MutableMapping[str, str]
) -> AsyncIterator[LlamaEngine]:
    """Load a model for the duration of the block.

    `environ` must be the environment of the process, because the runtime's threads read it. Raises
    `UsageError` if the runtime is not installed or the file is not a model.
    """
    _check_file(gguf)
    loop = asyncio.get_running_loop()
    with _one_thread() as worker:
        model = await loop.run_in_executor(worker, _load, gguf, config, environ)
        engine = LlamaEngine(model, config, worker)
        engine.warm_up()
        yield engine


@contextmanager
def _one_thread() -> Iterator[ThreadPoolExecutor]:
    worker = ThreadPoolExecutor(1, "rtchat-model")
    try:
        yield worker
    finally:
        # The clients are gone by now, so a running request stops on its own.
        worker.shutdown(cancel_futures=True)


def _check_file(gguf: Path) -> None:
    try:
        with gguf.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise UsageError(
            f"cannot read the model {gguf} ({error.strerror})", hint="check --gguf"
        ) from error
    if magic != _MAGIC:
        raise UsageError(f"{gguf} is not a model", hint="use a GGUF file")


def _load(gguf: Path, config: ModelConfig, environ: MutableMapping[str, str]) -> Model:
    # Must be set before the import: otherwise idle threads of the runtime spin on every core (on a
    # busy machine, 60 tokens per second become 5).
    environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ImportError as error:
        hint = extra_hint("local")
        raise UsageError("the built-in model needs the package xllamacpp", hint=hint) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx = config.context
    params.n_parallel = 1
    params.warmup = False
    params.verbosity = -1
    params.cache_ram_mib = _CACHE_MIB
    params.cpuparams.n_threads = max(1, (os.cpu_count() or 2) - 1)
    # The runtime opens an HTTP port that is not needed here. A random key protects it.
    params.api_keys = [secrets.token_hex(16)]
    params.ui = False
    params.endpoint_slots = False
    try:
        model: Model = xllamacpp.Server(params)
    except RuntimeError as error:
        why = "it may be damaged, or too new for this version of xllamacpp"
        raise UsageError(
            f"cannot load the model {gguf} ({why})", hint="use another file"
        ) from error
    return model
