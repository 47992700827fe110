"""Draws `rl2cli/shards.svg`: who does what when, for two lags and a worker that is lost.

Who does a task is simulated by the scheduler's rules in small: a task waits for its weights and for its shard's rollout
before, and goes to a worker that is free, rather to the one that has the shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PICTURE = Path(__file__).resolve().parents[2] / "rl2cli" / "shards.svg"
SHARDS, ROLLOUTS = 4, 4
TASK, UPDATE, JOIN, NOTICED = 2.0, 3.0, 3.0, 0.5
"""How long a task and an update take, a worker to be started anew, and its loss to be noticed."""
COLOURS = ("#cfe3f7", "#f9dfb2", "#cdebc8", "#e6d3f2")
"""Of the weights that act, by version."""
LEFT, SCALE, ROW, GAP = 92, 25.5, 26, 4
WIDTH = 840


@dataclass
class Box:
    """What somebody does from `start` to `end`; of a learner where `shard` is None."""

    row: str
    start: float
    end: float
    rollout: int
    weights: int
    shard: int | None = None
    lost: bool = False


@dataclass
class Pipeline:
    """The first rollouts of a run with a lag, on workers A and B; B is lost at a time, if any, and C comes instead."""

    lag: int
    lost_at: float | None = None
    boxes: list[Box] = field(default_factory=list)

    def run(self) -> list[Box]:
        """Return every box, in the order of their starts."""
        free = {"worker A": 0.0, "worker B": 0.0}
        published = [0.0]  # when each version of the weights was there
        done = dict.fromkeys(range(SHARDS), 0.0)
        home: dict[int, str] = {}
        for rollout in range(ROLLOUTS):
            weights = max(0, rollout - self.lag)
            left = list(range(SHARDS))
            while left:
                worker = min(free, key=lambda name: (free[name], name))
                shard = next((each for each in left if home.get(each, worker) == worker), left[0])
                start = max(free[worker], published[weights], done[shard])
                if self._is_lost(worker, start):
                    self._replace(free, worker)
                    continue
                end = start + TASK
                if self._is_lost(worker, end):
                    assert self.lost_at is not None
                    self.boxes.append(Box(worker, start, self.lost_at, rollout, weights, shard, lost=True))
                    done[shard] = self.lost_at + NOTICED
                    self._replace(free, worker)
                    continue
                left.remove(shard)
                self.boxes.append(Box(worker, start, end, rollout, weights, shard))
                free[worker], done[shard], home[shard] = end, end, worker
            learner = max(*done.values(), published[-1])
            self.boxes.append(Box("learner", learner, learner + UPDATE, rollout, rollout + 1))
            published.append(learner + UPDATE)
        return sorted(self.boxes, key=lambda box: box.start)

    def _is_lost(self, worker: str, time: float) -> bool:
        return worker == "worker B" and self.lost_at is not None and time > self.lost_at

    def _replace(self, free: dict[str, float], worker: str) -> None:
        assert self.lost_at is not None
        del free[worker]
        free["worker C"] = self.lost_at + NOTICED + JOIN


PANELS = (
    ("lag 0: rollout k is collected with the weights of k updates; collecting and learning take turns", Pipeline(0)),
    ("lag 1: rollout k is collected with the weights of k - 1 updates, while rollout k - 1 is learned", Pipeline(1)),
    ("lag 1, and worker B is lost: other workers do its tasks again, with the same weights", Pipeline(1, 9.2)),
)


def picture() -> str:
    """Return the SVG."""
    body, top = [], 8
    for title, pipeline in PANELS:
        lines, top = _panel(title, pipeline, top)
        body += lines
    body += list(_legend(top))
    style = "text{font:12px sans-serif;fill:#222}.s{font-size:11px;text-anchor:middle}.t{font-weight:bold}.d{fill:#666}"
    size = f'viewBox="0 0 {WIDTH} {top + 44}" width="{WIDTH}" height="{top + 44}"'
    name = "Shards, rollouts and versions of the weights over time, with lag 0, lag 1, and a worker that is lost"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{name}"><style>{style}</style>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *body, "</svg>", ""])


def _panel(title: str, pipeline: Pipeline, top: int) -> tuple[list[str], int]:
    boxes = pipeline.run()
    rows = sorted({box.row for box in boxes} - {"learner"})
    lines = [f'<text x="8" y="{top + 14}" class="t">{title}</text>']
    places = {row: top + 24 + index * ROW for index, row in enumerate([*rows, "learner"])}
    lines += [f'<text x="8" y="{y + 15}">{row}</text>' for row, y in places.items()]
    for box in boxes:
        lines += _box(box, places[box.row])
    if pipeline.lost_at is not None:
        x, y = LEFT + pipeline.lost_at * SCALE, places["worker B"]
        lines.append(f'<path d="M{x:g} {y - 1}v{ROW - GAP + 2}" stroke="#c22" stroke-width="3"/>')
        lines.append(f'<text x="{x + 6:g}" y="{y + 15}" fill="#c22" style="fill:#c22">lost</text>')
    return lines, top + 24 + len(places) * ROW + 12


def _box(box: Box, y: int) -> Iterator[str]:
    x, width = LEFT + box.start * SCALE, (box.end - box.start) * SCALE
    learns = box.shard is None
    fill = "#fff" if learns or box.lost else COLOURS[box.weights]
    dash = ' stroke-dasharray="3 2"' if box.lost else ""
    yield (
        f'<rect x="{x + 1:g}" y="{y}" width="{width - 2:g}" height="{ROW - GAP}" rx="3" fill="{fill}" '
        f'stroke="{"#222" if learns else "#888"}"{dash}/>'
    )
    label = f"learns {box.rollout} → w{box.weights}" if learns else f"{'abcd'[box.shard or 0]}{box.rollout}"
    if width > 20:
        yield f'<text x="{x + width / 2:g}" y="{y + 15}" class="s">{label}</text>'


def _legend(top: int) -> Iterator[str]:
    x = LEFT
    yield f'<text x="8" y="{top + 15}" class="d">weights</text>'
    for version, colour in enumerate(COLOURS):
        yield f'<rect x="{x}" y="{top + 2}" width="30" height="18" rx="3" fill="{colour}" stroke="#888"/>'
        yield f'<text x="{x + 15}" y="{top + 15}" class="s">w{version}</text>'
        x += 38
    words = (
        "c2 is rollout 2 of shard c: the same bits whoever collects it, and whenever. w2 are the weights of 2 updates."
    )
    yield f'<text x="8" y="{top + 38}" class="d">{words}</text>'


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
