"""From a live ``nn.Module`` to a graph, by symbolic tracing (torch.fx).

Module, functional and method forms of an operation give the same node. Every operation that the
graph's closed list does not hold is collected, and all of them are reported at once. The captured
graph is compared with the module on random inputs before it is handed out.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.passes.shape_prop import ShapeProp

from snnconv.errors import CheckFailedError, UnsupportedError
from snnconv.graph.build import Network
from snnconv.graph.ir import INPUT, Graph, Node

BATCH = 3  # of the example that fixes shapes: a size no layer is likely to have as a constant
TOLERANCE = 1e-4  # largest allowed difference of graph and module, relative to the largest output

_REMEDY = "replace it by one of the operations that `snnconv ls operations` lists"


class _Refused(Exception):
    """One operation that can't be captured; collected, never seen by the user."""


def capture(module: nn.Module, input_shape: tuple[int, ...]) -> tuple[Graph, dict[str, Tensor]]:
    """A module's graph and tensors.

    Args:
        module: takes ``[B, *input_shape]``, gives logits ``[B, classes]``.
        input_shape: of one sample.

    Raises:
        UnsupportedError: control flow that depends on data, or operations outside the closed list,
            each with its place.
        CheckFailedError: the graph's output is not the module's.
    """
    module = module.eval()
    try:
        traced = torch.fx.symbolic_trace(module)
    except Exception as error:  # whatever the user's forward raises while it is being traced
        raise UnsupportedError(
            f"{type(module).__name__} can't be traced",
            f"{type(error).__name__}: {error}",
            "take data-dependent control flow out of forward()",
        ) from error
    example = torch.randn(BATCH, *input_shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            ShapeProp(traced).propagate(example)
            expected = module(example)
    except Exception as error:
        raise UnsupportedError(
            f"{type(module).__name__} can't take an input of shape {list(input_shape)}",
            f"{type(error).__name__}: {str(error).splitlines()[0]}",
            "give the data set this network was trained on (--data)",
        ) from error
    graph, tensors = _Translator(traced, input_shape).translate()
    network = Network(graph, tensors).eval()
    with torch.no_grad():
        got = network(example)
    difference = (got - expected).abs().max() / expected.abs().max().clamp(min=1e-12)
    if not difference <= TOLERANCE:
        raise CheckFailedError(
            f"the graph captured from {type(module).__name__} does not compute what it computes",
            f"outputs differ by {difference:.2e} of the largest (allowed {TOLERANCE:.0e})",
            "please report the network: this is a fault of snnconv",
        )
    return graph, tensors


class _Translator:
    """Walks a traced graph once and builds nodes, tensors and the list of refusals."""

    def __init__(self, traced: torch.fx.GraphModule, input_shape: tuple[int, ...]) -> None:
        self.traced = traced
        self.modules = dict(traced.named_modules())
        self.input_shape = input_shape
        self.nodes: list[Node] = []
        self.tensors: dict[str, Tensor] = {}
        self.names: dict[torch.fx.Node, str] = {}
        self.refused: list[str] = []

    def translate(self) -> tuple[Graph, dict[str, Tensor]]:
        output = ""
        for fx_node in self.traced.graph.nodes:
            match fx_node.op:
                case "placeholder":
                    if INPUT in self.names.values():
                        self.refused.append(f"input '{fx_node.name}': a second input")
                    self.names[fx_node] = INPUT
                case "output":
                    (value,) = fx_node.args
                    if isinstance(value, torch.fx.Node) and value in self.names:
                        output = self.names[value]
                    elif not self.refused:
                        self.refused.append("the output is not one tensor")
                case _ if not _is_tensor(fx_node):
                    pass  # sizes and numbers: the shapes they lead to are read from the example
                case _:
                    self._try(fx_node)
        if self.refused:
            raise UnsupportedError(
                f"{len(self.refused)} operation(s) can't be converted",
                "; ".join(self.refused),
                _REMEDY,
            )
        return Graph(self.input_shape, tuple(self.nodes), output), self.tensors

    def _try(self, fx_node: torch.fx.Node) -> None:
        try:
            if fx_node.op == "call_module":
                self._module(fx_node)
            else:
                self._function(fx_node)
        except _Refused as refusal:
            self.refused.append(f"{_place(fx_node)}: {refusal}")
            self.names[fx_node] = INPUT  # so that later operations are looked at as well

    def _append(
        self,
        fx_node: torch.fx.Node,
        op: str,
        attrs: dict[str, Any],
        inputs: list[Any] | None = None,
        tensors: dict[str, str] | None = None,
    ) -> None:
        sources = [fx_node.args[0]] if inputs is None else inputs
        names = []
        for source in sources:
            if not (isinstance(source, torch.fx.Node) and source in self.names):
                raise _Refused(f"an operand that is no activation ({source!r})")
            names.append(self.names[source])
        base = _place(fx_node)
        name, count = base, 1
        while any(node.name == name for node in self.nodes):
            count += 1
            name = f"{base}@{count}"
        self.nodes.append(Node(name, op, tuple(names), attrs, tensors or {}))
        self.names[fx_node] = name

    def _take(self, path: str, module: nn.Module, roles: dict[str, str]) -> dict[str, str]:
        """Register a module's tensors; returns role -> tensor name."""
        taken = {}
        for role, attribute in roles.items():
            tensor = getattr(module, attribute)
            if tensor is not None:
                taken[role] = f"{path}.{attribute}"
                self.tensors[taken[role]] = tensor.detach().clone()
        return taken

    def _module(self, fx_node: torch.fx.Node) -> None:
        path = str(fx_node.target)
        module = self.modules[path]
        rank = len(_shape(fx_node)) - 2
        weights = {"weight": "weight", "bias": "bias"}
        match module:
            case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
                if module.padding_mode != "zeros":
                    raise _Refused(f"padding mode '{module.padding_mode}'")
                attrs = {
                    "stride": list(module.stride),
                    "padding": _conv_padding(module),
                    "dilation": list(module.dilation),
                    "groups": module.groups,
                }
                self._append(fx_node, "conv", attrs, None, self._take(path, module, weights))
            case nn.Linear():
                self._append(fx_node, "linear", {}, None, self._take(path, module, weights))
            case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d():
                if module.running_mean is None:
                    raise _Refused("BatchNorm without running statistics")
                roles = weights | {"mean": "running_mean", "var": "running_var"}
                taken = self._take(path, module, roles)
                self._append(fx_node, "batch_norm", {"eps": module.eps}, None, taken)
            case nn.ReLU6():
                self._append(fx_node, "relu", {"ceiling": 6.0})
            case nn.ReLU():
                self._append(fx_node, "relu", {"ceiling": None})
            case nn.Hardtanh():
                self._append(fx_node, "relu", _clip(module.min_val, module.max_val))
            case nn.MaxPool1d() | nn.MaxPool2d() | nn.MaxPool3d():
                attrs = _pool(rank, module.kernel_size, module.stride, module.padding)
                attrs |= {"dilation": _tuple(module.dilation, rank), "ceil_mode": module.ceil_mode}
                self._append(fx_node, "max_pool", attrs)
            case nn.AvgPool1d() | nn.AvgPool2d() | nn.AvgPool3d():
                if getattr(module, "divisor_override", None) is not None:
                    raise _Refused("divisor_override")
                attrs = _pool(rank, module.kernel_size, module.stride, module.padding)
                attrs |= {
                    "ceil_mode": module.ceil_mode,
                    "count_include_pad": module.count_include_pad,
                }
                self._append(fx_node, "avg_pool", attrs)
            case nn.AdaptiveAvgPool1d() | nn.AdaptiveAvgPool2d() | nn.AdaptiveAvgPool3d():
                self._append(fx_node, "adaptive_avg_pool", {"output": list(_shape(fx_node)[2:])})
            case nn.Flatten() | nn.Unflatten():
                self._reshape(fx_node)
            case nn.Dropout() | nn.Dropout1d() | nn.Dropout2d() | nn.Dropout3d():
                self._append(fx_node, "dropout", {"p": module.p})
            case nn.Identity():
                self._append(fx_node, "identity", {})
            case nn.Softmax() | nn.LogSoftmax() if _is_last(fx_node):
                # argmax keeps its meaning, and logits are what a spiking network's currents are
                self._append(fx_node, "identity", {})
            case _:
                raise _Refused(f"module {type(module).__name__}")

    def _function(self, fx_node: torch.fx.Node) -> None:
        target = fx_node.target
        name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        if fx_node.op == "get_attr":
            raise _Refused("a tensor constant")
        rank = len(_shape(fx_node)) - 2
        if target in (operator.add, operator.iadd, torch.add) or name in ("add", "add_"):
            self._append(fx_node, "add", {}, list(fx_node.args[:2]))
        elif name in ("relu", "relu_"):
            self._append(fx_node, "relu", {"ceiling": None})
        elif target is F.relu6:
            self._append(fx_node, "relu", {"ceiling": 6.0})
        elif name in ("clamp", "clamp_", "clip", "hardtanh"):
            low = _argument(fx_node, 1, "min", "min_val")
            self._append(fx_node, "relu", _clip(low, _argument(fx_node, 2, "max", "max_val")))
        elif name in ("flatten", "view", "reshape", "squeeze", "unsqueeze"):
            self._reshape(fx_node)
        elif name in ("cat", "concat"):
            self._append(fx_node, "concat", self._dim(fx_node), list(_sequence(fx_node.args[0])))
        elif name == "mean":
            dims = _tuple(_argument(fx_node, 1, "dim"), 1)
            rank_in = len(_shape(_source(fx_node)))
            keepdim = bool(_argument(fx_node, 2, "keepdim"))
            attrs = {"dims": [d % rank_in for d in dims], "keepdim": keepdim}
            if 0 in attrs["dims"]:
                raise _Refused("a mean over the batch")
            self._append(fx_node, "mean", attrs)
        elif name in ("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"):
            self._append(fx_node, "adaptive_avg_pool", {"output": list(_shape(fx_node)[2:])})
        elif name in ("avg_pool1d", "avg_pool2d", "avg_pool3d"):
            attrs = self._pool_arguments(fx_node, rank)
            attrs["ceil_mode"] = bool(_argument(fx_node, 4, "ceil_mode"))
            counted = _argument(fx_node, 5, "count_include_pad")
            attrs["count_include_pad"] = True if counted is None else counted
            self._append(fx_node, "avg_pool", attrs)
        elif name in ("max_pool1d", "max_pool2d", "max_pool3d", "boolean_dispatch"):
            attrs = self._pool_arguments(fx_node, rank)
            attrs["dilation"] = _tuple(_argument(fx_node, 4, "dilation") or 1, rank)
            attrs["ceil_mode"] = bool(_argument(fx_node, 5, "ceil_mode"))
            self._append(fx_node, "max_pool", attrs)
        elif name in ("dropout", "dropout_"):
            probability = _argument(fx_node, 1, "p")
            self._append(fx_node, "dropout", {"p": 0.5 if probability is None else probability})
        elif name in ("softmax", "log_softmax") and _is_last(fx_node):
            self._append(fx_node, "identity", {})
        else:
            raise _Refused(f"function '{name}'")

    def _pool_arguments(self, fx_node: torch.fx.Node, rank: int) -> dict[str, Any]:
        return _pool(
            rank,
            _argument(fx_node, 1, "kernel_size"),
            _argument(fx_node, 2, "stride"),
            _argument(fx_node, 3, "padding") or 0,
        )

    def _reshape(self, fx_node: torch.fx.Node) -> None:
        shape = _shape(fx_node)
        if not shape or shape[0] != BATCH:
            raise _Refused("a reshape that mixes samples")
        self._append(fx_node, "reshape", {"shape": list(shape[1:])})

    def _dim(self, fx_node: torch.fx.Node) -> dict[str, int]:
        dim = _argument(fx_node, 1, "dim") or 0
        dim %= len(_shape(fx_node))
        if dim == 0:
            raise _Refused("a concatenation over the batch")
        return {"dim": dim}


def _is_tensor(fx_node: torch.fx.Node) -> bool:
    return fx_node.op == "get_attr" or hasattr(fx_node.meta.get("tensor_meta"), "shape")


def _shape(fx_node: torch.fx.Node) -> tuple[int, ...]:
    return tuple(fx_node.meta["tensor_meta"].shape)


def _source(fx_node: torch.fx.Node) -> torch.fx.Node:
    source = fx_node.args[0]
    assert isinstance(source, torch.fx.Node)
    return source


def _sequence(value: Any) -> list[Any]:
    return list(value)


def _place(fx_node: torch.fx.Node) -> str:
    """The path of the module, or of the module whose forward() makes the call, and the name."""
    if fx_node.op == "call_module":
        return str(fx_node.target)
    stack = fx_node.meta.get("nn_module_stack")
    path = list(stack.values())[-1] if stack else ""
    path = path[0] if isinstance(path, tuple) else path
    return f"{path}.{fx_node.name}" if isinstance(path, str) and path else fx_node.name


def _is_last(fx_node: torch.fx.Node) -> bool:
    return all(user.op == "output" for user in fx_node.users)


def _argument(fx_node: torch.fx.Node, position: int, *keywords: str) -> Any:
    if len(fx_node.args) > position:
        return fx_node.args[position]
    return next((fx_node.kwargs[key] for key in keywords if key in fx_node.kwargs), None)


def _tuple(value: Any, rank: int) -> list[int]:
    return list(value) if isinstance(value, tuple | list) else [value] * rank


def _pool(rank: int, kernel: Any, stride: Any, padding: Any) -> dict[str, Any]:
    kernel = _tuple(kernel, rank)
    return {
        "kernel": kernel,
        "stride": _tuple(stride, rank) if stride else kernel,
        "padding": _tuple(padding, rank),
    }


def _conv_padding(module: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> list[int]:
    if not isinstance(module.padding, str):
        return list(module.padding)
    if module.padding == "valid":
        return [0] * len(module.kernel_size)
    total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    if any(n % 2 for n in total):
        raise _Refused("padding 'same' that is not the same on both sides")
    return [n // 2 for n in total]


def _clip(low: Any, high: Any) -> dict[str, float | None]:
    if low != 0 or not (high is None or high > 0):
        raise _Refused(f"a clip to [{low}, {high}]: a spiking neuron starts at 0")
    return {"ceiling": None if high is None else float(high)}


Factory = Callable[..., nn.Module]
