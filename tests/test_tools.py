"""Tools from a Python file: which functions become tools, and the output of calls."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rtchat.core.errors import UsageError
from rtchat.core.values import Tool
from rtchat.tools.functions import load
from rtchat.tools.toolbox import MAX_OUTPUT, Handle, Toolbox, combine, printing_to
from tests.program import words_of

pytest.importorskip("msgspec", reason="the extra tools is not installed")


def tools(folder: Path, source: str, *, timeout: float = 20) -> Toolbox:
    path = folder / "tools.py"
    path.write_text(dedent(source), encoding="utf-8")
    return load(path, timeout=timeout)


def call(box: Toolbox, name: str, arguments: str = "") -> str:
    return asyncio.run(box.call(name, arguments))


def refusal(folder: Path, source: str) -> str:
    with pytest.raises(UsageError) as caught:
        tools(folder, source)
    return words_of(caught.value).replace(f"{folder}/", "")


# -------------------------------------------------------------------------------------- definitions

WEATHER = '''
    from __future__ import annotations
    from dataclasses import asdict, dataclass
    from enum import Enum
    from os.path import join
    from typing import Annotated, Literal
    import math
    from msgspec import Meta

    class Unit(Enum):
        """Of temperature."""
        C = "celsius"
        F = "fahrenheit"

    @dataclass
    class Place:
        city: str
        country: str = "FR"

    def weather(
        places: list[Place],
        unit: Unit = Unit.C,
        detail: Literal["short", "long"] | None = None,
        days: Annotated[int, Meta(ge=1, description="How many.")] = 1,
        *,
        where: Place = Place("Lyon"),
        tags: list[str] = [],
        limit: float = math.inf,
    ) -> dict[str, object]:
        """The weather.

        For some days.
        """
        found = [asdict(place) for place in places]
        return {"places": found, "unit": unit, "days": days, "where": where, "tags": tags}

    async def now() -> str:
        """The time."""
        return "noon"

    def _private(): ...
'''


def test_public_functions_become_tools_with_the_schema_of_their_arguments(tmp_path: Path) -> None:
    parameters = {
        "type": "object",
        "properties": {
            "places": {"type": "array", "items": {"$ref": "#/$defs/Place"}},
            "unit": {"$ref": "#/$defs/Unit", "default": "celsius"},
            "detail": {"anyOf": [{"enum": ["long", "short"]}, {"type": "null"}], "default": None},
            "days": {"type": "integer", "minimum": 1, "description": "How many.", "default": 1},
            "where": {"$ref": "#/$defs/Place"},
            "tags": {"type": "array", "items": {"type": "string"}, "default": []},
            "limit": {"type": "number", "default": None},
        },
        "required": ["places"],
        "additionalProperties": False,
        "$defs": {
            "Place": {
                "title": "Place",
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "country": {"type": "string", "default": "FR"},
                },
                "required": ["city"],
            },
            "Unit": {
                "title": "Unit",
                "description": "Of temperature.",
                "enum": ["celsius", "fahrenheit"],
            },
        },
    }
    nothing = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    found = tools(tmp_path, WEATHER).tools
    assert json.loads(json.dumps([found[0].parameters, found[1].parameters])) == [
        parameters,
        nothing,
    ]
    assert [(tool.name, tool.description) for tool in found] == [
        ("weather", "The weather.\n\nFor some days."),
        ("now", "The time."),
    ]


def test_arguments_are_converted_to_the_hinted_types(tmp_path: Path) -> None:
    box = tools(tmp_path, WEATHER)
    output = call(box, "weather", '{"places": [{"city": "Nice"}], "unit": "fahrenheit", "days": 2}')
    assert json.loads(output) == {
        "places": [{"city": "Nice", "country": "FR"}],
        "unit": "fahrenheit",
        "days": 2,
        "where": {"city": "Lyon", "country": "FR"},
        "tags": [],
    }
    assert call(box, "now") == "noon"


def test_a_mutable_default_is_copied_for_each_call(tmp_path: Path) -> None:
    box = tools(
        tmp_path,
        '''
        def add(to: list[int] = [1], also: list[int] = []) -> list[int]:
            """Add."""
            to.append(2)
            also.append(3)
            return to + also
        ''',
    )
    assert [call(box, "add"), call(box, "add")] == ["[1,2,3]", "[1,2,3]"]


def test_a_decorated_function_is_a_tool(tmp_path: Path) -> None:
    box = tools(
        tmp_path,
        '''
        from functools import lru_cache, wraps

        def _shout(function):
            @wraps(function)
            def louder(*args, **kwargs):
                return function(*args, **kwargs)
            return louder

        @lru_cache
        def double(number: int, /) -> int:
            """Double it."""
            return number * 2

        @_shout
        async def greet(name: str) -> str:
            """Greet."""
            return f"hello {name}"
        ''',
    )
    assert call(box, "double", '{"number": 4}') == "8"
    assert call(box, "greet", '{"name": "you"}') == "hello you"


def test_a_file_can_import_modules_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_the_tools.py").write_text("ANSWER = 42\n", encoding="utf-8")
    box = tools(
        tmp_path,
        '''
        from beside_the_tools import ANSWER

        def answer() -> int:
            """The answer."""
            return ANSWER
        ''',
    )
    assert call(box, "answer") == "42"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(a): 'Doc.'", "tools.py:1: f has no type hint for a"),
        ("\ndef f(a: int): pass", "tools.py:2: f has no docstring"),
        ("def f(*a: int): 'Doc.'", "tools.py:1: f takes *a"),
        ("def f(**a: int): 'Doc.'", "tools.py:1: f takes *a"),
        (
            "def f(a: complex): 'Doc.'",
            "f has a type that JSON cannot represent (type <class 'complex'>",
        ),
        (
            "def f(a: list[int] | set[int]): 'Doc.'",
            "f has a type that JSON cannot represent (Type unions",
        ),
        ("def f(a: 'Nowhere'): 'Doc.'", "hint that cannot be read (name 'Nowhere' is not defined)"),
        ("def f(): 'Doc.'\ndef f(): 'Doc.'", "tools.py:2: f is defined twice"),
        ("def f():\n    'Doc.'\n    yield 1", "tools.py:1: f is a generator"),
        ("def größe(): 'Doc.'", "tools.py:1: größe has an invalid name"),
        (f"def f{'f' * 64}(): 'Doc.'", "has an invalid name"),
        ("from os.path import join\nclass A: 'Doc.'\n_f = 1", "tools.py defines no tools"),
        ("def f(:", "tools.py:1 is not valid Python"),
        ("\n\nimport nowhere_at_all", "tools.py:3: ModuleNotFoundError: No module named"),
        ("def _f():\n    raise OSError\n_f()", "tools.py:2: OSError"),
        ("raise SystemExit(3)", "tools.py:1: SystemExit: 3"),
        ("\0", "is not valid Python"),
    ],
)
def test_an_invalid_tool_is_rejected_with_file_and_line(
    tmp_path: Path, source: str, message: str
) -> None:
    assert message in refusal(tmp_path, source)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.py cannot be read \(No such file or directory"):
        load(tmp_path / "nowhere.py")


# -------------------------------------------------------------------------------------------- calls

CALLS = '''
    import asyncio
    import sys
    from typing import Any

    def add(a: int, b: int = 1) -> int:
        """Add."""
        return a + b

    def fail(how: str) -> str:
        """Fail."""
        class Odd(Exception):
            def __str__(self) -> str:
                raise RuntimeError
        raise {"value": ValueError("no such thing"), "exit": SystemExit(2), "bare": KeyError,
               "stop": StopIteration(), "odd": Odd(), "key": KeyboardInterrupt(),
               "base": BaseException("b")}[how]

    async def fail_later(how: str) -> str:
        """Fail."""
        await asyncio.sleep(0)
        if how == "cancel":
            raise asyncio.CancelledError
        if how == "exit":
            sys.exit("now")
        raise ValueError("later")

    def give(what: str) -> Any:
        """Give."""
        return eval(what)
'''


@pytest.mark.parametrize(
    ("name", "arguments", "output"),
    [
        ("add", '{"a": 1}', "2"),
        ("add", '{"a": 1, "b": ', "error: the arguments are not valid JSON"),
        ("add", "", "error: the arguments do not match the schema"),
        ("add", "", "Object missing required field `a`"),
        ("add", '{"a": "1"}', "Expected `int`, got `str` - at `$.a`"),
        ("add", '{"a": 1, "c": 1}', "Object contains unknown field `c`"),
        ("add", "[1]", "Expected `object`, got `array`"),
        ("fail", '{"how": "value"}', "error: ValueError: no such thing"),
        ("fail", '{"how": "exit"}', "error: SystemExit: 2"),
        ("fail", '{"how": "bare"}', "error: KeyError"),
        ("fail", '{"how": "stop"}', "error: StopIteration"),
        ("fail", '{"how": "odd"}', "error: Odd"),
        ("fail", '{"how": "key"}', "error: KeyboardInterrupt"),
        ("fail", '{"how": "base"}', "error: BaseException: b"),
        ("fail_later", '{"how": "value"}', "error: ValueError: later"),
        ("fail_later", '{"how": "exit"}', "error: SystemExit: now"),
        ("fail_later", '{"how": "cancel"}', "error: CancelledError"),
        ("give", '{"what": "None"}', "null"),
        ("give", '{"what": "\'text\'"}', "text"),
        ("give", '{"what": "[1, {2: (3,)}]"}', '[1,{"2":[3]}]'),
        ("give", '{"what": "2 ** 70"}', str(2**70)),
        ("give", '{"what": "1j"}', "1j"),
        ("give", '{"what": "chr(0xd800)"}', "?"),
        (
            "nothing",
            "{}",
            "error: unknown tool nothing; available tools: add, fail, fail_later, give",
        ),
    ],
)
def test_the_output_of_calls(tmp_path: Path, name: str, arguments: str, output: str) -> None:
    assert output in call(tools(tmp_path, CALLS), name, arguments)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_a_call_never_raises(arguments: str) -> None:
    assert isinstance(call(_adding(), "add", arguments), str)


@given(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))
def test_valid_arguments_are_passed_to_the_function(a: int, b: int) -> None:
    assert call(_adding(), "add", json.dumps({"a": a, "b": b})) == str(a + b)


def _adding(made: list[Toolbox] = []) -> Toolbox:  # noqa: B006 # made once for all examples
    if not made:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            made.append(tools(Path(folder), CALLS))
    return made[0]


@given(st.text(alphabet="aé€😀", min_size=1, max_size=9), st.integers(1, 5000), st.text(max_size=3))
@example("a", MAX_OUTPUT, "")
@example("a", MAX_OUTPUT, "a")
def test_a_long_output_is_truncated_between_characters(piece: str, times: int, end: str) -> None:
    text = piece * times + end

    async def run(arguments: str) -> str:
        return text

    output = call(Toolbox([Handle(Tool("say"), run, 5)]), "say")
    size = len(text.encode())
    if size <= MAX_OUTPUT:
        assert output == text
        return
    beginning, _, note = output.rpartition("\n")
    assert text.startswith(beginning)
    assert note.startswith("[truncated")
    assert f"{size} bytes" in note
    assert MAX_OUTPUT - 4 < len(output.encode()) <= MAX_OUTPUT


# ------------------------------------------------------------------------------ time-outs, threads

SLOW = '''
    import asyncio, threading, time

    entered, over = threading.Event(), threading.Event()
    cancelled = []

    def hang() -> None:
        """Hang."""
        entered.set()
        over.wait()

    async def wait() -> None:
        """Wait."""
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    def was_cancelled() -> bool:
        """Whether `wait` was cancelled."""
        return bool(cancelled)

    both = threading.Barrier(2, timeout=20)

    def meet() -> str:
        """Meet."""
        both.wait()
        return "met"
'''


@pytest.mark.parametrize("name", ["hang", "wait"])
def test_a_tool_that_takes_too_long_is_stopped(tmp_path: Path, name: str) -> None:
    box = tools(tmp_path, SLOW, timeout=0.05)
    assert call(box, name).startswith(f"error: {name} timed out after 0.05 s")
    sys.modules["rtchat_tools_tools"].over.set()


@pytest.mark.parametrize("name", ["hang", "wait"])
def test_a_call_can_be_cancelled(tmp_path: Path, name: str) -> None:
    box = tools(tmp_path, SLOW)
    entered: threading.Event = sys.modules["rtchat_tools_tools"].entered

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(box.call(name, ""))
            await asyncio.to_thread(entered.wait, 20)
            task.cancel()
        assert task.cancelled()
        assert await box.call("was_cancelled", "") == json.dumps(name == "wait")

    asyncio.run(run())
    sys.modules["rtchat_tools_tools"].over.set()


def test_calls_run_concurrently(tmp_path: Path) -> None:
    box = tools(tmp_path, SLOW)

    async def run() -> list[str]:
        return list(await asyncio.gather(box.call("meet", ""), box.call("meet", "")))

    assert asyncio.run(run()) == ["met", "met"]


@pytest.mark.parametrize(
    "statement", ["threading.Event().wait()", "[print('x') for _ in iter(int, 1)]"]
)
def test_a_tool_that_hangs_does_not_block_the_exit(tmp_path: Path, statement: str) -> None:
    (tmp_path / "hang.py").write_text(
        f"import threading\ndef hang() -> None:\n    'Hang.'\n    {statement}\n", encoding="utf-8"
    )
    program = dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from rtchat.tools.functions import load
        from rtchat.tools.toolbox import printing_to

        async def run():
            with printing_to(lambda line: None):
                output = await load(Path(sys.argv[1]), timeout=0.2).call("hang", "")
            print(output, flush=True)

        asyncio.run(run())
        """
    )
    command = [sys.executable, "-c", program, str(tmp_path / "hang.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.startswith("error: hang timed out after 0.2 s")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_tools_print_is_passed_on_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = '''
        import logging, sys, threading

        print("loading")
        log = logging.getLogger("speak")
        log.addHandler(logging.StreamHandler())
        log.propagate = False

        def speak() -> str:
            """Speak."""
            print("one\\ntwo", end="")
            print(" more", flush=True)
            log.warning("logged")
            other = threading.Thread(target=print, args=("from a thread",))
            other.start()
            other.join()
            sys.stderr.write("no line end")
            return "done"

        async def murmur() -> str:
            """Murmur."""
            print("murmured\\r50%\\r\\n" + "x" * 2001)
            return "done"
        '''
    printed: list[str] = []

    async def run() -> None:
        with printing_to(printed.append):
            box = tools(tmp_path, source)
            assert await box.call("speak", "") == "done"
            assert await box.call("murmur", "") == "done"

    asyncio.run(run())
    assert printed[:5] == ["loading", "one", "two more", "logged", "from a thread"]
    assert printed[5:] == ["no line endmurmured", "50%", "x" * 2000, "x"]
    assert capsys.readouterr() == ("", "")


# -------------------------------------------------------------------------------- several toolboxes


def box(*names: str, server: str = "") -> Toolbox:
    async def run(arguments: str) -> str:
        return f"{server}: {arguments}"

    return Toolbox(Handle(Tool(name), run, 5, server) for name in names)


def test_where_names_clash_tools_are_prefixed_with_their_server() -> None:
    joined = combine(
        box("find", "read", "b__find"),
        box("find", "look", server="a"),
        box("find", "list", server="b"),
        box("list" * 16, server="b"),
        box("list" * 16, server="b"),
    )
    long = f"b__{'list' * 16}"
    names = [tool.name for tool in joined.tools]
    assert names == [
        *("find", "read", "b__find", "a__find", "look", "b__find_2", "list"),
        *(long[:64], f"{long[:60]}_2"),
    ]
    assert call(joined, "b__find_2", "1") == "b: 1"
    assert call(joined, "find", "1") == ": 1"


def test_two_functions_of_the_same_name_are_rejected() -> None:
    with pytest.raises(UsageError, match="two tools are named find"):
        combine(box("read", "find"), box("find"))


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    assert "[tools]" in refusal(tmp_path, "def f(): 'Doc.'")
