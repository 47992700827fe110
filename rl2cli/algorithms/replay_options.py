"""Options that every algorithm with a replay buffer has. Torch-free."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rl2cli.algorithms.schedules import Schedule
from rl2cli.options import Misfit, Options

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]


class ReplayOptions(Options):
    """The part of `[algorithm]` that off-policy algorithms share.

    Sources: [SB3] Stable-Baselines3 2.9; [SAC] Haarnoja et al. 2018, arXiv 1812.05905; [PER] Schaul et al. 2015,
    arXiv 1511.05952; [DQN] Mnih et al. 2015, Human-level control through deep reinforcement learning.
    """

    rollout_length: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1, description="Steps of every environment between two updates [SB3: train_freq]."
    )
    updates_per_frame: NotNegative = Field(
        1.0, description="Gradient steps per frame, the replay ratio, whatever num_envs is [SAC: 1]."
    )
    learning_starts: Annotated[int, Field(ge=0)] = Field(
        100, description="Frames of random actions before the first gradient step [SB3]; coloured where the noise is."
    )
    batch_size: Annotated[int, Field(ge=2, le=1_048_576)] = Field(
        256, description="Frames in a gradient step [SAC; SB3]."
    )
    buffer_size: Annotated[int, Field(ge=1, le=2**53)] = Field(
        1_000_000, description="Frames that the buffer keeps [SAC; SB3]."
    )
    n_step: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="Rewards that a target sums before it bootstraps; fewer where an episode ends."
    )
    prioritized: bool = Field(False, description="Sample frames by their last temporal-difference error [PER].")
    priority_exponent: Fraction = Field(0.6, description="How much that error counts, alpha; 0 is uniform [PER].")
    importance_exponent: Fraction | Schedule = Field(
        Schedule(start=0.4, end=1.0, shape="linear", frames=None),
        description="How much its bias is corrected, beta, a number or a schedule [PER: 0.4 to 1].",
    )
    learning_rate: Positive | Schedule = Field(3e-4, description="Adam's step size, a number or a schedule [SAC; SB3].")
    adam_epsilon: Positive = Field(1e-8, description="Adam's epsilon [SB3].")
    max_grad_norm: NotNegative = Field(0.0, description="Longest gradient, by Euclidean norm; 0 for any length [SB3].")
    gamma: Fraction = Field(0.99, description="Discount per frame [SAC].")
    normalize_observation: bool = Field(
        False,
        description="Standardise observations, images too, by their running mean and deviation, when they are sampled.",
    )
    normalize_reward: bool = Field(
        False, description="Divide rewards by the running deviation of the discounted return, when they are sampled."
    )

    clip_reward: Positive | None = Field(
        None, description="Learn from rewards cut to ± this, each frame's; uncut where left out [DQN, Atari: 1]."
    )

    def misfits(self, num_envs: int, total_frames: int) -> list[Misfit]:
        """Return what the run is too short, or the buffer too small for."""
        found = []
        if self.learning_starts >= total_frames:
            found.append(
                Misfit(
                    "learning_starts",
                    f"learning_starts = {self.learning_starts:,} is no less than total_frames = {total_frames:,}: "
                    "nothing would be learned",
                    f"the default is {type(self).model_fields['learning_starts'].default}",
                )
            )
        if self.batch_size > self.buffer_size:
            found.append(
                Misfit(
                    "batch_size",
                    f"batch_size = {self.batch_size:,} is more than the buffer_size = {self.buffer_size:,} holds",
                    f"at most batch_size = {self.buffer_size}, or a larger buffer_size",
                )
            )
        least = num_envs * (self.rollout_length + self.n_step + 1)
        if self.buffer_size < least:
            found.append(
                Misfit(
                    "buffer_size",
                    f"buffer_size = {self.buffer_size:,} holds less than one rollout of {num_envs} environments",
                    f"at least buffer_size = {least}",
                )
            )
        return found
