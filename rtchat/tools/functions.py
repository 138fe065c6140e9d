"""Tools from a Python file: each public function with type hints and a docstring becomes one.

The schema of its arguments and their checking are msgspec's (the extra `tools`). Functions run in
threads, so that they may block, and coroutine functions in the event loop.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import sys
import threading
import traceback
from collections.abc import Callable, Hashable
from contextvars import copy_context
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, NoReturn, get_type_hints

from rtchat.core.errors import UsageError
from rtchat.core.values import JsonObject, Tool, value
from rtchat.system.loop import post_to
from rtchat.tools.toolbox import NAME, THREAD, Handle, Run, Toolbox, cut, failure

if TYPE_CHECKING:
    from msgspec import Struct


def load(path: Path, *, timeout: float = 60.0) -> Toolbox:
    """The public functions that a Python file defines. Raises UsageError naming file and line."""
    try:
        import msgspec  # noqa: F401 # an extra: said before anything is run
    except ImportError as error:
        hint = "pip install 'rtchat[tools]'"
        raise UsageError("tools need the package msgspec", hint=hint) from error
    module = _import(path)
    handles = []
    for name, found in vars(module).items():
        function = inspect.unwrap(found) if callable(found) else None
        if name.startswith("_") or not isinstance(function, FunctionType):
            continue
        if function.__module__ == module.__name__:
            tool, run = _tool(name, found, _Place(path, name, function.__code__.co_firstlineno))
            handles.append(Handle(tool, run, timeout))
    if not handles:
        hint = "it needs functions with type hints and a docstring"
        raise UsageError(f"{path} defines no tool", hint=hint)
    return Toolbox(handles)


@value
class _Place:
    """Where a function stands."""

    path: Path
    name: str
    line: int

    def refuse(self, why: str, cause: Exception | None = None) -> NoReturn:
        hint = "mend it, or start its name with _ if it is no tool"
        raise UsageError(f"{self.path}:{self.line}: {self.name} {why}", hint=hint) from cause


def _import(path: Path) -> ModuleType:
    code = _compile(path)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a file beside it must not stand in for a library
    module = ModuleType(f"rtchat_tools_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look their annotations up
    try:
        exec(code, vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        place = f"{path}:{lines[-1]}" if lines else str(path)
        why = failure(error).removeprefix("error: ")
        raise UsageError(f"{place}: {why}", hint="mend it") from error
    return module


def _compile(path: Path) -> CodeType:
    try:
        tree = ast.parse(path.read_bytes(), str(path))
        _check_names(tree, path)
        return compile(tree, str(path), "exec")
    except OSError as error:
        why = error.strerror or str(error)
        raise UsageError(f"the tools of {path} cannot be read ({why})", hint="check it") from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        raise UsageError(f"{path}{line} is not Python ({why})", hint="mend it") from error


def _check_names(tree: ast.Module, path: Path) -> None:
    """Python keeps the later of two functions of a name in silence."""
    seen: set[str] = set()
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.decorator_list:
            continue
        if node.name in seen and not node.name.startswith("_"):
            _Place(path, node.name, node.lineno).refuse("is defined twice")
        seen.add(node.name)


def _tool(name: str, function: Callable[..., object], place: _Place) -> tuple[Tool, Run]:
    if not NAME.fullmatch(name):
        place.refuse("has a name that the API does not take: 64 ASCII letters, digits, _ and -")
    description = inspect.getdoc(function)
    if not description:
        place.refuse("has no docstring, which tells the model what it is for")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        place.refuse("is a generator: a tool returns one result")
    struct = _arguments(name, function, place)
    return Tool(name, description, _schema(struct, place)), _runner(function, struct)


def _arguments(name: str, function: Callable[..., object], place: _Place) -> type[Struct]:
    """What the parameters of a function are, as a type to decode."""
    import msgspec

    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:
        place.refuse(f"has a type hint that cannot be read ({error})", error)
    fields: list[tuple[str, object, object]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            place.refuse(f"takes *{parameter.name}: the model can only be told of parameters")
        if parameter.name not in hints:
            place.refuse(f"has no type hint for {parameter.name}")
        fields.append((parameter.name, hints[parameter.name], _default(parameter)))
    try:
        return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
    except Exception as error:
        place.refuse(f"has parameters that cannot be read ({error})", error)


def _default(parameter: inspect.Parameter) -> object:
    import msgspec

    default = parameter.default
    if default is parameter.empty:
        return msgspec.NODEFAULT
    if isinstance(default, list | dict | set):
        # A copy for each call, and in the schema where it is empty.
        factory = default.copy if default else type(default)
        return msgspec.field(default_factory=factory)
    return (
        default if isinstance(default, Hashable) else msgspec.field(default_factory=lambda: default)
    )


def _schema(struct: type[Struct], place: _Place) -> JsonObject:
    """The JSON schema of an object, with the types that it names in `$defs`."""
    import msgspec

    try:
        (reference,), named = msgspec.json.schema_components([struct])
        schema = named.pop(reference["$ref"].rpartition("/")[2])
        del schema["title"]
        if named:
            schema["$defs"] = named
        # There and back: defaults may be no JSON yet.
        plain: JsonObject = msgspec.json.decode(msgspec.json.encode(schema))
        msgspec.json.Decoder(struct)
    except Exception as error:
        why = str(error).partition("\n\n")[2] or str(error)  # past the advice to programmers
        place.refuse(f"has a type that JSON cannot hold ({why})", error)
    return plain


# ----------------------------------------------------------------------------------------- one call


def _runner(function: Callable[..., object], struct: type[Struct]) -> Run:
    import msgspec

    decoder = msgspec.json.Decoder(struct)
    is_async = any(map(inspect.iscoroutinefunction, (function, inspect.unwrap(function))))
    parameters = inspect.signature(function).parameters.values()
    by_name = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    by_place = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]

    async def run(arguments: str) -> str:
        try:
            given = decoder.decode(arguments.strip() or "{}")  # some servers send nothing for none
        except msgspec.ValidationError as error:
            return f"error: the arguments do not fit the schema, so nothing was run: {error}"
        except msgspec.DecodeError as error:
            return f"error: the arguments are not whole JSON, so nothing was run: {error}"
        call = partial(
            function,
            *(getattr(given, name) for name in by_place),
            **{name: getattr(given, name) for name in by_name},
        )
        if not is_async:
            return await _in_thread(call)
        result = call()
        return _text(await result if inspect.isawaitable(result) else result)

    return run


def _text(result: object) -> str:
    """A result as the model reads it."""
    import msgspec

    if isinstance(result, str):
        return str.__str__(result)
    try:
        return msgspec.json.encode(result).decode()
    except Exception:  # no JSON: what Python would show
        return repr(result)


async def _in_thread(call: Callable[[], object]) -> str:
    """Run what may block. A thread cannot be stopped, so one whose call was given up is left to
    itself; it is a daemon, for asyncio's own threads would hold the exit of the program."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str] = loop.create_future()

    def settle(output: str) -> None:
        if not done.done():
            done.set_result(output)

    def work() -> None:
        try:
            output = _text(call())
        except BaseException as error:
            output = failure(error)
        post_to(loop, settle, cut(output))

    run = copy_context().run
    threading.Thread(target=run, args=(work,), name=THREAD, daemon=True).start()
    return await done
