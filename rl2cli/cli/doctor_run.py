"""What `rl2 doctor` says about a run: which checkpoints can be gone on with, and the digest of one."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rl2cli.cli.found_run import find
from rl2cli.cli.output import emit, emit_json, emit_lines, note
from rl2cli.errors import NoCheckpointError
from rl2cli.reporting.figures import count, significant
from rl2cli.training.run_folder import RunFolder

if TYPE_CHECKING:
    from rl2cli.training.run_check import CheckedCheckpoint, RunCheck


def print_digest(where: str | None, *, as_json: bool) -> int:
    """Print the digest of the last checkpoint of a run, or of the checkpoint that `where` names."""
    from rl2cli.training.checkpoint import CheckpointStore
    from rl2cli.training.digest import digest_of

    found = find(where)
    folder = RunFolder.open(found.path)
    store = CheckpointStore(folder.checkpoints, read_only=True)
    try:
        checkpoint = store.newest() if found.checkpoint is None else store.at(found.checkpoint)
    finally:
        store.close()
    for text in checkpoint.notes:
        note(f"warning: {text}")
    digest = digest_of(checkpoint, folder.metrics)
    if as_json:
        emit_json({"run_dir": str(found.path), "frames": digest.frames, "digest": digest.whole, "parts": digest.parts})
        return 0
    note(f"the checkpoint of {count(digest.frames)} frames")
    emit(digest.whole)
    return 0


def print_check(where: str | None, *, as_json: bool) -> int:
    """Print what of a run can be gone on with; return the exit code, 0 where its last checkpoint is good."""
    from rl2cli.training.run_check import check_run

    folder = RunFolder.open(find(where).path)
    check = check_run(folder)
    if as_json:
        emit_json(_as_json(folder, check))
    else:
        emit_lines(_lines(folder, check))
    return 0 if check.is_good else NoCheckpointError.exit_code


def _as_json(folder: RunFolder, check: RunCheck) -> dict[str, object]:
    source = check.resumes_from
    return {
        "run_dir": str(folder.path),
        "status": folder.state(),
        "is_good": check.is_good,
        "resumes_from": None if source is None else source.frames,
        "best": None if check.best is None else vars(check.best),
        "checkpoints": [
            {
                "frames": each.frames,
                "path": str(each.path),
                "damage": each.damage,
                "problems": each.problems,
                "is_exact": each.is_exact,
                "bytes": each.num_bytes,
            }
            for each in check.checkpoints
        ],
        "moved_aside": check.aside,
    }


def _lines(folder: RunFolder, check: RunCheck) -> list[str]:
    lines = [f"run          {folder.path}", f"status       {folder.state()}"]
    lines += ["", *_table(check)] if check.checkpoints else ["checkpoints  none"]
    if check.aside:
        lines += ["", "damaged before, and moved aside:", *(f"  {name}" for name in check.aside)]
    return [*lines, "", _advice(folder, check)]


def _table(check: RunCheck) -> list[str]:
    from rl2cli.training.room import in_words

    rows = [("frames", "size", "episodes", "")]
    for each in check.checkpoints:
        episodes = "-" if each.damage else "go on" if each.is_exact else "begin anew"
        rows.append(
            (
                count(each.frames),
                "-" if each.damage else in_words(each.num_bytes),
                episodes,
                _verdict(each, check),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"{frames:>{widths[0]}}  {size:>{widths[1]}}  {episodes:<{widths[2]}}  {verdict}".rstrip()
        for frames, size, episodes, verdict in rows
    ]


def _verdict(each: CheckedCheckpoint, check: RunCheck) -> str:
    if each.damage is not None:
        return f"DAMAGED: {each.damage}"
    best = check.best
    words = ["good" if each.is_good else f"can be loaded, but {'; '.join(each.problems)}"]
    if best is not None and best.frames == each.frames:
        words.append("the best" + ("" if best.evaluation_mean is None else f", {significant(best.evaluation_mean)}"))
    return "; ".join(words)


def _advice(folder: RunFolder, check: RunCheck) -> str:
    source = check.resumes_from
    if source is None:
        return "nothing of this run can be gone on with"
    return f"from {count(source.frames)} frames: rl2 resume {shlex.quote(str(folder.path))}"
