"""A gradient step of several optimisers in sequence: traced, compiled and eager it is the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from rl2cli.algorithms import compiled, gradient_step
from rl2cli.algorithms.adam import FlatAdam, FlatParameters
from rl2cli.algorithms.compiled import CompilationError, CompiledStep
from rl2cli.algorithms.gradient_step import GradientStep
from rl2cli.algorithms.tracing import take_with

ROWS = 16
CPU = torch.device("cpu")


def _network(features: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, 8), nn.Tanh(), nn.Linear(8, 1))


class Learner(nn.Module):
    """A critic, an actor that learns through it, a temperature and a target: every kind of change there is."""

    def __init__(self, max_grad_norm: float = 0.5, forgotten_target: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.critic, self.actor = _network(5), _network(4)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.log_temperature = nn.Parameter(torch.tensor(0.5))
        self.also_known_as = nn.ModuleList([self.critic])  # a module with two owners
        self.critic_optimizer = FlatAdam(self.critic.parameters(), 1e-5, max_grad_norm)
        self.actor_optimizer = FlatAdam(self.actor.parameters(), 1e-5, max_grad_norm)
        self.temperature_optimizer = FlatAdam([self.log_temperature], 1e-5, 0.0)
        self.target_parameters = FlatParameters(self.target.parameters())
        optimizers = [self.critic_optimizer, self.actor_optimizer, self.temperature_optimizer]
        for optimizer in optimizers:
            optimizer.learning_rate.fill_(1e-2)
        self.parts = [*optimizers, *([] if forgotten_target else [self.target_parameters])]

    def step(self, scale: torch.Tensor, observation: torch.Tensor, action: torch.Tensor, noise: Any) -> torch.Tensor:
        """Return three metrics and an error for each row."""
        with torch.no_grad():
            wanted = scale * observation.sum(-1) + 0.9 * self.target(torch.cat([observation, noise], -1)).squeeze(-1)
        error = self.critic(torch.cat([observation, action], -1)).squeeze(-1) - wanted
        critic_norm = self.critic_optimizer.step(error.square().mean())
        chosen = self.actor(observation) + noise
        value = self.also_known_as[0](torch.cat([observation, chosen], -1)).mean()  # by the critic as it is now
        actor_norm = self.actor_optimizer.step(self.log_temperature.exp().detach() * chosen.square().mean() - value)
        self.temperature_optimizer.step(self.log_temperature * (chosen.detach().mean() - 0.1))
        self.target_parameters.follow(self.critic_optimizer, 0.05)
        return torch.cat([torch.stack([critic_norm, actor_norm, value.detach()]), error.detach().abs()])

    def tensors(self) -> list[torch.Tensor]:
        return [tensor for part in self.parts for tensor in part.tensors()]

    def make_step(self) -> GradientStep:
        return GradientStep(self.step, self, self.parts, CPU)

    def make_compiled(self) -> CompiledStep:
        return self.make_step().make_compiled(_inputs, ROWS, [], 1e6, rows_vary=True)


def _inputs(rows: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    widths = (4, 1, 1)
    return [torch.tensor(0.5 + 0.1 * seed), *[torch.randn(rows, width, generator=generator) for width in widths]]


def _assert_twenty_steps_are_eager(learner: Learner, step: Callable[..., torch.Tensor]) -> None:
    eager = Learner(learner.critic_optimizer.max_grad_norm)
    first = learner.target_parameters.flat.clone()
    for number, rows in enumerate([16, 16, 7, 300] * 5):
        inputs = _inputs(rows, seed=number)
        ours, theirs = step(*inputs), eager.step(*inputs)
        assert ours.shape == (3 + rows,)
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(learner.tensors(), eager.tensors(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    for (name, ours), theirs in zip(learner.named_parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5, msg=name)
    assert all(part.step_count == 20 for part in learner.parts if isinstance(part, FlatAdam))
    assert not torch.allclose(learner.target_parameters.flat, first, atol=1e-2)


def test_the_actor_learns_through_the_critic_as_it_is_after_its_step() -> None:
    """So that the tests below can tell: with the critic before its step, the actor goes elsewhere."""
    learner, other = Learner(), Learner()
    frozen = copy.deepcopy(other.critic)
    other.also_known_as = nn.ModuleList([frozen])
    for one in (learner, other):
        one.step(*_inputs(ROWS))
    difference = learner.actor_optimizer.first_moment - other.actor_optimizer.first_moment
    assert difference.abs().max() > 1e-4


@pytest.mark.parametrize("max_grad_norm", [0.0, 0.5])
def test_with_tensors_in_the_place_of_its_own_a_step_is_the_eager_one(max_grad_norm: float) -> None:
    learner = Learner(max_grad_norm)
    held = [tensor.clone() for tensor in learner.tensors()]
    before = [tensor.clone() for tensor in learner.tensors()]

    def step(*inputs: torch.Tensor) -> torch.Tensor:
        return take_with(learner.step, learner, learner.parts, [*held, *inputs])

    step(*_inputs(ROWS))
    assert all(torch.equal(old, new) for old, new in zip(before, learner.tensors(), strict=True))
    for tensor, value in zip(held, before, strict=True):
        tensor.copy_(value)

    def step_and_take_over(*inputs: torch.Tensor) -> torch.Tensor:
        report = step(*inputs)
        for tensor, value in zip(learner.tensors(), held, strict=True):
            tensor.copy_(value)
        return report

    _assert_twenty_steps_are_eager(learner, step_and_take_over)


@pytest.fixture(scope="module")
def graph() -> Callable[..., Any]:
    """Return a step traced once: a function of nothing but its arguments."""
    return Learner().make_compiled().trace()[0]


def test_the_traced_graph_is_the_eager_step(graph: Callable[..., Any]) -> None:
    learner = Learner()
    _assert_twenty_steps_are_eager(learner, lambda *inputs: graph(*learner.tensors(), *inputs)[0])


def test_the_graph_is_the_eager_step_also_without_changes_in_place(graph: Callable[..., Any]) -> None:
    """What a compiler makes of it first: views of a changed tensor are taken anew."""
    learner = Learner()
    functional = torch.func.functionalize(graph, remove="mutations_and_views")
    _assert_twenty_steps_are_eager(learner, lambda *inputs: functional(*learner.tensors(), *inputs)[0])


@pytest.mark.slow
def test_built_code_is_the_eager_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX")
    learner = Learner()
    step = learner.make_compiled()
    step.build(tmp_path)
    step.load(tmp_path)
    _assert_twenty_steps_are_eager(learner, step)


def test_everything_is_put_back_also_after_an_error() -> None:
    learner = Learner()
    tensors, parameters = learner.tensors(), list(learner.parameters())
    inputs = _inputs(ROWS)
    broken = [*inputs[:-1], inputs[-1][:3]]
    with pytest.raises(RuntimeError):
        take_with(learner.step, learner, learner.parts, [*[tensor.clone() for tensor in tensors], *broken])
    assert all(old is new for old, new in zip(tensors, learner.tensors(), strict=True))
    assert all(old is new for old, new in zip(parameters, learner.parameters(), strict=True))
    assert all(type(parameter) is nn.Parameter for parameter in parameters)
    assert not any(part.is_traced for part in learner.parts)
    owned = {id(parameter) for parameter in parameters}
    assert all(id(parameter) in owned for part in learner.parts for parameter in part.parameters_in_order)


def test_a_step_that_reads_what_no_part_holds_is_refused() -> None:
    with pytest.raises(CompilationError, match=r"the step reads target\.0\.weight, which none of its parts holds"):
        Learner(forgotten_target=True).make_compiled().trace()


def test_a_constant_that_is_no_state_may_be_read() -> None:
    learner = Learner()
    learner.critic.register_buffer("gain", torch.tensor(0.5), persistent=False)
    take = learner.step

    def step(scale: torch.Tensor, *rows: torch.Tensor) -> torch.Tensor:
        return take(scale * learner.critic.gain + torch.tensor(0.1), *rows)

    learner.step = step
    graph, _, _ = learner.make_compiled().trace()
    eager = Learner()
    inputs = _inputs(ROWS)
    ours = graph(*learner.tensors(), *inputs)[0]
    torch.testing.assert_close(ours, eager.step(inputs[0] * 0.5 + 0.1, *inputs[1:]))


def test_what_becomes_code_is_in_the_key() -> None:
    keys = {
        learner.make_compiled().key
        for learner in (Learner(), Learner(max_grad_norm=0.0), Learner(forgotten_target=True))
    }
    assert len(keys) == 3
    assert Learner().make_compiled().key in keys


class Fast:
    """Stands for a CUDA graph or loaded code."""

    def __init__(self, learner: Learner, rows: int) -> None:
        self.learner, self.rows, self.calls = learner, rows, 0

    def fits(self, inputs: Any) -> bool:
        return len(inputs[-1]) == self.rows

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.learner.step(*inputs)


def test_compiled_code_is_taken_where_it_fits_once_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    learner = Learner()
    step = learner.make_step()
    code = step.make_compiled(_inputs, ROWS, [], 1.0, rows_vary=True)
    step(*_inputs(ROWS))
    assert learner.critic_optimizer.step_count == 1
    calls = []

    class Loaded:
        def run(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
            calls.append(len(tensors[-1]))
            return [code.take_traceably(*tensors)]

    monkeypatch.setattr(compiled, "open_artifact", lambda path: Loaded())
    place = tmp_path / code.key
    place.mkdir()
    (place / compiled.artifact_name(range(4, 33), b"code")).write_bytes(b"code")
    code.load(tmp_path)
    calls.clear()
    for rows in (16, 33, 5):
        step(*_inputs(rows))
    assert calls == [16, 5]
    assert learner.critic_optimizer.step_count == 4


def test_a_graph_is_captured_once_on_a_gpu_and_taken_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, captured = Learner(), []

    def capture(step: Any, inputs: Any, state: Any) -> Fast:
        assert step == learner.step
        assert [id(tensor) for tensor in state] == [id(tensor) for part in learner.parts for tensor in part.state()]
        captured.append(Fast(learner, len(inputs[-1])))
        return captured[-1]

    monkeypatch.setattr(gradient_step, "GraphedStep", capture)
    step = GradientStep(learner.step, learner, learner.parts, torch.device("cuda"))
    for rows in (16, 5, 16):
        step(*_inputs(rows))
    assert [graph.calls for graph in captured] == [2]
    assert learner.critic_optimizer.step_count == 3
