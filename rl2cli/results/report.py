"""One run as one page: what came of it, how it went, and what it was made with."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from rl2cli.reporting.figures import UNICODE, count, duration, mean_and_interval, rate, significant
from rl2cli.reporting.progress import Evaluation
from rl2cli.results.charts import charts_of, drawn
from rl2cli.results.page import facts, folded, html_table, page, safe, section
from rl2cli.results.run_record import RunRecord
from rl2cli.results.timeline import SHARES
from rl2cli.results.values import MAX_RECORD_BYTES, Row, finite, table, text, texts, whole
from rl2cli.results.video_files import Clip, clips_in

BY = "rl2 report"
MOST_EVALUATIONS = 500
_MOST_EVENTS = 200
_EVENT_TEXT = 300


def report(run: RunRecord, out: Path) -> str:
    """Return the page.

    Args:
        run: The run.
        out: Where the page is going to be, from which links to large videos lead.
    """
    body = [
        _heading(run),
        section("Curves", _shortage(run), drawn(charts_of(run)) or "<p>Nothing was recorded yet.</p>"),
        section("Videos", _videos(clips_in(run.folder.videos), out)),
        section("Evaluations", _evaluations(run)),
        section("Where the time went", _time(run)),
        section("Events", _events(run)),
        section("Made with", _machine(run), _versions(run)),
        section("Choices", _choices(run)),
        section(
            "Spec",
            folded("spec.toml, as it was written", run.text_of("spec.toml")),
            folded("resolved.toml, every setting", run.text_of("resolved.toml")),
        ),
        f'<p class="quiet">Written by {BY} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.</p>',
    ]
    return page(f"{run.name}: {run.environment}, {run.algorithm}", [part for part in body if part], by=BY)


def _heading(run: RunRecord) -> str:
    parts = [run.environment, run.algorithm, run.network, f"seed {run.seed}" if run.seed is not None else ""]
    started = f", started {run.started:%Y-%m-%d %H:%M} UTC" if run.started else ""
    tiles = "\n".join(f"<div><b>{safe(value)}</b><span>{safe(name)}</span></div>" for name, value in _results(run))
    return "\n".join(
        (
            f"<h1>{safe(run.name)}</h1>",
            f"<p>{safe(', '.join(filter(None, parts)))}{started}</p>",
            f'<div class="result">\n{tiles}\n</div>',
        )
    )


def _results(run: RunRecord) -> list[tuple[str, str]]:
    """Return the figures at the top: their names and values."""
    found = []
    if run.best is not None:
        found.append((f"best return, at {count(run.best.frames)} frames", significant(run.best.mean_return)))
    if run.evaluations:
        last = run.evaluations[-1]
        found.append((f"last evaluation, at {count(last['frames'])} frames", _mean(last)))
    total = run.total_frames
    if run.frames is not None:
        of_total = f"frames of {count(total)}" if total is not None and total > run.frames else "frames"
        found.append((of_total, count(run.frames)))
    if run.seconds is not None:
        found.append(("time", duration(run.seconds)))
    if run.frames_per_second is not None:
        found.append(("frames per second", rate(run.frames_per_second)))
    return [*found, ("state", run.state)]


def _shortage(run: RunRecord) -> str:
    limit = f"{MAX_RECORD_BYTES // 2**20} MB"
    return f"<p>Only the first {limit} of metrics.jsonl are shown.</p>" if run.is_too_long else ""


def _evaluations(run: RunRecord) -> str:
    shown = run.evaluations[-MOST_EVALUATIONS:]
    has_sampled = any("stochastic_mean" in row for row in shown)
    headings = ["frames", "return", "deviation", "episodes", *(["sampled actions"] if has_sampled else [])]
    cells = [
        [
            count(row["frames"]),
            _mean(row),
            _figure(row.get("std_return")),
            _figure(row.get("episodes")),
            *([_figure(row.get("stochastic_mean"))] if has_sampled else []),
        ]
        for row in shown
    ]
    left_out = len(run.evaluations) - len(shown)
    note = f"<p>The last {len(shown)} of {count(len(run.evaluations))}.</p>" if left_out > 0 else ""
    return note + html_table(headings, cells)


def _mean(row: Row) -> str:
    mean, half = finite(row["mean_return"]), finite(row.get("interval"))
    if mean is None or half is None:
        return _figure(row["mean_return"])
    return mean_and_interval(Evaluation(row["frames"], mean, 0.0, 0, half), UNICODE)


def _figure(value: object) -> str:
    if (exact := whole(value)) is not None:
        return count(exact)
    found = finite(value)
    return significant(found) if found is not None else text(value, "-")


def _time(run: RunRecord) -> str:
    shares = run.timeline.shares
    if not shares:
        return "<p>No speeds were recorded: the run was short, or quiet.</p>" if run.timeline.frames else ""
    bar = "".join(f'<div class="{name}" style="width: {100 * shares[name]:.2f}%"></div>' for name in SHARES)
    key = "".join(f'<li><i class="{name}"></i>{name} {100 * shares[name]:.0f} %</li>' for name in SHARES)
    return f'<div class="bar">{bar}</div>\n<ul class="key">{key}</ul>'


def _events(run: RunRecord) -> str:
    events = run.timeline.events
    cells = [[_clock(row), count(row["frames"]), text(row["event"]), _details(row)] for row in events[:_MOST_EVENTS]]
    note = f"<p>The first {_MOST_EVENTS} of {count(len(events))}.</p>" if len(events) > _MOST_EVENTS else ""
    return note + html_table(["time, UTC", "frames", "event", "details"], cells, of_words=True)


def _clock(row: Row) -> str:
    seconds = finite(row.get("time"))
    try:
        return "-" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return "-"


def _details(row: Row) -> str:
    """Return what else an event's row says; the choices of a start have a part of the page to themselves."""
    known = ("event", "time", "frames", "choices")
    parts = [
        f"{key} {value}" if key not in ("text", "error") else str(value)
        for key, value in row.items()
        if key not in known
    ]
    return text(", ".join(parts))[:_EVENT_TEXT]


def _machine(run: RunRecord) -> str:
    made = run.facts
    git, command = table(made.get("git")), texts(made.get("command"))
    changed = {True: ", files changed", False: ""}.get(git.get("dirty") is True, "")
    pairs = [
        ("command", shlex.join(command)),
        ("folder", str(run.path)),
        ("processor", _processor(run)),
        ("GPU", ", ".join(texts(made.get("gpus")))),
        ("system", text(made.get("os"))),
        ("git commit", f"{text(git.get('commit'))}{changed}" if git else ""),
        *((f"resumed from {count(whole(one.get('resumed_from')) or 0)}", text(one.get("at"))) for one in _resumed(run)),
    ]
    return facts([pair for pair in pairs if pair[1]])


def _resumed(run: RunRecord) -> list[Row]:
    sessions = run.facts.get("resumed")
    return [one for one in sessions[:100] if isinstance(one, dict)] if isinstance(sessions, list) else []


def _processor(run: RunRecord) -> str:
    cores = whole(run.facts.get("cpu_count"))
    return text(run.facts.get("cpu")) + (f", {cores} cores" if cores else "")


def _versions(run: RunRecord) -> str:
    versions = list(table(run.facts.get("versions")).items())[:100]
    found = {"Python": run.facts.get("python"), **dict(versions)}
    return folded("Versions", "\n".join(f"{text(name)} {text(value)}" for name, value in found.items() if text(value)))


def _choices(run: RunRecord) -> str:
    plan = facts([(text(key), _plain(value)) for key, value in list(table(run.facts.get("plan")).items())[:50]])
    lines = "".join(f"<li>{safe(choice)}</li>" for choice in texts(run.facts.get("choices")))
    return plan + (f"\n<ul>{lines}</ul>" if lines else "")


def _plain(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else text(str(value))


def _videos(clips: Sequence[Clip], out: Path) -> str:
    return "\n".join(['<div class="charts">', *(_video(clip, out) for clip in clips), "</div>"]) if clips else ""


def _video(clip: Clip, out: Path) -> str:
    size = f"{clip.size / 1e6:.1f} MB" if clip.size >= 1e5 else f"{clip.size / 1e3:.0f} kB"
    name = safe(clip.path.name)
    if clip.data is None:
        link = quote(Path(os.path.relpath(clip.path, out.absolute().parent)).as_posix())
        return f'<p><a href="{link}">{name}</a>, {size}, is not inside this page</p>'
    source = f"data:{clip.kind};base64,{clip.data}"
    is_image = clip.kind.startswith("image/")
    shown = (
        f'<img alt="{name}" src="{source}"/>'
        if is_image
        else f'<video controls="" preload="metadata" src="{source}"></video>'
    )
    return f"<figure>{shown}<figcaption>{name}, {size}</figcaption></figure>"
