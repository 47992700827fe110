"""What of a spec may be another when a run goes on."""

from __future__ import annotations

from typing import Any

import pytest

from rl2cli.spec import SpecError, load_spec_dict, resumed_spec, spec_to_dict


def _values(**scale: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"name": "run", "total_frames": 1000, "env": {"id": "CartPole-v1", "num_envs": 8}}
    return spec_to_dict(load_spec_dict({**settings, **({"scale": scale} if scale else {})}).spec)


def test_workers_may_be_others() -> None:
    values = _values(engine="local", envs_per_worker=2, lag=1)
    changed = resumed_spec(
        values, ['scale.engine="ray"', "scale.workers=7", "scale.resources.GPU=0.5", 'scale.address="auto"']
    )
    assert changed.scale is not None
    assert (changed.scale.engine, changed.scale.workers, changed.scale.address) == ("ray", 7, "auto")
    assert changed.scale.resources == {"CPU": 1.0, "GPU": 0.5}
    assert changed.scale.model_copy(update={"engine": "local"}).lag == 1
    began = spec_to_dict(changed)
    assert {**began, "scale": values["scale"]} == values
    assert resumed_spec(values) == load_spec_dict(values).spec


def test_a_run_leaves_its_cluster_for_this_process() -> None:
    scale = resumed_spec(_values(engine="ray", address="head:6379"), ['scale.engine="local"']).scale
    assert scale is not None
    assert (scale.engine, scale.address) == ("local", None)


@pytest.mark.parametrize("change", ["scale.lag=2", "scale.envs_per_worker=1", "scale.gradient_shards=8", "seed=2"])
def test_what_decides_numbers_stays(change: str) -> None:
    with pytest.raises(SpecError, match=f"goes on with the {change.partition('=')[0]} that it began with") as caught:
        resumed_spec(_values(engine="local"), [change, "scale.workers=3"])
    assert "scale.workers" in str(caught.value.hint)


def test_a_run_without_shards_gets_no_workers() -> None:
    for scale in ({}, {"gradient_shards": 8}):
        with pytest.raises(SpecError, match="in no shards") as caught:
            resumed_spec(_values(**scale), ['scale.engine="ray"'])
        assert "scale.engine" in str(caught.value.hint)


def test_values_are_checked_as_ever() -> None:
    with pytest.raises(SpecError, match=r"scale\.workers"):
        resumed_spec(_values(engine="local"), ["scale.workers=0"])
