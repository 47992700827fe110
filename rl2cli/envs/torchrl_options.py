"""Options of the `torchrl` backend; imports neither torch nor torchrl."""

from __future__ import annotations

from pydantic import Field, JsonValue

from rl2cli.options import Options


class TorchRLOptions(Options):
    """`[env]` with `backend = "torchrl"`: any environment that torchrl wraps or has."""

    factory: str = Field(
        description="Class of torchrl.envs, such as GymEnv or DMControlEnv, or module:Class of another EnvBase."
    )
    args: list[JsonValue] = Field(
        default_factory=list, description='Its arguments in order, such as ["cartpole", "swingup"].'
    )
    kwargs: dict[str, JsonValue] = Field(default_factory=dict, description="Its keyword arguments.")
    batch_argument: str | None = Field(
        None,
        description="Its keyword argument for num_envs, such as num_envs or batch_size, where it is a batch by itself.",
    )
    max_episode_steps: int | None = Field(
        None, ge=1, description="Steps after which an episode is cut; else as the environment does it itself."
    )
    repeatable: bool = Field(
        False,
        description="The same seed and actions always give the same episode, so that resume restores running ones.",
    )
