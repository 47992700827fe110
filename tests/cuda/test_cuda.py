"""Everything that needs a CUDA device: `pytest -m cuda`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import rl2cli
from rl2cli.algorithms.base import Task
from rl2cli.algorithms.dqn import DQN
from rl2cli.algorithms.ppo import PPO
from rl2cli.algorithms.sac import SAC
from rl2cli.algorithms.td3 import TD3
from rl2cli.inference.benchmark import benchmark
from rl2cli.keys import Trajectories, map_observation
from rl2cli.networks.mlp import MLP
from rl2cli.networks.mlp_options import MLPOptions
from rl2cli.reporting.view import make_view
from rl2cli.training.session import resume

pytestmark = pytest.mark.cuda
CUDA = torch.device("cuda")
VECTOR = spaces.Box(-np.inf, np.inf, (4,), np.float32)


def _spec(device: str, total_frames: int = 2048) -> dict[str, Any]:
    return {
        "name": "cuda",
        "device": device,
        "total_frames": total_frames,
        "env": {"id": "CartPole-v1", "num_envs": 32, "workers": 0},
        "algorithm": {"rollout_length": 32, "minibatch_size": 256, "learning_rate": 1e-3, "gamma": 0.98},
        "evaluation": {"episodes": 10, "stochastic_episodes": 0},
    }


def _make(algorithm: type[Any], device: torch.device, action_space: spaces.Space[Any], **options: Any) -> Any:
    def make_network(extra_features: int) -> MLP:
        return MLP(MLPOptions(hidden_sizes=[32]), VECTOR, extra_features)

    def make_generator(purpose: str) -> torch.Generator:
        del purpose
        return torch.Generator(device).manual_seed(0)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        task = Task(VECTOR, action_space, 8, 1000, device, make_network, make_network, make_generator)
        return algorithm(algorithm.Options(**options), task)


def _ppo(device: torch.device, action_space: spaces.Space[Any], **options: Any) -> PPO:
    made: PPO = _make(PPO, device, action_space, **options)
    return made


def _rollout(ppo: PPO, action: torch.Tensor) -> Trajectories:
    """Return a random rollout [16, 8] with an end in it, on the CPU."""
    generator = torch.Generator().manual_seed(1)
    false = torch.zeros(16, 8, 1, dtype=torch.bool)
    done = false.clone()
    done[5, 3] = True
    observation = torch.randn(17, 8, 4, generator=generator)
    outputs = ppo.act(observation[:16].flatten(0, 1).to(ppo.task.device))["policy_output"]
    return {
        "observation": observation,
        "action": action,
        "policy_output": outputs.clone().cpu().unflatten(0, (16, 8)),
        "reward": torch.randn(16, 8, 1, generator=generator),
        "terminated": done,
        "truncated": false,
        "done": done,
        "valid": ~false,
        "is_init": false,
        "final_observation": torch.randn(1, 4, generator=generator),
        "final_index": torch.tensor([[5, 3]]),
    }


def _on(device: torch.device, trajectories: Trajectories) -> Trajectories:
    return {
        key: map_observation(lambda tensor: tensor.clone().to(device), value) for key, value in trajectories.items()
    }


@contextmanager
def _no_wait_for_the_device() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


ACTIONS = {
    "discrete": (spaces.Discrete(3), torch.randint(0, 3, (16, 8))),
    "box": (spaces.Box(-1.0, 1.0, (2,), np.float32), torch.randn(16, 8, 2)),
}


@pytest.mark.parametrize("kind", ACTIONS)
def test_an_update_is_that_of_the_cpu(kind: str) -> None:
    """One minibatch an epoch, so that the order of rows, which each device draws itself, plays no part."""
    space, action = ACTIONS[kind]
    options = {"minibatch_size": 128, "epochs": 8, "rollout_length": 16, "normalize_observation": True}
    on_cpu, on_gpu = _ppo(torch.device("cpu"), space, **options), _ppo(CUDA, space, **options)
    trajectories = _rollout(on_cpu, action)
    for frames in (128, 256, 384):  # the graph is captured in the first, replayed in the others
        expected = on_cpu.update(_on(torch.device("cpu"), trajectories), frames)
        metrics = on_gpu.update(_on(CUDA, trajectories), frames)
        for key, value in expected.items():
            assert metrics[key] == pytest.approx(value, rel=1e-3, abs=1e-4), key
    for one, other in zip(on_cpu.parameters(), on_gpu.parameters(), strict=True):
        torch.testing.assert_close(one, other.cpu(), atol=1e-4, rtol=1e-4)


def test_the_graph_is_what_its_steps_are_one_by_one() -> None:
    space, action = ACTIONS["discrete"]
    options = {"minibatch_size": 32, "epochs": 4, "rollout_length": 16}
    graphed, eager = _ppo(CUDA, space, **options), _ppo(CUDA, space, **options)
    eager._gradient_step = eager._step  # without the graph
    trajectories = _on(CUDA, _rollout(graphed, action))
    for frames in (128, 256):
        graphed.update(dict(trajectories), frames)
        eager.update(dict(trajectories), frames)
    for one, other in zip(graphed.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


OFF_POLICY = {"sac": (SAC, "box"), "sac-discrete": (SAC, "discrete"), "td3": (TD3, "box"), "dqn": (DQN, "discrete")}


@pytest.mark.parametrize("name", OFF_POLICY)
def test_the_graph_of_several_optimizers_is_their_steps_on_the_cpu(name: str) -> None:
    algorithm, kind = OFF_POLICY[name]
    options = {"batch_size": 32, "buffer_size": 1000, "adam_epsilon": 1e-3}  # a small one magnifies rounding
    on_cpu, on_gpu = (_make(algorithm, device, ACTIONS[kind][0], **options) for device in (torch.device("cpu"), CUDA))
    for each in (on_cpu, on_gpu):
        for optimizer in each.learner.optimizers:
            optimizer.learning_rate.fill_(1e-3)
    rows = on_cpu.learner.rows
    for number in range(20):  # the graph is captured in the first step, replayed in the others
        inputs = on_cpu.learner._example_inputs(rows + number)  # others every time, as seeded by their number
        inputs = [tensor[:rows].contiguous() for tensor in inputs]
        moved = [tensor.to(CUDA) for tensor in inputs]
        expected = on_cpu.learner._gradient_step(*inputs)
        with _no_wait_for_the_device() if number else nullcontext():
            report = on_gpu.learner._gradient_step(*moved)
        torch.testing.assert_close(report.cpu(), expected, atol=1e-3, rtol=1e-3)
    for one, other in zip(on_cpu.parameters(), on_gpu.parameters(), strict=True):
        torch.testing.assert_close(one, other.cpu(), atol=1e-3, rtol=1e-3)


def test_minibatches_never_wait_for_the_device() -> None:
    space, action = ACTIONS["discrete"]
    ppo = _ppo(CUDA, space, minibatch_size=32, rollout_length=16)
    trajectories = _on(CUDA, _rollout(ppo, action))
    ppo.update(dict(trajectories), 128)  # captures
    batch = ppo.make_batch(trajectories)
    settings = torch.full((), 0.2, device=CUDA), torch.full((), 0.0, device=CUDA)
    with _no_wait_for_the_device():
        for minibatch in ppo._minibatches(batch):
            ppo._learn(minibatch, *settings)


def test_acting_never_waits_for_the_device() -> None:
    ppo = _ppo(CUDA, spaces.Discrete(3), rollout_length=16, minibatch_size=32)
    observation, generator = torch.randn(8, 4, device=CUDA), torch.Generator(CUDA).manual_seed(0)
    ppo.act(observation, generator)
    with _no_wait_for_the_device():
        for _ in range(5):
            ppo.act(observation, generator)


def test_a_gradient_that_is_not_finite_changes_nothing_on_the_gpu() -> None:
    ppo = _ppo(CUDA, spaces.Discrete(3), rollout_length=16, minibatch_size=32)
    before = ppo.optimizer.flat.clone()
    gradients = [torch.full_like(parameter, float("nan")) for parameter in ppo.parameters()]
    ppo.optimizer.learning_rate.fill_(1e-3)
    ppo.optimizer.apply_gradient(gradients)
    assert torch.equal(ppo.optimizer.flat, before)
    assert ppo.optimizer.step_count == 0


def test_cartpole_is_learned(tmp_path: Path) -> None:
    spec = _spec("cuda", 150_000)
    spec["evaluation"] |= {"every": 10_000, "target_return": 200.0}
    summary = rl2cli.train(spec, run_dir=tmp_path / "run")
    assert summary.status == "target reached"


def test_one_spec_makes_one_run_on_the_gpu(tmp_path: Path) -> None:
    runs = [Path(rl2cli.train(_spec("cuda"), run_dir=tmp_path / name).run_dir) for name in ("one", "other")]
    assert (runs[0] / "metrics.jsonl").read_bytes() == (runs[1] / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(("trained", "moved"), [("cuda", "cpu"), ("cpu", "cuda")])
def test_a_run_goes_on_and_acts_on_another_device(tmp_path: Path, trained: str, moved: str) -> None:
    from gymnasium import make

    run = rl2cli.train(_spec(trained), run_dir=tmp_path / "run").run_dir
    measured = [benchmark(run, episodes=5, seed=1, device=device)["mean_return"] for device in (trained, moved)]
    assert measured[0] == pytest.approx(measured[1], rel=0.2)
    with closing(rl2cli.load_policy(run, device=moved)) as policy, closing(make("CartPole-v1")) as env:
        assert env.action_space.contains(policy(env.reset(seed=0)[0]))
    assert resume(run, view=make_view("quiet"), total_frames=4096).frames >= 4096
