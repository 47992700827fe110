"""The fast hyperbolic tangent is the hyperbolic tangent."""

import pytest
import torch

from rl2cli.networks.activations import FEW, tanh


@pytest.mark.parametrize("count", [FEW // 64, FEW, 2 * FEW])
def test_tanh_and_its_gradient_are_torchs(count: int) -> None:
    generator = torch.Generator().manual_seed(1)
    given = torch.linspace(-12.0, 12.0, count)[torch.randperm(count, generator=generator)].view(-1, 8)
    weight = torch.randn(given.shape, generator=generator)
    ours, torchs = given.clone().requires_grad_(), given.clone().requires_grad_()
    result, expected = tanh(ours), torch.tanh(torchs)
    torch.testing.assert_close(result, expected, atol=2e-7, rtol=0)
    (result * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, torchs.grad, atol=2e-6, rtol=0)


def test_tanh_leaves_its_argument_alone() -> None:
    given = torch.randn(FEW, 2)
    before = given.clone()
    with torch.inference_mode():
        tanh(given)
    assert torch.equal(given, before)
