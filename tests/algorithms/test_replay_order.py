"""The rows of a saved buffer are the same rows in the same order, however often it was saved and loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from replay_world import World
from test_replay_segments import Disk, make_buffer

from rl2cli.algorithms import replay_segments
from rl2cli.algorithms.replay import ReplayBuffer
from rl2cli.algorithms.replay_order import is_buffer_state, rows_in_order
from rl2cli.segment import Segment


def _rows(buffer: ReplayBuffer, disk: Disk) -> dict[tuple[int, str], torch.Tensor]:
    found: dict[tuple[int, str], list[torch.Tensor]] = {}
    segments = disk.read(disk.write(buffer.segments()))
    for environment, columns in rows_in_order(segments, buffer.get_state()):
        for name, column in columns.items():
            found.setdefault((environment, name), []).append(column)
    return {place: torch.cat(parts) for place, parts in found.items()}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("num_envs", "stack"), [(1, 1), (3, 1), (2, 3)])
def test_pieces_do_not_show(seed: int, num_envs: int, stack: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    monkeypatch.setattr(replay_segments, "MAX_PIECES", int(random.choice([2, 4, 256])))
    size = int(random.integers(4, 60))
    whole, often = (make_buffer(num_envs, stack, buffer_size=size) for _ in range(2))
    world, disk = World(seed, num_envs, stack, whole.ring.length), Disk()
    for _ in range(30):
        rollout = world.rollout(int(random.choice([1, 2, 20])))
        whole.add(rollout)
        often.add(rollout)
        if random.random() < 0.5:
            names, state = disk.write(often.segments()), often.get_state()
            if random.random() < 0.5:
                often = make_buffer(num_envs, stack, buffer_size=size)
                often.set_state(state)
                often.load_segments(disk.read(names))
    one, other = _rows(whole, Disk()), _rows(often, disk)
    assert one.keys() == other.keys()
    for place, column in one.items():
        assert torch.equal(column, other[place]), place
    assert sum(int(column.sum()) for (_, name), column in one.items() if name == "is_frame") == len(whole)


def test_a_changed_reward_shows() -> None:
    buffer = make_buffer()
    buffer.add(World(0, 1, 1, buffer.ring.length).rollout(10))
    before = _rows(buffer, Disk())
    assert buffer._storage is not None
    buffer._storage.reward[3] += 1.0
    after = _rows(_as_if_never_saved(buffer), Disk())
    assert [name for (_, name), column in before.items() if not torch.equal(column, after[0, name])] == ["reward"]


def _as_if_never_saved(buffer: ReplayBuffer) -> ReplayBuffer:
    buffer._segments = replay_segments.ReplaySegments(buffer.ring)
    return buffer


@pytest.mark.parametrize("tensors", [{}, {"start": torch.zeros(1, dtype=torch.int64)}, {"end": torch.ones(3)}])
def test_what_is_no_buffer_is_refused(tensors: dict[str, Any]) -> None:
    state = make_buffer().get_state()
    assert is_buffer_state(state)
    assert not is_buffer_state({"written": 1})
    with pytest.raises(ValueError, match="malformed replay segments"):
        list(rows_in_order([Segment(tensors)], state))
