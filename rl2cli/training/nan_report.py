"""What a run leaves where a number was not finite: `nan_report/` with the tensors and the last steps."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save

from rl2cli.durable import write_bytes_atomic, write_text_atomic
from rl2cli.errors import NonFiniteError, StorageError
from rl2cli.text import shortened

if TYPE_CHECKING:
    from rl2cli.training.trainer import Trainer

FOLDER = "nan_report"
STEPS = 64
"""Steps of the last rollout that are kept, those up to the last one."""
MAX_BYTES = 64 * 2**20
"""Of all tensors together; what does not fit is described, not kept."""
_LONGEST_NAME = 200


def write_nan_report(run: Path, trainer: Trainer, error: NonFiniteError) -> Path | None:
    """Write `tensors.safetensors` and `report.json` about `error` into the run's folder; None where that failed."""
    folder = run / FOLDER
    tensors = {name: tensor.detach() for name, tensor in _tensors(trainer, error)}
    kept = dict(_fitting(tensors))
    report = {
        "message": error.message,
        "frames": trainer.frames,
        "iteration": trainer.iteration,
        "metrics": {name: _json(value) for name, value in trainer.metrics.items()},
        "steps": "rollout/* are the last steps, [steps, environments, ...]; environments/* replay the running episodes",
        "tensors": {name: _described(tensor) for name, tensor in tensors.items()},
        "left_out": [name for name in tensors if name not in kept],
    }
    with suppress(StorageError, OSError):
        if folder.is_symlink():
            return None
        os.makedirs(folder, exist_ok=True)
        write_bytes_atomic(folder / "tensors.safetensors", save(kept))
        write_text_atomic(folder / "report.json", json.dumps(report, indent=2) + "\n")
        return folder
    return None


def _tensors(trainer: Trainer, error: NonFiniteError) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a report, the most telling first."""
    yield from _flattened("cause", error.tensors)
    yield from _flattened("rollout", trainer.collector.rollout.last_steps(STEPS))
    with suppress(Exception):  # of an environment that may be broken
        yield from _flattened("environments", trainer.env.get_state() or {})
    yield from _flattened("algorithm", trainer.algorithm.state_dict())


def _flattened(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flattened(f"{name}/{shortened(str(key), _LONGEST_NAME)}", part)
    elif isinstance(value, torch.Tensor):
        yield name, value
    elif hasattr(value, "dtype") and hasattr(value, "shape"):
        with suppress(TypeError, ValueError):  # arrays of a kind that torch has not
            yield name, torch.as_tensor(value)


def _fitting(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    left = MAX_BYTES
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if size <= left:
            left -= size
            yield name, tensor.cpu().clone().contiguous()


def _described(tensor: torch.Tensor) -> dict[str, object]:
    facts: dict[str, object] = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
    if not tensor.is_floating_point() or not tensor.numel():
        return facts
    finite = tensor[tensor.isfinite()]
    if len(finite):
        facts |= {"min": float(finite.min()), "max": float(finite.max())}
    counts = {"nan": int(tensor.isnan().sum()), "infinite": int(tensor.isinf().sum())}
    return facts | {name: number for name, number in counts.items() if number}


def _json(value: float) -> object:
    return value if math.isfinite(value) else str(value)
