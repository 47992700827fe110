"""The `omniverse` backend: N clones of a USD scene, reset in the step that ends an episode."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import torch
from gymnasium import spaces

from rl2cli.envs.advice import NOT_RESTORED
from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.isaac.installation import has_isaac_sim
from rl2cli.envs.omniverse.engine import Engine
from rl2cli.envs.omniverse.options import CameraOptions, Kind, OmniverseOptions
from rl2cli.envs.omniverse.sight import Sight
from rl2cli.envs.omniverse.task import Task
from rl2cli.errors import EnvironmentFault, MissingDependencyError, UsageError
from rl2cli.keys import Observation
from rl2cli.options import Options as BaseOptions
from rl2cli.registry import import_target
from rl2cli.trust import require_allowed

PACKAGES = {"ovphysx": "0.6.", "ovstage": "0.2.", "usd-exchange": "3."}
"""What PhysX as a library needs, and how the versions begin that were tried."""
CAMERA_PACKAGES = {"newton": "1.6.", "warp-lang": "1.17."}
"""The same for cameras and videos."""
INSTALL = 'pip install "rl2cli[omniverse]"'
_NAMES: dict[Kind, str] = {"ovphysx": "PhysX as a library (ovphysx)", "isaacsim": "PhysX in Isaac Sim's Kit (isaacsim)"}
BODY_BYTES = 24_000
"""What PhysX takes for a rigid body, measured and rounded up."""


class OmniverseAdapter(BaseEnvAdapter):
    """N clones of a USD scene with a declared task.

    An episode is a function of its environment's base seed, its number and its actions, so running ones are restored
    by playing them again. PhysX's own state would not do: what its solver remembers of a step is not among the tensors.
    """

    Options: ClassVar[type[BaseOptions]] = OmniverseOptions
    options: OmniverseOptions
    vectorised = True
    instances_per_process = 1
    resume = "episode_seed"

    @classmethod
    def settle(cls, options: BaseOptions) -> tuple[BaseOptions, list[str]]:
        """Choose the engine where it is automatic."""
        assert isinstance(options, OmniverseOptions)
        if options.engine != "auto":
            return options, []
        chosen: Kind = "isaacsim" if has_isaac_sim() else "ovphysx"
        return options.model_copy(update={"engine": chosen}), [f"engine: {_NAMES[chosen]}"]

    def setup(self) -> None:
        """Open the scene, clone it and bind the task's terms."""
        options = self.options
        if self.device.type == "mps":
            self.device = torch.device("cpu")
        self._engine = self.make_engine()
        task = self._task = Task(options, self._engine)
        self._sight = Sight(
            task, {name: (camera, self.make_camera(camera)) for name, camera in options.cameras.items()}
        )
        count, device = self.num_envs, self.device
        self.observation_space = self._sight.space
        self.action_space = spaces.Box(-1.0, 1.0, (task.num_actions,), np.float32)
        self.frame_skip = options.decimation
        self.render_fps = 1.0 / task.world.seconds
        self._view = None if self.render_mode is None else self.make_camera(options.view)
        self._reward = torch.zeros(count, device=device)
        self._truncated = torch.zeros(count, dtype=torch.bool, device=device)
        self._base_seeds, self._episodes = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._began = np.zeros(count, np.int64)  # step of all at which each episode began
        self._steps = 0
        self._shot: np.ndarray | None = None  # the last picture of an episode that has just ended
        self._log = torch.zeros(options.max_episode_steps, count, task.num_actions, device=device)
        """Actions of the newest steps, number t in row t % length: as long as an episode can be."""

    def make_engine(self) -> Engine:
        """Return the engine with this scene in it.

        Raises:
            UsageError: There is no such scene, or it is no scene with one articulation, or it does not fit.
            MissingDependencyError: The engine is not installed, or its licence is not accepted.
        """
        options, _ = self.settle(self.options)
        assert isinstance(options, OmniverseOptions)
        if options.cameras or self.render_mode is not None:
            require_packages(CAMERA_PACKAGES)
        make = self._kit_engine() if options.engine == "isaacsim" else self._physx_engine()
        from rl2cli.envs.omniverse.stage import find_file, read_scene

        scene = self._scene = read_scene(_authored(options.scene) or find_file(options.scene), options.articulation)
        _require_memory(self.num_envs, scene.bodies)
        return make(
            scene,
            num_envs=self.num_envs,
            spacing=options.spacing,
            ground=options.ground,
            friction=options.friction,
            device=self.device,
        )

    def _physx_engine(self) -> Callable[..., Engine]:
        require_packages(PACKAGES)
        from rl2cli.envs.omniverse.physx import PhysXEngine

        return PhysXEngine

    def _kit_engine(self) -> Callable[..., Engine]:
        """Start Kit, before a scene is read or written with the USD library that Kit brings."""
        from rl2cli.envs.omniverse.kit import KitEngine
        from rl2cli.envs.omniverse.kit_app import start_kit

        start_kit()
        return KitEngine

    def make_camera(self, options: CameraOptions) -> Any:
        """Return what takes pictures of the environments."""
        from rl2cli.envs.omniverse.camera import Camera

        return Camera(
            options,
            self._scene,
            self._engine.body_names,
            num_envs=self.num_envs,
            ground=self.options.ground,
            device=self.device,
        )

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start new episodes, of all environments or of those in `mask`."""
        seeds = np.arange(self.num_envs, dtype=np.int64) if seed is None else np.asarray(seed, np.int64)
        chosen = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask, np.bool_)
        self._base_seeds[chosen], self._episodes[chosen] = seeds[chosen], 0
        self._sight.look(self._begin(chosen))
        return self._sight.observation, {}

    def step(self, action: torch.Tensor) -> Step:
        """Take one step in every environment."""
        step, done = self._advance(action)
        self._sight.look()
        self._shot = None
        if done is not None:
            if self._view is not None:
                self._shot = self._picture()
            self._sight.end()
            step.final_observation = self._sight.final
            self._episodes[done] += 1
            self._sight.look(self._begin(done))
        return step

    def render(self) -> np.ndarray:
        """Return a picture of the first environment; after the end of its episode, its last."""
        if self._view is None:
            raise UsageError("this environment was not made to draw", hint='make it with render_mode = "rgb_array"')
        return self._picture() if self._shot is None else self._shot

    def _picture(self) -> np.ndarray:
        assert self._view is not None
        picture: np.ndarray = self._view.take(self._task.world.body_pose)[0].cpu().numpy().copy()
        return picture

    def get_state(self) -> dict[str, Any] | None:
        """Return seeds, numbers of the episodes, and their actions."""
        lengths = self._steps - self._began
        longest = int(lengths.max(initial=0))
        steps = torch.arange(self._steps - longest, self._steps, device=self.device) % len(self._log)
        return {
            "base_seed": self._base_seeds.copy(),
            "episode": self._episodes.copy(),
            "length": lengths,
            "actions": self._log[steps].cpu().numpy(),
            "observation": self._sight.numbers.cpu().numpy().copy(),
        }

    def set_state(self, state: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Play the running episodes again, each from its beginning."""
        self._base_seeds[...], self._episodes[...] = state["base_seed"], state["episode"]
        lengths = np.asarray(state["length"])
        longest = int(lengths.max(initial=0))
        actions = torch.as_tensor(np.asarray(state["actions"]), dtype=torch.float32, device=self.device)
        pictures = longest - self._sight.longest_stack  # before these, none that is still seen is taken
        for index in range(longest):
            begun = self._begin(lengths == longest - index)
            if begun is not None and index >= pictures:
                self._sight.look(begun)
            _, done = self._advance(actions[index])
            if done is not None and bool((done & (lengths >= longest - index)).any()):
                raise EnvironmentFault("an episode ended early when it was replayed", hint=NOT_RESTORED)
            if index >= pictures:
                self._sight.look()
        begun = self._begin(lengths == 0)
        self._sight.look(torch.zeros(0, dtype=torch.int64, device=self.device) if begun is None else begun)
        if not torch.equal(self._sight.numbers.cpu(), torch.as_tensor(np.asarray(state["observation"]))):
            raise EnvironmentFault("PhysX, given the same actions again, came to other observations", hint=NOT_RESTORED)
        return self._sight.observation, {}

    def close(self) -> None:
        """Let go of the engine."""
        if hasattr(self, "_engine"):
            self._engine.close()

    def _advance(self, action: torch.Tensor) -> tuple[Step, np.ndarray | None]:
        """Move all environments on by a frame; return the step without observations, and the ended rows if any."""
        task, world, options = self._task, self._task.world, self.options
        task.act(action.to(self.device))
        self._log[self._steps % len(self._log)] = world.last_action
        self._steps += 1
        try:
            self._engine.step(options.dt, options.decimation)
        except Exception as error:
            raise EnvironmentFault(
                f"the simulator raised {type(error).__name__}: {error}",
                hint="where the physics has failed, a smaller dt or smaller efforts help; --debug shows the traceback",
            ) from error
        world.changed()
        world.episode_step += 1
        task.terminate(world.terminated)
        torch.ge(world.episode_step, options.max_episode_steps, out=self._truncated)
        self._truncated &= ~world.terminated
        task.reward(self._reward)
        done = (world.terminated | self._truncated).cpu().numpy()
        step = Step(self._sight.observation, self._reward, world.terminated, self._truncated)
        return step, done if done.any() else None

    def _begin(self, chosen: np.ndarray) -> torch.Tensor | None:
        """Begin an episode in the environments in `chosen` [N] bool; return their indices, None for none."""
        rows = np.flatnonzero(chosen)
        if not len(rows):
            return None
        indices = torch.from_numpy(rows).to(self.device)
        self._task.begin(indices, self._base_seeds, self._episodes)
        self._began[rows] = self._steps
        return indices


def require_packages(packages: Mapping[str, str]) -> None:
    """Check that `packages` are installed, in versions that were tried.

    Raises:
        MissingDependencyError: It is not; the hint is the line that installs it.
    """
    for name, version in packages.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise MissingDependencyError(f"omniverse needs {name!r}, which is not installed", hint=INSTALL) from None
        if not found.startswith(version):
            raise MissingDependencyError(
                f"omniverse was made for {name} {version}x, and {found} is installed", hint=INSTALL
            )


def _authored(scene: str) -> Path | None:
    """Return the file that a user's function gives, where `scene` names one."""
    module, _, name = scene.partition(":")
    if not name or Path(scene).exists() or not module.replace(".", "").isidentifier():
        return None
    require_allowed(module, f"the scene {scene!r}")
    file = import_target(scene, what="scene")()
    if not isinstance(file, str | Path):
        raise UsageError(
            f"{scene} should return the path of a USD file, not {type(file).__name__}",
            hint="let it write the file and return its path, a str or a Path",
            place="env.scene",
        )
    return Path(file)


def _require_memory(num_envs: int, bodies: int) -> None:
    """Refuse more environments than there is memory for.

    Raises:
        UsageError: There are; the hint has the number that fits.
    """
    available = psutil.virtual_memory().available
    needed = num_envs * max(bodies, 1) * BODY_BYTES
    if needed > available:
        fits = int(available / (max(bodies, 1) * BODY_BYTES))
        raise UsageError(
            f"{num_envs:,} environments of {bodies} bodies take about {needed / 1e9:.0f} GB, and "
            f"{available / 1e9:.0f} GB are free",
            hint=f"num_envs = {fits} fits",
            place="env.num_envs",
        )
