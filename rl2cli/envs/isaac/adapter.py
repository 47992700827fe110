"""The `isaac` backend: any single-agent task of Isaac Lab 3, with Isaac Sim or without it."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.envs.advice import RAISED
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.isaac import assets, camera
from rl2cli.envs.isaac.configuration import Task, asset_files, load_task
from rl2cli.envs.isaac.installation import choose_physics, require_lab, require_physics
from rl2cli.envs.isaac.options import IsaacOptions
from rl2cli.envs.isaac.quiet import chatter_kept, divert_foreign_stdout
from rl2cli.envs.rendering import PICTURES
from rl2cli.envs.seeding import joint_seed
from rl2cli.envs.warp_on_cpu import start_warp
from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.keys import Observation
from rl2cli.options import Options as BaseOptions
from rl2cli.registry import import_target
from rl2cli.spaces import action_dtype, action_leaves, action_shape, observation_space

POLICY, CRITIC = "policy", "critic"
"""Isaac Lab's groups of observations."""


class IsaacAdapter(BaseEnvAdapter):
    """N environments of one Isaac Lab task, in the one simulation context that a process can have.

    Its tensors stay on the simulation's device and are copies, as Isaac Lab writes into the same buffers again.
    Isaac Lab draws from torch's global generator, which nothing else in rl2 does; a running episode cannot be restored.
    """

    Options = IsaacOptions
    options: IsaacOptions
    vectorised = True
    instances_per_process = 1
    _log: dict[str, tuple[Any, int]]
    """Sum and count of each thing that the task has logged."""

    @classmethod
    def settle(cls, options: BaseOptions) -> tuple[BaseOptions, list[str]]:
        """Choose physics and asset root where they are automatic.

        Raises:
            MissingDependencyError: Isaac Lab is not installed.
        """
        assert isinstance(options, IsaacOptions)
        require_lab()
        found: dict[str, str] = {}
        choices = []
        if options.physics == "auto":
            found["physics"], said = choose_physics()
            choices.append(said)
        if options.asset_root == "auto":
            found["asset_root"], said = assets.choose_root()
            choices.append(said)
        return options.model_copy(update=found), choices

    def setup(self) -> None:
        """Start the simulation, in the order that Kit asks for: its app first, then what needs it."""
        settled, _ = self.settle(self.options)
        assert isinstance(settled, IsaacOptions)
        assert settled.physics != "auto"
        self.options = settled
        require_physics(settled.physics)
        root = assets.use_root(settled.asset_root)
        divert_foreign_stdout()
        with contextlib.ExitStack() as stack, chatter_kept():
            if settled.physics != "isaacsim":
                start_warp()
            task = load_task(settled)
            self._prepare(task, root)
            stack.enter_context(_launched(task, self._launcher_arguments(task)))
            self._env = self._make(task)
            self._stack = stack.pop_all()
            self._declare()
            self._begin()

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes in all environments, from one seed made of all seeds.

        Raises:
            UsageError: `mask` leaves environments out.
        """
        if mask is not None and not mask.all():
            raise UsageError(
                "Isaac Lab's seed is one for all environments: single ones cannot be reset",
                hint="reset all of them, without `mask`",
            )
        seed = None if seed is None else joint_seed(np.asarray(seed)) % 2**31
        try:
            raw, _ = self._env.reset(seed=seed)
        except Exception as error:
            raise self._fault("reset", error) from error
        self._steps, self._log = 0, {}
        return self._observation(raw), {}

    def step(self, action: torch.Tensor) -> Step:
        """Take one step in every environment; those that end begin anew in it."""
        action = action.to(self.device)
        if self.options.clip_actions is not None:
            action = action.clamp(-self.options.clip_actions, self.options.clip_actions)
        try:
            raw, reward, terminated, truncated, extras = self._env.step(action)
        except Exception as error:
            raise self._fault("step", error) from error
        self._steps += 1
        terminated, truncated = terminated.bool().clone(), truncated.bool().clone()
        if self._is_finite_horizon:  # its time limit belongs to the task
            terminated, truncated = terminated | truncated, torch.zeros_like(truncated)
        final = None
        if bool((terminated | truncated).any()):
            final = self._final_observation(extras)
            self._note(extras.get("log", {}))
        return Step(self._observation(raw), reward.float().clone(), terminated, truncated, final)

    def take_metrics(self) -> dict[str, float]:
        """Return the means of what the task has logged since the last call, in the steps in which episodes ended."""
        means = {name: float(total) / count for name, (total, count) in self._log.items()}
        self._log = {}
        return {f"environment/{name}": mean for name, mean in means.items() if np.isfinite(mean)}

    def render(self) -> np.ndarray:
        """Return a picture of the first environment, by the camera that was put beside it."""
        return camera.picture(self._env)

    def close(self) -> None:
        """End the simulation; Kit's app, whose end would be that of the process, stays until then."""
        env = self.__dict__.pop("_env", None)
        if env is None:
            return
        with contextlib.suppress(Exception), chatter_kept():
            env.close()
            if self.options.physics != "isaacsim":
                self._stack.close()

    def _prepare(self, task: Task, root: str) -> None:
        """Write into the configuration what rl2 decides."""
        configuration = task.configuration
        configuration.scene.num_envs = self.num_envs
        configuration.sim.device = str(self.device)
        configuration.seed = 0  # until the first reset
        configuration.compute_final_obs = True
        if self.device.type == "cpu" and hasattr(configuration.sim.physics, "use_cuda_graph"):
            configuration.sim.physics.use_cuda_graph = False
        if self.render_mode == PICTURES:
            camera.add_camera(configuration, self.options.physics)
        elif self.render_mode is not None:
            raise UsageError("Isaac Lab's tasks open no window here", hint="--view terminal, or --record-video")
        assets.require_assets(task.name, asset_files(configuration), root)

    def _launcher_arguments(self, task: Task) -> dict[str, Any]:
        launcher = self.options.launcher.model_dump()
        physics = {} if task.launcher_physics is None else {"physics": task.launcher_physics}
        return {**launcher, **physics, "device": str(self.device), "headless": True, "visualizer": "none"}

    def _make(self, task: Task) -> Any:
        """Return the environment itself, without Gymnasium's wrappers."""
        made = task.entry_point
        if isinstance(made, str):
            made = import_target(made, what=f"environment of {task.name}")
        try:
            env = made(cfg=task.configuration)
        except FileNotFoundError as error:
            raise UsageError(f"{task.name}: {error}", hint="see asset_root under [env]", place="env.id") from error
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error).lower():
                raise
            message = f"{self.num_envs} environments of {task.name} do not fit into memory: {error}"
            raise UsageError(message, hint="a smaller num_envs", place="env.num_envs") from error
        if self.render_mode == PICTURES:
            camera.aim(env)
        return env

    def _declare(self) -> None:
        env = self._env
        self.device = torch.device(env.device)
        whole = env.single_observation_space
        parts = {key: observation_space(space) for key, space in whole.spaces.items()}
        self._is_plain = list(parts) == [POLICY] and not isinstance(parts[POLICY], spaces.Dict)
        self.observation_space = parts[POLICY] if self._is_plain else spaces.Dict(parts)
        self.critic_only = (CRITIC,) if CRITIC in parts and len(parts) > 1 else ()
        self.action_space = self._actions(env.single_action_space)
        action_leaves(self.action_space)
        self.render_fps = 1.0 / env.step_dt
        self.frame_skip = int(env.cfg.decimation)
        self._is_finite_horizon = bool(getattr(env.cfg, "is_finite_horizon", False))
        self._keys = list(parts)
        self._steps, self._log = 0, {}
        _answer_with_copies(env)

    def _begin(self) -> None:
        """Reset and step once: the very first reset sets no velocities on PhysX, so its episodes would be others."""
        self._env.reset(seed=0)
        idle = torch.zeros(self.num_envs, *action_shape(self.action_space), dtype=action_dtype(self.action_space))
        self._env.step(idle.to(self.device))

    def _actions(self, space: spaces.Space[Any]) -> spaces.Space[Any]:
        if self.options.clip_actions is None or not isinstance(space, spaces.Box):
            return space
        edge = np.full(space.shape, self.options.clip_actions, np.float32)
        return spaces.Box(-edge, edge, dtype=np.float32)

    def _observation(self, raw: dict[str, Any]) -> Observation:
        """Return what Isaac Lab gave as copies, in the dtypes of the space."""
        found = {key: _copied(raw[key]) for key in self._keys}
        return found[POLICY] if self._is_plain else found

    def _final_observation(self, extras: dict[str, Any]) -> Observation:
        final = extras.get("final_obs")
        if final is None:
            raise EnvironmentFault(
                f"{self.options.id}: an episode ended and extras['final_obs'] is missing",
                hint="an environment class of your own has to fill it in, as Isaac Lab's do with compute_final_obs",
                place="env.id",
            )
        return self._observation(final)

    def _note(self, log: dict[str, Any]) -> None:
        for name, value in log.items():
            if isinstance(value, torch.Tensor):
                value = value.float().mean()
            elif not isinstance(value, int | float):
                continue
            total, count = self._log.get(name, (0.0, 0))
            self._log[name] = total + value, count + 1

    def _fault(self, method: str, error: Exception) -> EnvironmentFault:
        return EnvironmentFault(
            f"{self.options.id} raised {type(error).__name__} in {method}: {error} (after {self._steps} steps)",
            hint=RAISED,
        )


@contextlib.contextmanager
def _launched(task: Task, arguments: dict[str, Any]) -> Any:
    """Start what the configuration needs, Kit's app included, until the block's end."""
    from isaaclab.app import launch_simulation

    try:
        launched = launch_simulation(task.configuration, arguments)
        launched.__enter__()
    except ValueError as error:
        hint = 'physics = "auto" under [env] takes what is installed here'
        raise UsageError(f"{task.name}: {error}", hint=hint, place="env.physics") from error
    try:
        yield
    finally:
        launched.__exit__(None, None, None)


def _answer_with_copies(env: Any) -> None:
    """Let the last observations that Isaac Lab keeps be copies: a task may return a buffer that it fills again."""
    for holder, name in ((env, "_compute_observations"), (getattr(env, "observation_manager", None), "compute")):
        compute = getattr(holder, name, None)
        if compute is not None:
            setattr(holder, name, _copying(compute))


def _copying(compute: Any) -> Any:
    def compute_copies(*arguments: Any, **named: Any) -> Any:
        return _copied(compute(*arguments, **named))

    return compute_copies


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if not isinstance(value, torch.Tensor):
        return value
    return value.clone() if value.dtype in (torch.float32, torch.uint8, torch.int64) else _as_rl2_has_it(value)


def _as_rl2_has_it(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value.long()
