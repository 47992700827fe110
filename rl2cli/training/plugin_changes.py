"""Whether the plugins of a run are still those that it was trained with."""

from __future__ import annotations

from pathlib import Path

from rl2cli.spec.model import RunSpec
from rl2cli.text import shortened
from rl2cli.training.build import plugin_classes
from rl2cli.training.machine_facts import plugin_facts
from rl2cli.training.run_folder import read_json

_LONGEST_NAME = 100


def changed_plugins(run_dir: Path, spec: RunSpec) -> list[str]:
    """Return a sentence for each plugin whose file is another than when the run began, by its `run.json`.

    rl2's own parts are left out: another version of them gives the same policy, or refuses its checkpoint.
    """
    recorded = read_json(run_dir / "run.json").get("plugins")
    entries = [entry for entry in recorded if isinstance(entry, dict)] if isinstance(recorded, list) else []
    before = {(entry["module"], entry["class"]): entry for entry in entries if _is_known(entry)}
    changed = []
    for plugin in plugin_classes(spec):
        facts = plugin_facts(plugin)
        first = before.get((facts["module"], facts["class"]))
        if first is not None and facts["sha256"] is not None and first["sha256"] != facts["sha256"]:
            name = shortened(f"{facts['module']}:{facts['class']}", _LONGEST_NAME)
            versions = first.get("version"), facts["version"]
            other = (
                f" ({shortened(str(versions[0]), 40)}, now {versions[1]})"
                if all(versions) and len(set(versions)) > 1
                else ""
            )
            changed.append(f"the file of {name} has changed since the run began{other}, so it may act differently")
    return changed


def _is_known(entry: dict[str, object]) -> bool:
    return all(isinstance(entry.get(key), str) for key in ("module", "class", "sha256")) and not str(
        entry["module"]
    ).startswith("rl2cli.")
