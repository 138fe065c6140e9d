"""What Tab offers at the prompt."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.completion import CompleteEvent, Completion
from prompt_toolkit.document import Document

from rtchat.app.candidates import ChatCandidates
from rtchat.app.environment import Environment
from rtchat.client.endpoint import Endpoint, models_endpoint
from rtchat.config.resolve import resolve
from rtchat.core.conversation import Conversation
from rtchat.core.events import Attached
from rtchat.core.models import MODELS
from rtchat.core.values import (
    Entry,
    Message,
    Options,
    Part,
    State,
    StoredConversation,
)
from rtchat.history.store import FILE, Store
from rtchat.inputs.attachments import mentioned
from rtchat.server.script import EchoEngine
from rtchat.server.sockets import run_server
from rtchat.ui.candidates import Candidate
from rtchat.ui.completion import CommandCompleter
from rtchat.ui.mentions import mentions
from rtchat.ui.slash_commands import TABLE, ArgumentKind
from rtchat.wire.http_bodies import read_models
from tests.faulty import http, tcp
from tests.program import Program, background
from tests.terminal import PROMPT, Terminal

KEY = "sk-0123456789abcdef"


def offered(line: str) -> list[Completion]:
    return list(CommandCompleter().get_completions(Document(line), CompleteEvent()))


def completed(line: str) -> list[str]:
    """The lines that completion makes of a line."""
    return [_apply(line, completion) for completion in offered(line)]


def _apply(line: str, completion: Completion) -> str:
    return line[: len(line) + completion.start_position] + completion.text


# --------------------------------------------------------------------------------- names and words


def test_a_slash_offers_every_command_with_its_meaning() -> None:
    found = {completion.display_text: completion.display_meta_text for completion in offered("/")}
    assert found == {f"/{row.name}": row.help for row in TABLE}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/us", ["/usage"]),
        ("/mo", ["/model "]),
        ("/cl", ["/clear"]),
        ("/qu", ["/quit"]),
        ("/zz", []),
        ("/usage ", []),
        ("/help mod", ["/help model"]),
        ("/help copy", ["/help copy"]),
        ("/set audio.output.sp", ["/set audio.output.speed "]),
        ("/set reasoning.effort min", ["/set reasoning.effort minimal"]),
        ("/set reasoning.effort=min", ["/set reasoning.effort=minimal"]),
        ("/set parallel_tool_calls ", ["/set parallel_tool_calls " + v for v in ("true", "false")]),
        ("/set audio.output.voice mar", ["/set audio.output.voice marin"]),
        ("/set nonsense x", []),
        ("/set response.instr", ["/set response.instructions "]),
        ("/nonsense x", []),
        ("us", []),
        ("say /us", []),
        (" /us", []),
        ("", []),
    ],
)
def test_commands_and_what_their_arguments_can_be(line: str, expected: list[str]) -> None:
    assert completed(line) == expected


def test_an_option_is_found_by_any_part_of_its_name_and_has_a_meaning() -> None:
    found = completed("/set voice")
    assert found[:2] == ["/set audio.output.voice ", "/set audio.output.voice.id "]
    assert all(completion.display_meta_text for completion in offered("/set "))
    assert {"/set model ", "/set instructions "} & {*completed("/set ")} == set()


# ------------------------------------------------------------------------------------------- files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


NAMES = ["a.txt", "b c.txt", "d'e.txt", 'f"g.txt', "h(i).txt", "j\\k.txt", "l.", "m,n.txt"]


def test_a_file_that_a_question_mentions(folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "x y.py").touch()
    (folder / "notes.txt").touch()
    (folder / ".hidden").touch()
    assert completed("what is in @no") == ["what is in @notes.txt"]
    assert completed('what is in @"no') == ['what is in @"notes.txt"']
    assert completed("what is in (@~/no") == ["what is in (@~/notes.txt"]
    assert completed("@s") == ["@src/"]
    assert completed("@src/") == ['@"src/x y.py"']
    assert completed('@"src/x') == ['@"src/x y.py"']
    assert completed("/home/x fails, see @no") == ["/home/x fails, see @notes.txt"]
    assert completed("@.h") == ["@.hidden"]
    assert completed("@") == ["@notes.txt", "@src/"]
    assert completed("me@no") == []
    assert completed("@no/such/") == []


@pytest.mark.parametrize("name", NAMES)
def test_a_completed_mention_names_the_file(name: str, folder: Path) -> None:
    (folder / name).touch()
    (line,) = completed(f"see @{name[0]}")
    assert mentioned(mentions(line)) == (str(folder / name),)
    assert mentioned(mentions(f"{line}, please")) == (str(folder / name),)


@pytest.mark.parametrize("command", ["/attach ", "/attach --detail low ", "/system @"])
def test_a_command_that_takes_a_file(command: str, folder: Path) -> None:
    (folder / "my photo.png").touch()
    assert completed(f"{command}my") == [f"{command}my photo.png"]
    assert completed(f"{command}./") == [f"{command}./my photo.png"]


def test_a_name_that_could_control_the_terminal_is_not_offered(folder: Path) -> None:
    for name in ("a\x1b]0;b", "a\nb", "a\u202eb", "a b"):
        (folder / name).touch()
    assert completed("/attach ") == ["/attach a b"]


# --------------------------------------------------------------------------------- other candidates


class Known:
    """Candidates that are known."""

    def __init__(self, *candidates: Candidate) -> None:
        self._candidates = candidates
        self.asked: list[ArgumentKind] = []

    async def find(self, kind: ArgumentKind) -> AsyncIterator[Candidate]:
        self.asked.append(kind)
        for candidate in self._candidates:
            yield candidate


async def _found(completer: CommandCompleter, line: str) -> list[Completion]:
    found = completer.get_completions_async(Document(line), CompleteEvent())
    return [completion async for completion in found]


def found(line: str, *candidates: Candidate) -> list[Completion]:
    return asyncio.run(_found(CommandCompleter(Known(*candidates)), line))


def test_candidates_contain_what_is_typed() -> None:
    candidates = [Candidate("12", "The tides"), Candidate("3", "A poem 1"), Candidate("12")]
    assert [_apply("/resume 1", each) for each in found("/resume 1", *candidates)] == [
        "/resume 12",
        "/resume 3",
    ]
    (poem,) = found("/resume pOE", *candidates)
    assert (_apply("/resume pOE", poem), poem.display_meta_text) == ("/resume 3", "A poem 1")
    assert len(found("/resume ", *candidates)) == 2


@given(st.text(), st.text())
def test_no_candidate_can_control_the_terminal(text: str, meaning: str) -> None:
    for completion in found("/model ", Candidate(text, f"{meaning}\x1b[2J\n\u202e")):
        assert completion.text == text
        shown = completion.text + completion.display_meta_text
        assert not set("\x1b\n\r\x07\x9b\u202e") & set(shown)
        assert len(shown) < 400


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("/model ", ["model"]),
        ("/resume 1", ["conversation"]),
        ("/copy ", ["block"]),
        ("/detach ", ["attachment"]),
        ("/mod", []),
        ("hello @a", []),
    ],
)
def test_only_the_kind_that_is_completed_is_asked_for(line: str, asked: list[str]) -> None:
    known = Known()
    asyncio.run(_found(CommandCompleter(known), line))
    assert known.asked == asked


# -------------------------------------------------------------------- what a conversation can offer


def environment(folder: Path) -> Environment:
    return Environment(None, io.StringIO(), None, folder, folder, folder, {})


def candidates_of(folder: Path, *, key: str = KEY, **options: object) -> ChatCandidates:
    environ = {"OPENAI_API_KEY": key} if key else {}
    return ChatCandidates(resolve(options, environ), environment(folder))


async def _all(candidates: ChatCandidates, kind: ArgumentKind) -> list[Candidate]:
    return [candidate async for candidate in candidates.find(kind)]


def all_of(candidates: ChatCandidates, kind: ArgumentKind) -> list[Candidate]:
    return asyncio.run(_all(candidates, kind))


def texts(candidates: ChatCandidates, kind: ArgumentKind) -> list[str]:
    return [candidate.text for candidate in all_of(candidates, kind)]


def save(folder: Path, title: str, model: str) -> None:
    with closing(Store(folder / FILE)) as store:
        store.record(Entry(1, 0, Message("user", (Part("text", title),)), State.ASKED, model=model))


def test_saved_conversations_and_their_models(tmp_path: Path) -> None:
    save(tmp_path, "The tides", "m")
    save(tmp_path, "A poem", "n")
    candidates = candidates_of(tmp_path, url="wss://h/other", model="m")
    poem, tides = all_of(candidates, "conversation")
    assert (poem.text, tides.text) == ("2", "1")
    assert poem.help.startswith("A poem · ")
    assert texts(candidates, "model") == ["m", "n"]


@pytest.mark.parametrize("damage", [b"", b"x" * 10_000, None])
def test_a_history_that_cannot_be_read_offers_nothing(tmp_path: Path, damage: bytes | None) -> None:
    if damage is not None:
        (tmp_path / FILE).write_bytes(damage)
    candidates = candidates_of(tmp_path, url="wss://h/other", model="m")
    assert all_of(candidates, "conversation") == []
    assert texts(candidates, "model") == ["m"]
    assert damage is not None or not (tmp_path / FILE).exists()


def test_without_a_history_it_is_not_read(tmp_path: Path) -> None:
    save(tmp_path, "The tides", "m")
    assert all_of(candidates_of(tmp_path, history=False), "conversation") == []


def test_files_and_code_blocks_of_the_conversation(tmp_path: Path) -> None:
    candidates = candidates_of(tmp_path)
    assert all_of(candidates, "block") == all_of(candidates, "attachment") == []
    reply = Message("assistant", (Part("text", "So:\n```py\n\nx = 1\ny = 2\n```\n\n    z\n"),))
    entry = Entry(1, 1, reply, State.COMPLETED)
    stored = StoredConversation(1, "t", 0, 0, "m", 1, (entry,))
    conversation = Conversation("m", Options(modality="text"), stored=stored)
    candidates.conversation = conversation
    assert all_of(candidates, "block") == [Candidate("1", "x = 1"), Candidate("2", "z")]
    conversation.handle(Attached("a.txt (2 B)", Part("text", "a")))
    assert all_of(candidates, "attachment") == [Candidate("1", "a.txt (2 B)")]


def test_templates_and_short_names_of_models(tmp_path: Path) -> None:
    (tmp_path / "review.toml").write_text('text = ""', encoding="utf-8")
    settings = resolve({"url": "wss://h/other", "model": "m"}, {"OPENAI_API_KEY": KEY})
    settings = replace(settings, aliases={"mini": "m-mini"})
    candidates = ChatCandidates(settings, environment(tmp_path))
    assert texts(candidates, "template") == ["review"]
    assert all_of(candidates, "model")[1:] == [Candidate("mini", "m-mini")]


def test_the_models_of_the_api_are_offered_without_asking(tmp_path: Path) -> None:
    candidates = candidates_of(tmp_path, url="wss://api.openai.com/other", model="mine")
    assert texts(candidates, "model") == ["mine", *MODELS]


def test_the_built_in_model_is_the_only_one(tmp_path: Path) -> None:
    save(tmp_path, "The tides", "m")
    assert len(texts(candidates_of(tmp_path, local=True), "model")) == 1


def test_the_server_s_models(tmp_path: Path) -> None:
    with background(lambda: run_server(EchoEngine())) as url:
        candidates = candidates_of(tmp_path, url=url, model="mine")
        assert texts(candidates, "model") == ["mine", "echo"]


def listing(*names: object) -> bytes:
    return http("200 OK", json.dumps({"data": [{"id": name} for name in names]}).encode())


def test_models_for_this_api_come_first_and_the_server_is_asked_once(tmp_path: Path) -> None:
    with background(lambda: tcp(listing("tts", "gpt-realtime-9", f"x-{KEY}", 5, None))) as port:
        candidates = candidates_of(tmp_path, url=f"ws://{port.address}/v1/realtime", model="m")
        for _ in range(2):
            assert texts(candidates, "model") == ["m", "gpt-realtime-9", "tts"]
    (head,) = port.heads
    request = head.decode()
    assert request.startswith("GET /v1/models HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}\r\n" in request
    assert "Upgrade" not in request
    assert "Content-Length" not in request


@pytest.mark.parametrize(
    "response",
    [
        http("404 Not Found"),
        http("401 Unauthorized", b'{"error": {"message": "no"}}'),
        http("302 Found", b"", "Location: http://127.0.0.1:1/v1/models"),
        http("200 OK", b"<html>"),
        http("200 OK", b"[]"),
        http("200 OK", b" " * 2**21),
        b"SSH-2.0\r\n\r\n",
        b"",
    ],
)
def test_a_server_without_models_is_no_error(tmp_path: Path, response: bytes) -> None:
    with background(lambda: tcp(response)) as port:
        candidates = candidates_of(tmp_path, url=f"ws://{port.address}/v1/realtime", model="m")
        assert texts(candidates, "model") == ["m"]


def test_the_key_is_not_sent_unencrypted(tmp_path: Path) -> None:
    candidates = candidates_of(tmp_path, url="ws://example.invalid/v1/realtime", model="m")
    assert texts(candidates, "model") == ["m"]


def test_a_server_that_does_not_answer_is_no_error(tmp_path: Path) -> None:
    with background(lambda: tcp(b"", stays=True)) as port:
        url = f"ws://{port.address}/v1/realtime"
        candidates = candidates_of(tmp_path, url=url, model="m", connect_timeout="0.1")
        assert texts(candidates, "model") == ["m"]


def test_a_server_that_dotenv_names_receives_no_key(tmp_path: Path) -> None:
    with background(lambda: tcp(listing("n"))) as port:
        dotenv = tmp_path / ".env"
        dotenv.write_text(f"RTCHAT_URL=ws://{port.address}/v1/realtime\nRTCHAT_MODEL=m\n")
        settings = resolve({}, {"OPENAI_API_KEY": KEY}, dotenv=dotenv)
        candidates = ChatCandidates(settings, environment(tmp_path))
        assert texts(candidates, "model") == ["m", "n"]
    (head,) = port.heads
    assert KEY.encode() not in head


@pytest.mark.parametrize(
    ("url", "models"),
    [
        ("wss://h/v1/realtime", "wss://h/v1/models"),
        ("wss://h/v1/realtime/", "wss://h/v1/models"),
        ("wss://h/openai/v1/realtime?model=m", "wss://h/openai/v1/models"),
        ("wss://h/realtime?api-version=1&deployment=d", "wss://h/models?api-version=1"),
        ("wss://h/v1/realtime/translations", "wss://h/v1/models"),
        ("wss://h/other", None),
        ("wss://h", None),
    ],
)
def test_the_address_of_the_models_is_beside_that_of_the_api(url: str, models: str | None) -> None:
    where = Endpoint(url, headers=(("Authorization", "Bearer x"),))
    expected = models and replace(where, url=models)
    assert models_endpoint(where) == expected


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"data": [{"id": "a"}, {"id": "b"}]}', ("a", "b")),
        (b'{"data": [{"id": ""}, {"id": 5}, {}, 5, {"id": "a"}]}', ("a",)),
        (b'{"data": {}}', ()),
        (b"{}", ()),
        (b"[1]", ()),
        (b"", ()),
        (b"\xff", ()),
        (b"[" * 100_000, ()),
    ],
)
def test_a_list_of_models(body: bytes, names: tuple[str, ...]) -> None:
    assert read_models(body) == names


# -------------------------------------------------------------------------------------- the program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with background(lambda: run_server(EchoEngine())) as url:
        program = Program(tmp_path)
        program.environ["RTCHAT_URL"] = url
        yield program


def test_tab_completes_at_the_prompt(program: Program) -> None:
    (program.home / "my notes.txt").write_text("hi")
    terminal = Terminal(program, [], {})
    terminal.shows("connected in", PROMPT)
    terminal.types("/model ec\t")
    terminal.shows(f"{PROMPT} /model echo")
    terminal.types("\r")
    terminal.shows("model set to echo", "connected in", PROMPT)
    terminal.types("what is in @my\t")
    terminal.shows(f'{PROMPT} what is in @"my notes.txt"')
    terminal.types("?\r")
    terminal.shows("my notes.txt (2 B) attached", "first token", PROMPT)
    terminal.types("\x04")
    assert terminal.ends() == 0
