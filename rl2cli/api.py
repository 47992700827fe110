"""Training from Python, without the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl2cli.reporting.progress import Summary
from rl2cli.reporting.view import ViewMode, make_view
from rl2cli.spec import LoadedSpec, load_spec, load_spec_dict


def train(
    spec: str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    run_dir: str | Path | None = None,
    root: str | Path = "outputs",
    view: ViewMode = "quiet",
) -> Summary:
    """Train a run spec and return how it ended.

    Args:
        spec: A TOML file (the shipped one of that name where there is no such file), or the spec as a mapping.
        overrides: Settings that win over the spec's, each `a.b=VALUE` with a TOML value.
        run_dir: Folder of the run; a new one under `root` where left out.
        root: Where runs are kept.
        view: What is shown on stderr: nothing, plain lines, or the live view.

    Returns:
        The run folder, how it ended, frames, time, and the last and best evaluation.

    Raises:
        RL2Error: See `rl2cli.errors`.
    """
    loaded = _load(spec, overrides)
    from rl2cli.training.session import train as run_session  # imports torch, after the spec is known to be right

    shown = make_view(view)
    try:
        return run_session(loaded, view=shown, run_dir=None if run_dir is None else Path(run_dir), root=Path(root))
    finally:
        shown.close()


def _load(spec: str | Path | Mapping[str, Any], overrides: Sequence[str]) -> LoadedSpec:
    return load_spec_dict(spec, overrides) if isinstance(spec, Mapping) else load_spec(spec, overrides)
