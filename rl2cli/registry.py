"""Three registries, algorithms, networks and environment adapters: name → `"module:Class"`, imported when used.

Built-in names, names registered in code, those kept by `rl2 register`, and entry points of installed packages go
through one door, and the first of them wins.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rl2cli.errors import MissingDependencyError, PluginError, nearest, suggestion
from rl2cli.plugins import announced, lookup, schema_cache
from rl2cli.plugins.kept import USER_FILE
from rl2cli.text import printable

if TYPE_CHECKING:
    from rl2cli.options import Options
    from rl2cli.plugins.lookup import Found


BUILT_IN, IN_CODE = "built in", "registered"


@dataclass(frozen=True)
class Entry:
    """One registered name."""

    name: str
    target: str
    """`"module:Class"`, or `"module:Class.Inner"`."""
    origin: str
    """`"built in"`, `"registered"` in code, the file that it is kept in, or the installed package that brings it."""
    options_target: str | None = None
    """`"module:Class"` of the options model where it can be had without importing the plugin itself."""
    summary: str = ""
    """One sentence for `rl2 list`."""
    folder: str | None = None
    """Where its module is looked for after all others."""
    trusted: bool = True
    """Whether it may be imported; not if it is kept in a project's file that this user has not trusted."""

    @property
    def is_outside(self) -> bool:
        """Whether it comes neither with rl2 nor from the code of this process."""
        return self.origin not in (BUILT_IN, IN_CODE)


class Registry:
    """Names of one kind of plugin.

    Args:
        kind: Singular word for messages, such as `"algorithm"`.
        package: Package that a target beginning with a dot is relative to.
        entry_point_group: Group under which installed packages announce theirs.
        base: `"module:Class"` that every plugin of this kind inherits from.
        builtins: The names that come with rl2.
    """

    def __init__(self, kind: str, package: str, entry_point_group: str, base: str, builtins: list[Entry]) -> None:
        self.kind = kind
        self.package = package
        self.entry_point_group = entry_point_group
        self.base = base
        self._entries = {entry.name: entry for entry in builtins}
        self._loaded: dict[str, Entry] = {}
        self._points: dict[str, list[Entry]] | None = None

    def register(self, name: str, target: str) -> None:
        """Register `target` (`"module:Class"`; a leading dot is relative to this kind's package) under `name`.

        Raises:
            PluginError: The target has not that form, or the name is taken by another target.
        """
        target = self.absolute(target)
        taken = self._entries.get(name)
        if taken is not None and taken.target != target:
            raise PluginError(
                f"the {self.kind} name {name!r} is taken by {taken.target} ({taken.origin})",
                hint=f"register {target} under another name",
            )
        if taken is None:
            self._entries[name] = Entry(name, target, IN_CODE)

    def unregister(self, name: str) -> None:
        """Forget a name that was registered in code; built-in names and entry points stay."""
        self._loaded.pop(name, None)
        if name in self._entries and self._entries[name].origin == IN_CODE:
            del self._entries[name]

    def entries(self) -> list[Entry]:
        """Return every known entry, sorted by name; imports none of them.

        A name that two installed packages bring is there twice.
        """
        kept = self._kept()
        sure = kept | self._loaded | self._entries
        found = {name: [entry] for name, entry in sure.items() if entry.trusted}
        for name, others in [*self._entry_points().items(), *((name, [entry]) for name, entry in kept.items())]:
            found.setdefault(name, others)
        return [entry for name in sorted(found) for entry in found[name]]

    def names(self) -> list[str]:
        """Return every name that can be used or would be after `rl2 register trust`, sorted."""
        return sorted({entry.name for entry in self.entries()})

    def entry(self, name: str) -> Entry:
        """Return the entry of `name`.

        Raises:
            PluginError: The name is unknown, with the nearest names and how to register one; or two packages bring it.
        """
        found = self._entries.get(name) or self._loaded.get(name)
        if found is not None:
            return found
        kept = self._kept().get(name)
        if kept is not None and kept.trusted:
            return kept
        brought = self._entry_points().get(name, [])
        if len(brought) > 1:
            both = " and ".join(f"{entry.target} ({entry.origin})" for entry in brought)
            raise PluginError(
                f"two packages bring the {self.kind} {name!r}: {both}",
                hint=f"uninstall one, or choose: rl2 register-{self.kind} {name} {brought[0].target} --force",
            )
        if brought or kept is not None:
            return brought[0] if brought else kept  # type: ignore[return-value]  # one of them is there
        raise self._unknown(name)

    def load(self, name: str) -> type[Any]:
        """Import and return the class of `name`, checked to inherit from this kind's base.

        Raises:
            PluginError: The module, the class or its base is wrong; `message` says which.
            MissingDependencyError: The plugin's module needs a package that is not installed.
        """
        entry = self.entry(name)
        self._require_trusted(entry)
        lookup.append_to_path(entry.folder)
        found = import_target(entry.target, what=f"{self.kind} {name!r}")
        base = import_target(self.base, what=f"base of {self.kind}s")
        if not (isinstance(found, type) and issubclass(found, base)):
            raise PluginError(
                f"{self.kind} {name!r}: {entry.target} is not a subclass of {base.__name__}",
                hint=f"derive it from {self.base.replace(':', '.')}",
            )
        self._loaded[name] = entry  # what a run has begun with stays, whatever is registered meanwhile
        return found

    def options(self, name: str) -> type[Options]:
        """Return the options model of `name`; without torch where it is built in, or a description is preferred."""
        from rl2cli.options import Options  # pydantic: listing names does without it

        entry = self.entry(name)
        if entry.options_target is not None:
            model = import_target(entry.options_target, what=f"options of {self.kind} {name!r}")
        elif schema_cache.is_preferred() and entry.is_outside:
            return self._described(entry)
        else:
            model = getattr(self.load(name), "Options", None)
        if not (isinstance(model, type) and issubclass(model, Options)):
            raise PluginError(
                f"{self.kind} {name!r}: its class has no Options model",
                hint="add `class Options(rl2cli.options.Options)` to it",
            )
        return model

    def summary(self, entry: Entry) -> str:
        """Return one sentence about an entry, as far as it is known without importing anything."""
        if entry.summary or not entry.is_outside or not entry.trusted:
            return entry.summary
        known = schema_cache.load(self.kind, entry.target, entry.folder)
        return known.summary if known is not None else ""

    def _described(self, entry: Entry) -> type[Options]:
        from rl2cli.plugins.inspection import describe
        from rl2cli.plugins.schema_model import model_from_schema

        self._require_trusted(entry)
        return model_from_schema(describe(self.kind, entry.target, entry.folder).schema)

    def _require_trusted(self, entry: Entry) -> None:
        if not entry.trusted:
            raise PluginError(
                f"{self.kind} {entry.name!r} is {entry.target} in {printable(entry.origin)}, which is not trusted: "
                "it came from elsewhere, or was changed by hand",
                hint="read that file and the module, then type `rl2 register trust`",
            )

    def _unknown(self, name: str) -> PluginError:
        known = self.names()
        near = suggestion(name, known) or f"there are: {', '.join(known)}"
        elsewhere = lookup.known_elsewhere(self.kind, name)
        if elsewhere is not None:
            near = f"the project {elsewhere.parent} has it: be in that folder"
        problems = "; ".join(["", *lookup.problems()])
        how = f"add your own: rl2 register-{self.kind} {name} module:Class"
        how += f", or rl2cli.register_{self.kind}({name!r}, 'module:Class') in Python"
        near += " Or" if near.endswith("?") else ";"
        return PluginError(f"unknown {self.kind} {name!r}", hint=f"{near} {how}{problems}")

    def _kept(self) -> dict[str, Entry]:
        """Return what `rl2 register` keeps, that of the project before that of the user; built-in names stay rl2's."""
        found: dict[str, Entry] = {}
        for each in lookup.registrations(self.kind):
            if each.registration.name not in self._entries:
                found.setdefault(each.registration.name, _kept_entry(each))
        return found

    def absolute(self, target: str) -> str:
        """Return `target` with a leading dot replaced by this kind's package.

        Raises:
            PluginError: It has not the form `module:Class`.
        """
        module, _, attribute = target.partition(":")
        if not module or not attribute:
            raise PluginError(
                f"{target!r} does not name a class",
                hint="write it as module:Class, for example my_package.envs:MyAdapter",
            )
        return f"{self.package}{target}" if target.startswith(".") else target

    def _entry_points(self) -> dict[str, list[Entry]]:
        """Return what installed packages bring, without the names that rl2 has itself."""
        if self._points is None:
            self._points = {}
            for point in announced.entry_points(self.entry_point_group):
                origin = point.dist.name if point.dist is not None else "an installed package"
                entries = self._points.setdefault(point.name, [])
                target = f"{self.package}{point.value}" if point.value.startswith(".") else point.value
                if all(entry.target != target for entry in entries):
                    entries.append(Entry(point.name, target, origin))
        return {name: entries for name, entries in self._points.items() if name not in self._entries}


def _kept_entry(found: Found) -> Entry:
    kept = found.registration
    origin = "yours" if kept.file.name == USER_FILE else str(kept.file)
    folder = None if kept.folder is None else str(kept.folder)
    return Entry(kept.name, kept.target, origin, folder=folder, trusted=found.trusted)


def import_target(target: str, what: str) -> Any:
    """Import `"module:attribute.path"`.

    Raises:
        PluginError: Module not found, attribute not in it (with the nearest names), or an exception on import.
        MissingDependencyError: A module that the target itself imports is not installed.
    """
    module_name, _, attribute = target.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise PluginError(
                f"{what}: module {missing!r} not found",
                hint="is it installed, or in a folder on PYTHONPATH?",
            ) from error
        raise MissingDependencyError(
            f"{what}: {module_name} needs {missing!r}, which is not installed", hint=f"pip install {missing}"
        ) from error
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{what}: importing {module_name} raised {type(error).__name__}: {error}",
            hint="mend the module; its own lines are shown where there are any",
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = nearest(part, dir(found))
            raise PluginError(
                f"{what}: {part!r} is not in {module_name}",
                hint=f"did you mean {' or '.join(map(repr, near))}?"
                if near
                else "write what the module has after the colon",
            )
        found = getattr(found, part)
    return found


algorithms = Registry(
    "algorithm",
    "rl2cli.algorithms",
    "rl2cli.algorithms",
    "rl2cli.algorithms.base:BaseAlgorithm",
    [
        Entry(
            "ppo",
            "rl2cli.algorithms.ppo:PPO",
            "built in",
            "rl2cli.algorithms.ppo_options:PPOOptions",
            "Proximal policy optimisation, on-policy, for every action space",
        ),
        Entry(
            "sac",
            "rl2cli.algorithms.sac:SAC",
            "built in",
            "rl2cli.algorithms.sac_options:SACOptions",
            "Soft actor-critic, off-policy, for continuous and discrete actions",
        ),
        Entry(
            "dqn",
            "rl2cli.algorithms.dqn:DQN",
            "built in",
            "rl2cli.algorithms.dqn_options:DQNOptions",
            "Deep Q-learning, off-policy, for discrete actions",
        ),
        Entry(
            "td3",
            "rl2cli.algorithms.td3:TD3",
            "built in",
            "rl2cli.algorithms.td3_options:TD3Options",
            "Twin delayed deterministic policy gradient, off-policy, for continuous actions",
        ),
        Entry(
            "tqc",
            "rl2cli.algorithms.tqc:TQC",
            "built in",
            "rl2cli.algorithms.tqc_options:TQCOptions",
            "Truncated quantile critics, off-policy, for continuous actions",
        ),
    ],
)

networks = Registry(
    "network",
    "rl2cli.networks",
    "rl2cli.networks",
    "rl2cli.networks.base:BaseNetwork",
    [
        Entry(
            "cnn",
            "rl2cli.networks.cnn:CNN",
            "built in",
            "rl2cli.networks.cnn_options:CNNOptions",
            "Convolutions over images, by default those of Mnih et al. 2015",
        ),
        Entry(
            "impala",
            "rl2cli.networks.impala:IMPALA",
            "built in",
            "rl2cli.networks.impala_options:IMPALAOptions",
            "Residual convolutions over images (Espeholt et al. 2018), of any size",
        ),
        Entry(
            "multi",
            "rl2cli.networks.multi:Multi",
            "built in",
            "rl2cli.networks.multi_options:MultiOptions",
            "A Dict of images and vectors: an encoder for each, joined",
        ),
        Entry(
            "mlp",
            "rl2cli.networks.mlp:MLP",
            "built in",
            "rl2cli.networks.mlp_options:MLPOptions",
            "Fully connected layers over vectors, discrete and composite observations",
        ),
    ],
)

adapters = Registry(
    "adapter",
    "rl2cli.envs",
    "rl2cli.adapters",
    "rl2cli.envs.base:BaseEnvAdapter",
    [
        Entry(
            "gymnasium",
            "rl2cli.envs.gymnasium_adapter:GymnasiumAdapter",
            "built in",
            "rl2cli.envs.gymnasium_options:GymnasiumOptions",
            "Any environment registered with Gymnasium, native, in-process or in worker processes",
        ),
        Entry(
            "torchrl",
            "rl2cli.envs.torchrl_adapter:TorchRLAdapter",
            "built in",
            "rl2cli.envs.torchrl_options:TorchRLOptions",
            "Any torchrl EnvBase, and with it dm_control, Jumanji and what else torchrl wraps",
        ),
        Entry(
            "omniverse",
            "rl2cli.envs.omniverse.adapter:OmniverseAdapter",
            "built in",
            "rl2cli.envs.omniverse.options:OmniverseOptions",
            "USD scenes stepped by NVIDIA's PhysX, tasks declared in the run spec (extra omniverse)",
        ),
        Entry(
            "isaac",
            "rl2cli.envs.isaac.adapter:IsaacAdapter",
            "built in",
            "rl2cli.envs.isaac.options:IsaacOptions",
            "Any task of NVIDIA's Isaac Lab, with Isaac Sim or without, on PhysX or Newton (extra isaac)",
        ),
    ],
)


def register_algorithm(name: str, target: str) -> None:
    """Register an algorithm's class `"module:Class"` under `name` for this process."""
    algorithms.register(name, target)


def register_network(name: str, target: str) -> None:
    """Register a network's class `"module:Class"` under `name` for this process."""
    networks.register(name, target)


def register_adapter(name: str, target: str) -> None:
    """Register an environment adapter's class `"module:Class"` under `name` for this process."""
    adapters.register(name, target)
