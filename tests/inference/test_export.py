"""An exported policy does what the policy does, for every algorithm, network and space."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from export_task import ACTIONS, NETWORKS, make_policy

from rl2cli.errors import MissingDependencyError, RL2Error
from rl2cli.inference import export_formats
from rl2cli.inference.deterministic import DeterministicPolicy, input_ports
from rl2cli.inference.export import _make
from rl2cli.inference.export_formats import FORMATS, require_packages, trace
from rl2cli.inference.policy import Policy
from rl2cli.inference.verification import TOLERANCE, collect_inputs, verify
from rl2cli.spaces import Array

SHIPPED = [("ppo", "box"), ("ppo", "discrete"), ("sac", "box"), ("sac", "discrete"), ("dqn", "discrete")]
SHIPPED += [("td3", "box"), ("tqc", "box")]
SETTINGS: dict[str, dict[str, Any]] = {
    "ppo": {"normalize_observation": True},
    "sac": {"normalize_observation": True},
    "dqn": {"normalize_observation": True},
    "td3": {"normalize_observation": True},
    "tqc": {"exploration": "state_dependent"},
}


def export(policy: Policy, *names: str) -> tuple[bytes, DeterministicPolicy]:
    """Export, with the verification that belongs to it; return the last file's content and what it was made of."""
    content, module = b"", None
    with closing(policy):
        for name in names:
            content, module, agreement = _make(policy, name)
            assert agreement.observations == 256
            assert agreement.max_difference <= TOLERANCE
    assert module is not None
    return content, module


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("algorithm", "action"), SHIPPED)
def test_every_algorithm_with_every_network(algorithm: str, action: str, network: str) -> None:
    export(make_policy({"name": algorithm, **SETTINGS[algorithm]}, network, action), *FORMATS)


@pytest.mark.slow
@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_space(action: str) -> None:
    export(make_policy({"name": "ppo", "normalize_observation": True}, "mlp", action, "tuple"), *FORMATS)


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "network", "action"), [("ppo", "mlp", "both")])
def test_some_of_them(algorithm: str, network: str, action: str) -> None:
    content, module = export(make_policy({"name": algorithm, **SETTINGS[algorithm]}, network, action), "onnx")
    assert str(Path(__file__).parents[2]).encode() not in content  # where the source lies is nobody's business
    assert [port.dtype for port in module.outputs] == [np.dtype(port.space.dtype) for port in module.outputs]


def test_a_mask_is_an_input() -> None:
    policy = make_policy({"name": "dqn"}, masked=True)
    content, module = export(policy, "torch")
    assert [(port.name, port.shape, str(port.dtype)) for port in module.inputs] == [
        ("observation", (5,), "float32"),
        ("action_mask", (3,), "bool"),
    ]
    observation = np.zeros((3, 5), np.float32)
    (action,) = FORMATS["torch"].open(content, module)([observation, np.eye(3, dtype=np.bool_)])
    assert action.tolist() == [-1, 0, 1]  # Discrete(3, start=-1): the one that is allowed


def test_only_the_policys_weights_are_in_the_file() -> None:
    with closing(make_policy({"name": "sac"}, action="box")) as policy:
        module = _module(policy)
        program = trace(module, [torch.from_numpy(array[:2]) for array in collect_inputs(policy)])
    names = {name.removeprefix("algorithm.") for name in program.state_dict}
    assert names == {f"policy.{layer}.{kind}" for layer in ("network.layers.0", "head") for kind in ("weight", "bias")}
    assert all(each.untyped_storage().nbytes() == each.numel() * 4 for each in program.state_dict.values())


def _module(policy: Policy) -> DeterministicPolicy:
    return DeterministicPolicy(policy.algorithm, policy.observation_space, policy.action_space, has_action_mask=False)


def test_names_of_inputs_are_plain_and_differ() -> None:
    from gymnasium import spaces

    box = spaces.Box(0.0, 1.0, (1,))
    space = spaces.Dict({"a b": box, "a\x1b": box, "[red]": spaces.Tuple((box, box))})
    names = [port.name for port in input_ports(space, spaces.Discrete(2), has_action_mask=True)]
    assert names == ["observation._red_.0", "observation._red_.1", "observation.a_", "observation.a_b", "action_mask"]


@pytest.mark.parametrize("action", ["box", "discrete"])
def test_what_differs_is_refused(action: str) -> None:
    with closing(make_policy({"name": "ppo"}, action=action)) as policy:
        inputs, module = collect_inputs(policy), _module(policy)

        def run(given: list[Array]) -> list[Array]:
            found = [each.numpy() for each in module(*map(torch.from_numpy, given))]
            found[0][-1] += 1e-4 if action == "box" else 1
            return found

        with pytest.raises(RL2Error, match=r"differ by|another action"):
            verify(policy, run, inputs, module.outputs)


@pytest.mark.parametrize("action", ["discrete", "bits"])
def test_a_choice_between_equals_may_differ(action: str) -> None:
    with closing(make_policy({"name": "ppo"}, action=action)) as policy:
        torch.nn.init.zeros_(policy.algorithm.policy_head.weight)
        torch.nn.init.constant_(policy.algorithm.policy_head.bias, 1e-7)
        inputs, module = collect_inputs(policy), _module(policy)

        def run(given: list[Array]) -> list[Array]:
            found = [each.numpy() for each in module(*map(torch.from_numpy, given))]
            found[0][-1] = 0
            return found

        assert verify(policy, run, inputs, module.outputs).differing in (
            1,
            2,
        )  # the last of all, and the first by itself


def test_what_cannot_be_traced_is_said() -> None:
    with closing(make_policy({"name": "dqn"})) as policy:
        module = _module(policy)
        policy.algorithm.act = lambda observation, explore, mask: {"action": torch.tensor(float(observation.sum()))}
        with pytest.raises(RL2Error, match="DQN cannot be exported") as caught:
            trace(module, [torch.zeros(2, 5)])
    assert "tensor operations" in str(caught.value.hint)


def test_a_missing_package_has_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_formats.importlib.util, "find_spec", lambda name: None if name == "onnx" else name)
    require_packages("torch")
    with pytest.raises(MissingDependencyError, match="needs onnx, which is not installed") as caught:
        require_packages("onnx")
    assert caught.value.hint == "pip install onnx onnxscript onnxruntime"
