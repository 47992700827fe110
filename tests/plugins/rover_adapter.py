"""A simulator with data types of its own behind rl2's contract: a rover that looks for a beacon on a field."""

import random
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from pydantic import Field

from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.options import Options

HEADINGS = [(0, 1), (1, 0), (0, -1), (-1, 0)]


@dataclass
class Telemetry:
    """What the simulator reports: places in steps from the corner, the heading as a number from 0 to 3."""

    place: tuple[int, int]
    beacon: tuple[int, int]
    heading: int


class RoverAdapter(BaseEnvAdapter):
    """A rover that turns and drives on a field until it reaches the beacon."""

    class Options(Options):
        size: int = Field(8, ge=2, description="Width and height of the field, in steps.")
        max_steps: int = Field(50, ge=1, description="Steps after which an episode is cut.")

    resume = "episode_seed"  # the same seed and actions always give the same episode

    def setup(self):
        offset = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = spaces.Dict({"offset": offset, "heading": spaces.Discrete(4)})
        self.action_space = spaces.Discrete(3)

    def reset(self, seed=None, mask=None):
        dice, size = random.Random(seed), self.options.size
        place, beacon = (divmod(cell, size) for cell in dice.sample(range(size * size), 2))
        self.now, self.steps = Telemetry(place, beacon, dice.randrange(4)), 0
        return self.now, {}

    def step(self, action):
        self.steps += 1
        if action == "drive":
            moved = zip(self.now.place, HEADINGS[self.now.heading], strict=True)
            self.now.place = tuple(min(max(at + by, 0), self.options.size - 1) for at, by in moved)
        else:
            self.now.heading = (self.now.heading + (1 if action == "right" else -1)) % 4
        found = self.now.place == self.now.beacon
        return self.now, 1.0 if found else -0.02, found, self.steps >= self.options.max_steps, {}

    def get_observation(self, raw):
        offset = np.subtract(raw.beacon, raw.place) / self.options.size
        return {"offset": offset.astype(np.float32), "heading": raw.heading}

    def get_action(self, action):
        return ("left", "drive", "right")[int(action)]
