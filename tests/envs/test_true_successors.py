"""Every step's true successor, by value, however the backend resets and wherever it runs."""

from __future__ import annotations

import pytest
import torch
from makes import Make
from walk import copied, walk

from rl2cli.envs.base import BaseEnvAdapter

FORMS = {
    "in process": ("Counter", 0, "episode_seed"),
    "workers": ("Counter", 2, "episode_seed"),
    "next step": ("NextStep", 0, "none"),
    "same step": ("SameStep", 0, "none"),
    "disabled": ("Disabled", 0, "none"),
}


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=pytest.mark.slow) if form == "workers" else form for form in FORMS]
)
def test_successor_is_the_last_observation_at_an_end_and_the_next_one_elsewhere(toy: Make, form: str) -> None:
    name, workers, resume = FORMS[form]
    env = toy(name, workers=workers)
    assert env.resume == resume
    assert_true_successors(env)


def assert_true_successors(env: BaseEnvAdapter) -> None:
    observation, _ = env.reset(torch.arange(3).numpy())
    before = copied(observation)  # [N, 2]: episode, t
    ends = frames = 0
    for step in walk(env, 40):
        done = step.terminated | step.truncated
        assert (step.final_observation is not None) == bool(done.any())
        for n in range(3):
            episode, t = before[n].tolist()
            if step.valid is not None and not step.valid[n]:
                assert step.observation[n].tolist() == [episode + 1, 0]
                assert step.reward[n] == 0
                assert not done[n]
                continue
            frames += 1
            successor = step.final_observation[n] if done[n] else step.observation[n]
            assert successor.tolist() == [episode, t + 1]
            assert step.reward[n] == t + 1
            assert bool(step.terminated[n]) == (bool(done[n]) and episode % 2 == 0)
            if done[n]:
                ends += 1
                following = [episode, t + 1] if env_waits(env) else [episode + 1, 0]
                assert step.observation[n].tolist() == following
        before = step.observation
    assert ends >= 20
    assert frames == 120 if not env_waits(env) else 90 <= frames < 120


def env_waits(env: BaseEnvAdapter) -> bool:
    return getattr(env, "_finish", None) == getattr(env, "_finish_next_step", "never")


def test_masked_reset_begins_only_those_episodes(toy: Make) -> None:
    env = toy("Counter")
    env.reset(torch.arange(3).numpy())
    for _ in walk(env, 2):
        pass
    observation, _ = env.reset(torch.arange(3).numpy(), torch.tensor([False, True, False]).numpy())
    assert observation[:, 1].tolist() == [2, 0, 2]


def test_same_step_takes_apart_composite_last_observations(toy: Make) -> None:
    native, single = toy("SameStepRich", vectorization="native"), toy("Rich")
    assert native.observation_space == single.observation_space
    native.reset(torch.arange(3).numpy())
    ended = [step for step in walk(native, 12) if step.final_observation is not None]
    assert ended
    for step in ended:
        final = step.final_observation
        assert isinstance(final, dict)
        assert final["1"]["image"].dtype == torch.uint8
        assert bool((final["0"] >= 0).all())
        assert bool((final["0"] < 9).all())
