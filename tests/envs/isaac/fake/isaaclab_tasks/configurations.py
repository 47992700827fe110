"""Configurations of the tasks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from isaaclab_tasks.utils import PresetCfg


class Shape(Enum):
    ROUND = "round"
    SQUARE = "square"


@dataclass
class OvPhysxCfg:
    pass


@dataclass
class NewtonCfg:
    use_cuda_graph: bool = True


@dataclass
class PhysicsPresets(PresetCfg):
    default: NewtonCfg = field(default_factory=NewtonCfg)
    newton_mjwarp: NewtonCfg = field(default_factory=NewtonCfg)
    ovphysx: OvPhysxCfg = field(default_factory=OvPhysxCfg)


@dataclass
class SimCfg:
    dt: float = 0.01
    device: str = "cuda:0"
    physics: object = field(default_factory=PhysicsPresets)
    default_visualizer_cfg: None = None


@dataclass
class SceneCfg:
    num_envs: int = 4096


@dataclass
class RobotCfg:
    usd_path: str = ""


@dataclass
class PointCfg:
    seed: int | None = None
    decimation: int = 2
    episode_length_s: float = 0.4
    state_space: int = 0
    drift: float = 0.0
    friction: float = 1  # as Isaac Lab's own write some
    is_finite_horizon: bool = False
    compute_final_obs: bool = False
    weights: tuple[float, ...] = (1.0, 2.0)
    label: str = "point"
    note: str | None = None
    shape: Shape = Shape.ROUND
    func: Callable[[], None] | None = None
    reward: Callable[[], None] = print
    network_file: str = ""
    sim: SimCfg = field(default_factory=SimCfg)
    scene: SceneCfg = field(default_factory=SceneCfg)
    robot: RobotCfg = field(default_factory=RobotCfg)
    rewards: dict[str, float] = field(default_factory=lambda: {"alive": 1.0})


@dataclass
class PrivilegedCfg(PointCfg):
    state_space: int = 3


@dataclass
class FarCfg(PointCfg):
    robot: RobotCfg = field(default_factory=lambda: RobotCfg(_asset("Isaac/Robots/Far/far.usd")))


@dataclass
class ManyCfg(PointCfg):
    possible_agents: tuple[str, ...] = ("a", "b")


def _asset(place: str) -> str:
    import os

    return f"{os.environ['ISAACSIM_ASSET_ROOT']}/{place}"
