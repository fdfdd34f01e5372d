"""From a live ``nn.Module`` to a trace by ``torch.export``.

It runs the module on an example with symbolic sizes and records the operators, so it follows
Python's control flow on shapes and attributes, which torch.fx can't. It shows less of how the user
wrote the network, so torch.fx comes first.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import torch
import torch.fx
from torch import Tensor, nn
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument

from snnconv.frontends.torch.translate import STORED_AS

_OWN = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


def exported(module: nn.Module, example: Tensor) -> torch.fx.GraphModule:
    """Return a module's calls in order, as ATen operators, for a batch of any size.

    Raises:
        Exception: whatever torch.export or the module raises where that can't be.
    """
    batch = torch.export.Dim("batch")
    with _quiet():
        program = torch.export.export(
            module, (example,), dynamic_shapes=({0: batch},), strict=False
        )
    return unlifted(program)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's warnings, logs and prints: if an export fails, the error says it."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def unlifted(program: torch.export.ExportedProgram) -> torch.fx.GraphModule:
    """Return a program whose own tensors are no longer among its inputs.

    Raises:
        ValueError: it takes or gives something other than one tensor, or holds programs itself.
    """
    graph, env = torch.fx.Graph(), dict[torch.fx.Node, torch.fx.Node]()
    tensors: dict[str, Tensor] = {}
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    (result,) = program.graph_signature.output_specs
    for node in program.graph.nodes:
        spec = specs.get(node.name)
        if node.op == "get_attr":
            raise ValueError(f"a program inside a program: {node.target}")
        if node.op == "output":
            graph.output(next(env[n] for n in node.all_input_nodes if n.name == result.arg.name))
        elif spec is None:
            env[node] = graph.node_copy(node, env.__getitem__)
        elif spec.kind in _OWN:
            key = f"tensor_{len(tensors)}"
            found = program.state_dict.get(str(spec.target))
            tensors[key] = program.constants[str(spec.target)] if found is None else found
            env[node] = graph.get_attr(key)
            env[node].meta[STORED_AS] = str(spec.target)
        elif isinstance(spec.arg, TensorArgument):
            env[node] = graph.placeholder("x")
    if result.kind is not OutputKind.USER_OUTPUT:
        raise ValueError(f"a network that changes its {result.kind.name.lower()}")
    return torch.fx.GraphModule(tensors, graph)
