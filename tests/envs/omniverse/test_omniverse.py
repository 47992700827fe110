"""The omniverse adapter over an engine without a simulator."""

import numpy as np
import pytest
import torch
from fake_engine import TORSO_HEIGHT, FakeAdapter

from rl2cli import trust
from rl2cli.envs.checker import check_adapter
from rl2cli.envs.omniverse.options import OmniverseOptions
from rl2cli.errors import EnvironmentFault, MissingDependencyError, NonFiniteError, UsageError

SLIDER = {"joints": ["slider"], "target": "effort", "scale": 10.0}
BALANCE = {
    "scene": "cartpole.usda",
    "max_episode_steps": 40,
    "actions": [SLIDER, {"joints": ["hinge"]}],
    "observations": [{"term": "joint_position"}, {"term": "joint_velocity"}],
    "rewards": [{"term": "alive"}],
    "terminations": [{"term": "joint_position_outside", "joints": ["hinge"], "range": [-0.3, 0.3]}],
    "resets": [
        {"term": "joint_position", "range": [-0.1, 0.2]},
        {"term": "joint_velocity", "joints": ["hinge"], "range": [-1.0, 1.0]},
    ],
}


@pytest.fixture(autouse=True)
def _own_terms_are_trusted(monkeypatch):
    monkeypatch.setattr(trust, "_granted", {"own_terms"})


def made(num_envs=6, **changes):
    adapter = FakeAdapter(OmniverseOptions.model_validate({**BALANCE, **changes}), num_envs=num_envs)
    adapter.setup()
    return adapter


def still(adapter):
    return torch.zeros(adapter.num_envs, *adapter.action_space.shape)


def test_it_keeps_the_contract_resume_included():
    assert check_adapter(made()) == []


def test_it_keeps_the_contract_with_a_root_that_moves():
    resets = [
        {"term": "root_position", "direction": [0.0, 0.0, 1.0], "range": [0.0, 0.1]},
        {"term": "root_yaw", "range": [-3.0, 3.0]},
        {"term": "root_velocity", "direction": [0.0, 0.0, -1.0], "range": [0.1, 1.0]},
    ]
    ends = [{"term": "root_height_outside", "range": [0.2, 1.0]}]
    seen = [{"term": name} for name in ("root_height", "root_orientation", "projected_gravity", "last_action")]
    assert check_adapter(made(scene="floating", resets=resets, terminations=ends, observations=seen)) == []


def test_the_last_observation_is_the_true_one_and_a_time_limit_is_no_end_of_the_task():
    adapter = made(2, terminations=[], resets=[], max_episode_steps=3)
    adapter.reset(np.arange(2))
    push = still(adapter)
    push[:, 0] = 1.0
    for _ in range(2):
        step = adapter.step(push)
        assert step.final_observation is None
    step = adapter.step(push)
    assert step.truncated.all()
    assert not step.terminated.any()
    # 10 N on 1 kg for 3 frames of two steps of 10 ms, from rest
    assert step.final_observation[:, 2].tolist() == pytest.approx([0.6, 0.6])
    assert not step.observation.any()


def test_an_end_of_the_task_wins_over_the_time_limit():
    adapter = made(
        1, resets=[], max_episode_steps=1, terminations=[{"term": "joint_position_outside", "range": [1, 2]}]
    )
    adapter.reset(np.zeros(1))
    step = adapter.step(still(adapter))
    assert step.terminated.all()
    assert not step.truncated.any()


def test_beginnings_follow_from_seed_and_number_of_the_episode_alone():
    adapter = made(4, terminations=[], max_episode_steps=2)
    first, _ = adapter.reset(np.array([5, 6, 5, 7]))
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[0], first[1])
    seen = [first[:, :2].clone()]
    for _ in range(24):  # more episodes than are drawn at once
        step = adapter.step(still(adapter))
        if step.final_observation is not None:
            seen.append(step.observation[:, :2].clone())
    numbers = torch.stack(seen)
    assert torch.equal(numbers[:, 0], numbers[:, 2])
    assert len(numbers[:, 0].unique(dim=0)) == len(seen)
    assert (numbers >= -0.1).all()
    assert (numbers <= 0.2).all()
    again, _ = adapter.reset(np.array([6, 6, 6, 6]))
    assert torch.equal(again[0, :2], numbers[0, 1])


def test_a_masked_reset_leaves_the_others():
    adapter = made(3)
    adapter.reset(np.arange(3))
    before = adapter.step(still(adapter)).observation.clone()
    after, _ = adapter.reset(np.array([9, 9, 9]), np.array([False, True, False]))
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    assert not torch.equal(after[1], before[1])


def test_a_replay_that_comes_to_something_else_is_found():
    adapter = made(3)
    adapter.reset(np.arange(3))
    for _ in range(5):
        adapter.step(still(adapter) + 0.1)
    state = adapter.get_state()
    state["actions"][-1] = 0.9
    with pytest.raises(EnvironmentFault, match="other observations"):
        adapter.set_state(state)


def test_actions_are_cut_scaled_and_sent_to_their_joints():
    adapter = made(1, resets=[], terminations=[], actions=[{"joints": ["hinge"]}, SLIDER])
    adapter.reset(np.zeros(1))
    step = adapter.step(torch.tensor([[0.0, 5.0]]))
    assert step.observation[0, 2].item() == pytest.approx(10.0 * 0.02)


def test_a_drive_gets_its_gains_and_target():
    position = {"joints": ["slider"], "target": "position", "scale": 0.5, "offset": 0.1, "stiffness": 50, "damping": 14}
    adapter = made(1, resets=[], terminations=[], actions=[position], max_episode_steps=1000)
    adapter.reset(np.zeros(1))
    for _ in range(300):
        step = adapter.step(torch.ones(1, 1))
    assert step.observation[0, 0].item() == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize(
    ("term", "value"),
    [
        ({"term": "alive"}, 1.0),
        ({"term": "terminated"}, 0.0),
        ({"term": "joint_position_squared", "joints": ["slider"], "target": 0.5}, 0.25),
        ({"term": "joint_velocity_squared"}, 4.0 + 9.0),
        ({"term": "joint_velocity_absolute"}, 2.0 + 3.0),
        ({"term": "root_velocity", "direction": [0.0, 2.0, 0.0]}, 3.0),
        ({"term": "root_height_squared", "target": 1.5}, 1.0),
        ({"term": "body_upright", "bodies": ["pole"]}, 0.5),  # leaning by 60 degrees
        ({"term": "body_height"}, TORSO_HEIGHT),
        ({"term": "action_squared"}, 0.25),
        ({"term": "action_change_squared"}, 0.0625),
    ],
    ids=lambda value: value["term"] if isinstance(value, dict) else "",
)
def test_reward_terms(term, value):
    adapter = made(2, rewards=[{**term, "weight": 2.0}], scene="floating", resets=[], terminations=[])
    adapter.reset(np.zeros(2))
    task, engine = adapter._task, adapter._engine
    for quantity, numbers in zip(list(engine._joints)[:2], ([1.0, torch.pi / 3], [2.0, -3.0]), strict=True):
        engine._joints[quantity][:] = torch.tensor(numbers)
    engine._twist[:, 1] = 1.5
    task.world.last_action[:], task.world.previous_action[:] = torch.tensor([0.5, 0.0]), torch.tensor([0.25, 0.0])
    task.world.changed()
    into = torch.zeros(2)
    task.reward(into)
    assert into.tolist() == pytest.approx([2 * value] * 2, rel=1e-5)


@pytest.mark.parametrize(
    ("term", "value"),
    [
        ({"term": "joint_position"}, [0.5, torch.pi / 6]),
        ({"term": "joint_sine_cosine", "joints": ["hinge"]}, [0.5, 0.75**0.5]),
        ({"term": "joint_velocity", "scale": 0.5}, [1.0, -1.5]),
        ({"term": "root_position"}, [0.0, 0.0, TORSO_HEIGHT]),
        ({"term": "root_height"}, [TORSO_HEIGHT]),
        ({"term": "root_orientation"}, [0.0, 0.0, 0.5**0.5, 0.5**0.5]),
        ({"term": "root_linear_velocity"}, [2.0, -1.0, 3.0]),  # turned by 90 degrees: world y is its own x
        ({"term": "root_angular_velocity"}, [5.0, -4.0, 6.0]),
        ({"term": "projected_gravity"}, [0.0, 0.0, -1.0]),
        ({"term": "body_position", "bodies": ["cart"]}, [0.5, 0.0, TORSO_HEIGHT]),
        ({"term": "last_action"}, [0.5, -0.5]),
    ],
    ids=lambda value: value["term"] if isinstance(value, dict) else "",
)
def test_observation_terms(term, value):
    adapter = made(2, observations=[term], scene="floating", resets=[], terminations=[])
    adapter.reset(np.zeros(2))
    task, engine = adapter._task, adapter._engine
    for quantity, numbers in zip(list(engine._joints)[:2], ([0.5, torch.pi / 6], [2.0, -3.0]), strict=True):
        engine._joints[quantity][:] = torch.tensor(numbers)
    engine._pose[:, 5:] = 0.5**0.5
    engine._twist[:] = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    task.world.last_action[:] = torch.tensor([0.5, -0.5])
    task.world.changed()
    into = torch.zeros(2, task.width)
    task.observe(into)
    assert into[1].tolist() == pytest.approx(value, abs=1e-6)


def test_gravity_is_seen_along_the_roots_own_axes():
    adapter = made(1, observations=[{"term": "projected_gravity"}], scene="floating", resets=[], terminations=[])
    quarter = 0.5**0.5
    adapter._engine._pose[:, 3:] = torch.tensor([quarter, 0.0, 0.0, quarter])  # on its side, turned about x
    adapter._task.world.changed()
    into = torch.zeros(1, 3)
    adapter._task.observe(into)
    assert into[0].tolist() == pytest.approx([0.0, -1.0, 0.0], abs=1e-6)


def test_terms_of_a_users_own():
    adapter = made(
        2,
        observations=[{"term": "own_terms:twice", "params": {"joint": 1}}],
        resets=[{"term": "own_terms:at_one"}],
        terminations=[],
    )
    observation, _ = adapter.reset(np.zeros(2))
    assert observation.tolist() == [[2.0], [2.0]]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"actions": [{"joints": ["slidr"]}]}, UsageError, "no joint of the scene fits 'slidr'"),
        ({"actions": [SLIDER, {"joints": ["*"]}]}, UsageError, "move the joint slider"),
        ({"rewards": [{"term": "body_upright", "bodies": ["leg_*"]}]}, UsageError, "no body .* 'leg_\\*'"),
        ({"resets": [{"term": "root_yaw", "range": [0.0, 1.0]}]}, UsageError, "which the scene holds in place"),
        ({"observations": [{"term": "somebody:term"}]}, UsageError, "would import the module 'somebody'"),
        ({"observations": [{"term": "own_terms:missing"}]}, UsageError, "'missing' is not in own_terms"),
        ({"observations": [{"term": "own_terms:too_flat"}]}, EnvironmentFault, r"should return \[6, k\], not \[\]"),
        ({"rewards": [{"term": "own_terms:twice"}]}, EnvironmentFault, r"should return \[6\], not \[6, 1\]"),
        ({"terminations": [{"term": "own_terms:infinite"}]}, EnvironmentFault, r"\[6\] bool, not \[6\] float32"),
        ({"rewards": [{"term": "own_terms:raises"}]}, EnvironmentFault, "raised KeyError"),
    ],
)
def test_what_does_not_fit_the_scene_is_said(changes, error, words):
    with pytest.raises(error, match=words) as caught:
        made(**changes)
    if "fits" in words:
        assert "slider" in caught.value.hint or "rail" in caught.value.hint


def test_a_reward_that_is_not_finite_is_named():
    adapter = made(2, rewards=[{"term": "alive"}, {"term": "own_terms:infinite"}], terminations=[])
    adapter.reset(np.zeros(2))
    for _ in range(2):
        adapter.step(still(adapter))
    with pytest.raises(NonFiniteError, match="'own_terms:infinite' is inf in environment 0, at step 3") as caught:
        adapter.step(still(adapter))
    assert caught.value.place == "env.rewards.1"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"rewards": [{"term": "alife"}]}, "did you mean 'alive'"),
        ({"rewards": [{"term": "alive", "joints": ["slider"]}]}, "takes no 'joints'"),
        ({"rewards": [{"term": "alive", "params": {"a": 1}}]}, "takes no 'params'"),
        ({"resets": [{"term": "joint_position", "range": [1.0, 0.0]}]}, "greater number first"),
        ({"actions": SLIDER}, r"write \[\[env.actions\]\]"),
        ({"actions": []}, "at least 1 item"),
        ({"dt": 0.0}, "greater than 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(table, words):
    with pytest.raises(ValueError, match=words):
        OmniverseOptions.model_validate({**BALANCE, **table})


def test_options_survive_being_written_and_read():
    options = OmniverseOptions.model_validate(BALANCE)
    assert OmniverseOptions.model_validate_json(options.model_dump_json()) == options


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch):
    from importlib import metadata

    from rl2cli.envs.omniverse.adapter import require_packages

    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(MissingDependencyError, match="needs 'ovphysx'") as caught:
        require_packages({"ovphysx": "0.6."})
    assert caught.value.hint == 'pip install "rl2cli[omniverse]"'
    assert caught.value.exit_code == 7


def test_another_version_is_named(monkeypatch):
    from importlib import metadata

    from rl2cli.envs.omniverse.adapter import require_packages

    monkeypatch.setattr(metadata, "version", lambda name: "0.7.0")
    with pytest.raises(MissingDependencyError, match=r"made for ovphysx 0\.6\.x, and 0\.7\.0 is installed"):
        require_packages({"ovphysx": "0.6."})


def test_environments_that_do_not_fit_memory_are_refused_with_the_number_that_does(monkeypatch):
    import psutil

    from rl2cli.envs.omniverse import adapter

    class Memory:
        available = 9 * adapter.BODY_BYTES * 100

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    adapter._require_memory(100, 9)
    with pytest.raises(UsageError, match="101 environments of 9 bodies") as caught:
        adapter._require_memory(101, 9)
    assert caught.value.hint == "num_envs = 100 fits"
