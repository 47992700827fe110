"""Options of the `isaac` backend; imports neither torch nor Isaac Lab."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from rl2cli.options import Options

Physics = Literal["ovphysx", "newton_mjwarp", "isaacsim"]
BUILT_IN = "built-in"
"""The asset root that rl2 writes itself."""
NVIDIA = "nvidia"
"""The asset root that Isaac Lab has configured: NVIDIA's server, unless the user changed that."""


class LauncherOptions(Options):
    """`[env.launcher]`: how Isaac Sim's Kit is started; none of it matters to the other kinds of physics."""

    deterministic: bool = Field(False, description="Let Kit run in its deterministic mode.")
    enable_cameras: bool = Field(False, description="Let Kit render; it also does where the task has a Kit camera.")
    verbose: bool = Field(False, description="Let Isaac Lab and Kit log everything.")


class IsaacOptions(Options):
    """`[env]` with `backend = "isaac"`."""

    id: Annotated[str, Field(min_length=1)] = Field(
        description="Task of Isaac Lab, with or without `-v0`, or `module:ConfigurationClass` of your own."
    )
    physics: Literal["auto"] | Physics = Field(
        "auto",
        description="ovphysx is PhysX as a library, newton_mjwarp is Newton, isaacsim is PhysX in Isaac Sim's Kit; "
        "auto takes isaacsim where it is installed, else ovphysx, else newton_mjwarp.",
    )
    renderer: Literal["auto", "newton", "ovrtx", "isaacsim"] = Field(
        "auto", description="What renders the task's cameras; auto is the task's own."
    )
    presets: list[str] = Field(
        default_factory=list, description="Other presets that the task has, such as `depth` for its camera."
    )
    asset_root: Annotated[str, Field(min_length=1, max_length=4096)] = Field(
        "auto",
        description="Folder or address that USD assets come from; built-in is what rl2 writes itself (cart-pole, ant, "
        "ground), nvidia is Isaac Lab's setting; auto is ISAACSIM_ASSET_ROOT, else nvidia where its server answers, "
        "else built-in.",
    )
    config: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Settings of the task's configuration in place of its own: numbers, strings, booleans and lists.",
    )
    clip_actions: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="Cut actions to ± this, which gives an unbounded action space bounds; uncut where left out."
    )
    launcher: LauncherOptions = Field(default_factory=LauncherOptions, description="How Isaac Sim's Kit is started.")
