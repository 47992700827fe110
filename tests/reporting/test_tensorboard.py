import importlib
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sample_run import Clock

from rl2cli.errors import MissingDependencyError, StorageError
from rl2cli.reporting.tensorboard import WRITE_EVERY, TensorBoardWriter, written_up_to

RETURN = "rollout/return_mean"


def read(folder: Path, tag: str = RETURN) -> list[tuple[int, float]]:
    """Return the points as TensorBoard itself loads them."""
    loader: Any = importlib.import_module("tensorboard.backend.event_processing.plugin_event_accumulator")
    tensors: Any = importlib.import_module("tensorboard.util.tensor_util")
    accumulator = loader.EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, float(tensors.make_ndarray(event.tensor_proto))) for event in accumulator.Tensors(tag)]


def test_points_are_read_back(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path / "tensorboard")
    writer.scalars(1_000, {RETURN: 1.5, "loss/policy": math.nan})
    writer.scalars(2**40, {RETURN: -2.5})
    writer.close()
    writer.close()
    assert read(tmp_path / "tensorboard") == [(1_000, 1.5), (2**40, -2.5)]
    assert math.isnan(read(tmp_path / "tensorboard", "loss/policy")[0][1])


def test_points_behind_a_resumed_checkpoint_are_dropped(tmp_path: Path) -> None:
    first = TensorBoardWriter(tmp_path)
    for frames in (100, 200, 300, 400):
        first.scalars(frames, {RETURN: frames})
    first.close()
    second = TensorBoardWriter(tmp_path, purge_step=201)
    second.scalars(300, {RETURN: -1})
    second.close()
    assert read(tmp_path) == [(100, 100), (200, 200), (300, -1)]


def test_a_file_cut_in_a_record_does_not_hide_the_next_session(tmp_path: Path) -> None:
    first = TensorBoardWriter(tmp_path)
    first.scalars(100, {RETURN: 1})
    first.scalars(200, {RETURN: 2})
    first.close()
    (file,) = tmp_path.glob("events.*")
    file.write_bytes(file.read_bytes()[:-7])
    second = TensorBoardWriter(tmp_path, purge_step=101)
    second.scalars(200, {RETURN: 3})
    second.close()
    assert read(tmp_path) == [(100, 1), (200, 3)]


def test_sessions_are_read_in_their_order_even_if_the_clock_was_set_back(tmp_path: Path) -> None:
    later = tmp_path / "events.out.tfevents.9999999990.rl2"
    later.write_bytes(b"")
    writer = TensorBoardWriter(tmp_path)
    writer.scalars(1, {RETURN: 1})
    writer.close()
    assert sorted(path.name for path in tmp_path.iterdir())[-1] == "events.out.tfevents.9999999991.rl2"


def test_points_are_kept_until_it_is_time(tmp_path: Path, clock: Clock) -> None:
    writer = TensorBoardWriter(tmp_path, clock=clock)
    writer.scalars(1, {RETURN: 1})
    clock.now += WRITE_EVERY - 1
    writer.scalars(2, {RETURN: 2})
    assert not list(tmp_path.iterdir())
    clock.now += 1
    writer.scalars(3, {RETURN: 3})
    assert len(read(tmp_path)) == 3
    writer.scalars(4, {RETURN: 4})
    assert len(read(tmp_path)) == 3
    writer.flush()
    assert len(read(tmp_path)) == 4
    writer.close()


def test_without_points_no_file_is_made(tmp_path: Path) -> None:
    TensorBoardWriter(tmp_path / "tensorboard").close()
    assert not (tmp_path / "tensorboard").exists()


def test_importing_and_adding_points_does_not_import_tensorboard(tmp_path: Path) -> None:
    program = (
        "import sys; from rl2cli.reporting.tensorboard import TensorBoardWriter;"
        f"TensorBoardWriter({str(tmp_path)!r}).scalars(1, {{'a': 1.0}});"
        "print('tensorboard' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    writer = TensorBoardWriter(tmp_path / "file" / "tensorboard")
    writer.scalars(1, {RETURN: 1})
    with pytest.raises(StorageError, match="writing TensorBoard files failed"):
        writer.close()


def test_missing_tensorboard_is_said_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError) as caught:
        TensorBoardWriter(tmp_path)
    assert caught.value.hint == "pip install tensorboard"


def test_how_far_it_has_written_is_known_after_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "tensorboard"
    assert written_up_to(folder, 500) == -1
    first = TensorBoardWriter(folder)
    first.scalars(100, {RETURN: 1})
    first.close()
    assert written_up_to(folder, 500) == 100
    assert written_up_to(folder, 50) == 50  # it went back further
    TensorBoardWriter(folder, purge_step=51)  # killed before it wrote anything: what follows 50 is another session's
    assert written_up_to(folder, 500) == 50
    (folder / ".written").write_text("-1\n")  # it was killed while it wrote the first points
    assert written_up_to(folder, 500) == -1
    (folder / ".written").write_text("\x1b[2J")
    assert written_up_to(folder, 500) == 500
    (folder / ".written").unlink()
    assert written_up_to(folder, 500) == 500  # an older rl2 wrote the files


def test_a_kill_in_the_first_write_leaves_all_points_to_be_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Any, points: Any) -> None:
        self.close()
        raise KeyboardInterrupt

    monkeypatch.setattr("rl2cli.reporting.tensorboard._EventFile.write", killed)
    writer = TensorBoardWriter(tmp_path)
    writer.scalars(100, {RETURN: 1})
    with pytest.raises(KeyboardInterrupt):
        writer.flush()
    assert list(tmp_path.glob("events.*"))
    assert written_up_to(tmp_path, 500) == -1


def test_a_kill_between_two_points_of_the_same_frames_loses_none(tmp_path: Path, clock: Clock) -> None:
    killed = TensorBoardWriter(tmp_path, clock=clock)
    killed.scalars(100, {RETURN: 1})
    clock.now += WRITE_EVERY
    killed.scalars(200, {RETURN: 2})  # written; an evaluation of frame 200 is not
    assert written_up_to(tmp_path, 300) == 199
    resumed = TensorBoardWriter(tmp_path, purge_step=200)
    resumed.scalars(200, {RETURN: 2})  # the record has both rows
    resumed.scalars(200, {"evaluation/mean_return": 3})
    resumed.close()
    assert read(tmp_path) == [(100, 1), (200, 2)]
    assert read(tmp_path, "evaluation/mean_return") == [(200, 3)]
    assert written_up_to(tmp_path, 300) == 200
    killed.close()
