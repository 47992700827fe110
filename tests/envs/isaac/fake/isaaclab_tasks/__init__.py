"""Registers the tasks."""

import gymnasium

for _name, _class in (
    ("Isaac-Point", "PointCfg"),
    ("Isaac-Point-Privileged", "PrivilegedCfg"),
    ("Isaac-Far", "FarCfg"),
):
    gymnasium.register(
        _name,
        entry_point="isaaclab.envs:ManagerBasedRLEnv",
        kwargs={"env_cfg_entry_point": f"isaaclab_tasks.configurations:{_class}"},
    )
gymnasium.register(
    "Isaac-Many", entry_point="x:y", kwargs={"env_cfg_entry_point": "isaaclab_tasks.configurations:ManyCfg"}
)
