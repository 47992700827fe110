"""Draw the learning curves of runs as an SVG picture, such as README's of Pong; run by hand.

    python tests/docs/learning_curve.py TITLE RUN ... > runs/pong.svg

Lines are the returns of training episodes, dots the evaluations of the deterministic policy.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 40, 48
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e")
MOST_POINTS = 300


class Curve(NamedTuple):
    """What one run reached, each as (frames, return)."""

    seed: int
    episodes: list[tuple[int, float]]
    evaluations: list[tuple[int, float]]


def read_curve(run: Path) -> Curve:
    """Return the curve of the run in the folder `run`."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    seed = json.loads((run / "run.json").read_text(encoding="utf-8"))["seed"]

    def series(name: str) -> list[tuple[int, float]]:
        return [(row["frames"], row[name]) for row in rows if row.get(name) is not None]

    episodes = series("rollout/return_mean")
    return Curve(seed, episodes[:: max(len(episodes) // MOST_POINTS, 1)], series("evaluation/mean_return"))


def draw(title: str, curves: Sequence[Curve]) -> str:
    """Return an SVG picture of `curves`."""
    points = [point for curve in curves for point in (*curve.episodes, *curve.evaluations)]
    most = max(frames for frames, _ in points)
    low, high = min(value for _, value in points), max(value for _, value in points)
    spread = (high - low) or 1.0

    def place(frames: float, value: float) -> tuple[float, float]:
        x = LEFT + frames / most * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(HEIGHT - BOTTOM - (value - low) / spread * (HEIGHT - TOP - BOTTOM), 1)

    def text(x: float, y: float, words: str, anchor: str = "middle", colour: str = "#333") -> str:
        return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        text(WIDTH / 2, 22, title),
        text(WIDTH / 2, HEIGHT - 8, "frames"),
    ]
    for k in range(5):
        value, frames = low + spread * k / 4, most * k / 4
        (_, y), (x, _) = place(0, value), place(frames, low)
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts += [text(LEFT - 8, y + 4, f"{value:.0f}", "end"), text(x, HEIGHT - BOTTOM + 18, f"{frames:,.0f}")]
    for index, curve in enumerate(sorted(curves, key=lambda curve: curve.seed)):
        colour = COLOURS[index % len(COLOURS)]
        line = " ".join(f"{x},{y}" for x, y in (place(*point) for point in curve.episodes))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        dots = [place(*point) for point in curve.evaluations]
        parts += [f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>' for x, y in dots]
        parts.append(text(LEFT + 10, TOP + 16 * (index + 1), f"seed {curve.seed}", "start", colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    title, *runs = sys.argv[1:]
    print(draw(title, [read_curve(Path(run)) for run in runs]), end="")
