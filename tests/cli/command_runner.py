"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SPEC = """\
name = "small"
total_frames = 512

[env]
id = "CartPole-v1"
num_envs = 8

[algorithm]
rollout_length = 32
minibatch_size = 64

[evaluation]
every = 256
episodes = 2

[logging]
tensorboard = false
"""


@dataclass(frozen=True)
class Ended:
    """What came of a command."""

    code: int
    stdout: str
    stderr: str


Rl2 = Callable[..., Ended]
