from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rl2cli.spec import dump_spec, load_spec_dict, load_spec_text, spec_from_dict, spec_to_dict

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | FLOATS | st.booleans() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
SPECS = st.fixed_dictionaries(
    {
        "total_frames": st.integers(1, 2**53),
        "env": st.fixed_dictionaries({"id": TEXT}, optional={"kwargs": st.dictionaries(TEXT, VALUES, max_size=4)}),
    },
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "network": st.fixed_dictionaries({"sizes": st.lists(st.integers(1, 9), max_size=3)}),
        "critic_network": st.fixed_dictionaries({"activation": st.sampled_from(["tanh", "relu"])}),
        "algorithm": st.fixed_dictionaries(
            {"learning_rate": FLOATS.filter(lambda x: x > 0) | st.fixed_dictionaries({"start": FLOATS})},
            optional={"clip": FLOATS},
        ),
        "evaluation": st.fixed_dictionaries(
            {"stochastic_episodes": st.integers(0, 5)}, optional={"target_return": FLOATS}
        ),
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=SPECS)
def test_a_written_spec_reads_as_the_same_spec(values: dict[str, Any]) -> None:
    spec = load_spec_dict(values).spec
    assert load_spec_text(dump_spec(spec)).spec == spec
    assert spec_from_dict(json.loads(json.dumps(spec_to_dict(spec)))) == spec


def test_every_setting_is_explicit() -> None:
    spec = load_spec_text(
        "total_frames = 100\n[env]\nid = 'a'\n[algorithm]\nlearning_rate = { start = 1 }", "a.toml"
    ).spec
    assert dump_spec(spec).splitlines() == [
        'name = "a"',
        "seed = 1",
        "total_frames = 100",
        'device = "auto"',
        'threads = "auto"',
        'compile = "auto"',
        'precision = "auto"',
        'overlap = "auto"',
        "",
        "[env]",
        'backend = "gymnasium"',
        "num_envs = 8",
        'workers = "auto"',
        "timeout = 300.0",
        "max_restarts = 3",
        'id = "a"',
        "",
        "[env.kwargs]",
        "",
        "[network]",
        'name = "mlp"',
        "sizes = [",
        "    64,",
        "    64,",
        "]",
        'activation = "tanh"',
        "",
        "[algorithm]",
        'name = "ppo"',
        "batch = 8",
        "",
        "[algorithm.learning_rate]",
        "start = 1.0",
        'shape = "linear"',
        "",
        "[evaluation]",
        "every = 5",
        "episodes = 10",
        "stochastic_episodes = 10",
        "",
        "[checkpoint]",
        "every = 10",
        "keep = 3",
        'on_storage_error = "continue"',
        "",
        "[logging]",
        "every = 1",
        "tensorboard = true",
    ]
