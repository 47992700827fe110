"""Options of plugins made up here, so that these tests do not change when a built-in option does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from rl2cli.options import Misfit, Options


class Ramp(Options):
    start: float = Field(description="First value.")
    shape: Literal["linear", "cosine"] = Field("linear", description="Form.")


class WorldOptions(Options):
    id: str = Field(description="Which world.")
    kwargs: dict[str, JsonValue] = Field(default_factory=dict)


class LayersOptions(Options):
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field((64, 64))
    activation: Literal["tanh", "relu"] = "tanh"


class LearnerOptions(Options):
    learning_rate: Annotated[float, Field(gt=0)] | Ramp = Field(1e-3, description="Step size.")
    batch: Annotated[int, Field(ge=1)] = 8
    clip: float | None = Field(None)

    def misfits(self, num_envs: int, total_frames: int) -> list[Misfit]:
        fits = num_envs % self.batch == 0
        return [] if fits else [Misfit("batch", f"{self.batch} does not divide {num_envs}", "take 4")]


class SmallerOptions(Options):
    step: float = 0.5
