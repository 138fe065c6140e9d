"""The documents of the gallery look as in its files, streamed as well as at once.

`RTCHAT_UPDATE_SCREENS=1` writes the files: look at the difference before you commit it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.chunks import seeds
from tests.gallery import NAMES, WIDTHS, document, screen_file
from tests.test_scrollback import at_once, streamed


def test_the_gallery_is_complete() -> None:
    files = sorted(path.name for path in screen_file("x", 0).parent.iterdir())
    assert len(NAMES) >= 24
    assert files == sorted(screen_file(name, width).name for name in NAMES for width in WIDTHS)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_a_document_looks_as_in_its_file(name: str, width: int) -> None:
    shown = "\n".join(at_once(document(name), width)) + "\n"
    file = screen_file(name, width)
    if os.environ.get("RTCHAT_UPDATE_SCREENS"):
        file.write_text(shown)
    assert shown == file.read_text()


@seeds(1, 2)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NAMES)
def test_a_streamed_document_looks_the_same(name: str, width: int, seed: int) -> None:
    text = document(name)
    random = Random(f"{name} {width} {seed}")
    places = sorted(random.sample(range(len(text)), 30))
    deltas = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    assert streamed(deltas, width, random.randint(6, 50)) == at_once(text, width)


def test_the_page_shows_every_document_at_every_width(tmp_path: Path) -> None:
    environ = os.environ | {"TMPDIR": str(tmp_path), "COLUMNS": "60"}
    command = [sys.executable, "-m", "tests.gallery", "maths", "chinese"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    (page,) = tmp_path.glob("*.html")
    assert "─ maths ─" in done.stdout
    assert str(page) in done.stdout
    assert page.read_text().count("<pre") == 2 * len(WIDTHS)
