"""From a program's JSON to a trace that the translator reads as it reads torch.fx's own.

Operators come from a closed list. A placeholder stands for any other operator and gives zeros of
the declared shape, so that operators behind it are examined, too; the translator refuses the
operator by its name.
"""

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.fx
from torch import Tensor

from snnconv.frontends.lowering.table import ATEN
from snnconv.frontends.pt2.archive import DTYPES, Archive, whole
from snnconv.frontends.torch.translate import STORED_AS

_OWN = ("parameter", "buffer", "tensor_constant")
_OUTPUT = "user_output"
_KINDS = ("Scalar", "Tensor")
_CONSTANTS = (
    *("t.default", "expand.default", "sqrt.default", "rsqrt.default", "exp.default"),
    *("reciprocal.default", "_weight_norm.default", "zeros.default"),
    *("zeros_like.default", "ones_like.default", "full_like.default", "full.default"),
    *("new_zeros.default", "new_ones.default", "new_full.default"),
    *("arange.default", "arange.start", "arange.start_step", "fmod.Scalar", "remainder.Scalar"),
    *("fill_.Scalar", "fill_.Tensor", "zero_.default", "copy_.default"),
    *(f"{how}.{kind}" for how in ("eq", "ne", "lt", "le", "gt", "ge") for kind in _KINDS),
)
"""Operators of what the program owns, of rows of places, of masks, and of a recurrence's first
states. Those of :data:`snnconv.frontends.lowering.table.ATEN` are taken, too."""

_SIZES: Mapping[str, Callable[..., Any]] = {
    "torch.ops.aten.sym_size.int": torch.ops.aten.sym_size.int,
    **{
        f"_operator.{name}": getattr(operator, name)
        for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "eq", "ne", "lt", "le", "gt")
    },
    "_operator.ge": operator.ge,
}
"""Arithmetic of sizes."""

_LAYOUTS = {
    **{1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d},
    4: torch.preserve_format,
}
_CHECKS = ("torch.ops.aten._assert", "torch.ops.aten.sym_constrain")


class UnknownOperator:
    """An operator that is not on the list: zeros of the shapes and types it declares.

    Args:
        name: its name, for the refusal.
        values: it gives: their shapes and types.
    """

    def __init__(
        self, name: str, values: Sequence[tuple[Sequence[int], torch.dtype | None]]
    ) -> None:
        self.__name__ = name
        self.values = values

    @property
    def in_place(self) -> bool:
        """Whether it changes its operand: ``torch.ops.aten.sort_.default``."""
        return "_." in self.__name__

    def __call__(self, *operands: Any) -> Any:
        """Return its value, or a tuple of values, on the device of the operands."""
        device = next((x.device for x in operands if isinstance(x, Tensor)), None)
        made = tuple(torch.zeros(n, dtype=dtype, device=device) for n, dtype in self.values)
        return made[0] if len(made) == 1 else made


class Program:
    """A program's parts.

    Raises:
        ValueError: and whatever else made-up JSON raises: see :data:`.archive.MALFORMED`.
    """

    def __init__(self, archive: Archive) -> None:
        self._own = archive.tensors
        self._graph = archive.program["graph_module"]["graph"]
        self._signature = archive.program["graph_module"]["signature"]
        self._values = self._graph["tensor_values"]

    @property
    def inputs(self) -> list[str]:
        """Names of the tensors and sizes that a caller gives."""
        given = [spec["user_input"]["arg"] for spec in self._specs("input", "user_input")]
        return [next(iter(arg.values()))["name"] for arg in given if "as_none" not in arg]

    @property
    def changes(self) -> list[str]:
        """The values that a call changes."""
        specs = (next(iter(spec.items())) for spec in self._signature["output_specs"])
        return [f"{_named_output(value)}: a {kind}" for kind, value in specs if kind != _OUTPUT]

    def outputs(self, calls: Sequence[Any]) -> dict[str, str]:
        """Return the program's outputs: the name of each in the graph, by its name for a caller.

        Args:
            calls: ``module_call_graph``, which says in which tuples and mappings they stand.
        """
        found = [_named_output(spec[_OUTPUT]) for spec in self._specs("output", _OUTPUT)]
        signatures = [call["signature"] for call in calls if not call.get("fqn")]
        spec = json.loads(signatures[0]["out_spec"])[1] if signatures and signatures[0] else None
        names = list(_leaves(spec)) if spec else []
        if len(names) != len(found):
            names = [str(k) for k in range(len(found))]
        return {name: value for name, value in zip(names, found, strict=True) if value}

    def dtype(self, name: str) -> torch.dtype | None:
        """Return the type of a tensor."""
        return DTYPES.get(self._values[name]["dtype"])

    def sizes(self, name: str) -> tuple[int | None, ...]:
        """Return the shape of a tensor; None for a size that the program leaves open."""
        return tuple(None if "as_expr" in n else whole(n) for n in self._values[name]["sizes"])

    def trace(self, batch: int, result: str) -> torch.fx.GraphModule:
        """Return the program as calls in order, with its tensors.

        Args:
            batch: of the samples that it will be run with.
            result: the value in its graph that is its output.
        """
        graph, env, tensors = torch.fx.Graph(), dict[str, Any](), dict[str, Tensor]()
        (source,) = self.inputs
        for spec in self._signature["input_specs"]:
            ((kind, value),) = spec.items()
            if kind == "constant_input":
                env[value["name"]] = next(iter(value["value"].values()))
            elif kind in _OWN:
                name = value[f"{kind}_name"]
                key = f"tensor_{len(tensors)}"
                tensors[key] = self._own[name]
                env[value["arg"]["name"]] = graph.get_attr(key)
                env[value["arg"]["name"]].meta[STORED_AS] = name
            elif kind == "user_input":
                env[source] = graph.placeholder("x")
            else:
                raise ValueError(f"an input that is a {kind}")
        for node in self._graph["nodes"]:
            if not node["target"].startswith(_CHECKS):
                self._add(graph, env, node, source, batch)
        graph.output(env[result])
        return torch.fx.GraphModule(tensors, graph)

    def _add(
        self, graph: torch.fx.Graph, env: dict[str, Any], node: Any, source: str, batch: int
    ) -> None:
        outputs = [_outputs(output) for output in node["outputs"]]
        names = outputs[0] if len(outputs) == 1 else [name for part in outputs for name in part]
        several = len(outputs) > 1 or any("as_tensors" in output for output in node["outputs"])
        target = _target(node["target"])
        if target is None or any(_kind(i["arg"]) == "as_graph" for i in node["inputs"]):
            known = [name for name in names if name in self._values]
            values = [(self._shape(name, source, batch), self.dtype(name)) for name in known]
            operands = [env[n] for i in node["inputs"] for n in _outputs(i["arg"]) if n in env]
            unknown = UnknownOperator(node["target"], values)
            # the input among its operands: zeros may not pass for a constant of the program's
            target, args, kwargs = unknown, (env[source], *operands), {}
            names, several = names[: len(values)], len(values) > 1
        else:
            read = [(i.get("kind") == 2, i["name"], _value(i["arg"], env)) for i in node["inputs"]]
            args = tuple(value for keyword, _, value in read if not keyword)
            kwargs = {name: value for keyword, name, value in read if keyword}
        called = re.sub(r"_(?=$|_\d+$)", "", node.get("name") or names[0])  # relu_ is a relu
        name = re.sub(r"\W", "_", called)  # it stands in generated code
        call = graph.create_node("call_function", target, args, kwargs, name)
        call.meta["nn_module_stack"] = _modules(node["metadata"].get("nn_module_stack", ""))
        if not several:
            env |= dict.fromkeys(names, call)
            return
        for index, name in enumerate(names):
            env[name] = graph.call_function(operator.getitem, (call, index))

    def _shape(self, name: str, source: str, batch: int) -> list[int]:
        """Return a declared shape for this many samples; other open sizes stay as exported."""
        first = self._values[source]["sizes"][0].get("as_expr", {}).get("expr_str")
        sizes = []
        for size in self._values[name]["sizes"]:
            expression = size.get("as_expr")
            if expression is None:
                sizes.append(whole(size))
            elif expression["expr_str"] == first:
                sizes.append(batch)
            else:
                sizes.append(whole(expression["hint"]))
        return sizes

    def _specs(self, side: str, kind: str) -> list[Any]:
        return [spec for spec in self._signature[f"{side}_specs"] if kind in spec]


def _named_output(spec: Mapping[str, Any]) -> str:
    """Return the name of an output's value; empty for None."""
    ((kind, value),) = spec["arg"].items()
    if kind == "as_none":
        return ""
    return str(value["name"] if isinstance(value, Mapping) else value)


def _leaves(spec: Mapping[str, Any], way: str = "") -> Iterator[str]:
    """Yield the names of the leaves of a written tree of tuples, lists and mappings."""
    parts = spec["children_spec"]
    if spec["type"] is None:
        yield way
        return
    keys = json.loads(spec["context"]) if spec["context"].startswith("[") else None
    if not isinstance(keys, list) or len(keys) != len(parts):
        keys = list(range(len(parts)))
    for key, part in zip(keys, parts, strict=True):
        yield from _leaves(part, f"{way}.{key}" if way else str(key))


def _target(name: str) -> Callable[..., Any] | None:
    """Return the operator of that name, if it is on the list."""
    if name in _SIZES:
        return _SIZES[name]
    bare = name.removeprefix("torch.ops.")
    if bare not in ATEN and bare.removeprefix("aten.") not in _CONSTANTS:
        return None
    _, packet, overload = bare.split(".")
    found = getattr(getattr(torch.ops.aten, packet, None), overload, None)
    return found if callable(found) else None


def _kind(argument: Mapping[str, Any]) -> str:
    (kind,) = argument
    return str(kind)


def _value(argument: Mapping[str, Any], env: Mapping[str, Any]) -> Any:
    """Return an argument of a call."""
    ((kind, value),) = argument.items()
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return env[value["name"]]
        case "as_tensors":
            return [env[one["name"]] for one in value]
        case "as_optional_tensor" | "as_sym_int" | "as_sym_float" | "as_sym_bool":
            return _named(value, env)
        case "as_optional_tensors" | "as_sym_ints" | "as_sym_floats" | "as_sym_bools":
            return [_named(one, env) for one in value]
        case "as_scalar_type":
            return DTYPES[value]
        case "as_memory_format":
            return _LAYOUTS[value]
        case "as_layout":
            return torch.strided
        case "as_device":
            return torch.device("cpu")
        case "as_float":
            return float(value)
        case "as_int" | "as_bool" | "as_string" | "as_ints" | "as_floats" | "as_bools":
            return value
    raise ValueError(f"an argument that is a {kind.removeprefix('as_')}")


def _named(one: Mapping[str, Any], env: Mapping[str, Any]) -> Any:
    """Return a number, or the value of that name."""
    ((kind, value),) = one.items()
    if kind == "as_name":
        return env[value]
    return env[value["name"]] if kind == "as_tensor" else None if kind == "as_none" else value


def _outputs(argument: Mapping[str, Any]) -> list[str]:
    """Return the names in an argument that stand for values."""
    ((kind, value),) = argument.items()
    match kind:
        case "as_tensor" | "as_custom_obj":
            return [value["name"]]
        case "as_tensors":
            return [one["name"] for one in value]
        case "as_sym_int" | "as_sym_float" | "as_sym_bool":
            return [value["as_name"]] if "as_name" in value else []
        case "as_optional_tensor":
            return [value["as_tensor"]["name"]] if "as_tensor" in value else [""]
    return [""] if kind == "as_none" else []


def _modules(stack: str) -> dict[str, tuple[str, str]]:
    """Return the modules that a call stands in: path and type of each, from the outside inwards."""
    parts = [part.split(",") for part in stack.split(";")]
    return {part[0]: (part[1], part[2]) for part in parts if len(part) == 3}
