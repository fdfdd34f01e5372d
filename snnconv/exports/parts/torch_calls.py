"""How each operation stands in a module file: what ``__init__`` makes, and what a step calls.

An operation needs no row here. Without one, the file takes the function of the operation's own
record, with all attributes, so a new operation can't be forgotten. A row states the same in
torch's own modules and functions, which a person reads more easily. A test computes every
operation by its text here and by its record: both must give the same bits, and a row must read
every attribute that the record has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnconv.graph.ir import Node
from snnconv.graph.operations.function import POINTWISE
from snnconv.graph.ops import OPS

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Call:
    """An operation in a module file.

    Attributes:
        value: the expression that computes it, of ``x``, or of ``x`` and ``y``; ``{self}`` stands
            for what was made, and begins the names of tensors if nothing was.
        made: what ``__init__`` makes of the node; empty for nothing.
        inputs: the names that the expression gives its inputs.
        taken: the module and the name of a function whose source the file needs.
    """

    value: str
    made: str = ""
    inputs: tuple[str, ...] = ("x",)
    taken: tuple[str, str] | None = None

    @property
    def is_module(self) -> bool:
        """Whether what was made is called with a sample alone."""
        return self.value == "{self}(x)"


def _one(values: list[int]) -> str:
    """Return ``3`` for ``[3, 3]``, because torch's modules take it for both."""
    return str(values[0]) if len(set(values)) == 1 else str(tuple(values))


def _arguments(**given: tuple[Any, Any]) -> str:
    """Return keyword arguments ``name=value`` that differ from their default."""
    return "".join(f", {name}={value}" for name, (value, usual) in given.items() if value != usual)


def _convolution(node: Node, tensors: Tensors) -> Call:
    attrs, shape = node.attrs, tensors["weight"].shape
    dims, groups = len(shape) - 2, attrs["groups"]
    transposed = node.op == "conv_transpose"
    inputs, outputs = (shape[0], shape[1] * groups) if transposed else (shape[1] * groups, shape[0])
    extra = {"output_padding": (_one(attrs["output_padding"]), "0")} if transposed else {}
    arguments = _arguments(
        stride=(_one(attrs["stride"]), "1"),
        padding=(_one(attrs["padding"]), "0"),
        **extra,
        dilation=(_one(attrs["dilation"]), "1"),
        groups=(groups, 1),
        bias=("bias" in tensors, True),
    )
    name = f"ConvTranspose{dims}d" if transposed else f"Conv{dims}d"
    kernel = _one(list(shape[2:]))
    return Call("{self}(x)", f"nn.{name}({inputs}, {outputs}, {kernel}{arguments})")


def _linear(node: Node, tensors: Tensors) -> Call:
    outputs, inputs = tensors["weight"].shape
    bias = _arguments(bias=("bias" in tensors, True))
    return Call("{self}(x)", f"nn.Linear({inputs}, {outputs}{bias})")


def _embedding(node: Node, tensors: Tensors) -> Call:
    rows, width = tensors["weight"].shape
    return Call("{self}(x.long())", f"nn.Embedding({rows}, {width})")


def _recurrent(node: Node, tensors: Tensors) -> Call:
    attrs, width = node.attrs, tensors["weight_ih_l0"].shape[1]
    arguments = _arguments(
        num_layers=(attrs["layers"], 1),
        bias=(attrs["bias"], True),
        batch_first=(True, False),
        bidirectional=(attrs["bidirectional"], False),
    )
    return Call("{self}(x)[0]", f"nn.{node.op.upper()}({width}, {attrs['hidden']}{arguments})")


def _pool(name: str) -> Callable[[Node, Tensors], Call]:
    def call(node: Node, tensors: Tensors) -> Call:
        attrs = node.attrs
        kernel, dims = _one(attrs["kernel"]), len(attrs["kernel"])
        usual = {"MaxPool": ("dilation", "1"), "AvgPool": ("count_include_pad", True)}[name]
        own = attrs[usual[0]]
        arguments = _arguments(
            stride=(_one(attrs["stride"]), kernel),
            padding=(_one(attrs["padding"]), "0"),
            ceil_mode=(attrs["ceil_mode"], False),
            **{usual[0]: (_one(own) if isinstance(own, list) else own, usual[1])},
        )
        return Call("{self}(x)", f"nn.{name}{dims}d({kernel}{arguments})")

    return call


def _adaptive(name: str) -> Callable[[Node, Tensors], Call]:
    def call(node: Node, tensors: Tensors) -> Call:
        output = node.attrs["output"]
        return Call("{self}(x)", f"nn.{name}{len(output)}d({_one(output)})")

    return call


_SPELT = {
    "gelu_tanh": 'F.gelu(x, approximate="tanh")',
    "gt0": "(x > 0).to(x.dtype)",
    "ge0": "(x >= 0).to(x.dtype)",
}
"""Functions of one number that torch has no name of its own for."""


def _pointwise(node: Node, tensors: Tensors) -> Call:
    name = node.attrs["function"]
    room = "torch" if getattr(torch, name, None) is POINTWISE[name] else "F"
    text = _SPELT.get(name, f"{room}.{name}(x)")
    arguments = "".join(f", {value!r}" for value in node.attrs["arguments"])
    return Call(f"{text[:-1]}{arguments})" if arguments else text)


def _reshape(node: Node, tensors: Tensors) -> Call:
    shape = node.attrs["shape"]
    return Call(
        f"x.reshape(x.shape[0], {', '.join(map(str, shape))})" if shape else "x.reshape(x.shape[0])"
    )


def _dims(text: str, key: str) -> Callable[[Node, Tensors], Call]:
    return lambda node, tensors: Call(text.format(", ".join(map(str, node.attrs[key]))))


def _mean(node: Node, tensors: Tensors) -> Call:
    keep = _arguments(keepdim=(node.attrs["keepdim"], False))
    return Call(f"x.mean({tuple(node.attrs['dims'])}{keep})")


def _places(node: Node, tensors: Tensors) -> Call:
    attrs = node.attrs
    if node.op == "slice":
        places = (
            f"torch.arange({attrs['start']}, {attrs['stop']}, {attrs['step']}, device=x.device)"
        )
    else:
        places = f"torch.tensor({list(attrs['places'])}, device=x.device)"
    return Call(f"x.index_select({attrs['dim']}, {places})")


def _pad(node: Node, tensors: Tensors) -> Call:
    mode = _arguments(mode=(repr(node.attrs["mode"]), "'constant'")).replace("'", '"')
    return Call(f"F.pad(x, {tuple(node.attrs['pad'])}{mode})")


def _resize(node: Node, tensors: Tensors) -> Call:
    attrs = node.attrs
    mode = attrs.get("mode", "nearest")
    aligned = f", align_corners={attrs['align_corners']}" if "align_corners" in attrs else ""
    return Call(f'F.interpolate(x, {tuple(attrs["size"])}, mode="{mode}"{aligned})')


def _concat(node: Node, tensors: Tensors) -> Call:
    names = tuple(f"x{k}" for k in range(len(node.inputs)))
    return Call(f"torch.cat([{', '.join(names)}], {node.attrs['dim']})", inputs=names)


def _two(sign: str) -> Callable[[Node, Tensors], Call]:
    return lambda node, tensors: Call(f"x {sign} y", inputs=("x", "y"))


def _along(text: str) -> Callable[[Node, Tensors], Call]:
    return lambda node, tensors: Call(text.format(node.attrs["dim"]))


CALLS: Mapping[str, Callable[[Node, Tensors], Call]] = {
    "conv": _convolution,
    "conv_transpose": _convolution,
    "linear": _linear,
    "embedding": _embedding,
    "lstm": _recurrent,
    "gru": _recurrent,
    "max_pool": _pool("MaxPool"),
    "avg_pool": _pool("AvgPool"),
    "adaptive_max_pool": _adaptive("AdaptiveMaxPool"),
    "adaptive_avg_pool": _adaptive("AdaptiveAvgPool"),
    "mean": _mean,
    "add": _two("+"),
    "multiply": _two("*"),
    "matmul": _two("@"),
    "concat": _concat,
    "reshape": _reshape,
    "permute": _dims("x.permute(0, {})", "dims"),
    "expand": _dims("x.expand(x.shape[0], {})", "shape"),
    "slice": _places,
    "take": _places,
    "pad": _pad,
    "upsample": _resize,
    "interpolate": _resize,
    "pointwise": _pointwise,
    "softmax": _along("torch.softmax(x, {})"),
    "log_softmax": _along("torch.log_softmax(x, {})"),
}


def call(node: Node, tensors: Tensors) -> Call:
    """Return how a node stands in a module file.

    Args:
        node: any but a site.
        tensors: its tensors by role.
    """
    if node.op in CALLS:
        return CALLS[node.op](node, tensors)
    op = OPS[node.op]
    function, attrs = op.value, op.typed(node.attrs).model_dump()
    given = ", ".join(f"{name}={value!r}" for name, value in attrs.items())
    names = ("x", "y")[: len(node.inputs)]
    roles = ", ".join(f'"{role}": {{self}}_{role}' for role in sorted(tensors))
    value = f"{function.__name__}(Attributes({given}), {{{roles}}}, [{', '.join(names)}])"
    return Call(value, inputs=names, taken=(function.__module__, function.__name__))
