"""What the README lists is what there is: options, commands, exit codes, registered names."""

from __future__ import annotations

import inspect
import re

import pytest
from documents import DOCUMENTS
from option_tables import MODELS, TABLE, option_table
from shards_picture import PICTURE, ROLLOUTS, Pipeline, picture
from typer.main import get_command

import rl2cli
from rl2cli import errors
from rl2cli.cli.commands import COMMANDS
from rl2cli.cli.dispatch import _add, _app
from rl2cli.errors import RL2Error
from rl2cli.spec.describe import option_rows

README = DOCUMENTS["README"].read_text(encoding="utf-8")
GUIDE = DOCUMENTS["guide"].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MODELS)
def test_option_tables_are_those_of_the_code(name: str) -> None:
    written = {match[1]: match[2] for match in TABLE.finditer(README)}
    assert written[name] == option_table(name), "python tests/docs/option_tables.py"


def test_every_default_of_ppo_names_its_source() -> None:
    rows = [row for row in option_rows(MODELS["ppo"]) if "." not in row.name]
    assert [row.name for row in rows if not re.search(r"\[[^]]+\]\.$", row.description)] == []
    known = set(re.findall(r"^\[(\w+)\] |; \[(\w+)\] ", README, re.MULTILINE))
    names = {name for pair in known for name in pair if name}
    cited = {cited.split(",")[0].split(":")[0] for row in rows for cited in _sources(row.description)}
    assert cited <= names


def _sources(description: str) -> list[str]:
    bracket = re.search(r"\[([^]]+)\]\.$", description)
    return bracket[1].split("; ") if bracket else []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_described(name: str) -> None:
    assert f"`rl2 {COMMANDS[name].typed}" in README
    section = README[README.index("## Commands") : README.index("## The run folder")]
    app = _app()
    _add(app, COMMANDS[name])
    for parameter in get_command(app).params:
        if parameter.param_type_name == "option" and not getattr(parameter, "hidden", False):
            for option in parameter.opts:
                assert f"`{option}" in section or f"/`{option}" in section, option


def test_the_picture_of_shards_is_what_its_script_draws() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "python tests/docs/shards_picture.py"
    assert f"]({PICTURE.name})" in GUIDE
    assert PICTURE.stat().st_size < 20_000


def test_a_shard_has_the_same_weights_whoever_is_lost() -> None:
    for lag in (0, 1):
        whole, broken = (
            {(box.shard, box.rollout, box.weights) for box in Pipeline(lag, lost_at).run() if not box.lost}
            for lost_at in (None, 9.2)
        )
        assert whole == broken
        assert {(rollout, weights) for shard, rollout, weights in whole if shard is not None} == {
            (rollout, max(0, rollout - lag)) for rollout in range(ROLLOUTS)
        }


def test_exit_codes_are_those_of_the_errors() -> None:
    table = README[README.index("## Exit codes") : README.index("## Trust")]
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, RL2Error)]
    codes = {kind.exit_code for kind in kinds if "exit_code" in vars(kind)}
    assert {int(code) for code in re.findall(r"^\| (\d) \|", table, re.MULTILINE)} == codes | {0}


def test_public_names_are_shown() -> None:
    for name in rl2cli.__all__:
        assert name == "__version__" or name in README


def test_guide_names_files_that_exist() -> None:
    package = DOCUMENTS["guide"].parent
    for name in re.findall(r"`((?:cli|spec|training|envs|tests)/[a-z_/]+\.py)`", GUIDE):
        assert (package / name).is_file() or (package.parent / name).is_file(), name
