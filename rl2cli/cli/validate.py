"""`rl2 validate`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from rl2cli.cli.failure import explain
from rl2cli.cli.output import emit_json, emit_lines
from rl2cli.cli.parameters import AllowImport, AsJson, Overrides
from rl2cli.errors import UsageError
from rl2cli.plugins import schema_cache
from rl2cli.trust import allow_import as grant


def validate(
    specs: Annotated[list[str], typer.Argument(metavar="SPEC...", help="Run specs to check.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
    allow_import: AllowImport = None,
) -> int:
    """Check run specs without training, and report every problem at once.

    Names, types, ranges and sizes are checked; whether an environment can be made shows `rl2 train --dry-run`.
    """
    grant(allow_import or [])
    results = [_result(spec, overrides or [], silent=as_json) for spec in specs]
    if as_json:
        emit_json({"specs": results})
    return max((int(str(result["exit_code"])) for result in results), default=0)


@schema_cache.preferred()
def _result(spec: str, overrides: list[str], *, silent: bool) -> dict[str, object]:
    from rl2cli.spec import SpecError, load_spec

    try:
        loaded = load_spec(spec, overrides)
    except UsageError as error:
        if not silent:
            explain(error)
        problems = [asdict(problem) for problem in error.problems] if isinstance(error, SpecError) else []
        problems = problems or [{"message": error.message, "hint": error.hint}]
        return {"path": spec, "valid": False, "exit_code": error.exit_code, "problems": problems}
    if not silent:
        emit_lines([f"{loaded.path}: valid"])
    return {"path": loaded.path, "valid": True, "exit_code": 0, "problems": []}
