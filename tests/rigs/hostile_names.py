"""Names that somebody hostile would choose, in every place where a name reaches a path or the screen.

`python tests/rigs/hostile_names.py --count 10000 --seed 1`. Nothing may be written outside the folder that a place
writes to, nothing printed may control the terminal, begin a line that is not rl2's, or be read as markup, and no page
may have an element that a benign one has not. `--planted` plants bugs and has to find each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nasty_names
from captured import Said
from hostile_places import EVERY, SPEC
from rich.text import Text

_WRITES = {
    "os.mkdir": 0,
    "os.rename": 1,
    "os.remove": 0,
    "os.rmdir": 0,
    "os.link": 1,
    "os.symlink": 1,
    "os.truncate": 0,
    "os.chmod": 0,
}
"""Audit event → which of its arguments is the path that is changed."""
_FREE = ("/dev/", "/proc/")


class Arena:
    """A folder of its own to work in; notes every write outside of it."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.escaped: list[str] = []
        self.on = False
        self.free = (*_FREE, str(self.root) + os.sep, *(path for path in sys.path if path))
        sys.addaudithook(self._audit)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Work in the folder, with the user's own folders in it too."""
        work = self.root / "work"
        for path in (work, self.root / "home"):
            path.mkdir(exist_ok=True)
        own = {f"XDG_{kind}_HOME": str(self.root / "home" / kind.lower()) for kind in ("CONFIG", "CACHE", "DATA")}
        with (
            patch.dict(os.environ, {**own, "HOME": str(self.root / "home"), "TERM": "xterm-256color"}),
            contextlib.chdir(work),
        ):
            os.environ.pop("NO_COLOR", None)
            tempfile.tempdir = str(self.root / "home")  # where ctypes looks for libraries
            Path("spec.toml").write_text(SPEC, encoding="utf-8")
            try:
                yield
            finally:
                tempfile.tempdir = None

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = (
                any(mark in mode for mark in "wax+")
                if isinstance(mode, str)
                else bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            )
            if not writes:
                return
        elif event in _WRITES:
            path = arguments[_WRITES[event]]
        else:
            return
        if isinstance(path, int) or (
            event in ("os.rmdir", "os.remove") and isinstance(arguments[-1], int) and arguments[-1] >= 0
        ):
            return  # a descriptor, or relative to one: of a folder that was opened
        where = os.path.realpath(os.fsdecode(path))
        if not (where + os.sep).startswith(self.free):
            self.escaped.append(f"{event} {where!a:.200}")


def problems(said: Said, terminal: bool) -> Iterator[str]:
    """Yield what is wrong with what a place printed."""
    for text in (said.out, said.err):
        # What colours there are in a traceback's lines are none: it has the name's own line breaks alone.
        several = said.several_lines or (said.as_json and text is said.out)
        yield from nasty_names.problems_of(text, terminal=terminal, several_lines=several)
    if said.as_json:
        for number, line in enumerate(filter(None, [said.out.strip()])):
            try:
                json.loads(line)
            except ValueError:
                yield f"stdout is no JSON at object {number}: {line[:100]!a}"


def check(place: str, text: str, seed: str, arena: Arena, benign: str) -> list[str]:
    """Feed a name to a place, piped and on a terminal; return what is wrong with what came of it."""
    found = []
    for terminal in (False, True):
        arena.escaped.clear()
        before = _outside(arena.root)
        arena.on = True
        try:
            said = EVERY[place][0](text, random.Random(seed), terminal)
        except Exception as error:
            found.append(f"{type(error).__name__}: {str(error)[:200]!a}")
            continue
        finally:
            arena.on = False
        found += problems(said, terminal)
        found += [f"wrote outside: {one}" for one in arena.escaped]
        found += [f"made {one!a}" for one in sorted(_outside(arena.root) - before)]
        for page in (Path("page.html"), Path("page.svg")):
            if page.exists():
                found += nasty_names.problems_of_page(page.read_text(encoding="utf-8"), benign)
                page.unlink()
    return list(dict.fromkeys(found))


def _outside(root: Path) -> set[str]:
    """Return what lies in the arena outside of the folder that is worked in."""
    return {entry.name for entry in root.iterdir()} | {entry.name for entry in root.parent.glob("rl2-escaped*")}


def benign_pages() -> str:
    """Return the pages of a run whose name is harmless."""
    found = []
    for number in range(12):
        EVERY["pages and pictures"][0]("small", random.Random(number), False)
        found += [page.read_text(encoding="utf-8") for page in (Path("page.html"), Path("page.svg")) if page.exists()]
    return "\n".join(found)


def run(
    count: int, seed: int, places: tuple[str, ...] = tuple(EVERY), most: int = 10**9
) -> tuple[Counter[str], list[str]]:
    """Feed each of `count` names to one of the places; return how many each got, and the failures, about `most`."""
    fed, failures = Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(Path(folder))
        with arena.entered():
            benign = benign_pages() if "pages and pictures" in places else ""
            for number in range(count):
                draw = random.Random(f"{seed}/{number}")
                text = nasty_names.name(draw)
                place = draw.choices(places, [EVERY[each][1] for each in places])[0]
                fed[place] += 1
                found = check(place, text, f"{seed}/{number}", arena, benign)
                failures += [f"{place}, seed {seed}/{number}, {text!a:.80}: {problem}" for problem in found]
                if number % 250 == 249:
                    print(f"{number + 1} names, {len(failures)} failures", file=sys.stderr, flush=True)
                if len(failures) >= most:
                    break
    return fed, failures


PLANTED: dict[str, tuple[str, Any, str]] = {
    "nothing is made harmless": ("rl2cli.text._printable_characters", lambda text, _: iter(text), "run folders"),
    "errors are printed as they are": ("rl2cli.cli.failure.shortened", lambda text, _: text, "errors"),
    "line breaks of data are kept": ("rl2cli.cli.output.shortened", lambda text, _: text, "run folders"),
    "views print what they get": ("rl2cli.reporting.figures.shortened", lambda text, _: text, "views"),
    "tags of TensorBoard as they are": ("rl2cli.reporting.tensorboard.shortened", lambda text, _: text, "records"),
    "log.txt as it comes": ("rl2cli.training.journal.shortened", lambda text, _: text, "records"),
    "pages without escapes": ("rl2cli.results.page.escape", lambda text, **_: text, "pages and pictures"),
    "colours where nobody looks": ("rl2cli.cli.failure._with_colour", lambda line: f"\x1b[31m{line}", "errors"),
    "a run's folder is elsewhere": (
        "rl2cli.training.run_folder._make_stamped",
        lambda *_: _elsewhere(),
        "names of runs",
    ),
    "markup in what views say": ("rl2cli.reporting.live.Text", lambda text, **_: Text.from_markup(text), "views"),
    "lines of specs as they are": ("rl2cli.spec.problems.printable", lambda text, **_: text, "specs"),
}


def _elsewhere() -> Path:
    path = Path("..", f"escaped{time.monotonic_ns()}")
    path.mkdir()
    return path


def find_planted(count: int, seed: int) -> dict[str, str | None]:
    """Return for each planted bug the first failure that it caused, None where it was not found."""
    found: dict[str, str | None] = {}
    for name, (target, replacement, place) in PLANTED.items():
        with patch(target, replacement):
            _, failures = run(count, seed, (place,), most=1)
        found[name] = failures[0] if failures else None
    return found


def main() -> int:
    """Run the rig as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--places", nargs="+", default=list(EVERY), choices=list(EVERY))
    parser.add_argument("--planted", action="store_true")
    asked = parser.parse_args()
    if asked.planted:
        found = find_planted(min(asked.count, 200), asked.seed)
        for name, first in found.items():
            print(f"{name:36} {'found by ' + first if first else 'NOT FOUND'}")
        return int(None in found.values())
    fed, failures = run(asked.count, asked.seed, tuple(asked.places))
    for place, number in fed.items():
        print(f"{place:<28}{number:>8} names")
    print(f"{fed.total()} names, each piped and on a terminal, seed {asked.seed}, {len(failures)} failures")
    print("\n".join(failures[:100]))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
