"""Returns and lengths of episodes by hand, across rollouts."""

from __future__ import annotations

from typing import Any

import numpy as np

from rl2cli.training.episodes import WINDOW, Episode, EpisodeStatistics


def _rollout(reward: list[list[float]], done: list[list[int]], valid: list[list[int]] | None = None) -> Any:
    ended = [(t, n) for t, row in enumerate(done) for n, is_end in enumerate(row) if is_end]
    return np.array(reward, np.float32), ended, None if valid is None else np.array(valid, bool)


def test_by_hand_across_rollouts_with_a_row_that_was_no_frame() -> None:
    statistics = EpisodeStatistics(2)
    assert statistics.means() == (None, None)
    finished = statistics.update(
        *_rollout(
            [[1, 10], [2, 20], [99, 30], [4, 40]],
            [[0, 0], [1, 0], [0, 0], [0, 1]],
            [[1, 1], [1, 1], [0, 1], [1, 1]],
        )
    )
    assert finished == [Episode(3.0, 2), Episode(100.0, 4)]
    finished = statistics.update(*_rollout([[5, 1], [6, 2]], [[1, 1], [1, 0]]))
    assert finished == [Episode(9.0, 2), Episode(1.0, 1), Episode(6.0, 1)]
    assert statistics.count == 5
    assert statistics.best_return == 100.0
    assert statistics.means() == ((3 + 100 + 9 + 1 + 6) / 5, 10 / 5)
    assert statistics.running_return.tolist() == [0.0, 2.0]
    assert statistics.running_length.tolist() == [0, 1]


def test_means_are_over_the_last_hundred() -> None:
    statistics = EpisodeStatistics(1)
    for value in range(WINDOW + 50):
        statistics.update(*_rollout([[value]], [[1]]))
    assert statistics.means() == (np.arange(50, WINDOW + 50).mean(), 1.0)


def test_a_rollout_in_which_nothing_ended_is_added_as_any_other() -> None:
    short, long = EpisodeStatistics(2), EpisodeStatistics(2)
    reward = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    for row in reward:
        short.update(row[None], [])
    long.update(reward, [])
    assert short.running_return.tolist() == long.running_return.tolist()
    assert short.running_length.tolist() == [6, 6]
    assert short.update(*_rollout([[1, 1]], [[0, 1]])) == long.update(*_rollout([[1, 1]], [[0, 1]]))


def test_the_state_goes_on_in_the_middle_of_an_episode() -> None:
    whole, first = EpisodeStatistics(2), EpisodeStatistics(2)
    one = _rollout([[1, 2], [3, 4]], [[0, 1], [0, 0]])
    other = _rollout([[5, 6]], [[1, 1]])
    whole.update(*one)
    first.update(*one)
    second = EpisodeStatistics(2)
    second.set_state(first.get_state())
    assert second.update(*other) == whole.update(*other) == [Episode(9.0, 3), Episode(10.0, 2)]
    assert second.means() == whole.means()
    assert (second.count, second.best_return) == (3, 10.0)
    assert first.running_return.tolist() == [4.0, 4.0]  # a state that was handed out does not change its source


def test_running_episodes_can_be_forgotten() -> None:
    statistics = EpisodeStatistics(1)
    statistics.update(*_rollout([[7]], [[0]]))
    statistics.forget_running()
    assert statistics.update(*_rollout([[1]], [[1]])) == [Episode(1.0, 1)]


def test_an_episode_broken_off_before_the_rollout_counts_with_what_it_had() -> None:
    statistics = EpisodeStatistics(2)
    statistics.update(np.ones((3, 2), np.float32), [])
    finished = statistics.update(np.array([[1.0, 5.0]], np.float32), [], np.array([[True, False]]), [1])
    assert finished == [Episode(3.0, 3)]
    assert statistics.running_return.tolist() == [4.0, 0.0]
    assert statistics.running_length.tolist() == [4, 0]
