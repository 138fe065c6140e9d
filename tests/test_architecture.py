"""How the parts hang together, read from the source: layers, purity, and who knows what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1] / "rtchat"

_LAYERS = (
    ("errors", "values", "events", "effects"),
    (
        *("wire", "conversation", "minutes", "reply", "round", "problems", "commands"),
        *("account", "attachments", "patience", "wishes", "speech", "transcription", "turn"),
        *("rows", "transcript"),
        *("dotted", "prices", "folders", "redaction"),
        *("ui.markdown", "ui.grammar", "ui.safe"),
    ),
    ("worker",),
    (
        *("endpoint", "transport", "session", "settings", "config", "parsing", "keys", "piped"),
        *("sources", "destination"),
        *("trace", "rerun", "ledger", "probe", "blocking", "output"),
        *("store", "export", "tools", "toolfile", "mcp", "attach", "images"),
        *("history_writer",),
        "sound",
    ),
    ("ui", "server"),
    (
        *("run", "voice", "transcribe", "views", "serve", "history", "replay", "doctor", "cli"),
        "__main__",
    ),
)
"""Modules, or packages with all that is in them, from what knows least to what knows most."""
_SEES = ({0}, {0, 1}, {2}, {0, 1, 2, 3}, {0, 1, 2, 4}, {0, 1, 2, 3, 4, 5})
"""Of each layer, those that it may import."""
_STRANGERS = {
    "wire": {"conversation", "reply", "problems", "commands", "ui"},
    "conversation": {"wire", "ui"},
    "ui": {"server"},
    "server": {"ui", "conversation", "reply", "problems", "commands"},
}
"""Those that do not know each other though their layers would let them."""

_ON_DISK = {"folders"}
"""The one module below the shells that touches the disk: what keeps files needs it."""
_PURE = (*_LAYERS[0], *(set(_LAYERS[1]) - _ON_DISK), "ui.words", "ui.theme", "ui.question")
_WORLD = {
    *("asyncio", "time", "random", "secrets", "datetime", "threading", "signal", "subprocess"),
    *("os", "pathlib", "io", "shutil", "tempfile", "sys", "socket", "ssl", "websockets"),
}
_SCREEN = {"rich", "prompt_toolkit", "markdown_it", "pygments"}


def _modules() -> dict[str, Path]:
    """Each module by its name inside the package; a package by that of its folder."""
    paths = {path.relative_to(_ROOT).with_suffix(""): path for path in _ROOT.rglob("*.py")}
    names = {".".join(place.parts): path for place, path in paths.items()}
    return {name.removesuffix("__init__").rstrip("."): path for name, path in names.items()}


_MODULES = _modules()


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_MODULES[name].read_text(encoding="utf-8"))


def _imports(tree: ast.AST) -> Iterator[str]:
    """The full names of what is imported anywhere in a tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _ours(name: str) -> set[str]:
    """The modules of this package that one imports."""
    found = set()
    for full in _imports(_tree(name)):
        top, _, inner = full.partition(".")
        if top == "rtchat":
            found.add(inner if inner in _MODULES else inner.rpartition(".")[0])
    return found - {""}


def _foreign(tree: ast.AST) -> set[str]:
    return {full.partition(".")[0] for full in _imports(tree)}


def _home(name: str) -> str:
    """The entry of the layers that a module belongs to: itself, or its package."""
    entries = {entry for layer in _LAYERS for entry in layer}
    return name if name in entries else name.partition(".")[0]


def _layer(name: str) -> int:
    return next(number for number, layer in enumerate(_LAYERS) if _home(name) in layer)


_NAMES = sorted(set(_MODULES) - {""})


def test_every_module_has_its_layer_and_every_layer_its_modules() -> None:
    entries = [entry for layer in _LAYERS for entry in layer]
    assert {_home(name) for name in _NAMES} == set(entries)
    assert len(entries) == len(set(entries))


@pytest.mark.parametrize("name", _NAMES)
def test_a_module_imports_only_what_its_layer_may_see(name: str) -> None:
    seen = _SEES[_layer(name)]
    assert {other for other in _ours(name) if _layer(other) not in seen} == set()
    strangers = _STRANGERS.get(_home(name), set())
    assert {other for other in _ours(name) if _home(other) in strangers} == set()


def test_nothing_imports_itself_in_a_circle() -> None:
    order = list(TopologicalSorter({name: _ours(name) for name in _NAMES}).static_order())
    assert set(order) == set(_NAMES)


def test_the_package_imports_nothing_of_its_own_at_the_start() -> None:
    body = [node for node in _tree("").body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert body == []


@pytest.mark.parametrize("name", [name for name in _NAMES if _home(name) in _PURE or name in _PURE])
def test_a_pure_module_knows_nothing_of_the_world(name: str) -> None:
    assert _foreign(_tree(name)) & _WORLD == set()
    calls = {
        node.func.id
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert calls & {"open", "print", "input"} == set()


# --------------------------------------------------------------------------------------- who knows


def _docstrings(tree: ast.Module) -> set[ast.Constant]:
    """Every string that is a statement by itself: docstrings, also those of fields."""
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


_WIRE_NAME = re.compile(
    r"(^|[\s'\"`])(response|session|conversation|input_audio_buffer|output_audio_buffer|rate_limits)"
    r"\.(item\.)?[a-z_]*"
    r"(create|update|cancel|append|commit|clear|delete|retrieve|truncate|delta|done|added|output)"
)
_SAID = {"conversation": {"session.created", "answer to session.update"}}
"""Words to the user: what the server was waited for to say."""


@pytest.mark.parametrize("name", [name for name in _NAMES if _home(name) != "wire"])
def test_the_names_on_the_wire_stand_in_wire(name: str) -> None:
    tree = _tree(name)
    strings = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node not in _docstrings(tree)
    ]
    said = _SAID.get(name, set())
    assert [text for text in strings if _WIRE_NAME.search(text) and text not in said] == []


@pytest.mark.parametrize("name", _NAMES)
def test_sockets_are_the_business_of_two(name: str) -> None:
    if name != "transport" and _home(name) != "server":
        assert "websockets" not in _foreign(_tree(name))


@pytest.mark.parametrize("name", _NAMES)
def test_a_dotenv_is_read_in_one_place(name: str) -> None:
    if name != "sources":
        assert "dotenv" not in _foreign(_tree(name))


@pytest.mark.parametrize("name", _NAMES)
def test_only_the_ui_draws(name: str) -> None:
    if _home(name).partition(".")[0] == "ui":
        return
    found = _foreign(_tree(name)) & _SCREEN
    assert found <= ({"rich"} if name == "views" else set())
    top = ast.Module([node for node in _tree(name).body if not _is_deferred(node)], [])
    assert _foreign(top) & _SCREEN == set()


def _is_deferred(node: ast.stmt) -> bool:
    """A function, or what only a type checker reads."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _dotted(tree: ast.AST) -> set[str]:
    """Every `name.attribute` in a tree."""
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


def _attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("name", _NAMES)
def test_the_surroundings_are_read_in_one_place(name: str) -> None:
    if _home(name) in ("cli", "__main__"):
        return
    forbidden = {"os.environ", "os.getenv", "os.environb", "sys.argv", "os.isatty"}
    assert _dotted(_tree(name)) & forbidden == set()
    assert _attributes(_tree(name)) & {"isatty"} == set()
    imported = set(_imports(_tree(name)))
    assert imported & {"os.environ", "os.getenv", "sys.argv", "os.isatty"} == set()


@pytest.mark.parametrize("name", _NAMES)
def test_no_task_is_loose(name: str) -> None:
    loose = {"asyncio.create_task", "asyncio.ensure_future"}
    assert (_dotted(_tree(name)) | set(_imports(_tree(name)))) & loose == set()


@pytest.mark.parametrize("name", _NAMES)
def test_a_module_says_what_it_is_for(name: str) -> None:
    docstring = ast.get_docstring(_tree(name))
    if name in ("ui",):
        return
    assert docstring
