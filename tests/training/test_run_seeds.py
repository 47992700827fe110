from __future__ import annotations

import numpy as np
import pytest
import torch

from rl2cli.training.seeding import derive_seed, environment_seeds, make_generator


def test_a_seed_depends_on_all_three() -> None:
    seeds = {derive_seed(seed, purpose, counter) for seed in (0, 1) for purpose in ("a", "b") for counter in (0, 1)}
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_are_the_same_on_every_machine() -> None:
    # sha256("1/policy/0") begins with these eight bytes, little-endian, less the lowest bit
    assert derive_seed(1, "policy") == int.from_bytes(bytes.fromhex(SHA256_OF_1_POLICY_0)[:8], "little") >> 1


SHA256_OF_1_POLICY_0 = "9c0ef2753404d0b81ce2c6bbfaa10859c7e20b0669cb3a423c9a7fc7f6b0c333"


def test_generators_of_one_purpose_agree_and_of_others_do_not() -> None:
    def draw(purpose: str, counter: int = 0) -> torch.Tensor:
        return torch.rand(4, generator=make_generator(3, purpose, torch.device("cpu"), counter))

    assert torch.equal(draw("policy"), draw("policy"))
    assert not torch.equal(draw("policy"), draw("minibatches"))
    assert not torch.equal(draw("policy"), draw("policy", 1))


@pytest.mark.parametrize("num_envs", [1, 5, 1000])
def test_environments_have_seeds_of_their_own(num_envs: int) -> None:
    seeds = environment_seeds(1, "environments", num_envs)
    assert seeds.dtype == np.int64
    assert (seeds >= 0).all()
    assert len(set(seeds.tolist())) == num_envs
    assert not set(seeds.tolist()) & set(environment_seeds(1, "evaluation", num_envs).tolist())


def test_more_environments_keep_the_seeds_of_the_first_ones() -> None:
    assert environment_seeds(1, "x", 3).tolist() == environment_seeds(1, "x", 8)[:3].tolist()
