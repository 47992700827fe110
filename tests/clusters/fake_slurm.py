"""Slurm as far as a batch script sees it: its variables, commands, signals, and the queue that starts it again."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import rl2cli

PACKAGES = Path(rl2cli.__file__).parent.parent
SECONDS = 600.0
SCONTROL = """\
echo "scontrol $*" >> "$FAKE_SLURM/said"
case "$1 $2" in
"show hostnames") for number in $(seq "$SLURM_JOB_NUM_NODES"); do echo "node-$number"; done ;;
"requeue incomplete")
    if [ "$(cat "$FAKE_SLURM/state")" = RUNNING ]; then echo PENDING > "$FAKE_SLURM/state"; fi ;;
*) echo "scontrol: what is $*?" >&2; exit 1 ;;
esac
"""
SRUN = """\
tasks=1
while [[ "$1" == -* ]]; do
    case "$1" in --ntasks=*) tasks=${1#*=} ;; esac
    shift
done
echo "srun $tasks $*" >> "$FAKE_SLURM/said"
trap 'kill -KILL $(jobs -p); exit 137' TERM  # "forcing job termination"
for number in $(seq "$tasks"); do "$@" & done
wait
"""


class FakeSlurm:
    """One job of one cluster.

    Args:
        folder: Where it is submitted, and where its log is.
        nodes: Which it gets, all of them this machine.
    """

    def __init__(self, folder: Path, nodes: int = 1, cpus: int = 2) -> None:
        self.folder, self.nodes, self.cpus = folder, nodes, cpus
        self.own = folder / "slurm"
        self.job = os.getpid()
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._command: list[str] = []
        (self.own / "bin").mkdir(parents=True)
        python = shlex.quote(sys.executable)
        self.install("scontrol", SCONTROL)
        self.install("srun", SRUN)
        self.install("python", f'exec {python} "$@"\n')
        self.install("rl2", f'exec {python} -m rl2cli "$@"\n')
        self.install("ray", f'exec {python} -m ray.scripts.scripts "$@"\n')
        self.install("torchrun", f'exec {python} -m torch.distributed.run "$@"\n')

    def install(self, name: str, text: str) -> None:
        """Put a command into the job's PATH."""
        path = self.own / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}")
        path.chmod(0o755)

    @property
    def log(self) -> str:
        return (self.folder / "job.out").read_text()

    @property
    def said(self) -> str:
        """The commands of Slurm that the job called."""
        path = self.own / "said"
        return path.read_text() if path.exists() else ""

    @property
    def state(self) -> str:
        return (self.own / "state").read_text().strip()

    @state.setter
    def state(self, state: str) -> None:
        (self.own / "state").write_text(f"{state}\n")

    def sbatch(self, script: Path, *words: str) -> None:
        """Take a copy of the script, as Slurm does, and start it."""
        copy = self.own / "slurm_script"
        shutil.copy(script, copy)
        self._command = [str(copy), *words]
        self._start()

    def _start(self) -> None:
        self.state = "RUNNING"
        job = {
            "SLURM_JOB_ID": str(self.job),
            "SLURM_JOB_NUM_NODES": str(self.nodes),
            "SLURM_JOB_NODELIST": f"node-[1-{self.nodes}]",
            "SLURM_CPUS_PER_TASK": str(self.cpus),
            "SLURM_RESTART_COUNT": str(self.starts),
            "FAKE_SLURM": str(self.own),
        }
        paths = {"PATH": f"{self.own / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(PACKAGES)}
        with (self.folder / "job.out").open("ab") as log:  # --open-mode=append
            self.process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env={**os.environ, **job, **paths},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1

    def wait_until(self, there: Callable[[], bool]) -> None:
        """Wait for something that the job does."""
        assert self.process is not None
        until = time.monotonic() + SECONDS
        while not there():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < until, self.log
            time.sleep(0.01)

    def warn(self) -> None:
        """Send SIGTERM to the batch shell, as --signal=B:TERM@120 does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def end(self, state: str, number: int = signal.SIGTERM) -> None:
        """End the job: `state` is what becomes of it, and every process gets a signal."""
        assert self.process is not None
        self.state = state
        os.killpg(self.process.pid, number)

    def wait(self) -> int:
        """Return the script's exit code; what it left is ended, and a job that is pending is started again."""
        assert self.process is not None
        code = self.process.wait(SECONDS)
        self.kill()
        if self.state == "PENDING":
            self._start()
        elif self.state == "RUNNING":
            self.state = "COMPLETED" if code == 0 else "FAILED"
        return code

    def kill(self) -> None:
        """End every process of the job."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return
