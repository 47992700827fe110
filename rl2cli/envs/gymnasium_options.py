"""Options of the `gymnasium` backend; imports neither torch nor Gymnasium."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from rl2cli.options import Options


class GymnasiumOptions(Options):
    """`[env]` with `backend = "gymnasium"`."""

    id: Annotated[str, Field(min_length=1)] = Field(
        description="Id in Gymnasium's registry, or `module:id` where importing the module registers it."
    )
    kwargs: dict[str, JsonValue] = Field(
        default_factory=dict, description="Keyword arguments of the environment's constructor."
    )
    vectorization: Literal["auto", "native", "single"] = Field(
        "auto",
        description="native is the environment's own vector form, single is one object per environment; "
        "auto is native where there is one.",
    )
    max_episode_steps: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Steps after which an episode is truncated, in place of the environment's own limit."
    )
    frame_stack: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Newest observations stacked along a new first axis; 1 does not stack."
    )
