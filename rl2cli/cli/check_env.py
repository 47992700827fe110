"""`rl2 check-env`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rl2cli.cli.output import emit_json, emit_lines
from rl2cli.cli.parameters import AllowImport, AsJson, whole_number
from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.registry import adapters
from rl2cli.text import display_width, printable
from rl2cli.trust import allow_import as grant

if TYPE_CHECKING:
    from rl2cli.checks.environment import Checked, Row
    from rl2cli.spec.model import EnvSpec

NUM_ENVS = 4


def check_env(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[BACKEND:ID|SPEC]",
            help="A backend and its id, as gymnasium:CartPole-v1; a backend; or a spec; the project's where left out.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="env.KEY=VALUE", help="Set an option of the environment; may be given again."),
    ] = None,
    num_envs: Annotated[
        int | None,
        typer.Option("--num-envs", parser=whole_number, metavar="N", help="Environments; 4, or as many as SPEC has."),
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", parser=whole_number, metavar="N", help="Steps of each environment.")
    ] = 500,
    seed: Annotated[
        int, typer.Option("--seed", parser=whole_number, metavar="N", help="Seed of the actions and episodes.")
    ] = 0,
    as_json: AsJson = False,
    allow_import: AllowImport = None,
) -> int:
    """Check an environment against rl2's contract with random actions, before training on it.

    The exit code is 3 where it breaks the contract.
    """
    grant(allow_import or [])
    if not 1 <= steps <= 10_000_000:
        raise UsageError(
            f"--steps takes a number from 1 to 10,000,000, got {steps}", hint="left out, it is enough for a contract"
        )
    if num_envs is not None and not 1 <= num_envs <= 100_000:
        raise UsageError(f"--num-envs takes a number from 1 to 100,000, got {num_envs}", hint="2 or 3 show most faults")
    results = [_check(name, overrides or [], num_envs, steps, seed) for name in ([what] if what else _own())]
    if as_json:
        emit_json(_as_json(results, single=what is not None))
    else:
        emit_lines("\n\n".join(_as_text(name, checked) for name, checked in results).split("\n"))
    return 0 if all(checked.ok for _, checked in results) else EnvironmentFault.exit_code


def _own() -> list[str]:
    """Return the adapters that are not rl2's own.

    Raises:
        UsageError: There are none.
    """
    found = [entry.name for entry in adapters.entries() if entry.is_outside and entry.trusted]
    if not found:
        raise UsageError("no adapter is registered here", hint="name one, as in rl2 check-env gymnasium:CartPole-v1")
    return list(dict.fromkeys(found))


def _check(what: str, overrides: list[str], num_envs: int | None, steps: int, seed: int) -> tuple[str, Checked]:
    spec = _env_spec(what, overrides, num_envs)
    from rl2cli.checks.environment import check_environment
    from rl2cli.envs import make_env_adapter

    with closing(make_env_adapter(spec, workers=0)) as adapter:
        checked = check_environment(adapter, steps, seed)
    if checked.adapter == "InProcessBatch":
        checked.adapter = f"{adapters.load(spec.backend).__name__}, one after the other in this process"
    return what, checked


def _env_spec(what: str, overrides: list[str], num_envs: int | None) -> EnvSpec:
    from rl2cli.spec import load_spec
    from rl2cli.spec.load import load_spec_dict

    if what.endswith(".toml"):
        spec = load_spec(what, overrides).spec.env
        return spec if num_envs is None else spec.model_copy(update={"num_envs": num_envs})
    backend, _, env_id = what.partition(":")
    _require_backend(backend, what)
    env: dict[str, Any] = {"backend": backend, "num_envs": num_envs or NUM_ENVS, "workers": 0}
    if env_id:
        env["id"] = env_id
    return load_spec_dict({"total_frames": 1_000_000, "env": env, "algorithm": _ANY}, overrides).spec.env


_ANY = {"name": "sac"}
"""An algorithm that fits every number of environments: only [env] is of interest."""


def _require_backend(backend: str, what: str) -> None:
    """Refuse what is no backend, with what was probably meant.

    Raises:
        UsageError: It is none.
    """
    from rl2cli.errors import suggestion

    names = adapters.names()
    if backend in names:
        return
    if what.startswith("ALE/") or (":" not in what and "-v" in what):
        raise UsageError(f"{what!r} names no backend", hint=f"did you mean gymnasium:{what}?")
    hint = suggestion(backend, names) or f"there are: {', '.join(names)}; `rl2 register-adapter` adds one"
    raise UsageError(f"unknown adapter {backend!r}", hint=hint)


def _as_json(results: list[tuple[str, Checked]], *, single: bool) -> dict[str, Any]:
    found = [
        {
            "environment": name,
            "adapter": checked.adapter,
            "num_envs": checked.num_envs,
            "ok": checked.ok,
            "checks": [asdict(row) for row in checked.rows],
        }
        for name, checked in results
    ]
    return found[0] if single else {"environments": found, "ok": all(checked.ok for _, checked in results)}


def _as_text(name: str, checked: Checked) -> str:
    heading = printable(f"{name}: {checked.num_envs} environments, {checked.adapter}")
    table = [("", "key", "expected", "got"), *((_MARKS[row.ok], *_cells(row)) for row in checked.rows)]
    widths = [max(display_width(line[column]) for line in table) for column in range(3)]
    lines = ["  ".join([*map(_padded, line[:3], widths), line[3]]).rstrip() for line in table]
    wrong = sum(row.ok is False for row in checked.rows)
    verdict = "it keeps the contract" if not wrong else f"it breaks the contract in {wrong} of {len(checked.rows)} rows"
    return "\n".join([heading, "", *lines, "", verdict])


_MARKS = {True: "ok", False: "WRONG", None: "-"}


def _cells(row: Row) -> tuple[str, str, str]:
    return printable(row.key), printable(row.expected), printable(row.got)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))
