"""When a run updates with compiled code, and that it is then the same run every time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tomli
from small_runs import checkpoints, differences, newest, spec, train

from rl2cli.algorithms.compiled import CompilationError, find_compiler
from rl2cli.reporting.view import make_view
from rl2cli.spec import spec_from_dict
from rl2cli.training import compilation
from rl2cli.training.build import build
from rl2cli.training.compilation import choose_compilation
from rl2cli.training.session import resume


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep the user's cache out of the tests."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(compilation, "cache_folder", lambda: folder)
    monkeypatch.setattr(compilation, "find_compiler", lambda: "c++")
    return folder


class Step:
    """Stands for an algorithm's compiled step."""

    def __init__(
        self, kept: bool = False, calls: float = 1e6, seconds: float = 1e-3, arithmetic: float = 0.0, fault: str = ""
    ) -> None:
        self.kept, self.calls, self.seconds, self.arithmetic, self.fault = kept, calls, seconds, arithmetic, fault
        self.done: list[str] = []

    def is_kept(self, folder: Path) -> bool:
        return self.kept

    def load(self, folder: Path) -> None:
        self.done.append("load")

    def build(self, folder: Path) -> None:
        self.done.append("build")
        if self.fault:
            raise CompilationError(self.fault)

    def eager_seconds(self) -> float:
        self.done.append("time")
        return self.seconds

    def arithmetic_seconds(self) -> float:
        return self.arithmetic


def _choose(step: Step | None, compile: Any, dry: bool = False) -> tuple[bool, str | None, list[str]]:
    parts = build(spec_from_dict(spec(compile=False)))
    try:
        parts.algorithm.make_compiled_step = lambda: step
        said: list[str] = []
        asked = parts.plan.spec.model_copy(update={"compile": compile})
        used, why = choose_compilation(asked, parts.algorithm, None if dry else said.append)
        return used, why, said
    finally:
        parts.close()


def test_false_never_looks() -> None:
    step = Step(kept=True)
    assert _choose(step, False) == (False, None, [])
    assert step.done == []


@pytest.mark.parametrize("compile", [True, "auto"])
def test_what_is_in_the_cache_is_used(compile: Any) -> None:
    step = Step(kept=True, calls=1.0)
    used, why, said = _choose(step, compile)
    assert (used, said, step.done) == (True, [], ["load"])
    assert why is not None
    assert "in the cache" in why


@pytest.mark.parametrize(
    ("calls", "seconds", "arithmetic", "done"),
    [
        (1e3, 9.9, 0.0, []),  # too few to be timed
        (1e5, 1e-3, 0.0, ["time"]),  # 100 s, of which 50 are saved
        (1e5, 1e-2, 9e-3, ["time"]),  # 1000 s, of which products of matrices take 900 either way
        (1e6, 1e-3, 0.0, ["time", "build", "load"]),
    ],
)
def test_auto_builds_where_it_pays(calls: float, seconds: float, arithmetic: float, done: list[str]) -> None:
    step = Step(calls=calls, seconds=seconds, arithmetic=arithmetic)
    used, why, said = _choose(step, "auto")
    assert step.done == done
    assert used == ("build" in done) == bool(said)
    assert why is not None
    assert ("built now" if used else "short run") in why


def test_true_builds_however_short_the_run() -> None:
    step = Step(calls=1.0)
    used, _, said = _choose(step, True)
    assert used
    assert step.done == ["build", "load"]
    assert len(said) == 1


def test_a_dry_run_builds_nothing() -> None:
    step = Step()
    assert _choose(step, True, dry=True)[0] is False
    assert step.done == []


def test_what_prevents_it_leaves_the_run_eager() -> None:
    used, why, _ = _choose(Step(fault="no C++ compiler"), True)
    assert (used, why) == (False, "update eager: no C++ compiler")
    assert _choose(None, True) == (False, None, [])


def test_a_machine_without_a_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "find_compiler", find_compiler)
    step = Step()
    used, why, said = _choose(step, True)
    assert (used, said, step.done) == (False, [], [])
    assert why == "update eager: no C++ compiler, no-compiler-in-tests is not installed"


def test_the_choice_is_said_and_written(tmp_path: Path) -> None:
    run = train(tmp_path, spec(total_frames=256))
    assert tomli.loads((run / "resolved.toml").read_text())["compile"] is False
    facts = json.loads((run / "run.json").read_text())
    assert facts["plan"]["compile"] is False
    assert any(choice.startswith("update eager: short run") for choice in facts["choices"])


@pytest.mark.slow
def test_compiled_runs_are_the_same_also_when_resumed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX")
    settings = spec(compile=True, checkpoint={"every": 256, "keep": 20})
    run = train(tmp_path, settings)
    assert tomli.loads((run / "resolved.toml").read_text())["compile"] is True
    assert len(list(cache.rglob("*.so"))) == 1

    monkeypatch.setattr("rl2cli.algorithms.compiled.CompiledStep.build", None)
    second = train(tmp_path, spec(compile="auto", checkpoint={"every": 256, "keep": 20}), "second")
    assert "update compiled: the code was in the cache" in json.loads((second / "run.json").read_text())["choices"]
    assert (second / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
    assert list(differences(newest(run).state, newest(second).state)) == []

    for later in checkpoints(second)[3:]:
        shutil.rmtree(second / "checkpoints" / f"{later:015}")
    resume(str(second), view=make_view("quiet"))
    assert (second / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
    assert list(differences(newest(run).state, newest(second).state)) == []

    eager = train(tmp_path, spec(compile=False), "eager")
    assert list(differences(newest(run).state["algorithm"], newest(eager).state["algorithm"])) != []
