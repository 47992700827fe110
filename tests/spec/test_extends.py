"""`extends`: one spec in terms of another, with the place of every value kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from made_up_options import LearnerOptions, Ramp, SmallerOptions

from rl2cli import registry
from rl2cli.spec import SpecError, dump_spec, load_spec, load_spec_dict, load_spec_text, shipped_folder
from rl2cli.spec.load import LoadedSpec

BASE = """\
name = "hill"
total_frames = 1000
seed = 5

[env]
id = "Hill"
num_envs = 4

[algorithm]
batch = 4
learning_rate = { start = 0.5, shape = "cosine" }
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(files: dict[str, str], *overrides: str, **short: Any) -> LoadedSpec:
    """Write `files` and load the first of them."""
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    return load_spec(next(iter(files)), overrides, **short)


def refused(files: dict[str, str], *overrides: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        load(files, *overrides)
    return caught.value


def origin(loaded: LoadedSpec, *path: str) -> str:
    assert loaded.settings is not None
    return loaded.settings.origin(path)


def test_tables_are_merged_key_by_key_and_arrays_replaced() -> None:
    own = 'extends = "base.toml"\n[algorithm]\nlearning_rate = { start = 0.1 }\n[video]\nat = [0.5]\n'
    spec = load({"own.toml": own, "base.toml": BASE + "[video]\nat = [0.0, 1.0]\nmax_steps = 7\n"}).spec
    assert (spec.seed, spec.total_frames, spec.env.num_envs) == (5, 1000, 4)
    assert spec.algorithm.options == LearnerOptions(batch=4, learning_rate=Ramp(start=0.1, shape="cosine"))
    assert spec.video is not None
    assert (spec.video.at, spec.video.max_steps) == ([0.5], 7)


def test_the_name_is_that_of_the_file_itself() -> None:
    loaded = load({"own.toml": 'extends = "base.toml"\n', "base.toml": BASE})
    assert (loaded.spec.name, origin(loaded, "name")) == ("own", "default")


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path: Path) -> None:
    files = {
        "deep/er/own.toml": 'extends = "../middle.toml"\nseed = 7\n',
        "deep/middle.toml": 'extends = "../base.toml"\ntotal_frames = 9\n',
        "base.toml": BASE,
    }
    loaded = load(files)
    assert (loaded.spec.seed, loaded.spec.total_frames, loaded.spec.env.num_envs) == (7, 9, 4)
    assert [layer.source.name for layer in loaded.bases] == [os.path.join("deep", "middle.toml"), "base.toml"]
    absolute = load({"own.toml": f"extends = '{tmp_path / 'base.toml'}'\n"})
    assert absolute.spec.env.num_envs == 4


def test_every_value_has_its_origin() -> None:
    files = {"own.toml": 'extends = "base.toml"\n[algorithm]\nbatch = 2\n', "base.toml": BASE}
    loaded = load(files, "env.num_envs=8", device="cpu")
    assert origin(loaded, "algorithm", "batch") == "own.toml:3"
    assert origin(loaded, "algorithm", "learning_rate", "start") == "base.toml:11"
    assert origin(loaded, "env", "num_envs") == "--set"
    assert origin(loaded, "device") == "--device"
    assert origin(loaded, "evaluation", "episodes") == "default"


def test_a_shipped_spec_is_found_where_no_file_is(built_in: None) -> None:
    loaded = load({"own.toml": 'extends = "runs/cartpole.toml"\n'})
    assert loaded.spec == load_spec(shipped_folder() / "cartpole.toml", ['name="own"']).spec
    assert [layer.shipped for layer in loaded.bases] == [True]
    assert origin(loaded, "env", "id").startswith("runs/cartpole.toml:")


def test_what_is_written_out_is_whole() -> None:
    loaded = load({"own.toml": 'extends = "base.toml"\n', "base.toml": BASE})
    assert "extends" not in dump_spec(loaded.spec)
    assert load_spec_text(dump_spec(loaded.spec)).spec == loaded.spec


def test_problems_of_every_file_have_their_places() -> None:
    own = 'extends = "base.toml"\n[algorithm]\nbach = 2\n'
    error = refused({"own.toml": own, "base.toml": BASE.replace("= 4", '= "four"')}, "seed=-1")
    assert [problem.place for problem in error.problems] == [
        "own.toml:3:1", "base.toml:7:12", "base.toml:10:9", "command line",
    ]  # fmt: skip


def test_a_problem_of_two_settings_is_placed_where_the_value_counts() -> None:
    own = 'extends = "base.toml"\ntotal_frames = 3\n[env]\nworkers = 9\n'
    assert refused({"own.toml": own, "base.toml": BASE}).place == "own.toml:4:11"


def test_what_is_missing_everywhere_is_placed_at_its_table() -> None:
    error = refused({"own.toml": 'extends = "base.toml"\n', "base.toml": "total_frames = 9\n[env]\nnum_envs = 8\n"})
    assert [(problem.place, problem.message) for problem in error.problems] == [
        ("base.toml:2:2", "'env.id' is missing")
    ]


def test_another_plugin_leaves_the_options_of_the_first_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = registry.Entry("small", "nowhere:Class", "built in", f"{SmallerOptions.__module__}:SmallerOptions")
    monkeypatch.setitem(registry.algorithms._entries, "small", smaller)
    own = 'extends = "base.toml"\n[algorithm]\nname = "small"\n'
    loaded = load({"own.toml": own, "base.toml": BASE})
    assert loaded.spec.algorithm.options == SmallerOptions()
    assert loaded.spec.env.num_envs == 4
    assert origin(loaded, "algorithm", "batch") == "default"


def test_a_base_that_names_the_default_is_no_other_plugin() -> None:
    own = 'extends = "base.toml"\n[algorithm]\nname = "ppo"\n'
    assert load({"own.toml": own, "base.toml": BASE}).spec.algorithm.options.model_dump()["batch"] == 4


def test_rings_are_refused_with_every_link() -> None:
    files = {
        "a.toml": 'extends = "b.toml"\n',
        "b.toml": 'seed = 1\nextends = "./c.toml"\n',
        "c.toml": '\n\nextends = "b.toml"\n',
    }
    error = refused(files)
    assert error.problems[0].message == "these files extend each other in a ring: b.toml → c.toml → b.toml"
    assert [problem.place for problem in error.problems] == ["b.toml:2:11", "c.toml:3:11"]
    assert refused({"own.toml": 'extends = "own.toml"\n'}).problems[0].message == "this file extends itself"


def test_a_chain_has_an_end() -> None:
    files = {f"{number}.toml": f'extends = "{number + 1}.toml"\n' for number in range(20)}
    assert refused(files).place == "15.toml:1:11"


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ('"bse.toml"', "there is no file 'bse.toml'", "did you mean 'base.toml'?"),
        ('"runs/cartpol.toml"', "there is no file 'runs/cartpol.toml'", "did you mean 'runs/cartpole.toml'"),
        ("3", "expected the path of another spec, got 3", 'as in: extends = "base.toml"'),
        ('""', "expected the path of another spec, got the string ''", 'as in: extends = "base.toml"'),
        ('"."', "'.' is no file", 'as in: extends = "base.toml"'),
        ('"a\\u0000"', "this is not the path of a file", 'as in: extends = "base.toml"'),
    ],
)
def test_what_cannot_be_extended(value: str, message: str, hint: str | None) -> None:
    error = refused({"own.toml": f"extends = {value}\n", "base.toml": BASE})
    assert (error.message, error.place) == (message, "own.toml:1:11")
    assert (error.hint or "").startswith(hint or "")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are POSIX")
def test_a_pipe_is_not_waited_for() -> None:
    os.mkfifo("pipe.toml")
    assert refused({"own.toml": 'extends = "pipe.toml"\n'}).message == "'pipe.toml' is no file"


def test_only_the_file_of_a_spec_extends() -> None:
    message = "only the file of a spec can extend another one"
    assert refused({"own.toml": BASE}, 'extends = "base.toml"').message == message
    with pytest.raises(SpecError, match=message):
        load_spec_dict({"extends": "own.toml"}, [])
    assert refused({"run/resolved.toml": 'extends = "../own.toml"\n'}).message.startswith("a run's resolved.toml has")


def test_a_mistyped_key_is_recognised() -> None:
    assert "did you mean 'extends'" in refused({"own.toml": 'extend = "base.toml"\n'}).render()
