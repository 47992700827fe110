"""Options of SAC. Torch-free."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rl2cli.algorithms.replay_options import Fraction, Positive, ReplayOptions


class SACOptions(ReplayOptions):
    """`[algorithm] name = "sac"`. In brackets: where the default is from.

    Sources: [SAC] Haarnoja et al. 2018, arXiv 1812.05905; [Discrete] Christodoulou 2019, arXiv 1910.07207; [SB3]
    Stable-Baselines3 2.9; [gSDE] Raffin et al. 2020, arXiv 2005.05719; [Pink] Eberhard et al. 2023, Pink noise is all
    you need.
    """

    tau: Fraction = Field(0.005, description="How far target networks move towards the critics in a step [SAC].")
    critics: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Critics, of which the lowest value counts [SAC]."
    )
    entropy_coef: Positive | Literal["auto"] = Field(
        "auto", description="Weight of the policy's entropy, the temperature; auto learns it [SAC]."
    )
    entropy_coef_init: Positive = Field(1.0, description="First temperature where it is learned [SAC].")
    target_entropy: float | Literal["auto"] = Field(
        "auto",
        description="Entropy the temperature is learned for; auto is minus the number of continuous actions [SAC], or "
        "0.98 of the largest possible one for discrete ones [Discrete].",
    )
    exploration: Literal["white", "coloured", "state_dependent"] = Field(
        "white",
        description="Noise of continuous actions in training: independent in every step, correlated in time [Pink], or "
        "a function of the state that stays the same for a while [gSDE].",
    )
    noise_exponent: Annotated[float, Field(ge=0.0, le=2.0)] = Field(
        1.0, description="Colour of coloured noise: 0 white, 1 pink, 2 red [Pink]."
    )
    noise_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None,
        description="Steps after which coloured noise repeats its pattern anew (1000 where left out [Pink]), or "
        "state-dependent noise is drawn anew (64 where left out).",
    )
    log_std_init: float = Field(
        -3.0, description="First logarithm of the deviation of state-dependent noise, per feature [gSDE]."
    )
