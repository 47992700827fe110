"""`rl2 infer --mode watch`: episodes of a trained policy, seen as they happen, in a window or in the terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import numpy as np

from rl2cli.envs.rendering import PICTURES, WINDOW, has_display
from rl2cli.errors import UsageError
from rl2cli.inference.benchmark import prepare, result_of
from rl2cli.inference.other_env import enter_other_env
from rl2cli.inference.policy import Policy, load_policy
from rl2cli.reporting.figures import count, significant
from rl2cli.reporting.recording import Watching
from rl2cli.reporting.terminal import TerminalScreen
from rl2cli.training.evaluation import Played
from rl2cli.training.footage import DEFAULT_FPS, Take
from rl2cli.training.seeding import environment_seeds, make_generator
from rl2cli.training.signals import StopRequest


def watch(
    run: str | None,
    *,
    view: Watching = "auto",
    checkpoint: str = "best",
    episodes: int = 3,
    stochastic: bool = False,
    seed: int | None = None,
    device: str = "auto",
    fps: float | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Show `episodes` episodes in real time; a first Ctrl-C ends it, keeping the episodes that ended.

    Args:
        run: A run's folder, one of its checkpoints, `"latest"`, or None for the last run under `./outputs`.
        view: A window, the terminal, or a window where there is a display.
        checkpoint: `"best"`, `"last"` or a number of frames.
        episodes: How many.
        stochastic: Sample actions; the most probable ones otherwise.
        seed: Of the episodes; by default one that training never uses.
        device: Where the policy computes.
        fps: Steps per second; the environment's own where left out.
        overrides: Settings of the environment in place of the run's, each `env.key=VALUE` with a TOML value.

    Returns:
        What `benchmark` returns, of the episodes that ended, and `stopped_by`, the number of the signal or None. Where
        no episode ended, only `episodes`, 0, the run, the checkpoint and the latter.

    Raises:
        UsageError: There is no such run, it cannot draw, there is no display, or no terminal.
        NoCheckpointError: No checkpoint of it can be loaded.
    """
    in_window = view == "window" or (view == "auto" and has_display())
    if view == "window" and not has_display():
        raise UsageError("there is no display to open a window on", hint="--view terminal draws in the terminal")
    screen = None if in_window else TerminalScreen()
    mode = WINDOW if in_window else PICTURES
    with closing(load_policy(run, checkpoint=checkpoint, device=device, render_mode=mode)) as policy:
        enter_other_env(policy, overrides, mode)
        seed = prepare(policy, seed)
        shown: AbstractContextManager[Any] = nullcontext() if screen is None else screen
        before = time.perf_counter()
        with StopRequest() as stop, shown:
            played = _Audience(policy, screen, stop, fps).watch(episodes, seed, stochastic)
        seconds = time.perf_counter() - before
        ended = {"stopped_by": stop.signal_number}
        if len(played.returns) == 0:
            facts = {"run_dir": str(policy.run_dir), "checkpoint": str(policy.checkpoint.path)}
            return {**facts, "episodes": 0, "notes": policy.checkpoint.notes, "videos": [], **ended}
        result = result_of(policy, played, overrides, seed=seed, stochastic=stochastic, seconds=seconds)
        return {**result, **ended}


class _Audience:
    """Sees one episode after the other, no faster than the environment's own time."""

    def __init__(self, policy: Policy, screen: TerminalScreen | None, stop: StopRequest, fps: float | None) -> None:
        self._policy, self._screen, self._stop = policy, screen, stop
        self._pause = 1.0 / (fps or policy.env.render_fps or DEFAULT_FPS)
        self._paces_itself = screen is None and fps is None  # a window of Gymnasium's keeps its own time
        self._name = str(getattr(policy.spec.env.options, "id", policy.spec.env.backend))

    def watch(self, episodes: int, seed: int, stochastic: bool) -> Played:
        """Return the episodes that ended before a signal came."""
        algorithm, device = self._policy.algorithm, self._policy.algorithm.task.device
        ended: list[Take] = []
        for number, base_seed in enumerate(environment_seeds(seed, "infer", episodes)):
            explore = make_generator(seed, "infer actions", device, number) if stochastic else None
            take = Take(algorithm, self._policy.env, int(base_seed), explore)
            self._see(take, f"{self._name}  episode {number + 1} of {count(episodes)}")
            if not take.ended:
                break
            ended.append(take)
        return Played(np.array([take.total for take in ended]), np.array([take.step for take in ended], np.int64))

    def _see(self, take: Take, title: str) -> None:
        due = time.perf_counter()
        self._show(take, title)
        while not take.ended and self._stop.signal_number is None:
            take.advance()
            due += self._pause
            late = time.perf_counter() - due
            if late < self._pause or take.ended:  # else this picture is left out, to catch up
                self._show(take, title)
            if late > 1.0:
                due = time.perf_counter()
            elif not self._paces_itself:
                time.sleep(max(0.0, due - time.perf_counter()))

    def _show(self, take: Take, title: str) -> None:
        if self._screen is None:
            return
        figures = f"step {count(take.step)}  return {significant(take.total)}  Ctrl-C ends"
        self._screen.show(take.env.render(), f"{title}  {figures}")
