"""Read, override and validate a run spec: all its problems at once, or a `RunSpec` with nothing left open."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import ValidationError

from rl2cli.errors import PluginError, UsageError
from rl2cli.options import Options
from rl2cli.plugins.lookup import look_from
from rl2cli.spec.complaints import complaints
from rl2cli.spec.extends import with_bases
from rl2cli.spec.locate import Path
from rl2cli.spec.mapping import plain_table
from rl2cli.spec.model import EnvSpec, RunSpec, ScaleSpec, default_shard
from rl2cli.spec.overrides import SHORT_OPTIONS, Override, parse_override, short_override
from rl2cli.spec.plugin_tables import PLUGIN_TABLES as PLUGIN_TABLES
from rl2cli.spec.plugin_tables import PluginTable as PluginTable
from rl2cli.spec.problems import MAX_PROBLEMS, Problem, SpecError
from rl2cli.spec.settings import Layer, Settings
from rl2cli.spec.shipped import find_spec, read_spec
from rl2cli.spec.source import Finding, Source
from rl2cli.spec.toml import decode, parse_source

Model = TypeVar("Model", bound=Options)


@dataclass(frozen=True)
class LoadedSpec:
    """A validated run spec and where it came from."""

    spec: RunSpec
    text: str
    """As written, without overrides."""
    path: str
    """The file it was read from, or what the caller called it."""
    shipped: bool = False
    """The path did not exist, and the spec that comes with rl2 was read instead."""
    settings: Settings | None = None
    """Where each value came from."""

    @property
    def bases(self) -> list[Layer]:
        """The file that it extends, the one that this extends, and so on."""
        return [] if self.settings is None else list(self.settings.layers[1:])

    def placed(self, error: UsageError) -> UsageError:
        """Return `error` with the line of the setting that its `place` names, such as `env.id`; else as it is."""
        path = tuple((error.place or "").split("."))
        if self.settings is None or isinstance(error, SpecError) or path[0] not in RunSpec.model_fields:
            return error
        return SpecError([self.settings.place(Finding(path, error.message, error.hint))])


def load_spec(
    path: str | FilePath,
    overrides: Sequence[str] = (),
    *,
    seed: int | None = None,
    total_frames: int | None = None,
    device: str | None = None,
) -> LoadedSpec:
    """Read the run spec at `path`, or the shipped one of that name where there is no such file.

    Args:
        path: A TOML file.
        overrides: Arguments of `--set`, each `a.b=VALUE` with a TOML value; a later one wins.
        seed: Value of `--seed`, which wins over all others; likewise the next two.
        total_frames: Value of `--frames`.
        device: Value of `--device`.

    Raises:
        UsageError: There is no such file, or it cannot be read.
        SpecError: What it says is wrong; all problems at once.
    """
    file, shipped = find_spec(path)
    text = read_spec(file)
    short = {"seed": seed, "total_frames": total_frames, "device": device}
    name = str(path) if not shipped else str(file)
    if not shipped:
        look_from(file.absolute().parent)  # the names of its own project count, wherever it is trained from
    return _load_text(text, name, overrides, short, file=file, shipped=shipped)


def load_spec_text(
    text: str,
    source_name: str = "spec.toml",
    overrides: Sequence[str] = (),
    *,
    seed: int | None = None,
    total_frames: int | None = None,
    device: str | None = None,
) -> LoadedSpec:
    """Validate a run spec given as TOML text; problems call it `source_name`. See `load_spec`.

    Raises:
        SpecError: What it says is wrong; all problems at once.
    """
    short = {"seed": seed, "total_frames": total_frames, "device": device}
    return _load_text(decode(text, source_name), source_name, overrides, short)


def load_spec_dict(mapping: Mapping[str, Any], overrides: Sequence[str] = ()) -> LoadedSpec:
    """Validate a run spec given as nested mappings; keys that are None count as left out.

    Raises:
        SpecError: What it says is wrong; all problems at once.
    """
    import tomli_w  # a spec from a file needs none

    written = plain_table(mapping)
    data = plain_table(mapping)
    settings = _overridden(data, [], overrides, {})
    return LoadedSpec(_validated(settings, default_name="run"), tomli_w.dumps(written), "", settings=settings)


def _load_text(
    text: str,
    name: str,
    overrides: Sequence[str],
    short: Mapping[str, object],
    *,
    file: FilePath | None = None,
    shipped: bool = False,
) -> LoadedSpec:
    source = Source(name, text)
    data, layers = parse_source(source), [Layer(source, shipped)]
    if file is not None:
        data, layers = with_bases(layers[0], data, file)
    settings = _overridden(data, layers, overrides, short)
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", FilePath(name).stem).strip("._-")[:64]
    return LoadedSpec(_validated(settings, default_name=stem or "run"), text, name, shipped, settings)


def _overridden(
    data: dict[str, Any], layers: Sequence[Layer], arguments: Sequence[str], short: Mapping[str, object]
) -> Settings:
    """Apply `--set` arguments, then short options, to `data`.

    Raises:
        SpecError: Arguments that are not `key=VALUE`, or set a key in what is no table; all of them.
    """
    overrides: list[Override] = []
    problems: list[Problem] = []
    for argument in arguments:
        try:
            override = parse_override(argument)
            override.apply(data)
            overrides.append(override)
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    for key in SHORT_OPTIONS:
        if short.get(key) is not None:
            overrides.append(short_override(key, short[key]))
            data[key] = short[key]
    return Settings(data, layers, overrides)


def _validated(settings: Settings, default_name: str) -> RunSpec:
    """Return the run spec that `settings` describe.

    Raises:
        SpecError: All their problems, in reading order.
    """
    settings.data.setdefault("name", default_name)
    found = _Validation(settings.data)
    spec = found.run()
    if found.findings or spec is None:
        problems = [settings.place(finding) for finding in found.findings[:MAX_PROBLEMS]]
        problems.sort(key=settings.order)
        raise SpecError(problems, omitted=len(found.findings) - len(problems))
    return _with_derived_defaults(spec)


class _Validation:
    """One pass over the values of a run spec that collects findings instead of stopping at the first."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.findings: list[Finding] = []

    def run(self) -> RunSpec | None:
        """Return the spec with each plugin's options in place, or None where something is wrong."""
        own, foreign = _split(self.data)
        spec = self._check(RunSpec, own, ())
        options = {table: self._options(table, own.get(table), foreign[table]) for table in foreign}
        self._check_sizes(own, options)
        if spec is not None and spec.scale is not None:
            self._check_scale(spec, spec.scale)
        if self.findings or spec is None:
            return None
        tables = {table: getattr(spec, table).model_copy(update={"options": found}) for table, found in options.items()}
        return spec.model_copy(update=tables)

    def _check(
        self, model: type[Model], values: dict[str, Any], path: Path, also_known: set[str] | None = None
    ) -> Model | None:
        # Validated as JSON, where an array may fill a tuple and strictness still tells 1 from true and 1.0.
        try:
            return model.model_validate_json(json.dumps(values))
        except ValidationError as error:
            self.findings += complaints(error, model, values, path, also_known or set())
            return None

    def _options(self, table: str, own: Any, values: dict[str, Any]) -> Options | None:
        """Validate the options of the plugin that `table` names."""
        kind = PLUGIN_TABLES[table]
        name = own.get(kind.name_key, kind.default_name) if isinstance(own, dict) else None
        if not isinstance(name, str):
            return None
        try:
            model = kind.registry.options(name)
        except PluginError as error:
            self.findings.append(Finding((table, kind.name_key), error.message, error.hint))
            return None
        return self._check(model, values, (table,), kind.own_keys)

    def _check_sizes(self, own: dict[str, Any], options: dict[str, Options | None]) -> None:
        """Check settings that are right each by itself against each other, where those are right."""
        env = own["env"] if isinstance(own["env"], dict) else {}
        num_envs, total_frames = env.get("num_envs", EnvSpec().num_envs), own.get("total_frames")
        wrong = {finding.path for finding in self.findings}
        if not isinstance(total_frames, int) or wrong & {("env",), ("env", "num_envs"), ("total_frames",)}:
            return
        workers = env.get("workers", "auto")
        if ("env", "workers") not in wrong and isinstance(workers, int) and workers > num_envs:
            message = f"{workers} workers have only {num_envs} environments to step"
            self.findings.append(Finding(("env", "workers"), message, f"{num_envs} or fewer, or 'auto'"))
        for table, found in options.items():
            for key, message, hint in found.misfits(num_envs, total_frames) if found is not None else []:
                self.findings.append(Finding((table, *key.split(".")), message, hint))

    def _check_scale(self, spec: RunSpec, scale: ScaleSpec) -> None:
        """Check what `[scale]` takes over from other tables."""
        for key, message, hint in scale.misfits(spec.env.num_envs, spec.total_frames):
            self.findings.append(Finding(("scale", key), message, hint))
        if not spec.is_sharded:
            return
        if isinstance(spec.env.workers, int) and spec.env.workers > 0:
            message = "the workers of [scale] step the environments, each in its own process"
            self.findings.append(Finding(("env", "workers"), message, "remove it, and set scale.workers"))
        if spec.overlap is True:
            message = "with [scale], collecting and learning at the same time is a lag of 1"
            self.findings.append(Finding(("overlap",), message, "remove it, and write scale.lag = 1"))


def _split(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return `data` with only the keys that rl2 takes itself, and the others of each plugin table."""
    own: dict[str, Any] = dict(data)
    foreign: dict[str, dict[str, Any]] = {}
    for table, kind in PLUGIN_TABLES.items():
        if table == "critic_network" and table not in data:
            continue
        values = data.get(table, {})
        own[table], foreign[table] = values, {}
        if isinstance(values, dict):
            own[table] = {key: value for key, value in values.items() if key in kind.own_keys}
            foreign[table] = {key: value for key, value in values.items() if key not in kind.own_keys}
    critic, network = own.get("critic_network"), own["network"]
    if isinstance(critic, dict) and isinstance(network, dict) and "name" in network:
        critic.setdefault("name", network["name"])
    return own, foreign


def _with_derived_defaults(spec: RunSpec) -> RunSpec:
    """Return `spec` with the defaults that follow from other settings written out."""
    evaluation, checkpoint, logging = spec.evaluation, spec.checkpoint, spec.logging
    measured = {
        "every": evaluation.every or max(1, spec.total_frames // 20),
        "stochastic_episodes": evaluation.episodes
        if evaluation.stochastic_episodes is None
        else evaluation.stochastic_episodes,
    }
    saved = {"every": checkpoint.every or max(1, spec.total_frames // 10)}
    recorded = {"every": logging.every or max(1, spec.total_frames // 2000)}
    scale = spec.scale
    if scale is not None and scale.engine is not None and scale.envs_per_worker is None:
        scale = scale.model_copy(update={"envs_per_worker": default_shard(spec.env.num_envs)})
    video = spec.video
    if video is not None and video.at is None and video.every is None:
        video = video.model_copy(update={"at": [0.0, 0.5, 1.0]})
    return spec.model_copy(
        update={
            "video": video,
            "scale": scale,
            "evaluation": evaluation.model_copy(update=measured),
            "checkpoint": checkpoint.model_copy(update=saved),
            "logging": logging.model_copy(update=recorded),
        }
    )
