"""Options of the residual network. Torch-free."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rl2cli.options import Options

Width = Annotated[int, Field(ge=1, le=65_536)]


class IMPALAOptions(Options):
    """`[network] name = "impala"`. Defaults: Espeholt et al. 2018, IMPALA, arXiv 1802.01561, the large network."""

    channels: Annotated[list[Width], Field(min_length=1, max_length=8)] = Field(
        [16, 32, 32], description="Channels of each section, which halves the image [Espeholt et al. 2018]."
    )
    scale: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Multiplies all channels [Cobbe et al. 2019, arXiv 1912.01588: 2 and 4]."
    )
    blocks: Annotated[int, Field(ge=0, le=16)] = Field(
        2, description="Residual blocks in a section [Espeholt et al. 2018]."
    )
    hidden_sizes: Annotated[list[Width], Field(max_length=16)] = Field(
        [256], description="Width of each fully connected layer after them [Espeholt et al. 2018]."
    )
