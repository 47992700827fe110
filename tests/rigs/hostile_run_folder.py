"""A run folder whose files are replaced by things that run code where they are unpickled or executed: `--count N`.

Every command that loads a run loads it, in a process whose audit hook sees each import, each piece of code that is
executed and each class that a pickle asks for. A folder that is as it should be has been loaded before, so nothing is
left to import that the hostile one could explain. Fails where a payload ran, or anything of that was seen.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import itertools
import json
import os
import pickle
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import rl2cli
from rl2cli.cli import dispatch

SPEC = {
    "name": "prey", "total_frames": 256, "device": "cpu",
    "env": {"id": "CartPole-v1", "num_envs": 4, "workers": 0}, "network": {"hidden_sizes": [8]},
    "algorithm": {"rollout_length": 16, "minibatch_size": 32, "epochs": 1},
    "evaluation": {"every": 256, "episodes": 1, "stochastic_episodes": 0},
}  # fmt: skip
ASKS = ("show", "list runs", "report", "compare", "infer", "resume")
_TRUSTED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class _Payload:
    def __init__(self, marker: Path) -> None:
        self._code = f"open({str(marker)!r}, 'w').close()"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, (self._code,)


def _zip(files: dict[str, bytes]) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return memory.getvalue()


def payloads(marker: Path) -> dict[str, bytes]:
    """Return files that make `marker` where something unpickles or executes them."""
    pickled = pickle.dumps(_Payload(marker))
    source = f"open({str(marker)!r}, 'w').close()\n".encode()
    torch_zip = _zip({"archive/data.pkl": pickled, "archive/version": b"3\n", "archive/byteorder": b"little"})
    serialised = {":type:": "<class 'function'>", ":serialized:": base64.b64encode(pickled).decode()}
    data = json.dumps({"policy_class": serialised})
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return {
        "pickle": pickled,
        "torch.save": torch_zip,
        "Stable-Baselines3": _zip({"data": data.encode(), "pytorch_variables.pth": torch_zip, "policy.pth": torch_zip}),
        "tensordict": json.dumps({"_type": "<class 'x'>", "non_tensor": serialised, "pickle": "other.pickle"}).encode(),
        "numpy objects": b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + pickled,
        "Python": source,
        "YAML": f"!!python/object/apply:builtins.exec [{source.decode()!r}]\n".encode(),
    }


class Watch:
    """What the audit hook saw while it was on."""

    def __init__(self) -> None:
        self.on = False
        self.seen: set[str] = set()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "pickle.find_class" or event in ("os.system", "os.exec", "os.posix_spawn"):
            self.seen.add(f"{event} {arguments!r:.100}")
        elif event == "exec" and isinstance(arguments[0], CodeType) and not _is_trusted(arguments[0].co_filename):
            self.seen.add(f"exec of {arguments[0].co_filename}")
        elif event == "import" and isinstance(arguments[1], str) and not _is_trusted(arguments[1]):
            self.seen.add(f"import of {arguments[0]} from {arguments[1]}")


def _is_trusted(file: str) -> bool:
    """Return whether code is Python's, an installed library's or rl2's; what these make of strings has no file."""
    return file.startswith((*_TRUSTED, str(Path(rl2cli.__file__).parent), "<frozen", "<string>", "<attrs", "<__array"))


def ask(what: str, run: Path, frames: int) -> None:
    """Let one command load the run; what it prints is not shown."""
    words = {
        "list runs": ["list", "runs"],
        "report": ["report", str(run), "--out", str(run.parent / "report.html")],
        "compare": ["compare", str(run), str(run)],
        "infer": ["infer", str(run), "--episodes", "1"],
        "resume": ["resume", str(run), "--frames", str(frames)],
    }.get(what, [what, str(run)])
    (run.parent / "report.html").unlink(missing_ok=True)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        dispatch.run(words)


def hostile_folders(prey: Path, into: Path, marker: Path, pattern: str) -> Iterator[tuple[str, Path]]:
    """Yield copies of `prey` in each of which one file that matches `pattern` is a payload, with a name."""
    files = sorted(path.relative_to(prey) for path in prey.rglob(pattern) if path.is_file())
    for (kind, content), file in itertools.product(payloads(marker).items(), files):
        copy = into / "outputs" / "prey" / "run"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(prey, copy)
        (copy / file).write_bytes(content)
        for name in ("sitecustomize.py", "conftest.py", "other.pickle"):
            (copy / name).write_bytes(payloads(marker)["Python" if name.endswith("py") else "pickle"])
        yield f"{kind} as {file}", copy


def run(count: int, pattern: str = "*") -> tuple[int, list[str]]:
    """Load `count` hostile folders at most, spread over all; return the number of loads, and what failed in words."""
    watch, loads, failures = Watch(), 0, []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        root, marker = Path(folder).resolve(), Path(folder).resolve() / "owned"
        prey = Path(rl2cli.train(SPEC, run_dir=root / "prey").run_dir)
        benign = root / "outputs" / "prey" / "run"
        shutil.copytree(prey, benign)
        for what in ASKS:
            ask(what, benign, 320)
        total = len(payloads(marker)) * sum(path.is_file() for path in prey.rglob(pattern))
        for name, hostile in itertools.islice(
            hostile_folders(prey, root, marker, pattern), 0, None, max(1, total // count)
        ):
            for what in ASKS:
                watch.seen, watch.on = set(), True
                ask(what, hostile, 320)
                watch.on = False
                loads += 1
                if watch.seen or marker.exists():
                    marker.unlink(missing_ok=True)
                    failures.append(f"{name}, {what}: {'; '.join(sorted(watch.seen)) or 'the payload ran'}")
    return loads, failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="hostile folders at most")
    parser.add_argument("--seed", type=int, default=0, help="nothing is random here")
    arguments = parser.parse_args()
    os.environ["NO_COLOR"] = "1"
    loads, failures = run(arguments.count)
    print("\n".join([*failures, f"{loads} loads, {len(failures)} failed"]))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
