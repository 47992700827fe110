"""Options of the `omniverse` backend; imports neither torch nor a simulator."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, JsonValue, model_validator

from rl2cli.errors import suggestion
from rl2cli.options import Options

Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
Positive = Annotated[float, Field(gt=0.0, le=1e9)]
Triple = Annotated[list[float], Field(min_length=3, max_length=3)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
STATE = "state"
"""Key of what is no picture, in an observation with cameras."""
Kind = Literal["ovphysx", "isaacsim"]
"""Engines, by the package that each needs."""
Pixels = Annotated[int, Field(ge=1, le=4096)]


class TermOptions(Options):
    """What every term has: its name, and what that picks or takes."""

    KNOWN: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Built-in terms, each with the keys that it takes."""
    SHARED: ClassVar[tuple[str, ...]] = ("term",)
    """Keys that go with every term."""

    term: Annotated[str, Field(min_length=1)] = Field(description="Name of a built-in term, or module:function.")
    params: dict[str, JsonValue] = Field(
        default_factory=dict, description="Keyword arguments of a function of your own."
    )

    @model_validator(mode="after")
    def _check_term(self) -> Self:
        """Refuse an unknown term, and keys that it does not take."""
        own = ":" in self.term
        if not own and self.term not in self.KNOWN:
            near = suggestion(self.term, self.KNOWN) or f"there are: {', '.join(sorted(self.KNOWN))}"
            raise ValueError(f"there is no term {self.term!r}; {near}")
        taken = ("params",) if own else self.KNOWN[self.term]
        fields = type(self).model_fields
        for key in fields.keys() - {*self.SHARED, *taken}:
            if getattr(self, key) == fields[key].get_default(call_default_factory=True):
                continue
            raise ValueError(f"the term {self.term!r} takes no {key!r}; it takes {', '.join(taken) or 'nothing'}")
        return self


class ObservationTerm(TermOptions):
    """`[[env.observations]]`: numbers that the policy sees."""

    KNOWN: ClassVar[dict[str, tuple[str, ...]]] = {
        "joint_position": ("joints",),
        "joint_sine_cosine": ("joints",),
        "joint_velocity": ("joints",),
        "root_position": (),
        "root_height": (),
        "root_orientation": (),
        "root_linear_velocity": (),
        "root_angular_velocity": (),
        "projected_gravity": (),
        "body_position": ("bodies",),
        "last_action": (),
    }
    SHARED: ClassVar[tuple[str, ...]] = ("term", "scale")

    joints: Names | None = Field(None, description="Patterns of joint names, such as `hip_*`; all where left out.")
    bodies: Names | None = Field(None, description="Patterns of body names; all where left out.")
    scale: float = Field(1.0, description="The numbers are multiplied by this.")


class RewardTerm(TermOptions):
    """`[[env.rewards]]`: a reward of every step, times its weight."""

    KNOWN: ClassVar[dict[str, tuple[str, ...]]] = {
        "alive": (),
        "terminated": (),
        "joint_position_squared": ("joints", "target"),
        "joint_velocity_squared": ("joints",),
        "joint_velocity_absolute": ("joints",),
        "root_velocity": ("direction",),
        "root_height_squared": ("target",),
        "body_upright": ("bodies",),
        "body_height": ("bodies",),
        "action_squared": (),
        "action_change_squared": (),
    }
    SHARED: ClassVar[tuple[str, ...]] = ("term", "weight")

    weight: float = Field(1.0, description="The term's value is multiplied by this.")
    joints: Names | None = Field(None, description="Patterns of joint names; all where left out.")
    bodies: Names | None = Field(None, description="Patterns of body names; all where left out.")
    target: float = Field(0.0, description="What the squared distance is from.")
    direction: Triple = Field([1.0, 0.0, 0.0], description="Along which a velocity counts.")


class TerminationTerm(TermOptions):
    """`[[env.terminations]]`: what ends an episode; its time limit only cuts it."""

    KNOWN: ClassVar[dict[str, tuple[str, ...]]] = {
        "joint_position_outside": ("joints", "range"),
        "root_height_outside": ("range",),
        "body_upright_outside": ("bodies", "range"),
    }

    joints: Names | None = Field(None, description="Patterns of joint names; all where left out.")
    bodies: Names | None = Field(None, description="Patterns of body names; all where left out.")
    range: Pair = Field([-1.0, 1.0], description="Least and greatest number that does not end the episode.")


class ResetTerm(TermOptions):
    """`[[env.resets]]`: how episodes begin, besides the scene's own pose."""

    KNOWN: ClassVar[dict[str, tuple[str, ...]]] = {
        "joint_position": ("joints", "range"),
        "joint_velocity": ("joints", "range"),
        "root_position": ("direction", "range"),
        "root_yaw": ("range",),
        "root_velocity": ("direction", "range"),
    }

    joints: Names | None = Field(None, description="Patterns of joint names; all where left out.")
    range: Pair = Field(
        [0.0, 0.0], description="Least and greatest of the numbers drawn, which are added to those of the scene."
    )
    direction: Triple = Field([1.0, 0.0, 0.0], description="Along which the root is moved.")

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.range[0] > self.range[1]:
            raise ValueError(f"range {self.range} has its greater number first")
        return self


class ActionOptions(Options):
    """`[[env.actions]]`: joints that the policy moves, a number from -1 to 1 for each."""

    joints: Names = Field(description="Patterns of joint names.")
    target: Literal["effort", "position", "velocity"] = Field(
        "effort", description="What the numbers set: a force or torque, or where a drive pulls the joint to."
    )
    scale: float = Field(1.0, description="Newtons, newton metres, radians, metres or their rates for a 1.")
    offset: float = Field(0.0, description="Added after scaling.")
    stiffness: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="Pull of the drive to a position; the scene's own where left out."
    )
    damping: Annotated[float, Field(ge=0.0)] | None = Field(
        None, description="Pull of the drive to a velocity; the scene's own where left out."
    )


class CameraOptions(Options):
    """`[env.cameras.NAME]` and `[env.view]`: a camera in each environment."""

    size: Annotated[list[Pixels], Field(min_length=2, max_length=2)] = Field(
        [48, 64], description="Height and width of its pictures."
    )
    position: Triple = Field([0.0, -5.0, 3.0], description="Where it stands, in metres in the environment's frame.")
    target: Triple = Field([0.0, 0.0, 1.5], description="What it looks at.")
    field_of_view: Annotated[float, Field(gt=0.0, lt=3.1)] = Field(0.8, description="Vertical angle in radians.")
    follow: str | None = Field(
        None, description="Body that it moves along with, without turning; position and target are then from it."
    )
    stack: Annotated[int, Field(ge=1, le=16)] = Field(1, description="Newest pictures that the policy sees together.")

    @model_validator(mode="after")
    def _check_target(self) -> Self:
        if self.position == self.target:
            raise ValueError("position and target are the same point")
        return self


def _default_view() -> CameraOptions:
    return CameraOptions(size=[360, 480])


class OmniverseOptions(Options):
    """`[env]` with `backend = "omniverse"`: a USD scene stepped by PhysX, and the task in it."""

    scene: Annotated[str, Field(min_length=1)] = Field(
        description="USD file of one environment, also one of rl2's own; or module:function that returns its path."
    )
    engine: Literal["auto"] | Kind = Field(
        "auto",
        description="ovphysx is PhysX as a library, isaacsim is PhysX in Isaac Sim's Kit; auto takes isaacsim where it "
        "is installed, else ovphysx.",
    )
    articulation: str | None = Field(
        None, description="Pattern of the articulation's path or name; needed where the scene has several."
    )
    ground: bool = Field(False, description="A level ground at height 0, the same for all environments.")
    friction: Annotated[float, Field(ge=0.0, le=100.0)] = Field(1.0, description="Friction of the ground.")
    spacing: Positive = Field(4.0, description="Metres between neighbouring environments, which could touch otherwise.")
    dt: Annotated[float, Field(gt=0.0, le=0.1)] = Field(0.01, description="Seconds of a step of the physics.")
    decimation: Annotated[int, Field(ge=1, le=1000)] = Field(2, description="Steps of the physics in a frame.")
    max_episode_steps: Annotated[int, Field(ge=1, le=100_000)] = Field(
        500, description="Frames after which an episode is cut."
    )
    actions: Annotated[list[ActionOptions], Field(min_length=1)] = Field(description="What the policy moves.")
    observations: Annotated[list[ObservationTerm], Field(min_length=1)] = Field(
        description="What the policy sees, side by side."
    )
    rewards: Annotated[list[RewardTerm], Field(min_length=1)] = Field(
        description="What it earns in a frame, added up; returns are their sums."
    )
    terminations: list[TerminationTerm] = Field(default_factory=list, description="What ends an episode.")
    resets: list[ResetTerm] = Field(default_factory=list, description="How episodes begin.")
    cameras: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")], CameraOptions] = Field(
        default_factory=dict,
        description="Cameras that the policy sees: the observation is a Dict of them and of `state`, for name = "
        '"multi" under [network].',
    )
    view: CameraOptions = Field(default_factory=_default_view, description="The camera of videos.")

    @model_validator(mode="before")
    @classmethod
    def _explain(cls, values: Any) -> Any:
        """Refuse what would otherwise be said in many lines."""
        if isinstance(values, dict) and isinstance(values.get("actions"), dict):
            raise ValueError("actions are a list of tables: write [[env.actions]]")
        return values

    @model_validator(mode="after")
    def _check_cameras(self) -> Self:
        if STATE in self.cameras:
            raise ValueError(f"a camera cannot be called {STATE!r}, as all other observations together are")
        return self
