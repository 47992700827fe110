"""`rl2 export`: a trained policy as one file that runs without rl2, verified before it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import torch

from rl2cli.durable import require_new_file, write_bytes_atomic, write_text_atomic
from rl2cli.inference.deterministic import DeterministicPolicy, Port
from rl2cli.inference.export_formats import BATCH, FORMATS, require_packages, trace
from rl2cli.inference.policy import Policy, load_policy
from rl2cli.inference.verification import Agreement, collect_inputs, verify
from rl2cli.spec import spec_to_dict
from rl2cli.training.machine_facts import versions
from rl2cli.training.precision import set_precision

EXAMPLE_ROWS = 2


def export(run: str | None, *, format: str, checkpoint: str = "best", out: Path | None = None) -> dict[str, Any]:
    """Write the deterministic policy of a run to a file, with a description `FILE.json` beside it.

    Raw observations go in, actions as the environment takes them come out; networks compute in float32.

    Args:
        run: A run's folder, one of its checkpoints, `"latest"`, or None for the last run under `./outputs`.
        format: `"onnx"` or `"torch"`.
        checkpoint: `"best"`, `"last"` or a number of frames.
        out: The file; `NAME.onnx` or `NAME.pt2` in the current folder where left out, after the run's name.

    Returns:
        What the description says, and where both files are.

    Raises:
        UsageError: There is no such run, or a file of that name already.
        NoCheckpointError: No checkpoint of it can be loaded.
        MissingDependencyError: What the format needs is not installed.
        RL2Error: The policy cannot be exported, or what came out does something else.
    """
    require_packages(format)
    if out is not None:
        _require_new(out)
    with closing(load_policy(run, checkpoint=checkpoint)) as policy:
        path = out or Path(f"{policy.spec.name}{FORMATS[format].suffix}")
        _require_new(path)
        set_precision(policy.algorithm, "float32")
        content, module, agreement = _make(policy, format)
        description = _describe(policy, module, agreement, format)
        description |= {"file": path.name, "sha256": hashlib.sha256(content).hexdigest()}
        _write(path, content, description)
        notes = list(policy.checkpoint.notes)
    return {**description, "path": str(path), "description": str(description_path(path)), "notes": notes}


def description_path(path: Path) -> Path:
    """Return where the description of the exported policy at `path` lies."""
    return path.with_name(f"{path.name}.json")


def _require_new(path: Path) -> None:
    require_new_file(path)
    require_new_file(description_path(path))


def _make(policy: Policy, name: str) -> tuple[bytes, DeterministicPolicy, Agreement]:
    """Return the file's content, what it was made of, and how well it agrees with `policy`."""
    inputs = collect_inputs(policy)
    module = DeterministicPolicy(
        policy.algorithm,
        policy.observation_space,
        policy.action_space,
        has_action_mask=policy.algorithm.task.has_action_mask,
    )
    program = trace(module, [torch.from_numpy(array[:EXAMPLE_ROWS].copy()) for array in inputs])
    content = FORMATS[name].write(program, module)
    return content, module, verify(policy, FORMATS[name].open(content, module), inputs, module.outputs)


def _write(path: Path, content: bytes, description: dict[str, Any]) -> None:
    """Write both files, or none."""
    _require_new(path)  # again: exporting takes a while
    write_bytes_atomic(path, content)
    try:
        write_text_atomic(description_path(path), json.dumps(description, indent=2, allow_nan=False) + "\n")
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _describe(policy: Policy, module: DeterministicPolicy, agreement: Agreement, format: str) -> dict[str, Any]:
    spec = spec_to_dict(policy.spec)
    return {
        "format": format,
        "run": str(policy.run_dir.absolute()),
        "name": policy.spec.name,
        "checkpoint": policy.checkpoint.frames,
        "algorithm": policy.spec.algorithm.name,
        "network": policy.spec.network.name,
        "env": spec["env"],
        "observation_space": _one_line(policy.observation_space),
        "action_space": _one_line(policy.action_space),
        "inputs": _ports(module.inputs),
        "outputs": _ports(module.outputs),
        "verification": {
            "observations": agreement.observations,
            "max_difference": agreement.max_difference,
            "differing_choices": agreement.differing,
            "tolerance": agreement.tolerance,
        },
        "versions": versions(),
    }


def _ports(ports: Sequence[Port]) -> list[dict[str, Any]]:
    return [
        {
            "name": port.name,
            "path": list(port.path),
            "shape": [BATCH, *port.shape],
            "dtype": str(port.dtype),
            "space": "action mask: true where an action is allowed" if port.space is None else _one_line(port.space),
        }
        for port in ports
    ]


def _one_line(space: object) -> str:
    return " ".join(str(space).split())
