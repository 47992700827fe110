"""One gradient step as code compiled ahead of time: losses, gradients, Adam in one call, no Python inside.

The step is traced into one graph (`make_fx`), compiled by AOTInductor with this machine's C++ compiler, and kept in a
folder under a key that names everything that decides the code. Loading takes milliseconds and imports neither
torch._dynamo nor torch._inductor; what was loaded is compared with the eager step before it is used.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from rl2cli.algorithms.adam import FlatParameters
from rl2cli.algorithms.tracing import Step, take_with
from rl2cli.durable import write_bytes_atomic

if TYPE_CHECKING:
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

LEAST_ROWS = 2
"""torch makes code of its own for sizes 0 and 1."""
MOST_ROWS = 1 << 20
"""More might overflow an index."""
TOLERANCE = 1e-2
"""Part of a tensor's change, by Euclidean norm, by which compiled and eager steps may differ.

Single elements may differ by all of theirs: where a gradient is near zero, Adam's first step is the sign of rounding.
"""
TIMED_CALLS = 5
TIMED_SIZE = 256
"""Rows and columns of the matrices by which the processor's speed is measured."""
OPTIONS = {
    "compile_threads": 1,  # no pool of compiler processes
    "aot_inductor.precompile_headers": False,  # pays from the second artefact on, for 200 MB
    "aot_inductor.enable_line_tables": False,
    "aot_inductor.compile_wrapper_opt_level": "O0",  # what calls the kernels; costs them nothing that can be measured
    "cpp.vec_isa_ok": True,  # the processor says what it has; trying it out takes three seconds
    "cpp.use_decompose_tanh": True,  # from exp, within 1.2e-7: the whole step is a quarter faster
}
"""For AOTInductor, see torch._inductor.config."""


class CompilationError(Exception):
    """A compiled step is not there, cannot be built, or does not do what the eager one does; says why."""


class Runner(Protocol):
    """A loaded artefact, as torch gives it."""

    def run(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return the outputs of the code for `inputs`."""


class CompiledStep:
    """One gradient step, compiled; called like the step itself and like `cuda_graph.GraphedStep`.

    It can be called once `load` has succeeded. It has no state: what it changes is that of `parts`.

    Args:
        step: See `gradient_step.GradientStep`, as for `root` and `parts`.
        root: Owns, with its submodules, every parameter that the step reads.
        parts: Everything that the step changes.
        make_inputs: Makes an example of the inputs with a number of rows. Scalars are settings, all others have rows.
        rows: Usual number of rows.
        rows_vary: Whether the code is to take other numbers as well, in a range that torch chooses around the usual.
        decided_by: What decides the code besides shapes, versions and the processor: options, sources.
        calls: How often a run takes this step.
    """

    def __init__(
        self,
        step: Step,
        root: nn.Module,
        parts: Sequence[FlatParameters],
        make_inputs: Callable[[int], list[torch.Tensor]],
        rows: int,
        decided_by: Sequence[object],
        calls: float,
        *,
        rows_vary: bool,
    ) -> None:
        self.take_eagerly, self._root, self._parts, self._make_inputs = step, root, parts, make_inputs
        self.rows, self.calls, self._rows_vary = rows, calls, rows_vary
        self._allowed = range(0)
        self._examples = make_inputs(rows)
        self._expected = [(tensor.shape[1:], tensor.dtype) for tensor in self._examples]
        self._runner: Runner | None = None
        self._state = [tensor for part in parts for tensor in part.tensors()]
        shapes = [(tuple(tensor.shape), str(tensor.dtype)) for tensor in [*self._state, *self._examples]]
        constants = [constant for part in parts for constant in part.constants()]
        decisive = [
            shapes,
            constants,
            rows_vary,
            OPTIONS,
            torch.__version__,
            torch.get_num_threads(),
            *processor(),
            *decided_by,
        ]
        self.key = hashlib.sha256("\n".join(map(str, decisive)).encode()).hexdigest()[:32]

    def take_traceably(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Take the step as a function of the tensors of its parts and the inputs, in that order."""
        return take_with(self.take_eagerly, self._root, self._parts, tensors)

    # --- running ---

    @property
    def is_loaded(self) -> bool:
        """Whether it can be called."""
        return self._runner is not None

    def fits(self, inputs: Sequence[torch.Tensor]) -> bool:
        """Return whether there is code that may be run on `inputs`, which it does not look at itself."""
        return self.is_loaded and all(
            tensor.shape[1:] == shape
            and tensor.dtype == dtype
            and (not tensor.ndim or (len(tensor) in self._allowed and tensor.is_contiguous()))
            for tensor, (shape, dtype) in zip(inputs, self._expected, strict=True)
        )

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run the step on `inputs`, which must fit."""
        assert self._runner is not None
        return self._runner.run([*self._state, *inputs])[0]

    # --- keeping ---

    def is_kept(self, folder: Path) -> bool:
        """Return whether `folder` has undamaged code of this key that this user put there."""
        return self._find(folder) is not None

    def load(self, folder: Path) -> None:
        """Take the code of this key from `folder`, and compare what it does with the eager step.

        Raises:
            CompilationError: There is none, it cannot be loaded, or does something else.
        """
        path = self._find(folder)
        if path is None:
            raise CompilationError(f"no compiled code in {folder / self.key}")
        allowed = _allowed_rows(path)
        try:
            runner = open_artifact(path)
            agrees = self._agrees(runner, (self.rows, max(allowed.start, self.rows * 2 // 3)))
        except RuntimeError as error:
            raise CompilationError(_reason(error)) from error
        if not agrees:
            raise CompilationError(f"{path} does not do what the eager step does")
        self._runner, self._allowed = runner, allowed

    def _find(self, folder: Path) -> Path | None:
        user = os.getuid() if hasattr(os, "getuid") else None
        for path in sorted((folder / self.key).glob("*.so")):
            try:
                own = user is None or path.stat().st_uid == user
                whole = path.name == artifact_name(_allowed_rows(path), path.read_bytes())
            except (OSError, ValueError):
                continue
            if own and whole:
                return path
        return None

    def _agrees(self, runner: Runner, sizes: Sequence[int]) -> bool:
        """Return whether steps with `runner` change the state as eager ones do; the state is as before."""
        with self._trial():
            before = [tensor.clone() for tensor in self._state]
            compiled = [tensor.clone() for tensor in self._state]
            pairs = []
            for rows in sizes:
                inputs = self._make_inputs(rows)
                pairs.append((runner.run([*compiled, *inputs])[0], self.take_eagerly(*inputs)))
            changes = zip(compiled, self._state, before, strict=True)
            pairs += [(ours - old, theirs - old) for ours, theirs, old in changes]
            return all(bool((a - b).norm() <= TOLERANCE * b.norm()) for a, b in pairs)

    def eager_seconds(self) -> float:
        """Return what a step of `rows` rows takes here now without compiled code; the state is as before."""
        with self._trial():
            return least_seconds(lambda: self.take_eagerly(*self._examples))

    def arithmetic_seconds(self) -> float:
        """Return about what the products of matrices take in that, which the same library does for compiled code."""
        from torch.utils.flop_counter import FlopCounterMode

        with self._trial(), FlopCounterMode(display=False) as counter:
            self.take_eagerly(*self._examples)
        products = float(counter.get_total_flops()) / (2 * TIMED_SIZE**3)
        matrix = torch.ones(TIMED_SIZE, TIMED_SIZE)
        return least_seconds(lambda: matrix @ matrix) * products

    @contextmanager
    def _trial(self) -> Iterator[None]:
        """Set learning rates; put the whole state back at the end of the block."""
        saved = [tensor.clone() for tensor in self._state]
        for part in self._parts:
            for learning_rate in part.settings():
                learning_rate.fill_(1e-3)
        try:
            yield
        finally:
            for tensor, value in zip(self._state, saved, strict=True):
                tensor.copy_(value)

    # --- building ---

    def build(self, folder: Path) -> None:
        """Compile the step and keep it in `folder`; takes half a minute to a minute.

        Raises:
            CompilationError: There is no C++ compiler, or this step cannot be compiled.
        """
        try:
            with tempfile.TemporaryDirectory(prefix="rl2-compile-", ignore_cleanup_errors=True) as scratch, _quiet():
                with _environment("TORCHINDUCTOR_CACHE_DIR", scratch):
                    library, allowed = self._compile(Path(scratch))
                content = library.read_bytes()
            place = folder / self.key
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_bytes_atomic(place / artifact_name(allowed, content), content)
        except CompilationError:
            raise
        except Exception as error:  # a compiler's failures have no common type, and a run never ends for one
            raise CompilationError(_reason(error)) from error

    def _compile(self, scratch: Path) -> tuple[Path, range]:
        """Return the library, and the numbers of rows for which it is right."""
        from torch._inductor import aot_compile

        graph, tensors, shapes = self.trace()
        options = {
            **OPTIONS,
            "aot_inductor.output_path": str(scratch / "step.so"),
            "cpp.cxx": (None, find_compiler()),  # of now: torch looks once, when it is imported
        }
        library = aot_compile(graph, tuple(tensors), options=options)

        least, most = LEAST_ROWS, MOST_ROWS
        rows: list[Any] = [tensor.shape[0] for tensor in tensors[len(self._state) :] if tensor.ndim]
        for size in rows:  # a symbol, or a number where torch chose one
            bounds = None if isinstance(size, int) else shapes.bound_sympy(size.node.expr)
            least = max(least, self.rows if bounds is None else int(bounds.lower))
            most = min(most, self.rows if bounds is None else bounds.upper)
        return Path(str(library)), range(least, int(most) + 1)

    def trace(self) -> tuple[torch.fx.GraphModule, list[torch.Tensor], ShapeEnv]:
        """Return the step as a graph, the fake tensors that it was traced with, and what is known of their sizes.

        Raises:
            CompilationError: The step reads a parameter or buffer that none of its parts holds.
        """
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.fx.experimental.proxy_tensor import make_fx
        from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

        shapes = ShapeEnv()
        mode = FakeTensorMode(shape_env=shapes, allow_non_fake_inputs=True)

        def fake(tensor: torch.Tensor, first: DimDynamic) -> torch.Tensor:
            sizes = [first, *[DimDynamic.STATIC] * (tensor.ndim - 1)][: tensor.ndim]
            return mode.from_tensor(tensor, symbolic_context=StatelessSymbolicContext(dynamic_sizes=sizes))

        state = [fake(tensor, DimDynamic.STATIC) for tensor in self._state]
        inputs = [
            fake(tensor, DimDynamic.DYNAMIC if self._rows_vary else DimDynamic.STATIC) for tensor in self._examples
        ]
        graph = make_fx(lambda *tensors: (self.take_traceably(*tensors),), tracing_mode="symbolic")(*state, *inputs)
        self._check_constants(graph)
        return graph, state + inputs, shapes

    def _check_constants(self, graph: torch.fx.GraphModule) -> None:
        """Raise where a tensor of the algorithm's state would be part of the code, with the value it has now."""
        constants = [getattr(graph, node.target) for node in graph.graph.find_nodes(op="get_attr")]
        for name, tensor in self._root.state_dict(keep_vars=True).items():
            if any(tensor is constant for constant in constants):
                raise CompilationError(f"the step reads {name}, which none of its parts holds")


def least_seconds(call: Callable[[], object]) -> float:
    """Return the least time that `call` took, of a few."""
    taken = []
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def artifact_name(allowed: range, content: bytes) -> str:
    """Return the file name of compiled code: the numbers of rows that it takes, and its own sha256."""
    return f"{allowed.start}-{allowed.stop - 1}-{hashlib.sha256(content).hexdigest()}.so"


def _allowed_rows(path: Path) -> range:
    least, most, _ = path.stem.split("-")
    return range(int(least), int(most) + 1)


def find_compiler() -> str:
    """Return the C++ compiler that torch will use.

    Raises:
        CompilationError: It is not there.
    """
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    name = (os.environ.get("CXX") or usual).split()[0]
    path = shutil.which(name)
    if path is None:
        raise CompilationError(f"no C++ compiler, {name} is not installed")
    return path


def open_artifact(path: Path) -> Runner:
    """Load compiled code with torch's own runner: no Python module is imported."""
    return torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1)


def processor() -> list[str]:
    """Return what decides whether and how well compiled code runs on this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    flags = [line for line in lines if line.startswith(("flags", "Features"))][:1]
    return [platform.system(), platform.machine(), torch.backends.cpu.get_cpu_capability(), *flags]


def sources(*modules: nn.Module, also: Sequence[object] = ()) -> list[str]:
    """Return the sha256 of every Python file in the folders that define the classes of `modules` and of `also`.

    A network's own helpers are mostly there; torch's files are left out, its version stands for them.
    """
    found = [module for root in modules for module in root.modules()]
    classes = {base for one in [*found, *also] for base in type(one).__mro__}
    own = [one for one in classes if one.__module__.partition(".")[0] not in ("torch", "builtins", "abc", "typing")]
    folders = {Path(inspect.getsourcefile(one) or __file__).parent for one in own} | {Path(__file__).parent}
    files = sorted(file for folder in folders for file in folder.glob("*.py"))
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch's own insides
        yield


def _reason(error: Any) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}"
