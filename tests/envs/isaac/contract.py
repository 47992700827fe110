"""What an `isaac` adapter has to keep to, on the fake as on Isaac Lab itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from walk import copied, leaves, random_actions

from rl2cli.envs.base import BaseEnvAdapter
from rl2cli.envs.checker import check_adapter

Make = Callable[..., BaseEnvAdapter]


def assert_contract(env: BaseEnvAdapter, steps: int, bounds: float) -> dict[str, int]:
    """Check shapes, seeds, true last observations, and that what was returned stays; return how often what was seen.

    Args:
        env: The adapter, set up.
        steps: How many; episodes have to end in them.
        bounds: How far a number of an observation moves in a step, at most, unless an episode begins.
    """
    findings = check_adapter(env, steps)
    assert [str(finding) for finding in findings] == []
    seen = {"terminated": 0, "truncated": 0}
    before, _ = env.reset(np.arange(env.num_envs))
    before, kept = copied(before), []
    for action in random_actions(env, steps):
        step = env.step(action)
        done = step.terminated | step.truncated
        for last, now in zip(leaves(before), leaves(step.observation), strict=True):
            assert bool(((now - last).abs()[~done] <= bounds).all())
        if bool(done.any()):
            parts = zip(leaves(before), leaves(step.final_observation), leaves(step.observation), strict=True)
            for last, final, now in parts:
                assert bool(((final - last).abs()[done] <= bounds).all()), "the last observation follows the one before"
                assert not torch.equal(final[done], now[done]), "it is not the next episode's first"
        seen["terminated"] += int(step.terminated.sum())
        seen["truncated"] += int((step.truncated & ~step.terminated).sum())
        before = copied(step.observation)
        kept.append((step, before, step.reward.clone(), done))
    for step, observation, reward, done in kept:  # none of it was written over
        assert all(map(torch.equal, leaves(step.observation), leaves(observation)))
        assert torch.equal(step.reward, reward)
        assert torch.equal(step.terminated | step.truncated, done)
    return seen
