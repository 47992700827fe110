"""`rl2 validate`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from rl2cli.cli.failure import explain
from rl2cli.cli.output import emit, emit_json, note
from rl2cli.errors import RL2Error
from rl2cli.plugins import schema_cache
from rl2cli.trust import allow_import as grant

if TYPE_CHECKING:  # Typer and the parameters are given where Typer takes over
    import typer

    from rl2cli.cli.parameters import AllowImport, AsJson, Overrides
    from rl2cli.spec import LoadedSpec


def validate(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC...", help="Run specs to check.")],
    overrides: Overrides = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also build environments and networks, make one step, estimate the memory.")
    ] = False,
    as_json: AsJson = False,
    allow_import: AllowImport = None,
) -> int:
    """Check run specs without training, and report every problem at once.

    Names, types, ranges and sizes are checked; whether an environment can be made and stepped, with --deep.
    """
    grant(allow_import or [])
    results = [_result(spec, overrides or [], deep=deep, silent=as_json) for spec in specs]
    if as_json:
        emit_json({"specs": results})
    return max((int(str(result["exit_code"])) for result in results), default=0)


def validate_plainly(*specs: str) -> int:
    """Check run specs as `validate` does without an option."""
    return validate(list(specs))


def _result(spec: str, overrides: list[str], *, deep: bool, silent: bool) -> dict[str, Any]:
    from rl2cli.cli.origins import origins
    from rl2cli.cli.start import load

    try:
        with schema_cache.preferred():
            loaded = load(spec, overrides, quiet=silent)
        tried = _try(loaded, silent=silent) if deep else {}
    except RL2Error as error:
        return _refused(spec, error, silent=silent)
    if not silent:
        emit(f"{loaded.path}: valid{_sources(loaded)}")
    return {"path": loaded.path, "valid": True, "exit_code": 0, "problems": [], "sources": origins(loaded), **tried}


def _try(loaded: LoadedSpec, *, silent: bool) -> dict[str, Any]:
    from rl2cli.training.one_step import try_one_step

    tried = try_one_step(loaded)
    for line in [] if silent else tried.sentences():
        note(line)
    return {"tried": tried.to_json()}


def _sources(loaded: LoadedSpec) -> str:
    """Return how many settings are from which file, where they are from more than one place."""
    from rl2cli.cli.origins import counted

    several = loaded.bases or (loaded.settings is not None and loaded.settings.overrides)
    return f" ({counted(loaded)})" if several else ""


def _refused(spec: str, error: RL2Error, *, silent: bool) -> dict[str, Any]:
    from rl2cli.spec import SpecError

    if not silent:
        explain(error)
    problems = [asdict(problem) for problem in error.problems] if isinstance(error, SpecError) else []
    problems = problems or [{"message": error.message, "hint": error.hint, "place": error.place}]
    return {"path": spec, "valid": False, "exit_code": error.exit_code, "problems": problems}
