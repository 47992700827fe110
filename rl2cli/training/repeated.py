"""The same command again, `rl2 train --resume`: what its folder holds, and whether that is the run it means.

Torch-free, so that a run that has finished is answered at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from rl2cli.durable import explained, read_regular
from rl2cli.errors import UsageError
from rl2cli.registry import adapters
from rl2cli.spec import load_spec_text, spec_to_dict
from rl2cli.spec.model import InitSpec, RunSpec, ScaleSpec
from rl2cli.spec.resumed import CHANGEABLE
from rl2cli.text import shortened
from rl2cli.training.run_folder import RunFolder, holds_checkpoints, is_run, read_json

Standing = Literal["new", "begun", "saved", "ended"]
"""What a folder holds: no run, one that has saved nothing yet, one to go on with, one that has nothing left to do."""

AUTOMATIC = ("device", "threads", "compile", "precision", "overlap", "env.workers")
"""Settings that a run chooses for itself where they are `auto`."""
MOST_KEYS = 6
"""Settings that are named in an error; of more, how many there are."""
_FREE = ("device", "checkpoint.", "env.timeout", "env.max_restarts", "logging.tensorboard")
_LONGEST_VALUE = 60
_SPEC_LIMIT = 2**20


def standing(run_dir: Path) -> Standing:
    """Return what a folder holds, which may not be there; whether another process writes in it is not looked at."""
    if not is_run(run_dir):
        return "new"
    folder = RunFolder(run_dir)
    summary = read_json(folder.summary)
    if folder.state(summary) in ("finished", "target reached") and "unsaved" not in summary:
        return "ended"
    return "saved" if holds_checkpoints(folder.checkpoints) else "begun"


def ended(asked: RunSpec, run_dir: Path) -> dict[str, Any] | None:
    """Return the summary of the run in `run_dir` where that has finished, None where there is something to do.

    Raises:
        UsageError: Another run is there.
    """
    if standing(run_dir) != "ended":
        return None
    require_same_run(asked, run_dir)
    return {**read_json(RunFolder(run_dir).summary), "run_dir": str(run_dir)}


def require_same_run(asked: RunSpec, run_dir: Path) -> None:
    """Check that the run in `run_dir` is the one that `asked` means, by its `resolved.toml`, if it got that far.

    Raises:
        UsageError: It is another one.
    """
    path = RunFolder(run_dir).resolved
    if not path.exists():
        return
    with explained("reading resolved.toml"):
        text = read_regular(path, _SPEC_LIMIT).decode("utf-8", "replace")
    continued(asked, load_spec_text(text, str(path)).spec, run_dir)


def continued(asked: RunSpec, begun: RunSpec, run_dir: Path) -> RunSpec:
    """Return the spec with which a run that began as `begun` goes on where `asked` is asked for.

    It is that of the run; of `asked` is what decides nothing of it: who steps the environments, how often it is saved,
    how long a step may take, and where it computes, if `asked` says that.

    Raises:
        UsageError: They are specs of two runs; the message names the settings.
    """
    asked = _scaled_alike(asked, begun)
    found = dict(differences(asked, begun))
    if any(key.startswith("env.") for key in found):  # as a backend chooses what is left to it
        options, _ = adapters.load(asked.env.backend).settle(asked.env.options)
        asked = asked.model_copy(update={"env": asked.env.model_copy(update={"options": options})})
        found = dict(differences(asked, begun))
    if found:
        raise _another_run(found, asked, run_dir)
    env = begun.env.model_copy(update={name: getattr(asked.env, name) for name in ("timeout", "max_restarts")})
    logging = begun.logging.model_copy(update={"tensorboard": asked.logging.tensorboard})
    taken: dict[str, Any] = {"env": env, "logging": logging, "checkpoint": asked.checkpoint}
    if asked.device != "auto":
        taken["device"] = asked.device
    if asked.scale is not None and begun.scale is not None:
        taken["scale"] = begun.scale.model_copy(update={name: getattr(asked.scale, name) for name in CHANGEABLE})
    return begun.model_copy(update=taken)


def differences(asked: RunSpec, begun: RunSpec) -> Iterator[tuple[str, tuple[object, object]]]:
    """Yield each setting that makes two runs of two specs, by its key, with its value in the run and as asked."""
    here, there = (dict(_leaves(spec_to_dict(spec))) for spec in (asked, begun))
    both_sharded = asked.is_sharded and begun.is_sharded
    for key in dict.fromkeys([*there, *here]):
        values = there.get(key), here.get(key)
        is_free = key.startswith((*_FREE, "init.")) or (both_sharded and _is_of_workers(key))
        if values[0] != values[1] and not is_free and not (key in AUTOMATIC and values[1] == "auto"):
            yield key, values
    if not _starts_alike(asked.init, begun.init):
        yield "init.from", (there.get("init.from"), here.get("init.from"))


def _is_of_workers(key: str) -> bool:
    table, _, name = key.partition(".")
    return table == "scale" and name.partition(".")[0] in CHANGEABLE


def _scaled_alike(asked: RunSpec, begun: RunSpec) -> RunSpec:
    """Return `asked` with `[scale]` where torchrun implied one when the run began."""
    implied = asked.scale is None and begun.scale is not None and begun.scale.engine is None
    return asked.model_copy(update={"scale": ScaleSpec()}) if implied else asked


def _starts_alike(asked: InitSpec | None, begun: InitSpec | None) -> bool:
    """Return whether `[init]` may be that of a run, which has the absolute path and the frames of what it took."""
    if asked is None or begun is None:
        return asked is begun
    if isinstance(asked.checkpoint, int) and asked.checkpoint != begun.checkpoint:
        return False
    taken = Path(begun.from_)
    named = [Path(asked.from_).resolve(), Path("outputs", asked.from_).resolve()]
    if asked.from_ == "latest":
        named.append(Path("outputs").resolve())
    return any(taken.is_relative_to(path) or path.is_relative_to(taken) for path in named)


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _another_run(found: dict[str, tuple[object, object]], asked: RunSpec, run_dir: Path) -> UsageError:
    named = [f"{key} is {_shown(there)} there and {_shown(here)} here" for key, (there, here) in found.items()]
    more = f" and {len(named) - MOST_KEYS} more differ" if len(named) > MOST_KEYS else ""
    hint = "--resume goes on with a run of the same spec: name another folder with --run-dir, or set these as they were"
    there, here = found.get("total_frames", (None, None))
    if isinstance(there, int) and isinstance(here, int) and here > there:
        hint = f"to train it further: rl2 resume {run_dir} --frames {here}; for another run, name another --run-dir"
    return UsageError(
        f"this folder holds a run of another spec: {'; '.join(named[:MOST_KEYS])}{more}", hint=hint, place=str(run_dir)
    )


def _shown(value: object) -> str:
    return "left out" if value is None else shortened(json.dumps(value), _LONGEST_VALUE)
