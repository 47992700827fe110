"""What an environment backend is to rl2: `BaseEnvAdapter` and the `Step` it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from gymnasium import spaces

from rl2cli.keys import Observation
from rl2cli.options import Options as BaseOptions

Resume = Literal["episode_seed", "state", "none"]


@dataclass(slots=True)
class Step:
    """What one step of N environments returns, on the adapter's device."""

    observation: Observation
    """[N, *obs]; the next episode's first one where an episode ended (see `valid` for backends that cannot)."""
    reward: torch.Tensor
    """[N] float32, as the environment gave it."""
    terminated: torch.Tensor
    """[N] bool: the episode reached an end of the task."""
    truncated: torch.Tensor
    """[N] bool: the episode was cut, by a time limit for example; its last state still has a value."""
    final_observation: Observation | None = None
    """[N, *obs] whose rows are the true last observation where an episode ended; None where none did."""
    valid: torch.Tensor | None = None
    """[N] bool, False marks a row that was no frame: the backend only reset there; None where all are frames."""
    life_lost: torch.Tensor | None = None
    """[N] bool: learning takes this step as the episode's end, though the episode goes on; None where it never does."""
    info: dict[str, Any] = field(default_factory=dict)
    """`action_mask` [N, A] bool where the environment has one; anything else is the backend's own."""
    cut: torch.Tensor | None = None
    """[N] bool: the environment was lost, so its episode ended, truncated, with the step before, whose observation is
    its last; `observation` is a new episode's first, and the row is no frame. None where none was."""


class BaseEnvAdapter(ABC):
    """An environment backend behind rl2's contract, on one of two levels.

    *single* (the default): one environment, as in Gymnasium. `reset(seed) -> (observation, info)` and
    `step(action) -> (observation, reward, terminated, truncated, info)` with the backend's own data. It never resets
    itself; rl2 does, with a seed per episode, and makes it a batch in this process or in worker processes.

    *vectorised* (`vectorised = True`): N environments that reset themselves in the step that ended an episode.
    `reset(seeds, mask) -> (observation, info)` and `step(action) -> Step`.

    `setup` builds the backend (imported nowhere else) and sets `observation_space`, `action_space` (of a single
    environment) and, where it matters, `device`, `has_action_mask`, `frame_stack`, `resume` and `render_fps`.
    """

    Options: ClassVar[type[BaseOptions]] = BaseOptions
    vectorised: ClassVar[bool] = False
    instances_per_process: ClassVar[int | None] = None
    """How many of this vectorised adapter one process may make; further ones live in child processes. None is any
    number."""

    resume: Resume = "none"
    """How running episodes are restored: replaying seed and actions, the backend's own state, or not at all."""
    steps_elsewhere: bool = False
    """Whether a step leaves Python to others meanwhile: native threads or other processes do the work."""
    watches_itself: bool = False
    """Whether it finds out by itself that an environment hangs; any other one is watched from outside by a command."""
    has_action_mask: bool = False
    frame_skip: int = 1
    """Frames of the simulator in one step; shown beside the run's frames."""
    frame_stack: int = 1
    """Observations are the last so many frames along their first axis, the newest last; plain Box observations only.

    What keeps observations then keeps each frame once. An episode's first observation may be padded with anything.
    """
    critic_only: tuple[str, ...] = ()
    """Keys of a Dict observation that the policy does not get to see, as it will not have them where it is used."""
    render_fps: float | None = None
    """Pictures of `render` in a second of the environment's own time, one per step; None where it does not say."""
    process_cost: tuple[float, int] | None = None
    """Seconds to start and bytes of memory of the process of its own that it lives in; None where it lives here."""
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]

    def __init__(
        self,
        options: BaseOptions,
        *,
        num_envs: int = 1,
        device: torch.device | str = "cpu",
        render_mode: str | None = None,
    ) -> None:
        self.options = options
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.render_mode = render_mode
        self.incidents: list[str] = []
        """What happened to environments that ends a run's exactness, in words; whoever reports it takes it out."""

    @classmethod
    def select(cls, options: BaseOptions, num_envs: int) -> type[BaseEnvAdapter]:
        """Return the class that serves these options: this one, or a sibling (a native vector form of the backend)."""
        del options, num_envs
        return cls

    @classmethod
    def select_drawing(cls, options: BaseOptions) -> type[BaseEnvAdapter]:
        """Return the class that draws one environment with these options: this one, never a vector form of it."""
        del options
        return cls

    @classmethod
    def settle(cls, options: BaseOptions) -> tuple[BaseOptions, list[str]]:
        """Return the options with what they leave to be chosen chosen, and each choice as a sentence.

        The run keeps these options, so a resumed run and an evaluation choose nothing again.
        """
        return options, []

    @abstractmethod
    def setup(self) -> None:
        """Build the backend and declare its spaces.

        Raises:
            UsageError: The options name something that is not there.
            MissingDependencyError: The backend is not installed.
        """

    def wait(self) -> None:  # noqa: B027  # optional: most are ready when `setup` returns
        """Wait until the environments are ready, where `setup` only began to make them so."""

    @abstractmethod
    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Any, dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: *single*: an int. *vectorised*: [N] int64 array, the base seed of each environment; an
                environment's later episodes take their seeds from its base seed and the episode's number.
            mask: *vectorised*: [N] bool array of the environments to reset; None resets all. Unused for *single*.

        Returns:
            The first observation ([N, *obs] tensors if vectorised) and the backend's info.
        """

    @abstractmethod
    def step(self, action: Any) -> Any:
        """Take one step.

        Args:
            action: *single*: what `get_action` made. *vectorised*: tensor [N, *act] of the policy.

        Returns:
            *single*: observation, reward, terminated, truncated, info. *vectorised*: a `Step`.
        """

    def get_observation(self, raw: Any) -> Any:
        """Return the backend's own observation as data of `observation_space`; the identity unless overridden."""
        return raw

    def get_action(self, action: Any) -> Any:
        """Return the policy's action as what the backend takes; the identity unless overridden."""
        return action

    def render(self) -> np.ndarray:
        """Return a picture of the first environment, [height, width, 3] uint8.

        Right after the step that ended its episode it is that episode's last one, where the backend can draw it.

        Raises:
            UsageError: This backend cannot draw.
        """
        from rl2cli.envs.advice import UNSEEN
        from rl2cli.errors import UsageError

        raise UsageError(f"{type(self).__name__} cannot render", hint=f"write its method `render`; {UNSEEN}")

    def take_metrics(self) -> dict[str, float]:
        """Return what the backend itself reports, by name, since the last call; the seed must decide it."""
        return {}

    def get_state(self) -> dict[str, Any] | None:
        """Return what restores the running episodes (nested dicts of arrays and numbers), or None for "none"."""
        return None

    def set_state(self, state: dict[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Restore the running episodes from `get_state` and return their current observation and info.

        Raises:
            EnvironmentFault: The restored observation differs from the one that was saved.
        """
        raise NotImplementedError(f"{type(self).__name__} declares resume = {self.resume!r} but has no set_state")

    def close(self) -> None:  # noqa: B027  # optional by contract: most backends have nothing to close
        """Release what `setup` took; may be called more than once."""


def is_stacked(space: spaces.Space[Any], frame_stack: int) -> bool:
    """Return whether observations of `space` can be `frame_stack` frames along their first axis."""
    return isinstance(space, spaces.Box) and space.shape[:1] == (frame_stack,)
