"""Specs that are wrong, made from right ones: `--count N --seed S`, `--command N` of them through the command.

Each has to be refused in words with `file:line`, the right line where one line was changed, within a second, without
anything that controls a terminal. `--planted` plants ten bugs in the loader, one after the other, and has to find each.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from rl2cli.errors import UsageError
from rl2cli.spec import load_spec_text
from rl2cli.spec.problems import Problem, SpecError
from rl2cli.spec.shipped import shipped_folder
from rl2cli.spec.toml import decode

SECONDS, MEGABYTES = 1.0, 300
MORE_SPECS = (
    'total_frames = 5000\n[env]\nid = "CartPole-v1"\nnum_envs = 4\n[algorithm]\nminibatch_size = 64\n'
    "learning_rate = { start = 1e-3, end = 1e-4 }\n",
    'name = "all"\nseed = 3\ntotal_frames = 90_000\ndevice = "cpu"\nthreads = 1\ncompile = false\n[init]\nfrom = "x"\n'
    '[env]\nid = "Pendulum-v1"\nworkers = 2\ntimeout = 60.0\nmax_restarts = 1\nkwargs = { g = 9.8 }\n[network]\n'
    'name = "mlp"\nhidden_sizes = [32, 32]\nactivation = "relu"\n[algorithm]\nname = "sac"\nbatch_size = 128\n'
    "[evaluation]\nevery = 1000\nepisodes = 3\ntarget_return = -200.0\n[checkpoint]\nevery = 500\nkeep = 2\n[video]\n"
    "at = [0.0, 1.0]\n[logging]\nevery = 100\ntensorboard = false\n",
)
NUMBERS = (
    "0",
    "-1",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "9223372036854775808",
    "-9223372036854775809",
    "1" * 90,
    "1" * 5000,
)
OTHERS = ('"text"', "''", "[]", "{}", "[1, 'a']", "{ a = 1 }", "true", "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z",
          "[[[]]]", '"\\u0007\\u202e\\u0000"', '"[red]x[/red]"')  # fmt: skip
UNUSABLE = ("nan", "inf", "-inf", "9223372036854775808", "-9223372036854775809", "1979-05-27", "07:32:00")
STRANGE = ("\x1b[31m", "\u202e", "\x00", "\x07", "\x7f", "\u2028", "é", "\ufffe", "日本", "'", '"', "\\", "\r", "\x9b")


class Mutant(NamedTuple):
    content: bytes
    what: str
    line: int | None = None
    """Where the problem has to be."""
    must_fail: bool = False


def bases() -> list[str]:
    """Return valid specs."""
    return [path.read_text(encoding="utf-8") for path in sorted(shipped_folder().glob("*.toml"))] + list(MORE_SPECS)


def mutant(draw: random.Random, text: str) -> Mutant:
    """Return a spec with one change, now and then with two."""
    lines = text.split("\n")
    settings = [index for index, line in enumerate(lines) if _is_setting(line)]
    made = draw.choice(MUTATIONS)(draw, list(lines), draw.choice(settings))
    if draw.random() < 0.2:
        other = draw.choice(MUTATIONS)(draw, made.content.decode("utf-8", "surrogateescape").split("\n"), 0)
        return Mutant(other.content, f"{made.what} + {other.what}")
    return made


def _is_setting(line: str) -> bool:
    return "=" in line and not line.lstrip().startswith("#") and line.count("{") == line.count("}")


def _made(lines: list[str], what: str, line: int | None = None, must_fail: bool = False) -> Mutant:
    content = "\n".join(lines).encode("utf-8", "surrogateescape")
    return Mutant(content, what, None if line is None else line + 1, must_fail)


def typo(draw: random.Random, lines: list[str], at: int) -> Mutant:
    key, equals, value = lines[at].partition("=")
    name = key.rstrip()
    place = draw.randrange(len(name)) if name else 0
    lines[at] = name[:place] + "zq" + name[place:] + " " + equals + value
    plain = bool(equals) and "." not in name and not name.startswith(("[", "#"))
    return _made(lines, "a typo in a key", at if plain else None, plain and _takes_no_other_keys(lines, at))


def _takes_no_other_keys(lines: list[str], at: int) -> bool:
    table = next((line.strip() for line in reversed(lines[:at]) if line.startswith("[")), "")
    return "kwargs" not in table


def wrong_value(draw: random.Random, lines: list[str], at: int) -> Mutant:
    key, equals, _ = lines[at].partition("=")
    value = draw.choice((*NUMBERS, *OTHERS))
    lines[at] = f"{key}= {value}" if equals else value
    known = bool(equals) and value in UNUSABLE
    return _made(lines, f"{key.strip()} = {value[:20]}", at if known else None, known)


def duplicate(draw: random.Random, lines: list[str], at: int) -> Mutant:
    lines.insert(at + 1, lines[at])
    is_key = "=" in lines[at] and not lines[at].lstrip().startswith("#")
    return _made(lines, "a key twice", at + 1 if is_key else None, is_key)


def broken(draw: random.Random, lines: list[str], at: int) -> Mutant:
    line = lines[at]
    place = draw.randrange(len(line) + 1)
    lines[at] = line[:place] + draw.choice(('"', "]", "[", "=", "{", "'", '"""', ",", "#", "\\")) + line[place:]
    return _made(lines, "one character more")


def cut(draw: random.Random, lines: list[str], at: int) -> Mutant:
    text = "\n".join(lines)
    start = draw.randrange(len(text) + 1)
    return _made([text[:start] + text[start + draw.randrange(1, 30) :]], "some characters less")


def strange(draw: random.Random, lines: list[str], at: int) -> Mutant:
    line = lines[at]
    place = draw.randrange(len(line) + 1)
    lines[at] = line[:place] + draw.choice(STRANGE) + line[place:]
    return _made(lines, "a strange character")


def not_utf8(draw: random.Random, lines: list[str], at: int) -> Mutant:
    content = bytearray("\n".join(lines).encode("utf-8", "surrogateescape"))
    place = draw.randrange(len(content) + 1)
    content[place:place] = draw.choice((b"\xff", b"\xc3(", b"\x80", b"\xed\xa0\x80"))
    return Mutant(bytes(content), "bytes that are not UTF-8", None, True)


def encoded(draw: random.Random, lines: list[str], at: int) -> Mutant:
    encoding = draw.choice(("utf-16", "utf-8-sig", "utf-32", "cp1252"))
    return Mutant("\n".join(lines).encode(encoding, "replace"), encoding, None, encoding in ("utf-16", "utf-32"))


def deep(draw: random.Random, lines: list[str], at: int) -> Mutant:
    depth = draw.choice((40, 2000, 100_000))
    one = draw.choice(("[" * depth + "]" * depth, "{a=" * depth + "1" + "}" * depth))
    lines.insert(at, f"deep = {one}" if draw.random() < 0.5 else ".".join("a" * depth) + " = 1")
    return _made(lines, f"{depth} levels", at, True)


def huge(draw: random.Random, lines: list[str], at: int) -> Mutant:
    return _made([*lines, "# " + "x" * draw.choice((1_000_000, 3_000_000))], "a huge file", None, True)


def misfit(draw: random.Random, lines: list[str], at: int) -> Mutant:
    text = "\n".join(lines)
    if "minibatch_size" not in text or 'name = "' in text.partition("[algorithm]")[2].partition("[")[0]:
        return _made(["total_frames = 10", "[env]", 'id = "A-v0"', "num_envs = 8", "[algorithm]", "minibatch_size = 7"],
                     "sizes that do not fit", 5, True)  # fmt: skip
    number = next(i for i, line in enumerate(lines) if line.lstrip().startswith("minibatch_size"))
    lines[number] = "minibatch_size = 100_003"
    return _made(lines, "sizes that do not fit", number, True)


MUTATIONS: tuple[Callable[[random.Random, list[str], int], Mutant], ...] = (
    typo, wrong_value, wrong_value, wrong_value, duplicate, broken, cut, strange, not_utf8, encoded, deep, huge, misfit,
)  # fmt: skip


def check(made: Mutant) -> str | None:
    """Return what is wrong with what the loader says to a mutant, or None."""
    began = time.process_time()
    try:
        load_spec_text(decode(made.content, "spec.toml"), "spec.toml")
    except SpecError as error:
        problem = _problem_with(error, made)
    except UsageError as error:
        problem = f"refused without a place: {error.message[:100]}"
    except Exception as error:
        problem = f"{type(error).__name__}: {str(error)[:100]}"
    else:
        problem = "was accepted" if made.must_fail else None
    seconds = time.process_time() - began
    return problem or (f"took {seconds:.1f} s" if seconds > SECONDS else None)


def _problem_with(error: SpecError, made: Mutant) -> str | None:
    lines = [problem.line for problem in error.problems]
    if None in lines or not all(problem.message and problem.file == "spec.toml" for problem in error.problems):
        return "a problem without a place"
    if made.line is not None and made.line not in lines:
        return f"said of line {lines}, not {made.line}: {error.problems[0].message[:100]}"
    text = error.render()
    bad = {
        unicodedata.name(c, hex(ord(c))) for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs")
    }
    if bad:
        return f"prints {sorted(bad)}"
    return "several kilobytes of words" if len(text) > 50_000 else None


def failures(count: int, seed: int) -> Iterator[tuple[int, Mutant, str]]:
    """Yield number, mutant and problem of those of `count` that fail; each follows from the seed and its number."""
    texts = bases()
    for number in range(count):
        draw = random.Random(f"{seed}/{number}")
        made = mutant(draw, draw.choice(texts))
        problem = check(made)
        if problem is not None:
            yield number, made, problem


# --- the ten bugs ---


def _raise(kind: type[Exception]) -> Callable[..., Any]:
    def fails(*_: Any, **__: Any) -> Any:
        raise kind("planted")

    return fails


def _shifted(real: Callable[..., Any]) -> Callable[..., Any]:
    def place(self: Any, *arguments: Any, **named: Any) -> Problem:
        found: Problem = real(self, *arguments, **named)
        return Problem(found.message, found.hint, found.file, found.key, (found.line or 0) + 1, 1, 2, found.source)

    return place


def _unplaced(self: Any, message: str, **_: Any) -> Problem:
    return Problem(message, None, self.name)


def _slow(*_: Any) -> None:
    until = time.process_time() + 1.2
    while time.process_time() < until:
        pass


def _forgetful(real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: [each for each in real(*arguments) if not each.message.startswith("unknown key")]


def planted() -> dict[str, ExitStack]:
    """Return the bugs by name, each to be entered."""
    from rl2cli.spec import load, source

    bugs: dict[str, tuple[str, Any]] = {
        "unknown keys are ignored": ("rl2cli.spec.load.complaints", _forgetful(load.complaints)),
        "NaN, dates and huge integers pass": ("rl2cli.spec.toml.unusable_values", lambda data: iter(())),
        "one line too far": ("rl2cli.spec.source.Source.problem", _shifted(source.Source.problem)),
        "no line at all": ("rl2cli.spec.source.Source.problem", _unplaced),
        "control characters are printed": ("rl2cli.spec.problems.printable", lambda text, **_: text),
        "an exception of the locator": ("rl2cli.spec.locate.Locations.key", _raise(KeyError)),
        "an exception of the TOML parser": ("rl2cli.spec.toml.tomli.loads", _raise(KeyError)),
        "huge files are read": ("rl2cli.spec.toml.MAX_BYTES", 10**9),
        "sizes that do not fit pass": ("rl2cli.algorithms.ppo_options.PPOOptions.misfits", lambda *_, **__: ()),
        "a suggestion that takes seconds": ("rl2cli.spec.complaints.suggestion", _slow),
    }
    found = {}
    for name, (target, replacement) in bugs.items():
        found[name] = ExitStack()
        found[name].callback(lambda: None)
        found[name].plant = patch(target, replacement)  # type: ignore[attr-defined]
    return found


def find_planted(count: int, seed: int) -> dict[str, str | None]:
    """Return for each planted bug the first failure it caused, None where it was not found."""
    found: dict[str, str | None] = {}
    for name, stack in planted().items():
        with stack.plant:  # type: ignore[attr-defined]
            first = next(failures(count, seed), None)
        found[name] = None if first is None else f"{first[0]}: {first[1].what}: {first[2]}"
    return found


# --- through the command ---


@dataclass
class Usage:
    """What commands took. Processor time stands for time: on a busy machine the clock measures the others."""

    commands: int = 0
    seconds: float = 0.0
    """Of all of them."""
    most_seconds: float = 0.0
    most_megabytes: float = 0.0

    def add(self, seconds: float, megabytes: float) -> None:
        """Count one command."""
        self.commands += 1
        self.seconds += seconds
        self.most_seconds = max(self.most_seconds, seconds)
        self.most_megabytes = max(self.most_megabytes, megabytes)


def command_failures(count: int, seed: int, most: Usage) -> Iterator[tuple[int, Mutant, str]]:
    """Yield those of `count` mutants that the command does not answer as it should; note in `most` what it takes."""
    texts = bases()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            draw = random.Random(f"{seed}/{number}")
            made = mutant(draw, draw.choice(texts))
            Path(folder, "spec.toml").write_bytes(made.content)
            problem = _command_problem(folder, made, most)
            if problem is not None:
                yield number, made, problem


def _command_problem(folder: str, made: Mutant, most: Usage) -> str | None:
    command = [sys.executable, "-m", "rl2cli", "validate", "spec.toml"]
    with open(Path(folder, "said"), "w+b") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        file.seek(0)
        said = file.read().decode("utf-8", "replace")
    seconds, megabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1 if sys.platform == "darwin" else 1024)
    most.add(seconds, megabytes)
    if seconds > SECONDS or megabytes > MEGABYTES:
        return f"took {seconds:.2f} s of processor time and {megabytes:.0f} MB"
    if code not in (0, 2) or (code == 0 and made.must_fail):
        return f"exit code {code}"
    if "Traceback" in said:
        return "a traceback"
    if code == 2 and "spec.toml:" not in said:
        return f"no file and line: {said[:200]}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--command", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--planted", action="store_true")
    arguments = parser.parse_args()
    if arguments.planted:
        found = find_planted(min(arguments.count, 2_000), arguments.seed)
        for name, first in found.items():
            print(f"{name:36} {'found by ' + first if first else 'NOT FOUND'}")
        return int(None in found.values())
    failed = 0
    for number, made, problem in failures(arguments.count, arguments.seed):
        failed += 1
        if failed <= 50:
            print(f"seed {arguments.seed}/{number}: {made.what}: {problem}", flush=True)
    most = Usage()
    through = list(command_failures(arguments.command, arguments.seed, most))
    for number, made, problem in through[:50]:
        print(f"command, seed {arguments.seed}/{number}: {made.what}: {problem}")
    if arguments.command:
        each = most.seconds / most.commands
        print(f"{most.commands} through the command, {len(through)} failed, {most.most_megabytes:.0f} MB at most")
        print(f"processor time: {each:.2f} s each, {most.most_seconds:.2f} s at most")
    print(f"{arguments.count} mutants, {failed} failed, seed {arguments.seed}")
    return int(bool(failed or through))


if __name__ == "__main__":
    sys.exit(main())
