"""Damages the checkpoints of real runs and loads them: nothing may pass unseen, and nothing may end in a traceback.

`python tests/rigs/mutate_checkpoints.py --count 10000 --seed 1`. For each damage the newest checkpoint that it left
whole has to be loaded, bit for bit as it was saved, and each newer one has to be named with the file that is damaged.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import mutations
import rig_runs
from mutations import Copy, Damage

from rl2cli.errors import NoCheckpointError
from rl2cli.training.checkpoint import CheckpointStore
from rl2cli.training.checkpoint_folder import Checkpoint, CheckpointFolder
from rl2cli.training.checkpoint_format import MANIFEST_FILE, Manifest

Seen = Counter[str]


class Subject:
    """A run's checkpoints, what they were, and which file belongs to which."""

    def __init__(self, run: Path) -> None:
        self.path = run / "checkpoints"
        self.copy = Copy(self.path)
        self.digests = rig_runs.digests(run)
        folder = CheckpointFolder(self.path)
        self.files: dict[int, set[Path]] = {}
        for frames in self.digests:
            inside = folder.checkpoint(frames)
            stamps = Manifest.read(inside).segments
            own = {inside / name for name in Manifest.read(inside).file_names()}
            self.files[frames] = own | {folder.segment(stamp.sha256) for stamp in stamps} | {inside}

    def damage(self, draw: random.Random) -> Damage:
        """Damage something; return what."""
        kind = draw.random()
        if kind < 0.8:
            return self._one_file(draw)
        return draw.choice([self._swap, self._swap_checkpoints, self._copy_checkpoint, self._drop, self._extra])(draw)

    def whole(self, damage: Damage) -> list[int]:
        """Return the checkpoints that `damage` left as they were, ascending."""
        return sorted(frames for frames, files in self.files.items() if not files & damage.hit)

    def _one_file(self, draw: random.Random) -> Damage:
        path = draw.choice(sorted(path for files in self.files.values() for path in files if path.is_file()))
        how = draw.choice(mutations.FILE_DAMAGE)
        how(path, draw)
        return Damage(f"{how.__name__} {_kind(path)}", {path})

    def _swap(self, draw: random.Random) -> Damage:
        """Swap two files: of one checkpoint, or of two."""
        paths = sorted({path for files in self.files.values() for path in files if path.is_file()})
        one, other = draw.sample(paths, 2)
        contents = one.read_bytes(), other.read_bytes()
        one.write_bytes(contents[1])
        other.write_bytes(contents[0])
        return Damage("swap files", {one, other} if contents[0] != contents[1] else set())

    def _swap_checkpoints(self, draw: random.Random) -> Damage:
        one, other = (CheckpointFolder(self.path).checkpoint(frames) for frames in draw.sample(sorted(self.files), 2))
        aside = self.path / "aside"
        one.rename(aside)
        other.rename(one)
        aside.rename(other)
        return Damage("swap checkpoints", {one, other})

    def _copy_checkpoint(self, draw: random.Random) -> Damage:
        """Make an old checkpoint pass for the newest."""
        folder = CheckpointFolder(self.path)
        later = folder.checkpoint(max(self.files) + draw.randrange(1, 10**6))
        shutil.copytree(folder.checkpoint(draw.choice(sorted(self.files))), later)
        return Damage("copy a checkpoint", {later})

    def _drop(self, draw: random.Random) -> Damage:
        """Leave a checkpoint's folder empty."""
        inside = CheckpointFolder(self.path).checkpoint(draw.choice(sorted(self.files)))
        for path in inside.iterdir():
            path.unlink()
        return Damage("empty a checkpoint", {inside})

    def _extra(self, draw: random.Random) -> Damage:
        inside = CheckpointFolder(self.path).checkpoint(draw.choice(sorted(self.files)))
        extra = inside / draw.choice(["state.pkl", "data.pt", "state2.json", "__init__.py"])
        extra.write_bytes(draw.randbytes(20))
        return Damage("extra file", set(), extra)


def _kind(path: Path) -> str:
    return "segment" if path.parent.name == "segments" else path.name


def check(subject: Subject, damage: Damage, read_only: bool) -> list[str]:
    """Load what is left after `damage`, and return what is wrong with that."""
    whole = subject.whole(damage)
    store = CheckpointStore(subject.path, read_only=read_only)
    try:
        loaded = store.newest()
    except NoCheckpointError as error:
        wrong = [f"nothing was loaded, and {whole} are whole"] if whole else []
        return wrong + _unnamed(subject, damage, -1, error.message)
    except Exception as error:
        return [f"a traceback: {type(error).__name__}: {error}"]
    finally:
        store.close()
    return _wrong(subject, damage, loaded, whole)


def _wrong(subject: Subject, damage: Damage, loaded: Checkpoint, whole: list[int]) -> list[str]:
    if not whole or loaded.frames != whole[-1]:
        return [f"{loaded.frames} was loaded; whole are {whole}"]
    if rig_runs.digest(loaded) != subject.digests[loaded.frames]:
        return [f"{loaded.frames} was loaded, changed"]
    notes = "; ".join(loaded.notes)
    if damage.extra is not None and damage.extra.parent.name == loaded.path.name and damage.extra.name not in notes:
        return [f"silent about {damage.extra.name}: {notes!r}"]
    return _unnamed(subject, damage, loaded.frames, notes)


def _unnamed(subject: Subject, damage: Damage, above: int, notes: str) -> list[str]:
    """Return each damaged checkpoint of more frames than `above` that `notes` does not name with a file of it."""
    folder, wrong = CheckpointFolder(subject.path), []
    for frames, files in subject.files.items():
        hit = files & damage.hit
        names = {path.name for path in hit} | ({MANIFEST_FILE} if folder.checkpoint(frames) in hit else set())
        said = f"checkpoint {frames} is damaged" in notes and any(name in notes for name in names)
        if frames > above and hit and not said:
            wrong.append(f"silent about {frames}: {notes!r}")
    return wrong


def run(count: int, seed: int, subjects: list[Subject]) -> tuple[Seen, list[str]]:
    """Damage `count` times; return how often what was done, and the failures."""
    seen: Seen = Counter()
    failures: list[str] = []
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        subject = draw.choice(subjects)
        damage = subject.damage(draw)
        seen[damage.what] += 1
        problems = check(subject, damage, read_only=draw.random() < 0.7)
        failures += [f"seed {seed}, number {number}, {damage.what}: {problem}" for problem in problems]
        subject.copy.mend()
    return seen, failures


def make_subjects(root: Path, kinds: tuple[str, ...] = rig_runs.KINDS) -> list[Subject]:
    """Train the runs to damage."""
    return [Subject(rig_runs.train(kind, root / kind)) for kind in kinds]


def main() -> int:
    """Run the rig as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    before = time.process_time()
    with tempfile.TemporaryDirectory() as root:
        seen, failures = run(arguments.count, arguments.seed, make_subjects(Path(root)))
    for what, number in sorted(seen.items()):
        print(f"{number:6} {what}")
    print(json.dumps({"mutations": sum(seen.values()), "failures": len(failures), "cpu": time.process_time() - before}))
    print("\n".join(failures[:50]) or "no failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
