from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from rl2cli.errors import UsageError
from rl2cli.networks.mlp import MLP
from rl2cli.networks.mlp_options import MLPOptions
from rl2cli.networks.part import PartOf

SPACE = spaces.Dict(
    {name: spaces.Box(-1.0, 1.0, (size,), np.float32) for name, size in (("critic", 3), ("policy", 2), ("touch", 1))}
)


@pytest.mark.parametrize("hidden", [("critic",), ("critic", "touch")])
def test_hidden_keys_change_nothing(hidden: tuple[str, ...]) -> None:
    network = PartOf(MLP, MLPOptions(hidden_sizes=[4]), SPACE, hidden, extra_features=1)
    observation = {key: torch.rand(5, space.shape[0]) for key, space in SPACE.spaces.items() if space.shape}
    extra = torch.rand(5, 1)
    before = network(observation, extra)
    assert before.shape == (5, network.out_features)
    unseen = {key: torch.full_like(part, torch.nan) if key in hidden else part for key, part in observation.items()}
    torch.testing.assert_close(network(unseen, extra), before)
    assert not torch.equal(network(observation | {"policy": observation["policy"] + 1}, extra), before)


def test_something_has_to_be_left() -> None:
    with pytest.raises(UsageError, match="the policy would see nothing"):
        PartOf(MLP, MLPOptions(), SPACE, tuple(SPACE.spaces))
