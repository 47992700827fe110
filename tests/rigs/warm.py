"""`rl2` commands in processes forked from this one, which has imported everything: the same code, without the wait."""

from __future__ import annotations

import gc
import mmap
import os
import signal
import struct
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


def warm_up() -> None:
    """Import what a run needs, and start no thread: a fork takes none along."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["CXX"] = "no-compiler-in-tests"
    import ale_py.vector_env
    import gymnasium
    import tensorboard.compat.proto.event_pb2
    import tensorboard.summary.writer.record_writer
    import torch

    import rl2cli.algorithms.dqn
    import rl2cli.algorithms.ppo
    import rl2cli.algorithms.sac
    import rl2cli.cli.doctor_run
    import rl2cli.cli.resume
    import rl2cli.cli.train
    import rl2cli.envs.atari
    import rl2cli.envs.gymnasium_vector
    import rl2cli.training.digest
    import rl2cli.training.session  # noqa: F401

    del ale_py, gymnasium, tensorboard
    torch.set_num_threads(1)
    gc.freeze()


class Gauge:
    """Numbers that a forked process writes and this one reads, also after it was killed."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16)
        self.clear()

    def clear(self) -> None:
        """Forget both numbers."""
        self._memory[:] = struct.pack("qq", -1, -1)

    @property
    def frames(self) -> int:
        """Frames of the run so far; -1 before the first iteration."""
        return int(struct.unpack("qq", self._memory[:])[0])

    @property
    def resumed_from(self) -> int:
        """Frames of the checkpoint that it went on from; -1 where there was none."""
        return int(struct.unpack("qq", self._memory[:])[1])

    def watch(self) -> None:
        """Have every Trainer of this process write its frames here."""
        from rl2cli.training.trainer import Trainer

        learn, set_state = Trainer.learn, Trainer.set_state

        def watched_learn(trainer: Trainer, trajectories: object) -> None:
            learn(trainer, trajectories)  # type: ignore[arg-type]
            self._memory[:8] = struct.pack("q", trainer.frames)

        def watched_set_state(trainer: Trainer, *arguments: object) -> list[str]:
            notes = set_state(trainer, *arguments)  # type: ignore[arg-type]
            self._memory[:] = struct.pack("qq", trainer.frames, trainer.frames)
            return notes

        Trainer.learn, Trainer.set_state = watched_learn, watched_set_state  # type: ignore[method-assign,assignment]


@dataclass
class Forked:
    """A process of its own group that runs one `rl2` command."""

    pid: int
    output: Path
    code: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal, or None while it runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait(self, seconds: float) -> int | None:
        """Return its exit code, None where it still runs after so long."""
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        return self.code

    def signal(self, number: int) -> None:
        """Send a signal to its whole group, if it is still there."""
        if self.poll() is None:
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """End its whole group there and then."""
        self.signal(signal.SIGKILL)
        self.wait(60)

    def text(self) -> str:
        """Return what it printed."""
        return self.output.read_text(encoding="utf-8", errors="replace")


def fork(arguments: Sequence[str], folder: Path, name: str, prepare: Callable[[], None] | None = None) -> Forked:
    """Run `rl2 ARGUMENTS` in `folder`; its output goes to the file `name` there.

    Args:
        arguments: The words after `rl2`.
        folder: Working folder.
        name: Of the file.
        prepare: Called in the process before the command.
    """
    output = folder / name
    output.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of a test runner; none of them holds a lock here
        pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            os.chdir(folder)
            if prepare is not None:
                prepare()
            from rl2cli.cli import main, startup

            if arguments[0] in ("train", "resume"):
                startup.SIGNALS_AT_ONCE.begin()  # as the command does first: no signal comes before it
            _redirect(output)
            code = main(list(arguments))
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    process = Forked(pid, output)
    while not output.exists() and process.poll() is None:
        time.sleep(0.0005)  # it has a group of its own once its output is there
    return process


def _redirect(output: Path) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
