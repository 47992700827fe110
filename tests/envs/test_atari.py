"""Atari games through ale_py's vector environment, and one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from makes import Make
from walk import assert_same_steps, random_actions, walk

from rl2cli.envs.atari import AtariAdapter
from rl2cli.envs.checker import check_adapter
from rl2cli.envs.gymnasium_options import GymnasiumOptions
from rl2cli.envs.in_process import InProcessBatch
from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.spec import dump_spec, load_spec_dict

PONG = "ALE/Pong-v5"
SHORT = {"max_episode_steps": 15, "image_size": [12, 10]}


def test_v5_games_need_no_preset(make: Make) -> None:
    env = make(PONG, 2)
    assert isinstance(env, AtariAdapter)
    assert env.observation_space == spaces.Box(0, 255, (4, 84, 84), np.uint8)
    assert env.action_space == spaces.Discrete(6)
    assert (env.frame_skip, env.frame_stack) == (4, 4)


def test_defaults_are_written_out() -> None:
    spec = load_spec_dict({"total_frames": 1000, "env": {"id": PONG, "atari": {"frame_skip": 2}}}).spec
    options = spec.env.options
    assert isinstance(options, GymnasiumOptions)
    assert (options.image_size, options.grayscale, options.frame_stack) == ([84, 84], True, 4)
    text = dump_spec(spec)
    for line in ("frame_skip = 2", "repeat_action_probability = 0.25", "noop_max = 30", "grayscale = true"):
        assert line in text
    assert "atari" not in dump_spec(load_spec_dict({"total_frames": 1000, "env": {"id": "CartPole-v1"}}).spec)


def test_other_environments_have_no_atari_table() -> None:
    with pytest.raises(UsageError, match=r"CartPole-v1 is no game of the form ALE/\*-v5"):
        load_spec_dict({"total_frames": 1000, "env": {"id": "CartPole-v1", "atari": {}}})


@pytest.mark.parametrize("options", [{"atari": {"noop_max": 0}}, {"frame_stack": 1, "grayscale": False}])
def test_the_contract_is_kept_over_many_episodes(make: Make, options: dict[str, object]) -> None:
    assert check_adapter(make(PONG, 2, **{**SHORT, **options}), steps=32) == []


def test_a_seed_gives_an_environment_the_same_episodes_whoever_is_beside_it(make: Make) -> None:
    wide, narrow = make(PONG, 3, **SHORT), make(PONG, 1, **SHORT)
    wide.reset(np.array([7, 8, 9]))
    narrow.reset(np.array([8]))
    for action in random_actions(wide, 32):
        left, right = wide.step(action), narrow.step(action[1:2])
        assert torch.equal(left.observation[1:2], right.observation)  # type: ignore[index]  # a tensor
        assert left.reward[1] == right.reward[0]
        assert left.truncated[1] == right.truncated[0]


@pytest.mark.slow
def test_running_episodes_are_restored_exactly(make: Make) -> None:
    env, other = make(PONG, 3, **SHORT), make(PONG, 3, **SHORT)
    env.reset(np.array([1, 2, 3]))
    for action in random_actions(env, 15):
        env.step(action)
    env.reset(np.array([4, 5, 6]), np.array([False, True, False]))  # the episodes end at different times now
    for action in random_actions(env, 8):
        env.step(action)
    env.reset(np.array([7, 7, 7]), np.array([False, False, True]))
    state = env.get_state()
    assert state is not None
    assert state["length"].tolist() == [23, 8, 0]  # the first one is in its second episode from one seed
    observation, _ = other.set_state(state)
    assert_same_steps(walk(env, 24), walk(other, 24))
    again, _ = other.set_state(state)
    assert torch.equal(observation, again)  # type: ignore[arg-type]  # tensors


def test_a_restore_that_is_not_exact_is_refused(make: Make) -> None:
    env = make(PONG, 2, **SHORT)
    env.reset(np.array([1, 2]))
    for action in random_actions(env, 5):
        env.step(action)
    state = env.get_state()
    assert state is not None
    state["hash"][1] += 1
    with pytest.raises(EnvironmentFault, match="environment 1 was not restored exactly"):
        env.set_state(state)


@pytest.mark.slow
def test_long_logs_are_trimmed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rl2cli.envs.atari._TRIM", 8)
    monkeypatch.setattr("rl2cli.envs.atari.SERIES_STEPS", 20)  # so every second episode of 15 steps has a new seed
    env = make(PONG, 2, **SHORT)
    assert isinstance(env, AtariAdapter)
    env.reset(np.array([1, 2]))
    for action in random_actions(env, 50):
        env.step(action)
    assert len(env._log) <= 2 * 30 + 8
    state = env.get_state()
    assert state is not None
    assert state["length"].tolist() == [20, 20]
    assert state["series"].tolist() == [1, 1]
    other = make(PONG, 2, **SHORT)
    other.set_state(state)
    assert_same_steps(walk(env, 20), walk(other, 20))


def test_rewards_are_the_game_s_own_score(make: Make) -> None:
    env = make("ALE/MsPacman-v5", 2, image_size=[12, 10])
    env.reset(np.array([1, 2]))
    rewards = torch.stack([step.reward for step in walk(env, 200)])
    assert rewards.max() >= 10.0  # a dot; cut to 1 it would not be


def test_a_lost_life_is_an_end_for_learning_only(make: Make) -> None:
    env = make("ALE/Breakout-v5", 2, image_size=[12, 10], atari={"terminal_on_life_loss": True})
    env.reset(np.array([1, 2]))
    lost = ended = 0
    for step in walk(env, 700):
        assert step.life_lost is not None
        done = step.terminated | step.truncated
        assert not (step.life_lost & done).any()
        lost += int(step.life_lost.sum())
        ended += int(done.sum())
    assert ended >= 2
    assert 4 * ended <= lost <= 4 * (ended + 2)  # five lives: four are lost within an episode


def test_one_by_one_a_game_looks_the_same(make: Make) -> None:
    atari = {"repeat_action_probability": 0.0, "noop_max": 0}
    single, native = (make(PONG, 1, vectorization=form, atari=atari) for form in ("single", "native"))
    assert isinstance(single, InProcessBatch)
    assert single.observation_space == native.observation_space
    assert single.action_space == native.action_space
    assert (single.frame_skip, single.frame_stack) == (4, 4)
    for env in (single, native):
        env.reset(np.array([1]))
    for one, other in zip(walk(single, 60), walk(native, 60), strict=True):
        difference = one.observation[:, -1].float() - other.observation[:, -1].float()  # type: ignore[call-overload,index]  # tensors
        assert difference.abs().max() <= 1.0  # rounding of the resize
        assert one.reward == other.reward


@pytest.mark.parametrize("vectorization", ["native", "single"])
def test_a_steps_limit_counts_frames_of_rl2(make: Make, vectorization: str) -> None:
    how = {"vectorization": vectorization, "atari": {"frame_skip": 3}}
    env = make(PONG, 1, max_episode_steps=7, image_size=[12, 10], **how)
    env.reset(np.array([1]))
    truncated = [bool(step.truncated) for step in walk(env, 21)]
    assert [index for index, flag in enumerate(truncated) if flag] == [6, 13, 20]


@pytest.mark.parametrize(
    ("table", "message", "hint"),
    [
        ({"id": "ALE/Pongg-v5"}, "Pongg", "ALE/Pong-v5"),
        ({"id": PONG, "kwargs": {"mode": 1}, "vectorization": "native"}, "cannot be native: kwargs", None),
        (
            {"id": PONG, "vectorization": "single", "atari": {"terminal_on_life_loss": True}},
            "terminal_on_life_loss needs the game's vector form",
            None,
        ),
    ],
)
def test_bad_input_is_explained(make: Make, table: dict[str, object], message: str, hint: str | None) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        make(table.pop("id"), **table)
    assert hint is None or hint in (caught.value.hint or "")


@pytest.mark.parametrize("vectorization", ["native", "single"])
def test_a_missing_rom_is_named_with_what_brings_it(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, vectorization: str
) -> None:
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path))
    with pytest.raises(UsageError, match=r"the ROM of ALE/Pong-v5 cannot be read: .*pong\.bin") as caught:
        make(PONG, vectorization=vectorization)
    assert caught.value.place == "env.id"
    assert "ale-py" in (caught.value.hint or "")


def test_closing_twice_is_fine(make: Make) -> None:
    env = make(PONG, 1)
    env.close()
    env.close()
