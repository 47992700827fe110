"""A buffer that does not fit in memory or on the disk is refused with the number that does; limits of containers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_up_parts
import pytest
import remembering
import small_runs
import torch

import rl2cli
from rl2cli.errors import UsageError
from rl2cli.reporting.view import make_view
from rl2cli.spec import load_spec_dict, load_spec_text
from rl2cli.spec.model import RunSpec
from rl2cli.training import free_memory, room
from rl2cli.training.build import build
from rl2cli.training.session import describe_plan, resume, train

assert made_up_parts  # registers its environments

SPEC = """total_frames = 1000

[env]
id = "MadeUpRewards-v0"
num_envs = 1

[algorithm]
name = "remembering"
buffer_size = 1_000_000_000
bytes_per_frame = 56

[checkpoint]
every = 100
keep = 1
"""


@pytest.fixture(autouse=True)
def _named() -> Iterator[None]:
    with remembering.registered():
        yield


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Free bytes of a made-up machine."""
    machine = SimpleNamespace(memory=20_000_000_000, disk=10**15)
    monkeypatch.setattr(room, "free_memory", lambda device: machine.memory)
    monkeypatch.setattr(room, "free_disk", lambda folder: machine.disk)
    return machine


def _spec(buffer_size: int, **tables: Any) -> RunSpec:
    settings = small_runs.spec("MadeUpRewards-v0", num_envs=1, **tables)
    algorithm = {"name": "remembering", "buffer_size": buffer_size, "bytes_per_frame": 50}
    return load_spec_dict({**settings, "algorithm": algorithm}).spec


def test_more_than_the_memory_is_refused_where_it_is_written(tmp_path: Path, free: SimpleNamespace) -> None:
    with pytest.raises(UsageError) as caught:
        train(load_spec_text(SPEC, "big.toml"), view=make_view("quiet"), root=tmp_path)
    assert str(caught.value) == (
        "error: a replay buffer of 1,000,000,000 frames takes 56.0 GB, and 20.0 GB of memory are free\n"
        "  --> big.toml:9:15\n"
        "   |\n"
        " 9 | buffer_size = 1_000_000_000\n"
        "   |               ^^^^^^^^^^^^^\n"
        "\n"
        "hint: buffer_size = 321_000_000 fits"
    )
    assert list(tmp_path.iterdir()) == []
    fitting = load_spec_text(SPEC, "big.toml", ["algorithm.buffer_size=321_000_000"])
    build(fitting.spec).close()
    with pytest.raises(UsageError, match="command line"):
        describe_plan(load_spec_text(SPEC, "big.toml", ["algorithm.buffer_size=322_000_000"]))


def test_what_fits_is_announced(free: SimpleNamespace) -> None:
    # newest two checkpoints, one being saved, and the best: whatever is smaller of five buffers, and of two buffers and
    # three times the frames between checkpoints, and of the whole run
    for total, every, frames_on_disk in ((100_000, 10_000, 30_000 + 2 * 20_000), (100_000, 50_000, 100_000)):
        spec = _spec(20_000, total_frames=total, checkpoint={"every": every, "keep": 3})
        parts = build(spec)
        parts.close()
        sizes = f"1 MB of memory, at most {frames_on_disk * 50 / 1e6:.0f} MB of the disk"
        assert parts.plan.choices[-1] == f"a replay buffer of 20,000 frames: {sizes}"
    plan = describe_plan(load_spec_text(SPEC, overrides=["algorithm.buffer_size=1000"]))
    assert plan["choices"][-1] == "a replay buffer of 1,000 frames: 56 kB of memory, at most 56 kB of the disk"
    assert plan["replay_megabytes"] == 0.056


@pytest.mark.parametrize(("every", "keep"), [(1000, 3), (100_000, 3), (20_000, 1), (3000, 20)])
def test_more_than_the_disk_is_refused_and_the_hint_fits(free: SimpleNamespace, every: int, keep: int) -> None:
    free.disk = 5_000_000
    tables = {"total_frames": 1_000_000, "checkpoint": {"every": every, "keep": keep}}
    with pytest.raises(UsageError, match=r"takes \d+ MB, and 5 MB of the disk are free") as caught:
        build(_spec(200_000, **tables))
    assert caught.value.place == "algorithm.buffer_size"
    fits = int(str(caught.value.hint).split()[2])
    build(_spec(fits, **tables)).close()
    with pytest.raises(UsageError):
        build(_spec(round(fits * 1.02), **tables))


def test_the_hint_fits_in_memory_and_on_the_disk(free: SimpleNamespace) -> None:
    free.memory, free.disk = 1_000_000, 500_000
    tables = {"total_frames": 1_000_000, "checkpoint": {"every": 1000, "keep": 1}}
    with pytest.raises(UsageError, match="of memory are free") as caught:
        build(_spec(200_000, **tables))
    assert caught.value.hint == "buffer_size = 4_000 fits"  # two of them and what lies between two saves
    build(_spec(4000, **tables)).close()


def test_a_disk_without_room_for_a_frame(free: SimpleNamespace) -> None:
    free.disk = 10
    with pytest.raises(UsageError) as caught:
        build(_spec(1000))
    assert caught.value.hint == "free some space"


def test_what_a_resumed_run_has_on_the_disk_is_not_counted_again(tmp_path: Path, free: SimpleNamespace) -> None:
    settings = small_runs.spec("MadeUpRewards-v0", 320, 1, checkpoint={"every": 320})
    run = small_runs.train(tmp_path, {**settings, "algorithm": {"name": "remembering", "buffer_size": 200}})
    saved = sum(path.stat().st_size for path in (run / "checkpoints" / "segments").iterdir())
    assert saved > 320 * 4
    free.disk = 0  # all that it needs is there
    resume(str(run), view=make_view("quiet"), total_frames=330)
    free.memory = 100
    with pytest.raises(UsageError, match="takes 800 bytes, and 100 bytes of memory are free") as caught:
        resume(str(run), view=make_view("quiet"), total_frames=340)
    assert "keeps the size of its buffer" in str(caught.value.hint)
    rl2cli.load_policy(run).close()  # a policy keeps nothing


def test_an_algorithm_that_keeps_nothing_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_memory", lambda device: pytest.fail("asked"))
    parts = build(load_spec_dict(small_runs.spec()).spec)
    parts.close()
    assert not any("buffer" in choice for choice in parts.plan.choices)


def test_free_memory_of_this_machine() -> None:
    found = free_memory.free_memory(torch.device("cpu"))
    assert 2**20 < found < 2**50


def test_free_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (7, 80))
    assert free_memory.free_memory(torch.device("cuda:0")) == 7


def test_free_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    found = free_memory.free_disk(tmp_path / "a" / "b")
    assert abs(found - shutil.disk_usage(tmp_path).free) < 2**30
    assert free_memory.bytes_in(tmp_path / "a") == 0


def _group(folder: Path, limit: str, usage: int, cache: int, names: tuple[str, str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {cache}\nunevictable 0\n")


V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def test_every_control_group_around_the_process_counts(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("12:cpu,cpuacct:/x\n0::/user.slice/job.scope\n")
    _group(tmp_path / "user.slice" / "job.scope", "max", 100, 0, V2)
    _group(tmp_path / "user.slice", "1000", 700, 50, V2)
    assert list(free_memory.cgroup_room(tmp_path, own)) == [350]


def test_control_groups_of_the_first_version(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("4:memory:/docker/abc\n0::/\n")  # in a container this folder has another name
    _group(tmp_path / "memory", "500", 600, 20, V1)
    assert list(free_memory.cgroup_room(tmp_path, own)) == [0]
    _group(tmp_path / "memory" / "docker" / "abc", "9223372036854771712", 600, 0, V1)
    assert list(free_memory.cgroup_room(tmp_path, own)) == [9223372036854771112, 0]


def test_no_control_groups(tmp_path: Path) -> None:
    assert list(free_memory.cgroup_room(tmp_path, tmp_path / "nothing")) == []
