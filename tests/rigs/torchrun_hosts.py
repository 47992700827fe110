"""Two hosts that learn one run by torchrun, without a shared disk; then one of them is cut off in the middle.

    sudo python tests/rigs/torchrun_hosts.py

This machine and a network namespace that the rig makes are the hosts; the second one sees nothing of the run's folder.
The digest has to be that of one learner. Once the link is taken away, both have to end with a line that says so, and
`rl2 resume` with one learner has to come to the digest of the run that nothing stopped.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tomli_w

sys.path.insert(0, str(Path(__file__).parent))
from rig_runs import digest, newest
from second_host import FAR_LINK, INSIDE, LINK, NEAR, cut_off, second_host

import rl2cli

PORT = 26380
ROLLOUT, NUM_ENVS = 32, 8
MOST_SECONDS = 120.0
"""From the cut until everything has ended: 60 s of silence, 80 s where a question hangs, and what ends the others."""


def spec(iterations: int, seed: int) -> dict[str, Any]:
    frames = iterations * ROLLOUT * NUM_ENVS
    return {
        "name": "hosts",
        "seed": seed,
        "total_frames": frames,
        "device": "cpu",
        "threads": 1,
        "compile": False,
        "env": {"id": "CartPole-v1", "num_envs": NUM_ENVS},
        "network": {"hidden_sizes": [16]},
        "algorithm": {"rollout_length": ROLLOUT, "minibatch_size": 128, "epochs": 1},
        "evaluation": {"every": frames, "episodes": 1, "stochastic_episodes": 0},
        "checkpoint": {"every": ROLLOUT * NUM_ENVS * 4},
        "scale": {"gradient_shards": 4},
    }


def alone(folder: Path, *words: str) -> None:
    """Run `rl2 WORDS` in one process."""
    done = subprocess.run([sys.executable, "-m", "rl2cli", *words, "-q"], cwd=folder, env=_environment(), check=False)
    if done.returncode:
        raise SystemExit(f"rl2 {' '.join(words)} ended with {done.returncode}")


def start_both(folder: Path, *words: str) -> list[subprocess.Popen[str]]:
    """Start a learner on each host; on the second one the run's folder is another, empty one."""
    common = (sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1")
    address = (f"--master-addr={NEAR}", f"--master-port={PORT}")
    rl2 = ("-m", "rl2cli", *words)
    near, far = ((*common, f"--node-rank={rank}", *address, *rl2) for rank in (0, 1))
    hidden = f"mount -t tmpfs none {shlex.quote(str(folder))} && exec {shlex.join(far)}"
    commands = ((near, LINK), ((*INSIDE, "sh", "-c", hidden), FAR_LINK))
    return [
        subprocess.Popen(
            command,
            cwd=folder if interface == LINK else "/",
            env=_environment(GLOO_SOCKET_IFNAME=interface),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for command, interface in commands
    ]


def ends_of(hosts: list[subprocess.Popen[str]], seconds: float) -> list[str]:
    """Wait until both have ended and return what each said."""
    until = time.monotonic() + seconds
    try:
        return [host.communicate(timeout=max(0.1, until - time.monotonic()))[1] for host in hosts]
    except subprocess.TimeoutExpired:
        raise SystemExit(f"not all have ended after {seconds:.0f} s") from None
    finally:
        for host in hosts:
            host.kill()


def _environment(**variables: str) -> dict[str, str]:
    packages = str(Path(rl2cli.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [packages, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **variables}


def _saved(run: Path) -> int:
    folder = run / "checkpoints"
    return sum(path.name.isdigit() for path in folder.iterdir()) if folder.is_dir() else 0


def _errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error: ")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=400, help="of the run that is cut; the other has a tenth")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory(prefix="rl2-rig-") as name, second_host():
        folder = Path(name)
        for kind, iterations in (("short", arguments.iterations // 10), ("long", arguments.iterations)):
            (folder / f"{kind}.toml").write_text(tomli_w.dumps(spec(iterations, arguments.seed)))
            alone(folder, "train", f"{kind}.toml", "--run-dir", f"{kind}-alone")
        said = ends_of(start_both(folder, "train", "short.toml", "--run-dir", "short-both", "-q"), 600.0)
        same = digest(newest(folder / "short-both")) == digest(newest(folder / "short-alone"))
        print(f"| two hosts, no shared disk | {'equal digest' if same else 'DIFFERENT'} |")
        failed += [] if same else ["two hosts", *said]

        hosts = start_both(folder, "train", "long.toml", "--run-dir", "long-both", "-q")
        while _saved(folder / "long-both") < 2:
            if any(host.poll() is not None for host in hosts):
                raise SystemExit("\n".join(ends_of(hosts, 60.0)))
            time.sleep(0.05)
        cut_off()
        cut = time.monotonic()
        said = ends_of(hosts, MOST_SECONDS)
        print(f"| seconds from the cut until both have ended | {time.monotonic() - cut:.1f} |")
        for host, text in zip(("this host", "the second host"), said, strict=True):
            lines = _errors(text)
            print(f"| {host} said | {'; '.join(lines) or 'NOTHING'} |")
            failed += (
                []
                if len(lines) == 1 and any(words in lines[0] for words in ("gone", "cannot be reached"))
                else [host, text]
            )
        frames = newest(folder / "long-both").frames
        alone(folder, "resume", "long-both")
        same = digest(newest(folder / "long-both")) == digest(newest(folder / "long-alone"))
        print(f"| resumed from {frames:,} frames with one learner | {'equal digest' if same else 'DIFFERENT'} |")
        failed += [] if same else ["resumed"]
    if failed:
        print("\n".join(["failed:", *failed]), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
