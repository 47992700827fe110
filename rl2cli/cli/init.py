"""`rl2 init`: a run spec to begin with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rl2cli.cli.environments import FAMILIES
from rl2cli.cli.output import emit, note
from rl2cli.cli.spec_text import opening_comment
from rl2cli.durable import require_new_file, write_text_atomic
from rl2cli.errors import UsageError, suggestion
from rl2cli.plugins import schema_cache

if TYPE_CHECKING:  # Typer gives it, where it takes over
    import typer

TEMPLATES = Path(__file__).parent / "templates"
SCHEMA = "schema.json"
OWN_SCHEMA = "rl2-schema.json"
"""What the schema is called where something else has the usual name."""
_TITLE = "rl2 run spec"


@schema_cache.preferred()
def init(
    template: Annotated[
        str | None, typer.Argument(metavar="[TEMPLATE]", help="What to begin with; they are listed where left out.")
    ] = None,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="The file to write; TEMPLATE.toml here where left out.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file where there is one.")] = False,
) -> None:
    """Write a commented run spec, and beside it the schema with which editors complete and check it."""
    from rl2cli.spec.known_schema import known_schema_text

    found = templates()
    if template is None:
        emit("\n".join(_listed(found)))
        return note("write one: rl2 init ppo, or under another name: rl2 init pong my-pong.toml")
    source = found.get(_plain(template))
    if source is None:
        near = suggestion(_plain(template), found)
        raise UsageError(f"there is no template {template!r}", hint=near or f"there are: {', '.join(found)}")
    target = _target(None if file is None else Path(file), source.stem)
    _require_writable(target, force=force)
    schema = _schema_beside(target)
    text = _adapted(source.read_text(encoding="utf-8"), target, schema.name)
    is_new = not schema.exists()
    write_text_atomic(schema, known_schema_text())
    write_text_atomic(target, text)
    emit(str(target))
    _say_next(text, target, schema if is_new else None)


def templates() -> dict[str, Path]:
    """Return the template of each name: blank ones first, then the specs that come with rl2."""
    from rl2cli.spec.shipped import shipped_folder

    files = [*sorted(TEMPLATES.glob("*.toml")), *sorted(shipped_folder().glob("*.toml"))]
    return {path.stem: path for path in files}


def _plain(name: str) -> str:
    return name.removeprefix("runs/").removesuffix(".toml")


def _listed(found: dict[str, Path]) -> list[str]:
    width = max(map(len, found))
    return [f"{name:<{width}}  {opening_comment(path.read_text(encoding='utf-8'))}" for name, path in found.items()]


def _target(file: Path | None, stem: str) -> Path:
    if file is None:
        return Path(f"{stem}.toml")
    if file.is_dir():
        return file / f"{stem}.toml"
    return file if file.suffix == ".toml" else file.with_name(f"{file.name}.toml")


def _require_writable(target: Path, *, force: bool) -> None:
    """Check that the spec can be written.

    Raises:
        UsageError: There is something already, or no folder for it.
    """
    if target.is_file() and not force:
        raise UsageError(
            "there is a file already", hint="--force replaces it; or name another one behind it", place=str(target)
        )
    if not target.is_file():
        require_new_file(target)


def _schema_beside(target: Path) -> Path:
    """Return the schema's file beside the spec; one that is there may be older, and is written anew."""
    usual = target.with_name(SCHEMA)
    return usual if not usual.exists() or _is_schema(usual) else target.with_name(OWN_SCHEMA)


def _is_schema(path: Path) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("title") == _TITLE


def _adapted(text: str, target: Path, schema: str) -> str:
    """Return a template's text with the schema, the command and the name of the new file."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", target.stem).strip("._-")[:64] or "run"
    text = re.sub(r"\A#:schema .*", f"#:schema ./{schema}", text)
    text = re.sub(r"^(# Command: +rl2 train ).*", lambda match: match[1] + _typed(target), text, flags=re.MULTILINE)
    return re.sub(r'^name = "[^"]*"', f'name = "{name}"', text, count=1, flags=re.MULTILINE)


def _typed(path: Path) -> str:
    """Return a path as one types it."""
    import shlex

    return shlex.quote(path.as_posix())


def _say_next(text: str, target: Path, schema: Path | None) -> None:
    if schema is not None:
        note(f"{schema.name} beside it lets editors that know Taplo or Tombi complete and check it")
    for family in FAMILIES:
        if family.missing and family.name in opening_comment(text):
            note(f"{family.name} is {family.missing}")
    note(f"train it: rl2 train {_typed(target)}")
