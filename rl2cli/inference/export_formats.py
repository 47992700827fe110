"""The files that a policy is exported to: tracing it, writing it, and running what was written.

`onnx` needs no torch where it runs. `torch` is `torch.export`'s archive (`.pt2`), a graph in JSON and raw weights;
TorchScript, the older way, is deprecated. torch's documentation warns of `torch.export.load` for files of strangers, as
an archive may hold pickled parts: rl2 loads none but, to verify it, the bytes that it has just made itself.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.export import ExportedProgram

from rl2cli.errors import MissingDependencyError, RL2Error
from rl2cli.inference.deterministic import DeterministicPolicy
from rl2cli.spaces import Array
from rl2cli.text import shortened

Runner: TypeAlias = Callable[[Sequence[Array]], list[Array]]
"""Takes an array for each input, returns one for each output."""

BATCH = "batch"
"""Name of the first axis of every input and output."""
LARGEST_BATCH = 1 << 20
_REASON_LENGTH = 300


class Format(NamedTuple):
    """One kind of file."""

    suffix: str
    packages: tuple[str, ...]
    """What has to be installed, besides rl2."""
    write: Callable[[ExportedProgram, DeterministicPolicy], bytes]
    open: Callable[[bytes, DeterministicPolicy], Runner]


def require_packages(name: str) -> None:
    """Check that what format `name` needs is installed.

    Raises:
        MissingDependencyError: It is not.
    """
    missing = [package for package in FORMATS[name].packages if importlib.util.find_spec(package) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingDependencyError(
            f"--format {name} needs {' and '.join(missing)}, which {verb} not installed",
            hint=f"pip install {' '.join(FORMATS[name].packages)}",
        )


def trace(policy: DeterministicPolicy, examples: Sequence[torch.Tensor]) -> ExportedProgram:
    """Return `policy` as a graph that holds the weights it uses and nothing else, for batches of any size.

    Args:
        policy: On the CPU.
        examples: Of its inputs, at least two rows.

    Raises:
        RL2Error: It cannot be traced.
    """
    shapes = tuple({0: torch.export.Dim(BATCH, min=1, max=LARGEST_BATCH)} for _ in examples)
    try:
        with _quiet():
            traced = torch.export.export(policy, tuple(examples), dynamic_shapes=(shapes,), strict=False)
            # Critics, optimisers and targets are parts of the algorithm too, and often share the weights' memory.
            smaller = traced.module(check_guards=False)
            assert isinstance(smaller, torch.fx.GraphModule)
            _keep_what_is_used(smaller)
            program = torch.export.export(smaller, tuple(examples), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # whatever a plugin or the tracer raises
        name = type(policy.algorithm).__name__
        raise RL2Error(
            f"{name} cannot be exported: {_reason(error)}",
            hint="act(observation, None, mask) has to be tensor operations throughout, for any number of rows: "
            "shape[0] is one, len() is not",
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def _keep_what_is_used(module: torch.fx.GraphModule) -> None:
    """Remove the parameters and buffers that the graph does not use, and copy the others out of shared memory."""
    module.graph.eliminate_dead_code()
    module.recompile()
    used = {str(node.target) for node in module.graph.find_nodes(op="get_attr")}
    for prefix, part in list(module.named_modules()):
        for tensors in (part._parameters, part._buffers):
            for name, tensor in list(tensors.items()):
                if tensor is None or ".".join(filter(None, (prefix, name))) not in used:
                    del tensors[name]
                    continue
                copy = tensor.detach().clone()
                tensors[name] = nn.Parameter(copy, requires_grad=False) if tensors is part._parameters else copy


def _write_onnx(program: ExportedProgram, policy: DeterministicPolicy) -> bytes:
    names = [port.name for port in policy.inputs], [port.name for port in policy.outputs]
    with _quiet():
        made = torch.onnx.export(
            program, dynamo=True, input_names=names[0], output_names=names[1], verbose=False, optimize=True
        )
    assert made is not None
    proto = made.model_proto
    graph = proto.graph
    symbol = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == symbol:
                dimension.dim_param = BATCH
    for node in graph.node:
        del node.metadata_props[:]  # where in the source it came from
    return bytes(proto.SerializeToString())


def _open_onnx(content: bytes, policy: DeterministicPolicy) -> Runner:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    names = [port.name for port in policy.inputs]
    given = {value.name for value in session.get_inputs()}  # an input that decides nothing may be gone

    def run(inputs: Sequence[Array]) -> list[Array]:
        fed = {name: array for name, array in zip(names, inputs, strict=True) if name in given}
        return [np.asarray(output) for output in session.run(None, fed)]

    return run


def _write_torch(program: ExportedProgram, policy: DeterministicPolicy) -> bytes:
    del policy
    buffer = io.BytesIO()
    with _quiet():
        torch.export.save(program, buffer)
    return buffer.getvalue()


def _open_torch(content: bytes, policy: DeterministicPolicy) -> Runner:
    del policy
    with _quiet():
        module: Any = torch.export.load(io.BytesIO(content)).module()

    def run(inputs: Sequence[Array]) -> list[Array]:
        with torch.inference_mode():
            return [output.numpy() for output in module(*map(torch.from_numpy, inputs))]

    return run


FORMATS = {
    "onnx": Format(".onnx", ("onnx", "onnxscript", "onnxruntime"), _write_onnx, _open_onnx),
    "torch": Format(".pt2", (), _write_torch, _open_torch),
}
"""Name → kind of file."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the warnings of torch's exporters, which are for their developers, from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(f"{type(error).__name__}: {lines[0] if lines else ''}", _REASON_LENGTH)
