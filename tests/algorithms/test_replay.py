"""The replay buffer, against numbers worked by hand and against plain lists of what happened."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from replay_world import World, make_task

from rl2cli.algorithms.replay import ReplayBatch, ReplayBuffer
from rl2cli.algorithms.replay_options import ReplayOptions
from rl2cli.keys import Trajectories, map_observation

NUMBER = spaces.Box(-np.inf, np.inf, (1,), np.float32)


def make_buffer(num_envs: int = 1, **options: Any) -> ReplayBuffer:
    return ReplayBuffer(make_task(num_envs, NUMBER), ReplayOptions(**{"buffer_size": 20, "gamma": 0.5} | options))


def rollout(
    observation: list[int], reward: list[int], ends: str = "", final: int = 0, is_init: bool = True
) -> Trajectories:
    """Return steps of one environment; in `ends` a step terminates ("x"), is truncated ("t") or no frame ("-")."""
    letters = np.array(list(ends.ljust(len(reward), ".")))
    flags = {
        key: torch.from_numpy(letters == letter)[:, None, None]
        for key, letter in {"terminated": "x", "truncated": "t", "valid": "-"}.items()
    }
    flags["valid"] = ~flags["valid"]
    done = flags["terminated"] | flags["truncated"]
    starts = torch.cat([torch.tensor([[[is_init]]]), (done | ~flags["valid"])[:-1]])
    return {
        **flags,
        "done": done,
        "is_init": starts & flags["valid"],
        "observation": torch.tensor(observation, dtype=torch.float32)[:, None, None],
        "action": torch.zeros(len(reward), 1, dtype=torch.int64),
        "reward": torch.tensor(reward, dtype=torch.float32)[:, None, None],
        "final_observation": torch.full((int(done.sum()), 1), float(final)),
        "final_index": done[..., 0].nonzero(),
    }


def contents(buffer: ReplayBuffer) -> list[tuple[float, ...]]:
    """Return observation, reward, next observation and discount of all that can be drawn."""
    batch, _ = buffer.sample(50 * len(buffer), torch.Generator().manual_seed(0))
    parts = (batch.observation, batch.reward, batch.next_observation, batch.discount)
    rows = {tuple(row) for row in torch.stack([part.reshape(-1) for part in parts], 1).tolist()}
    assert len(rows) == len(buffer)
    return sorted(rows)


# --- by hand ---


@pytest.mark.parametrize(("end", "discount"), [("x", 0.0), ("t", 0.5)])
def test_the_last_frame_of_an_episode_leads_to_its_final_observation(end: str, discount: float) -> None:
    buffer = make_buffer()
    buffer.add(rollout([1, 2, 3, 4], [10, 20, 30], f".{end}.", final=9))
    assert contents(buffer) == [(1, 10, 2, 0.5), (2, 20, 9, discount), (3, 30, 4, 0.5)]


@pytest.mark.parametrize(("end", "last", "before"), [("x", 0.0, 0.0), ("t", 0.5, 0.25)])
def test_steps_are_summed_up_to_the_end_of_the_episode(end: str, last: float, before: float) -> None:
    buffer = make_buffer(n_step=3)
    buffer.add(rollout([1, 2, 3, 4, 5, 6], [10, 20, 40, 80, 160], f"..{end}..", final=9))
    assert contents(buffer) == [
        (1, 10 + 20 / 2 + 40 / 4, 9, before / 2),
        (2, 20 + 40 / 2, 9, before),
        (3, 40, 9, last),
        (4, 80 + 160 / 2, 6, 0.25),  # the newest frames have fewer steps
        (5, 160, 6, 0.5),
    ]


@pytest.mark.parametrize("n_step", [1, 3])
def test_steps_are_summed_up_to_a_lost_life(n_step: int) -> None:
    buffer = make_buffer(n_step=n_step)
    trajectories = rollout([1, 2, 3, 4], [10, 20, 40])
    trajectories["terminated"] = torch.tensor([False, True, False])[:, None, None]  # and not done: no final observation
    buffer.add(trajectories)
    first = (1, 10, 2, 0.5) if n_step == 1 else (1, 10 + 20 / 2, 3, 0.0)
    assert contents(buffer) == [first, (2, 20, 3, 0.0), (3, 40, 4, 0.5)]


@pytest.mark.parametrize(("n_step", "rewards"), [(1, [1.5, -1.5]), (2, [1.5 - 1.5 / 2, -1.5])])
def test_each_reward_is_cut_when_it_is_sampled(n_step: int, rewards: list[float]) -> None:
    buffer = make_buffer(n_step=n_step, clip_reward=1.5)
    buffer.add(rollout([1, 2, 3], [10, -20]))
    assert [row[1] for row in contents(buffer)] == rewards


def test_steps_go_on_in_the_next_rollout() -> None:
    buffer = make_buffer(n_step=2)
    buffer.add(rollout([1, 2], [10]))
    assert contents(buffer) == [(1, 10, 2, 0.5)]
    buffer.add(rollout([2, 3], [20], is_init=False))
    assert contents(buffer) == [(1, 20, 3, 0.25), (2, 20, 3, 0.5)]


def test_rows_that_only_reset_are_no_frames() -> None:
    buffer = make_buffer(n_step=2)
    buffer.add(rollout([1, 2, 2, 3], [10, 0, 30], "x-.", final=2))
    assert contents(buffer) == [(1, 10, 2, 0.0), (2, 30, 3, 0.5)]
    buffer.add(rollout([3, 4], [40], "t", final=4, is_init=False))
    buffer.add(rollout([4, 5], [0], "-"))
    buffer.add(rollout([5, 6], [50]))
    assert contents(buffer)[1:] == [(2, 30 + 20, 4, 0.25), (3, 40, 4, 0.5), (5, 50, 6, 0.5)]


def test_an_episode_that_was_broken_off_ends_as_if_truncated() -> None:
    buffer = make_buffer(n_step=2)
    buffer.add(rollout([1, 2, 3], [10, 20]))
    buffer.add(rollout([7, 8], [70], is_init=True))
    assert contents(buffer) == [(1, 20, 3, 0.25), (2, 20, 3, 0.5), (7, 70, 8, 0.5)]


def test_a_first_rollout_may_go_on_from_frames_that_are_not_here() -> None:
    buffer = make_buffer()
    buffer.add(rollout([1, 2], [10], is_init=False))
    buffer.add(rollout([7, 8], [70], is_init=True))
    assert contents(buffer) == [(1, 10, 2, 0.5), (7, 70, 8, 0.5)]


def test_the_oldest_frames_are_overwritten() -> None:
    buffer = make_buffer(buffer_size=4)
    for number in range(9):
        buffer.add(rollout([number, number + 1], [number], is_init=number == 0))
    assert contents(buffer) == [(number, number, number + 1, 0.5) for number in (5, 6, 7, 8)]


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("stack", [1, 4])
def test_as_many_frames_as_asked_for_fit(num_envs: int, stack: int) -> None:
    space = spaces.Box(-np.inf, np.inf, (stack,), np.float32)
    buffer = ReplayBuffer(make_task(num_envs, space, stack), ReplayOptions(buffer_size=60))
    world = World(0, num_envs, stack, buffer.ring.length)
    world.ending = world.breaking = 0.0
    for _ in range(80):
        buffer.add(world.rollout(1))
    assert len(buffer) == 60


# --- against lists ---


def check(buffer: ReplayBuffer, world: World, generator: torch.Generator) -> None:
    """Check that all of what should be there is drawn, and nothing else, and that it is right."""
    expected = world.expected()
    assert len(buffer) == len(expected)
    batch, index = buffer.sample(16 * len(expected) + 32, generator)
    assert set(index.tolist()) == expected.keys()
    options = buffer.options
    names = ("observation", "action", "reward", "next_observation", "discount", "action_mask", "next_action_mask")
    found = dict(zip(index.tolist(), zip(*[getattr(batch, name).tolist() for name in names], strict=True), strict=True))
    for row, (n, number) in expected.items():
        first = world.history[n][number]
        reward, discount, last = world.target(n, number, options.n_step, options.gamma)
        numbers = (first.observation, first.action, pytest.approx(reward, abs=1e-4), last.next_observation)
        assert found[row] == (*numbers, pytest.approx(discount), first.mask, last.next_mask)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("stack", [1, 3])
def test_every_frame_is_as_it_was(seed: int, stack: int) -> None:
    random = np.random.default_rng(seed)
    num_envs, buffer_size = int(random.integers(1, 4)), int(random.integers(4, 50))
    task = make_task(num_envs, spaces.Box(-np.inf, np.inf, (stack,), np.float32), stack, has_action_mask=True)
    options = ReplayOptions(buffer_size=buffer_size, n_step=int(random.choice([1, 2, 5])), gamma=0.9)
    buffer = ReplayBuffer(task, options)
    world = World(seed, num_envs, stack, buffer.ring.length, next_step=seed % 3 == 0)
    world.ending = float(random.choice([0.1, 0.5, 1.0]))
    generator = torch.Generator().manual_seed(seed)
    for _ in range(10):
        if random.random() < 0.2:
            world.break_off()
        buffer.add(world.rollout(int(random.choice([1, 2, 7, 20]))))  # 20 is more than some rings hold
        check(buffer, world, generator)


@pytest.mark.parametrize("stack", [1, 3])
def test_flags_on_another_device_follow_those_of_the_ring(stack: int) -> None:
    task = make_task(2, spaces.Box(-np.inf, np.inf, (stack,), np.float32), stack)
    buffer = ReplayBuffer(task, ReplayOptions(buffer_size=40))
    storage = buffer._allocated()
    storage._is_shared = False  # as on a GPU
    storage.is_frame, storage.is_prefix = storage.is_frame.clone(), storage.is_prefix.clone()
    world = World(0, 2, stack, buffer.ring.length)
    for _ in range(30):
        buffer.add(world.rollout(3))
        assert storage.is_frame.tolist() == buffer.ring.is_frame.tolist()
        assert storage.is_prefix.tolist() == buffer.ring.is_prefix.tolist()


def test_frames_are_drawn_uniformly() -> None:
    buffer = make_buffer(3, buffer_size=90)
    world = World(2, 3, 1, buffer.ring.length)
    for _ in range(60):
        buffer.add(world.rollout(2))
    draws = 400 * len(buffer)
    index = buffer.sample(draws, torch.Generator().manual_seed(0))[1]
    counts = torch.bincount(index, minlength=buffer.ring.size)[list(world.expected())]
    assert counts.sum() == draws
    chi_square = float(((counts - 400.0) ** 2 / 400.0).sum())
    degrees = len(buffer) - 1
    assert abs(chi_square - degrees) < 4.0 * (2.0 * degrees) ** 0.5


def test_the_same_generator_draws_the_same_frames() -> None:
    buffer = make_buffer()
    buffer.add(rollout([1, 2, 3, 4], [10, 20, 30], ".x.", final=9))
    one, other = (buffer.sample(64, torch.Generator().manual_seed(5))[1] for _ in range(2))
    assert torch.equal(one, other)


# --- observations of every kind ---


NESTED = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (2, 2, 3), np.uint8),
        "inner": spaces.Dict({"count": spaces.Discrete(9), "speed": spaces.Box(-1.0, 1.0, (2,), np.float32)}),
    }
)


def test_nested_observations_keep_their_dtypes() -> None:
    buffer = ReplayBuffer(make_task(2, NESTED, action_space=NESTED["inner"]["speed"]), ReplayOptions(buffer_size=20))
    camera = torch.arange(4 * 2 * 12, dtype=torch.uint8).reshape(4, 2, 2, 2, 3)
    inner = {"count": torch.arange(8).reshape(4, 2), "speed": torch.rand(4, 2, 2)}
    trajectories = rollout([0, 0, 0, 0], [1, 2, 3])
    for key in ("terminated", "truncated", "done", "valid", "is_init", "reward"):
        trajectories[key] = trajectories[key].expand(3, 2, 1)
    observation = {"camera": camera, "inner": inner}
    final = map_observation(lambda leaf: leaf[0, :0], observation)
    buffer.add(trajectories | {"observation": observation, "final_observation": final, "action": inner["speed"][:3]})
    batch, _ = buffer.sample(40, torch.Generator().manual_seed(0))
    assert isinstance(batch.observation, dict)
    assert isinstance(batch.next_observation, dict)
    assert batch.observation["camera"].dtype == torch.uint8
    count = batch.observation["inner"]["count"]
    assert count.dtype == torch.int64
    assert torch.equal(batch.next_observation["inner"]["count"], count + 2)
    assert torch.equal(batch.observation["camera"], camera.flatten(0, 1)[count])
    assert torch.equal(batch.action, inner["speed"].flatten(0, 1)[count])
    assert batch.action_mask is None


def test_a_stack_is_given_back_bit_by_bit() -> None:
    buffer = ReplayBuffer(make_task(1, spaces.Box(-1.0, 1.0, (2, 1), np.float32), 2), ReplayOptions(buffer_size=20))
    stacks = torch.tensor([[0.0, 0.0], [-0.0, 1.0], [1.0, -0.0]]).reshape(3, 1, 2, 1)
    final = torch.zeros(0, 2, 1)
    buffer.add(rollout([0, 0, 0], [1, 2]) | {"observation": stacks, "final_observation": final})
    batch, _ = buffer.sample(40, torch.Generator().manual_seed(0))
    assert isinstance(batch.observation, torch.Tensor)
    bits = {tuple(row) for row in batch.observation.flatten(1).view(torch.int32).tolist()}
    assert bits == {tuple(row) for row in stacks[:2].flatten(1).view(torch.int32).tolist()}


@pytest.mark.parametrize("stack", [1, 4])
@pytest.mark.parametrize("prioritized", [False, True])
def test_memory_is_known_before_it_is_taken(stack: int, prioritized: bool) -> None:
    space = spaces.Box(0, 255, (stack, 8, 8), np.uint8)
    task = make_task(2, space, stack, has_action_mask=True)
    buffer = ReplayBuffer(task, ReplayOptions(buffer_size=1000, prioritized=prioritized))
    expected = buffer.memory_bytes
    assert buffer._storage is None
    observation = torch.zeros(2, 2, stack, 8, 8, dtype=torch.uint8)
    trajectories = World(0, 2, stack, buffer.ring.length).rollout(1)
    buffer.add(trajectories | {"observation": observation, "final_observation": observation[0, :0]})
    storage, priorities = buffer._storage, buffer._priorities
    assert storage is not None
    assert isinstance(storage.observation, torch.Tensor)
    assert storage.observation.dtype == torch.uint8
    assert expected == storage.nbytes + (priorities.nbytes if priorities else 0)
    assert storage.nbytes < 1010 * (64 + 8 + 4 + 4 + 3 + 2)  # each frame once


# --- batches ---


def test_a_batch_is_taken_apart_and_put_together() -> None:
    mask = torch.ones(4, 2, dtype=torch.bool)
    rows = torch.arange(4.0)
    batch = ReplayBatch({"a": rows, "b": rows + 10}, rows, rows, {"a": rows + 1, "b": rows}, rows, rows, mask, None)
    tensors = batch.tensors()
    assert len(tensors) == 9
    doubled = batch.with_tensors([tensor * 2 for tensor in tensors])
    assert isinstance(doubled.observation, dict)
    assert torch.equal(doubled.observation["b"], 2 * (rows + 10))
    assert doubled.next_action_mask is None
    chosen = batch.select(slice(1, 3))
    assert isinstance(chosen.next_observation, dict)
    assert chosen.next_observation["a"].tolist() == [2.0, 3.0]
    assert chosen.reward.tolist() == batch.select(torch.tensor([1, 2])).reward.tolist() == [1.0, 2.0]
