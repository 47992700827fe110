"""Noise for exploration that is more than independent numbers in every step."""

from __future__ import annotations

import math

import torch
from torch import nn


class ColouredNoise(nn.Module):
    """Normal numbers whose power falls with frequency as f^-exponent: correlated in time, each of unit variance.

    Source: Eberhard et al. 2023, Pink noise is all you need; generated as in Timmer and König 1995.

    Args:
        exponent: 0 is white noise, 1 pink, 2 red.
        steps: Length of a sequence; each environment gets a new one when it is used up.
        num_envs: N.
        width: Numbers per step.
        device: Where they are drawn.
    """

    sequence: torch.Tensor
    position: torch.Tensor

    def __init__(self, exponent: float, steps: int, num_envs: int, width: int, device: torch.device) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("sequence", torch.zeros(num_envs, width, steps, device=device))
        self.register_buffer("position", torch.tensor(steps))
        self.register_buffer("amplitude", _amplitudes(exponent, steps, device), persistent=False)

    def sample(self, generator: torch.Generator) -> torch.Tensor:
        """Return the noise of the next step, [N, width]."""
        position = int(self.position)
        if position == self.steps:
            self.sequence.copy_(self._draw(generator))
            position = 0
        self.position.fill_(position + 1)
        return self.sequence[:, :, position]

    def sample_uniform(self, generator: torch.Generator) -> torch.Tensor:
        """Return the noise of the next step as numbers uniform from -1 to 1, as correlated in time, [N, width]."""
        return torch.erf(self.sample(generator) / math.sqrt(2.0))

    def _draw(self, generator: torch.Generator) -> torch.Tensor:
        """Return new sequences [N, width, steps]: a random spectrum, transformed."""
        assert isinstance(self.amplitude, torch.Tensor)
        shape = (2, *self.sequence.shape[:2], len(self.amplitude))
        real, imaginary = torch.empty(shape, device=self.sequence.device).normal_(generator=generator) * self.amplitude
        edges = [0, -1] if self.steps % 2 == 0 else [0]  # frequencies without a phase
        real[..., edges] *= math.sqrt(2.0)
        imaginary[..., edges] = 0.0
        sequence: torch.Tensor = torch.fft.irfft(torch.complex(real, imaginary), n=self.steps)
        return sequence


class StateDependentNoise(nn.Module):
    """Noise that is a linear function of the state's features, drawn anew every few steps (gSDE).

    Source: Raffin et al. 2020, Smooth exploration for robotic reinforcement learning, arXiv 2005.05719.

    Args:
        steps: Steps after which the functions are drawn anew.
        num_envs: N.
        features: Width of the features.
        width: Numbers per step.
        device: Where they are drawn.
    """

    weight: torch.Tensor
    age: torch.Tensor

    def __init__(self, steps: int, num_envs: int, features: int, width: int, device: torch.device) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("weight", torch.zeros(num_envs, features, width, device=device))
        self.register_buffer("age", torch.tensor(0))

    def sample(self, features: torch.Tensor, std: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the noise [N, width] of `features` [N, features], with deviation `std` [features, width] of each."""
        if int(self.age) % self.steps == 0:
            self.weight.normal_(generator=generator)
        self.age += 1
        return torch.bmm(features.unsqueeze(1), self.weight * std).squeeze(1)


def memory_of(noise: nn.Module | None) -> list[torch.Tensor]:
    """Return the tensors that noise goes on from, in order."""
    return [] if noise is None else list(noise.state_dict(keep_vars=True).values())


def _amplitudes(exponent: float, steps: int, device: torch.device) -> torch.Tensor:
    """Return the amplitude of each frequency [steps // 2 + 1] that gives unit variance in time."""
    frequencies = torch.fft.rfftfreq(steps, dtype=torch.float64).clamp_min(1.0 / steps)
    amplitudes: torch.Tensor = frequencies ** (-exponent / 2)
    counted = amplitudes[1:].clone()
    if steps % 2 == 0 and len(counted):
        counted[-1] /= math.sqrt(2.0)
    power = 4.0 * counted.square().sum() + 2.0 * amplitudes[0].square()
    return (amplitudes * steps / power.sqrt()).float().to(device)
