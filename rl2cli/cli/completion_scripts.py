"""The scripts with which bash, zsh and fish ask rl2 what may stand where the cursor is, and where they belong."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from rl2cli.cli.completion import SHELLS, VARIABLE
from rl2cli.cli.output import emit, note
from rl2cli.durable import make_folder, write_text_atomic
from rl2cli.errors import UsageError, suggestion

BASH = f"""\
# Completion of rl2 in bash; `rl2 --install-completion bash` wrote it.
_rl2_completion() {{
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        [[ -n $line ]] && COMPREPLY+=("$line")
    done < <({VARIABLE}=bash COMP_WORDBREAKS="$COMP_WORDBREAKS" "$1" "${{COMP_LINE:0:COMP_POINT}}" 2>/dev/null)
    if [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == *[=/:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}}
complete -o nosort -F _rl2_completion rl2 2>/dev/null || complete -F _rl2_completion rl2
"""

ZSH = f"""\
#compdef rl2
# Completion of rl2 in zsh; `rl2 --install-completion zsh` wrote it.
_rl2() {{
    local line value open_values open_shown values shown
    local -a open_values open_shown values shown
    for line in "${{(@f)$({VARIABLE}=zsh "${{(Q)words[1]}}" "${{(@Q)words[2,CURRENT]}}" 2>/dev/null)}}"; do
        value="${{line%%$'\\t'*}}"
        [[ -z $value ]] && continue
        line="${{line/$'\\t'/  -- }}"
        if [[ $value == *[=/:] ]]; then
            open_values+=("$value") open_shown+=("$line")
        else
            values+=("$value") shown+=("$line")
        fi
    done
    (( ${{#values}} )) && compadd -l -d shown -a values
    (( ${{#open_values}} )) && compadd -S '' -l -d open_shown -a open_values
    return 0
}}
if [[ ${{funcstack[1]}} == _rl2 ]]; then
    _rl2 "$@"
else
    compdef _rl2 rl2
fi
"""

FISH = f"""\
# Completion of rl2 in fish; `rl2 --install-completion fish` wrote it.
function __rl2_complete
    set -l before (commandline -opc)
    set -l current (commandline -ct)
    env {VARIABLE}=fish $before[1] $before[2..-1] "$current" 2>/dev/null
end
complete -c rl2 -f -a '(__rl2_complete)'
"""

_SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def script(shell: str | None) -> str:
    """Return the script of a shell, of the one that runs rl2 where left out.

    Raises:
        UsageError: There is none, or which shell it is cannot be seen.
    """
    return _SCRIPTS[_known(shell)]


def show(shell: str | None) -> None:
    """Print the script."""
    emit(script(shell).rstrip("\n"))


def install(shell: str | None) -> None:
    """Write the script where the shell finds it; what is in its start-up file stays.

    Raises:
        UsageError: See `script`.
        StorageError: The disk refused.
    """
    known = _known(shell)
    home = Path.home()
    file, started_by, lines = {
        "bash": (home / ".bash_completions" / "rl2.sh", home / ".bashrc", ["source ~/.bash_completions/rl2.sh"]),
        "zsh": (
            home / ".zfunc" / "_rl2",
            Path(os.environ.get("ZDOTDIR") or home) / ".zshrc",
            ["fpath+=~/.zfunc", "autoload -Uz compinit && compinit"],
        ),
        "fish": (_fish_folder(home) / "completions" / "rl2.fish", None, []),
    }[known]
    make_folder(file.parent)
    write_text_atomic(file, _SCRIPTS[known])
    emit(str(file))
    if started_by is not None and _append(started_by, lines):
        note(f"{started_by} reads it from now on")
    note("it works in every new terminal")


def _fish_folder(home: Path) -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish"


def _append(file: Path, lines: list[str]) -> bool:
    """Add the lines that are missing to a start-up file, where any is; a link stays one."""
    file = file.resolve()
    text = file.read_text(encoding="utf-8", errors="surrogateescape") if file.exists() else ""
    if all(line in text.splitlines() for line in lines):
        return False
    gap = "" if not text or text.endswith("\n") else "\n"
    added = gap + "\n".join(lines) + "\n"
    with file.open("a", encoding="utf-8") as opened:
        opened.write(added)
    return True


def _known(shell: str | None) -> str:
    name = shell or _running()
    if name in _SCRIPTS:
        return str(name)
    if name is None:
        raise UsageError("rl2 cannot see which shell this is", hint=f"name it: {', '.join(SHELLS)}")
    near = suggestion(name, SHELLS)
    raise UsageError(f"rl2 has no completion for {name!r}", hint=near or f"there are: {', '.join(SHELLS)}")


def _running() -> str | None:
    """Return the name of the shell that runs rl2, else of the user's."""
    import psutil

    above = []
    with suppress(psutil.Error):
        above = [parent.name().removesuffix(".exe").removeprefix("-") for parent in psutil.Process().parents()]
    return next((name for name in above if name in _SCRIPTS), Path(os.environ.get("SHELL", "")).name or None)
