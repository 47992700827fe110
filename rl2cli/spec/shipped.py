"""Where a run spec is found: the path given, else the one of that name that comes with rl2."""

from __future__ import annotations

from pathlib import Path

from rl2cli.errors import UsageError, suggestion
from rl2cli.spec.toml import MAX_BYTES, decode


def shipped_folder() -> Path:
    """Return the folder of the specs that come with rl2: inside the package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "runs"
    return inside if inside.is_dir() else package.parent / "runs"


def shipped_specs() -> list[str]:
    """Return the shipped specs as `runs/<name>.toml`, sorted."""
    return sorted(f"runs/{path.name}" for path in shipped_folder().glob("*.toml"))


def find_spec(path: str | Path) -> tuple[Path, bool]:
    """Return the file that `path` means, and whether it is a shipped one.

    Raises:
        UsageError: There is no such file.
    """
    path = Path(path)
    if path.exists():
        return path, False
    shipped = shipped_of_name(path)
    if shipped is not None:
        return shipped, True
    known = [*shipped_specs(), *(str(near) for near in specs_in(path.parent))]
    hint = suggestion(path.as_posix(), known) or suggestion(f"runs/{path.stem}.toml", known)
    raise UsageError(f"there is no file {str(path)!r}", hint=hint or f"rl2 comes with: {', '.join(shipped_specs())}")


def shipped_of_name(path: Path) -> Path | None:
    """Return the shipped spec that is meant by `runs/NAME.toml`, or NAME.toml alone, if there is one."""
    if path.is_absolute() or path.parent.as_posix() not in (".", "runs") or path.suffix != ".toml":
        return None
    shipped = shipped_folder() / path.name
    return shipped if shipped.is_file() else None


def read_spec(path: Path) -> str:
    """Return the text of the file `path`.

    Raises:
        UsageError: It cannot be read.
        SpecError: It is too big or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise UsageError(f"{str(path)!r} is a folder, not a run spec", hint="name a .toml file in it") from None
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror or error}", hint="is it yours?") from None
    return decode(content, str(path))


def specs_in(folder: Path) -> list[Path]:
    """Return the `.toml` files of a folder, a thousand at most; none where it cannot be read."""
    try:
        return sorted(folder.glob("*.toml"))[:1000]
    except OSError:
        return []
