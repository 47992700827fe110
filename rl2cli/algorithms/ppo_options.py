"""Options of PPO. Torch-free."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rl2cli.algorithms.schedules import Schedule
from rl2cli.options import Misfit, Options, nearest_divisors

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]


class PPOOptions(Options):
    """`[algorithm] name = "ppo"`. In brackets: where the default is from.

    Sources: [PPO] Schulman et al. 2017, arXiv 1707.06347; [37] Huang et al. 2022, The 37 implementation details of
    PPO; [SB3] Stable-Baselines3 2.9; [GAE] Schulman et al. 2015, arXiv 1506.02438; [WM] Andrychowicz et al. 2020,
    What matters in on-policy reinforcement learning, arXiv 2006.05990; [DQN] Mnih et al. 2015, Human-level control
    through deep reinforcement learning.
    """

    rollout_length: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        128, description="Steps of every environment between two updates [PPO, Atari]."
    )
    epochs: Annotated[int, Field(ge=1, le=1000)] = Field(
        4, description="Passes over a rollout in one update [37, Atari]."
    )
    minibatch_size: Annotated[int, Field(ge=1)] = Field(
        256, description="Frames in a gradient step; divides num_envs × rollout_length [PPO, Atari: 8 × 128 / 4]."
    )
    learning_rate: Positive | Schedule = Field(
        3e-4, description="Adam's step size, a number or a schedule [PPO, MuJoCo; SB3]."
    )
    adam_epsilon: Positive = Field(1e-5, description="Adam's epsilon [37, detail 3].")
    gamma: Fraction = Field(0.99, description="Discount per frame [PPO].")
    gae_lambda: Fraction = Field(0.95, description="Mix of the advantage estimates, 0 one step, 1 all [PPO; GAE].")
    clip_coef: Positive | Schedule = Field(
        0.2, description="How far a probability ratio may move from 1, a number or a schedule [PPO]."
    )
    clip_value: Positive | None = Field(
        None,
        description="How far a value may move in one update; unclipped where left out [WM: clipping does not help].",
    )
    entropy_coef: NotNegative | Schedule = Field(
        0.0, description="Weight of the entropy bonus, a number or a schedule [PPO, MuJoCo; SB3]."
    )
    value_coef: NotNegative = Field(0.5, description="Weight of the squared value error [37, detail 9; SB3].")
    max_grad_norm: NotNegative = Field(
        0.5, description="Longest gradient, by Euclidean norm; 0 for any length [37, detail 11]."
    )
    normalize_advantage: bool = Field(True, description="Standardise advantages in each minibatch [37, detail 7].")
    target_kl: Positive | None = Field(
        None, description="Stop an update's epochs when the policy has moved this far (KL); off where left out [SB3]."
    )
    adaptive_kl: Positive | Schedule | None = Field(
        None,
        description="Move the learning rate so that an update moves the policy this far (KL), a number or a schedule; "
        "off where left out [rsl_rl: divided by 1.5 above twice, multiplied below half of it].",
    )
    normalize_observation: bool = Field(
        False,
        description="Standardise observations, images too, by their running mean and deviation "
        "[37, continuous detail 5].",
    )
    normalize_reward: bool = Field(
        False, description="Divide rewards by the running deviation of the discounted return [37, continuous detail 7]."
    )
    clip_reward: Positive | None = Field(
        None, description="Learn from rewards cut to ± this; uncut where left out [DQN, Atari: 1]."
    )
    share_network: bool = Field(
        False, description="Actor and critic are two heads of one network: half the work, usual for images [37, Atari]."
    )
    orthogonal_init: bool = Field(True, description="Orthogonal weights, gain √2, 0.01 for the policy [37, detail 2].")
    log_std_init: float = Field(0.0, description="First logarithm of the deviation of continuous actions [SB3].")

    def misfits(self, num_envs: int, total_frames: int) -> list[Misfit]:
        """Return what does not divide: the rollout must be a whole number of minibatches."""
        del total_frames
        found = []
        rollout = num_envs * self.rollout_length
        if rollout % self.minibatch_size:
            sizes = nearest_divisors(rollout, self.minibatch_size)
            found.append(
                Misfit(
                    "minibatch_size",
                    f"minibatch_size = {self.minibatch_size} does not divide a rollout of "
                    f"{num_envs} environments × {self.rollout_length} steps = {rollout} frames",
                    f"the nearest sizes that do: {' and '.join(map(str, sizes))}",
                )
            )
        if self.adaptive_kl is not None and isinstance(self.learning_rate, Schedule):
            found.append(
                Misfit("adaptive_kl", "adaptive_kl and a learning_rate schedule both set the learning rate", "keep one")
            )
        if self.minibatch_size == 1 and self.normalize_advantage:
            found.append(
                Misfit(
                    "minibatch_size",
                    "a minibatch of one frame has no advantages to standardise",
                    "make it larger, or write normalize_advantage = false",
                )
            )
        return found
