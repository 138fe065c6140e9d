"""Every part of a library that rtchat uses although the library does not document it.

Each test names such a part and says what it is used for. A failure here with a new version of a
library means that the part has moved: change its user, or raise the version in `pyproject.toml`.
"""

from __future__ import annotations

import asyncio
import inspect
from importlib import import_module
from io import BytesIO, StringIO
from typing import Any

import pytest
import typer
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from prompt_toolkit.application import Application, create_app_session
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Point
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.layout import FormattedTextControl, Layout, Window
from prompt_toolkit.layout.mouse_handlers import MouseHandlers
from prompt_toolkit.layout.screen import Screen, WritePosition
from prompt_toolkit.output import DummyOutput, Output
from prompt_toolkit.renderer import Renderer
from prompt_toolkit.styles import Style
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.protocol import Protocol

from rtchat.ui.entry_renderer import EntryRenderer


def _parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


# -------------------------------------------------------------------------------------------- typer


@pytest.mark.parametrize("arguments", [[], ["--no-such"], ["x", "y"], ["x", "--number", "y"]])
def test_the_base_of_typers_usage_errors(arguments: list[str]) -> None:
    """`rtchat.cli` catches them by the class that `BadParameter` inherits from."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.command()
    def command(name: str, number: int = 0) -> None:
        """Take two arguments."""

    base = typer.BadParameter.__mro__[1]
    with pytest.raises(base) as caught:
        app(arguments, standalone_mode=False)
    assert getattr(caught.value, "format_message")()  # noqa: B009 # the base has no public name


# ----------------------------------------------------------------------------------- prompt_toolkit


def test_what_is_replaced_and_called_of_a_renderer() -> None:
    """`rtchat.ui.entry_renderer` draws in place of it, and asks for the position of the cursor only
    at a tool question."""
    names = ("render", "erase", "clear", "reset", "report_absolute_cursor_row")
    for name in (*names, "request_absolute_cursor_position", "height_is_known"):
        assert name in vars(Renderer), name
        assert name in vars(EntryRenderer) or name == "reset", name
    for name in ("render", "erase", "report_absolute_cursor_row"):
        ours = _parameters(getattr(EntryRenderer, name))
        assert _parameters(getattr(Renderer, name)) == ours, name
    renderer = Renderer(Style([]), DummyOutput())
    modes = ("_bracketed_paste_enabled", "_last_cursor_shape")
    for name in (*modes, "_last_screen", "_last_size", "mouse_handlers"):
        assert hasattr(renderer, name), name
    assert DummyOutput().responds_to_cpr is False
    assert callable(Output.ask_for_cpr)


def test_what_is_read_and_called_of_an_application() -> None:
    """`rtchat.ui.prompt` replaces the renderer, and tells Esc from Alt and old keys from new."""

    async def main() -> None:
        with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
            app = Application[None]()
            assert isinstance(app.renderer, Renderer)
            assert len(app.key_processor.input_queue) == 0
            app.key_processor.before_key_press += lambda _: None
            assert app.ttimeoutlen > 0
            store_typeahead(keys, [KeyPress("x", "x")])
            assert get_typeahead(keys) == [KeyPress("x", "x")]

    asyncio.run(main())


def test_the_screen_that_a_layout_is_drawn_on() -> None:
    """`rtchat.ui.entry_renderer` reads its cells and its cursor."""
    layout, screen = Layout(Window(FormattedTextControl("漢 x"))), Screen()
    position = WritePosition(xpos=0, ypos=0, width=8, height=1)
    layout.container.write_to_screen(
        screen, MouseHandlers(), position, "", erase_bg=False, z_index=None
    )
    screen.draw_all_floats()
    row = screen.data_buffer[0]
    assert [row[x].char for x in range(4)] == ["漢", "", " ", "x"]
    assert screen.visible_windows == [layout.current_window]
    assert screen.get_cursor_position(layout.current_window) == Point(0, 0)


def test_the_editor_of_a_buffer() -> None:
    """`rtchat.ui.prompt` holds output until the task ends that it returns."""
    assert inspect.signature(Buffer.open_in_editor).return_annotation == "asyncio.Task[None]"


# --------------------------------------------------------------------------------------- websockets


def test_the_hook_that_follows_redirects() -> None:
    """`rtchat.client.transport` overrides it, so that no key goes to another host."""
    asked: list[Exception] = []

    class Connect(connect):
        def process_redirect(self, exc: Exception) -> Exception | str:
            asked.append(exc)
            return exc

    def redirect(connection: ServerConnection, _: Request) -> Response:
        response = connection.respond(302, "")
        response.headers["Location"] = "/elsewhere"
        return response

    async def main() -> None:
        async with serve(
            ServerConnection.wait_closed, "127.0.0.1", 0, process_request=redirect
        ) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(Exception, match="302"):
                await Connect(f"ws://127.0.0.1:{port}")

    asyncio.run(main())
    assert len(asked) == 1


def test_what_a_connection_to_a_client_overrides_and_calls() -> None:
    """`rtchat.server.handshake` reads a little at a time, and ends what sends too many pings."""
    overridden = ("connection_made", "connection_lost", "process_event", "resume_writing")
    called = ("data_received", "send_data", "ping")
    for name in (*overridden, *called):
        assert callable(getattr(ServerConnection, name)), name
    assert _parameters(Protocol.fail)[:3] == ["self", "code", "reason"]
    assert "create_connection" in _parameters(serve)


def test_what_is_passed_on_of_a_request_that_is_no_handshake() -> None:
    """`rtchat.server.request_body` takes away the body, with which a request would be dropped."""
    asked: list[tuple[str, str]] = []

    def answer(connection: ServerConnection, request: Request) -> Response:
        asked.append((request.method, request.path))
        return connection.respond(200, "yes")

    async def response(port: int, length: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /x HTTP/1.1\r\n" + length + b"\r\n")
        data = await reader.read()
        writer.close()
        return data

    async def main() -> None:
        async with serve(
            ServerConnection.wait_closed, "127.0.0.1", 0, process_request=answer
        ) as server:
            port = server.sockets[0].getsockname()[1]
            assert (await response(port, b"")).endswith(b"\r\n\r\nyes")
            assert await response(port, b"Content-Length: 2\r\n") == b""

    asyncio.run(main())
    assert asked == [("POST", "/x")]


def test_the_transport_of_a_connection() -> None:
    """Both sides abort it where the other does not answer a close."""

    async def main() -> None:
        async with serve(ServerConnection.wait_closed, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}") as connection:
                assert not connection.transport.is_closing()
                connection.transport.abort()
                await connection.wait_closed()
                assert connection.transport.is_closing()

    asyncio.run(main())


# ------------------------------------------------------------------------------------- markdown-it


_RULES = ("blockquote", "heading", "lheading", "list_block", "paragraph", "reference", "table")


@pytest.mark.parametrize("name", _RULES)
def test_a_block_rule_that_is_wrapped(name: str) -> None:
    """`rtchat.markdown.dialect` calls the parser's own rules within limits of its own."""
    rule = getattr(import_module("markdown_it.rules_block"), name)
    assert [each.strip("_") for each in _parameters(rule)] == [
        "state",
        "startLine",
        "endLine",
        "silent",
    ]


def test_the_rules_that_are_replaced() -> None:
    """`rtchat.markdown.dialect` replaces them by name."""
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    rules = markdown.get_all_rules()
    assert {"table", "blockquote", "list", "reference", "heading", "lheading", "paragraph"} <= set(
        rules["block"]
    )
    assert {"normalize", "inline"} <= set(rules["core"])
    assert markdown.block.ruler.getRules("blockquote")


def test_the_state_of_a_block_rule() -> None:
    """`rtchat.markdown.dialect` reads lines of it and moves its ends."""
    state = StateBlock("a\nb\n", MarkdownIt(), {}, [])
    lines = (state.bMarks, state.eMarks, state.tShift, state.sCount)
    assert [len(each) for each in lines] == [3, 3, 3, 3]
    assert (state.lineMax, state.line, state.level, state.blkIndent) == (2, 0, 0, 0)
    assert state.parentType == "root"
    assert not state.is_code_block(0)


def test_the_cells_of_a_row() -> None:
    """`rtchat.markdown.dialect` reads rows of tables itself."""
    table = import_module("markdown_it.rules_block.table")
    assert table.escapedSplit(r"|a|b\|c|") == ["", "a", "b|c", ""]


# ------------------------------------------------------------------------------------------- others


def test_the_loop_of_an_extended_lexer_runs_any_lexer_of_rules() -> None:
    """`rtchat.markdown.highlight` goes on in the state in which the code before ended."""
    lexer = import_module("pygments.lexer")
    python = import_module("pygments.lexers").get_lexer_by_name("python")
    context = lexer.LexerContext('"""a\n', 0, ["root"])
    run = lexer.ExtendedRegexLexer.get_tokens_unprocessed
    assert "".join(text for _, _, text in run(python, context=context)) == '"""a\n'
    assert len(context.stack) > 1


def test_the_stream_that_the_mcp_client_reads() -> None:
    """`rtchat.tools.mcp` puts one in its place that limits messages."""
    stdio = import_module("mcp.client.stdio")
    assert stdio.TextReceiveStream is import_module("anyio.streams.text").TextReceiveStream
    assert "TextReceiveStream(" in inspect.getsource(stdio.stdio_client)


def test_soundfile_asks_the_object_whether_it_is_seekable() -> None:
    """`rtchat.audio.files` says no: seeking after each read changes how an MP3 goes on."""
    soundfile = import_module("soundfile")
    wav = BytesIO()
    soundfile.write(wav, [0.0] * 100, 24_000, format="WAV")
    with soundfile.SoundFile(BytesIO(wav.getvalue())) as sound:
        asked: list[str] = []

        def is_seekable() -> bool:
            asked.append("seekable")
            return False

        sound.seekable = is_seekable
        sound.read(10)
    assert asked


def test_the_parser_of_dotenv() -> None:
    """`rtchat.config.sources` fills in variables itself: not from the environment."""
    parser, variables = import_module("dotenv.parser"), import_module("dotenv.variables")
    (binding,) = parser.parse_stream(StringIO("A=b${C:-d}\n"))
    assert (binding.key, binding.value, binding.error) == ("A", "b${C:-d}", False)
    literal, variable = variables.parse_variables(binding.value)
    assert (literal.resolve({}), variable.name, variable.default) == ("b", "C", "d")
