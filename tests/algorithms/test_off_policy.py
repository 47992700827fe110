"""What every algorithm with a replay buffer does alike: warm-up, replay ratio, targets, state, a step that compiles."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from replay_task import (
    BOX,
    DISCRETE,
    SCALAR,
    OffPolicy,
    draw_noise,
    make,
    move_apart,
    random_batch,
    rollout,
)
from torch import nn

from rl2cli.algorithms import learner
from rl2cli.algorithms.adam import FlatAdam
from rl2cli.algorithms.compiled import CompiledStep
from rl2cli.algorithms.critics import Critics
from rl2cli.algorithms.sac import SAC
from rl2cli.algorithms.schedules import Schedule
from rl2cli.algorithms.td3 import TD3
from rl2cli.algorithms.tqc import TQC
from rl2cli.errors import NonFiniteError
from rl2cli.keys import Trajectories

CASES = {"sac": (SAC, BOX), "sac-discrete": (SAC, DISCRETE), "td3": (TD3, BOX), "tqc": (TQC, BOX)}
CONTINUOUS = [name for name in CASES if name != "sac-discrete"]


def _make(case: str, **options: Any) -> OffPolicy:
    algorithm, space = CASES[case]
    return make(algorithm, options.pop("action_space", space), **options)


def _steps_taken(algorithm: OffPolicy) -> int:
    return int(algorithm.critic_optimizer.step_count)


# --- acting ---


@pytest.mark.parametrize("case", CONTINUOUS)
def test_warm_up_actions_are_uniform_in_the_box(case: str) -> None:
    algorithm = _make(case, num_envs=4000, learning_starts=10, buffer_size=100_000)
    action = algorithm.behave(torch.full((4000, 4), 100.0), torch.Generator().manual_seed(0))["action"]
    low, high = torch.from_numpy(BOX.low), torch.from_numpy(BOX.high)
    place = ((action - low) / (high - low)).sort(0).values
    expected = torch.linspace(0.0, 1.0, 4000).unsqueeze(1).expand(4000, 3)
    assert (place - expected).abs().max() < 0.03  # Kolmogorov and Smirnov's distance, 1.9 / sqrt(4000)
    assert torch.corrcoef(action.T).triu(1).abs().max() < 0.1


@pytest.mark.parametrize("case", CONTINUOUS)
def test_the_warm_up_of_coloured_noise_is_coloured(case: str) -> None:
    algorithm = _make(case, num_envs=200, learning_starts=10**6, exploration="coloured", noise_exponent=2.0)
    generator = torch.Generator().manual_seed(0)
    observation = torch.zeros(200, 4)
    found = torch.stack([algorithm.behave(observation, generator)["action"] for _ in range(50)])
    low, high = torch.from_numpy(BOX.low), torch.from_numpy(BOX.high)
    place = (found - low) / (high - low)
    assert ((place >= 0.0) & (place <= 1.0)).all()
    torch.testing.assert_close(place.std((0, 1)), torch.full((3,), 12**-0.5), atol=0.05, rtol=0)
    assert place.diff(dim=0).std() < 0.05  # 0.4 were it white


def test_warm_up_choices_are_uniform() -> None:
    sac = _make("sac-discrete", num_envs=4000, learning_starts=10, buffer_size=100_000)
    action = sac.behave(torch.full((4000, 4), 100.0), torch.Generator().manual_seed(0))["action"]
    torch.testing.assert_close(action.bincount() / 4000.0, torch.full((4,), 0.25), atol=0.03, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_warm_up_ends_when_learning_starts(case: str) -> None:
    algorithm = _make(case, learning_starts=6)
    observation = torch.randn(2, 4)
    for frames, warm in ((2, True), (4, True), (6, False)):
        algorithm.update(rollout(algorithm, 1), frames)
        explored = [algorithm.behave(observation, torch.Generator().manual_seed(seed))["action"] for seed in range(30)]
        sampled = [algorithm.act(observation, torch.Generator().manual_seed(seed))["action"] for seed in range(30)]
        assert torch.equal(torch.stack(explored), torch.stack(sampled)) is not warm


@pytest.mark.parametrize("case", CASES)
def test_observations_are_normalised_to_act_and_to_learn(case: str) -> None:
    algorithm, plain = (_make(case, normalize_observation=normalize) for normalize in (True, False))
    trajectories = rollout(algorithm, 50)
    trajectories["observation"] = 5.0 + 3.0 * trajectories["observation"]
    algorithm.learner._update_statistics(trajectories)
    raw = trajectories["observation"].flatten(0, 1)
    normal = algorithm.learner.normalizer(raw)
    torch.testing.assert_close(normal[:100].mean(0), torch.zeros(4), atol=1e-5, rtol=0)  # the last two are not seen
    for name in ("act", "behave"):
        generators = [torch.Generator().manual_seed(0) for _ in range(2)]
        ours, theirs = (
            getattr(one, name)(observation, generator)["action"]
            for one, observation, generator in zip((algorithm, plain), (raw[:2], normal[:2]), generators, strict=True)
        )
        assert torch.equal(ours, theirs)
    assert torch.equal(algorithm.act(raw)["action"], plain.act(normal)["action"])
    batch = random_batch(algorithm, 8)
    learned = algorithm.learner._normalize(batch)
    assert isinstance(batch.observation, torch.Tensor)
    assert torch.equal(learned.observation, algorithm.learner.normalizer(batch.observation))
    assert torch.equal(learned.next_observation, algorithm.learner.normalizer(batch.next_observation))


# --- the replay ratio ---


@pytest.mark.parametrize("num_envs", [1, 4, 7])
@pytest.mark.parametrize("ratio", [0.25, 1.0, 1.5])
@pytest.mark.parametrize("case", ["sac-discrete", "td3"])
def test_gradient_steps_are_so_many_per_frame_after_the_warm_up(case: str, ratio: float, num_envs: int) -> None:
    algorithm = _make(case, num_envs=num_envs, learning_starts=10, updates_per_frame=ratio)
    together = algorithm.learner.batches_per_step
    for frames in range(num_envs, 60, num_envs):
        metrics = algorithm.update(rollout(algorithm, 1, seed=frames), frames)
        due = int(max(frames - 10, 0) * ratio)
        assert _steps_taken(algorithm) == due // together * together == algorithm.learner.updates
        assert ("loss/critic" in metrics) == (due >= together)
    assert metrics["replay/updates_per_frame"] == pytest.approx(ratio, rel=0.2)
    assert metrics["replay/size"] == frames
    assert metrics["replay/capacity"] == 500.0


@pytest.mark.parametrize("case", CASES)
def test_long_rollouts_have_the_same_ratio(case: str) -> None:
    algorithm = _make(case, rollout_length=40)
    algorithm.update(rollout(algorithm, 40), 80)
    assert _steps_taken(algorithm) == 80  # more than are sampled at once


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_learned_where_no_steps_are_wanted(case: str) -> None:
    algorithm = _make(case, updates_per_frame=0.0)
    assert "loss/critic" not in algorithm.update(rollout(algorithm, 1), 2)
    assert _steps_taken(algorithm) == 0


@pytest.mark.parametrize("prioritized", [False, True], ids=["uniform", "prioritized"])
def test_every_step_has_frames_of_its_own(prioritized: bool) -> None:
    algorithm = _make("td3", prioritized=prioritized)
    algorithm.learner.buffer.add(rollout(algorithm, 200))
    rows = algorithm.learner.rows
    assert rows == 16  # two batches joined
    batches = list(algorithm.learner._batches(70))
    assert len(batches) == 70
    assert all(index.shape == batch.reward.shape == (rows,) for batch, index in batches)
    found = torch.cat([index for _, index in batches])
    assert len(found.unique()) > 350  # of 400: a few are missed by 1120 draws
    first: dict[int, float] = {}
    for batch, index in batches:
        for row, reward in zip(index.tolist(), batch.reward.tolist(), strict=True):
            assert first.setdefault(row, reward) == reward
    assert len(set(first.values())) == len(first)


def test_batches_of_images_are_not_drawn_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner, "NUMBERS_SAMPLED_TOGETHER", 100)
    algorithm = _make("td3", normalize_observation=True)
    numbers = algorithm.learner.rows * algorithm.task.observation_space.shape[0]
    assert 2 * numbers > 100
    algorithm.learner.buffer.add(rollout(algorithm, 20))
    drawn: list[int] = []
    sample = algorithm.learner.buffer.sample
    monkeypatch.setattr(
        algorithm.learner.buffer, "sample", lambda rows, *rest: drawn.append(rows) or sample(rows, *rest)
    )
    assert len(list(algorithm.learner._batches(3))) == 3
    assert drawn == [algorithm.learner.rows] * 3


@pytest.mark.parametrize("case", CONTINUOUS)
def test_every_step_has_noise_of_its_own_from_the_runs_seed(case: str) -> None:
    one, same, other = (_make(case, seed=seed) for seed in (0, 0, 1))
    first, again, another = (
        torch.cat([tensor for _ in range(2) for tensor in some.learner._draw_noise(200)]) for some in (one, same, other)
    )
    assert torch.equal(first, again)
    assert len(torch.cat([first, another]).unique()) > 0.99 * 2 * first.numel()
    assert first.std() == pytest.approx(1.0, abs=0.1)


# --- targets ---


def _worth_their_number(algorithm: OffPolicy) -> None:
    """Make critics say 0, and the lowest target critic what the observation says."""
    for head in algorithm.critics.heads:
        assert isinstance(head, nn.Linear)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    targets = algorithm.target_critics if isinstance(algorithm, TD3) else algorithm.targets
    assert isinstance(targets, Critics)
    outputs = algorithm.critics.heads[0].out_features
    apart = 0.0 if isinstance(algorithm, TQC) else 100.0

    def forward(observation: torch.Tensor, action: torch.Tensor | None = None) -> torch.Tensor:
        value = observation.expand(-1, outputs)
        return torch.stack([value, value + apart])

    targets.forward = forward  # type: ignore[assignment]  # a function in a method's place


@pytest.mark.parametrize(
    ("ending", "n_step", "expected"),
    [
        # gamma 0.5, rewards 1 2 3 4, worth of states 1 2 | 3 4 5: 1 + 2/2, 2, 3 + 4/2, 4 + 5/2
        ("terminated", 1, [2.0, 2.0, 5.0, 6.5]),
        # the episode is cut in a state worth 10: 2 + 10/2
        ("truncated", 1, [2.0, 7.0, 5.0, 6.5]),
        # 1 + 2/2, 2, 3 + 4/2 + 5/4; the newest frame has one reward
        ("terminated", 2, [2.0, 2.0, 6.25, 6.5]),
        # 1 + 2/2 + 10/4, 2 + 10/2
        ("truncated", 2, [4.5, 7.0, 6.25, 6.5]),
        ("truncated", 5, [4.5, 7.0, 6.25, 6.5]),
    ],
)
@pytest.mark.parametrize("case", CASES)
def test_targets_by_hand(case: str, ending: str, n_step: int, expected: list[float]) -> None:
    options: dict[str, Any] = {"gamma": 0.5, "n_step": n_step, "batch_size": 64}
    options |= {"policy_delay": 1} if case == "td3" else {"entropy_coef": 1e-30}
    algorithm = _make(case, observation_space=SCALAR, num_envs=1, **options)
    _worth_their_number(algorithm)
    numbers = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    end = torch.tensor([[False], [True], [False], [False]])
    trajectories = rollout(
        algorithm,
        4,
        observation=numbers.view(5, 1, 1),
        reward=numbers[:4].unsqueeze(1),
        final_observation=torch.tensor([[10.0]]),
        final_index=torch.tensor([[1, 0]]),
        **{ending: end},
    )
    trajectories["is_init"] = torch.tensor([[True], [False], [True], [False]]).unsqueeze(-1)
    algorithm.learner.buffer.add(trajectories)
    batch, _ = algorithm.learner.buffer.sample(64, torch.Generator().manual_seed(0))
    _, errors = algorithm.step(batch, draw_noise(algorithm, 64))
    assert isinstance(batch.observation, torch.Tensor)
    found = dict(zip(batch.observation.flatten().tolist(), errors.tolist(), strict=True))
    assert [found[number] for number in (1.0, 2.0, 3.0, 4.0)] == pytest.approx(expected, rel=1e-6)


# --- learning ---


@pytest.mark.parametrize("case", CASES)
def test_a_number_that_is_not_finite_is_named_and_changes_nothing(case: str) -> None:
    algorithm = _make(case)
    bad = rollout(algorithm, 1, reward=torch.full((1, 2), torch.nan))
    with pytest.raises(NonFiniteError, match=r"loss/critic, .*loss/critic_gradient_norm.* not finite in an update"):
        algorithm.update(bad, 2)
    assert all(parameter.isfinite().all() for parameter in algorithm.critics.parameters())


@pytest.mark.parametrize("case", CASES)
def test_the_learning_rate_is_that_of_the_frame(case: str) -> None:
    algorithm = _make(case, learning_rate=Schedule(start=1e-3, end=0.0), total_frames=100)
    metrics = algorithm.update(rollout(algorithm, 1), 25)
    assert metrics["loss/learning_rate"] == pytest.approx(7.5e-4)
    optimizers = [module for module in algorithm.modules() if isinstance(module, FlatAdam)]
    assert [float(one.learning_rate) for one in optimizers] == pytest.approx([7.5e-4] * len(optimizers))
    assert len(optimizers) == (2 if case == "td3" else 3)
    assert metrics["loss/critic"] > 0.0


@pytest.mark.parametrize("case", CASES)
def test_every_row_of_every_batch_gets_its_priority(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm = _make(case, prioritized=True)
    algorithm.learner.buffer.add(rollout(algorithm, 5))
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    monkeypatch.setattr(algorithm.learner.buffer, "set_priorities", lambda *pair: found.append(pair))
    algorithm.update(rollout(algorithm, 3), 6)
    together = algorithm.learner.batches_per_step
    assert len(found) == 6 // together
    for index, errors in found:
        assert index.shape == errors.shape == (8 * together,)
        assert errors.min() >= 0.0
        assert errors.max() > 0.0


# --- state ---


def _learn(algorithm: OffPolicy, first: int, last: int) -> None:
    """Act in, and learn from, made-up rollouts of two steps."""
    for number in range(first, last):
        trajectories = rollout(algorithm, 2, seed=number)
        algorithm.behave(trajectories["observation"][0], algorithm.generators["replay"])
        algorithm.update(_with_an_end(trajectories, number), 4 * (number + 1))


def _with_an_end(trajectories: Trajectories, number: int) -> Trajectories:
    if number % 3 == 0:
        for key in ("truncated", "done"):
            trajectories[key] = trajectories[key].clone()
            trajectories[key][1, 0] = True
        trajectories["final_observation"] = torch.full((1, 4), float(number))
        trajectories["final_index"] = torch.tensor([[1, 0]])
    if number % 3 == 1:
        trajectories["is_init"] = trajectories["is_init"].clone()
        trajectories["is_init"][0, 0] = True
    return trajectories


def _flat(state: Any, path: str = "") -> dict[str, Any]:
    if isinstance(state, dict):
        return {key: value for name, part in state.items() for key, value in _flat(part, f"{path}.{name}").items()}
    return {path: state.numpy().tobytes() if isinstance(state, torch.Tensor) else str(state)}


def _differences(one: OffPolicy, other: OffPolicy) -> list[str]:
    """Return where the states of two differ in a single bit."""
    ours, theirs = _flat(one.state_dict()), _flat(other.state_dict())
    return sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))


@pytest.mark.parametrize("case", CASES)
def test_a_restored_algorithm_goes_on_bit_for_bit(case: str) -> None:
    options: dict[str, Any] = {"prioritized": case == "td3", "learning_starts": 8, "buffer_size": 40}
    options |= {"normalize_observation": True, "normalize_reward": True, "n_step": 2}
    if case != "sac-discrete":
        options |= {"exploration": "coloured", "noise_steps": 7}
    one, other = _make(case, **options), _make(case, seed=7, **options)
    _learn(one, 0, 13)
    state, segments = copy.deepcopy(one.state_dict()), copy.deepcopy(one.segments())
    generators = {name: generator.get_state() for name, generator in one.generators.items()}
    other.load_state_dict(state)
    other.load_segments(segments)
    for name, generator in other.generators.items():
        generator.set_state(generators[name])
    assert _differences(one, other) == []
    for algorithm in (one, other):
        _learn(algorithm, 13, 18)
    assert _differences(one, other) == []
    action, again = (algorithm.act(torch.ones(3, 4))["action"] for algorithm in (one, other))
    assert torch.equal(action, again)
    assert _steps_taken(one) == 4 * 18 - 8


# --- compiling ---


def _twenty_steps(algorithm: OffPolicy, take: Any) -> list[torch.Tensor]:
    found = []
    rows = algorithm.learner.rows
    for number in range(20):
        for optimizer in algorithm.learner.optimizers:
            optimizer.learning_rate.fill_(1e-3 / (number + 1))
        batch = random_batch(algorithm, rows, seed=number)
        found.append(take(*batch.tensors(), *draw_noise(algorithm, rows, seed=number)).clone())
    return found


def _assert_the_same(one: OffPolicy, take: Any, other: OffPolicy) -> None:
    for ours, theirs in zip(_twenty_steps(one, take), _twenty_steps(other, other.learner._take), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    for (name, ours), (_, theirs) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4, msg=name)
    assert _steps_taken(one) == 20 * one.learner.batches_per_step


def _traced(step: CompiledStep) -> Any:
    return lambda *inputs: step.take_traceably(*step._state, *inputs)


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("sac", {}),
        ("sac", {"exploration": "state_dependent", "entropy_coef": 0.3, "max_grad_norm": 0.5}),
        ("sac-discrete", {"has_action_mask": True}),
        ("sac-discrete", {"critics": 3}),
        ("td3", {}),
        ("td3", {"policy_delay": 3, "batch_size": 5}),
        ("tqc", {"critics": 3, "quantiles": 7}),
    ],
)
def test_what_is_traced_is_the_eager_step(case: str, options: dict[str, Any]) -> None:
    traced, eager = (_make(case, **options) for _ in range(2))
    for algorithm in (traced, eager):
        move_apart(algorithm)
    _assert_the_same(traced, _traced(traced.make_compiled_step()), eager)


def test_a_step_reads_only_what_its_parts_hold_and_is_traced_without_drawing_numbers() -> None:
    random = torch.get_rng_state()
    algorithm = _make("sac", entropy_coef=0.3)
    assert algorithm.make_compiled_step().trace()[1]
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_built_code_is_the_eager_step(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX")
    compiled, eager = (_make(case, batch_size=16) for _ in range(2))
    step = compiled.make_compiled_step()
    step.build(tmp_path)
    step.load(tmp_path)
    rows = compiled.learner.rows
    assert step.fits([*random_batch(compiled, rows).tensors(), *draw_noise(compiled, rows)])
    _assert_the_same(compiled, step, eager)


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_part_of_a_step_shares_its_code(case: str) -> None:
    def key(**options: Any) -> str:
        step = _make(case, **options).make_compiled_step()
        return step.key

    other: dict[str, Any] = {"learning_rate": 1e-2, "buffer_size": 600, "n_step": 3, "prioritized": True}
    other |= {"noise_exponent": 0.5} if case != "sac-discrete" else {}
    assert key(gamma=0.5, **other) == key()
    assert len({key(), key(batch_size=9), key(tau=0.1), key(critics=3), key(max_grad_norm=1.0)}) == 5


def test_options_of_the_step_are_in_its_key() -> None:
    keys = {
        name: {_make(name, **options).make_compiled_step().key for options in ({}, *changes)}
        for name, changes in {
            "td3": [{"policy_delay": 3}, {"target_noise": 0.1}, {"target_noise_clip": 0.1}],
            "sac": [{"target_entropy": -1.0}, {"entropy_coef": 0.1}],
            "tqc": [{"dropped_quantiles": 1}, {"quantiles": 9}],
        }.items()
    }
    assert {name: len(found) for name, found in keys.items()} == {"td3": 4, "sac": 3, "tqc": 3}
