"""Options of the `gymnasium` backend; imports neither torch nor Gymnasium."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from rl2cli.options import Options

Pixels = Annotated[int, Field(ge=1, le=4096)]


class AtariOptions(Options):
    """`[env.atari]`: how the games `ALE/*-v5` are played. In brackets: where the default is from.

    Sources: [v5] Gymnasium's v5 environments, after Machado et al. 2018, Revisiting the Arcade Learning Environment,
    arXiv 1709.06009; [DQN] Mnih et al. 2015, Human-level control through deep reinforcement learning.
    """

    frame_skip: Annotated[int, Field(ge=1, le=60)] = Field(
        4, description="Frames of the emulator in a step, all with the same action [v5]; a step is one frame of rl2."
    )
    max_pool: bool = Field(True, description="Observe the brighter of the last two frames at each pixel [DQN].")
    repeat_action_probability: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.25, description="Sticky actions: how often the emulator repeats the last frame's action [v5]."
    )
    noop_max: Annotated[int, Field(ge=0, le=1000)] = Field(
        30, description="Frames, at most, without an action at the beginning of an episode [DQN]."
    )
    fire_reset: bool = Field(True, description="Press fire at the beginning where the game has a fire button.")
    full_action_space: bool = Field(False, description="All 18 actions, not only those that the game knows [v5].")
    terminal_on_life_loss: bool = Field(
        False, description="Learning takes a lost life as the episode's end; the game goes on, returns are the game's."
    )


ATARI_DEFAULTS: dict[str, Any] = {"atari": {}, "image_size": [84, 84], "grayscale": True, "frame_stack": 4}
"""What is left out under `[env]`, where the id is `ALE/*-v5`."""


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
    image_size: Annotated[list[Pixels], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description="Height and width that images are resized to, by area; as they are where left out, "
        "but [84, 84] for Atari.",
    )
    grayscale: bool = Field(False, description="Turn colour images gray; true for Atari where left out.")
    frame_stack: Annotated[int, Field(ge=1, le=64)] = Field(
        1,
        description="Newest observations stacked along a new first axis; 1 does not stack; 4 for Atari where left out.",
    )
    atari: AtariOptions | None = Field(None, description="How an Atari game is played; only for `ALE/*-v5`.")

    @model_validator(mode="before")
    @classmethod
    def _fill_in_atari(cls, values: Any) -> Any:
        """Make Atari's defaults explicit where the id is one of its games."""
        if isinstance(values, dict) and is_atari(values.get("id")):
            return ATARI_DEFAULTS | {key: value for key, value in values.items() if (key, value) != ("atari", None)}
        return values

    @model_validator(mode="after")
    def _check_atari(self) -> GymnasiumOptions:
        if self.atari is not None and not is_atari(self.id):
            raise ValueError(f"{self.id} is no game of the form ALE/*-v5, so [env.atari] does nothing here")
        return self


def is_atari(env_id: object) -> bool:
    """Return whether an id is one of ale_py's v5 games, which rl2 preprocesses by itself."""
    return isinstance(env_id, str) and env_id.startswith("ALE/")
