"""Imports point down the layers only, heavy ones are lazy, and nothing unpickles: read from the source itself."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import rl2cli

PACKAGE = Path(rl2cli.__file__).parent

LAYERS = [
    {"errors", "spaces", "options", "text", "trust", "durable", "keys", "segment", "cores", "command"}
    | {"plugins", "interpreter"},
    {"envs", "networks", "reporting", "spec", "registry"},
    {"algorithms"},
    {"training"},
    {"inference", "api", "benchmarks", "results", "checks"},
    {"cli", "__main__"},
]
"""DESIGN's layers, lowest first; a part may import from its own row and those before it."""

FORBIDDEN = {
    ("algorithms", "envs"),
    ("algorithms", "spec"),
    ("envs", "networks"),
    ("envs", "reporting"),
    ("networks", "envs"),
    ("networks", "spec"),
    ("reporting", "envs"),
    ("reporting", "networks"),
    ("spec", "envs"),
    ("spec", "networks"),
    ("spec", "reporting"),
}
"""Imports that the rows would allow and that are not wanted."""

TORCH_FREE = (
    "algorithms.dqn_options",
    "algorithms.ppo_options",
    "algorithms.replay_options",
    "algorithms.sac_options",
    "algorithms.schedules",
    "algorithms.td3_options",
    "algorithms.tqc_options",
    "envs.gymnasium_options",
    "envs.isaac.installation",
    "envs.isaac.options",
    "envs.omniverse.options",
    "envs.torchrl_options",
    "networks.cnn_options",
    "networks.impala_options",
    "networks.mlp_options",
    "networks.multi_options",
    "training.repeated",
)
TORCH_FREE_PARTS = (
    "cli",
    "command",
    "cores",
    "durable",
    "errors",
    "interpreter",
    "options",
    "plugins",
    "registry",
    "reporting",
    "results",
    "spec",
    "text",
    "trust",
    "api",
)


class Import(NamedTuple):
    importer: str
    imported: str
    lazy: bool


def _modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imports(module: str) -> list[Import]:
    """Return what `module` imports when it runs; imports for type checkers alone are left out."""
    found: list[Import] = []

    def visit(node: ast.AST, lazy: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                visit(other, lazy)
            return
        if isinstance(node, ast.Import):
            found.extend(Import(module, alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.append(Import(module, inner if inner in MODULES else base, lazy))
        inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(MODULES[module].read_text(encoding="utf-8")), False)
    return found


ALL_IMPORTS = [each for module in MODULES for each in _imports(module)]


def _part(module: str) -> str:
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def _row(part: str) -> int:
    return next(index for index, layer in enumerate(LAYERS) if part in layer)


def _inner_imports() -> Iterator[Import]:
    for each in ALL_IMPORTS:
        if each.imported.split(".")[0] == "rl2cli" and _part(each.importer) and _part(each.imported):
            yield each


def test_every_part_has_its_row() -> None:
    parts = {_part(module) for module in MODULES} - {""}
    assert parts == set().union(*LAYERS)


def test_imports_point_down() -> None:
    checked = list(_inner_imports())
    assert len(checked) > 150
    assert [each for each in checked if _row(_part(each.imported)) > _row(_part(each.importer))] == []


def test_parts_that_do_not_know_each_other() -> None:
    assert [each for each in _inner_imports() if (_part(each.importer), _part(each.imported)) in FORBIDDEN] == []


def test_only_build_sees_a_whole_spec_and_its_parts() -> None:
    spec_users = {each.importer for each in _inner_imports() if each.imported == "rl2cli.spec.model"}
    assert {module for module in spec_users if _part(module) in ("algorithms", "networks")} == set()


def test_there_are_no_import_rings() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for each in ALL_IMPORTS:
        if not each.lazy and each.imported in MODULES and each.imported != each.importer:
            graph[each.importer].add(each.imported)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_the_terminal_is_known_in_two_parts_only(library: str) -> None:
    users = {_part(each.importer) for each in ALL_IMPORTS if each.imported.split(".")[0] == library}
    assert users <= {"cli", "reporting"}


def test_tensordict_and_torchrl_are_imported_when_asked_for() -> None:
    eager = [each for each in ALL_IMPORTS if each.imported.split(".")[0] in ("tensordict", "torchrl") and not each.lazy]
    assert eager == []


def test_backends_are_imported_in_their_adapters_only() -> None:
    backends = {"ale_py", "mujoco", "isaaclab", "isaacsim", "newton", "omni", "ovphysx", "pxr", "Box2D", "pygame"}
    users = [each for each in ALL_IMPORTS if each.imported.split(".")[0] in backends]
    assert all(each.lazy for each in users)
    assert {_part(each.importer) for each in users} <= {"envs", "cli"}  # `rl2 list` shows what is installed


def test_torch_free_modules_import_no_torch() -> None:
    names = [f"rl2cli.{name}" for name in TORCH_FREE]
    names += [module for module in MODULES if _part(module) in TORCH_FREE_PARTS]
    assert len(names) > 40
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
        "    assert 'gymnasium' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_nothing_unpickles() -> None:
    picklers = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
    assert [each for each in ALL_IMPORTS if each.imported.split(".")[0] in picklers] == []
    calls = (
        "torch.load",
        "torch.save",
        "load_memmap",
        "memmap_",
        "read_pickle",
        "np.load",
        "numpy.load",
        "joblib.load",
    )
    found = [
        f"{module}:{node.lineno}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(calls)
    ]
    assert found == []


RUN_CODE = {"rl2cli.reporting.terminal": "os.system('') turns on escape codes in older consoles of Windows"}
"""Modules with such a call that is no danger, with the reason."""


def test_no_code_is_made_of_data() -> None:
    calls = {"eval", "exec", "compile", "__import__", "yaml.load", "os.system", "os.popen", "runpy.run_path"}
    found = [
        f"{module}:{node.lineno} {ast.unparse(node.func)}"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in calls and module not in RUN_CODE
    ]
    assert found == []


def test_export_lists_are_sorted() -> None:
    found = 0
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                assert names == sorted(names), module
                found += 1
    assert found >= 4
