"""Every place where a name from a user or a file reaches a path or the screen."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import sys
from pathlib import Path

import hostile_records
import nasty_names
import numpy as np
from captured import Place, Said, captured, command

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))
import sample_run

from rl2cli.cli import failure
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
from rl2cli.training.run_folder import RunFolder

SPEC = (
    'name = "small"\ntotal_frames = 3000\n[env]\nid = "CartPole-v1"\nnum_envs = 4\n[algorithm]\nminibatch_size = 64\n'
)


# --- words of the command line ---

_WORDS = """
{} | --{} | show {} | explain {} | validate {} | validate {}.toml | train {} | train {} --json | list {} | list runs {}
train spec.toml --set {}=1 | train spec.toml --set name="{}" --dry-run | train spec.toml --device {} | list adapters {}
train spec.toml --set env.id={} | train spec.toml --frames {} | resume {} | resume {} --json | infer {} | doctor {}
infer small --checkpoint {} | infer small --mode {} | infer small --set env.{}=1 | infer small --allow-import {}
infer small --record-video --format {} | infer small --view {} | doctor {} --digest | report {} | compare {} {}
compare small --metric {} | compare small --x {} | compare small --out none/{}.png | export {}
export small --format {} | register {}
 register-adapter {} my:C | register module {} | register remove {} | register trust {} | new {}
new network {} | check-env {} | check-env gymnasium:{} | schema {} | bench {} | help {} | show spec.toml --set {}
"""


def words(text: str, draw: random.Random, terminal: bool) -> Said:
    """A word of a command line."""
    name = nasty_names.as_argument(text)
    line = draw.choice(_WORDS.strip().replace("\n", " | ").split(" | "))
    return command([word.replace("{}", name) for word in line.split()], terminal)


# --- specs ---

_SPECS = (
    "name = {}\n" + SPEC.partition("\n")[2],
    SPEC + "{} = 1\n",
    "{} = 1\n" + SPEC,
    SPEC + "[{}]\nx = 1\n",
    SPEC + "[algorithm.{}]\n",
    SPEC.replace('"CartPole-v1"', "{}"),
    SPEC + "[network]\nname = {}\n",
    SPEC.replace("[algorithm]", "[algorithm]\nname = {}"),
    "device = {}\n" + SPEC,
    SPEC + "[init]\nfrom = {}\n",
    SPEC.replace("[env]", "[env]\nbackend = {}"),
    SPEC + "learning_rate = {}\n",
    SPEC.replace("[env]", "[env]\nkwargs = {{ {} = 1 }}"),
    SPEC + "[network]\nactivation = {}\n",
    "# {}\n" + SPEC,
    SPEC + "[checkpoint]\non_storage_error = {}\n",
)
_ASK_SPEC = (
    ["validate", "x.toml"],
    ["show", "x.toml"],
    ["train", "x.toml", "--dry-run"],
    ["validate", "x.toml", "--json"],
)


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
        except RL2Error as error:
            failure.report(error)

    try:
        return captured(make, terminal)
    finally:
        for made in {*Path("outputs").glob("*")} - {Path("outputs", name) for name in ("small", "other", "saved")}:
            shutil.rmtree(made)


# --- what is printed while a run trains ---


def views(text: str, draw: random.Random, terminal: bool) -> Said:
    """Everything that the views of a run show."""
    facts = dataclasses.replace(
        sample_run.FACTS,
        run_dir=text,
        name=text,
        environment=text,
        algorithm=text,
        network=text,
        device=text,
        choices=(text,),
    )
    progress = dataclasses.replace(sample_run.PROGRESS, metrics={text: 1.0, f"loss/{text}": 2.0}, shares={text: 1.0})
    summary = dataclasses.replace(
        sample_run.SUMMARY,
        run_dir=text,
        best_checkpoint=text,
        unsaved=text,
        inexact=(text,),
        status=draw.choice(("failed", "finished")),
    )
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


# --- errors ---

_ERRORS = (
    RL2Error,
    UsageError,
    EnvironmentFault,
    StorageError,
    NoCheckpointError,
    MissingDependencyError,
    NonFiniteError,
)


def errors(text: str, draw: random.Random, terminal: bool) -> Said:
    """Messages, hints and places of errors, and the texts of exceptions that plugins raise."""
    kinds: list[Exception] = [kind(text, hint=text, place=text) for kind in _ERRORS]
    kinds += [
        Stopped(text, signal_number=2, hint=text, summary={text: text}),
        OSError(28, text, text),
        MemoryError(text),
    ]
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
    entry = draw.choice(
        (
            f"{quoted} = {quoted}",
            f"x = {quoted}",
            f'{quoted} = "my:C"',
            f"ok = {{ target = {quoted}, folder = {quoted} }}",
        )
    )
    content = f"[{table}]\n{entry}\n".encode("utf-8", "surrogatepass")
    user = Path(os.environ["XDG_CONFIG_HOME"], "rl2", "plugins.toml")
    user.parent.mkdir(parents=True, exist_ok=True)
    file = draw.choice((Path("rl2.toml"), user))
    file.write_bytes(content)
    asks = (
        ["register", "list"],
        ["register", "list", "--json"],
        ["list"],
        ["list", "networks"],
        ["register", "trust"],
        ["show", "ppo"],
        ["validate", "spec.toml"],
        ["register", "remove", "x"],
        ["list", "--json"],
        ["check-env"],
    )
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

    facts, progress = (
        dataclasses.replace(sample_run.FACTS, name=text),
        dataclasses.replace(sample_run.PROGRESS, metrics={f"{text}/{text}": 1.0}),
    )
    width = draw.choice((20, 80, 200))

    def show() -> None:
        console = Console(file=sys.stderr, width=width, markup=False, highlight=False, emoji=False)
        console.print(Board(facts, glyphs_for("utf-8"), width, 40).draw(progress))

    return captured(show, terminal)


EVERY: dict[str, tuple[Place, float]] = {
    "words of a command line": (words, 2),
    "specs": (specs, 1),
    "names of runs": (run_names, 0.5),
    "run folders": (hostile_records.runs, 3),
    "pages and pictures": (hostile_records.pages, 0.1),
    "checkpoints": (hostile_records.checkpoints, 0.3),
    "views": (views, 3),
    "live tables": (boards, 2),
    "pictures in a terminal": (screens, 2),
    "records": (hostile_records.journals, 1),
    "nan_report": (hostile_records.nan_reports, 1),
    "errors": (errors, 6),
    "registered names": (plugins, 2),
    "doctor": (machine, 0.1),
}
"""Place, and how much of the names it gets: fewer where they take long."""
