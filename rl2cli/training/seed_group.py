"""Several runs that differ only in their seed: the folder that holds them, and the processes that train them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from rl2cli.cores import available_cores
from rl2cli.durable import explained, make_folder, write_text_atomic
from rl2cli.errors import UsageError
from rl2cli.interpreter import python_module
from rl2cli.training.run_folder import GROUP_FILE, LEFTOVER, read_json
from rl2cli.training.signals import StopRequest

MOST_SEEDS = 1000
_LOOK = 0.2
"""Seconds between two looks at signals and at the processes."""
_KEPT_LINES = 2000

PLAN_KEYS = {
    "device": "device",
    "threads": "threads",
    "precision": "precision",
    "compile": "compile",
    "overlap": "overlap",
    "workers": "env.workers",
}
"""Automatic choices in a run.json → keys of a spec: what the first seed's run chose holds for all of them."""


@dataclass(frozen=True)
class SeedGroup:
    """A folder with one run for each seed, `s1`, `s2` and so on, and the spec that all of them have."""

    path: Path
    seeds: tuple[int, ...]

    @property
    def spec(self) -> Path:
        """The spec, with everything that the command line changed."""
        return self.path / "seeds.toml"

    @classmethod
    def create(
        cls,
        root: Path,
        name: str,
        seeds: Sequence[int],
        written: str,
        spec: str,
        path: Path | None,
        *,
        again: bool = False,
    ) -> SeedGroup:
        """Make the folder: `path`, else `root/name/<UTC time>-seeds<first>-<last>`.

        Args:
            root: Where runs are kept.
            name: Of the runs.
            seeds: One for each run.
            written: The spec as the user wrote it.
            spec: The spec to train, with every setting.
            path: In place of the folder's usual name.
            again: Whether `path` may have what a start left that was killed.

        Raises:
            UsageError: `path` has something in it.
            StorageError: The folder cannot be made.
        """
        with explained("making the folder of the runs"):
            path = _new_folder(root / name, seeds) if path is None else path
            if path.exists() and not (path.is_dir() and _is_free(path, again)):
                raise UsageError("this is not an empty folder", hint="name a new or empty one", place=str(path))
            make_folder(path)
        group = cls(path, tuple(seeds))
        write_text_atomic(path / "spec.toml", written)
        write_text_atomic(group.spec, spec)
        write_text_atomic(path / GROUP_FILE, json.dumps({"seeds": list(seeds)}) + "\n")
        return group

    @classmethod
    def open(cls, path: Path) -> SeedGroup:
        """Return the group in `path`.

        Raises:
            UsageError: There is none, or its record is damaged.
        """
        seeds = read_json(path / GROUP_FILE).get("seeds")
        if not isinstance(seeds, list) or not all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds):
            raise UsageError(
                "this folder does not hold a group of seeds",
                hint=f"each seed's run is resumed by itself too, as in: rl2 resume {path / 's1'}",
                place=str(path / GROUP_FILE),
            )
        return cls(path, tuple(seeds[:MOST_SEEDS]))

    def run_dir(self, seed: int) -> Path:
        """Return the folder of the run with `seed`."""
        return self.path / f"s{seed}"


@dataclass
class SeedRun:
    """One seed's process."""

    seed: int
    run_dir: Path
    process: subprocess.Popen[str] | None = None
    output: str = ""
    """What it printed on stdout, once it has ended."""
    is_done: bool = False
    readers: list[threading.Thread] = field(default_factory=list)

    def result(self) -> dict[str, Any]:
        """Return the object that the process printed; empty where it was killed."""
        with suppress(ValueError, RecursionError):
            found = json.loads(self.output)
            if isinstance(found, dict):
                return found
        return {}

    @property
    def exit_code(self) -> int | None:
        """What the process ended with, as a shell reports it; None where it was not started or still runs."""
        code = None if self.process is None or not self.is_done else self.process.returncode
        return code if code is None or code >= 0 else 128 - code


def _is_free(path: Path, again: bool) -> bool:
    left = ("spec.toml", "seeds.toml") if again else ()
    return all(entry.name in left or (again and LEFTOVER.fullmatch(entry.name)) for entry in path.iterdir())


class SeedProcesses:
    """Runs one process for each seed, as many at once as the cores allow.

    Args:
        group: Where the runs are.
        seeds: Of them, in the order of their start.
        command: Returns the arguments of `rl2` for a seed; `plan` are `--set` options that fix the automatic choices.
        said: Called with a seed and a line that its process wrote to stderr.
        ended: Called with a run that has ended.
    """

    def __init__(
        self,
        group: SeedGroup,
        seeds: Sequence[int],
        command: Callable[[int, list[str]], list[str]],
        said: Callable[[int, str], None],
        ended: Callable[[SeedRun], None],
    ) -> None:
        self.runs = [SeedRun(seed, group.run_dir(seed)) for seed in seeds]
        self._command, self._said, self._ended = command, said, ended
        self._lines: queue.Queue[tuple[SeedRun, str | None]] = queue.Queue()
        self._plan: Mapping[str, Any] | None = None

    def run(self, stop: StopRequest) -> None:
        """Train until all have ended; a signal in `stop` is handed to each once, and no more are started."""
        forwarded = False
        try:
            while any(self._unfinished(stop.signal_number is not None)):
                if stop.signal_number is None:
                    self._start_more()
                elif not forwarded:
                    forwarded = True
                    self._forward(stop.signal_number)
                self._listen()
        finally:
            self._kill()

    def _unfinished(self, stopping: bool) -> Iterator[SeedRun]:
        return (run for run in self.runs if not run.is_done and not (stopping and run.process is None))

    def _start_more(self) -> None:
        running = [run for run in self.runs if run.process is not None and not run.is_done]
        waiting = [run for run in self.runs if run.process is None]
        if running and self._plan is None:
            self._plan = next((plan for run in running if (plan := _plan_of(run))), None)
        for run in waiting[: self._room() - len(running)]:
            self._start(run)

    def _room(self) -> int:
        """Return how many may run at once: one, until it is known what one takes."""
        return 1 if self._plan is None else runs_at_once(self._plan, available_cores())

    def _start(self, run: SeedRun) -> None:
        arguments = self._command(run.seed, [] if self._plan is None else plan_settings(self._plan))
        run.process = subprocess.Popen(
            [*python_module("rl2cli"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=os.name == "posix",  # a terminal's Ctrl-C reaches it once, through this process
        )
        run.readers = [
            threading.Thread(target=self._read_lines, args=(run,), daemon=True),
            threading.Thread(target=self._read_output, args=(run,), daemon=True),
        ]
        for reader in run.readers:
            reader.start()

    def _read_lines(self, run: SeedRun) -> None:
        with _pipe(run, "stderr") as lines:
            for line in lines:
                self._lines.put((run, line.rstrip("\n")))
        self._lines.put((run, None))

    def _read_output(self, run: SeedRun) -> None:
        with _pipe(run, "stdout") as pipe:
            run.output = pipe.read()

    def _listen(self) -> None:
        """Pass on what the processes have said, waiting a moment for it."""
        timeout = _LOOK
        for _ in range(_KEPT_LINES):
            try:
                run, line = self._lines.get(timeout=timeout)
            except queue.Empty:
                return
            timeout = 0.001
            if line is not None:
                self._said(run.seed, line)
            else:
                self._finish(run)

    def _finish(self, run: SeedRun) -> None:
        assert run.process is not None
        run.process.wait()
        for reader in run.readers:
            reader.join()
        if self._plan is None:
            self._plan = _plan_of(run)
        run.is_done = True
        self._ended(run)

    def _forward(self, number: int) -> None:
        if os.name != "posix":
            return  # the console has told them
        for run in self.runs:
            if run.process is not None and not run.is_done:
                with suppress(ProcessLookupError):
                    run.process.send_signal(number)

    def _kill(self) -> None:
        for run in self.runs:
            if run.process is not None and run.process.poll() is None:
                with suppress(ProcessLookupError, PermissionError):
                    if hasattr(os, "killpg"):
                        os.killpg(run.process.pid, signal.SIGKILL)
                    else:
                        run.process.kill()
                run.process.wait()


def runs_at_once(plan: Mapping[str, Any], cores: int) -> int:
    """Return how many runs with the automatic choices `plan` of a run.json fit on `cores`; one on a GPU."""
    if plan.get("device") != "cpu":
        return 1
    threads, workers = (value if type(value := plan.get(key)) is int else 0 for key in ("threads", "workers"))
    return max(cores // max(threads + (plan.get("overlap") is True), workers, 1), 1)


def plan_settings(plan: Mapping[str, Any]) -> list[str]:
    """Return `--set` options that fix the automatic choices `plan` of a run.json."""
    known = {key: plan[name] for name, key in PLAN_KEYS.items() if isinstance(plan.get(name), str | int)}
    return [f"--set={key}={json.dumps(value)}" for key, value in known.items()]


def _plan_of(run: SeedRun) -> Mapping[str, Any] | None:
    plan = read_json(run.run_dir / "run.json").get("plan")
    return plan if isinstance(plan, dict) and plan else None


def _pipe(run: SeedRun, name: str) -> IO[str]:
    pipe: IO[str] | None = getattr(run.process, name)
    assert pipe is not None
    return pipe


def _new_folder(parent: Path, seeds: Sequence[int]) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-seeds{seeds[0]}-{seeds[-1]}"
    path = parent / stamp
    count = 1
    while True:
        with suppress(FileExistsError):
            path.mkdir()
            return path
        count += 1
        path = parent / f"{stamp}-{count}"
