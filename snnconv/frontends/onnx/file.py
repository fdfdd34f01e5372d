"""An ONNX file, read and checked: one input, one output, and the operators between them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snnconv.core.packages import imported
from snnconv.errors import UnsupportedError, UsageError, one_line
from snnconv.frontends.onnx.tensors import check
from snnconv.frontends.outputs import choose

OLDEST = 7  # opset; from UNCHANGED down a file is first converted
UNCHANGED = 9
CURRENT = 17  # the opset that older files are converted to
DOMAINS = ("", "ai.onnx")
_FLOATS = {"FLOAT": "float32", "DOUBLE": "float64"}
_INPUTS = {**_FLOATS, "INT64": "int64", "INT32": "int32"}


@dataclass(frozen=True)
class Operator:
    """A node of the file.

    Attributes:
        name: its own, or its first output's if it has none.
        op: as ONNX names it, with the domain if it is not ONNX's own.
        inputs: names of values; empty for one that is left out.
        attrs: Python values; tensors and branches are the file's ``TensorProto``, ``GraphProto``.
        proto: the file's own ``NodeProto``.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any]
    proto: Any


@dataclass(frozen=True)
class Model:
    """What a file holds.

    Attributes:
        operators: those that the output depends on, in topological order.
        initialisers: the file's ``TensorProto`` by name, checked but not read.
        input: its name.
        dtype: the type of the input, as NumPy names it.
        sizes: the sizes of the input, with the batch; None for a size that the file leaves open.
        output: its name.
    """

    file: Path
    opset: int
    operators: tuple[Operator, ...]
    initialisers: Mapping[str, Any]
    input: str
    dtype: str
    sizes: tuple[int | None, ...]
    output: str


def read_model(file: Path, texts: bool = False, output: str | None = None) -> Model:
    """Read a file and check it; no tensor is read yet.

    Args:
        file: an ONNX file of opset 7 or newer; ONNX's version converter rewrites 7 and 8.
        texts: whether its input is token numbers, which may be whole.
        output: which of several outputs is meant, by name or number; the only one of floats by
            default.

    Raises:
        UsageError: there is no such file.
        UnsupportedError: no ONNX, an opset that is too old or too new, several inputs, several
            outputs that may be the logits, an input of other numbers or no declared rank, sparse
            tensors or tensors that hold something other than they declare, or what ONNX's own
            checker refuses, such as a circle.
    """
    proto = _parse(file)
    opset = _opset(file, proto)
    if opset < UNCHANGED:
        opset, proto = CURRENT, _converted(file, proto)
    graph = proto.graph
    _dense(file, graph)
    initialisers = {tensor.name: tensor for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initialisers]
    if len(inputs) != 1:
        raise UnsupportedError(
            f"{file} can't be imported",
            f"{len(inputs)} inputs ({', '.join(value.name for value in inputs)})",
            "export the network with one input: samples in, logits out",
        )
    logits = _output(file, graph, output)
    dtype, sizes = _input(file, inputs[0], texts)
    for tensor in graph.initializer:
        check(tensor, file.parent)
    _check(file)
    operators = needed(_inlined(file, proto).graph.node, [logits])
    return Model(file, opset, operators, initialisers, inputs[0].name, dtype, sizes, logits)


def _parse(file: Path) -> Any:
    onnx = imported("onnx", f"{file}")
    from google.protobuf.message import DecodeError

    if not file.is_file():
        raise UsageError(f"{file} can't be read", "no such file", "check the path")
    try:
        proto = onnx.load(file, load_external_data=False)
    except DecodeError as error:
        raise _invalid(file, one_line(error)) from error
    if not proto.graph.node:
        raise _invalid(file, "a graph without a node")
    return proto


def _check(file: Path) -> None:
    """Check ONNX's own rules: known operators, the right attributes, no circle."""
    import onnx

    try:
        onnx.checker.check_model(str(file))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise _invalid(file, one_line(error)) from error


def _inlined(file: Path, proto: Any) -> Any:
    """Return the file with its own functions, as some exporters write them, put in place."""
    if not proto.functions:
        return proto
    import onnx.inliner

    try:
        return onnx.inliner.inline_local_functions(proto)
    except (onnx.checker.ValidationError, RuntimeError) as error:
        raise _invalid(file, one_line(error)) from error


def _opset(file: Path, proto: Any) -> int:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    opset = max((o.version for o in proto.opset_import if o.domain in DOMAINS), default=0)
    if not OLDEST <= opset <= newest:
        upgrade = ", or upgrade: pip install --upgrade onnx" if opset > newest else ""
        raise UnsupportedError(
            f"{file} can't be imported",
            f"opset {opset}: {OLDEST} to {newest} are known",
            f"export it with opset {CURRENT}{upgrade}",
        )
    return int(opset)


def _converted(file: Path, proto: Any) -> Any:
    """Convert the network to an opset whose operators are known."""
    import onnx.version_converter

    try:
        return onnx.version_converter.convert_version(proto, CURRENT)
    except (onnx.version_converter.ConvertError, RuntimeError, ValueError) as error:
        raise UnsupportedError(
            f"{file} can't be imported",
            f"ONNX's version converter can't bring it to opset {CURRENT} ({one_line(error)})",
            f"export it with opset {CURRENT}",
        ) from error


def _dense(file: Path, graph: Any) -> None:
    """Refuse a tensor that is held by its nonzero values alone: the reader takes whole tensors."""
    sparse = [tensor.values.name or "?" for tensor in graph.sparse_initializer]
    if sparse:
        raise UnsupportedError(
            f"{file} can't be imported",
            f"sparse tensors ({', '.join(sparse)})",
            "export the network with dense weights",
        )


def _output(file: Path, graph: Any, wanted: str | None) -> str:
    """Return the name of the value that is the logits.

    A classifier may also give its label, or a map from labels to probabilities. Then the logits are
    the value that the map is made from.
    """
    import onnx

    maps = {name: node.input[0] for node in graph.node for name in _outputs_of_map(node)}
    names = [maps.get(value.name, value.name) for value in graph.output]
    floats = [
        maps.get(value.name, value.name)
        for value in graph.output
        if value.name in maps
        or onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type) in _FLOATS
    ]
    if wanted is None and len(names) > 1 and len(floats) == 1:
        return str(floats[0])
    return choose(names, wanted, str(file))


def _outputs_of_map(node: Any) -> list[str]:
    return list(node.output) if node.op_type == "ZipMap" else []


def _input(file: Path, value: Any, texts: bool) -> tuple[str, tuple[int | None, ...]]:
    """Return the input's type and sizes."""
    import onnx

    tensor = value.type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
    if kind not in (_INPUTS if texts else _FLOATS):
        raise UnsupportedError(
            f"{file} can't be imported",
            f"the input '{value.name}' of type {kind}",
            "export the network with an input of float32, or give texts (--data textfolder:DIR)",
        )
    dims = tensor.shape.dim
    sizes = tuple(
        # some exporters write -1 for a size that is open
        int(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0 else None
        for d in dims
    )
    if len(sizes) < 2 or any(size is not None and size < 1 for size in sizes):
        raise UnsupportedError(
            f"{file} can't be imported",
            f"the input '{value.name}' of shape {list(sizes)}",
            "export the network with an input of shape [batch, ...]",
        )
    return _INPUTS[kind], sizes


def _operator(node: Any) -> Operator:
    import onnx

    def plain(attribute: Any) -> Any:
        value = onnx.helper.get_attribute_value(attribute)
        if attribute.type == onnx.AttributeProto.STRINGS:
            return [text.decode(errors="replace") for text in value]
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    op = node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}"
    attrs = {attribute.name: plain(attribute) for attribute in node.attribute}
    name = node.name or next(output for output in node.output if output)
    return Operator(name, op, tuple(node.input), tuple(node.output), attrs, node)


def needed(nodes: Sequence[Any], outputs: Iterable[str]) -> tuple[Operator, ...]:
    """Return the operators that a graph's outputs depend on, in the order of the file."""
    values, kept = set(outputs), []
    for node in reversed(nodes):
        if values & {name for name in node.output if name}:
            values |= set(reads(node))
            kept.append(node)
    return tuple(_operator(node) for node in kept[::-1])


def reads(node: Any) -> Iterator[str]:
    """Yield the names of the values that a node reads, and those that its branches read."""
    yield from node.input
    for branch in branches(node):
        for inner in branch.node:
            yield from reads(inner)
        yield from (value.name for value in branch.output)


def branches(node: Any) -> Iterator[Any]:
    """Yield the graphs among a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _invalid(file: Path, found: str) -> UnsupportedError:
    return UnsupportedError(f"{file} is not a valid ONNX file", found, "export the network again")
