"""Tools from a Python file: each public function with type hints and a docstring is one.

msgspec (the extra `tools`) generates the schema of the arguments and validates them. Functions run
in threads, so they may block. Coroutine functions run in the event loop.
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
from rtchat.system.installation import extra_hint
from rtchat.system.loop import post_to
from rtchat.tools.toolbox import (
    NAME,
    THREAD_NAME,
    Handle,
    Run,
    Toolbox,
    format_error,
    truncate,
)

if TYPE_CHECKING:
    from msgspec import Struct


def load(path: Path, *, timeout: float = 60.0) -> Toolbox:
    """Load the public functions of a Python file; each call may take `timeout` seconds. Raises
    UsageError with the file and line of an invalid one."""
    try:
        import msgspec  # noqa: F401 # an extra: check that it is installed before running the file
    except ImportError as error:
        raise UsageError("tools need the package msgspec", hint=extra_hint("tools")) from error
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
        hint = "define functions with type hints and a docstring"
        raise UsageError(f"{path} defines no tools", hint=hint)
    return Toolbox(handles)


@value
class _Place:
    """The position of a function in a file."""

    path: Path
    name: str
    line: int

    def reject(self, why: str, cause: Exception | None = None) -> NoReturn:
        hint = "correct it, or start its name with _ if it is not a tool"
        raise UsageError(f"{self.path}:{self.line}: {self.name} {why}", hint=hint) from cause


def _import(path: Path) -> ModuleType:
    code = _compile(path)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a file in its folder must not shadow a library
    module = ModuleType(f"rtchat_tools_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look up their annotations there
    try:
        exec(code, vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        place = f"{path}:{lines[-1]}" if lines else str(path)
        why = format_error(error).removeprefix("error: ")
        raise UsageError(f"{place}: {why}", hint="correct the error in this file") from error
    return module


def _compile(path: Path) -> CodeType:
    try:
        tree = ast.parse(path.read_bytes(), str(path))
        _check_names(tree, path)
        return compile(tree, str(path), "exec")
    except OSError as error:
        why = error.strerror or str(error)
        hint = "check --tools and the file's permissions"
        raise UsageError(f"{path} cannot be read ({why})", hint=hint) from error
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        hint = "correct the syntax error"
        raise UsageError(f"{path}{line} is not valid Python ({why})", hint=hint) from error


def _check_names(tree: ast.Module, path: Path) -> None:
    """Reject a public function that is defined twice: Python would silently keep the second."""
    seen: set[str] = set()
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.decorator_list:
            continue
        if node.name in seen and not node.name.startswith("_"):
            _Place(path, node.name, node.lineno).reject("is defined twice")
        seen.add(node.name)


def _tool(name: str, function: Callable[..., object], place: _Place) -> tuple[Tool, Run]:
    if not NAME.fullmatch(name):
        place.reject("has an invalid name (the API allows 1 to 64 ASCII letters, digits, _ and -)")
    description = inspect.getdoc(function)
    if not description:
        place.reject("has no docstring (the model needs one as a description)")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        place.reject("is a generator (a tool must return one result)")
    struct = _arguments(name, function, place)
    return Tool(name, description, _schema(struct, place)), _runner(function, struct)


def _arguments(name: str, function: Callable[..., object], place: _Place) -> type[Struct]:
    """A struct type with the function's parameters as its fields."""
    import msgspec

    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:
        place.reject(f"has a type hint that cannot be read ({error})", error)
    fields: list[tuple[str, object, object]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            place.reject(f"takes *{parameter.name} (a tool needs named parameters)")
        if parameter.name not in hints:
            place.reject(f"has no type hint for {parameter.name}")
        fields.append((parameter.name, hints[parameter.name], _default(parameter)))
    try:
        return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
    except Exception as error:
        place.reject(f"has parameters that cannot be read ({error})", error)


def _default(parameter: inspect.Parameter) -> object:
    import msgspec

    default = parameter.default
    if default is parameter.empty:
        return msgspec.NODEFAULT
    if isinstance(default, list | dict | set):
        # Copied for each call. An empty one is also shown in the schema.
        factory = default.copy if default else type(default)
        return msgspec.field(default_factory=factory)
    return (
        default if isinstance(default, Hashable) else msgspec.field(default_factory=lambda: default)
    )


def _schema(struct: type[Struct], place: _Place) -> JsonObject:
    """The JSON schema of a struct, with the types that it refers to in `$defs`."""
    import msgspec

    try:
        (reference,), named = msgspec.json.schema_components([struct])
        schema = named.pop(reference["$ref"].rpartition("/")[2])
        del schema["title"]
        if named:
            schema["$defs"] = named
        # Encoded and decoded, because defaults may not be JSON values yet.
        plain: JsonObject = msgspec.json.decode(msgspec.json.encode(schema))
        msgspec.json.Decoder(struct)
    except Exception as error:
        why = str(error).partition("\n\n")[2] or str(error)  # without msgspec's advice
        place.reject(f"has a type that JSON cannot represent ({why})", error)
    return plain


# -------------------------------------------------------------------------------------------- calls


def _runner(function: Callable[..., object], struct: type[Struct]) -> Run:
    import msgspec

    decoder = msgspec.json.Decoder(struct)
    is_async = any(map(inspect.iscoroutinefunction, (function, inspect.unwrap(function))))
    parameters = inspect.signature(function).parameters.values()
    keyword_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]

    async def run(arguments: str) -> str:
        try:
            # Some servers send "" for no arguments.
            given = decoder.decode(arguments.strip() or "{}")
        except msgspec.ValidationError as error:
            return f"error: the arguments do not match the schema; the tool was not run: {error}"
        except msgspec.DecodeError as error:
            return f"error: the arguments are not valid JSON; the tool was not run: {error}"
        call = partial(
            function,
            *(getattr(given, name) for name in positional),
            **{name: getattr(given, name) for name in keyword_only},
        )
        if not is_async:
            return await _in_thread(call)
        result = call()
        return _text(await result if inspect.isawaitable(result) else result)

    return run


def _text(result: object) -> str:
    """A result as text for the model."""
    import msgspec

    if isinstance(result, str):
        return str.__str__(result)
    try:
        return msgspec.json.encode(result).decode()
    except Exception:  # not representable as JSON
        return repr(result)


async def _in_thread(call: Callable[[], object]) -> str:
    """Run a function that may block. A thread cannot be stopped: after a cancelled call it runs on.
    It is a daemon, because asyncio's own threads would block the exit of the program."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str] = loop.create_future()

    def settle(output: str) -> None:
        if not done.done():
            done.set_result(output)

    def work() -> None:
        try:
            output = _text(call())
        except BaseException as error:
            output = format_error(error)
        post_to(loop, settle, truncate(output))

    run = copy_context().run
    threading.Thread(target=run, args=(work,), name=THREAD_NAME, daemon=True).start()
    return await done
