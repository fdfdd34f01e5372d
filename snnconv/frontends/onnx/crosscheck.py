"""Compare an imported graph with its file, which another runtime runs."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from snnconv.errors import CheckFailedError, UnsupportedError, one_line
from snnconv.frontends.onnx.file import Model, needed
from snnconv.frontends.torch.capture import TOLERANCE, Verdict, largest_difference, random_input
from snnconv.graph.ir import Graph
from snnconv.graph.network import Network

RUNS = 3  # of a file that takes one sample
_REMEDY = "report the network, or name the PyTorch network instead: file.py:factory --weights FILE"
INSTALL = "install onnxruntime: pip install '.[onnx]' in snnconv's folder"
_Run = Callable[[Tensor], Tensor]


def judge(
    model: Model,
    graph: Graph,
    tensors: Mapping[str, Tensor],
    ending: Callable[[Tensor], Tensor] | None,
    tokens: int | None = None,
) -> Verdict:
    """Compare a graph with its file on random inputs.

    Args:
        ending: the softmax at the file's end that the graph lacks.
        tokens: of a network on texts, how many token numbers there are.

    Raises:
        CheckFailedError: they differ.
        UnsupportedError: no runtime here can run the file, or it gives NaN or Inf.
    """
    batch = model.sizes[0] or 1
    count = RUNS if batch == 1 else batch
    example = random_input(count, graph.input_shape, tokens)
    try:
        with torch.no_grad():
            got = Network(graph, tensors).eval()(example)
    except (RuntimeError, ValueError) as error:  # errors that PyTorch finds only with values
        raise UnsupportedError(
            f"{model.file} can't be imported", one_line(error), _REMEDY
        ) from error
    got = got if ending is None else ending(got)
    ways = [example.split(batch)]  # one sample each, as a literal batch of 1 inside is common
    if model.sizes[0] is None:
        ways.append((example,))  # a squeeze inside may need several
    referee, expected = _recomputed(model, ways)
    if not torch.isfinite(expected).all():
        raise UnsupportedError(
            f"the output of {model.file} can't be used",
            "NaN or Inf for random inputs",
            "look for huge values in its weights",
        )
    verdict = Verdict(referee, float("inf"), TOLERANCE)
    if len(expected) == got.numel():
        difference = largest_difference(got.reshape(-1), expected)
        verdict = Verdict(referee, difference, TOLERANCE)
    if not verdict.difference <= TOLERANCE:
        raise CheckFailedError(
            f"the graph imported from {model.file} does not compute what {referee} computes",
            f"outputs differ by {verdict.difference:.2e} of the largest (allowed {TOLERANCE:.0e})",
            _REMEDY,
        )
    return verdict


def at_hand() -> str:
    """Return the preferred runtime of those that can run files here."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return "onnx.reference"
    return f"onnxruntime {onnxruntime.__version__}"


def _recomputed(model: Model, ways: Sequence[tuple[Tensor, ...]]) -> tuple[str, Tensor]:
    """Return the runtime that ran the file, and its outputs."""
    failures = []
    referees = (("onnxruntime", _onnxruntime), ("onnx.reference", _reference))
    for (name, opened), parts in itertools.product(referees, ways):
        try:
            run = opened(model)
            return name, torch.cat([run(part).reshape(-1) for part in parts])
        except ModuleNotFoundError:
            failures.append(f"{name}: not installed")
        except Exception as error:  # whatever a foreign runtime raises for a foreign file
            failures.append(f"{name}: {one_line(error)}")
    remedy = _REMEDY if at_hand().startswith(referees[0][0]) else INSTALL
    raise UnsupportedError(f"{model.file} can't be run", "; ".join(failures), remedy)


def _onnxruntime(model: Model) -> _Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal only: every complaint is raised as an error as well
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        _runnable(model), options, providers=["CPUExecutionProvider"]
    )
    return lambda part: _called(session, model, part)


def _reference(model: Model) -> _Run:
    from onnx.reference import ReferenceEvaluator

    if any(operator.op == "LRN" for operator in model.operators):
        raise NotImplementedError("its LRN takes samples for channels")  # as of onnx 1.23
    session = ReferenceEvaluator(_runnable(model))
    return lambda part: _called(session, model, part)


def _runnable(model: Model) -> str | bytes:
    """Return the file, or, if it has further outputs, a copy with what its one output needs."""
    import onnx

    proto = onnx.load(model.file, load_external_data=False)
    if [value.name for value in proto.graph.output] == [model.output]:
        return str(model.file)
    onnx.load_external_data_for_model(proto, str(model.file.parent))
    nodes = [operator.proto for operator in needed(proto.graph.node, [model.output])]
    outputs = [value for value in proto.graph.output if value.name == model.output]
    outputs = outputs or [onnx.ValueInfoProto(name=model.output)]
    for field, values in (("node", nodes), ("output", outputs)):
        proto.graph.ClearField(field)
        getattr(proto.graph, field).extend(values)
    return bytes(proto.SerializeToString())


def _called(session: Any, model: Model, part: Tensor) -> Tensor:
    feeds = {model.input: part.numpy().astype(model.dtype)}
    (value,) = session.run([model.output], feeds)
    return torch.from_numpy(value).float()
