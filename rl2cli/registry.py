"""Three registries, algorithms, networks and environment adapters: name → `"module:Class"`, imported when used.

Built-in names, entry points of installed packages and names registered in code go through one door.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rl2cli.errors import MissingDependencyError, PluginError, nearest, suggestion

if TYPE_CHECKING:
    from rl2cli.options import Options


@dataclass(frozen=True)
class Entry:
    """One registered name."""

    name: str
    target: str
    """`"module:Class"`, or `"module:Class.Inner"`."""
    origin: str
    """`"built in"`, `"registered"`, or the installed package that brings it."""
    options_target: str | None = None
    """`"module:Class"` of the options model where it can be had without importing the plugin itself."""
    summary: str = ""
    """One sentence for `rl2 list`."""


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
        self._scanned = False

    def register(self, name: str, target: str) -> None:
        """Register `target` (`"module:Class"`; a leading dot is relative to this kind's package) under `name`.

        Raises:
            PluginError: The target has not that form, or the name is taken by another target.
        """
        target = self._absolute(target)
        taken = self._entries.get(name)
        if taken is not None and taken.target != target:
            raise PluginError(
                f"the {self.kind} name {name!r} is taken by {taken.target} ({taken.origin})",
                hint=f"register {target} under another name",
            )
        self._entries[name] = Entry(name, target, "registered")

    def unregister(self, name: str) -> None:
        """Forget a name that was registered in code; built-in names and entry points stay."""
        if name in self._entries and self._entries[name].origin == "registered":
            del self._entries[name]

    def entries(self) -> list[Entry]:
        """Return every known entry, sorted by name; imports none of them."""
        self._scan_entry_points()
        return sorted(self._entries.values(), key=lambda entry: entry.name)

    def names(self) -> list[str]:
        """Return every known name, sorted."""
        return [entry.name for entry in self.entries()]

    def entry(self, name: str) -> Entry:
        """Return the entry of `name`.

        Raises:
            PluginError: The name is unknown; the hint has the nearest names and how to register one.
        """
        if name not in self._entries:
            self._scan_entry_points()
        if name not in self._entries:
            near = suggestion(name, self._entries) or f"there are: {', '.join(sorted(self._entries))}"
            how = f"add your own with rl2cli.register_{self.kind}({name!r}, 'module:Class')"
            raise PluginError(f"unknown {self.kind} {name!r}", hint=f"{near}; {how}")
        return self._entries[name]

    def load(self, name: str) -> type[Any]:
        """Import and return the class of `name`, checked to inherit from this kind's base.

        Raises:
            PluginError: The module, the class or its base is wrong; `message` says which.
            MissingDependencyError: The plugin's module needs a package that is not installed.
        """
        entry = self.entry(name)
        found = import_target(entry.target, what=f"{self.kind} {name!r}")
        base = import_target(self.base, what=f"base of {self.kind}s")
        if not (isinstance(found, type) and issubclass(found, base)):
            raise PluginError(
                f"{self.kind} {name!r}: {entry.target} is not a subclass of {base.__name__}",
                hint=f"derive it from {self.base.replace(':', '.')}",
            )
        return found

    def options(self, name: str) -> type[Options]:
        """Return the options model of `name`; for a built-in name without importing torch."""
        from rl2cli.options import Options  # pydantic: listing names does without it

        entry = self.entry(name)
        if entry.options_target is not None:
            model = import_target(entry.options_target, what=f"options of {self.kind} {name!r}")
        else:
            model = getattr(self.load(name), "Options", None)
        if not (isinstance(model, type) and issubclass(model, Options)):
            raise PluginError(
                f"{self.kind} {name!r}: its class has no Options model",
                hint="add `class Options(rl2cli.options.Options)` to it",
            )
        return model

    def _absolute(self, target: str) -> str:
        module, _, attribute = target.partition(":")
        if not module or not attribute:
            raise PluginError(
                f"{target!r} does not name a class",
                hint="write it as module:Class, for example my_package.envs:MyAdapter",
            )
        return f"{self.package}{target}" if target.startswith(".") else target

    def _scan_entry_points(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        import importlib.metadata  # a tenth of what a spec error may take

        for point in importlib.metadata.entry_points(group=self.entry_point_group):
            origin = point.dist.name if point.dist is not None else "an installed package"
            taken = self._entries.get(point.name)
            if taken is not None and taken.origin != "registered":
                raise PluginError(
                    f"two packages bring the {self.kind} {point.name!r}: "
                    f"{taken.target} ({taken.origin}) and {point.value} ({origin})",
                    hint="uninstall one of them",
                )
            self._entries.setdefault(point.name, Entry(point.name, point.value, origin))


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
    except Exception as error:
        raise PluginError(f"{what}: importing {module_name} raised {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = nearest(part, dir(found))
            raise PluginError(
                f"{what}: {part!r} is not in {module_name}",
                hint=f"did you mean {' or '.join(map(repr, near))}?" if near else None,
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
