"""Tools of MCP servers, which run in processes of their own. Two are reference servers."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import subprocess
import sys
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest

from rtchat.core.errors import UsageError
from rtchat.core.values import Tool
from rtchat.tools.mcp import open_servers
from rtchat.tools.toolbox import Toolbox
from tests.program import PATIENCE

if find_spec("mcp") is None:
    pytest.skip("the extra mcp is not installed", allow_module_level=True)

SERVER = '''
    import os, sys
    from mcp.server import MCPServer
    from mcp.types import EmbeddedResource, ImageContent, ResourceLink, TextContent
    from mcp.types import BlobResourceContents, TextResourceContents

    server = MCPServer("test server")

    @server.tool()
    def add(a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    def fail() -> str:
        """Fail."""
        raise ValueError("out of luck")

    @server.tool()
    def die() -> str:
        """End the server."""
        os._exit(3)

    @server.tool()
    async def hang() -> str:
        """Hang."""
        import asyncio
        await asyncio.Event().wait()
        return ""

    @server.tool(name="env.of")
    def env() -> list[str]:
        """The names of its environment."""
        return sorted(os.environ)

    @server.tool(structured_output=False)
    def show() -> list[object]:
        """Show all kinds of content."""
        print("showing", file=sys.stderr, flush=True)
        text = TextResourceContents(uri="note://1", text="a note")
        blob = BlobResourceContents(uri="blob://1", blob="AAAA")
        return [
            TextContent(type="text", text="first"),
            ImageContent(type="image", data="AAA=", mime_type="image/png"),
            EmbeddedResource(type="resource", resource=text),
            EmbeddedResource(type="resource", resource=blob),
            ResourceLink(type="resource_link", name="more", uri="file:///more"),
        ]

    @server.tool()
    def flood() -> str:
        """Say too much."""
        return "x" * 100_000

    server.run()
'''

OLD = """
    import json, sys

    for line in sys.stdin:
        message = json.loads(line)
        match message["method"]:
            case "initialize":
                info = {"name": "old", "version": "1"}
                result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
                result["serverInfo"] = info
            case "tools/list":
                print("some log line on stdout")
                page = int(message.get("params", {}).get("cursor", 0))
                result = {"tools": [{"name": f"page/{page}", "inputSchema": {"type": "object"}}]}
                if page < 2:
                    result["nextCursor"] = str(page + 1)
            case "notifications/initialized":
                continue
            case other:
                sys.exit(f"expected initialize, not {other}")
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


def command(folder: Path, source: str, name: str = "server.py") -> str:
    (folder / name).write_text(dedent(source), encoding="utf-8")
    return shlex.join([sys.executable, str(folder / name)])


def test_the_tools_of_a_server_are_listed_and_called(tmp_path: Path) -> None:
    lines: list[str] = []

    async def run() -> None:
        async with open_servers([command(tmp_path, SERVER)], say=lines.append) as box:
            names = [tool.name for tool in box.tools]
            assert names == ["add", "fail", "die", "hang", "env_of", "show", "flood"]
            assert box.tools[0].description == "Add two numbers."
            properties = box.tools[0].parameters["properties"]
            assert isinstance(properties, dict)
            assert set(properties) == {"a", "b"}
            assert await box.call("add", '{"a": 1, "b": 2}') == "3"
            assert await box.call("show", "") == dedent(
                """\
                first
                [image: image/png, 2 bytes]
                [resource: note://1]
                a note
                [resource: blob://1]
                [resource: more, file:///more]"""
            )
            assert "PATH" in await box.call("env_of", "{}")
            assert "100000 bytes" in (await box.call("flood", "{}")).rpartition("\n")[2]

    asyncio.run(run())
    assert "test_server: showing" in lines


def test_errors_are_the_output(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_servers([command(tmp_path, SERVER)], timeout=PATIENCE) as box:
            assert (await box.call("fail", "{}")).startswith("error: Error executing tool fail")
            assert (await box.call("add", '{"a": "x"}')).startswith("error: ")
            assert (await box.call("add", '{"a": 1')).startswith(
                "error: the arguments are not valid JSON"
            )
            assert (await box.call("add", "[]")).startswith(
                "error: the arguments are not a JSON object"
            )

    asyncio.run(run())


def test_a_call_times_out_and_can_be_cancelled(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_servers([command(tmp_path, SERVER)], timeout=2) as box:
            assert (await box.call("hang", "")).startswith("error: hang timed out after 2 s")
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(box.call("hang", ""))
                await asyncio.sleep(0)
                task.cancel()
            assert task.cancelled()
            assert await box.call("add", '{"a": 1}') == "2"

    asyncio.run(run())


def test_after_a_server_has_exited_the_others_still_work(tmp_path: Path) -> None:
    async def run() -> None:
        one = command(tmp_path, SERVER)
        async with open_servers([one, one], timeout=PATIENCE) as box:
            assert [tool.name for tool in box.tools][0::7] == [
                "test_server__add",
                "test_server_2__add",
            ]
            gone = "error: the MCP server test_server failed"
            assert (await box.call("test_server__die", "")).startswith(gone)
            assert (await box.call("test_server__add", '{"a": 1}')).startswith(gone)
            assert await box.call("test_server_2__add", '{"a": 1}') == "2"

    asyncio.run(run())


def test_a_server_that_exits_at_the_new_protocol_is_restarted_with_the_old_one(
    tmp_path: Path,
) -> None:
    async def run() -> Toolbox:
        async with open_servers([command(tmp_path, OLD)]) as box:
            return box

    schema = {"type": "object", "properties": {}}
    assert asyncio.run(run()).tools == tuple(
        Tool(f"page_{page}", parameters=schema) for page in range(3)
    )


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("no-such-program-here", "did not start (No such file or directory"),
        ("cat", "did not start (Method not found"),
        (
            "sh -c 'echo starting >&2; exec sleep 60'",
            "did not start (no response for 3 s; its last output was starting)",
        ),
        (
            "sh -c 'echo no token >&2; exit 1'",
            "did not start (it exited; its last output was no token)",
        ),
        ("'", "(No closing quotation)"),
        (" ", "the MCP server command is empty"),
    ],
)
def test_a_command_that_does_not_start_a_server_is_rejected(
    tmp_path: Path, server: str, message: str
) -> None:
    async def run() -> None:
        commands = [server, command(tmp_path, SERVER)]
        async with open_servers(commands, start_timeout=3 if "sleep" in server else PATIENCE):
            pytest.fail("the server was started")

    with pytest.raises(UsageError) as caught:
        asyncio.run(run())
    assert message in str(caught.value)


def test_an_error_in_the_block_is_raised_unchanged(tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(open_servers([command(tmp_path, OLD)]))
            raise UsageError("of the block")

    with pytest.raises(UsageError, match=r"^of the block$"):
        asyncio.run(run())


def test_cancelling_ends_the_servers(tmp_path: Path) -> None:
    async def run() -> None:
        ready = asyncio.Event()

        async def hold() -> None:
            async with open_servers([command(tmp_path, OLD)]):
                ready.set()
                await asyncio.Event().wait()

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(hold())
            await ready.wait()
            task.cancel()
        assert task.cancelled()

    asyncio.run(run())


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)

    async def run() -> None:
        async with open_servers(["server"]):
            pytest.fail("the server was started")

    with pytest.raises(UsageError) as caught:
        asyncio.run(run())
    assert "[mcp]" in caught.value.hint


# ------------------------------------------------------------------------------- reference servers


@pytest.fixture(scope="module")
def time_server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference server `time`, from PyPI."""
    folder = tmp_path_factory.mktemp("time")
    package = "mcp-server-time==2026.10.19"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    try:
        subprocess.run(
            [*pip, package, "tzlocal", "tzdata"], check=True, capture_output=True, timeout=60
        )
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"pip cannot install {package}: {error}")
    start = f"import sys; sys.path.append({str(folder)!r}); import mcp_server_time as m; m.main()"
    return shlex.join([sys.executable, "-c", start])


def test_the_reference_server_time(time_server: str) -> None:
    async def run() -> None:
        async with open_servers([time_server]) as box:
            assert [tool.name for tool in box.tools] == ["get_current_time", "convert_time"]
            output = await box.call("get_current_time", '{"timezone": "Asia/Tokyo"}')
            assert json.loads(output)["timezone"] == "Asia/Tokyo"
            asked = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "Etc/UTC"}
            converted = json.loads(await box.call("convert_time", json.dumps(asked)))
            assert converted["time_difference"] == "-9.0h"
            output = await box.call("get_current_time", '{"timezone": "Nowhere"}')
            assert output.startswith("error: ")
            assert "Nowhere" in output

    asyncio.run(run())


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference server `everything`, from npm."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("everything")
    package = "@modelcontextprotocol/server-everything@2026.8.31"
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]
    try:
        subprocess.run([*install, folder, package], check=True, capture_output=True, timeout=120)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"npm cannot install {package}: {error}")
    return shlex.join([node, str(folder / "node_modules" / ".bin" / "mcp-server-everything")])


def test_the_reference_server_everything(everything: str) -> None:
    async def run() -> None:
        async with open_servers([everything]) as box:
            assert await box.call("echo", '{"message": "hi"}') == "Echo: hi"
            assert await box.call("get-sum", '{"a": 2, "b": 3}') == "The sum of 2 and 3 is 5."
            assert "[image: image/png, " in await box.call("get-tiny-image", "{}")
            assert (await box.call("get-sum", '{"a": "x"}')).startswith("error: ")
            secret = await box.call("get-env", "{}")
            assert '"PATH"' in secret
            assert "PYTEST_CURRENT_TEST" not in secret  # it is set here, but not passed on

    asyncio.run(run())
