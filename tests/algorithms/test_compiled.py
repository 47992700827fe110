"""The compiled step: the same as the eager one, used only where it fits, kept under what decides it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ppo_task import NORMAL, VECTOR, make_ppo, random_batch
from torch import nn

from rl2cli.algorithms import compiled
from rl2cli.algorithms.adam import FlatAdam, adam_step
from rl2cli.algorithms.compiled import CompilationError, CompiledStep, artifact_name
from rl2cli.algorithms.ppo import NOT_IN_THE_STEP, PPO
from rl2cli.algorithms.ppo_options import PPOOptions

CART = spaces.Box(-1.0, 1.0, (4,), np.float32)
DISCRETE = spaces.Discrete(2)
COMPOSITE = spaces.Dict({"a": spaces.Discrete(3), "b": NORMAL, "c": spaces.MultiBinary(2)})
SPACES = {"categorical": DISCRETE, "normal": NORMAL, "composite": COMPOSITE}
SETTINGS = torch.tensor(0.2), torch.tensor(0.0)
MINIBATCHES = [256, 256, 250, 3, 37] * 4
"""Rows of twenty minibatches, as environments make them whose resets are no frames."""


class Imitation:
    """Stands for loaded code: does in Python what was traced, or what it is told to do instead."""

    def __init__(self, take: Callable[..., torch.Tensor]) -> None:
        self.take, self.rows = take, list[int]()

    def run(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        self.rows.append(len(inputs[-1]))
        return [self.take(*inputs)]


def _keep(folder: Path, step: CompiledStep, content: bytes = b"code") -> Path:
    path = folder / step.key / artifact_name(range(3, 4097), content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def imitate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Imitation]:
    """Return a function that loads an imitation of compiled code into a PPO."""

    def load(ppo: PPO, take: Callable[..., torch.Tensor] | None = None) -> Imitation:
        step = ppo.make_compiled_step()
        imitation = Imitation(take or step.take_traceably)
        monkeypatch.setattr(compiled, "open_artifact", lambda path: imitation)
        _keep(tmp_path, step)
        step.load(tmp_path)
        imitation.rows.clear()
        return imitation

    return load


def _twenty_steps(ppo: PPO) -> list[torch.Tensor]:
    """Take a step on each of `MINIBATCHES` with settings that move; return the metrics of each."""
    reported = []
    for number, rows in enumerate(MINIBATCHES):
        ppo.optimizer.learning_rate.fill_(1e-3 / (number + 1))
        batch = random_batch(ppo, rows, seed=number)
        reported.append(ppo._learn(batch, torch.tensor(0.1 + 0.01 * number), torch.tensor(0.02 - 0.001 * number)))
    return reported


def _assert_same(one: PPO, other: PPO) -> None:
    for ours, theirs in zip(_twenty_steps(one), _twenty_steps(other), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(one.optimizer.state(), other.optimizer.state(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert one.optimizer.step_count == len(MINIBATCHES)


@pytest.mark.parametrize("max_grad_norm", [0.0, 0.5])
def test_plain_adam_is_the_fused_one(max_grad_norm: float) -> None:
    optimizer = FlatAdam([nn.Parameter(torch.ones(5))], 1e-5, max_grad_norm)
    optimizer.learning_rate.fill_(1e-2)
    plain = [tensor.clone() for tensor in optimizer.state()]
    for number in range(30):
        gradient = torch.randn(5, generator=torch.Generator().manual_seed(number)) * (0.1 if number % 3 else 10.0)
        norm = adam_step(plain, gradient.clone(), optimizer.learning_rate, 1e-5, max_grad_norm)
        torch.testing.assert_close(norm, optimizer.apply_gradient([gradient]))
    for ours, theirs in zip(plain, optimizer.state(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_plain_adam_keeps_everything_where_the_gradient_is_not_finite(bad: float) -> None:
    state = [torch.ones(3), torch.full((3,), 0.1), torch.full((3,), 0.2), torch.tensor(4.0)]
    before = [tensor.clone() for tensor in state]
    assert not adam_step(state, torch.tensor([1.0, bad, 0.0]), torch.tensor(0.1), 1e-5, 0.5).isfinite()
    assert all(torch.equal(old, new) for old, new in zip(before, state, strict=True))


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("clip_value", [None, 0.2])
def test_what_is_traced_is_the_eager_step(
    imitate: Callable[..., Imitation], name: str, clip_value: float | None
) -> None:
    traced, eager = (make_ppo(SPACES[name], clip_value=clip_value) for _ in range(2))
    imitation = imitate(traced)
    _assert_same(traced, eager)
    assert imitation.rows == MINIBATCHES


def test_a_minibatch_that_does_not_fit_is_learned_eagerly(imitate: Callable[..., Imitation]) -> None:
    ppo = make_ppo(DISCRETE)
    imitation = imitate(ppo)
    whole = random_batch(ppo, 8)
    ppo._learn(whole.select(slice(0, 2)), *SETTINGS)  # fewer rows than the code is for
    ppo._learn(whole.select(slice(0, 8, 2)), *SETTINGS)  # not contiguous
    ppo._learn(whole._replace(value=whole.value.double()), *SETTINGS)
    assert imitation.rows == []
    ppo._learn(whole.select(slice(0, 4)), *SETTINGS)
    assert imitation.rows == [4]
    assert ppo.optimizer.step_count == 4


def test_loading_leaves_everything_as_it_was(imitate: Callable[..., Imitation]) -> None:
    ppo = make_ppo(COMPOSITE)
    before = {key: value.clone() for key, value in ppo.state_dict().items() if isinstance(value, torch.Tensor)}
    random = torch.get_rng_state(), ppo.generators["minibatches"].get_state()
    imitate(ppo)
    assert all(torch.equal(before[key], ppo.state_dict()[key]) for key in before)
    assert torch.equal(random[0], torch.get_rng_state())
    assert torch.equal(random[1], ppo.generators["minibatches"].get_state())


def test_code_that_does_something_else_is_refused(imitate: Callable[..., Imitation]) -> None:
    ppo, other = make_ppo(DISCRETE), make_ppo(DISCRETE, value_coef=0.6)
    with pytest.raises(CompilationError, match="not do what the eager step does"):
        imitate(ppo, other.make_compiled_step().take_traceably)
    ppo._learn(random_batch(ppo, 8), *SETTINGS)  # and learning goes on


def test_code_that_is_missing_damaged_or_no_code_is_refused(tmp_path: Path) -> None:
    step = make_ppo(DISCRETE).make_compiled_step()
    with pytest.raises(CompilationError, match="no compiled code"):
        step.load(tmp_path)
    path = _keep(tmp_path, step)
    assert step.is_kept(tmp_path)
    with pytest.raises(CompilationError, match="RuntimeError"):
        step.load(tmp_path)  # the file is whole, and no library
    path.write_bytes(b"half")
    assert not step.is_kept(tmp_path)
    assert not step.is_loaded


def _key(action_space: spaces.Space[Any] = DISCRETE, **options: Any) -> str:
    return make_ppo(action_space, **options).make_compiled_step().key


def test_runs_that_differ_outside_the_step_share_its_code() -> None:
    other = {"rollout_length": 64, "epochs": 9, "learning_rate": 1e-2, "gamma": 0.9}
    assert _key() == _key(seed=3, total_frames=7, num_envs=4, clip_coef=0.3, entropy_coef=0.1, **other)
    assert set(PPOOptions.model_fields) > NOT_IN_THE_STEP


def test_what_decides_the_code_is_in_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        _key(),
        _key(value_coef=0.6),
        _key(minibatch_size=32),
        _key(clip_value=0.2),
        _key(normalize_advantage=False),
        _key(max_grad_norm=0.0),
        _key(adam_epsilon=1e-8),
        _key(spaces.Discrete(3)),
        _key(spaces.MultiDiscrete([2])),
        _key(NORMAL),
        _key(observation_space=CART),
    ]
    monkeypatch.setattr(compiled, "processor", lambda: ["another"])
    keys.append(_key())
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    keys.append(_key())
    monkeypatch.setattr(torch, "__version__", "0.0")
    keys.append(_key())
    monkeypatch.setattr("rl2cli.algorithms.ppo.sources", lambda *modules, also: ["edited"])
    keys.append(_key())
    assert len(set(keys)) == len(keys)


def test_a_network_with_buffers_is_not_compiled() -> None:
    ppo = make_ppo(DISCRETE)
    ppo.policy.register_buffer("running", torch.zeros(1))
    with pytest.raises(CompilationError, match="buffers"):
        ppo.make_compiled_step()


def test_a_failed_build_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(step: CompiledStep, scratch: Path) -> Path:
        raise RuntimeError("No working C++ compiler found\nmore")

    monkeypatch.setattr(CompiledStep, "_compile", fail)
    with pytest.raises(CompilationError, match=r"^RuntimeError: No working C\+\+ compiler found$"):
        make_ppo(DISCRETE).make_compiled_step().build(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["normal", "composite"])
def test_built_code_is_the_eager_step_and_the_same_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("CXX")
    options = {} if name == "normal" else {"clip_value": 0.2}
    first, second, eager = (make_ppo(SPACES[name], VECTOR, **options) for _ in range(3))
    first.make_compiled_step().build(tmp_path)
    steps = [ppo.make_compiled_step() for ppo in (first, second)]
    for step in steps:
        step.load(tmp_path)
    counted = Imitation(lambda *inputs: loaded.run(list(inputs))[0])
    loaded, steps[0]._runner = steps[0]._runner, counted
    _assert_same(first, eager)
    assert counted.rows == [rows for rows in MINIBATCHES if rows > 3]  # torch's code for the fewest rows is another
    _twenty_steps(second)
    assert all(torch.equal(a, b) for a, b in zip(first.optimizer.state(), second.optimizer.state(), strict=True))
    bad = random_batch(first, 64)._replace(advantage=torch.full((64,), float("nan")))
    with pytest.raises(Exception, match="not finite"):
        first._learn(bad, *SETTINGS)
    assert all(torch.equal(a, b) for a, b in zip(first.optimizer.state(), second.optimizer.state(), strict=True))
