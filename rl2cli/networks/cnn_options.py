"""Options of the convolutional network. Torch-free."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rl2cli.options import Options

Width = Annotated[int, Field(ge=1, le=65_536)]
Side = Annotated[int, Field(ge=1, le=64)]


class CNNOptions(Options):
    """`[network] name = "cnn"`. Defaults: Mnih et al. 2015, Human-level control through deep reinforcement learning."""

    channels: Annotated[list[Width], Field(min_length=1, max_length=16)] = Field(
        [32, 64, 64], description="Channels of each convolution [Mnih et al. 2015]."
    )
    kernel_sizes: Annotated[list[Side], Field(min_length=1, max_length=16)] = Field(
        [8, 4, 3], description="Height and width of each convolution's kernel [Mnih et al. 2015]."
    )
    strides: Annotated[list[Side], Field(min_length=1, max_length=16)] = Field(
        [4, 2, 1], description="Step of each convolution [Mnih et al. 2015]."
    )
    hidden_sizes: Annotated[list[Width], Field(max_length=16)] = Field(
        [512], description="Width of each fully connected layer after them [Mnih et al. 2015]."
    )
    activation: Literal["tanh", "relu", "elu", "gelu", "silu"] = Field(
        "relu", description="Nonlinearity after each layer [Mnih et al. 2015]."
    )

    @model_validator(mode="after")
    def _check_lengths(self) -> CNNOptions:
        lengths = {len(self.channels), len(self.kernel_sizes), len(self.strides)}
        if len(lengths) > 1:
            raise ValueError("channels, kernel_sizes and strides need as many numbers each: one per convolution")
        return self
