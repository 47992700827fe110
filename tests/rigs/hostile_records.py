"""The places where a run folder says a name: its files, what is drawn from them, what is written into it."""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nasty_names
import torch
from captured import Said, captured, command

sys.path.insert(0, str(Path(__file__).parents[1] / "results"))
import made_run

from rl2cli.cli import failure
from rl2cli.errors import NonFiniteError
from rl2cli.training.checkpoint import CheckpointStore
from rl2cli.training.journal import Journal
from rl2cli.training.nan_report import write_nan_report
from rl2cli.training.run_folder import RunFolder


def hostile_run(text: str, draw: random.Random) -> Path:
    """Make the folder of a run whose files say `text` wherever they can."""
    outputs = Path("outputs", "small")
    run = outputs / draw.choice(("run", nasty_names.as_file_name(text)))
    for old in list(outputs.iterdir()) if outputs.is_dir() else []:
        shutil.rmtree(old)
    facts = {
        "command": ["rl2", text, "x"],
        "choices": [text, "y"],
        "versions": {text: text, "torch": text},
        "cpu": text,
        "gpus": [text],
        "os": text,
        "python": text,
        "git": {"commit": text, "dirty": True},
        "plan": {text: text, "z": [text]},
        "name": text,
        "exact": False,
        "resumed": [{"resumed_from": 1, "at": text}],
    }
    rows = [{"frames": 700, text: 1.0, f"loss/{text}": 2.0}, {"frames": 800, "rollout/return_mean": text}]
    made_run.make_run(run, name=text, rows=rows, returns=(10.0, text, 30.0), facts=facts)
    settings = (run / "resolved.toml").read_text(encoding="utf-8")
    if draw.random() < 0.7:
        quoted = json.dumps(text)
        settings = (
            settings.replace('"CartPole-v1"', quoted).replace('"mlp"', quoted).replace('"ppo"', quoted)
            + f"{quoted} = {quoted}\n"
        )
    (run / "resolved.toml").write_bytes(settings.encode("utf-8", "surrogatepass"))
    _hostile_records(run, text, draw)
    return run


def _hostile_records(run: Path, text: str, draw: random.Random) -> None:
    best = {"frames": 3000, "mean_return": 30.0, "checkpoint": text}
    summary = {
        "status": draw.choice(("finished", text)),
        "frames": 3000,
        "total_frames": 3000,
        "best": best,
        "inexact": [text],
        "unsaved": text,
    }
    (run / "summary.json").write_text(json.dumps(summary))
    events = [
        {"event": text, "time": 1000.0, "frames": 1},
        {"event": "note", "time": 1001.0, "frames": 2, "text": text, text: text},
    ]
    made_run.write_rows(
        run / "timings.jsonl", [*events, {"event": "start", "time": 1002.0, "frames": 3, "choices": text}]
    )
    (run / "log.txt").write_bytes(text.encode("utf-8", "surrogatepass"))
    name = nasty_names.as_file_name(text)
    for folder in ("checkpoints", "videos"):
        (run / folder).mkdir()
    for path in (run / "checkpoints" / f"damaged-{name}", run / "checkpoints" / "000000000000300"):
        path.mkdir(exist_ok=True)
    (run / "checkpoints" / "000000000000300" / "manifest.json").write_text(
        json.dumps({"format_version": text, "files": {text: text}})
    )
    (run / "checkpoints" / "best.json").write_text(json.dumps({"frames": 300, "evaluation_mean": text}))
    (run / "videos" / f"{name[:80]}.gif").write_bytes(b"GIF89a" + bytes(200))
    (run / ".lock-holder").unlink(missing_ok=True)


_ASK_RUN = (
    ["show", "{run}"],
    ["show", "{run}", "--json"],
    ["list", "runs"],
    ["list", "runs", "--json"],
    ["doctor", "{run}"],
    ["doctor", "{run}", "--json"],
    ["compare", "{run}", "--json"],
    ["compare", "{run}", "--metric", "none", "--json"],
    ["infer", "{run}"],
    ["resume", "{run}"],
    ["doctor", "{run}", "--digest"],
    ["export", "{run}"],
    ["resume", "{run}", "--json"],
)
_DRAW_RUN = (
    ["report", "{run}", "--out", "page.html"],
    ["compare", "{run}", "{other}", "--out", "page.html"],
    ["compare", "{run}", "--out", "page.svg"],
    ["compare", "{run}", "--metric", "{metric}", "--out", "page.png"],
)


def runs(text: str, draw: random.Random, terminal: bool) -> Said:
    """The files of a run folder, and its name."""
    run = hostile_run(text, draw)
    return command([word.replace("{run}", str(run)) for word in draw.choice(_ASK_RUN)], terminal)


def pages(text: str, draw: random.Random, terminal: bool) -> Said:
    """The pages and pictures that are drawn from a run folder."""
    run, other = hostile_run(text, draw), Path("outputs", "other")
    if not other.exists():
        made_run.make_run(other, name="other", seed=2)
    values = {"{run}": str(run), "{other}": str(other), "{metric}": nasty_names.as_argument(text) or "x"}
    for page in ("page.html", "page.svg", "page.png"):
        Path(page).unlink(missing_ok=True)
    return command([values.get(word, word) for word in draw.choice(_DRAW_RUN)], terminal)


def checkpoints(text: str, draw: random.Random, terminal: bool) -> Said:
    """A checkpoint that is whole, and whose state and settings are not rl2's."""
    run = Path("outputs", "saved")
    shutil.rmtree(run, ignore_errors=True)
    made_run.make_run(run)
    clean = "".join(c for c in text if not "\ud800" <= c <= "\udfff")[:5000]
    spec = {
        "name": clean,
        "total_frames": 100,
        clean: clean,
        "env": {"id": clean},
        "algorithm": {"name": draw.choice(("ppo", clean))},
    }
    metadata: dict[str, Any] = {
        "metrics_offset": 0,
        "spec": spec,
        "written_by": clean,
        "rl2": clean,
        "total_frames": clean,
    }
    state = {"frames": 128, "algorithm": {clean: torch.zeros(2), "x": clean}, "collector": clean, clean: {clean: clean}}
    store = CheckpointStore(run / "checkpoints")
    store.save(128, state, metadata, best=True, evaluation_mean=1.0)
    store.close()
    asks = (
        ["doctor", str(run)],
        ["infer", str(run)],
        ["resume", str(run)],
        ["doctor", str(run), "--digest"],
        ["export", str(run), "--json"],
    )
    return command(list(draw.choice(asks)), terminal)


def journals(text: str, draw: random.Random, terminal: bool) -> Said:
    """Names of metrics and texts of events in the files of a run."""
    del draw, terminal
    run = Path("recorded")
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    journal = Journal(RunFolder(run), tensorboard=True)
    journal.iteration(1, {text: 1.0, f"loss/{text}": 2.0})
    journal.event("note", 1, text=text, **{text: text})
    journal.event(text, 1)
    journal.commit()
    journal.close()
    for name in ("metrics.jsonl", "timings.jsonl"):
        for line in (run / name).read_text(encoding="utf-8").splitlines():
            json.loads(line)
    return Said((run / "log.txt").read_text(encoding="utf-8"), "\n".join(_tags(run / "tensorboard")))


def _tags(folder: Path) -> Iterator[str]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    for path in folder.iterdir():
        for event in EventFileLoader(str(path)).Load():
            yield from (value.tag for value in event.summary.value)


def nan_reports(text: str, draw: random.Random, terminal: bool) -> Said:
    """Names of tensors and metrics in the report of a number that is not finite."""
    del draw
    run = Path("poisoned")
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    one = torch.tensor([float("nan")])
    error = NonFiniteError(text, tensors={text: one, f"x/{text}": one}, place=text, hint=text)
    named = SimpleNamespace(
        state_dict=lambda: {text: one},
        get_state=lambda: {text: one},
        rollout=SimpleNamespace(last_steps=lambda _: {text: one}),
    )
    trainer: Any = SimpleNamespace(
        frames=1, iteration=1, metrics={text: 1.0}, collector=named, env=named, algorithm=named
    )
    write_nan_report(run, trainer, error)
    if (run / "nan_report").is_dir():
        json.loads((run / "nan_report" / "report.json").read_text(encoding="utf-8"))
    return captured(lambda: failure.report(error), terminal)
