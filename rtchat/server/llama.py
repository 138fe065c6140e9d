"""The embedded model: llama.cpp in this process, by way of `xllamacpp`.

The model has one slot, so one thread answers everybody in the order of asking. Prompts only grow at
the end, as the model keeps what it has read: a changed beginning costs seconds of reading again. It
is too small to use tools, which are passed over.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Literal, Protocol, TypeAlias

from rtchat.core.errors import UsageError
from rtchat.core.values import Item, JsonObject, Message, Status, Usage, value
from rtchat.server.engine import Answer, CloseConnection, Finish, ModelInput
from rtchat.system.loop import post_to
from rtchat.wire.fields import Fields

LABEL = "SmolLM2-135M, a tiny model to try the interface, not for facts"

_MAGIC = b"GGUF"
_CACHE_MIB = 128
"""Of what other clients' prompts left behind; the runtime's own limit is 8 GiB."""
_LONGEST_TOKEN = 32
"""In characters; most tokens have four."""
_SENTENCE_END = re.compile(r"[a-z]{3}[.!?]$")
"""Of what is said so far; an abbreviation or the number of a list has none."""
_INSTRUCTIONS = "You are a helpful AI assistant. Answer briefly and clearly."


@value
class ModelConfig:
    """How to use a model. Sizes are tokens, `sampling` is what the runtime is given with a
    question."""

    model: str
    context: int
    """What fits into its memory, the answer included."""
    budget: int
    """The longest history that is worth reading: about 100 tokens a second."""
    longest_answer: int
    sampling: JsonObject
    longest_aloud: int | None = None
    """The same of a spoken one, which from half of that on ends with its sentence. None: no other
    than a written one."""
    examples: tuple[tuple[str, str], ...] = ()
    """Turns that no client sees, before those of the conversation."""


SMOLLM2 = ModelConfig(
    model="smollm2-135m-instruct",
    context=2048,
    budget=800,
    longest_answer=512,
    longest_aloud=120,
    # Found by trial on questions of fact (9 of 14 right without, 13 with). The penalties end loops:
    # of five long answers two ran into the limit without the last three, none with them.
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
    """For a model of the user's own: nothing but its file's own defaults."""
    return ModelConfig(gguf.stem, context=4096, budget=2800, longest_answer=1024, sampling={})


class Model(Protocol):
    """The runtime, as far as it is used here: `xllamacpp.Server`."""

    def handle_chat_completions(
        self, request: dict[str, object], tell: Callable[[dict[str, object]], bool]
    ) -> object:
        """Answer a chat, chunk by chunk, until `tell` returns true."""


_Tell: TypeAlias = Callable[[str | Finish], None]
_Chat: TypeAlias = list[dict[str, str]]


class LlamaEngine:
    """Answers with a model. Use `load_model`, which loads it and puts it away."""

    instructions = _INSTRUCTIONS

    def __init__(self, model: Model, recipe: ModelConfig, worker: ThreadPoolExecutor) -> None:
        self.model = recipe.model
        self._model = model
        self._recipe = recipe
        self._worker = worker

    def greet(self) -> CloseConnection | None:
        return None

    def warm_up(self) -> None:
        """Have it read what every prompt begins with."""
        self._read_ahead(_opening(self._recipe, _INSTRUCTIONS))

    def _read_ahead(self, chat: _Chat) -> None:
        # Behind whatever is queued already.
        request = {"messages": [*chat, _chat_messages("user", "Hello")], "max_tokens": 1}
        self._worker.submit(self._model.handle_chat_completions, request, lambda _: False)

    async def answer(self, prompt: ModelInput) -> Answer:
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | Finish] = asyncio.Queue()
        stop = Event()

        def tell(piece: str | Finish) -> None:
            if not stop.is_set():
                post_to(loop, pieces.put_nowait, piece)

        self._worker.submit(self._run, prompt, tell, stop)
        try:
            while True:
                piece = await pieces.get()
                yield piece
                if isinstance(piece, Finish):
                    return
        finally:
            stop.set()

    def _run(self, prompt: ModelInput, tell: _Tell, stop: Event) -> None:
        try:
            tell(self._ask(prompt, tell, stop))
        except Exception as error:  # the end of this reply, not of the thread that answers all
            tell(_failed("server_error", f"The model failed: {error}"))

    def _ask(self, prompt: ModelInput, tell: _Tell, stop: Event) -> Finish:
        if (missing := _not_text(prompt)) is not None:
            return _failed(f"{missing}_not_supported", f"{self.model} reads text, no {missing}.")
        opening = _opening(self._recipe, prompt.instructions)
        turns = _turns(prompt.items)
        budget = self._recipe.budget
        while True:
            kept = recent(turns, budget)
            said, finish = self._chat([*opening, *chain(*kept)], prompt, tell, stop)
            if finish.code != _TOO_LONG or len(kept) <= 1:
                break
            budget //= 2
        if kept and said:
            answered = [*kept[:-1], [*kept[-1], _chat_messages("assistant", said)], []]
            left = recent(answered, self._recipe.budget)[:-1]
            if len(left) < len(kept):  # better now than when the user waits
                self._read_ahead([*opening, *chain(*left)])
        return finish

    def _chat(
        self, chat: _Chat, prompt: ModelInput, tell: _Tell, stop: Event
    ) -> tuple[str, Finish]:
        room = self._recipe.context
        if sum(len(line["content"]) for line in chat) > room * _LONGEST_TOKEN:
            # Refuse it now: splitting megabytes into tokens cannot be interrupted.
            return "", _failed(
                _TOO_LONG, f"This is too long for the model, which has room for {room} tokens."
            )
        finish = Finish(Status.CANCELLED, "client_cancelled")
        aloud = self._recipe.longest_aloud if prompt.is_spoken else None
        pieces: list[str] = []

        def take(chunk: dict[str, object]) -> bool:
            nonlocal finish
            text, end = read_chunk(chunk)
            if text:
                tell(text)
                pieces.append(text)
            finish = end or finish
            if aloud is None or len(pieces) < aloud // 2:
                return stop.is_set()
            if is_enough := _SENTENCE_END.search("".join(pieces[-4:])) is not None:
                finish = Finish(usage=_usage(Fields(chunk, []).fields("timings")))
            return is_enough or stop.is_set()

        most, longest = prompt.max_output_tokens, aloud or self._recipe.longest_answer
        request: dict[str, object] = {
            "messages": chat,
            "stream": True,
            "timings_per_token": True,  # so that a reply stopped here has its usage, too
            "max_tokens": longest if most is None else min(most, longest),
            **self._recipe.sampling,
        }
        if not stop.is_set():
            self._model.handle_chat_completions(request, take)
        return "".join(pieces), finish


_TOO_LONG = "context_length_exceeded"


def read_chunk(chunk: Mapping[str, object]) -> tuple[str, Finish | None]:
    """What a chunk of the runtime says: the next text, and the end if it is the last."""
    fields = Fields(chunk, [])
    if "error" in chunk:
        return "", _read_error(fields.fields("error"))
    for choice in fields.list("choices"):
        text = choice.fields("delta").text("content")
        match choice.text("finish_reason"):
            case "":
                return text, None
            case "length":
                usage = _usage(fields.fields("timings"))
                return text, Finish(Status.INCOMPLETE, "max_output_tokens", usage=usage)
            case _:
                return text, Finish(usage=_usage(fields.fields("timings")))
    return "", None


def _read_error(error: Fields) -> Finish:
    if error.text("type") != "exceed_context_size_error":
        return _failed("server_error", f"The model: {error.text('message')}")
    asked, room = error.integer("n_prompt_tokens"), error.integer("n_ctx")
    message = f"This is too long for the model: {asked} tokens, and it has room for {room}."
    return _failed(_TOO_LONG, message)


def _failed(code: str, message: str) -> Finish:
    return Finish(Status.FAILED, code=code, message=message)


def _usage(timings: Fields) -> Usage | None:
    if not timings.data:
        return None
    cached, output = timings.integer("cache_n"), timings.integer("predicted_n")
    heard = cached + timings.integer("prompt_n")
    return Usage(heard, cached, output, heard + output)


# ------------------------------------------------------------------------------------------ prompts


def _chat_messages(role: Literal["system", "user", "assistant"], content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _opening(recipe: ModelConfig, instructions: str) -> _Chat:
    chat = [_chat_messages("system", instructions)]
    for question, answer in recipe.examples:
        chat += [_chat_messages("user", question), _chat_messages("assistant", answer)]
    return chat


def _not_text(prompt: ModelInput) -> str | None:
    asked = [item for item in prompt.items if isinstance(item, Message) and item.role == "user"]
    kinds = [part.kind for item in asked[-1:] for part in item.parts if part.kind != "text"]
    return kinds[0] if kinds else None


def _turns(items: tuple[Item, ...]) -> list[_Chat]:
    """The items as chats that each begin with a question, but for the first."""
    turns: list[_Chat] = []
    for item in items:
        if not isinstance(item, Message) or not item.text:
            continue
        if item.role == "user" or not turns:
            turns.append([])
        turns[-1].append(_chat_messages(item.role, item.text))
    return turns


def recent(turns: list[_Chat], budget: int) -> list[_Chat]:
    """The last turns that fit, and the last one however long it is.

    What is over budget is cut to half of it, so that the beginning then stays the same for many
    turns; and the whole history is walked each time, so that the same one is always cut the same,
    whatever comes next, unless that is long itself.
    """
    kept: list[_Chat] = []
    size = 0
    for turn in turns:
        more = _size(turn)
        if size > budget or size + more > budget * 3 // 2:
            while kept and size > budget // 2:
                size -= _size(kept.pop(0))
        kept.append(turn)
        size += more
    return kept


def _size(turn: _Chat) -> int:
    # Tokens, on the safe side: English has four characters to one, code and other languages less.
    return sum(len(line["content"]) // 3 + 5 for line in turn)


# ------------------------------------------------------------------------------------------ loading


@asynccontextmanager
async def load_model(
    gguf: Path, recipe: ModelConfig, *, environ: MutableMapping[str, str]
) -> AsyncIterator[LlamaEngine]:
    """A model that is loaded while the block runs.

    `environ` is the process's own: the runtime's threads read it. Raises `UsageError` if the
    runtime is not installed or the file is no model.
    """
    _check_file(gguf)
    loop = asyncio.get_running_loop()
    with _one_thread() as worker:
        model = await loop.run_in_executor(worker, _load, gguf, recipe, environ)
        engine = LlamaEngine(model, recipe, worker)
        engine.warm_up()
        yield engine


@contextmanager
def _one_thread() -> Iterator[ThreadPoolExecutor]:
    worker = ThreadPoolExecutor(1, "rtchat-model")
    try:
        yield worker
    finally:
        # Whoever was being answered has gone by now, and what they asked stops by itself.
        worker.shutdown(cancel_futures=True)


def _check_file(gguf: Path) -> None:
    try:
        with gguf.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise UsageError(f"cannot read the model {gguf}", hint=error.strerror or "") from error
    if magic != _MAGIC:
        raise UsageError(f"{gguf} is no model", hint="it must be a GGUF file")


def _load(gguf: Path, recipe: ModelConfig, environ: MutableMapping[str, str]) -> Model:
    # Before the import: idle threads of the runtime would spin on every core (60 tokens a second
    # become 5 on a busy machine).
    environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ImportError as error:
        hint = "pip install 'rtchat[local]'"
        raise UsageError("the embedded model needs xllamacpp", hint=hint) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx = recipe.context
    params.n_parallel = 1
    params.warmup = False
    params.verbosity = -1
    params.cache_ram_mib = _CACHE_MIB
    params.cpuparams.n_threads = max(1, (os.cpu_count() or 2) - 1)
    # It opens an HTTP port of its own that nothing here needs: locked with a key that nobody has.
    params.api_keys = [secrets.token_hex(16)]
    params.ui = False
    params.endpoint_slots = False
    try:
        model: Model = xllamacpp.Server(params)
    except RuntimeError as error:
        hint = "the file is damaged, or of a kind that this xllamacpp does not know"
        raise UsageError(f"cannot load the model {gguf}", hint=hint) from error
    return model
