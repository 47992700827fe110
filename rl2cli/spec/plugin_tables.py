"""The tables of a run spec that mix keys of rl2 with the options of a plugin."""

from __future__ import annotations

from typing import NamedTuple

from rl2cli.options import Options
from rl2cli.registry import Registry, adapters, algorithms, networks
from rl2cli.spec.model import AlgorithmSpec, EnvSpec, NetworkSpec


class PluginTable(NamedTuple):
    """A table that mixes keys of rl2 with the options of the plugin that one of them names."""

    registry: Registry
    name_key: str
    """Key that names the plugin."""
    model: type[Options]

    @property
    def own_keys(self) -> set[str]:
        """Keys that rl2 takes itself."""
        return set(self.model.model_fields) - {"options"}

    @property
    def default_name(self) -> str:
        """The plugin that is used where none is named."""
        return str(self.model.model_fields[self.name_key].default)


PLUGIN_TABLES = {
    "env": PluginTable(adapters, "backend", EnvSpec),
    "network": PluginTable(networks, "name", NetworkSpec),
    "critic_network": PluginTable(networks, "name", NetworkSpec),
    "algorithm": PluginTable(algorithms, "name", AlgorithmSpec),
}
