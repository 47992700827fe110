"""In which numbers the networks compute: float32, or bfloat16 where this machine has units that make it pay."""

from __future__ import annotations

import torch
from torch import nn

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.algorithms.compiled import least_seconds
from rl2cli.keys import Observation, map_observation
from rl2cli.networks.base import BaseNetwork
from rl2cli.spaces import allocate
from rl2cli.spec.model import RunSpec

ROWS = 256
"""Observations of the measurement."""
WORTH = 1.15
"""How many times as fast bfloat16 must be to be chosen."""
LARGE_NETWORK = 300_000
"""Parameters from which bfloat16 and more than one thread can pay; smaller products gain nothing."""


def choose_precision(spec: RunSpec, algorithm: BaseAlgorithm) -> tuple[str, str | None]:
    """Return the precision and, where it was automatic and there was a choice, a sentence about it.

    Args:
        spec: The run; its `precision` decides.
        algorithm: Built, on its device, with torch's final number of threads.
    """
    if spec.precision != "auto":
        return spec.precision, None
    networks = _networks(algorithm)
    if not networks or not is_large(networks[0]):
        return "float32", None
    if not has_bfloat16_units(algorithm.task.device):
        return "float32", "float32: no units for bfloat16 here"
    seconds = {dtype: _seconds(networks[0], dtype) for dtype in (torch.float32, torch.bfloat16)}
    gain = seconds[torch.float32] / seconds[torch.bfloat16]
    chosen = "bfloat16" if gain >= WORTH else "float32"
    return chosen, f"{chosen}: bfloat16 was measured to be {gain:.1f} times as fast"


def set_precision(algorithm: BaseAlgorithm, precision: str) -> None:
    """Have every network of `algorithm` compute in `precision`; parameters, heads and losses stay float32."""
    for network in _networks(algorithm):
        network.compute_dtype = getattr(torch, precision)


def is_large(module: nn.Module) -> bool:
    """Return whether `module` multiplies much: many parameters, or convolutions, which use theirs at many places."""
    convolves = any(isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) for part in module.modules())
    return convolves or sum(parameter.numel() for parameter in module.parameters()) > LARGE_NETWORK


def has_bfloat16_units(device: torch.device) -> bool:
    """Return whether products of bfloat16 matrices are native to `device`."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    return any(bool(check()) for check in (torch.cpu._is_amx_tile_supported, torch.cpu._is_avx512_bf16_supported))


def _networks(algorithm: BaseAlgorithm) -> list[BaseNetwork]:
    return [module for module in algorithm.modules() if isinstance(module, BaseNetwork)]


def _seconds(network: BaseNetwork, dtype: torch.dtype) -> float:
    """Return what the features of ROWS observations and their gradient take with matrices of `dtype`."""
    device = next(network.parameters()).device
    observation: Observation = allocate(network.observation_space, (ROWS,), device)
    extra = torch.zeros(ROWS, network.extra_features, device=device) if network.extra_features else None
    before, network.compute_dtype = network.compute_dtype, dtype

    def call() -> None:
        loss = network(map_observation(torch.clone, observation), extra).square().sum()
        torch.autograd.grad(loss, list(network.parameters()))
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    try:
        call()
        return least_seconds(call)
    finally:
        network.compute_dtype = before
