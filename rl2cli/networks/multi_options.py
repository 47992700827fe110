"""Options of the network for several inputs. Torch-free."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rl2cli.networks.cnn_options import CNNOptions
from rl2cli.networks.impala_options import IMPALAOptions
from rl2cli.options import Options

Width = Annotated[int, Field(ge=1, le=65_536)]


class MultiOptions(Options):
    """`[network] name = "multi"`: an encoder for each image, one for all vectors together, joined by layers."""

    observations: list[str] | None = Field(
        None, description="Keys of the observation that it sees, dots between nested ones; all where left out."
    )
    cnn: CNNOptions = Field(
        default_factory=lambda: CNNOptions(hidden_sizes=[256]), description="Encoder of each image, options of `cnn`."
    )
    impala: IMPALAOptions | None = Field(
        None, description="Encoder of each image in place of `cnn`, options of `impala`."
    )
    vector_sizes: Annotated[list[Width], Field(max_length=16)] = Field(
        [64, 64], description="Width of each layer of the vectors' encoder."
    )
    hidden_sizes: Annotated[list[Width], Field(min_length=1, max_length=16)] = Field(
        [256], description="Width of each layer over all encoders' features."
    )
