"""Checkpoints: bit-exact, kept as promised, and a valid one is there after every fault."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rl2cli.durable import read_regular
from rl2cli.errors import NoCheckpointError, StorageError, UsageError
from rl2cli.segment import Segment
from rl2cli.training import checkpoint_format, checkpoint_writer
from rl2cli.training.checkpoint import BestRecord, CheckpointStore
from rl2cli.training.checkpoint_format import Stamp

DTYPES = [torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float16, torch.float32, torch.float64]


def state(value: float = 1.0) -> dict[str, Any]:
    weights = {f"w{number}": torch.full((3, 2), value + number) for number in range(3)}
    return {"algorithm": weights, "generator": np.arange(4, dtype=np.uint64), "counters": {0: (1, 2.5, None)}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def store(folder: Path) -> Iterator[CheckpointStore]:
    store = CheckpointStore(folder, keep=3)
    yield store
    store.close()


def save_all(store: CheckpointStore, *frames: int) -> None:
    for number in frames:
        store.save(number, state(number), {"frames": number})
        store.wait()


def first_weight(loaded: dict[str, Any]) -> float:
    return float(loaded["algorithm"]["w0"][0, 0])


def seal(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest and make its hash right again, as an attacker can."""
    outer = json.loads((path / "manifest.json").read_bytes())
    change(outer["manifest"])
    outer["sha256"] = hashlib.sha256(json.dumps(outer["manifest"]).encode()).hexdigest()
    (path / "manifest.json").write_bytes(json.dumps(outer).encode())


class TestSaving:
    def test_layout_is_the_documented_one(self, store: CheckpointStore, folder: Path) -> None:
        save_all(store, 100)
        path = folder / "000000000000100"
        assert sorted(os.listdir(path)) == ["manifest.json", "state.json", "state.safetensors"]
        manifest = json.loads((path / "manifest.json").read_bytes())["manifest"]
        assert manifest["format_version"] == 1
        for name, stamp in manifest["files"].items():
            content = (path / name).read_bytes()
            assert stamp == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_tensors_are_bit_exact(self, store: CheckpointStore, dtype: torch.dtype) -> None:
        raw = torch.randint(0, 2 if dtype == torch.bool else 256, (64,), dtype=torch.uint8)
        tensor = raw.view(dtype)
        store.save(1, {"t": tensor, "empty": tensor[:0], "one": tensor[0]}, {})
        back = store.newest().state
        assert back["t"].dtype == dtype
        assert torch.equal(back["t"].view(torch.uint8), raw)
        assert back["empty"].shape == (0,)
        assert back["one"].shape == ()

    def test_views_strides_and_aliases_are_saved_by_value(self, store: CheckpointStore) -> None:
        base = torch.arange(24.0).reshape(2, 3, 2, 2)
        views = {"a": base, "b": base, "c": base[:, 1], "d": base.permute(3, 1, 0, 2), "e": torch.ones(1).expand(4, 2)}
        views["f"] = base.to(memory_format=torch.channels_last)
        store.save(1, views, {})
        back = store.newest().state
        assert all(torch.equal(back[name], tensor) for name, tensor in views.items())

    def test_what_changes_after_save_is_not_saved(self, store: CheckpointStore) -> None:
        value = state(1)
        metadata: dict[str, Any] = {"list": [1]}
        store.save(1, value, metadata)
        value["algorithm"]["w0"].zero_()
        value["generator"][:] = 0
        metadata["list"].append(2)
        loaded = store.newest()
        assert first_weight(loaded.state) == 1
        assert loaded.state["generator"].tolist() == [0, 1, 2, 3]
        assert loaded.metadata == {"list": [1]}

    def test_writing_happens_beside_training(self, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch) -> None:
        gate = threading.Event()
        real = os.fsync

        def slow(descriptor: int) -> None:
            assert gate.wait(30)
            real(descriptor)

        monkeypatch.setattr(os, "fsync", slow)
        start = time.perf_counter()
        store.save(1, state(), {})
        assert time.perf_counter() - start < 1
        gate.set()
        assert store.newest().frames == 1

    def test_existing_valid_checkpoint_is_not_written_again(self, store: CheckpointStore, folder: Path) -> None:
        save_all(store, 1)
        before = (folder / "000000000000001" / "state.json").stat().st_ino
        store.save(1, state(99), {})
        assert first_weight(store.newest().state) == 1
        assert (folder / "000000000000001" / "state.json").stat().st_ino == before

    def test_existing_damaged_checkpoint_is_replaced(self, store: CheckpointStore, folder: Path) -> None:
        save_all(store, 1)
        (folder / "000000000000001" / "state.json").write_bytes(b"{}")
        store.save(1, state(99), {})
        assert first_weight(store.newest().state) == 99
        assert (folder / "damaged-000000000000001-1").is_dir()

    def test_what_cannot_be_saved_is_said_at_once(self, store: CheckpointStore) -> None:
        with pytest.raises(TypeError, match="algorithm"):
            store.save(1, {"algorithm": object()}, {})
        assert list(store.list()) == []


class TestKeeping:
    def test_newest_and_best_are_kept(self, store: CheckpointStore) -> None:
        for frames in range(1, 8):
            store.save(frames, state(frames), {}, best=frames == 2, evaluation_mean=1.5)
        assert list(store.list()) == [2, 5, 6, 7]
        assert store.best_record() == BestRecord(2, 1.5)
        assert first_weight(store.best().state) == 2

    def test_a_new_best_frees_the_old_one(self, store: CheckpointStore, folder: Path) -> None:
        for frames in range(1, 8):
            store.save(frames, state(frames), {}, best=frames in (1, 3), evaluation_mean=float(frames))
        assert list(store.list()) == [3, 5, 6, 7]
        assert json.loads((folder / "best.json").read_text()) == {"frames": 3, "evaluation_mean": 3.0}

    def test_best_is_known_again_after_reopening(self, store: CheckpointStore, folder: Path) -> None:
        store.save(1, state(1), {}, best=True, evaluation_mean=float("nan"))
        save_all(store, 2)
        assert CheckpointStore(folder, read_only=True).best_record() == BestRecord(1, None)

    @pytest.mark.parametrize("content", [None, b"", b"[]", b'{"frames": "x"}', b"[" * 4000, b'{"frames": 999}'])
    def test_best_is_known_without_its_file(self, store: CheckpointStore, folder: Path, content: bytes | None) -> None:
        store.save(1, state(1), {}, best=True, evaluation_mean=1.0)
        save_all(store, 2)
        if content is None:
            (folder / "best.json").unlink()
        else:
            (folder / "best.json").write_bytes(content)
        again = CheckpointStore(folder, keep=1)
        assert again.best().frames == 1
        save_all(again, 3, 4)
        assert list(again.list()) == [1, 4]
        again.close()

    def test_order_is_by_frames_not_by_clock(self, store: CheckpointStore, folder: Path) -> None:
        save_all(store, 300, 200)
        os.utime(folder / "000000000000300", (1, 1))
        assert store.newest().frames == 300

    def test_the_one_just_saved_is_never_collected(self, store: CheckpointStore) -> None:
        save_all(store, 10, 20, 30, 5)
        assert list(store.list()) == [5, 10, 20, 30]

    def test_leftovers_of_a_killed_save_are_removed_by_the_writer_only(self, folder: Path) -> None:
        for name in (".saving-000000000000001", ".removing-000000000000002", "segments"):
            (folder / name).mkdir(parents=True)
            (folder / name / ".saving-x").touch()
        CheckpointStore(folder, read_only=True)
        assert len(os.listdir(folder)) == 3
        CheckpointStore(folder).close()
        assert os.listdir(folder) == ["segments"]
        assert os.listdir(folder / "segments") == []


class TestSegments:
    def test_written_once_named_by_hash_and_collected(self, store: CheckpointStore, folder: Path) -> None:
        old, new = (Segment({"observation": torch.arange(size)}) for size in (5, 6))
        store.save(1, state(), {}, segments=[old])
        store.wait()
        assert old.sha256 is not None
        path = folder / "segments" / f"{old.sha256}.safetensors"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == old.sha256
        before = path.stat().st_ino
        store.save(2, state(), {}, segments=[Segment(sha256=old.sha256), new])
        loaded = store.newest()
        assert path.stat().st_ino == before
        assert [(segment.tensors or {})["observation"].numel() for segment in loaded.segments] == [5, 6]
        assert store.newest(segments=False).segments == []
        for frames in (3, 4, 5):
            store.save(frames, state(), {}, segments=[new])
        store.wait()
        assert os.listdir(folder / "segments") == [f"{new.sha256}.safetensors"]

    def test_views_of_one_buffer_are_saved_alone(self, store: CheckpointStore) -> None:
        buffer = torch.arange(1000)
        store.save(1, {}, {}, segments=[Segment({"x": buffer[10:13], "y": buffer[11:14], "z": buffer[::500]})])
        (segment,) = store.newest().segments
        assert segment.tensors is not None
        assert segment.tensors["x"].tolist() == [10, 11, 12]
        assert segment.tensors["y"].tolist() == [11, 12, 13]
        assert segment.tensors["z"].tolist() == [0, 500]

    def test_content_is_read_when_it_is_asked_for(self, store: CheckpointStore, folder: Path) -> None:
        saved = [Segment({"x": torch.full((3,), value)}) for value in (1.0, 2.0)]
        store.save(1, state(), {}, segments=saved)
        first, second = store.newest().segments
        assert first.tensors is not None
        first.tensors = None  # dropped for good: its file is not read again
        assert first.tensors is None
        path = folder / "segments" / f"{second.sha256}.safetensors"
        path.write_bytes(path.read_bytes()[::-1])
        with pytest.raises(StorageError, match="changed after it was checked") as caught:
            _ = second.tensors
        assert caught.value.place == str(path)

    def test_a_save_reads_no_earlier_segment(
        self, store: CheckpointStore, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = [Segment({"x": torch.full((3,), float(number))}) for number in range(20)]
        store.save(1, state(), {}, segments=old)
        store.wait()
        packed, read = [], []
        pack, compare = checkpoint_writer.pack_tensors, Stamp._compare
        monkeypatch.setattr(checkpoint_writer, "pack_tensors", lambda tensors: packed.append(1) or pack(tensors))
        monkeypatch.setattr(Stamp, "_compare", lambda *arguments: read.append(1) or compare(*arguments))
        for frames in (2, 3, 4, 5):
            store.save(frames, state(), {}, segments=[*old, Segment({"x": torch.full((3,), 100.0 + frames)})])
        store.wait()
        assert (len(packed), len(read)) == (4, 0)

    def test_damaged_segment_spoils_what_names_it(self, store: CheckpointStore, folder: Path) -> None:
        save_all(store, 1)
        segment = Segment({"x": torch.zeros(3)})
        store.save(2, state(2), {}, segments=[segment])
        store.wait()
        (folder / "segments" / f"{segment.sha256}.safetensors").write_bytes(b"x" * 100)
        assert store.newest(segments=False).frames == 2
        assert store.newest().frames == 1

    def test_unknown_hash_fails_the_save(self, store: CheckpointStore) -> None:
        save_all(store, 1)
        store.save(2, state(), {}, segments=[Segment(sha256="0" * 64)])
        with pytest.raises(StorageError, match="segment"):
            store.wait()
        assert list(store.list()) == [1]


class TestDamage:
    def test_every_kind_of_change_is_found(self, store: CheckpointStore, folder: Path, tmp_path: Path) -> None:
        save_all(store, 1, 2)
        draw = random.Random(0)
        newest = "000000000000002"
        for number in range(300):
            copy = tmp_path / f"copy{number}"
            shutil.copytree(folder, copy)
            change(copy / newest, draw)
            loaded = CheckpointStore(copy, read_only=True).newest()
            assert (loaded.frames, len(loaded.notes)) == (1, 1), number
            assert "checkpoint 2 is damaged" in loaded.notes[0]
            shutil.rmtree(copy)

    def test_damaged_one_is_renamed_aside_with_its_files(self, store: CheckpointStore, folder: Path) -> None:
        save_all(store, 1, 2)
        (folder / "000000000000002" / "state.safetensors").write_bytes(b"rot")
        loaded = store.newest()
        assert loaded.frames == 1
        assert "damaged-000000000000002-1" in loaded.notes[0]
        assert store.warnings == loaded.notes
        assert (folder / "damaged-000000000000002-1" / "state.safetensors").read_bytes() == b"rot"
        save_all(store, 2)
        assert first_weight(store.newest().state) == 2

    def test_damaged_best_gives_the_newest_and_says_so(self, store: CheckpointStore, folder: Path) -> None:
        store.save(1, state(1), {}, best=True)
        save_all(store, 2)
        (folder / "000000000000001" / "state.json").unlink()
        loaded = store.best()
        assert loaded.frames == 2
        assert "checkpoint 1 is damaged" in loaded.notes[0]
        assert "newest" in loaded.notes[1]
        assert store.best_record() is None

    def test_no_valid_checkpoint(self, store: CheckpointStore, folder: Path) -> None:
        with pytest.raises(NoCheckpointError):
            store.newest()
        save_all(store, 1)
        (folder / "000000000000001" / "manifest.json").write_bytes(b"")
        with pytest.raises(NoCheckpointError, match="checkpoint 1 is damaged"):
            store.newest()

    def test_at_has_no_substitute(self, store: CheckpointStore, folder: Path) -> None:
        save_all(store, 1, 2)
        assert store.at(1).frames == 1
        with pytest.raises(NoCheckpointError, match="frame 3") as caught:
            store.at(3)
        assert caught.value.hint == "there are checkpoints of 1, 2"
        (folder / "000000000000002" / "state.json").unlink()
        with pytest.raises(NoCheckpointError, match="damaged"):
            store.at(2)

    def test_foreign_files_are_named_and_harmless(self, store: CheckpointStore, folder: Path) -> None:
        save_all(store, 1)
        (folder / "000000000000001" / "notes.txt").touch()
        (folder / "000000000000001" / ".DS_Store").touch()
        loaded = store.newest()
        assert loaded.frames == 1
        assert loaded.notes == ["checkpoint 1 holds files that rl2 did not write: notes.txt"]

    def test_unreadable_is_not_taken_for_damaged(
        self, store: CheckpointStore, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_all(store, 1, 2)
        real = read_regular

        def faulty(path: Path, max_bytes: int) -> bytes:
            if path.parent.name == "000000000000002":
                raise OSError(errno.EIO, "Input/output error")
            return real(path, max_bytes)

        monkeypatch.setattr(checkpoint_format, "read_regular", faulty)
        loaded = store.newest()
        assert loaded.frames == 1
        assert "cannot be read" in loaded.notes[0]
        assert (folder / "000000000000002").is_dir()

    def test_read_only_changes_nothing(self, store: CheckpointStore, folder: Path) -> None:
        save_all(store, 1, 2)
        (folder / "000000000000002" / "state.json").unlink()
        before = sorted(folder.rglob("*"))
        reader = CheckpointStore(folder, read_only=True)
        assert reader.newest().frames == 1
        with pytest.raises(StorageError, match="reading only"):
            reader.save(3, state(), {})
        assert sorted(folder.rglob("*")) == before


def change(path: Path, draw: random.Random) -> None:
    """Flip a bit, cut, lengthen, empty or remove a file, or exchange it for another's content."""
    target = path / draw.choice(["manifest.json", "state.json", "state.safetensors"])
    content = bytearray(target.read_bytes())
    kind = draw.choice(["flip", "flip", "flip", "cut", "longer", "remove", "other"])
    position = draw.randrange(len(content))
    if kind == "flip":
        content[position] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del content[position:]
    elif kind == "longer":
        content += b" "
    elif kind == "other":
        content = bytearray((path.parent / "000000000000001" / target.name).read_bytes())
    target.unlink()
    if kind != "remove":
        target.write_bytes(content)


class TestHostile:
    @pytest.mark.parametrize(
        "alter",
        [
            lambda body: body["files"].update({"../../secret": body["files"]["state.json"]}),
            lambda body: body["files"].pop("state.json"),
            lambda body: body["files"].update({"state.json": {"size": 2**62, "sha256": "0" * 64}}),
            lambda body: body["files"].update({"state.json": {"size": -1, "sha256": "0" * 64}}),
            lambda body: body.update(files=[]),
            lambda body: body.update(frames=1),
            lambda body: body.update(frames="2"),
            lambda body: body.update(segments=[{"size": 1, "sha256": "../../../../etc/passwd"}]),
            lambda body: body.update(segments=[{"size": 1, "sha256": "/" + "0" * 63}]),
            lambda body: body.update(segments=7),
            lambda body: body.update(best={"frames": -1}),
            lambda body: body.update(format_version=0),
            lambda body: body.update(format_version=True),
            lambda body: body.clear(),
        ],
        ids=range(14),
    )
    def test_sealed_manifest_is_still_checked(
        self, store: CheckpointStore, folder: Path, alter: Callable[[dict[str, Any]], None]
    ) -> None:
        save_all(store, 1, 2)
        seal(folder / "000000000000002", alter)
        assert store.newest().frames == 1

    @pytest.mark.parametrize(
        "content",
        [b"[" * 200_000, b'{"a":' * 200_000, b"9" * 10_000, b"null", b"\xff\xfe", b'{"manifest": NaN, "sha256": 1}'],
        ids=range(6),
    )
    @pytest.mark.parametrize("name", ["manifest.json", "state.json", "state.safetensors"])
    def test_hostile_content_is_just_damage(
        self, store: CheckpointStore, folder: Path, name: str, content: bytes
    ) -> None:
        save_all(store, 1, 2)
        path = folder / "000000000000002"
        (path / name).write_bytes(content)
        if name != "manifest.json":
            stamp = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            seal(path, lambda body: body["files"].update({name: stamp}))
        assert store.newest().frames == 1

    @pytest.mark.parametrize("name", ["manifest.json", "state.json", "state.safetensors"])
    @pytest.mark.parametrize("posix", [True, False])
    def test_links_are_not_followed(
        self, store: CheckpointStore, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, posix: bool
    ) -> None:
        if not posix:
            monkeypatch.delattr(os, "O_NOFOLLOW")
        save_all(store, 1, 2)
        target = folder / "000000000000002" / name
        target.rename(folder / "elsewhere")
        target.symlink_to(folder / "elsewhere")
        assert store.newest().frames == 1

    def test_pipe_does_not_hang(self, store: CheckpointStore, folder: Path) -> None:
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes with names on this platform")
        save_all(store, 1, 2)
        target = folder / "000000000000002" / "manifest.json"
        target.unlink()
        os.mkfifo(target)
        assert store.newest().frames == 1

    def test_linked_folders_are_neither_listed_nor_written(self, tmp_path: Path, folder: Path) -> None:
        store = CheckpointStore(tmp_path / "real")
        save_all(store, 1)
        store.close()
        folder.mkdir()
        (folder / "000000000000001").symlink_to(tmp_path / "real" / "000000000000001")
        assert list(CheckpointStore(folder, read_only=True).list()) == []
        (folder / "segments").symlink_to(tmp_path / "real")
        with pytest.raises(StorageError, match="link"):
            CheckpointStore(folder)

    def test_newer_format_is_refused_not_skipped(self, store: CheckpointStore, folder: Path) -> None:
        save_all(store, 1, 2)
        seal(folder / "000000000000002", lambda body: body.update(format_version=2))
        loads: list[Callable[[], object]] = [store.newest, lambda: store.at(2)]
        for load in loads:
            with pytest.raises(UsageError, match="format 2") as caught:
                load()
            assert "newer rl2" in (caught.value.hint or "")
        assert list(store.list()) == [1, 2]


class TestDiskFaults:
    @pytest.mark.parametrize(
        ("name", "number"),
        [("fsync", errno.ENOSPC), ("rename", errno.EIO), ("replace", errno.EROFS), ("mkdir", errno.ENOSPC)],
    )
    def test_fault_in_every_call_leaves_the_earlier_checkpoint(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
    ) -> None:
        for count in range(12):
            store = CheckpointStore(folder, keep=1)
            save_all(store, 1)
            with monkeypatch.context() as patch:
                failing = fail_at(patch, name, count, number)
                store.save(2, state(2), {}, best=True, segments=[Segment({"x": torch.zeros(3)})])
                error = store._pending.exception() if store._pending else None
            if not failing():
                store.close()
                break
            assert isinstance(error, StorageError)
            with pytest.raises(StorageError, match="failed"):
                store.save(3, state(3), {})
            assert not list(folder.rglob(".saving*"))
            assert store.newest().frames in (1, 2)
            save_all(store, 4)  # the disk is well again
            assert store.newest().frames == 4
            store.close()
            shutil.rmtree(folder)
        assert 0 < count < 11  # every such call has failed once

    def test_error_is_said_by_wait_and_training_may_go_on(
        self, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_all(store, 1)
        with monkeypatch.context() as patch:
            fail_at(patch, "fsync", 0, errno.ENOSPC)
            store.save(2, state(2), {}, best=True)
            with pytest.raises(StorageError, match="disk is full") as caught:
                store.wait()
        assert caught.value.hint is not None
        assert store.best_record() is None
        save_all(store, 3)
        assert list(store.list()) == [1, 3]

    def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match="opening the checkpoints"):
            CheckpointStore(tmp_path / "file" / "checkpoints")

    def test_platform_without_posix_calls(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"):
            monkeypatch.delattr(os, name)
        store = CheckpointStore(folder, keep=1)
        save_all(store, 1, 2)
        assert store.newest().frames == 2
        store.close()


def fail_at(patch: pytest.MonkeyPatch, name: str, count: int, number: int) -> Callable[[], bool]:
    """Make the call number `count` of `os.<name>` raise; the result says whether that happened."""
    real = getattr(os, name)
    calls = iter(range(10**6))
    failed: list[bool] = []

    def faulty(*arguments: Any, **options: Any) -> Any:
        if next(calls) == count:
            failed.append(True)
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    patch.setattr(os, name, faulty)
    return lambda: bool(failed)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from rl2cli.segment import Segment
from rl2cli.training.checkpoint import CheckpointStore

def killing(real, calls=iter(range(10**6)), at=None):
    def call(*arguments, **options):
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call

def save(folder, at):
    store = CheckpointStore(folder, keep=1)
    calls = iter(range(10**6))
    for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir"):
        setattr(os, name, killing(getattr(os, name), calls, at))
    store.save(2, {"w": torch.full((4,), 2.0)}, {}, best=True, segments=[Segment({"x": torch.zeros(3)})])
    store.close()

for at in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        save(Path(sys.argv[1]) / str(at), at)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        break
    print(at)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the killed processes are forks")
def test_kill_at_every_point_of_a_save_leaves_a_valid_checkpoint(tmp_path: Path) -> None:
    points = 40
    store = CheckpointStore(tmp_path / "0", keep=1)
    store.save(1, {"w": torch.ones(4)}, {}, best=True)
    store.close()
    for at in range(1, points):
        shutil.copytree(tmp_path / "0", tmp_path / str(at))
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(points)]
    killed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert 10 < len(killed) < points  # so every point was reached
    for point in killed:
        store = CheckpointStore(tmp_path / point, keep=1)
        loaded = store.newest()
        assert loaded.state["w"].tolist() == [loaded.frames] * 4
        assert not loaded.notes
        assert store.best().frames in (1, 2)
        store.save(3, {"w": torch.full((4,), 3.0)}, {})
        assert store.newest().frames == 3
        store.close()


def test_a_checkpoint_is_superseded_in_one_step(
    folder: Path, store: CheckpointStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(store, 1)
    store.save(1, state(7.0), {})
    store.wait()
    assert first_weight(store.newest().state) == 1.0  # what is there and valid stays
    store.save(1, state(7.0), {}, supersede=True)
    store.wait()
    assert first_weight(store.newest().state) == 7.0
    assert sorted(path.name for path in folder.iterdir()) == [f"{1:015}", "segments"]
    rename = os.rename

    def fails(source: Any, target: Any) -> None:
        if Path(source).name.startswith(".saving-"):
            raise OSError(errno.EIO, "no")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fails)
        store.save(1, state(8.0), {}, supersede=True)
        with pytest.raises(StorageError):
            store.wait()
    assert first_weight(store.newest().state) == 7.0


@pytest.mark.parametrize("with_new", [False, True])
def test_a_kill_while_one_is_superseded_loses_none(folder: Path, store: CheckpointStore, with_new: bool) -> None:
    save_all(store, 1)
    checkpoint = folder / f"{1:015}"
    shutil.copytree(checkpoint, folder / f".saving-{1:015}")
    checkpoint.rename(folder / f".superseded-{1:015}")
    if with_new:
        (folder / f".saving-{1:015}").rename(checkpoint)
    other = CheckpointStore(folder)
    assert first_weight(other.newest().state) == 1.0
    assert sorted(path.name for path in folder.iterdir()) == [f"{1:015}", "segments"]
    other.close()
