"""Options of the MLP. Torch-free."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rl2cli.options import Options

Width = Annotated[int, Field(ge=1, le=65_536)]


class MLPOptions(Options):
    """`[network] name = "mlp"`."""

    hidden_sizes: Annotated[list[Width], Field(min_length=1, max_length=64)] = Field(
        [64, 64], description="Width of each layer [Schulman et al. 2017: two layers of 64]."
    )
    activation: Literal["tanh", "relu", "elu", "gelu", "silu"] = Field(
        "tanh", description="Nonlinearity after each layer [Schulman et al. 2017]."
    )
    layer_norm: bool = Field(False, description="Normalise each layer before its nonlinearity.")
