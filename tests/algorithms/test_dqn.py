"""DQN's exploration, its target network, the replay ratio, going on, and a chain whose values are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up_parts  # noqa: F401  # registers the chain
import numpy as np
import pytest
import torch
from dqn_task import CHOICES, GAMMA, make_dqn, random_batch, rollout
from gymnasium import spaces
from pydantic import ValidationError
from torch import nn

import rl2cli
from rl2cli.algorithms.dqn import DQN
from rl2cli.algorithms.dqn_options import DQNOptions
from rl2cli.errors import NonFiniteError, UsageError

# --- acting ---


def worst_is_first(dqn: DQN) -> None:
    """Make action values -1, 1 and 0 everywhere."""
    nn.init.zeros_(dqn.values.head.weight)
    with torch.no_grad():
        dqn.values.head.bias.copy_(torch.tensor([-1.0, 1.0, 0.0]))


def test_without_exploring_it_takes_the_best_allowed_action() -> None:
    dqn = make_dqn()
    worst_is_first(dqn)
    mask = torch.tensor([[True, True, True], [True, False, True], [True, False, False]])
    assert dqn.act(torch.randn(3, 4))["action"].tolist() == [1, 1, 1]
    assert dqn.act(torch.randn(3, 4), action_mask=mask)["action"].tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("frames", "epsilon"),
    [
        (0, 1.0),
        (299, 1.0),  # the warm-up is random whatever the schedule says
        (300, 0.43),  # 1 - 0.95 · 300 / 500
        (499, 1.0 - 0.95 * 499 / 500),
        (500, 0.05),
        (1000, 0.05),
    ],
)
def test_epsilon_moves_over_a_part_of_the_run(frames: int, epsilon: float) -> None:
    dqn = make_dqn(total_frames=1000, exploration_fraction=0.5, learning_starts=300)
    dqn.learner.frames = frames
    assert dqn.epsilon == pytest.approx(epsilon)


def test_epsilon_is_a_number_or_has_frames_of_its_own() -> None:
    dqn = make_dqn(epsilon={"start": 0.8, "end": 0.2, "frames": 100})
    dqn.learner.frames = 50
    assert dqn.epsilon == pytest.approx(0.5)
    assert make_dqn(epsilon=0.3).epsilon == 0.3
    with pytest.raises(ValidationError, match="epsilon is a probability"):
        DQNOptions(epsilon={"start": 2.0, "end": 0.1})


def test_exploring_is_random_in_epsilon_of_all_actions() -> None:
    dqn = make_dqn(num_envs=100, epsilon=0.3, evaluation_epsilon=0.1)
    worst_is_first(dqn)
    generator = torch.Generator().manual_seed(0)
    observation = torch.randn(100, 4)
    for act, epsilon in ((dqn.behave, 0.3), (dqn.act, 0.1)):
        actions = torch.cat([act(observation, generator)["action"] for _ in range(300)])
        shares = (actions.bincount(minlength=3) / len(actions)).tolist()
        error = 4.0 * math.sqrt(epsilon / len(actions))
        assert shares == pytest.approx([epsilon / 3, 1.0 - 2.0 * epsilon / 3, epsilon / 3], abs=error)


def test_observations_are_normalised_to_act() -> None:
    dqn = make_dqn(normalize_observation=True)
    dqn.learner.normalizer.update(5.0 + 3.0 * torch.randn(100, 4, generator=torch.Generator().manual_seed(0)))
    raw = 5.0 + 3.0 * torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    action = dqn.values(dqn.learner.normalizer(raw)).argmax(-1)
    assert not torch.equal(dqn.values(raw).argmax(-1), action)
    assert torch.equal(dqn.act(raw)["action"], action)


def test_each_environment_explores_by_itself() -> None:
    dqn = make_dqn(num_envs=1000, epsilon=0.5)
    worst_is_first(dqn)
    actions = dqn.behave(torch.zeros(1000, 4), torch.Generator().manual_seed(0))["action"]
    assert 0.1 < (actions == 0).float().mean() < 0.25


@pytest.mark.parametrize("learning_starts", [0, 1000], ids=["learning", "warm-up"])
def test_a_forbidden_action_is_never_taken(learning_starts: int) -> None:
    dqn = make_dqn(num_envs=50, has_action_mask=True, epsilon=0.5, learning_starts=learning_starts)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.zeros(CHOICES)
    for _ in range(200):
        mask = torch.rand(50, CHOICES, generator=generator) < 0.5
        mask[torch.arange(50), torch.randint(CHOICES, (50,), generator=generator)] = True
        observation = torch.randn(50, 4, generator=generator)
        behaved = dqn.behave(observation, generator, mask)["action"]
        for action in (
            behaved,
            dqn.act(observation, generator, mask)["action"],
            dqn.act(observation, None, mask)["action"],
        ):
            assert mask[torch.arange(50), action].all()
        chosen += behaved.bincount(minlength=CHOICES)
    assert chosen.min() > 1000


def test_warm_up_actions_are_uniform_over_the_allowed_ones() -> None:
    dqn = make_dqn(num_envs=30_000, has_action_mask=True, learning_starts=900)
    worst_is_first(dqn)
    mask = torch.tensor([True, True, False]).expand(30_000, 3)
    actions = dqn.behave(torch.zeros(30_000, 4), torch.Generator().manual_seed(0), mask)["action"]
    assert (actions.bincount(minlength=3) / 30_000).tolist() == pytest.approx([0.5, 0.5, 0.0], abs=0.015)


@pytest.mark.parametrize("space", [spaces.Box(-1.0, 1.0, (2,), np.float32), spaces.MultiDiscrete([2, 3])])
def test_other_spaces_are_refused(space: spaces.Space[Any]) -> None:
    with pytest.raises(UsageError, match="dqn cannot act in") as caught:
        DQN(DQNOptions(), replace(make_dqn().task, action_space=space))
    assert "can" in (caught.value.hint or "")


# --- the target network ---


def test_the_target_network_is_copied_every_so_many_steps() -> None:
    dqn = make_dqn(target_update_every=3)
    dqn.optimizer.learning_rate.fill_(1e-2)
    kept = dqn.target_parameters.flat.clone()
    assert torch.equal(kept, dqn.optimizer.flat)
    for number in range(1, 10):
        dqn.step(random_batch(8, number), [])
        if number % 3 == 0:
            kept = dqn.optimizer.flat.clone()
        assert torch.equal(dqn.target_parameters.flat, kept)
        assert torch.equal(dqn.targets.head.bias, kept[-CHOICES:])


def test_the_target_network_moves_by_tau() -> None:
    dqn = make_dqn(target_update_every=2, tau=0.25)
    dqn.optimizer.learning_rate.fill_(1e-2)
    first = dqn.target_parameters.flat.clone()
    dqn.step(random_batch(8, 0), [])
    dqn.step(random_batch(8, 1), [])
    torch.testing.assert_close(dqn.target_parameters.flat, 0.75 * first + 0.25 * dqn.optimizer.flat)


def _five_steps(dqn: DQN, take: Callable[..., torch.Tensor]) -> list[torch.Tensor]:
    mask = torch.tensor([[True, True, False], [True, False, True]]).repeat(8, 1)
    dqn.optimizer.learning_rate.fill_(1e-2)
    return [take(*random_batch(16, number, mask).tensors()).clone() for number in range(5)]


@pytest.mark.parametrize("options", [{}, {"double": False, "dueling": True, "huber": False}, {"tau": 0.1}])
def test_what_is_traced_is_the_eager_step(options: dict[str, Any]) -> None:
    eager, traced = (make_dqn(has_action_mask=True, target_update_every=2, **options) for _ in range(2))
    step = traced.make_compiled_step()
    for optimizer in (eager.optimizer, traced.optimizer):
        optimizer.learning_rate.fill_(1e-2)
    parts = [[*dqn.optimizer.tensors(), *dqn.target_parameters.tensors()] for dqn in (eager, traced)]
    state = [tensor.clone() for tensor in parts[1]]
    expected = _five_steps(eager, eager.learner._take)
    reported = _five_steps(traced, lambda *inputs: step.take_traceably(*state, *inputs))
    torch.testing.assert_close(reported, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(state, parts[0], atol=1e-5, rtol=1e-4)
    assert eager.target_parameters.steps_since == 1
    assert traced.target_parameters.steps_since == 0  # others stood in for what it changes


@pytest.mark.slow
def test_built_code_is_the_eager_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX")
    eager, compiled = (make_dqn(has_action_mask=True, target_update_every=2, batch_size=16) for _ in range(2))
    step = compiled.make_compiled_step()
    step.build(tmp_path)
    step.load(tmp_path)
    expected = _five_steps(eager, eager.learner._take)
    torch.testing.assert_close(_five_steps(compiled, step), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(compiled.target_parameters.flat, eager.target_parameters.flat, atol=1e-5, rtol=1e-4)


# --- learning ---


@pytest.mark.parametrize("num_envs", [1, 4, 7])
@pytest.mark.parametrize("length", [1, 3, 8])
@pytest.mark.parametrize("ratio", [0.25, 1.0, 1.5])
def test_the_replay_ratio_holds(num_envs: int, length: int, ratio: float) -> None:
    dqn = make_dqn(num_envs, rollout_length=length, updates_per_frame=ratio, learning_starts=30, batch_size=2)
    assert dqn.rollout_length == length
    frames = 0
    while frames < 100:
        frames += num_envs * length
        metrics = dqn.update(rollout(length, num_envs, seed=frames), frames)
        assert dqn.learner.updates == max(0, math.floor((frames - 30) * ratio))
    assert dqn.optimizer.step_count == dqn.learner.updates
    assert set(metrics) > {"loss/critic", "loss/value", "exploration/epsilon", "replay/size"}


def test_epsilon_is_reported_as_it_was_in_the_rollout() -> None:
    dqn = make_dqn(learning_starts=8, exploration_fraction=1.0)
    seen = [dqn.update(rollout(4, 2, seed=n), 8 * n)["exploration/epsilon"] for n in (1, 2, 3)]
    assert seen == pytest.approx([1.0, 1.0 - 0.95 * 8 / 1000, 1.0 - 0.95 * 16 / 1000])


def test_long_gradients_are_clipped_and_reported_as_they_were() -> None:
    dqn = make_dqn(max_grad_norm=1e-6, adam_epsilon=1.0, huber=False)
    dqn.optimizer.learning_rate.fill_(1.0)
    before = dqn.optimizer.flat.clone()
    (_, _, norm), _ = dqn.step(random_batch(16), [])
    assert norm > 1.0
    assert torch.linalg.vector_norm(dqn.optimizer.flat - before) < 1.1e-6


def test_what_is_not_finite_is_not_learned() -> None:
    dqn = make_dqn(batch_size=8, target_update_every=1)
    before = dqn.optimizer.flat.clone()
    with pytest.raises(NonFiniteError, match="loss/critic"):
        dqn.update(rollout(4, 2, reward=torch.full((4, 2, 1), torch.nan)), 8)
    assert torch.equal(dqn.optimizer.flat, before)
    assert torch.equal(dqn.target_parameters.flat, before)


def _learn(dqn: DQN, rollouts: range) -> None:
    for number in rollouts:
        dqn.update(rollout(4, 2, seed=number), 8 * (number + 1))


@pytest.mark.parametrize("prioritized", [False, True])
def test_it_goes_on_exactly(prioritized: bool) -> None:
    options = {"prioritized": prioritized, "target_update_every": 7, "n_step": 2, "normalize_observation": True}
    first, other = (make_dqn(batch_size=8, seed=seed, buffer_size=100, **options) for seed in (0, 1))
    _learn(first, range(20))
    kept = {name: generator.get_state() for name, generator in first.generators.items()}
    other.load_state_dict(first.state_dict())
    other.load_segments(first.segments())
    for name, generator in other.generators.items():
        generator.set_state(kept[name])
    for dqn in (first, other):
        _learn(dqn, range(20, 30))
    assert other.learner.updates == first.learner.updates == 60
    assert torch.equal(first.optimizer.flat, other.optimizer.flat)
    assert torch.equal(first.target_parameters.flat, other.target_parameters.flat)
    assert other.target_parameters.steps_since == 60 % 7


def test_memory_is_that_of_the_buffer() -> None:
    dqn = make_dqn(buffer_size=10_000)
    assert dqn.memory_bytes == dqn.learner.buffer.memory_bytes >= 10_000 * 4 * 4


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"double": False, "dueling": True, "n_step": 2, "prioritized": True}])
def test_it_finds_the_values_of_a_chain(tmp_path: Path, options: dict[str, Any]) -> None:
    spec = {
        "name": "chain",
        "total_frames": 2400,
        "env": {"id": "MadeUpChain-v0", "num_envs": 4, "workers": 0},
        "network": {"hidden_sizes": [32]},
        "algorithm": {
            "name": "dqn",
            "gamma": GAMMA,
            "batch_size": 64,
            "learning_rate": {"start": 2e-2, "end": 1e-4},
            "target_update_every": 10,
            "epsilon": 0.1 if "n_step" in options else 1.0,  # targets of n steps are those of what was done
            **options,
        },
        "evaluation": {"every": 2400, "episodes": 5, "stochastic_episodes": 0},
        "logging": {"tensorboard": False},
        "device": "cpu",
    }
    summary = rl2cli.train(spec, run_dir=tmp_path / "run")
    assert summary.evaluation is not None
    assert summary.evaluation.mean_return == 1.0
    with closing(rl2cli.load_policy(summary.run_dir, checkpoint="last")) as policy, torch.no_grad():
        values = policy.algorithm.values(torch.arange(1, 6))
    right = GAMMA ** torch.arange(4.0, -1.0, -1.0)
    if "n_step" in options:
        torch.testing.assert_close(values[:, 1], right, atol=0.1, rtol=0)
    else:
        left = torch.cat([torch.tensor([0.5]), GAMMA * right[:-1]])
        torch.testing.assert_close(values, torch.stack([left, right], -1), atol=0.03, rtol=0)
