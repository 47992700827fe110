"""Watching a policy in a terminal."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

import rl2cli
from rl2cli.errors import UsageError
from rl2cli.inference import watch as watching
from rl2cli.inference.watch import watch

SPEC = {
    "name": "small",
    "total_frames": 256,
    "device": "cpu",
    "env": {"id": "CartPole-v1", "num_envs": 8, "workers": 0, "max_episode_steps": 12},
    "network": {"hidden_sizes": [8]},
    "algorithm": {"rollout_length": 16, "minibatch_size": 32},
    "evaluation": {"every": 256, "episodes": 1, "stochastic_episodes": 0},
}


class Screen:
    """Stands for the terminal; sends Ctrl-C when it shows `interrupt_at`."""

    def __init__(self, interrupt_at: str = "") -> None:
        self.shown: list[tuple[np.ndarray, str]] = []
        self.is_open = False
        self._interrupt_at = interrupt_at

    def show(self, picture: np.ndarray, status: str) -> None:
        assert self.is_open
        self.shown.append((picture, status))
        if self._interrupt_at and self._interrupt_at in status:
            signal.raise_signal(signal.SIGINT)

    def __enter__(self) -> Screen:
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return rl2cli.train(SPEC, run_dir=tmp_path_factory.mktemp("runs") / "run").run_dir


def seen(run: str, monkeypatch: pytest.MonkeyPatch, screen: Screen, **options: object) -> dict[str, object]:
    monkeypatch.setattr(watching, "TerminalScreen", lambda: screen)
    return watch(run, view="terminal", fps=1000, **options)  # type: ignore[arg-type]


def test_whole_episodes_in_order(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    result = seen(run, monkeypatch, screen, episodes=2)
    assert (result["episodes"], result["stopped_by"], result["videos"]) == (2, None, [])
    assert not screen.is_open
    assert {picture.shape for picture, _ in screen.shown} == {(400, 600, 3)}
    statuses = [status for _, status in screen.shown]
    assert statuses[0] == "CartPole-v1  episode 1 of 2  step 0  return 0  Ctrl-C ends"
    lengths = result["lengths"]
    assert isinstance(lengths, list)
    assert f"episode 2 of 2  step {lengths[1]}  return" in statuses[-1]


def test_ctrl_c_keeps_the_episodes_that_ended(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(interrupt_at="episode 2 of 3")
    result = seen(run, monkeypatch, screen, episodes=3)
    assert (result["episodes"], result["stopped_by"]) == (1, signal.SIGINT)
    assert "episode 2" in screen.shown[-1][1]
    nothing = seen(run, monkeypatch, Screen(interrupt_at="episode 1"), episodes=3)
    assert (nothing["episodes"], nothing["stopped_by"]) == (0, signal.SIGINT)


def test_no_display_and_no_terminal(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "has_display", lambda: False)
    with pytest.raises(UsageError, match="no display to open a window on"):
        watch(run, view="window")
    with pytest.raises(UsageError, match="no terminal to draw in"):
        watch(run)


def test_a_window_where_there_is_a_display(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "has_display", lambda: True)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    result = watch(run, episodes=1)
    assert result["episodes"] == 1
    assert Path(str(result["checkpoint"])).exists()
