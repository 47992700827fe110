from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from made_up_options import LayersOptions, LearnerOptions, Ramp, WorldOptions

from rl2cli.errors import UsageError
from rl2cli.spec import SpecError, load_spec, load_spec_dict, load_spec_text, shipped_folder

SPEC = """\
total_frames = 1000

[env]
id = "Hill"
"""


def rendered(text: str, *overrides: str, **short: Any) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec_text(text, "hill.toml", overrides, **short)
    return caught.value.render()


def exactly(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def test_defaults_are_filled_in() -> None:
    loaded = load_spec_text(SPEC, "my hill.toml")
    spec = loaded.spec
    assert (loaded.text, loaded.path, loaded.shipped) == (SPEC, "my hill.toml", False)
    assert (spec.name, spec.seed, spec.critic_network) == ("my-hill", 1, None)
    assert spec.env.options == WorldOptions(id="Hill")
    assert spec.network.options == LayersOptions()
    assert spec.algorithm.options == LearnerOptions()
    assert (spec.evaluation.every, spec.evaluation.stochastic_episodes, spec.checkpoint.every) == (50, 10, 100)


def test_tables_give_their_plugins_options() -> None:
    spec = load_spec_text(
        SPEC + "num_envs = 4\n[network]\nsizes = [3]\n[critic_network]\nactivation = 'relu'\n"
        "[algorithm]\nbatch = 2\nlearning_rate = { start = 1 }\n"
    ).spec
    assert spec.env.num_envs == 4
    assert spec.network.options == LayersOptions(sizes=(3,))
    assert spec.critic_network is not None
    assert spec.critic_network.options == LayersOptions(activation="relu")
    assert spec.algorithm.options == LearnerOptions(batch=2, learning_rate=Ramp(start=1.0))


def test_an_unknown_key_names_the_nearest() -> None:
    assert rendered(SPEC + "[algorithm]\nlearning_rat = 1e-3\n") == exactly("""
        error: unknown key 'learning_rat' in [algorithm]
          --> hill.toml:6:1
           |
         6 | learning_rat = 1e-3
           | ^^^^^^^^^^^^

        hint: did you mean 'learning_rate'?
        """)


def test_a_missing_key_points_at_its_table() -> None:
    assert rendered("total_frames = 1000\n[env]\nnum_envs = 16\n") == exactly("""
        error: 'env.id' is missing
          --> hill.toml:2:2
           |
         2 | [env]
           |  ^^^

        hint: it takes a string: Which world.
        """)


@pytest.mark.parametrize(
    ("table", "line", "message", "hint"),
    [
        ("[env]\nid = 'a'\nnum_envs = true", 4, "expected an integer from 1 to 1_000_000, got true",
         "left out, it is 8: environments stepped together"),
        ("[env]\nid = 3", 3, "expected a string, got 3", "Which world"),
        ("[env]\nid = 'a'\nworkers = 9", 4, "9 workers have only 8 environments to step", "8 or fewer, or 'auto'"),
        ("[env]\nid = 'a'\nworkers = 'aut'", 4,
         "expected an integer from 0 to 1024 or 'auto', got the string 'aut'", "did you mean 'auto'?"),
        ("[env]\nid = 'a'\nnum_envs = '4'", 4,
         "expected an integer from 1 to 1_000_000, got the string '4'", "write it without quotes: 4"),
        ("env = 3", 2, "expected a table with backend, num_envs, workers, timeout, max_restarts, got 3",
         "`[env]`: the environment backend, how many environments, and the backend's own options"),
        ("[network]\nsizes = [1, 0, 'a']\n[env]\nid = 'a'", 3, "expected an integer of at least 1, got 0",
         "`rl2 explain network.sizes` says what it takes"),
        ("[network]\nname = 'mpl'\n[env]\nid = 'a'", 3, "unknown network 'mpl'",
         "did you mean 'mlp'? Or add your own: rl2 register-network mpl module:Class, "
             "or rl2cli.register_network('mpl', 'module:Class') in Python"),
        ("[network]\nactivation = 'rleu'\n[env]\nid = 'a'", 3,
         "expected 'tanh' or 'relu', got the string 'rleu'", "did you mean 'relu'?"),
        ("[algorithm]\nlearning_rate = 0\n[env]\nid = 'a'", 3,
         "expected a number above 0 or a table with start, shape, got 0",
         "left out, it is 0.001: step size"),
        ("[algorithm]\nlearning_rate = { start = 'x' }\n[env]\nid = 'a'", 3,
         "expected a number, got the string 'x'", "First value"),
        ("num_envs = 3\n[env]\nid = 'a'", 2, "unknown key 'num_envs'", "it belongs in [env]"),
        ("[network]\nsizes = 3\n[env]\nid = 'a'", 3,
         "expected an array, each an integer of at least 1, got 3", "write it in brackets: [3]"),
        ("[algorithm]\nbatch = 3\n[env]\nid = 'a'", 3, "3 does not divide 8", "take 4"),
        ("[env]\nid = 'a'\n[scale]\nengine = 'local'\nenvs_per_worker = 3", 6,
         "8 environments are no whole number of shards of 3", "the nearest that fit: 2 or 4"),
        ("[env]\nid = 'a'\n[scale]\nengine = 'local'\naddress = 'auto'", 6, "engine = 'local' joins no cluster",
         "remove it, or write engine = 'ray'"),
        ("[env]\nid = 'a'\n[scale]\nlag = 1", 5, "lag is of shards, and no engine steps any",
         "write engine = 'ray' or 'local' beside it, or remove it"),
        ("[env]\nid = 'a'\nworkers = 2\n[scale]\nengine = 'local'", 4,
         "the workers of [scale] step the environments, each in its own process", "remove it, and set scale.workers"),
        ("overlap = true\n[env]\nid = 'a'\n[scale]\nengine = 'ray'", 2,
         "with [scale], collecting and learning at the same time is a lag of 1", "remove it, and write scale.lag = 1"),
    ],
)  # fmt: skip
def test_each_problem_is_said_in_words_at_its_line(table: str, line: int, message: str, hint: str | None) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec_text(f"total_frames = 1000\n{table}\n", "hill.toml")
    problem = caught.value.problems[0]
    assert (problem.line, problem.message, problem.hint) == (line, message, hint)


def test_a_union_gives_one_problem_for_each_key() -> None:
    with pytest.raises(SpecError) as caught:
        load_spec_text(SPEC + "[algorithm]\nlearning_rate = { strt = 1, shape = 'round' }")
    assert [(problem.key, problem.message) for problem in caught.value.problems] == [
        ("algorithm.learning_rate.start", "'algorithm.learning_rate.start' is missing"),
        ("algorithm.learning_rate.strt", "unknown key 'strt' in [algorithm.learning_rate]"),
        ("algorithm.learning_rate.shape", "expected 'linear' or 'cosine', got the string 'round'"),
    ]


def test_all_problems_come_at_once_in_reading_order() -> None:
    with pytest.raises(SpecError) as caught:
        load_spec_text(
            "sed = 1\ntotal_frames = 1e6\nvideo = 1\n[env]\nid = 3\n[algorithm]\nbatch = 0\n[evaluation]\nevery = 0"
        )
    error = caught.value
    assert [problem.line for problem in error.problems] == [1, 2, 3, 5, 7, 9]
    assert error.exit_code == 2
    assert error.message == "6 problems in the run spec, the first: unknown key 'sed'"
    assert error.problems[1].hint == "write it without point and exponent: 1_000_000"


def test_more_problems_than_anyone_reads_are_counted() -> None:
    text = SPEC + "\n".join(f"unknown_{number} = 1" for number in range(2000))
    with pytest.raises(SpecError) as caught:
        load_spec_text(text)
    assert (len(caught.value.problems), caught.value.omitted) == (50, 1950)
    assert caught.value.render().endswith("\n\nand 1950 more")


def test_a_long_line_is_cut_around_the_caret_and_control_characters_do_not_reach_the_terminal() -> None:
    text = rendered(SPEC + f"kwargs = {{ a = '{'x' * 5000}\u202e', 'b\u202e' = nan }}\n")
    assert max(map(len, text.splitlines())) < 200
    assert "\u202e" not in text
    source, caret = text.splitlines()[3:5]
    assert source[caret.index("^") :][: caret.count("^")] == "nan"


def test_the_caret_stands_below_wide_characters() -> None:
    source, caret = rendered(SPEC + "kwargs = { '日本' = nan }\n").splitlines()[3:5]
    assert (source.index("nan"), caret.index("^")) == (23, 25)


def test_overrides_win_the_later_over_the_earlier_and_short_options_over_all() -> None:
    spec = load_spec_text(
        SPEC, "a.toml", ["seed=2", "env.num_envs=16", "seed=3", "env.kwargs.'a b'=[1]", 'device="cuda"'], device="cpu"
    ).spec
    assert (spec.seed, spec.env.num_envs, spec.device) == (3, 16, "cpu")
    assert spec.env.options == WorldOptions(id="Hill", kwargs={"a b": [1]})


@pytest.mark.parametrize(
    ("override", "message", "hint", "marked"),
    [
        ("device=cuda", "'cuda' is not a TOML value",
         "text needs quotes, and the shell takes away one pair: --set device='\"cuda\"'", "cuda"),
        ("env.num_envs=True", "'True' is not a TOML value", "write --set env.num_envs=true", "True"),
        ("seed", "expected key=VALUE", "for example --set env.num_envs=16", "seed"),
        ("seed=1\nname='a'", "expected key=VALUE", "for example --set env.num_envs=16", "seed=1"),
        ("env.num_envs=0", "expected an integer from 1 to 1_000_000, got 0",
         "left out, it is 8: environments stepped together", "0"),
        ("env.num_env=1", "unknown key 'num_env' in [env]", "did you mean 'num_envs'?", "num_env"),
        ("env.id.x=1", "'env.id' is not a table, so nothing in it can be set",
         "`rl2 explain env.id` says what it takes", "x"),
        ("evaluation.every.x=1", "expected an integer from 1 to 2^53, got a table",
         "Frames between evaluations, rounded up to the end of an iteration; a twentieth of the run", "every"),
        ("env.num_envs=nan", "expected a finite number, got nan", "left out, the setting has its default", "nan"),
    ],
)  # fmt: skip
def test_a_wrong_override_is_shown_itself(override: str, message: str, hint: str | None, marked: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec_text(SPEC, "hill.toml", [override])
    [problem] = caught.value.problems
    assert (problem.message, problem.hint, problem.place) == (message, hint, "command line")
    assert problem.source is not None
    assert problem.column is not None
    assert problem.end_column is not None
    assert problem.source[problem.column - 1 : problem.end_column - 1] == marked


def test_the_last_of_two_overrides_is_to_blame() -> None:
    assert "| --set seed=-2\n" in rendered(SPEC, "seed=1", "seed=-2")
    assert "| --seed -3\n" in rendered(SPEC, "seed=-2", seed=-3)


def test_a_wrong_short_option_is_shown_as_it_was_typed() -> None:
    assert rendered(SPEC, total_frames=0) == exactly("""
        error: expected an integer from 1 to 2^53, got 0
          --> command line
           |
           | --frames 0
           |          ^

        hint: Environment steps in all, summed over environments
        """)


def test_a_dict_is_validated_likewise() -> None:
    loaded = load_spec_dict({"total_frames": 10, "env": {"id": "Hill"}, "network": {"sizes": (1, 2)}, "seed": None})
    assert loaded.spec.name == "run"
    assert loaded.spec.network.options == LayersOptions(sizes=(1, 2))
    assert load_spec_text(loaded.text, "run.toml").spec == loaded.spec


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        ({"total_frames": 10, "env": {}}, "env.id", "'env.id' is missing"),
        (
            {"total_frames": 10, "env": {"id": Path("a")}},
            "env.id",
            f"a run spec has no values of type {type(Path()).__name__}",
        ),
        ({"total_frames": float("nan")}, "total_frames", "expected a finite number, got nan"),
        ({"name": "\ud800"}, "name", "a run spec has no values of type str"),
    ],
)
def test_a_wrong_dict_names_the_key(values: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec_dict(values)
    problem = caught.value.problems[0]
    assert (problem.place, problem.message) == (key, message)


def test_a_dict_that_holds_itself_is_a_problem() -> None:
    values: dict[str, Any] = {"total_frames": 10}
    values["env"] = values
    with pytest.raises(SpecError, match="more tables inside each other"):
        load_spec_dict(values)


def test_a_spec_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "hill.toml"
    path.write_text(SPEC)
    loaded = load_spec(path, ["seed=5"], total_frames=7)
    assert (loaded.spec.name, loaded.spec.seed, loaded.spec.total_frames, loaded.path) == ("hill", 5, 7, str(path))


def test_the_shipped_spec_is_used_where_no_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/hill.toml", "hill.toml"):
        loaded = load_spec(name)
        assert (loaded.shipped, loaded.spec.name, loaded.path) == (True, "hill", str(shipped / "hill.toml"))
    (tmp_path / "hill.toml").write_text("name = 'mine'\n" + SPEC)
    assert load_spec("hill.toml").spec.name == "mine"
    assert not load_spec("hill.toml").shipped


def test_a_missing_file_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        load_spec("runs/hil.toml")
    assert (caught.value.message, caught.value.hint) == (
        "there is no file 'runs/hil.toml'",
        "did you mean 'runs/hill.toml'?",
    )
    with pytest.raises(UsageError, match="is a folder"):
        load_spec(tmp_path)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "package" / "runs"
    folder.mkdir(parents=True)
    (folder / "hill.toml").write_text(SPEC)
    monkeypatch.setattr("rl2cli.spec.shipped.shipped_folder", lambda: folder)
    return folder


@pytest.mark.usefixtures("built_in")
@pytest.mark.parametrize("path", sorted(shipped_folder().glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_spec_is_valid(path: Path) -> None:
    assert load_spec(path).spec.name


def test_neither_torch_nor_gymnasium_is_imported() -> None:
    code = (
        "import sys, rl2cli.spec.schema, rl2cli.spec.describe; "
        "rl2cli.spec.load_spec_text('total_frames = 1000\\n[env]\\nid = \"CartPole-v1\"'); "
        "rl2cli.spec.schema.json_schema(); "
        "print(*sorted({'torch', 'gymnasium', 'tensordict', 'typer', 'rich'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
