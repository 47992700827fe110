"""Running statistics of observations and rewards; part of the policy's state, never saved or loaded apart from it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from rl2cli.keys import Observation
from rl2cli.networks.activations import is_traced
from rl2cli.networks.images import has_planes_first, interleaved, is_image

CLIP = 10.0
"""Normalised numbers are cut here, as in VecNormalize (Stable-Baselines3) and OpenAI baselines.

Pixels too, where Burda et al. 2018 (Exploration by random network distillation, arXiv 1810.12894) cut at 5: what is
small and rare in a picture, such as a ball, is often 5 to 10 deviations from the mean, and how far says where between
two pixels it is.
"""
EPSILON = 1e-8
LEAST_DEVIATION = 4.0
"""Of 255, added to a pixel's deviation: one that has hardly ever changed is not blown up when it does."""
BYTES_IN_CACHE = 1 << 22
"""Of images, as float32, that are standardised together on a CPU."""
IMAGES_AT_ONCE = 128
"""Images of one update, evenly spaced, that the statistics take in: neighbours are alike, and all take memory."""


class RunningMoments(nn.Module):
    """Mean and variance of everything seen, by Chan et al.'s parallel formula; float64 where the device has it.

    Args:
        shape: Shape of one sample.
        device: Where the statistics live.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    count: torch.Tensor

    def __init__(self, shape: tuple[int, ...], device: torch.device) -> None:
        super().__init__()
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.register_buffer("mean", torch.zeros(shape, dtype=dtype, device=device))
        self.register_buffer("variance", torch.ones(shape, dtype=dtype, device=device))
        self.register_buffer("count", torch.zeros((), dtype=dtype, device=device))

    def update(self, samples: torch.Tensor) -> None:
        """Take in `samples` [B, *shape]; an empty batch changes nothing."""
        if len(samples) == 0:
            return
        samples = samples.to(self.mean.dtype)
        variance, mean = torch.var_mean(samples, 0, correction=0)
        total = self.count + len(samples)
        difference = mean - self.mean
        summed = self.variance * self.count + variance * len(samples)
        summed += difference.square() * (self.count * len(samples) / total)
        self.mean += difference * (len(samples) / total)
        self.variance.copy_(summed / total)
        self.count.copy_(total)


class ObservationNormalizer(nn.Module):
    """Standardises the float leaves and images of an observation; discrete and binary leaves pass through.

    Images are those of bytes; each pixel has a mean and a deviation of its own, as each number has.
    The statistics stay as they are until `update`, so acting, learning and evaluation see the same ones.
    """

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, space: spaces.Space[Any], device: torch.device) -> None:
        super().__init__()
        self.children_by_key = nn.ModuleDict()
        self.moments: RunningMoments | None = None
        self.is_image = False
        if isinstance(space, spaces.Dict):
            for key, child in space.spaces.items():
                self.children_by_key[_child_name(key)] = ObservationNormalizer(child, device)
        elif isinstance(space, spaces.Box) and space.dtype is not None:
            self.is_image = space.dtype == np.uint8 and is_image(space)
            if self.is_image or space.dtype.kind == "f":
                self.moments = RunningMoments(space.shape, device)
                one = torch.ones(space.shape, device=device)
                if self.is_image and has_planes_first(space.shape):  # in memory like the images that they meet
                    one = interleaved(one[None])[0]
                self.register_buffer("shift", torch.zeros_like(one))
                self.register_buffer("scale", one / 255.0 if self.is_image else one)

    def forward(self, observation: Observation, image_dtype: torch.dtype = torch.float32) -> Observation:
        """Return (observation - mean) / deviation for [B, *obs] or [T, N, *obs], float32, cut to ±10.

        Images become `image_dtype`, with their planes last in memory on a CPU.
        """
        if isinstance(observation, dict):
            return {key: self._child(key)(value, image_dtype) for key, value in observation.items()}
        if self.moments is None:
            return observation
        if not self.is_image:
            return torch.addcmul(self.shift, observation, self.scale).clamp_(-CLIP, CLIP)
        rows = max(BYTES_IN_CACHE // (4 * self.shift.numel()), 1)
        if is_traced() or not observation.is_cpu or len(observation) <= rows:  # a graph is for any number of rows
            return self._standardized(observation).to(image_dtype)
        parts = [self._standardized(part).to(image_dtype) for part in torch.split(observation, rows)]
        return torch.cat(parts)

    def _standardized(self, images: torch.Tensor) -> torch.Tensor:
        if images.ndim == 4 and has_planes_first(images.shape[1:]):
            images = interleaved(images)
        numbers = images.to(torch.float32, copy=True)
        return torch.addcmul(self.shift, numbers, self.scale, out=numbers).clamp_(-CLIP, CLIP)

    def update(self, observation: Observation) -> None:
        """Take in a batch of raw observations [B, *obs]."""
        if isinstance(observation, dict):
            for key, value in observation.items():
                self._child(key).update(value)
        elif self.moments is not None:
            if self.is_image:
                observation = observation[:: math.ceil(len(observation) / IMAGES_AT_ONCE) or 1]
            self.moments.update(observation)
            deviation = (self.moments.variance + EPSILON).sqrt()
            scale = (deviation + LEAST_DEVIATION if self.is_image else deviation).reciprocal()
            self.scale.copy_(scale)
            self.shift.copy_(-self.moments.mean * scale)

    def _child(self, key: str) -> ObservationNormalizer:
        child = self.children_by_key[_child_name(key)]
        assert isinstance(child, ObservationNormalizer)
        return child


def _child_name(key: str) -> str:
    """Return a module name for a key of a Dict: torch allows no dot in it, and no name that a module already has."""
    return "key_" + key.replace("%", "%25").replace(".", "%2E")


def cut_reward(reward: torch.Tensor, limit: float | None) -> torch.Tensor:
    """Return `reward` cut to ± `limit`; as it is where that is None."""
    return reward if limit is None else reward.clamp(-limit, limit)


class RewardNormalizer(nn.Module):
    """Divides rewards by the running deviation of the discounted return of each environment.

    Source: Engstrom et al. 2020, Implementation matters in deep policy gradients, arXiv 2005.12729, reward scaling.
    """

    discounted: torch.Tensor

    def __init__(self, num_envs: int, gamma: float, device: torch.device) -> None:
        super().__init__()
        self.gamma = gamma
        self.moments = RunningMoments((), device)
        self.register_buffer("discounted", torch.zeros(num_envs, dtype=self.moments.mean.dtype, device=device))

    def forward(self, reward: torch.Tensor) -> torch.Tensor:
        """Return `reward` [T, N] in units of the return's deviation, cut to ±10."""
        scale = (self.moments.variance + EPSILON).rsqrt().to(reward.dtype)
        return (reward * scale).clamp(-CLIP, CLIP)

    def update(self, reward: torch.Tensor, done: torch.Tensor, valid: torch.Tensor) -> None:
        """Take in the raw rewards of a rollout; all arguments [T, N]. Rows that were no frame are passed over."""
        going_on = (~done).to(self.discounted.dtype)
        returns = torch.empty(reward.shape, dtype=self.discounted.dtype, device=reward.device)
        for t in range(len(reward)):
            current = torch.where(valid[t], self.discounted * self.gamma + reward[t], self.discounted)
            returns[t] = current
            torch.mul(current, going_on[t], out=self.discounted)
        self.moments.update(returns[valid])
