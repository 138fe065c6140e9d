"""`completion`: the scripts that complete the command line in bash, zsh and fish."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from rtchat.cli.environment import say, stdout
from rtchat.core.errors import OutputError, UsageError
from rtchat.core.suggestions import closest, did_you_mean
from rtchat.system.folders import make_private

app = typer.Typer(help="Manage shell completion: install, show, uninstall.")

Shell = Annotated[
    str | None,
    typer.Argument(
        metavar="[bash|zsh|fish]",
        help="The default is the shell that SHELL names.",
        show_default=False,
    ),
]

_BASH = r"""# Completion of rtchat for bash.
_rtchat() {
    local line before=${COMP_LINE:0:COMP_POINT}
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <("$1" __complete bash "$before" "$COMP_WORDBREAKS" "$COMP_TYPE" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o default -F _rtchat rtchat
"""
_ZSH = r"""#compdef rtchat
# Completion of rtchat for zsh.
_rtchat() {
    local -a lines complete_words open_words
    local line
    lines=("${(@f)$("${words[1]}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${(@)lines[2,-1]}"; do
        if [[ ${line%%:*} == *[=/] ]]; then
            open_words+=("$line")
        else
            complete_words+=("$line")
        fi
    done
    (( ${#complete_words} )) && _describe -V rtchat complete_words
    (( ${#open_words} )) && _describe -V rtchat open_words -S ''
    case ${lines[1]} in
        files) _files ;;
        folders) _files -/ ;;
    esac
}
if [[ ${funcstack[1]} == _rtchat ]]; then
    _rtchat "$@"
else
    (( ${+functions[compdef]} )) || { autoload -Uz compinit && compinit }
    compdef _rtchat rtchat
fi
"""
_FISH = r"""# Completion of rtchat for fish.
function __rtchat_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l lines ($words[1] __complete fish $words[2..-1] "$word" 2>/dev/null)
    switch "$lines[1]"
        case files
            __fish_complete_path "$word"
        case folders
            __fish_complete_directories "$word"
    end
    if set -q lines[2]
        printf '%s\n' $lines[2..-1]
    end
end
complete -c rtchat -f -k -a '(__rtchat_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
"""The script for each shell."""
_MARK = "# completion of rtchat"


class _Place(NamedTuple):
    """Where the script of a shell is, and the file of the user that loads it, if one must."""

    script: Path
    startup: Path | None


@app.command("install")
def completion_install(shell: Shell = None) -> int:
    """Install completion for a shell.

    The script is saved in a file. For bash and zsh, a line that loads it is added to .bashrc or
    .zshrc.
    """
    name = _shell(shell)
    place = _place(name)
    try:
        make_private(place.script.parent)
        place.script.write_text(SCRIPTS[name], encoding="utf-8")
        say(f"saved {place.script}")
        if place.startup is not None and _load_line(place) not in _lines(place.startup):
            text = place.startup.read_text("utf-8") if place.startup.exists() else ""
            separator = "\n" if text and not text.endswith("\n") else ""
            with place.startup.open("a", encoding="utf-8") as file:
                file.write(f"{separator}{_load_line(place)}\n")
            say(f"added a line to {place.startup}")
    except (OSError, UnicodeDecodeError) as error:
        raise _failure(error, place) from error
    say("start a new shell to use it")
    return 0


@app.command("show")
def completion_show(shell: Shell = None) -> int:
    """Print the script for a shell."""
    stdout().write(SCRIPTS[_shell(shell)])
    return 0


@app.command("uninstall")
def completion_uninstall(shell: Shell = None) -> int:
    """Remove what `install` added."""
    place = _place(_shell(shell))
    try:
        is_installed = place.script.exists()
        place.script.unlink(missing_ok=True)
        if place.startup is not None and _load_line(place) in (lines := _lines(place.startup)):
            kept = [line for line in lines if line != _load_line(place)]
            place.startup.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
            is_installed = True
    except (OSError, UnicodeDecodeError) as error:
        raise _failure(error, place) from error
    say("removed the completion" if is_installed else "no completion is installed")
    return 0


def _shell(given: str | None) -> str:
    name = given or Path(os.environ.get("SHELL", "")).name
    if name in SCRIPTS:
        return name
    message = f"there is no completion for {name}" if name else "the shell is not known"
    hint = did_you_mean([closest(name, SCRIPTS)], f"name one of {', '.join(SCRIPTS)}")
    raise UsageError(message, hint=hint)


def _place(shell: str) -> _Place:
    home = Path.home()
    data = _folder("XDG_DATA_HOME", home / ".local" / "share")
    if shell == "bash":
        return _Place(data / "bash-completion" / "completions" / "rtchat", home / ".bashrc")
    if shell == "zsh":
        startup = _folder("ZDOTDIR", home) / ".zshrc"
        return _Place(data / "zsh" / "site-functions" / "_rtchat", startup)
    config = _folder("XDG_CONFIG_HOME", home / ".config")
    return _Place(config / "fish" / "completions" / "rtchat.fish", None)


def _folder(variable: str, usual: Path) -> Path:
    path = Path(os.environ.get(variable, ""))
    return path if path.is_absolute() else usual


def _load_line(place: _Place) -> str:
    import shlex

    script = shlex.quote(str(place.script))
    return f"[ ! -f {script} ] || . {script}  {_MARK}"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _failure(error: OSError | UnicodeDecodeError, place: _Place) -> OutputError:
    why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    file = (error.filename if isinstance(error, OSError) else None) or place.startup
    hint = "add the output of `rtchat completion show` to the shell's startup file"
    return OutputError(f"{file} cannot be changed ({why})", hint=hint)
