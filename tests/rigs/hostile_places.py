"""Every place where a name from a user or a file reaches a path or the screen."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import nasty_names
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))
sys.path.insert(0, str(Path(__file__).parents[1] / "results"))
import made_run
import sample_run

from rl2cli.cli import dispatch, failure
from rl2cli.errors import (
    EnvironmentFault,
    MissingDependencyError,
    NoCheckpointError,
    NonFiniteError,
    RL2Error,
    Stopped,
    StorageError,
    UsageError,
)
from rl2cli.reporting.board import Board
from rl2cli.reporting.live import LiveView
from rl2cli.reporting.plain import PlainView, QuietView
from rl2cli.reporting.seeds_view import SeedsView
from rl2cli.reporting.terminal import TerminalScreen
from rl2cli.spec import load_spec_text
from rl2cli.training.checkpoint import CheckpointStore
from rl2cli.training.journal import Journal
from rl2cli.training.nan_report import write_nan_report
from rl2cli.training.run_folder import RunFolder

SPEC = 'name = "small"\ntotal_frames = 3000\n[env]\nid = "CartPole-v1"\nnum_envs = 4\n[algorithm]\nminibatch_size = 64\n'


class Said(NamedTuple):
    """What a place printed."""

    out: str
    err: str
    as_json: bool = False
    several_lines: bool = False


class Stream(io.TextIOWrapper):
    """stdout or stderr, a terminal or not."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="replace", newline="")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Return whether it says that it is a terminal."""
        return self._is_terminal

    def text(self) -> str:
        """Return what was written to it."""
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode("utf-8")


Place = Callable[[str, random.Random, bool], Said]
"""Takes a name; the last argument says whether the screen is a terminal."""


def captured(action: Callable[[], object], terminal: bool, *, as_json: bool = False, lines: bool = False) -> Said:
    """Return what `action` prints."""
    out, err = Stream(terminal), Stream(terminal)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        action()
    return Said(out.text(), err.text(), as_json, lines)


def command(words: list[str], terminal: bool) -> Said:
    """Run one command in this process."""
    return captured(lambda: dispatch.run(words), terminal, as_json="--json" in words)


# --- words of the command line ---

_WORDS = (
    ["{}"], ["--{}"], ["show", "{}"], ["explain", "{}"], ["validate", "{}"], ["validate", "{}.toml"], ["train", "{}"], ["train", "{}", "--json"],
    ["train", "spec.toml", "--set", "{}=1"], ["train", "spec.toml", "--set", 'name="{}"', "--dry-run"], ["train", "spec.toml", "--device", "{}"],
    ["train", "spec.toml", "--set", "env.id={}"], ["train", "spec.toml", "--frames", "{}"], ["list", "{}"], ["list", "runs", "{}"],
    ["list", "adapters", "{}"], ["resume", "{}"], ["resume", "{}", "--json"], ["infer", "{}"], ["infer", "small", "--checkpoint", "{}"],
    ["infer", "small", "--mode", "{}"], ["infer", "small", "--set", "env.{}=1"], ["infer", "small", "--record-video", "--format", "{}"],
    ["infer", "small", "--view", "{}"], ["infer", "small", "--allow-import", "{}"], ["doctor", "{}"], ["doctor", "{}", "--digest"], ["report", "{}"],
    ["compare", "{}", "{}"], ["compare", "small", "--metric", "{}"], ["compare", "small", "--x", "{}"], ["compare", "small", "--out", "none/{}.png"],
    ["export", "{}"], ["export", "small", "--format", "{}"], ["register", "{}"], ["register-adapter", "{}", "my:C"],
    ["register", "module", "{}"], ["register", "remove", "{}"], ["register", "trust", "{}"], ["new", "{}"], ["new", "network", "{}"],
    ["check-env", "{}"], ["check-env", "gymnasium:{}"], ["schema", "{}"], ["bench", "{}"], ["help", "{}"], ["show", "spec.toml", "--set", "{}"],
)  # fmt: skip


def words(text: str, draw: random.Random, terminal: bool) -> Said:
    """A word of a command line."""
    name = nasty_names.as_argument(text)
    return command([word.format(name) if "{}" in word else word for word in draw.choice(_WORDS)], terminal)


# --- specs ---

_SPECS = (
    "name = {}\n" + SPEC.partition("\n")[2], SPEC + "{} = 1\n", "{} = 1\n" + SPEC, SPEC + "[{}]\nx = 1\n", SPEC + "[algorithm.{}]\n",
    SPEC.replace('"CartPole-v1"', "{}"), SPEC + "[network]\nname = {}\n", SPEC.replace("[algorithm]", "[algorithm]\nname = {}"),
    "device = {}\n" + SPEC, SPEC + "[init]\nfrom = {}\n", SPEC.replace("[env]", "[env]\nbackend = {}"), SPEC + "learning_rate = {}\n",
    SPEC.replace("[env]", "[env]\nkwargs = {{ {} = 1 }}"), SPEC + "[network]\nactivation = {}\n", "# {}\n" + SPEC, SPEC + "[checkpoint]\non_storage_error = {}\n",
)  # fmt: skip
_ASK_SPEC = (["validate", "x.toml"], ["show", "x.toml"], ["train", "x.toml", "--dry-run"], ["validate", "x.toml", "--json"])


def specs(text: str, draw: random.Random, terminal: bool) -> Said:
    """A key or a value of a spec."""
    pattern = draw.choice(_SPECS)
    quoted = text if pattern.startswith("#") else json.dumps(text, ensure_ascii=draw.random() < 0.5)
    content = pattern.replace("{{", "{").replace("}}", "}").replace("{}", quoted)
    Path("x.toml").write_bytes(content.encode("utf-8", "surrogatepass"))
    return command(draw.choice(_ASK_SPEC), terminal)


def run_names(text: str, draw: random.Random, terminal: bool) -> Said:
    """The name of a run, and what its folder is then called."""
    del draw

    def make() -> None:
        try:
            loaded = load_spec_text(f"name = {json.dumps(text)}\n" + SPEC.partition("\n")[2], "x.toml")
            folder = RunFolder.create(Path("outputs"), loaded.spec.name, 1)
            folder.close()
            shutil.rmtree(folder.path.parent)
        except RL2Error as error:
            failure.report(error)

    return captured(make, terminal)


# --- what a run folder says ---


def hostile_run(text: str, draw: random.Random) -> Path:
    """Make the folder of a run whose files say `text` wherever they can."""
    outputs = Path("outputs", "small")
    run = outputs / draw.choice(("run", nasty_names.as_file_name(text)))
    for old in list(outputs.iterdir()) if outputs.is_dir() else []:
        shutil.rmtree(old)
    facts = {
        "command": ["rl2", text, "x"], "choices": [text, "y"], "versions": {text: text, "torch": text}, "cpu": text, "gpus": [text], "os": text,
        "python": text, "git": {"commit": text, "dirty": True}, "plan": {text: text, "z": [text]}, "name": text, "exact": False,
        "resumed": [{"resumed_from": 1, "at": text}],
    }  # fmt: skip
    rows = [{"frames": 700, text: 1.0, f"loss/{text}": 2.0}, {"frames": 800, "rollout/return_mean": text}]
    made_run.make_run(run, name=text, rows=rows, returns=(10.0, text, 30.0), facts=facts)
    settings = (run / "resolved.toml").read_text(encoding="utf-8")
    if draw.random() < 0.7:
        quoted = json.dumps(text)
        settings = settings.replace('"CartPole-v1"', quoted).replace('"mlp"', quoted).replace('"ppo"', quoted) + f"{quoted} = {quoted}\n"
    (run / "resolved.toml").write_bytes(settings.encode("utf-8", "surrogatepass"))
    _hostile_records(run, text, draw)
    return run


def _hostile_records(run: Path, text: str, draw: random.Random) -> None:
    best = {"frames": 3000, "mean_return": 30.0, "checkpoint": text}
    summary = {"status": draw.choice(("finished", text)), "frames": 3000, "total_frames": 3000, "best": best, "inexact": [text], "unsaved": text}
    (run / "summary.json").write_text(json.dumps(summary))
    events = [{"event": text, "time": 1000.0, "frames": 1}, {"event": "note", "time": 1001.0, "frames": 2, "text": text, text: text}]
    made_run.write_rows(run / "timings.jsonl", [*events, {"event": "start", "time": 1002.0, "frames": 3, "choices": text}])
    (run / "log.txt").write_bytes(text.encode("utf-8", "surrogatepass"))
    name = nasty_names.as_file_name(text)
    for folder in ("checkpoints", "videos"):
        (run / folder).mkdir()
    for path in (run / "checkpoints" / f"damaged-{name}", run / "checkpoints" / "000000000000300"):
        path.mkdir(exist_ok=True)
    (run / "checkpoints" / "000000000000300" / "manifest.json").write_text(json.dumps({"format_version": text, "files": {text: text}}))
    (run / "checkpoints" / "best.json").write_text(json.dumps({"frames": 300, "evaluation_mean": text}))
    (run / "videos" / f"{name[:80]}.gif").write_bytes(b"GIF89a" + bytes(200))
    (run / ".lock-holder").unlink(missing_ok=True)


_ASK_RUN = (["show", "{run}"], ["show", "{run}", "--json"], ["list", "runs"], ["list", "runs", "--json"], ["doctor", "{run}"], ["doctor", "{run}", "--json"],
            ["compare", "{run}", "--json"], ["compare", "{run}", "--metric", "none", "--json"], ["infer", "{run}"], ["resume", "{run}"],
            ["doctor", "{run}", "--digest"], ["export", "{run}"], ["resume", "{run}", "--json"])  # fmt: skip
_DRAW_RUN = (["report", "{run}", "--out", "page.html"], ["compare", "{run}", "{other}", "--out", "page.html"], ["compare", "{run}", "--out", "page.svg"],
             ["compare", "{run}", "--metric", "{metric}", "--out", "page.png"])  # fmt: skip


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
    spec = {"name": clean, "total_frames": 100, clean: clean, "env": {"id": clean}, "algorithm": {"name": draw.choice(("ppo", clean))}}
    metadata: dict[str, Any] = {"metrics_offset": 0, "spec": spec, "written_by": clean, "rl2": clean, "total_frames": clean}
    state = {"frames": 128, "algorithm": {clean: torch.zeros(2), "x": clean}, "collector": clean, clean: {clean: clean}}
    store = CheckpointStore(run / "checkpoints")
    store.save(128, state, metadata, best=True, evaluation_mean=1.0)
    store.close()
    asks = (["doctor", str(run)], ["infer", str(run)], ["resume", str(run)], ["doctor", str(run), "--digest"], ["export", str(run), "--json"])
    return command(list(draw.choice(asks)), terminal)


# --- what is printed while a run trains ---


def views(text: str, draw: random.Random, terminal: bool) -> Said:
    """Everything that the views of a run show."""
    facts = dataclasses.replace(sample_run.FACTS, run_dir=text, name=text, environment=text, algorithm=text, network=text, device=text, choices=(text,))
    progress = dataclasses.replace(sample_run.PROGRESS, metrics={text: 1.0, f"loss/{text}": 2.0}, shares={text: 1.0})
    summary = dataclasses.replace(sample_run.SUMMARY, run_dir=text, best_checkpoint=text, unsaved=text, inexact=(text,), status=draw.choice(("failed", "finished")))
    kind = draw.randrange(4)

    def show() -> None:
        stream = sys.stderr
        if kind == 3:
            seeds = SeedsView([1, 2])
            for seed, line in ((1, text), (2, f"warning: {text}"), (1, f"frames {text}")):
                seeds.said(seed, line)
            seeds.ended(1, {"frames": 3, "status": text, "best": {"mean_return": 1.0}}, 0)
            seeds.note(text)
            seeds.close()
            return
        view = LiveView(stream) if terminal and kind == 0 else PlainView(stream) if kind < 2 else QuietView(stream)
        view.start(facts)
        view.message(text)
        view.update(progress)
        view.evaluated(sample_run.EVALUATION, progress)
        view.message(text, warning=True)
        view.stop(summary)
        view.close()

    return captured(show, terminal)


def screens(text: str, draw: random.Random, terminal: bool) -> Said:
    """The line under the picture of a policy that is watched in a terminal."""
    del draw

    def show() -> None:
        if terminal:
            with TerminalScreen(sys.stderr) as screen:
                screen.show(np.zeros((4, 4, 3), np.uint8), text)

    return captured(show, terminal)


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
    named = SimpleNamespace(state_dict=lambda: {text: one}, get_state=lambda: {text: one}, rollout=SimpleNamespace(last_steps=lambda _: {text: one}))
    trainer: Any = SimpleNamespace(frames=1, iteration=1, metrics={text: 1.0}, collector=named, env=named, algorithm=named)
    write_nan_report(run, trainer, error)
    if (run / "nan_report").is_dir():
        json.loads((run / "nan_report" / "report.json").read_text(encoding="utf-8"))
    return captured(lambda: failure.report(error), terminal)


# --- errors ---

_ERRORS = (RL2Error, UsageError, EnvironmentFault, StorageError, NoCheckpointError, MissingDependencyError, NonFiniteError)


def errors(text: str, draw: random.Random, terminal: bool) -> Said:
    """Messages, hints and places of errors, and the texts of exceptions that plugins raise."""
    kinds: list[Exception] = [kind(text, hint=text, place=text) for kind in _ERRORS]
    kinds += [Stopped(text, signal_number=2, hint=text, summary={text: text}), OSError(28, text, text), MemoryError(text)]
    cause = EnvironmentFault(text, place=text)
    cause.frames = [(text, 3, text, text)]  # type: ignore[attr-defined]  # those of a worker process
    cause.__cause__ = ValueError(text)
    error = draw.choice([*kinds, cause])
    debug, as_json = draw.random() < 0.3, draw.random() < 0.3
    return captured(lambda: failure.report(error, debug=debug, as_json=as_json), terminal, as_json=as_json, lines=debug)


def plugins(text: str, draw: random.Random, terminal: bool) -> Said:
    """Names, modules and files in a project's `rl2.toml` and in the user's own file."""
    quoted = json.dumps(text)
    table = draw.choice(("adapters", "networks", "algorithms", "modules", quoted))
    entry = draw.choice((f"{quoted} = {quoted}", f'x = {quoted}', f'{quoted} = "my:C"', f"ok = {{ target = {quoted}, folder = {quoted} }}"))
    content = f"[{table}]\n{entry}\n".encode("utf-8", "surrogatepass")
    user = Path(os.environ["XDG_CONFIG_HOME"], "rl2", "plugins.toml")
    user.parent.mkdir(parents=True, exist_ok=True)
    file = draw.choice((Path("rl2.toml"), user))
    file.write_bytes(content)
    asks = (["register", "list"], ["register", "list", "--json"], ["list"], ["list", "networks"], ["register", "trust"], ["show", "ppo"],
            ["validate", "spec.toml"], ["register", "remove", "x"], ["list", "--json"], ["check-env"])  # fmt: skip
    try:
        return command(list(draw.choice(asks)), terminal)
    finally:
        file.unlink(missing_ok=True)


def machine(text: str, draw: random.Random, terminal: bool) -> Said:
    """What `rl2 doctor` says of the machine's settings."""
    del draw
    before = dict(os.environ)
    os.environ["DISPLAY"] = nasty_names.as_argument(text)[:1000]
    try:
        return command(["doctor"], terminal)
    finally:
        os.environ.clear()
        os.environ.update(before)


def boards(text: str, draw: random.Random, terminal: bool) -> Said:
    """The live table alone, at any size."""
    from rich.console import Console

    from rl2cli.reporting.figures import glyphs_for

    facts, progress = dataclasses.replace(sample_run.FACTS, name=text), dataclasses.replace(sample_run.PROGRESS, metrics={f"{text}/{text}": 1.0})
    width = draw.choice((20, 80, 200))

    def show() -> None:
        console = Console(file=sys.stderr, width=width, markup=False, highlight=False, emoji=False)
        console.print(Board(facts, glyphs_for("utf-8"), width, 40).draw(progress))

    return captured(show, terminal)


EVERY: dict[str, tuple[Place, int]] = {
    "words of a command line": (words, 1),
    "specs": (specs, 1),
    "names of runs": (run_names, 1),
    "run folders": (runs, 1),
    "pages and pictures": (pages, 20),
    "checkpoints": (checkpoints, 4),
    "views": (views, 1),
    "live tables": (boards, 2),
    "pictures in a terminal": (screens, 2),
    "records": (journals, 4),
    "nan_report": (nan_reports, 4),
    "errors": (errors, 1),
    "registered names": (plugins, 2),
    "doctor": (machine, 20),
}
"""Place → every how manieth name goes there."""
