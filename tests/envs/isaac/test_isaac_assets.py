"""Where USD assets come from, and those that rl2 writes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from rl2cli.envs.isaac import assets


def test_what_is_written_is_laid_out_as_an_asset_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(assets.WRITTEN, "Isaac/Robots/IsaacSim/Ant/ant_instanceable.usd", lambda: "")
    folder = assets.write_assets(tmp_path)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.usd*"))
    assert found == [
        "Isaac/IsaacLab/Environments/Grid/default_ground_plane_checker_v1/default_ground_plane.usda",
        "Isaac/IsaacLab/Robots/Classic/Cartpole/cartpole.usd",
    ]
    text = (folder / found[1]).read_text(encoding="utf-8")
    assert text.startswith("#usda 1.0\n")
    assert text.count("{") == text.count("}")
    for name in ('PhysicsPrismaticJoint "slider_to_cart"', 'PhysicsRevoluteJoint "cart_to_pole"'):
        assert f"def {name}" in text
    stamp = (folder / found[1]).stat().st_mtime_ns
    assert assets.write_assets(tmp_path) == folder
    assert (folder / found[1]).stat().st_mtime_ns == stamp


def test_a_server_answers_or_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert assets.answers(f"http://127.0.0.1:{port}/Assets")
    assert not assets.answers(f"http://127.0.0.1:{port}/Assets")
    assert assets.answers(str(tmp_path))
    assert not assets.answers(str(tmp_path / "none"))
    assert not assets.answers("")


@pytest.mark.parametrize(
    ("variable", "there", "expected"), [("/a", True, "/a"), ("", True, "nvidia"), ("", False, "built-in")]
)
def test_the_automatic_root(monkeypatch: pytest.MonkeyPatch, variable: str, there: bool, expected: str) -> None:
    monkeypatch.setenv(assets.VARIABLE, variable)
    monkeypatch.setattr(assets, "answers", lambda root: there)
    root, said = assets.choose_root()
    assert root == expected
    assert said.startswith("assets: ")
