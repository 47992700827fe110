"""Episodes of a trained policy as videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import made_up_parts
import numpy as np
import pytest

import rl2cli
from rl2cli.errors import EnvironmentFault, UsageError
from rl2cli.inference.benchmark import benchmark
from rl2cli.inference.record import record
from rl2cli.reporting.recording import Grid, Recording
from rl2cli.reporting.video import count_pictures


class Drawn(made_up_parts.Nested):
    """Draws gray pictures."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def render(self) -> Any:
        return np.full((30, 40), 50 * self.t, np.uint8)


gymnasium.register("DrawnNested-v0", Drawn)

SPEC: dict[str, Any] = {
    "name": "small",
    "total_frames": 256,
    "device": "cpu",
    "env": {"id": "CartPole-v1", "num_envs": 8, "workers": 0, "vectorization": "single", "max_episode_steps": 20},
    "network": {"hidden_sizes": [8]},
    "algorithm": {"rollout_length": 16, "minibatch_size": 32, "normalize_observation": True},
    "evaluation": {"every": 256, "episodes": 1, "stochastic_episodes": 0},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(rl2cli.train(SPEC, run_dir=tmp_path_factory.mktemp("runs") / "run").run_dir)


def test_a_video_per_episode_beside_the_run_and_never_over_another(run: Path) -> None:
    first, again = record(str(run), episodes=2, seed=3), record(str(run), episodes=1, seed=3)
    frames = first["frames"]
    names = [
        f"{frames:012}-seed3-episode1.mp4",
        f"{frames:012}-seed3-episode2.mp4",
        f"{frames:012}-seed3-episode1-2.mp4",
    ]
    assert [*first["videos"], *again["videos"]] == [str(run / "videos" / name) for name in names]
    for path, length in zip(first["videos"], first["lengths"], strict=True):
        pictures, seconds = count_pictures(Path(path))
        assert pictures == length + 1  # the first observation, and what every step led to
        assert seconds == pytest.approx(pictures / 50, abs=0.02)
    assert Path(first["videos"][0]).read_bytes() == Path(again["videos"][0]).read_bytes()


@pytest.mark.slow
def test_it_plays_the_episodes_of_a_benchmark(tmp_path: Path) -> None:
    longer = {**SPEC, "env": {**SPEC["env"], "max_episode_steps": 100}}
    run = rl2cli.train(longer, run_dir=tmp_path / "run").run_dir
    keys = ("mean_return", "std_return", "min_return", "max_return", "mean_length", "episodes", "checkpoint", "seed")
    shown = record(run, Recording(out=tmp_path / "videos"), episodes=3)
    measured = benchmark(run, episodes=3)
    assert [shown[key] for key in keys] == [measured[key] for key in keys]
    assert shown.keys() >= measured.keys()
    assert len(set(shown["returns"])) > 1


@pytest.mark.slow
def test_a_grid_shows_all_until_the_last_has_ended(run: Path, tmp_path: Path) -> None:
    recording = Recording(grid=Grid(2, 2), out=tmp_path / "grid.mp4", fps=10)
    shown = record(str(run), recording, stochastic=True, seed=1)
    assert (shown["episodes"], shown["videos"]) == (4, [str(tmp_path / "grid.mp4")])
    assert count_pictures(tmp_path / "grid.mp4")[0] == max(shown["lengths"]) + 1
    more = record(
        str(run), Recording(grid=Grid(1, 2), out=tmp_path / "many", overlay=False, format="gif"), episodes=3, seed=1
    )
    assert [Path(path).name.split("-", 2)[2] for path in more["videos"]] == ["episode1-2.gif", "episode3.gif"]


def test_sampled_actions_repeat(run: Path, tmp_path: Path) -> None:
    shown = [record(str(run), Recording(out=tmp_path), stochastic=True, seed=seed, episodes=2) for seed in (1, 1, 2)]
    assert shown[0]["returns"] == shown[1]["returns"] != shown[2]["returns"]


def test_where_videos_cannot_go(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.mp4").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"")
    for out, episodes, message in [
        ("mine.mp4", 1, "exists already"),
        ("file", 1, "neither mp4 nor gif"),
        ("new.gif", 1, "mp4 does not go into new.gif"),
        ("new.mp4", 2, "2 videos do not go into one file"),
    ]:
        with pytest.raises(UsageError, match=message):
            record(str(run), Recording(out=tmp_path / out), episodes=episodes)
    assert (tmp_path / "mine.mp4").read_bytes() == b"mine"


def test_nested_observations_masks_and_pictures_of_any_kind(tmp_path: Path) -> None:
    spec = {**SPEC, "env": {"id": "DrawnNested-v0", "num_envs": 8, "workers": 0}}
    run = rl2cli.train(spec, run_dir=tmp_path / "run").run_dir
    shown = record(run)
    assert (shown["mean_return"], count_pictures(Path(shown["videos"][0]))[0]) == (4.0, 5)


def test_an_environment_without_pictures(tmp_path: Path) -> None:
    run = rl2cli.train({**SPEC, "env": {"id": "MadeUpChain-v0", "num_envs": 8, "workers": 0}}, run_dir=tmp_path / "run")
    with pytest.raises(
        (UsageError, EnvironmentFault), match="MadeUpChain-v0 cannot draw pictures: it has no render modes"
    ):
        record(run.run_dir)
    assert not (tmp_path / "run" / "videos").exists()
