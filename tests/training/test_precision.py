"""Which precision networks compute in, and that everything around them stays float32."""

from __future__ import annotations

import pytest
import torch
from small_runs import spec

from rl2cli.algorithms.ppo import PPO
from rl2cli.networks.base import BaseNetwork
from rl2cli.spec import load_spec_dict
from rl2cli.spec.model import RunSpec
from rl2cli.training import precision
from rl2cli.training.build import build
from rl2cli.training.precision import choose_precision, set_precision

LARGE = {"hidden_sizes": [600, 600]}


@pytest.fixture
def large() -> tuple[RunSpec, PPO]:
    made = load_spec_dict(spec(network=LARGE, threads=1, precision="float32")).spec
    parts = build(made)
    parts.close()
    assert isinstance(parts.algorithm, PPO)
    return made.model_copy(update={"precision": "auto"}), parts.algorithm


def _with_units(monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    monkeypatch.setattr(precision, "has_bfloat16_units", lambda device: True)
    monkeypatch.setattr(precision, "_seconds", lambda network, dtype: 1.0 if dtype is torch.bfloat16 else gain)


def test_a_small_network_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    _with_units(monkeypatch, 9.0)
    parts = build(load_spec_dict(spec()).spec)
    parts.close()
    assert parts.plan.spec.precision == "float32"
    assert not any("float" in choice for choice in parts.plan.choices)


def test_without_units_it_is_float32(large: tuple[RunSpec, PPO], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16_units", lambda device: False)
    assert choose_precision(*large) == ("float32", "float32: no units for bfloat16 here")


@pytest.mark.parametrize(("gain", "chosen"), [(2.5, "bfloat16"), (1.1, "float32")])
def test_it_is_measured(large: tuple[RunSpec, PPO], monkeypatch: pytest.MonkeyPatch, gain: float, chosen: str) -> None:
    _with_units(monkeypatch, gain)
    assert choose_precision(*large) == (chosen, f"{chosen}: bfloat16 was measured to be {gain} times as fast")


def test_what_is_asked_for_is_not_measured(large: tuple[RunSpec, PPO]) -> None:
    made, algorithm = large
    assert choose_precision(made.model_copy(update={"precision": "bfloat16"}), algorithm) == ("bfloat16", None)


def test_measuring_changes_nothing(large: tuple[RunSpec, PPO]) -> None:
    _, algorithm = large
    before = {name: value.clone() for name, value in algorithm.state_dict().items() if isinstance(value, torch.Tensor)}
    state = torch.random.get_rng_state()
    assert precision._seconds(algorithm.policy, torch.bfloat16) > 0.0
    assert torch.equal(torch.random.get_rng_state(), state)
    assert algorithm.policy.compute_dtype is torch.float32
    assert all(parameter.grad is None for parameter in algorithm.parameters())
    after = algorithm.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_features_gradients_and_parameters_stay_float32(large: tuple[RunSpec, PPO]) -> None:
    _, algorithm = large
    observation = torch.randn(8, 4)
    exact = algorithm.policy(observation)
    set_precision(algorithm, "bfloat16")
    assert all(
        module.compute_dtype is torch.bfloat16 for module in algorithm.modules() if isinstance(module, BaseNetwork)
    )
    features = algorithm.policy(observation)
    assert features.dtype is torch.float32
    assert not torch.equal(features, exact)
    torch.testing.assert_close(features, exact, atol=0.02, rtol=0.02)
    gradients = torch.autograd.grad(features.sum(), list(algorithm.policy.parameters()))
    assert {gradient.dtype for gradient in gradients} == {torch.float32}


def test_a_run_in_bfloat16_says_so_and_its_policy_acts_alike() -> None:
    parts = build(load_spec_dict(spec(precision="bfloat16")).spec)
    parts.close()
    assert parts.plan.spec.precision == "bfloat16"
    assert isinstance(parts.algorithm, PPO)
    assert parts.algorithm.policy.compute_dtype is torch.bfloat16
