"""The files that names of plugins are kept in: a project's `rl2.toml`, and the user's own `plugins.toml`.

Both have a table for each kind, `name = "module:Class"`, and `[modules]`, whose names specs may have imported:

    [adapters]
    my_sim = "my_sim:MySim"

    [modules]
    my_envs = "*"

Modules of a project are looked for beside its file; the user's file says the folder, `{target = "…", folder = "…"}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl2cli.durable import read_regular
from rl2cli.errors import PluginError, suggestion
from rl2cli.text import shortened

PROJECT_FILE = "rl2.toml"
USER_FILE = "plugins.toml"
TABLES = {"adapter": "adapters", "network": "networks", "algorithm": "algorithms", "module": "modules"}
"""Kind → the table of its names."""
MAX_BYTES = 200_000
ALL_OF_IT = "*"
"""What a granted module has in place of a target."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WORD = r"[^\W\d]\w*"
MODULE = re.compile(rf"{_WORD}(\.{_WORD})*")
TARGET = re.compile(rf"{MODULE.pattern}:{_WORD}(\.{_WORD})*")


@dataclass(frozen=True)
class Registration:
    """One name that is kept in a file."""

    kind: str
    """A key of `TABLES`."""
    name: str
    target: str
    """`"module:Class"`; of a granted module, its name."""
    file: Path
    folder: Path | None
    """Where its module is looked for after the installed ones; None: nowhere else."""

    @property
    def module(self) -> str:
        """The module that is imported."""
        return self.target.partition(":")[0]


@dataclass(frozen=True)
class Kept:
    """What a file holds."""

    file: Path
    content: bytes
    registrations: tuple[Registration, ...]
    problems: tuple[str, ...]
    """What in it is not right, in words; the rest of it holds."""


def config_folder() -> Path:
    """Return the folder of this user's settings."""
    import platformdirs

    return platformdirs.user_config_path("rl2", appauthor=False)


def user_file() -> Path:
    """Return the file of this user's own names, which need not be there."""
    return config_folder() / USER_FILE


def project_file(start: Path | None = None) -> Path | None:
    """Return the `rl2.toml` of `start`, or of the next folder above it that has one; of the current one by default."""
    try:
        here = (start or Path.cwd()).resolve()
    except OSError:  # the folder was removed under us
        return None
    for folder in (here, *here.parents):
        try:
            if (folder / PROJECT_FILE).is_file():
                return (folder / PROJECT_FILE).resolve()
        except OSError:
            continue
    return None


def read(file: Path) -> Kept:
    """Return what `file` holds; nothing where it is not there."""
    try:
        content = read_regular(file, MAX_BYTES)
    except FileNotFoundError:
        return Kept(file, b"", (), ())
    except OSError as error:
        return Kept(file, b"", (), (f"{file} cannot be read: {error.strerror or error}",))
    return parse(file, content)


def parse(file: Path, content: bytes) -> Kept:
    """Return what `content`, the text of `file`, means; its author may be anybody."""
    import tomli

    if len(content) > MAX_BYTES:
        return Kept(file, content, (), (f"{file} has more than {MAX_BYTES:,} bytes",))
    try:
        data = tomli.loads(content.decode("utf-8"))
    except (ValueError, RecursionError, MemoryError) as error:
        return Kept(file, content, (), (f"{file} is not TOML: {shortened(str(error), 200)}",))
    found: list[Registration] = []
    problems: list[str] = []
    for each in _entries(file, data):
        (found if isinstance(each, Registration) else problems).append(each)  # type: ignore[arg-type]  # each to its own
    return Kept(file, content, tuple(found), tuple(problems))


def _entries(file: Path, data: dict[str, Any]) -> Iterator[Registration | str]:
    kinds = {table: kind for kind, table in TABLES.items()}
    for table, values in data.items():
        if table not in kinds:
            hint = suggestion(table, kinds) or f"there are: {', '.join(kinds)}"
            yield f"{file}: unknown key {shortened(table, 60)!r}; {hint}"
        elif not isinstance(values, dict):
            yield f"{file}: [{table}] is not a table"
        else:
            for name, value in values.items():
                yield _entry(file, kinds[table], name, value)


def _entry(file: Path, kind: str, name: str, value: Any) -> Registration | str:
    place = f"{file}: {TABLES[kind]}.{shortened(name, 60)}"
    target = value.get("target") if isinstance(value, dict) else value
    folder = value.get("folder") if isinstance(value, dict) else None
    is_users = file.name == USER_FILE
    try:
        require_name(kind, name)
        full = name if kind == "module" else str(target)
        require_target(kind, full)
    except PluginError as error:
        return f"{place}: {error.message}"
    if kind == "module" and target != ALL_OF_IT:
        return f'{place}: a module is granted as a whole: {name} = "{ALL_OF_IT}"'
    if not is_users:
        return Registration(kind, name, full, file, file.parent)
    where = Path(folder) if isinstance(folder, str) and Path(folder).is_absolute() else None
    return Registration(kind, name, full, file, where)


def require_name(kind: str, name: object) -> None:
    """Check what a plugin or a granted module is called.

    Raises:
        PluginError: It cannot be called that.
    """
    pattern = MODULE if kind == "module" else NAME
    if isinstance(name, str) and pattern.fullmatch(name):
        return
    shown = shortened(str(name), 60)
    if kind == "module":
        raise PluginError(f"{shown!r} is no module's name", hint="write it as import does, such as my_pkg.envs")
    raise PluginError(
        f"{shown!r} is no name for {'an' if kind[0] == 'a' else 'a'} {kind}",
        hint="letters, digits, '_', '-' and '.', such as my_sim",
    )


def require_target(kind: str, target: object) -> None:
    """Check that `target` has the form `module:Class`, or is a module's name.

    Raises:
        PluginError: It has not; the hint says how it is written.
    """
    pattern = MODULE if kind == "module" else TARGET
    if isinstance(target, str) and pattern.fullmatch(target) and not target.partition(":")[0].endswith(".py"):
        return
    shown = shortened(str(target), 100)
    raise PluginError(f"{shown!r} does not name a class", hint=_target_hint(shown))


def _target_hint(target: str) -> str:
    module, _, name = target.partition(":")
    if module.endswith(".py") and not module.startswith((".", "/")):
        return f"write the module without .py: {module.removesuffix('.py').replace('/', '.')}:{name or 'Class'}"
    if "/" in module or "\\" in module:
        return "write the module as import does, with dots: my_package.envs:MyAdapter"
    if not name and re.fullmatch(MODULE.pattern, module):
        return f"write it as module:Class, such as {module}:MyClass"
    return "write it as module:Class, such as my_package.envs:MyAdapter"
