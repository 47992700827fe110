"""`rl2 new adapter`, `network`, `algorithm`: a file that works as it stands, its test, and a spec to train it with."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from rl2cli.cli.output import emit_lines, say
from rl2cli.durable import explained, require_new_file, write_new_file
from rl2cli.errors import UsageError
from rl2cli.plugins.kept import project_file

TEMPLATES = Path(__file__).parent / "templates"
_PLACEHOLDERS = {"adapter": ("my_sim", "MySim"), "network": ("my_network", "MyNetwork"), "algorithm": ("my_pg", "MyPg")}
"""What the templates call themselves."""

_SPECS = {
    "adapter": 'total_frames = 20_000\n\n[env]\nbackend = "{name}"\n',
    "network": 'total_frames = 20_000\n\n[env]\nid = "CartPole-v1"\n\n[network]\nname = "{name}"\n',
    "algorithm": 'total_frames = 50_000\n\n[env]\nid = "CartPole-v1"\nnum_envs = 16\n\n[algorithm]\nname = "{name}"\n',
}

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="What it is called; also its file, NAME.py.")]


def new() -> None:
    """Write a plugin to begin with: `rl2 new adapter NAME`, `rl2 new network NAME` or `rl2 new algorithm NAME`."""
    raise UsageError("say what is to be new: adapter, network or algorithm", hint="rl2 new adapter my_sim")


def new_adapter(name: Name) -> None:
    """Write NAME.py, an environment backend that works as it stands, test_NAME.py, and NAME.toml, a spec with it."""
    _write("adapter", name)


def new_network(name: Name) -> None:
    """Write NAME.py, a network that works as it stands, test_NAME.py, and NAME.toml, a spec with it."""
    _write("network", name)


def new_algorithm(name: Name) -> None:
    """Write NAME.py, an algorithm that works as it stands, test_NAME.py, and NAME.toml, a spec with it."""
    _write("algorithm", name)


def _write(kind: str, name: str) -> None:
    module = _module_name(name)
    files = [Path(f"{module}.py"), Path(f"test_{module}.py"), Path(f"{module}.toml")]
    for file in files:
        require_new_file(file)
    old_module, old_class = _PLACEHOLDERS[kind]
    class_name = "".join(part[:1].upper() + part[1:] for part in module.split("_"))
    templates = [(TEMPLATES / file).read_text(encoding="utf-8") for file in (f"{kind}.py.txt", f"test_{kind}.py.txt")]
    texts = [template.replace(old_class, class_name).replace(old_module, module) for template in templates]
    for file, text in zip(files, [*texts, _SPECS[kind].format(name=name)], strict=True):
        with explained(f"writing {file}"):
            write_new_file(file, text.encode())
    emit_lines(map(str, files))
    say(_next_steps(kind, name, module, class_name))


def _module_name(name: str) -> str:
    """Return the name as that of a Python module.

    Raises:
        UsageError: No module can be called that, or Python has one already.
    """
    module = re.sub(r"[-. ]", "_", name.removesuffix(".py"))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", module) or keyword.iskeyword(module):
        raise UsageError(f"no module can be called {name!r}", hint="letters, digits and '_', such as my_sim")
    if module in sys.stdlib_module_names or module in ("rl2cli", "torch", "numpy", "gymnasium"):
        raise UsageError(
            f"there is a module {module!r} already, which would hide yours", hint=f"another name, such as my_{module}"
        )
    return module


def _next_steps(kind: str, name: str, module: str, class_name: str) -> str:
    steps = [
        f"python -m pytest test_{module}.py",
        f"rl2 register-{kind} {name} {_dotted(module)}:{class_name}",
        *([f"rl2 check-env {module}.toml"] if kind == "adapter" else []),
        f"rl2 train {module}.toml",
    ]
    lines = "".join(f"    {step}\n" for step in steps)
    return f"\nIt works as it stands; change it to yours, then (the first line needs `pip install pytest`)\n\n{lines}"


def _dotted(module: str) -> str:
    """Return the module as it is imported from the project's folder."""
    file = project_file()
    parts = Path.cwd().resolve().relative_to(file.parent).parts if file is not None else ()
    return ".".join((*parts, module))
