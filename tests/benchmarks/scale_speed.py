"""What workers of Ray add, and what Ray costs: `python tests/benchmarks/scale_speed.py [--repeats K] [--iterations K]`.

Takes turns between trainings whose environments are stepped by this process, and by 1, 2 and 4 workers of Ray, and
prints the median frames/s of each and the ratios that count as Markdown; what comes before the first iterations is in
a column of its own. A step of `waiting` takes 5 ms of nobody's time, as of a simulator that computes elsewhere, one of
`busy` 5 ms of a core. `cartpole` shows what Ray adds where a step costs next to nothing. Exits with 1 where a ratio
that has a bar misses it.
"""

from __future__ import annotations

import argparse
from statistics import median

from rl2cli.benchmarks.comparison import Bar, interleaved
from rl2cli.benchmarks.idleness import measure_idleness
from rl2cli.benchmarks.scale_runs import WAITING, Pace, Workload, pace_of

WORKLOADS = {
    "waiting": Workload(),
    "busy": Workload({"backend": WAITING, "busy": True}),
    "cartpole": Workload({"id": "CartPole-v1", "vectorization": "single"}, rollout_length=128),
}
SIDES = {
    "waiting": (("local", 1), ("ray", 1), ("ray", 2), ("ray", 4)),
    "busy": (("ray", 1), ("ray", 2), ("ray", 4)),
    "cartpole": (("local", 1), ("ray", 1)),
}
"""Engines and numbers of workers."""
SPEED_UP = Bar(1.7, 1.9, lower_is_better=False, of_ratio=True)
OVERHEAD = Bar(1.25, 1.05, lower_is_better=True, of_ratio=True)
RATIOS = (
    ("waiting", "frames/s, 2 workers against 1", ("ray", 2), ("ray", 1), SPEED_UP),
    ("waiting", "frames/s, 4 workers against 1", ("ray", 4), ("ray", 1), None),
    ("busy", "frames/s, 2 workers against 1", ("ray", 2), ("ray", 1), None),
    ("busy", "frames/s, 4 workers against 1", ("ray", 4), ("ray", 1), None),
    ("waiting", "time per frame, Ray with 1 worker against local", ("local", 1), ("ray", 1), OVERHEAD),
    ("cartpole", "time per frame, Ray with 1 worker against local", ("local", 1), ("ray", 1), None),
)
"""Environment, what is compared, the side whose frames/s are divided, by those of which, and the bar."""
Side = tuple[str, int]


def measured(name: str, repeats: int, iterations: int) -> dict[Side, list[Pace]]:
    def of(side: Side) -> Pace:
        pace = pace_of(WORKLOADS[name], side[0], iterations, side[1])
        print(f"  {name}, {called(side)}: {pace.frames_per_second:,.0f} frames/s", flush=True)
        return pace

    found = interleaved({str(at): lambda _, s=side: of(s) for at, side in enumerate(SIDES[name])}, repeats)
    return {side: found[str(at)] for at, side in enumerate(SIDES[name])}


def called(side: Side) -> str:
    return "local" if side[0] == "local" else f"Ray, {side[1]} worker{'s' if side[1] > 1 else ''}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", nargs="*", default=[*WORKLOADS], help=f"of {', '.join(WORKLOADS)}; all")
    parser.add_argument("--repeats", type=int, default=2, help="turns")
    parser.add_argument("--iterations", type=int, default=6, help="that count, of each training")
    asked = parser.parse_args()
    warning = measure_idleness().warning()
    if warning:
        print(f"warning: {warning}")
    paces = {name: measured(name, asked.repeats, asked.iterations) for name in asked.environments}
    print("\n| environment | stepped by | frames/s | lowest to highest | s to the first iteration |")
    print("| --- | --- | --- | --- | --- |")
    for name, sides in paces.items():
        for side, found in sides.items():
            rates = [each.frames_per_second for each in found]
            start = median(each.start_seconds for each in found)
            spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
            print(f"| {name} | {called(side)} | {median(rates):,.0f} | {spread} | {start:.1f} |")
    print("\n| environment | ratio | median of turns | must | aim | verdict |\n| --- | --- | --- | --- | --- | --- |")
    missed = False
    for name, what, above, below, bar in RATIOS:
        if name not in paces:
            continue
        turns = zip(paces[name][above], paces[name][below], strict=True)
        ratio = median(one.frames_per_second / other.frames_per_second for one, other in turns)
        verdict = bar.verdict(ratio) if bar else ""
        missed |= verdict == "missed"
        goals = f"{bar.must:g} × | {bar.aim:g} ×" if bar else " | "
        print(f"| {name} | {what} | {ratio:.3f} × | {goals} | {verdict} |")
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
