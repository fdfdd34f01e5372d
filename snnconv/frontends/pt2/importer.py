"""Import ``network.pt2``: read it, translate it to a graph, and compare both."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.fx
from torch import Tensor

from snnconv.data.layout import OTHER_SAMPLES
from snnconv.errors import (
    CheckFailedError,
    Obstacle,
    ObstaclesError,
    UnsupportedError,
    one_line,
)
from snnconv.frontends.lowering.contract import BATCH
from snnconv.frontends.outputs import choose
from snnconv.frontends.pt2.archive import MALFORMED, invalid, read_archive
from snnconv.frontends.pt2.program import Program, UnknownOperator
from snnconv.frontends.torch.capture import (
    TOLERANCE,
    Captured,
    Verdict,
    check_finite,
    largest_difference,
    random_input,
)
from snnconv.frontends.torch.translate import translate
from snnconv.graph.ir import Graph
from snnconv.graph.network import Network
from snnconv.graph.remedies import IN_OTHER_WORDS

LARGEST = 2**28  # numbers in one value, 1 GiB in float32
_RECURRENT = (torch.ops.aten.lstm.input, torch.ops.aten.gru.input)
_TOKENS = (torch.int64, torch.int32)
_REMEDY = "report the network, or name the PyTorch network instead: file.py:factory --weights FILE"


def import_exported(
    file: Path,
    input_shape: tuple[int, ...],
    analog: bool = False,
    tokens: int | None = None,
    output: str | None = None,
) -> Captured:
    """Return a file's graph and tensors, in float32, and how far they are from the program.

    Args:
        file: as ``torch.export.save`` of torch 2.8 or newer writes it.
        input_shape: the shape of one sample of the data, which settles sizes that the file leaves
            open.
        analog: whether to accept operations that no neuron computes.
        tokens: how many token numbers there are, for a network on texts.
        output: which of several outputs to use, by name or number.

    Raises:
        UsageError: there is no such file, or no such output.
        UnsupportedError: the file can't be read or converted, has an input of another shape, or NaN
            or Inf.
        CheckFailedError: the graph computes something else than the program.
    """
    archive = read_archive(file)
    try:
        program = Program(archive)
        batch, dtype = _batch(file, program, input_shape, tokens)
        outputs = program.outputs(archive.program["graph_module"].get("module_call_graph", []))
        result = outputs[choose(list(outputs), output, str(file))]
        traced = program.trace(batch or BATCH, result)
    except KeyError as error:
        raise invalid(file, f"it has no {error}") from error
    except MALFORMED as error:
        raise invalid(file, one_line(error)) from error
    calls = [node.target for node in traced.graph.nodes]
    unknown = {call.__name__: call for call in calls if isinstance(call, UnknownOperator)}
    strange = sorted(unknown)
    if changing := [name for name in strange if unknown[name].in_place]:
        raise UnsupportedError(
            f"{file} can't be imported",
            f"operators that are not known change values in place: {', '.join(changing)}",
            "write new values instead, and export the network again",
        )
    example = random_input(batch or BATCH, input_shape, tokens).to(dtype)
    _dry_run(file, traced, example, strange)
    graph, tensors, ending = translate(traced, example, analog, str(file))
    check_finite(tensors)  # not those of the file: a mask may hold -inf
    count = max(batch or BATCH, BATCH) // (batch or BATCH) * (batch or BATCH)
    parts = random_input(count, input_shape, tokens, 1).to(dtype).split(batch or count)
    return Captured(graph, tensors, _judge(file, traced, parts, graph, tensors, ending))


def _batch(
    file: Path, program: Program, input_shape: tuple[int, ...], tokens: int | None
) -> tuple[int | None, torch.dtype]:
    """Return how many samples the program takes at once (None for any number), and their type."""
    for what, names, wanted in (("input", program.inputs, 1), ("output", program.changes, 0)):
        if len(names) != wanted:
            raise UnsupportedError(
                f"{file} can't be imported",
                f"{len(names)} {what}s ({', '.join(names)})",
                f"export the network in evaluation mode with one {what}: images in, logits out",
            )
    (name,) = program.inputs
    dtype = program.dtype(name)
    if dtype is not torch.float32 and (tokens is None or dtype not in _TOKENS):
        raise UnsupportedError(
            f"{file} can't be imported",
            f"the input '{name}' of type {dtype}",
            "export the network with an input of float32, or give texts (--data textfolder:DIR)",
        )
    sizes = program.sizes(name)
    fits = len(sizes) == len(input_shape) + 1 and all(
        size in (None, wanted) for size, wanted in zip(sizes[1:], input_shape, strict=True)
    )
    if not fits:
        shown = ["?" if size is None else size for size in sizes[1:]]
        raise UnsupportedError(
            f"{file} does not fit the data",
            f"an input '{name}' of shape {shown} for samples of {list(input_shape)}",
            OTHER_SAMPLES,
        )
    batch = sizes[0]
    if batch == 0 or (batch or BATCH) * math.prod(input_shape) > LARGEST:
        raise UnsupportedError(
            f"{file} can't be imported",
            f"an input for {batch} samples at once",
            "export it with a batch of 1",
        )
    return batch, dtype


class _Bounded(torch.fx.Interpreter):
    """Runs shapes only, and refuses shapes that are too large for memory."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if kwargs.get("device") is not None:
            kwargs = kwargs | {"device": torch.device("meta")}
        if target in _RECURRENT:  # one place of the sequence, as PyTorch takes seconds for many
            outputs, *states = super().call_function(target, (args[0][:, :1], *args[1:]), kwargs)
            return outputs.expand(-1, args[0].shape[1], -1), *states
        return super().call_function(target, args, kwargs)

    def run_node(self, n: torch.fx.Node) -> Any:
        value = super().run_node(n)
        for one in value if isinstance(value, tuple | list) else [value]:
            size = one.numel() if isinstance(one, Tensor) else one
            if isinstance(size, int) and size > LARGEST:
                raise ValueError(f"a value of {size} numbers: at most {LARGEST} are taken")
        return value


def _dry_run(file: Path, traced: torch.fx.GraphModule, example: Tensor, strange: list[str]) -> None:
    """Run a program without numbers: its sizes fit, and it asks for no more than there is."""
    meta = torch.fx.GraphModule(
        {name: tensor.to("meta") for name, tensor in traced.named_buffers()}, traced.graph
    )
    try:
        with torch.no_grad():
            value = _Bounded(meta).run(example.to("meta"))
    except Exception as error:  # whatever an operator raises for made-up arguments
        if strange:  # they give zeros of the shapes that the file has for its own batch
            unknown = [Obstacle(name, f"function '{name}'", IN_OTHER_WORDS) for name in strange]
            raise ObstaclesError(str(file), unknown) from error
        raise UnsupportedError(
            f"{file} can't be run on samples of shape {list(example.shape[1:])}",
            one_line(error).partition("\n")[0],
            _REMEDY,
        ) from error
    if not isinstance(value, Tensor) or not value.dim() or len(value) != len(example):
        found = f"shape {['B', *value.shape[1:]]}" if isinstance(value, Tensor) else "no tensor"
        raise UnsupportedError(
            f"{file} gives no output [B, ...]",
            f"the output: {found}",
            "keep the batch as the first axis of the output",
        )


def _judge(
    file: Path,
    traced: torch.fx.GraphModule,
    parts: Sequence[Tensor],
    graph: Graph,
    tensors: dict[str, Tensor],
    ending: Callable[[Tensor], Tensor] | None,
) -> Verdict:
    """Return how far a graph is from its program, which may take one sample at a time."""
    with torch.no_grad():
        got = Network(graph, tensors).eval()(torch.cat(list(parts)).float())
        wanted = [torch.fx.Interpreter(traced).run(x.clone()) for x in parts]
    got, expected = got if ending is None else ending(got), torch.cat(wanted)
    if not torch.isfinite(expected).all():
        raise UnsupportedError(
            f"the output of {file} can't be used",
            "NaN or Inf for random inputs",
            "look for huge values in its weights",
        )
    difference = largest_difference(got, expected)
    if not difference <= TOLERANCE:
        raise CheckFailedError(
            f"the graph imported from {file} does not compute what the program computes",
            f"outputs differ by {difference:.2e} of the largest (allowed {TOLERANCE:.0e})",
            _REMEDY,
        )
    return Verdict("torch", difference, TOLERANCE)
