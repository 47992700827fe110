"""From a spec to the parts of a run, and every choice that is made on the way."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import made_up_parts
import pytest
import torch
from small_runs import differences, spec

from rl2cli.algorithms.ppo import PPO
from rl2cli.errors import UsageError
from rl2cli.networks.mlp import MLP
from rl2cli.spec import load_spec_dict
from rl2cli.spec.model import RunSpec
from rl2cli.training.build import Parts, build, choose_device, choose_threads, require_device
from rl2cli.training.precision import is_large

assert made_up_parts  # registers its environments


def _spec(**tables: Any) -> RunSpec:
    return load_spec_dict(spec(**tables)).spec


def _built(**tables: Any) -> Parts:
    parts = build(_spec(**tables))
    parts.close()
    return parts


def test_every_automatic_choice_is_said_and_made_explicit() -> None:
    parts = _built(device="auto", threads="auto", env={"workers": "auto"})
    made = parts.plan.spec
    assert (made.threads, made.env.workers, made.compile) == (1, 0, False)
    assert made.device == "cpu"  # a small network is faster there, GPU or not
    assert len(parts.plan.choices) == 4
    assert any(choice.startswith("device cpu: ") for choice in parts.plan.choices)
    assert any(choice.startswith("1 thread: ") for choice in parts.plan.choices)
    with closing(build(made)) as again:
        assert again.plan.spec == made
        assert again.plan.choices == ()


def test_what_is_explicit_is_left_alone() -> None:
    assert _built(device="cpu", threads=1, compile=False).plan.choices == ()


def test_threads_follow_the_size_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(6)), raising=False)
    parts = _built(threads=1)
    assert choose_threads(_spec(threads="auto"), parts.algorithm)[0] == 1
    parts.algorithm.big = torch.nn.Linear(600, 600)
    threads, sentence = choose_threads(_spec(threads="auto"), parts.algorithm)
    assert threads == 6
    assert sentence is not None
    assert sentence == "6 threads: the network is large"
    assert choose_threads(_spec(threads="auto", overlap=True), parts.algorithm)[0] == 3
    assert choose_threads(_spec(threads=3), parts.algorithm) == (3, None)


def test_convolutions_are_large_however_few_their_parameters() -> None:
    assert is_large(torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3)))
    assert not is_large(torch.nn.Linear(500, 500))


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(UsageError, match=f"device '{device}' is not there") as caught:
        choose_device(_spec(device=device))
    assert 'device = "cpu"' in (caught.value.hint or "")


def test_a_cuda_device_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    require_device(torch.device("cuda:1"))
    with pytest.raises(UsageError, match="'cuda:2' is not there"):
        require_device(torch.device("cuda:2"))


def test_first_weights_follow_from_the_seed_alone() -> None:
    one = _built()
    torch.rand(7)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, other = _built(), _built(seed=2)
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's random numbers are drawn
    assert list(differences(one.algorithm.state_dict(), again.algorithm.state_dict())) == []
    assert any("policy" in path for path in differences(one.algorithm.state_dict(), other.algorithm.state_dict()))


def test_an_algorithm_knows_of_stacked_frames() -> None:
    assert _built(env={"frame_stack": 4}).algorithm.task.frame_stack == 4
    assert _built().algorithm.task.frame_stack == 1


def test_the_critic_may_have_a_network_of_its_own() -> None:
    algorithm = _built(critic_network={"hidden_sizes": [7, 5]}).algorithm
    assert isinstance(algorithm, PPO)
    assert isinstance(algorithm.critic, MLP)
    assert (algorithm.policy.out_features, algorithm.critic.out_features) == (16, 5)


def test_a_critic_network_that_no_critic_would_use_is_refused() -> None:
    tables = {"critic_network": {"hidden_sizes": [8]}}
    _built(**tables)
    with pytest.raises(UsageError, match="ppo has no critic"):
        _built(**tables, algorithm={"share_network": True})


def test_parts_that_do_not_fit_close_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr(made_up_parts.Nested, "close", lambda self: closed.append(self))
    monkeypatch.setattr("rl2cli.networks.mlp.flat_width", _refuse)
    with pytest.raises(UsageError, match="cannot take this"):
        build(_spec(env_id="MadeUpNested-v0", num_envs=4))
    assert len(closed) == 4


def _refuse(space: object) -> int:
    raise UsageError("cannot take this")
