"""Curves as pictures, by matplotlib, which is imported when something is drawn."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rl2cli.results.comparison import Axis, Compared
from rl2cli.text import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito, Color Universal Design, 2008, in an order of falling contrast on white, without their yellow."""
_STYLES = ("-", "--", "-.", ":")
_LABEL_WIDTH = 90
_MOST_LEGEND = 20
_MOST_PANELS = 11
_OTHERS = "other environments"
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_TIMES = ((7200.0, 3600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def short_count(value: float) -> str:
    """Return a number for an axis: `1.5 M`, `20 k`, `250`."""
    for unit, letter in _UNITS:
        if abs(value) >= unit:
            return f"{value / unit:g} {letter}"
    return f"{value:g}"


def plain_count(value: float) -> str:
    """Return a number for the axis of a return: `-1,200`, `0.5`, `1.5 M`."""
    return f"{value:,g}" if abs(value) < 1e5 else short_count(value)


def draw_comparison(compared: Sequence[Compared], *, metric: str, axis: Axis, title: str, format: str) -> bytes:
    """Return a picture of the groups' curves, a panel for each environment.

    Args:
        compared: The groups.
        metric: What the curves show, for the axis.
        axis: What x is.
        title: Above the picture.
        format: `png` or `svg`.
    """
    with drawing_style():
        from matplotlib.figure import Figure

        panels = _by_environment(compared)
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        size = (9.0, 5.2) if len(panels) == 1 else (6.5 * columns, 4.2 * rows)
        figure = Figure(figsize=size, dpi=150, layout="constrained")
        found = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, (environment, groups) in zip(found, panels.items(), strict=False):
            _draw_panel(axes, groups, metric, axis)
            axes.set_title(_label(title if len(panels) == 1 else environment), loc="left", fontweight="bold")
        for axes in found[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel(_explanation(compared), fontsize=7.5, color="#555555", x=0.01, ha="left")
        return saved(figure, format, by="rl2 compare")


def _by_environment(compared: Sequence[Compared]) -> dict[str, list[Compared]]:
    """Return the groups of each environment, whose returns are no measure for those of another one."""
    panels: dict[str, list[Compared]] = {}
    for one in compared:
        environment = one.group.first.environment
        name = environment if environment in panels or len(panels) < _MOST_PANELS else _OTHERS
        panels.setdefault(name, []).append(one)
    return panels


def _draw_panel(axes: Axes, groups: Sequence[Compared], metric: str, axis: Axis) -> None:
    scale, unit = _time_unit(groups) if axis == "time" else (1.0, "frames")
    handles = [_draw_group(axes, one, index, scale) for index, one in enumerate(groups)]
    _dress(axes, "time" if axis == "time" else "frames", unit, metric)
    _add_legend(axes, handles, [_legend_text(one) for one in groups])


def _label(text: str) -> str:
    return shortened(text, _LABEL_WIDTH)


@contextmanager
def drawing_style() -> Iterator[None]:
    """Draw without a display, a user's own style or warnings, and take every text as it is."""
    import matplotlib

    style: dict[Any, Any] = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "font.size": 9,
        "text.parse_math": False,
        "text.usetex": False,
        "svg.fonttype": "path",
        "svg.hashsalt": "rl2",
        "path.simplify": True,
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a character that the font lacks is drawn as a box
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        yield


def saved(figure: Figure, format: str, *, by: str, transparent: bool = False) -> bytes:
    """Return the figure as the bytes of a file, which says what made it and nothing of when."""
    metadata: dict[str, Any] = {"Creator": by, "Date": None} if format == "svg" else {"Software": by}
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format, metadata=metadata, transparent=transparent)
    return buffer.getvalue()


def _draw_group(axes: Axes, one: Compared, index: int, scale: float) -> Any:
    """Draw one group and return its line for the legend."""
    colour, style = PALETTE[index % len(PALETTE)], _STYLES[index // len(PALETTE) % len(_STYLES)]
    found = one.curve
    xs = [x / scale for x in found.mean.x]
    mark = "o" if len(xs) == 1 else None
    (line,) = axes.plot(xs, found.mean.y, color=colour, linestyle=style, linewidth=1.8, marker=mark)
    if found.low is not None and found.high is not None:
        axes.fill_between(xs, found.low.y, found.high.y, color=colour, alpha=0.18, linewidth=0)
    if len(found.seeds) > 1:
        end = found.mean.x[-1] if len(found.mean) else -1.0
        for seed in found.seeds:
            rest = [(x / scale, y) for x, y in _beyond(seed.x, seed.y, end)]
            axes.plot([x for x, _ in rest], [y for _, y in rest], color=colour, alpha=0.5, linewidth=0.7)
    return line


def _beyond(xs: Sequence[float], ys: Sequence[float], end: float) -> list[tuple[float, float]]:
    """Return the points of a curve from `end` on, where it may be between two of them."""
    rest = [(x, y) for x, y in zip(xs, ys, strict=True) if x > end]
    if not rest or len(rest) == len(xs):
        return rest
    (x0, y0), (x1, y1) = (xs[-len(rest) - 1], ys[-len(rest) - 1]), rest[0]
    return [(end, y0 + (y1 - y0) * (end - x0) / (x1 - x0)), *rest]


def _dress(axes: Axes, x_name: str, unit: str, y_name: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    counted = FuncFormatter(lambda value, _: short_count(value))
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.xaxis.set_major_formatter(counted)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_count(value)))
    axes.set_xlabel(x_name if x_name == unit else f"{x_name} in {unit}")
    axes.set_ylabel(_label(y_name))


def _add_legend(axes: Axes, handles: Sequence[Any], texts: Sequence[str]) -> None:
    """Add a legend whose texts are set afterwards: a label that begins with `_` would be left out."""
    from matplotlib.transforms import ScaledTranslation

    hidden = len(handles) - _MOST_LEGEND
    shown = handles[:_MOST_LEGEND]
    below = axes.transAxes + ScaledTranslation(0.0, -0.5, axes.figure.dpi_scale_trans)  # inches; no curve is there
    legend = axes.legend(
        shown,
        ["-"] * len(shown),
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(0.0, 0.0),
        bbox_transform=below,
        borderaxespad=0.0,
    )
    for line, words in zip(legend.get_texts(), texts, strict=False):
        line.set_text(words)
    if hidden > 0:
        legend.set_title(f"the first {_MOST_LEGEND} of {len(handles)}")


def _legend_text(one: Compared) -> str:
    number = len(one.curve.seeds)
    seeds = "no data" if number == 0 else "1 seed" if number == 1 else f"{number} seeds"
    return f"{_label(one.group.label)} ({seeds})"


def _explanation(compared: Sequence[Compared]) -> str:
    if all(len(one.curve.seeds) < 2 for one in compared):
        return " "
    text = "Several seeds: interquartile mean and 95 % bootstrap interval, as far as all of them have data"
    goes_on = any(
        seed.x[-1] > (one.curve.mean.x[-1] if len(one.curve.mean) else -1.0)
        for one in compared
        if len(one.curve.seeds) > 1
        for seed in one.curve.seeds
    )
    return f"{text}; thin: single seeds from there on" if goes_on else text


def _time_unit(compared: Sequence[Compared]) -> tuple[float, str]:
    longest = max((seed.x[-1] for one in compared for seed in one.curve.seeds), default=0.0)
    return next((scale, unit) for least, scale, unit in _TIMES if longest >= least)
