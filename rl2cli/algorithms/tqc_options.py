"""Options of TQC. Torch-free."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rl2cli.algorithms.sac_options import SACOptions


class TQCOptions(SACOptions):
    """`[algorithm] name = "tqc"`: SAC's options and more. In brackets: where the default is from.

    Sources: [TQC] Kuznetsov et al. 2020, arXiv 2005.04269; [SB3] sb3-contrib 2.9; the others as in `SACOptions`.
    """

    critics: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Critics, whose quantiles are joined [SB3; TQC: 5]."
    )
    target_entropy: float | Literal["auto"] = Field(
        "auto", description="Entropy that the temperature is learned for; auto is minus the number of actions [SAC]."
    )
    quantiles: Annotated[int, Field(ge=1, le=1024)] = Field(
        25, description="Quantiles of the return that each critic gives [TQC]."
    )
    dropped_quantiles: Annotated[int, Field(ge=0)] = Field(
        2, description="Highest quantiles left out of targets, per critic; more make it more pessimistic [TQC]."
    )

    @model_validator(mode="after")
    def _check_dropped(self) -> TQCOptions:
        if self.dropped_quantiles >= self.quantiles:
            raise ValueError(f"dropped_quantiles must be less than quantiles = {self.quantiles}")
        return self
