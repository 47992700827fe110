"""Trains, resumes and infers where no call that only POSIX has can be made; prints what came of it.

Run as a program: what it hides must be gone before rl2 is imported.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import gymnasium  # noqa: F401  # not what is tested, so imported before
import platformdirs  # noqa: F401  # picks its POSIX or Windows form by the platform
import torch  # noqa: F401


def _no_folder(function: Any) -> Any:
    def checked(target: Any, *arguments: Any, **named: Any) -> Any:
        mode = os.fstat(target).st_mode if isinstance(target, int) else None
        if (mode is not None and stat.S_ISDIR(mode)) or (mode is None and os.path.isdir(target)):
            raise PermissionError(13, "Windows opens no folders", str(target))
        return function(target, *arguments, **named)

    return checked


def hide_posix() -> None:
    """Take away what Windows does not have."""
    for module in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"):
        sys.modules[module] = None  # type: ignore[assignment]
    for name in ("O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "sched_getaffinity", "fork", "getuid"):
        delattr(os, name)
    for name in ("geteuid", "getgid", "getpgid", "killpg", "setsid", "fchmod", "chown", "statvfs", "uname", "mkfifo"):
        delattr(os, name)
    for name in ("SIGKILL", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM", "SIGCHLD", "pthread_sigmask", "setitimer"):
        delattr(signal, name)
    os.open, os.fsync = _no_folder(os.open), _no_folder(os.fsync)


if __name__ == "__main__":
    hide_posix()
    import rl2cli
    from rl2cli.inference.benchmark import benchmark
    from rl2cli.reporting.view import make_view
    from rl2cli.training.session import resume

    spec = {
        "name": "elsewhere",
        "total_frames": 512,
        "env": {"id": "CartPole-v1", "num_envs": 8},
        "algorithm": {"rollout_length": 16, "minibatch_size": 64},
        "evaluation": {"episodes": 2},
    }
    run = rl2cli.train(spec, run_dir=Path(sys.argv[1])).run_dir
    frames = resume(run, view=make_view("quiet"), total_frames=1024).frames
    print(json.dumps({"frames": frames, "mean_return": benchmark(run, episodes=2)["mean_return"]}))
