"""Options of TD3. Torch-free."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rl2cli.algorithms.replay_options import Fraction, NotNegative, Positive, ReplayOptions
from rl2cli.algorithms.schedules import Schedule


class TD3Options(ReplayOptions):
    """`[algorithm] name = "td3"`. In brackets: where the default is from.

    Sources: [TD3] Fujimoto et al. 2018, arXiv 1802.09477; [SB3] Stable-Baselines3 2.9; [Pink] Eberhard et al. 2023,
    Pink noise is all you need. Noise is in units of half an action's range.
    """

    learning_rate: Positive | Schedule = Field(1e-3, description="Adam's step size, a number or a schedule [TD3; SB3].")
    tau: Fraction = Field(0.005, description="How far target networks move in an update of the policy [TD3].")
    critics: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Critics, of which the lowest value counts [TD3]."
    )
    policy_delay: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Updates of the critics for each one of policy and targets [TD3]."
    )
    target_noise: NotNegative = Field(0.2, description="Deviation of the noise on the target policy's actions [TD3].")
    target_noise_clip: NotNegative = Field(0.5, description="Largest such noise [TD3].")
    exploration_noise: NotNegative = Field(0.1, description="Deviation of the noise on actions in training [TD3].")
    exploration: Literal["white", "coloured"] = Field(
        "white", description="That noise: independent in every step, or correlated in time [Pink]."
    )
    noise_exponent: Annotated[float, Field(ge=0.0, le=2.0)] = Field(
        1.0, description="Colour of coloured noise: 0 white, 1 pink, 2 red [Pink]."
    )
    noise_steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1000, description="Steps after which coloured noise is drawn anew [Pink]."
    )
