"""Specs with a mistake whose answer is known: the line that is at fault, and what would be right.

`--count N --seed S` prints a table of kinds and what was not answered; ends with 1 where a line is wrong, or where more
than a twentieth of the suggestions are.
"""

# ruff: noqa: E501  # tables of mistakes

from __future__ import annotations

import argparse
import collections
import random
import re
import sys
from collections.abc import Callable
from typing import NamedTuple

from rl2cli.spec import SpecError, load_spec_text

BASE = """\
name = "mistaken"
seed = 1
total_frames = 100_000
device = "cpu"
precision = "float32"

[env]
backend = "gymnasium"
id = "CartPole-v1"
num_envs = 8
workers = 0
timeout = 60.0

[network]
name = "mlp"
hidden_sizes = [64, 64]
activation = "tanh"

[algorithm]
name = "ppo"
rollout_length = 128
minibatch_size = 256
epochs = 4
learning_rate = { start = 1e-3, end = 1e-4 }
gamma = 0.99
gae_lambda = 0.95
clip_coef = 0.2
entropy_coef = 0.01
normalize_advantage = true

[evaluation]
every = 10_000
episodes = 5
target_return = 475.0

[checkpoint]
every = 10_000
keep = 3
on_storage_error = "stop"

[video]
at = [0.0, 1.0]
max_steps = 500

[logging]
every = 1000
tensorboard = false
"""
SAC = BASE.partition("[algorithm]")[0].replace("CartPole-v1", "Pendulum-v1") + (
    '[algorithm]\nname = "sac"\nbatch_size = 256\nbuffer_size = 100_000\nlearning_starts = 1_000\ntau = 0.005\n'
    "updates_per_frame = 1.0\n"
)


class Mistake(NamedTuple):
    """A wrong spec and the right answer."""

    kind: str
    what: str
    text: str
    line: int
    answer: str
    """What hint, or else message, has to contain, in any case."""


def lines_of(text: str) -> list[str]:
    return text.split("\n")


def settings(text: str) -> dict[str, int]:
    """Return `table.key` → index of its line."""
    found, table = {}, ""
    for index, line in enumerate(lines_of(text)):
        if line.startswith("["):
            table = line.strip("[]") + "."
        elif "=" in line:
            found[table + line.partition(" =")[0]] = index
    return found


def misspelt(draw: random.Random, word: str) -> str:
    """Return `word` as a hurried finger would type it."""
    place = draw.randrange(1, len(word))
    neighbours = {"a": "s", "e": "r", "i": "o", "n": "m", "o": "p", "r": "t", "s": "d", "t": "y", "l": "k", "u": "i"}
    ways = (
        word[:place] + word[place + 1 :],
        word[:place] + word[place] * 2 + word[place + 1 :],
        word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :],
        word[:place] + neighbours.get(word[place], "x") + word[place + 1 :],
        word.replace("_", "") if "_" in word else word.capitalize(),
        word.replace("_", "-") if "_" in word else word + "s",
    )
    different = [way for way in ways if way != word]
    return draw.choice(different)


def with_line(text: str, index: int, line: str) -> str:
    lines = lines_of(text)
    lines[index] = line
    return "\n".join(lines)


def typo_in_key(draw: random.Random) -> Mistake:
    base = draw.choice((BASE, SAC))
    known = settings(base)
    path = draw.choice([path for path in known if path not in ("total_frames", "env.id", "algorithm.name")])
    key = path.rpartition(".")[2]
    wrong = misspelt(draw, key)
    line = lines_of(base)[known[path]]
    return Mistake("typo in a key", f"{wrong} for {path}", with_line(base, known[path], wrong + line[len(key) :]),
                   known[path] + 1, f"'{key}'")  # fmt: skip


def typo_in_table(draw: random.Random) -> Mistake:
    name = draw.choice(("network", "algorithm", "evaluation", "checkpoint", "video", "logging"))
    wrong = misspelt(draw, name)
    index = lines_of(BASE).index(f"[{name}]")
    return Mistake("typo in a table", f"[{wrong}]", with_line(BASE, index, f"[{wrong}]"), index + 1, f"'{name}'")


def typo_in_value(draw: random.Random) -> Mistake:
    path, value = draw.choice((
        ("precision", "float32"), ("env.backend", "gymnasium"), ("network.name", "mlp"), ("network.activation", "tanh"),
        ("algorithm.name", "ppo"), ("checkpoint.on_storage_error", "stop"), ("network.name", "impala"),
        ("algorithm.name", "sac"),
    ))  # fmt: skip
    wrong = misspelt(draw, value)
    key, index = path.rpartition(".")[2], settings(BASE)[path]
    text = with_line(BASE, index, f'{key} = "{wrong}"')
    return Mistake("typo in a value", f'{path} = "{wrong}"', text, index + 1, f"'{value}'")


def key_in_another_table(draw: random.Random) -> Mistake:
    key, home, put = draw.choice((
        ("gamma = 0.9", "algorithm", "env"), ("num_envs = 4", "env", ""), ("episodes = 3", "evaluation", "checkpoint"),
        ("keep = 2", "checkpoint", "evaluation"), ("hidden_sizes = [8]", "network", "algorithm"),
        ("learning_rate = 1e-3", "algorithm", ""), ("max_steps = 9", "video", "evaluation"),
        ("id = \"CartPole-v1\"", "env", ""), ("target_return = 1.0", "evaluation", "algorithm"),
        ("tensorboard = false", "logging", ""), ("activation = \"relu\"", "network", "env"),
    ))  # fmt: skip
    lines = lines_of(BASE)
    index = lines.index(f"[{put}]") + 1 if put else 1
    lines.insert(index, key)
    where = f"[{put}]" if put else "the top"
    return Mistake("key in another table", f"{key} in {where}", "\n".join(lines), index + 1, f"[{home}]")


def option_of_another_plugin(draw: random.Random) -> Mistake:
    base, line, owner = draw.choice((
        (SAC, "clip_coef = 0.2", "ppo"), (SAC, "gae_lambda = 0.9", "ppo"), (SAC, "epochs = 4", "ppo"),
        (BASE, "tau = 0.005", "sac"), (BASE, "buffer_size = 1000", "sac"), (BASE, "target_update_every = 10", "dqn"),
    ))  # fmt: skip
    lines = lines_of(base)
    index = lines.index("[algorithm]") + 2
    lines.insert(index, line)
    return Mistake("option of another plugin", line, "\n".join(lines), index + 1, owner)


def quoted(draw: random.Random) -> Mistake:
    known = settings(BASE)
    path = draw.choice(("seed", "env.num_envs", "algorithm.gamma", "algorithm.epochs", "evaluation.episodes",
                        "logging.tensorboard", "algorithm.normalize_advantage", "env.timeout"))  # fmt: skip
    key, _, value = lines_of(BASE)[known[path]].partition(" = ")
    text = with_line(BASE, known[path], f'{key} = "{value}"')
    return Mistake("in quotes", f'{path} = "{value}"', text, known[path] + 1, f"quotes: {value}")


def not_toml(draw: random.Random) -> Mistake:
    path, value, answer = draw.choice((
        ("algorithm.normalize_advantage", "True", "true"), ("logging.tensorboard", "False", "false"),
        ("logging.tensorboard", "no", "false"), ("device", "cpu", '"cpu"'), ("network.activation", "relu", '"relu"'),
        ("algorithm.name", "ppo", '"ppo"'), ("algorithm.gamma", "", "value"), ("algorithm.gamma", "None", "remove"), ("algorithm.gamma", ".99", "0.99"),
        ("algorithm.gamma", "0,99", "0.99"), ("seed", "01", "1"),
         ("total_frames", "100.000.000", "100_000_000"),
        ("network.name", '"mlp', "closing quote"), ("network.hidden_sizes", "[64, 64", "closing bracket"), ("total_frames", "10k", "10_000"),
    ))  # fmt: skip
    index = settings(BASE)[path]
    key = path.rpartition(".")[2]
    text = with_line(BASE, index, f"{key} = {value}")
    return Mistake("not TOML", f"{path} = {value}", text, index + 1, answer)


def wrong_type(draw: random.Random) -> Mistake:
    path, value, answer = draw.choice((
        ("total_frames", "1e5", "100_000"), ("env.num_envs", "8.0", "8"), ("seed", "true", "an integer"),
        ("algorithm.epochs", "4.5", "an integer"), ("network.hidden_sizes", "64", "[64]"),
        ("network.hidden_sizes", '["64", "64"]', "64"), ("algorithm.gamma", "[0.99]", "a number"),
        ("algorithm.normalize_advantage", "1", "true"), ("env.id", "7", "a string"), ("video.at", "0.5", "[0.5]"),
        ("logging.tensorboard", '"yes"', "true"), ("algorithm.learning_rate", '{ start = 1e-3 }', "end"),
        ("device", '"gpu"', "cuda"), ("device", "0", "cuda"), ("algorithm.learning_rate", '{ start = "a", end = 1e-4 }', "a number"),
    ))  # fmt: skip
    index = settings(BASE)[path]
    text = with_line(BASE, index, f"{path.rpartition('.')[2]} = {value}")
    return Mistake("wrong type", f"{path} = {value}", text, index + 1, answer)


def out_of_range(draw: random.Random) -> Mistake:
    path, value, answer = draw.choice((
        ("total_frames", "0", "from 1"), ("env.num_envs", "0", "from 1"), ("env.num_envs", "-4", "from 1"),
        ("algorithm.gamma", "1.5", "from 0 to 1"), ("algorithm.gamma", "99", "from 0 to 1"), ("algorithm.clip_coef", "-0.1", "above 0"),
        ("algorithm.epochs", "0", "from 1"), ("evaluation.episodes", "0", "from 1"), ("checkpoint.keep", "0", "from 1"),
        ("video.at", "[0.0, 50]", "from 0 to 1"), ("seed", "-1", "at least 0"), ("env.timeout", "0.0", "above 0"),
        ("network.hidden_sizes", "[64, 0]", "1"), ("algorithm.rollout_length", "0", "1"), ("algorithm.gamma", "nan", "finite"),
    ))  # fmt: skip
    index = settings(BASE)[path]
    text = with_line(BASE, index, f"{path.rpartition('.')[2]} = {value}")
    return Mistake("out of range", f"{path} = {value}", text, index + 1, answer)


def cross_field(draw: random.Random) -> Mistake:
    base, path, value, answer = draw.choice((
        (BASE, "algorithm.minibatch_size", "200", "256"), (BASE, "algorithm.minibatch_size", "1000", "1024"),
        (BASE, "algorithm.minibatch_size", "4096", "1024"), (BASE, "env.workers", "16", "8 or fewer"),
        (SAC, "algorithm.batch_size", "200_000", "100"), (SAC, "algorithm.learning_starts", "200_000", "100"),
        (BASE, "algorithm.minibatch_size", "96", "128"),
    ))  # fmt: skip
    index = settings(base)[path]
    text = with_line(base, index, f"{path.rpartition('.')[2]} = {value}")
    return Mistake("settings that do not fit", f"{path} = {value}", text, index + 1, answer)


def missing(draw: random.Random) -> Mistake:
    path, at = draw.choice((("total_frames", "name ="), ("env.id", "[env]")))
    lines = [line for index, line in enumerate(lines_of(BASE)) if index != settings(BASE)[path]]
    line = next(index for index, text in enumerate(lines) if text.startswith(at)) + 1
    return Mistake("missing", path, "\n".join(lines), line, path.rpartition(".")[2])


def twice(draw: random.Random) -> Mistake:
    index = settings(BASE)[draw.choice(list(settings(BASE)))]
    lines = lines_of(BASE)
    lines.insert(index + 1, lines[index])
    return Mistake("twice", lines[index], "\n".join(lines), index + 2, f"line {index + 1} ")


KINDS: tuple[tuple[int, Callable[[random.Random], Mistake]], ...] = (
    (25, typo_in_key), (6, typo_in_table), (10, typo_in_value), (9, key_in_another_table), (5, option_of_another_plugin),
    (8, quoted), (10, not_toml), (9, wrong_type), (9, out_of_range), (5, cross_field), (2, missing), (2, twice),
)  # fmt: skip
"""How many of a hundred are of each kind."""


class Answered(NamedTuple):
    """What the loader said to a mistake."""

    mistake: Mistake
    said: str
    right_line: bool
    right_answer: bool


def answered(mistake: Mistake) -> Answered:
    """Return what the loader says."""
    try:
        load_spec_text(mistake.text, "spec.toml")
    except SpecError as error:
        there = [problem for problem in error.problems if problem.line == mistake.line]
        # One mistake is answered once: what it brings about elsewhere is only in the way.
        first = there[0] if there else error.problems[0]
        said = f"{first.message} | {first.hint or ''}"
        right = mistake.answer.casefold() in (first.hint or first.message).casefold()
        right = right or (mistake.answer.casefold() in said.casefold() and not mistake.answer.startswith(("'", "[")))
        return Answered(mistake, said, bool(there) and len(error.problems) == len(there), bool(there) and right)
    return Answered(mistake, "accepted", False, False)


def answers(count: int, seed: int) -> list[Answered]:
    """Return what is said to `count` mistakes, of each kind as many of a hundred as `KINDS` says."""
    draw = random.Random(seed)
    return [answered(make(draw)) for share, make in KINDS for _ in range(max(1, round(share * count / 100)))]


def table(found: list[Answered]) -> str:
    """Return right lines and right suggestions by kind, and everything that was not right."""
    kinds = collections.defaultdict(list)
    for each in found:
        kinds[each.mistake.kind].append(each)
    rows = [f"{'kind':<26} {'count':>5} {'line':>5} {'answer':>6}"]
    for kind, those in [*kinds.items(), ("all", found)]:
        lines, right = sum(each.right_line for each in those), sum(each.right_answer for each in those)
        rows.append(f"{kind:<26} {len(those):>5} {lines:>5} {right:>6}")
    for each in found:
        if not (each.right_line and each.right_answer):
            where = "" if each.right_line else f" (not at line {each.mistake.line})"
            rows.append(f"  {each.mistake.what!r}, wanted {each.mistake.answer!r}: {each.said[:200]}{where}")
    return "\n".join(rows)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = answers(options.count, options.seed)
    print(re.sub(r"[\x00-\x08]", "?", table(found)))
    lines, right = sum(each.right_line for each in found), sum(each.right_answer for each in found)
    return 0 if lines == len(found) and right >= 0.95 * len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
