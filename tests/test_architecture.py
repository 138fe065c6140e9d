"""How the parts hang together, read from the source: layers, purity, and who knows what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

_ROOT = Path(__file__).parents[1] / "rtchat"

_MAY_IMPORT = {
    "core": "",
    "wire": "core",
    "system": "core",
    "markdown": "core",
    "audio": "core system",
    "inputs": "core system",
    "tools": "core wire system",
    "client": "core wire system",
    "api": "core wire system client",
    "server": "core wire system audio",
    "config": "core wire system client markdown",
    "trace": "core wire system",
    "history": "core wire system markdown",
    "ui": "core wire system markdown history",
    "app": "core wire system client server config trace history ui audio inputs tools markdown",
    "cli": "core wire system client server config audio app",
}
"""The layers: each folder, and the folders that it may import."""
_PURE = ("core", "wire")
"""Folders without I/O, clock or randomness."""
_PURE_MODULES = (
    *("ui.messages", "ui.approval", "ui.suggestions", "ui.mentions"),
    *("ui.slash_commands", "ui.slash_arguments", "ui.slash_help"),
    *("ui.key_codes", "ui.key_decoder", "ui.terminal_kind", "ui.background"),
    *("markdown.dialect", "markdown.splitter", "markdown.theme", "markdown.limits"),
    *("markdown.inline_rule", "markdown.table_rule", "markdown.line_ends", "markdown.list_items"),
    *("history.schema", "history.transcript"),
    *("trace.value_codec", "trace.media", "trace.diff", "trace.replay", "trace.wire_only"),
    *("markdown.math", "markdown.latex", "markdown.symbols"),
)
"""Modules of other folders that are pure, too."""
_AT_THE_TOP = {"__main__", "_version"}
"""The modules that lie beside the folders."""
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


def _is_ours(full: str) -> bool:
    return full.partition(".")[0] == "rtchat"


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_MODULES[name].read_text(encoding="utf-8"))


@cache
def _nodes(tree: ast.AST) -> list[ast.AST]:
    """Everything in a tree."""
    return list(ast.walk(tree))


def _imports(tree: ast.AST) -> Iterator[str]:
    """The full names of what is imported anywhere in a tree."""
    for node in _nodes(tree):
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


def _folder(name: str) -> str:
    return name.partition(".")[0]


_NAMES = sorted(set(_MODULES) - {""})


def test_the_folders_are_those_of_the_table() -> None:
    assert {_folder(name) for name in _NAMES} - _AT_THE_TOP == set(_MAY_IMPORT)
    for place in _ROOT.glob("*.py"):
        assert place.stem in {"__init__", *_AT_THE_TOP}


def test_a_module_imports_only_what_its_folder_may_import() -> None:
    for name in set(_NAMES) - _AT_THE_TOP:
        allowed = {_folder(name), *_MAY_IMPORT[_folder(name)].split(), "_version"}
        assert {other for other in _ours(name) if _folder(other) not in allowed} == set(), name


def test_no_folder_and_no_module_is_imported_in_a_circle() -> None:
    folders = {folder: set(below.split()) for folder, below in _MAY_IMPORT.items()}
    assert set(TopologicalSorter(folders).static_order()) == set(folders)
    order = list(TopologicalSorter({name: _ours(name) for name in _NAMES}).static_order())
    assert set(order) == set(_NAMES)


def test_no_private_name_is_used_outside_its_module() -> None:
    for name in _NAMES:
        tree = _tree(name)
        ours = {full.rpartition(".")[2] for full in _imports(tree) if _is_ours(full)}
        assert {each for each in ours if _is_private(each)} == set(), name
        used = {tuple(dotted.split(".")) for dotted in _dotted(tree)}
        assert {(a, b) for a, b in used if a in ours and _is_private(b)} == set(), name


def test_the_package_imports_nothing_of_its_own_at_the_start() -> None:
    body = [node for node in _tree("").body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [node.module for node in body if isinstance(node, ast.ImportFrom)] == ["rtchat._version"]
    assert len(body) == 1


def test_a_pure_module_does_no_input_or_output() -> None:
    for name in _NAMES:
        if _folder(name) in _PURE or name in _PURE_MODULES:
            _check_pure(name)


def _check_pure(name: str) -> None:
    assert _foreign(_tree(name)) & _WORLD == set()
    calls = {
        node.func.id
        for node in _nodes(_tree(name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert calls & {"open", "print", "input"} == set()


# --------------------------------------------------------------------------------------- who knows


def _docstrings(tree: ast.Module) -> set[ast.Constant]:
    """Every string that is a statement by itself: docstrings, also those of fields."""
    return {
        node.value
        for node in _nodes(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


_WIRE_NAME = re.compile(
    r"(^|[\s'\"`])(response|session|conversation|input_audio_buffer|output_audio_buffer|rate_limits)"
    r"\.(item\.)?[a-z_]*"
    r"(create|update|cancel|append|commit|clear|delete|retrieve|truncate|delta|done|added|output)"
)
_SAID = {"core.connection": {"session.created", "answer to session.update"}}
"""Words to the user: what the server was waited for to say."""


def test_the_names_on_the_wire_stand_in_wire() -> None:
    for name in _NAMES:
        if _folder(name) != "wire":
            assert _wire_names(name) == [], name


def _wire_names(name: str) -> list[str]:
    tree = _tree(name)
    docstrings = _docstrings(tree)
    strings = [
        node.value
        for node in _nodes(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node not in docstrings
    ]
    said = _SAID.get(name, set())
    return [text for text in strings if _WIRE_NAME.search(text) and text not in said]


def test_the_messages_of_the_core_stand_in_one_place() -> None:
    for name in _NAMES:
        if _folder(name) == "core" and name != "core.notices":
            assert list(_worded_notices(_tree(name))) == [], name


def _worded_notices(tree: ast.AST) -> Iterator[int]:
    """The lines in which a notice is made from a text that stands there."""
    calls = (node for node in _nodes(tree) if isinstance(node, ast.Call))
    for call in calls:
        texts = [each for each in call.args[1:] if isinstance(each, ast.Constant | ast.JoinedStr)]
        if texts and ast.unparse(call.func) in ("notice", "fx.Notice"):
            yield call.lineno


_OF_SOCKETS = ("client.transport", "client.failures", "client.http_request")


def test_sockets_are_used_in_few_places() -> None:
    for name in _NAMES:
        if name not in _OF_SOCKETS and _folder(name) != "server":
            assert "websockets" not in _foreign(_tree(name)), name


def test_a_dotenv_is_read_in_one_place() -> None:
    for name in _NAMES:
        if name != "config.sources":
            assert "dotenv" not in _foreign(_tree(name)), name


def test_only_the_screen_and_markdown_draw() -> None:
    for name in _NAMES:
        if _folder(name) in ("ui", "markdown"):
            continue
        found = _foreign(_tree(name)) & _SCREEN
        assert found <= ({"rich"} if name == "app.frontend" else set()), name
        top = ast.Module([node for node in _tree(name).body if not _is_deferred(node)], [])
        assert _foreign(top) & _SCREEN == set(), name


def _is_deferred(node: ast.stmt) -> bool:
    """A function, or what only a type checker reads."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _dotted(tree: ast.AST) -> set[str]:
    """Every `name.attribute` in a tree."""
    return {
        f"{node.value.id}.{node.attr}"
        for node in _nodes(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


def _attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in _nodes(tree) if isinstance(node, ast.Attribute)}


def test_the_environment_is_read_where_a_caller_gives_it() -> None:
    forbidden = {"os.environ", "os.getenv", "os.environb", "sys.argv", "os.isatty"}
    for name in _NAMES:
        if _folder(name) in ("cli", "__main__") or name == "api.connection":
            continue
        assert (_dotted(_tree(name)) | set(_imports(_tree(name)))) & forbidden == set(), name
        assert _attributes(_tree(name)) & {"isatty"} == set(), name


def test_no_task_is_loose() -> None:
    loose = {"asyncio.create_task", "asyncio.ensure_future"}
    for name in _NAMES:
        assert (_dotted(_tree(name)) | set(_imports(_tree(name)))) & loose == set(), name


def test_a_module_says_what_it_is_for() -> None:
    for name in _NAMES:
        assert ast.get_docstring(_tree(name)), name
