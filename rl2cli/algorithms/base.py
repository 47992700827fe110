"""What an algorithm is to rl2: it acts and it learns; the Trainer does the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from torch import nn

from rl2cli.algorithms.compiled import CompiledStep
from rl2cli.keys import Observation, Trajectories
from rl2cli.networks.base import BaseNetwork
from rl2cli.options import Options as OptionsModel
from rl2cli.segment import Segment


@dataclass(frozen=True)
class Task:
    """What an algorithm is built for: the spaces, the size of the run, the networks and the seeds."""

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    num_envs: int
    total_frames: int
    """Frames over which schedules run."""
    device: torch.device
    make_network: Callable[[int], BaseNetwork]
    """Builds the actor's network; the argument is `extra_features`."""
    make_critic_network: Callable[[int], BaseNetwork]
    """Builds a critic's network; the argument is `extra_features`."""
    make_generator: Callable[[str], torch.Generator]
    """Makes the random generator of a named purpose, on `device`, seeded from the run's seed."""
    has_action_mask: bool = False
    frame_stack: int = 1
    """Observations are the last so many frames along their first axis, each of which moves up by one in a step."""
    lag: int = 0
    """Updates that the weights which collected a rollout are behind those that learn from it, beyond `overlap`."""


class BaseAlgorithm(nn.Module, ABC):
    """Acts on observations and learns from trajectories.

    `state_dict` holds everything learning needs to go on: parameters, optimisers, normalisers, counters.

    Args:
        options: The algorithm's own validated options.
        task: What it is built for.

    Raises:
        UsageError: It cannot act in the task's action space; the message says which algorithm can.
    """

    Options: ClassVar[type[OptionsModel]] = OptionsModel
    has_critic: bool = True
    """Whether it builds a critic with a network of its own; where not, `[critic_network]` is refused."""
    can_overlap: ClassVar[bool] = False
    """Whether it learns from rollouts of one update ago, collected by a copy of it that has its `acting_tensors`."""
    shares_gradients: ClassVar[bool] = False
    """Whether its steps are `FlatAdam.minimise`, so that several learners share the rows of a minibatch."""
    rollout_length: int
    """Steps of every environment between two updates."""
    memory_bytes: int = 0
    """Memory that the first `update` will take for what is kept of the past, a replay buffer."""
    memory_option: ClassVar[str] = "buffer_size"
    """The option, a number of frames, that `memory_bytes` is proportional to."""
    acts_for_another: bool = False
    """Whether another, with newer weights, learns from what it does."""
    generators: dict[str, torch.Generator]
    """Its random generators by purpose; the Trainer saves and restores their states."""

    def __init__(self, options: OptionsModel, task: Task) -> None:
        super().__init__()
        self.options = options
        self.task = task
        self.generators = {}

    @abstractmethod
    def act(
        self, observation: Observation, explore: torch.Generator | None = None, action_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Choose actions, without gradients.

        Args:
            observation: [B, *obs], raw.
            explore: Generator to sample with; None acts deterministically.
            action_mask: [B, A] bool, True where an action is allowed; None allows all.

        Returns:
            `action` [B, *act], and whatever else `update` needs of this moment.
        """

    def behave(
        self, observation: Observation, explore: torch.Generator, action_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Choose the actions of training, one per environment in order; `act` unless exploring is more than sampling.

        Args and return value as for `act`, with B = num_envs.
        """
        return self.act(observation, explore, action_mask)

    @abstractmethod
    def update(self, trajectories: Trajectories, frames: int) -> dict[str, float]:
        """Learn from one rollout.

        Args:
            trajectories: See `rl2cli.keys`.
            frames: Frames of the whole run, this rollout included; schedules are functions of it.

        Returns:
            Metrics by name, for the record.

        Raises:
            NonFiniteError: A loss or gradient is not finite; the parameters still are.
        """

    def make_compiled_step(self) -> CompiledStep | None:
        """Return the step that `update` will take compiled once it is loaded; None where there is no such form.

        Raises:
            CompilationError: There is one, but not for these networks.
        """
        return None

    def acting_tensors(self) -> list[torch.Tensor]:
        """Return every tensor that `behave` depends on and leaves as it is, in order: all there are, unless overridden.

        Copies of the algorithm that collect elsewhere are given their values.
        """
        return [*self.parameters(), *self.buffers()]

    def exploration_tensors(self) -> list[torch.Tensor]:
        """Return the tensors that `behave` changes, of the environments it acts in: noise that remembers."""
        return []

    def take_frames(self, frames: int) -> None:
        """Take over how many frames the run has, where `behave` depends on it; called on copies that collect."""

    def segments(self) -> list[Segment]:
        """Return what a checkpoint keeps besides `state_dict`, in pieces that later checkpoints share, in order."""
        return []

    def load_segments(self, segments: list[Segment]) -> None:
        """Take back `segments`, after `load_state_dict`; never called for a policy that only acts.

        Each is read from the disk when its tensors are asked for; drop them before the next to hold no more than one.
        """
