"""The examples of the CommonMark specification, streamed.

They come from the npm package `commonmark-spec`, which is downloaded into a temporary folder. The
tests check that deltas make no difference, not what an example looks like: rtchat renders no HTML.
"""

from __future__ import annotations

import re
import subprocess
import tarfile

import pytest

from rtchat.core.text import visible
from rtchat.markdown.render import Drawing, MarkdownStream
from rtchat.markdown.splitter import Piece
from tests.screen import Screen
from tests.test_scrollback import at_once, streamed

pytestmark = pytest.mark.full

_EXAMPLE = re.compile(r"^`{32} example\n(.*?)^\.\n.*?^`{32}$", re.DOTALL | re.MULTILINE)
_PATIENCE = 60
"""Seconds to wait for a registry."""


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("spec")
    npm = ["npm", "pack", "commonmark-spec@0.31.2", "--silent"]
    try:
        subprocess.run(npm, cwd=folder, check=True, timeout=_PATIENCE, capture_output=True)
    except FileNotFoundError:
        pytest.skip("npm is not installed")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the npm registry cannot be reached: {error}")
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        file = package.extractfile("package/spec.txt")
        assert file is not None
        spec = file.read().decode()
    return [found.replace("→", "\t") for found in _EXAMPLE.findall(spec)]


def lines_at_once(text: str, width: int) -> list[str]:
    """The lines of the whole text rendered at once, before they reach a terminal."""
    drawing = Drawing(Screen().console)
    return [line.plain for line in drawing.draw(Piece(visible(text)), width)]


def lines_streamed(deltas: list[str], width: int) -> list[str]:
    """The lines of a stream, before they reach a terminal."""
    stream = MarkdownStream(Screen().console)
    lines = []
    for delta in deltas:
        stream.add(visible(delta), width)
        lines += stream.settled(width) or []
    return [line.plain for line in lines + stream.finish(width)]


@pytest.mark.parametrize("width", [20, 80])
def test_each_example(examples: list[str], width: int) -> None:
    different = {
        number: text
        for number, text in enumerate(examples, 1)
        if lines_streamed(list(text), width) != lines_at_once(text, width)
    }
    assert (len(examples), different) == (652, {})


@pytest.mark.parametrize("separator", ["", "\n", "\n\n"])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_all_examples_joined(examples: list[str], separator: str, size: int) -> None:
    text = separator.join(examples)
    deltas = [text[start : start + size] for start in range(0, len(text), size)]
    assert lines_streamed(deltas, 80) == lines_at_once(text, 80)


def test_each_example_on_a_terminal(examples: list[str]) -> None:
    different = {
        number: text
        for number, text in enumerate(examples, 1)
        if streamed([text[:-3], text[-3:]], 40, 8) != at_once(text, 40)
    }
    assert different == {}


def test_all_examples_on_a_terminal(examples: list[str]) -> None:
    text = "\n".join(examples)
    deltas = [text[start : start + 30] for start in range(0, len(text), 30)]
    assert streamed(deltas, 100, 24) == at_once(text, 100)
