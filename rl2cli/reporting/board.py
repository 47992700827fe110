"""The table of the live view, drawn from facts and progress alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from rl2cli.reporting.figures import (
    Glyphs,
    count,
    duration,
    eta,
    mean_and_interval,
    percent,
    rate,
    significant,
    sparkline,
)
from rl2cli.reporting.progress import REPLAY_METRICS, Evaluation, Progress, Replay, RunFacts, WorkerRow

LABEL_WIDTH = 10
FRAME_WIDTH = LABEL_WIDTH + 6  # borders, their padding and the gap after the label
CELL_WIDTH = 20
NUMBER_WIDTH = 9
GAP = 3
MOST_WIDTH = 120
MOST_WORKERS = 8
HIGH = 30
"""Lines from which on there is room for all of them."""
SHORTEST_NAME = 8
SHARE_STYLES = ("blue", "magenta", "green", "bright_black")


@dataclass(frozen=True, slots=True)
class Cell:
    """A number and what it is; `caption` comes first."""

    value: str
    caption: str = ""
    unit: str = ""
    style: str = "bold"

    def text(self) -> Text:
        """Return the cell in its styles."""
        caption = f"{self.caption} " if self.caption else ""
        unit = f" {self.unit}" if self.unit else ""
        return Text.assemble((caption, "dim"), (self.value, self.style), (unit, "dim"))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the board; where the terminal is too low, those of the highest rank go first."""

    label: str
    content: Text
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Drawing:
    """Lines ready for the terminal. Rich's own Table and Panel would take more than twice as long."""

    lines: tuple[Text, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self.lines:
            yield from line.render(console, end="\n")


@dataclass(frozen=True, slots=True)
class Board:
    """Draws a run in `width` columns and at most `height` lines, without wrapping anything."""

    facts: RunFacts
    glyphs: Glyphs
    width: int
    height: int

    def draw(self, progress: Progress | None, evaluations: Sequence[float] = ()) -> Drawing:
        """Return the table for `progress`; `evaluations` are the mean returns of this session's evaluations."""
        lines = [Line("progress", Text("preparing"))] if progress is None else self._lines(progress, evaluations)
        kept = _highest_ranks_dropped(lines, max(1, self.height - 2))
        return Drawing((self._top(), *map(self._framed, kept), self._bottom()))

    def _framed(self, line: Line) -> Text:
        side = self.glyphs.side
        label = f"{line.label[:LABEL_WIDTH]:<{LABEL_WIDTH + 2}}"
        line.content.truncate(self._room, overflow="crop", pad=True)
        return Text.assemble((f"{side} ", "dim"), (label, "cyan"), line.content, (f" {side}", "dim"))

    def _top(self) -> Text:
        left, edge, right = self.glyphs.top
        title = self._title()
        rest = edge * (self._outer_width - title.cell_len - 5)
        return Text.assemble((f"{left}{edge} ", "dim"), title, (f" {rest}{right}", "dim"))

    def _bottom(self) -> Text:
        left, edge, right = self.glyphs.bottom
        return Text(f"{left}{edge * (self._outer_width - 2)}{right}", style="dim")

    @property
    def _outer_width(self) -> int:
        return min(self.width, MOST_WIDTH)

    @property
    def _room(self) -> int:
        """Columns for the content of a line."""
        return max(8, self._outer_width - FRAME_WIDTH)

    def _title(self) -> Text:
        facts = self.facts
        environments = f"{facts.environment} {self.glyphs.times} {count(facts.num_envs)}"
        parts = [facts.algorithm, environments, facts.device, facts.network]
        title = Text(self.glyphs.clean(facts.name), style="bold")
        for part in map(self.glyphs.clean, parts):
            if title.cell_len + cell_len(part) + 9 <= self._outer_width:
                title.append(f" {self.glyphs.separator} {part}", style="not bold")
        title.truncate(max(1, self._outer_width - 6))
        return title

    def _lines(self, progress: Progress, evaluations: Sequence[float]) -> list[Line]:
        return [
            Line("progress", self._progress_bar(progress)),
            Line("frames", self._cells(_frame_cells(progress))),
            Line("speed", self._cells(_speed_cells(progress, self.facts.frame_skip))),
            Line("return", self._returns(progress)),
            Line("episodes", self._cells(_episode_cells(progress)), rank=2),
            *self._evaluation(progress, evaluations),
            *self._algorithm(progress.metrics),
            *self._time(progress.shares),
            *self._workers(progress.workers),
            Line("checkpoint", self._cells(_checkpoint_cells(progress)), rank=3),
        ]

    def _progress_bar(self, progress: Progress) -> Text:
        tail = f" {percent(progress.frames, progress.total_frames):>5}"
        width = self._room - len(tail)
        filled = min(width, width * progress.frames // progress.total_frames)
        return Text.assemble(
            (self.glyphs.bar * filled, "green"), (self.glyphs.bar_rest * (width - filled), "dim"), (tail, "bold")
        )

    def _returns(self, progress: Progress) -> Text:
        if progress.return_mean is None:
            return Text("no episode has ended yet", style="dim")
        cells = [Cell(significant(progress.return_mean), "mean")]
        if progress.return_best is not None:
            cells.append(Cell(significant(progress.return_best), "best"))
        return self._with_sparkline(self._cells(cells), progress.return_history)

    def _evaluation(self, progress: Progress, evaluations: Sequence[float]) -> list[Line]:
        latest = progress.evaluation
        if latest is None:
            return [Line("evaluation", Text("none yet", style="dim"), rank=1)]
        first = Line(
            "evaluation", self._with_sparkline(self._cells(_evaluation_cells(latest, self.glyphs)), evaluations)
        )
        more = [*_stochastic_cells(latest), *_best_cells(progress.best)]
        return [first, Line("", self._cells(more), rank=2)] if more else [first]

    def _algorithm(self, metrics: Mapping[str, float]) -> list[Line]:
        """Return what the algorithm reports: how full its replay buffer is, if it has one, and everything else."""
        replay = Replay.of(metrics)
        if replay is None:
            return self._metrics(metrics)
        rest = {name: number for name, number in metrics.items() if name not in REPLAY_METRICS}
        return [Line("replay", self._cells(_replay_cells(replay), stop=1), rank=2), *self._metrics(rest)]

    def _metrics(self, metrics: Mapping[str, float]) -> list[Line]:
        """Lay the metrics out in columns, a line or more for each group."""
        groups = _grouped({self.glyphs.clean(name): number for name, number in metrics.items()})
        longest = max((cell_len(name) for group in groups.values() for name, _ in group), default=0)
        name_width = max(1, min(longest, self._room - NUMBER_WIDTH - 1))
        columns = max(1, (self._room + GAP) // (name_width + NUMBER_WIDTH + 1 + GAP))
        lines = [Line("", Text(), rank=6)] if groups else []
        for label, members in groups.items():
            for start in range(0, len(members), columns):
                row = [_metric(name, number, name_width) for name, number in members[start : start + columns]]
                lines.append(Line("" if start else label, Text(" " * GAP).join(row), rank=5))
        return lines

    def _time(self, shares: Mapping[str, float]) -> list[Line]:
        if not shares:
            return []
        return [
            Line("", Text(), rank=6),
            Line("time", self._share_bar(list(shares.values())), rank=4),
            *(Line("", names, rank=3) for names in self._share_names(shares)),
        ]

    def _workers(self, workers: Sequence[WorkerRow]) -> list[Line]:
        """Return a line for each worker, and one for those that are too many to list."""
        most = MOST_WORKERS if self.height >= HIGH else MOST_WORKERS // 2
        shown, rest = workers[:most], workers[most:]
        names = ["workers", *[""] * len(shown)]
        lines = [Line(name, self._worker(each), rank=4) for name, each in zip(names, shown, strict=False)]
        return [*lines, Line("", self._cells(_rest_cells(rest)), rank=4)] if rest else lines

    def _worker(self, worker: WorkerRow) -> Text:
        """Return what a worker does and where it is, that in as many columns as are left."""
        cells = _worker_cells(worker)
        name = _fitting(worker.name, self._room - self._next_stop(self._cells(cells)))
        return self._cells([*cells, Cell(self.glyphs.clean(name), style="dim")] if name else cells)

    def _share_bar(self, shares: Sequence[float]) -> Text:
        bar = Text()
        whole = sum(shares) or 1.0
        ends = [round(self._room * sum(shares[: index + 1]) / whole) for index in range(len(shares))]
        for end, (shade, style) in zip(ends, self._shades(), strict=False):
            bar.append(shade * (end - len(bar)), style=style)
        return bar

    def _share_names(self, shares: Mapping[str, float]) -> list[Text]:
        whole = sum(shares.values()) or 1.0
        names = [
            Text.assemble((shade, style), f" {self.glyphs.clean(name)} ", (f"{share / whole:.0%}", "bold"))
            for (name, share), (shade, style) in zip(shares.items(), self._shades(), strict=False)
        ]
        return _wrapped(names, self._room)

    def _shades(self) -> Iterable[tuple[str, str]]:
        return zip(self.glyphs.shades, SHARE_STYLES, strict=True)

    def _cells(self, cells: Iterable[Cell], stop: int | None = None) -> Text:
        """Return the cells at tab stops, so that they align from line to line; those that do not fit are left out."""
        line = Text()
        for cell in cells:
            text = cell.text()
            start = self._next_stop(line, stop) if line else 0
            if start + text.cell_len <= self._room:
                line.append(" " * (start - line.cell_len)).append_text(text)
        return line

    def _next_stop(self, line: Text, stop: int | None = None) -> int:
        """Return the column of the first tab stop behind a line."""
        stop = stop or max(CELL_WIDTH, self._room // max(1, self._room // CELL_WIDTH))
        return -(-(line.cell_len + 2) // stop) * stop

    def _with_sparkline(self, line: Text, values: Sequence[float]) -> Text:
        room = self._room - line.cell_len - GAP
        if room >= 8 and len(values) > 1:
            line.append(" " * GAP).append(sparkline(values, min(room, 40), self.glyphs), style="green")
        return line


def _frame_cells(progress: Progress) -> list[Cell]:
    cells = [Cell(count(progress.frames), unit=f"/ {count(progress.total_frames)}")]
    if progress.eta_seconds is not None and progress.frames < progress.total_frames:
        cells.append(Cell(eta(progress.eta_seconds), "eta"))
    return [*cells, Cell(duration(progress.wall_seconds), "elapsed"), Cell(count(progress.iteration), "iteration")]


def _speed_cells(progress: Progress, frame_skip: int) -> list[Cell]:
    cells = [
        Cell(rate(progress.frames_per_second_now), "now", "frames/s"),
        Cell(rate(progress.frames_per_second_mean), "mean"),
    ]
    return cells if frame_skip == 1 else [*cells, Cell(count(frame_skip * progress.frames), "simulated")]


def _episode_cells(progress: Progress) -> list[Cell]:
    cells = [Cell(count(progress.episodes))]
    if progress.length_mean is not None:
        cells.append(Cell(significant(progress.length_mean), "mean length"))
    return cells


def _evaluation_cells(latest: Evaluation, glyphs: Glyphs) -> list[Cell]:
    return [
        Cell(mean_and_interval(latest, glyphs), style="bold green" if latest.is_best else "bold"),
        Cell(count(latest.episodes), unit="episodes"),
        Cell(count(latest.frames), "at"),
    ]


def _stochastic_cells(latest: Evaluation) -> list[Cell]:
    return [] if latest.stochastic_mean is None else [Cell(significant(latest.stochastic_mean), "stochastic")]


def _best_cells(best: Evaluation | None) -> list[Cell]:
    return [] if best is None else [Cell(significant(best.mean_return), "best"), Cell(count(best.frames), "at")]


def _replay_cells(replay: Replay) -> list[Cell]:
    return [
        Cell(count(replay.size), unit=f"/ {count(replay.capacity)}"),
        Cell(percent(replay.size, replay.capacity)),
        Cell(f"{replay.updates_per_frame:.2f}", unit="updates per frame"),
    ]


def _checkpoint_cells(progress: Progress) -> list[Cell]:
    if progress.checkpoint_frames is None:
        return [Cell("none yet", style="dim")]
    return [Cell(count(progress.checkpoint_frames), unit="frames")]


def _worker_cells(worker: WorkerRow) -> list[Cell]:
    speed = Cell(rate(worker.frames_per_second), str(worker.place), "frames/s")
    lost = Cell("lost", str(worker.place), style="bold yellow")
    restarts = Cell(count(worker.restarts), unit="restart" if worker.restarts == 1 else "restarts")
    return [speed if worker.is_alive else lost, restarts]


def _fitting(name: str, room: int) -> str:
    """Return a worker's `host, process N` in at most `room` columns: of a long host's name, the beginning."""
    if cell_len(name) <= room:
        return name
    host, _, process = name.partition(", process ")
    left = room - len(process) - 1
    return f"{host[: left - 2]}.. {process}" if left >= SHORTEST_NAME else ""


def _rest_cells(workers: Sequence[WorkerRow]) -> list[Cell]:
    """Return what all other workers do together."""
    speed = sum(each.frames_per_second for each in workers)
    restarts = sum(each.restarts for each in workers)
    lost = sum(not each.is_alive for each in workers)
    caption = f"{count(len(workers))} more{f', {count(lost)} lost' if lost else ''}"
    return [
        Cell(rate(speed), caption, "frames/s"),
        Cell(count(restarts), unit="restart" if restarts == 1 else "restarts"),
    ]


def _grouped(metrics: Mapping[str, float]) -> dict[str, list[tuple[str, float]]]:
    """Group metrics by their name up to the first slash; those without one come last."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for full_name, number in sorted(metrics.items(), key=lambda item: "/" not in item[0]):
        group, _, name = full_name.partition("/")
        groups.setdefault(group if name else "metrics", []).append((name or group, number))
    return groups


def _metric(name: str, number: float, name_width: int) -> Text:
    shown = Text(name, style="dim")
    shown.truncate(name_width, pad=True)
    return shown.append(f" {significant(number):>{NUMBER_WIDTH}}", style="bold not dim")


def _wrapped(parts: Sequence[Text], room: int) -> list[Text]:
    lines = [Text()]
    for part in parts:
        if lines[-1] and lines[-1].cell_len + 2 + part.cell_len > room:
            lines.append(Text())
        lines[-1].append("  " if lines[-1] else "").append_text(part)
    return lines


def _highest_ranks_dropped(lines: Sequence[Line], most: int) -> list[Line]:
    kept = list(lines)
    while len(kept) > most:
        highest = max(line.rank for line in kept)
        kept.reverse()
        kept.remove(next(line for line in kept if line.rank == highest))
        kept.reverse()
    return kept
