"""Coloured noise and noise that depends on the state: their distributions, and how they go on."""

from __future__ import annotations

import math

import pytest
import torch

from rl2cli.algorithms.exploration import ColouredNoise, StateDependentNoise

CPU = torch.device("cpu")


def _sequence(noise: ColouredNoise, generator: torch.Generator, length: int) -> torch.Tensor:
    """Return [length, N, width]."""
    return torch.stack([noise.sample(generator).clone() for _ in range(length)])


@pytest.mark.parametrize("steps", [64, 65, 1, 2, 3])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_variance_is_one_at_every_step(exponent: float, steps: int) -> None:
    noise = ColouredNoise(exponent, steps, 4000, 5, CPU)
    found = _sequence(noise, torch.Generator().manual_seed(0), steps)
    torch.testing.assert_close(found.var((1, 2)), torch.ones(steps), atol=0.05, rtol=0)
    torch.testing.assert_close(found.mean((1, 2)), torch.zeros(steps), atol=0.05, rtol=0)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_power_falls_with_frequency_as_the_exponent_says(exponent: float) -> None:
    steps = 512
    noise = ColouredNoise(exponent, steps, 200, 2, CPU)
    found = _sequence(noise, torch.Generator().manual_seed(0), steps)
    power = torch.fft.rfft(found, dim=0).abs().square().mean((1, 2))[1:-1].log()  # without frequencies of no phase
    frequency = torch.fft.rfftfreq(steps)[1:-1].log()
    slope = torch.corrcoef(torch.stack([frequency, power]))[0, 1] * power.std() / frequency.std()
    assert slope == pytest.approx(-exponent, abs=0.05)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_uniform_noise_is_uniform_and_as_slow(exponent: float) -> None:
    noise, same = (ColouredNoise(exponent, 32, 2000, 2, CPU) for _ in range(2))
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    uniform = torch.stack([noise.sample_uniform(generators[0]) for _ in range(32)])  # [32, N, width]
    normal = _sequence(same, generators[1], 32)
    place = uniform.flatten(1).sort(1).values
    assert (place - torch.linspace(-1.0, 1.0, 4000)).abs().max() < 0.1  # a correlated draw at each of 32 steps
    assert torch.equal(uniform.argsort(0), normal.argsort(0))


def test_environments_and_numbers_are_independent() -> None:
    found = _sequence(ColouredNoise(1.0, 1000, 2, 2, CPU), torch.Generator().manual_seed(0), 1000).flatten(1)
    assert (torch.corrcoef(found.T) - torch.eye(4)).abs().max() < 0.5
    assert len(found[0].unique()) == 4


def test_a_new_sequence_follows_when_one_is_used_up() -> None:
    found = _sequence(ColouredNoise(1.0, 8, 2, 3, CPU), torch.Generator().manual_seed(0), 24)
    assert len(found.unique()) == found.numel()


def test_red_noise_is_slow_and_white_noise_is_not() -> None:
    def change(exponent: float) -> float:
        found = _sequence(ColouredNoise(exponent, 256, 50, 1, CPU), torch.Generator().manual_seed(0), 256)
        return float(found.diff(dim=0).square().mean())

    assert change(0.0) == pytest.approx(2.0, abs=0.1)
    assert change(1.0) < 1.2
    assert change(2.0) < 0.1


@pytest.mark.parametrize("taken", [1, 5, 16, 21])
def test_coloured_noise_goes_on_from_its_state(taken: int) -> None:
    generator = torch.Generator().manual_seed(0)
    noise, again = (ColouredNoise(1.0, 16, 3, 2, CPU) for _ in range(2))
    _sequence(noise, generator, taken)
    again.load_state_dict(noise.state_dict())
    copied = torch.Generator()
    copied.set_state(generator.get_state())
    assert torch.equal(_sequence(noise, generator, 40), _sequence(again, copied, 40))


def test_equal_states_have_equal_noise_until_it_is_drawn_anew() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = StateDependentNoise(4, 3, 5, 2, CPU)
    features = torch.randn(3, 5, generator=generator)
    std = torch.rand(5, 2, generator=generator)
    found = torch.stack([noise.sample(features, std, generator) for _ in range(12)])  # [12, N, width]
    for start in (0, 4, 8):
        assert all(torch.equal(found[start], found[start + step]) for step in range(1, 4))
    assert not torch.isclose(found[0], found[4]).any()
    assert not torch.isclose(found[4], found[8]).any()


def test_state_dependent_noise_is_linear_and_each_environments_own() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = StateDependentNoise(1000, 3, 5, 2, CPU)
    one, other = torch.randn(2, 5, generator=generator)
    std = torch.ones(5, 2)
    first, second, both = (noise.sample(state.expand(3, 5), std, generator) for state in (one, other, one + other))
    torch.testing.assert_close(both, first + second)
    assert len(first.unique()) == 6


def test_covariance_of_state_dependent_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    features, std = torch.randn(5, generator=generator), 0.1 + torch.rand(5, 2, generator=generator)
    found = StateDependentNoise(1, 100_000, 5, 2, CPU).sample(features.expand(100_000, 5), std, generator)
    expected = torch.diag(features.square() @ std.square())
    torch.testing.assert_close(torch.cov(found.T), expected, atol=0.02 * float(expected.max()), rtol=0)
    assert found.mean(0).abs().max() < 4.0 * math.sqrt(float(expected.max()) / 100_000)


@pytest.mark.parametrize("taken", [0, 3, 4])
def test_state_dependent_noise_goes_on_from_its_state(taken: int) -> None:
    generator = torch.Generator().manual_seed(0)
    noise, again = (StateDependentNoise(4, 3, 5, 2, CPU) for _ in range(2))
    features, std = torch.randn(3, 5, generator=generator), torch.ones(5, 2)
    for _ in range(taken):
        noise.sample(features, std, generator)
    again.load_state_dict(noise.state_dict())
    copied = torch.Generator()
    copied.set_state(generator.get_state())
    for _ in range(9):
        assert torch.equal(noise.sample(features, std, generator), again.sample(features, std, copied))
