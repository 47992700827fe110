"""What `rl2 register` runs in a process of its own: import a plugin, check it, and write down what was seen."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from rl2cli.checks.refusal import Refused, explained
from rl2cli.errors import nearest
from rl2cli.plugins.schema_cache import file_hash

_BASES = {"adapter": "rl2cli.envs.base", "network": "rl2cli.networks.base", "algorithm": "rl2cli.algorithms.base"}
_ABSTRACT = {"adapter": "BaseEnvAdapter", "network": "BaseNetwork", "algorithm": "BaseAlgorithm"}
_LISTED_FILES = 200


def main(text: str) -> None:
    """Do what the task, as JSON, says and write the answer to the file it names."""
    task = json.loads(text)
    report: dict[str, Any] = {"notes": []}
    try:
        _look(task, report)
    except Refused as refused:
        report |= {"message": refused.message, "hint": refused.hint, "missing": refused.missing}
        report["frames"] = refused.frames
    Path(task["answer"]).write_text(json.dumps(report), encoding="utf-8")


def _look(task: dict[str, Any], report: dict[str, Any]) -> None:
    kind, target, folder = task["kind"], task["target"], task["folder"]
    module_name, _, attribute = target.partition(":")
    if folder is not None:
        require_not_hidden(module_name, Path(folder))
        if folder not in sys.path:
            sys.path.append(folder)
    module = import_module(module_name, folder, attribute)
    report["file"] = str(getattr(module, "__file__", None) or module_name)
    if kind == "module":
        return
    plugin = find_class(kind, module, attribute)
    report["file"] = str(inspect.getsourcefile(plugin) or report["file"])
    require_whole(kind, plugin)
    report["description"] = _description(kind, plugin)
    if task["build"]:
        from rl2cli.checks.plugin_trial import try_out

        report["notes"] += try_out(kind, target, plugin)


def require_not_hidden(module: str, folder: Path) -> None:
    """Refuse a module that lies in `folder` where another one of its name would be imported instead.

    Raises:
        Refused: Python has a module of that name, which always comes first.
    """
    top = module.partition(".")[0]
    beside = [path for path in (folder / f"{top}.py", folder / top / "__init__.py") if path.is_file()]
    if not beside:
        return
    # Builtins have a spec whose origin is no file; what is beside is not on the path yet, unless it is installed.
    spec = importlib.util.find_spec(top)
    if spec is None or (spec.origin and Path(spec.origin).resolve() == beside[0].resolve()):
        return
    standard = top in sys.stdlib_module_names
    which = "one of Python's own" if standard else f"an installed one, {spec.origin or top}"
    raise Refused(
        f"the module {top!r} in {folder} would never be imported: {which} has that name",
        hint=f"rename {beside[0].name if beside[0].name != '__init__.py' else top}"
        + ("" if standard else ", or uninstall the other"),
    )


def import_module(name: str, folder: str | None, attribute: str) -> ModuleType:
    """Import the plugin's module.

    Raises:
        Refused: It is not found, needs a package that is missing, or raised.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise Refused(
                f"module {name!r} needs {missing!r}, which is not installed",
                hint=f"pip install {missing.partition('.')[0]}",
                missing=True,
            ) from error
        where = f"neither in {folder} nor installed" if folder else "not installed"
        hint = _where_it_may_be(name, folder, attribute)
        raise Refused(f"module {missing!r} not found: {where}", hint=hint) from error
    except (Exception, SystemExit) as error:
        raise explained(error, f"importing {name} raised", name, folder) from error


def _where_it_may_be(name: str, folder: str | None, attribute: str) -> str:
    here = _modules_in(Path(folder)) if folder else []
    suffix = f":{attribute}" if attribute else ""
    same = [each for each in here if each.rpartition(".")[2] == name.rpartition(".")[2]]
    near = same or nearest(name, here)
    if near:
        return f"did you mean {' or '.join(f'{each}{suffix}' for each in near[:3])}?"
    shown = f"; there are: {', '.join(here[:10])}" if here else ""
    return f"put {name.replace('.', '/')}.py into {folder}{shown}" if folder else f"install the package that has {name}"


def _modules_in(folder: Path) -> list[str]:
    """Return the modules beside rl2.toml and two folders down, as import would name them."""
    found = []
    for pattern in ("*.py", "*/*.py", "*/*/*.py"):
        for path in sorted(folder.glob(pattern))[:_LISTED_FILES]:
            parts = path.relative_to(folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            if parts and all(part.isidentifier() for part in parts) and not parts[-1].startswith("test_"):
                found.append(".".join(parts))
    return found


def find_class(kind: str, module: ModuleType, attribute: str) -> type:
    """Return the class of that name in `module`, which has to be one of this kind.

    Raises:
        Refused: It is not there, or is something else.
    """
    base = getattr(importlib.import_module(_BASES[kind]), _ABSTRACT[kind])
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise Refused(f"{part!r} is not in {module.__name__}", hint=_class_hint(part, found, base))
        found = getattr(found, part)
    if not isinstance(found, type):
        raise Refused(
            f"{module.__name__}:{attribute} is not a class but {_a(type(found).__name__)}",
            hint=_class_hint(attribute.rpartition(".")[2], module, base),
        )
    if found is base or not issubclass(found, base):
        raise Refused(
            f"{attribute} in {module.__name__} is not a {base.__name__}{_derived_from(found)}",
            hint=_base_hint(kind, found, base, module),
        )
    return found


def _class_hint(name: str, holder: Any, base: type) -> str:
    own = [each for each, value in vars(holder).items() if isinstance(value, type) and not each.startswith("_")]
    fitting = [each for each in own if issubclass(getattr(holder, each), base) and getattr(holder, each) is not base]
    near = nearest(name, fitting) or nearest(name, own) or fitting
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"it has no class derived from {base.__name__}; add: class {name}({base.__name__}): ..."


def _derived_from(found: type) -> str:
    names = [base.__name__ for base in found.__bases__ if base is not object]
    return f" but {_a(', '.join(names))}" if names else ", it is derived from nothing"


def _base_hint(kind: str, found: type, base: type, module: ModuleType) -> str:
    for other, abstract in _ABSTRACT.items():
        if other != kind and issubclass(found, getattr(importlib.import_module(_BASES[other]), abstract)):
            return f"it is {_a(other)}: rl2 register-{other} NAME {module.__name__}:{found.__qualname__}"
    if any(each.__module__.startswith("gymnasium.") for each in found.__mro__):
        return (
            "a Gymnasium environment needs no adapter: call gymnasium.register in that module, type "
            f'`rl2 register module {module.__name__}`, and write id = "{module.__name__}:NAME-v0" in the spec'
        )
    return f"derive it from {base.__module__}.{base.__name__}; `rl2 new {kind} NAME` writes one that works"


def _a(noun: str) -> str:
    return f"an {noun}" if noun[:1].lower() in "aeiou" else f"a {noun}"


def require_whole(kind: str, plugin: type) -> None:
    """Refuse a class that lacks methods, or options.

    Raises:
        Refused: It does; all of what is missing.
    """
    from rl2cli.options import Options

    missing = sorted(getattr(plugin, "__abstractmethods__", ()))
    if missing:
        what = f"method {missing[0]!r}" if len(missing) == 1 else f"methods {', '.join(map(repr, missing))}"
        raise Refused(
            f"{plugin.__name__} has no {what}",
            hint=f"{_BASES[kind]}.{_ABSTRACT[kind]} says what each does; `rl2 new {kind} NAME` writes one that works",
        )
    options = getattr(plugin, "Options", None)
    if not (isinstance(options, type) and issubclass(options, Options)):
        raise Refused(
            f"{plugin.__name__}.Options is no options model",
            hint="write `class Options(rl2cli.options.Options)` in it, or leave it out",
        )


def _description(kind: str, plugin: type) -> dict[str, Any]:
    from rl2cli.spec.fields import model_schema

    options = getattr(plugin, "Options")  # noqa: B009  # a type's own, checked by require_whole
    try:
        schema = model_schema(options)
        json.dumps(schema)
    except Exception as error:
        raise explained(error, f"the schema of {plugin.__name__}.Options raised", plugin.__module__, None) from error
    doc = inspect.cleandoc(plugin.__doc__ or "").partition("\n")[0].strip()
    sources = {inspect.getsourcefile(each) for each in (*plugin.__mro__, *options.__mro__) if _is_own(each)}
    files = {path: file_hash(Path(path)) for path in sources if path}
    return {
        "schema": schema,
        "summary": doc.rstrip("."),
        "files": {key: value for key, value in files.items() if value},
    }


def _is_own(part: type) -> bool:
    """Return whether a class is the plugin's, not of rl2, a library of the same kind, or Python."""
    if part.__module__.partition(".")[0] in {"rl2cli", "torch", "pydantic", *sys.stdlib_module_names}:
        return False
    try:
        return inspect.getsourcefile(part) is not None
    except TypeError:
        return False


if __name__ == "__main__":
    main(sys.argv[1])
