"""Options of DQN. Torch-free."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from rl2cli.algorithms.replay_options import Fraction, NotNegative, Positive, ReplayOptions
from rl2cli.algorithms.schedules import Schedule


class DQNOptions(ReplayOptions):
    """`[algorithm] name = "dqn"`. In brackets: where the default is from.

    Sources: [DQN] Mnih et al. 2015, Human-level control through deep reinforcement learning; [Double] van Hasselt et
    al. 2015, arXiv 1509.06461; [Dueling] Wang et al. 2016, arXiv 1511.06581; [SB3] Stable-Baselines3 2.9.
    """

    rollout_length: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        4, description="Steps of every environment between two updates [DQN; SB3: train_freq]."
    )
    updates_per_frame: NotNegative = Field(
        0.25, description="Gradient steps per frame, the replay ratio, whatever num_envs is [DQN; SB3]."
    )
    batch_size: Annotated[int, Field(ge=2, le=1_048_576)] = Field(
        32, description="Frames in a gradient step [DQN; SB3]."
    )
    learning_rate: Positive | Schedule = Field(1e-4, description="Adam's step size, a number or a schedule [SB3].")
    max_grad_norm: NotNegative = Field(10.0, description="Longest gradient, by Euclidean norm; 0 for any length [SB3].")
    double: bool = Field(
        True, description="Let the network choose the action whose value the target network gives [Double]."
    )
    dueling: bool = Field(
        False, description="Learn the value of a state and the advantages of its actions apart [Dueling]."
    )
    huber: bool = Field(True, description="Huber's loss, linear for errors beyond 1; else their square [DQN; SB3].")
    target_update_every: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        2500, description="Gradient steps between two moves of the target network [SB3: 10,000 frames]."
    )
    tau: Fraction = Field(1.0, description="How far the target network moves then; 1 copies the network [DQN; SB3].")
    epsilon: Fraction | Schedule = Field(
        Schedule(start=1.0, end=0.05, shape="linear", frames=None),
        description="Part of the actions that are random in training, a number or a schedule [SB3: 1 to 0.05].",
    )
    exploration_fraction: Positive = Field(
        0.1, le=1.0, description="Part of the run over which epsilon moves, where its schedule has no frames [SB3]."
    )
    evaluation_epsilon: Fraction = Field(
        0.05, description="Part of the actions that are random in evaluations with sampled actions [DQN]."
    )

    @field_validator("epsilon")
    @classmethod
    def _check_epsilon(cls, epsilon: float | Schedule) -> float | Schedule:
        if isinstance(epsilon, Schedule) and max(epsilon.start, epsilon.end) > 1.0:
            raise ValueError("epsilon is a probability, and no schedule of it goes above 1")
        return epsilon
