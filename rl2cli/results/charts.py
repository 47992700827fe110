"""The charts of one run's report: inline SVG in the colours of its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rl2cli.results.curve import Curve, curve, thinned
from rl2cli.results.drawing import drawing_style, plain_count, saved, short_count
from rl2cli.results.page import inline_svg, safe
from rl2cli.results.run_record import EVALUATION, TRAINING_RETURN, RunRecord
from rl2cli.results.values import number
from rl2cli.text import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CHARTS = 40
_INK, _FIRST, _SECOND = "#010203", "#010204", "#010205"
_COLOURS = {_INK: "currentColor", _FIRST: "var(--first)", _SECOND: "var(--second)"}
"""Colours that matplotlib takes → those of the page, which follow its light or dark ground."""
_TITLE_WIDTH = 60


class Chart(NamedTuple):
    """One chart: a curve over frames, and maybe a second one with its band."""

    title: str
    main: Curve
    second: Curve = Curve()
    band: tuple[Curve, Curve] | None = None
    note: str = ""


def charts_of(run: RunRecord) -> list[Chart]:
    """Return what a report of `run` shows over frames, the returns first; curves without a number are left out."""
    evaluations = run.curve(EVALUATION)
    low, high = _band(run)
    found = [Chart("return", run.curve(TRAINING_RETURN), evaluations, (low, high), _return_note(run))]
    others = [name for name in run.metric_names() if not name.startswith("evaluation/") and name != TRAINING_RETURN]
    found += [Chart(name, run.curve(name)) for name in sorted(others, key=_importance)]
    if len(run.timeline.speeds) > 1:
        found.insert(1, Chart("frames per second", curve(run.timeline.speeds)))
    return [chart for chart in found if len(chart.main.finite()) or len(chart.second.finite())]


def drawn(charts: Sequence[Chart]) -> str:
    """Return the charts as HTML; where there are too many, the first of them."""
    with drawing_style():
        figures = [_figure(chart, index) for index, chart in enumerate(charts[:MOST_CHARTS])]
    more = len(charts) - MOST_CHARTS
    left_out = f"<p>{more} more metrics are in metrics.jsonl.</p>" if more > 0 else ""
    return "\n".join(['<div class="charts">', *figures, "</div>", left_out]) if figures else ""


def _band(run: RunRecord) -> tuple[Curve, Curve]:
    """Return the 95 % interval of the evaluations."""
    edges = [
        (float(row["frames"]), mean, half)
        for row in run.evaluations
        if (mean := number(row["mean_return"])) is not None and (half := number(row.get("interval"))) is not None
    ]
    return curve((x, mean - half) for x, mean, half in edges), curve((x, mean + half) for x, mean, half in edges)


def _return_note(run: RunRecord) -> str:
    parts = ["line: episodes of training, mean of the last ones"] if len(run.curve(TRAINING_RETURN).finite()) else []
    parts += ["dots: evaluations with their 95 % interval"] if len(run.curve(EVALUATION).finite()) else []
    return "; ".join(parts)


def _importance(name: str) -> int:
    """Return where a metric stands: what people look at first comes first, the rest as recorded."""
    first = ("loss/policy", "loss/value", "loss/critic", "loss/entropy", "loss/kl", "loss/learning_rate")
    return first.index(name) if name in first else len(first) + name.startswith("rollout/")


def _figure(chart: Chart, index: int) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.hashsalt": f"rl2-{index}", "svg.fonttype": "none"})
    figure = Figure(figsize=(4.6, 2.6), layout="constrained")
    axes = figure.add_subplot()
    main, second = thinned(chart.main), thinned(chart.second)
    if chart.band is not None:
        low, high = map(thinned, chart.band)
        if low.x == high.x:
            axes.fill_between(low.x, low.y, high.y, color=_SECOND, alpha=0.25, linewidth=0)
    axes.plot(main.x, main.y, color=_FIRST, linewidth=1.3, marker="o" if len(main) == 1 else None)
    axes.plot(second.x, second.y, color=_SECOND, linewidth=1.3, marker="o", markersize=3 if len(second) < 60 else 0)
    _dress(axes)
    svg = inline_svg(saved(figure, "svg", by="rl2 report", transparent=True), f"{chart.title} over frames")
    for placeholder, colour in _COLOURS.items():
        svg = svg.replace(placeholder, colour)
    note = f"<br/>{safe(chart.note)}" if chart.note else ""
    return f"<figure><figcaption><b>{safe(shortened(chart.title, _TITLE_WIDTH))}</b>{note}</figcaption>{svg}</figure>"


def _dress(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    counted = FuncFormatter(lambda value, _: short_count(value))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(counted)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_count(value)))
    axes.set_xlabel("frames", color=_INK)
    axes.tick_params(colors=_INK)
    for spine in axes.spines.values():
        spine.set_color(_INK)
    axes.grid(color=_INK, alpha=0.15)
