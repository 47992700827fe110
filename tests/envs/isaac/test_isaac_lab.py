"""The `isaac` backend on Isaac Lab itself, where it is installed: `python -m pytest -m slow -n 0 tests/envs/isaac`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rl2cli.envs.isaac.installation import missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(missing("ovphysx")), reason="Isaac Lab and ovphysx are not installed, see `rl2 doctor`"),
]

HERE = Path(__file__).parent
CONTRACT = """
import json, sys
sys.path[:0] = {paths!r}
import isaaclab.app
launch = isaaclab.app.launch_simulation
def checked(*arguments):
    late = ("omni", "carb", "isaacsim", "isaaclab.envs.direct_rl_env", "isaaclab.envs.manager_based_rl_env")
    early = [name for name in sys.modules if name in late or name.partition(".")[0] in late]
    assert not early, f"imported before the app has started: {{early}}"
    return launch(*arguments)
isaaclab.app.launch_simulation = checked
from contract import assert_contract
from rl2cli.envs import make_env_adapter
env = make_env_adapter({{"backend": "isaac", "id": {task!r}, "physics": {physics!r}, "asset_root": "built-in",
                        "num_envs": 8, "config": {{"episode_length_s": 1.0}}}})
seen = assert_contract(env, 150, bounds={bounds})
print(json.dumps(seen))
env.close()
"""


@pytest.mark.parametrize(
    ("task", "physics", "bounds"),
    [
        ("Isaac-Cartpole-Direct", "ovphysx", 13.0),  # PhysX takes an angle of two turns for one of minus two
        ("Isaac-Cartpole-v0", "ovphysx", 13.0),
        ("Isaac-Cartpole-Direct", "newton_mjwarp", 8.0),
    ],
)
def test_contract(task: str, physics: str, bounds: float) -> None:
    """A process has one simulation context, so each is a process of its own; the app starts before its modules."""
    script = CONTRACT.format(paths=[str(HERE), str(HERE.parent)], task=task, physics=physics, bounds=bounds)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert '"truncated"' in ended.stdout
