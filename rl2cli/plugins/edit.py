"""Adding and removing kept names: under a lock, in one step, with the file's comments where they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl2cli.durable import write_text_atomic
from rl2cli.errors import PluginError, UsageError
from rl2cli.plugins.grants import is_trusted, locked, trust
from rl2cli.plugins.kept import ALL_OF_IT, TABLES, USER_FILE, Kept, Registration, parse, read

_HEADINGS = {
    True: """\
# Names of plugins that hold everywhere for you; `rl2 register --user` writes it.
""",
    False: """\
# Names of this project's plugins, for every `rl2` command in this folder and below; `rl2 register` writes it.
# Their modules are looked for beside this file. Who gets it from you has to type `rl2 register trust` first.
""",
}


def require_own(kept: Kept) -> None:
    """Refuse to add to a project's file whose names this user has not trusted: that would trust all of them.

    Raises:
        UsageError: It has names and is not trusted, or is not what rl2 can read.
    """
    if kept.problems:
        raise UsageError(kept.problems[0].removeprefix(f"{kept.file}: "), hint="mend it first", place=str(kept.file))
    if kept.file.name != USER_FILE and kept.registrations and not is_trusted(kept.file, kept.content):
        raise UsageError(
            "this project's plugins are not trusted: the file came from elsewhere, or was changed by hand",
            hint="read it, then type `rl2 register trust`",
            place=str(kept.file),
        )


def keep(registration: Registration) -> None:
    """Write `registration` to its file, in place of one of the same kind and name, and trust the file.

    Raises:
        UsageError: The file is not one that rl2 may or can change.
        StorageError: The disk refused; the file is as it was.
    """
    table = TABLES[registration.kind]
    is_users = registration.file.name == USER_FILE
    target = ALL_OF_IT if registration.kind == "module" else registration.target
    value: Any = target
    if is_users and registration.folder is not None:
        value = {"target": target, "folder": str(registration.folder)}

    def change(document: Any) -> None:
        if table not in document:
            document[table] = _new_table()
        document[table][registration.name] = _inline(value)

    def expected(others: list[Registration]) -> list[Registration]:
        return [*others, registration]

    _change(registration, change, expected)


def forget(registration: Registration) -> None:
    """Take `registration` out of its file.

    Raises:
        UsageError: The file is not one that rl2 may or can change.
        StorageError: The disk refused; the file is as it was.
    """

    def change(document: Any) -> None:
        del document[TABLES[registration.kind]][registration.name]

    _change(registration, change, lambda others: others)


def _change(
    registration: Registration,
    change: Callable[[Any], None],
    expected: Callable[[list[Registration]], list[Registration]],
) -> None:
    """Apply `change` to the file's text, check that it says what is `expected` of the other entries, and write it."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    file = registration.file
    with locked("plugins"):
        before = read(file)
        require_own(before)
        text = before.content.decode() or _HEADINGS[file.name == USER_FILE]
        try:
            document = tomlkit.parse(text)
            change(document)
            written = tomlkit.dumps(document)
        except (TOMLKitError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise _unwritable(file) from error
        after = parse(file, written.encode())
        others = [each for each in before.registrations if (each.kind, each.name) != _key(registration)]
        if after.problems or _sorted(after.registrations) != _sorted(expected(others)):
            raise _unwritable(file)
        write_text_atomic(file, written)
        if file.name != USER_FILE:
            trust(file, written.encode())


def _key(registration: Registration) -> tuple[str, str]:
    return registration.kind, registration.name


def _sorted(registrations: Any) -> list[Registration]:
    return sorted(registrations, key=_key)


def _new_table() -> Any:
    import tomlkit

    return tomlkit.table()


def _inline(value: Any) -> Any:
    import tomlkit

    if not isinstance(value, dict):
        return value
    table = tomlkit.inline_table()
    table.update(value)
    return table


def _unwritable(file: Path) -> PluginError:
    return PluginError("rl2 cannot change this file without harm", hint="edit it by hand", place=str(file))
