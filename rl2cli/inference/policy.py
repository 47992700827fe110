"""A trained policy, loaded from a run folder: weights and normaliser statistics come together or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.envs import make_env_adapter
from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.errors import UsageError
from rl2cli.keys import ACTION, map_observation
from rl2cli.plugins.lookup import look_from
from rl2cli.spaces import to_backend_rows, to_tensors
from rl2cli.spec import spec_from_dict
from rl2cli.spec.model import RunSpec
from rl2cli.training.build import build_algorithm, choose_device
from rl2cli.training.checkpoint import Checkpoint, CheckpointStore
from rl2cli.training.plugin_changes import changed_plugins
from rl2cli.training.run_folder import find_run
from rl2cli.training.seeding import make_generator


class Policy:
    """Acts on observations of one environment, as it did in training's evaluation.

    Args:
        algorithm: The trained algorithm.
        spec: The spec of the run it is from.
        checkpoint: The checkpoint it is from.
        run_dir: Folder of the run.
        env: The environment its spaces are from, one of it; closed by `close`.
    """

    def __init__(
        self, algorithm: BaseAlgorithm, spec: RunSpec, checkpoint: Checkpoint, run_dir: Path, env: BaseEnvAdapter
    ) -> None:
        self.algorithm = algorithm
        self.spec = spec
        self.checkpoint = checkpoint
        self.run_dir = run_dir
        self.observation_space = getattr(env, "raw_space", env.observation_space)
        self.action_space = env.action_space
        self.env = env
        self._generator = make_generator(spec.seed, "load_policy", algorithm.task.device)

    def __call__(self, observation: Any, *, stochastic: bool = False, action_mask: np.ndarray | None = None) -> Any:
        """Return the action for one observation, both as the Gymnasium environment has them.

        Args:
            observation: Of `observation_space`; a dict of arrays for a Dict space.
            stochastic: Sample from the policy; its most probable action otherwise.
            action_mask: [A], nonzero where an action is allowed.
        """
        batched = _batch_of_one(observation)
        tensors = map_observation(
            lambda tensor: tensor.to(self.algorithm.task.device), to_tensors(self.observation_space, batched)
        )
        mask = None
        if action_mask is not None:
            mask = torch.as_tensor(action_mask, dtype=torch.bool, device=self.algorithm.task.device).unsqueeze(0)
        chosen = self.algorithm.act(tensors, self._generator if stochastic else None, mask)
        return to_backend_rows(self.action_space, chosen[ACTION].cpu().numpy())[0]

    def close(self) -> None:
        """Close the environment that the spaces came from."""
        self.env.close()


def load_policy(
    run: str | Path | None = None, *, checkpoint: str = "best", device: str = "cpu", render_mode: str | None = None
) -> Policy:
    """Load a trained policy; runs no code that the run folder brings.

    Args:
        run: A run's folder, one of its checkpoints, `"latest"`, or None for the last run under `./outputs`.
        checkpoint: `"best"`, `"last"` or a number of frames.
        device: Where it computes: auto, cpu, cuda or mps.
        render_mode: How the policy's environment, `policy.env`, draws; None where it does not.

    Raises:
        UsageError: There is no such run.
        NoCheckpointError: No checkpoint of it can be loaded.
    """
    found = find_run(None if run is None else str(run))
    loaded = read_checkpoint(found.path, checkpoint if found.checkpoint is None else str(found.checkpoint))
    look_from(found.path.absolute())
    spec = spec_from_dict(loaded.metadata["spec"]).model_copy(update={"device": device})
    chosen, _ = choose_device(spec)
    env = make_env_adapter(spec.env, num_envs=1, device=chosen, render_mode=render_mode, workers=0)
    try:
        algorithm = build_algorithm(spec, env, chosen)
        algorithm.load_state_dict(loaded.state["algorithm"])
    except BaseException:
        env.close()
        raise
    loaded.notes.extend(changed_plugins(found.path, spec))
    return Policy(algorithm, spec, loaded, found.path, env)


def read_checkpoint(run_dir: Path, which: str) -> Checkpoint:
    """Return checkpoint `which` (best, last or a number of frames) of the run in `run_dir`, changing nothing there.

    Raises:
        UsageError: `which` is none of these.
        NoCheckpointError: It cannot be loaded.
    """
    store = CheckpointStore(run_dir / "checkpoints", read_only=True)
    try:
        if which == "best":
            return store.best(segments=False)
        if which == "last":
            return store.newest(segments=False)
        if which.isascii() and which.isdigit():
            return store.at(int(which), segments=False)
    finally:
        store.close()
    raise UsageError(f"unknown checkpoint {which!r}", hint="best, last, or a number of frames")


def _batch_of_one(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {key: _batch_of_one(value) for key, value in observation.items()}
    if isinstance(observation, tuple):
        return tuple(_batch_of_one(value) for value in observation)
    return np.asarray(observation)[None]
