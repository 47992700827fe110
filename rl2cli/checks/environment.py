"""What `rl2 check-env` finds out: every part of the contract, what was expected and what came."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rl2cli.envs.base import BaseEnvAdapter, Step
from rl2cli.envs.checker import Finding, check_adapter
from rl2cli.errors import EnvironmentFault
from rl2cli.keys import Observation, map_observation
from rl2cli.spaces import allocate, observation_space

FEW = 3
"""Ended episodes from which a last observation that is always the next first one is no coincidence."""


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    key: str
    expected: str
    got: str
    ok: bool | None
    """None where it could not be told, or there is nothing to be right or wrong."""


@dataclass
class _Seen:
    """What passed through an adapter while it was checked."""

    low: float = np.inf
    high: float = -np.inf
    shape: str = ""


@dataclass
class Checked:
    """The report on an environment."""

    adapter: str
    num_envs: int
    rows: list[Row] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(row.ok is not False for row in self.rows)


class Watched:
    """Hands everything through to an adapter, and keeps what it saw."""

    def __init__(self, adapter: BaseEnvAdapter) -> None:
        self.adapter = adapter
        self.seen: dict[str, _Seen] = {}
        self.steps = self.terminated = self.truncated = self.ended = self.same_as_next = self.skipped = 0
        self.seconds: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.adapter, name)

    def reset(self, seed: Any = None, mask: np.ndarray | None = None) -> tuple[Observation, dict[str, Any]]:
        """Reset the adapter."""
        observation, info = self.adapter.reset(seed, mask)
        self._see("observation", observation)
        return observation, info

    def step(self, action: torch.Tensor) -> Any:
        """Step the adapter, and take its time."""
        start = time.perf_counter()
        step: Any = self.adapter.step(action)
        self.seconds.append(time.perf_counter() - start)
        self.steps += 1
        if isinstance(step, Step):
            self._see("observation", step.observation)
            for name in ("reward", "terminated", "truncated"):
                self._see(name, getattr(step, name))
            self._count_ends(step)
        return step

    def _count_ends(self, step: Any) -> None:
        if not (isinstance(step.terminated, torch.Tensor) and isinstance(step.truncated, torch.Tensor)):
            return
        done = (step.terminated | step.truncated).flatten().bool()
        self.terminated += int(step.terminated.sum())
        self.truncated += int((step.truncated & ~step.terminated).sum())
        self.ended += int(done.sum())
        self.skipped += 0 if step.valid is None else int((~step.valid).sum())
        if bool(done.any()) and step.final_observation is not None and step.valid is None:
            self._see("final_observation", step.final_observation)
            self.same_as_next += _same_rows(step.final_observation, step.observation, done)

    def _see(self, name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                self._see(f"{name}.{key}", part)
            return
        seen = self.seen.setdefault(name, _Seen())
        seen.shape = _shape(value)
        if isinstance(value, torch.Tensor) and value.numel():
            low, high = torch.aminmax(value.float() if value.dtype == torch.bool else value)
            seen.low, seen.high = min(seen.low, low.item()), max(seen.high, high.item())
            if seen.low != seen.low or low.isnan():
                seen.low = float("nan")


def check_environment(adapter: BaseEnvAdapter, steps: int, seed: int = 0) -> Checked:
    """Walk an adapter that is set up with random actions, and report on every part of the contract."""
    watched = Watched(adapter)
    report = Checked(type(adapter).__name__, adapter.num_envs)
    try:
        findings = check_adapter(watched, steps, seed)  # type: ignore[arg-type]  # it hands everything through
    except EnvironmentFault as error:
        findings = [Finding("step" if watched.steps else "reset", "no exception", error.message)]
    report.rows += _value_rows(watched, findings)
    report.rows += _episode_rows(watched, findings)
    report.rows += _stream_rows(adapter, findings, steps)
    told = {row.key for row in report.rows}
    report.rows += [Row(each.what, each.expected, each.got, False) for each in findings if _key(each) not in told]
    if not findings:
        report.rows.append(_another_seed(adapter, seed))
        report.rows.append(_speed(watched))
    return report


def _key(finding: Finding) -> str:
    """Return the row that a finding belongs to."""
    return finding.what.removesuffix(" of reset")


def _value_rows(watched: Watched, findings: list[Finding]) -> list[Row]:
    count = watched.adapter.num_envs
    wanted: dict[str, str] = {}
    _flatten("observation", allocate(observation_space(watched.adapter.observation_space), (count,)), wanted)
    wanted |= {"reward": _shape(torch.zeros(count))}
    wanted |= dict.fromkeys(("terminated", "truncated"), _shape(torch.zeros(count, dtype=torch.bool)))
    rows = []
    for key, expected in wanted.items():
        wrong = [each for each in findings if _key(each) == key]
        seen = watched.seen.get(key)
        if wrong:
            rows += [Row(key, each.expected, each.got, False) for each in wrong]
        elif seen is not None:
            rows.append(Row(key, expected, f"{seen.shape}, {_extent(key, seen, watched)}", True))
    return rows


def _extent(key: str, seen: _Seen, watched: Watched) -> str:
    if key in ("terminated", "truncated"):
        return f"{getattr(watched, key)} times"
    return f"{seen.low:g} to {seen.high:g}"


def _episode_rows(watched: Watched, findings: list[Finding]) -> list[Row]:
    expected = "the true last observation of each ended episode"
    wrong = [each for each in findings if each.what.partition(".")[0] in ("final_observation", "valid", "frame_stack")]
    if wrong:
        return [Row(each.what, each.expected, each.got, False) for each in wrong]
    if not watched.ended:
        got = f"no episode ended in {watched.steps} steps of {watched.adapter.num_envs}: try more --steps"
        return [Row("final_observation", expected, got, None)]
    # Where the reset comes a step later, the last observation is still the current one.
    if watched.same_as_next == watched.ended >= FEW and not watched.skipped:
        got = f"in all {watched.ended} it is the next episode's first one"
        return [Row("final_observation", expected, got, False)]
    rows = [Row("final_observation", expected, f"{watched.ended} of {watched.ended}", True)]
    how = f"in the step after it, {watched.skipped} rows" if watched.skipped else "in the step that ended it"
    return [*rows, Row("autoreset", "the next episode begins by itself", how, True)]


def _stream_rows(adapter: BaseEnvAdapter, findings: list[Finding], steps: int) -> list[Row]:
    known = {each.what: each for each in findings}
    if any(name not in ("seeding", "get_state", "set_state") for name in known):
        return []
    seeding = known.get("seeding")
    rows = [_row("seeding", "the same stream from the same seeds", f"the same over {steps} steps", seeding)]
    state = known.get("get_state") or known.get("set_state")
    if adapter.resume == "none":
        rows.append(Row("resume", "running episodes are restored", 'no: resume = "none"', None))
    elif seeding is None:
        rows.append(_row("resume", f'exact, as resume = "{adapter.resume}" says', "exact", state))
    return rows


def _row(key: str, expected: str, got: str, wrong: Finding | None) -> Row:
    return Row(key, expected, got, True) if wrong is None else Row(wrong.what, wrong.expected, wrong.got, False)


def _another_seed(adapter: BaseEnvAdapter, seed: int) -> Row:
    """Say whether episodes depend on their seed at all; that they do not is suspicious, no mistake."""
    count = adapter.num_envs
    first = map_observation(torch.clone, adapter.reset(np.arange(seed, seed + count, dtype=np.int64))[0])
    other = adapter.reset(np.arange(seed, seed + count, dtype=np.int64) + 10_000)[0]
    same = _same_rows(first, other, torch.ones(count, dtype=torch.bool))
    got = "the same first observations: does reset use its seed?" if same == count else "other first observations"
    return Row("another seed", "another episode", got, None if same == count else True)


def _speed(watched: Watched) -> Row:
    per_step = float(np.median(watched.seconds))
    rate = watched.adapter.num_envs / per_step
    return Row("speed", "", f"{per_step * 1e6:,.0f} µs a step of all, {rate:,.0f} frames/s", None)


def _same_rows(one: Observation, other: Observation, rows: torch.Tensor) -> int:
    """Return in how many of `rows` two batches of observations are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        rows = rows.cpu()
        same = torch.stack([_equal(one[key], other[key]) for key in one]).all(0)
        return int((same & rows).sum())
    return int((_equal(one, other) & rows.cpu()).sum())


def _equal(one: Any, other: Any) -> torch.Tensor:
    if isinstance(one, dict):
        return torch.stack([_equal(one[key], other[key]) for key in one]).all(0)
    same: torch.Tensor = (one == other).cpu()
    return same.flatten(1).all(1) if same.dim() > 1 else same


def _flatten(name: str, value: Any, into: dict[str, str]) -> None:
    if isinstance(value, dict):
        for key, part in value.items():
            _flatten(f"{name}.{key}", part, into)
    else:
        into[name] = _shape(value)


def _shape(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
