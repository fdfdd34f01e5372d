"""What a module file needs in addition to the network: its neurons' source, and plain functions.

Definitions come from the files of this package where they are stated, and a neuron's parameters
have the values of the network that is exported.
"""

import ast
from collections.abc import Callable, Mapping
from typing import Any

from snnconv.data.frames import frames_shown
from snnconv.exports.base import Subject
from snnconv.exports.parts.source import Key, Standalone, source
from snnconv.exports.parts.torch_calls import call
from snnconv.graph.ir import Graph
from snnconv.graph.network import node_tensors
from snnconv.graph.ops import OPS, Role
from snnconv.neurons.base import Neuron
from snnconv.neurons.confidence import drawn, keep_mask
from snnconv.neurons.norms.potentials import FoldedNorm
from snnconv.simulation.cumulative import function_increase, pool_increase
from snnconv.simulation.stepwise import has_stepwise, scaled

_PARTS = "snnconv.exports.parts.torch_parts"
_MEMBERS = frozenset({"forward", "run", "initial", "steps", "averages", "normalise", "step"})
_MEMBERS |= {"shown", "stream", "restart", "state_dict", "load_state_dict"}


def kind_of(subject: Subject) -> type[Neuron[object]]:
    """Return the class of its neurons."""
    return type(next(iter(subject.network.neurons.values())))


def _key(function: Callable[..., Any]) -> Key:
    """Say where a function of this package is, so that a checker sees it if it is renamed."""
    return function.__module__, function.__name__


def definitions(subject: Subject) -> Standalone:
    """Return what the file needs in addition to the network."""
    neuron, network = kind_of(subject), subject.network
    kind = type(subject.params)
    base = "SpikingModule" if network.hold is None else "FramesModule"
    steps = [(_PARTS, name) for name in ("read_tensors", "each", "fire")]
    nodes = network.analysis.cumulative
    if any(OPS[node.op].role is Role.MAX for node in nodes):
        steps += [(_PARTS, "over_time"), _key(pool_increase)]
    if any(OPS[node.op].role is Role.ANALOG for node in nodes):
        steps += [(_PARTS, "over_time"), _key(function_increase)]
    if averaging(network.network.graph, network.neurons):
        steps.append((_PARTS, "settled"))
    if has_stepwise(network.network.graph):
        steps.append(_key(scaled))
    if network.hold is not None:
        steps.append(_key(frames_shown))
    if network.confidence is not None:
        steps.append(_key(keep_mask))
    if network.draws:
        steps.append(_key(drawn))
    if network.lead:
        steps.append((_PARTS, "lead"))
    if any(each.norm is not None for each in network.neurons.values()):
        steps.append((FoldedNorm.__module__, FoldedNorm.__name__))
    for node in network.network.graph.nodes:
        if OPS[node.op].role in (Role.SITE, Role.STEPWISE):
            continue
        tensors = node_tensors(node, network.network.tensors())
        if taken := call(node, tensors).taken:
            steps += [(_PARTS, "Attributes"), taken]
    own = (kind.__module__, kind.__name__)
    roots = (own, (neuron.__module__, neuron.__name__), *dict.fromkeys(steps))
    module = ("snnconv.simulation.module", base)
    members = _MEMBERS | {"begun"} if network.lead else _MEMBERS
    return Standalone((*roots, module), members, {own: _parameters(subject)})


def _parameters(subject: Subject) -> str:
    """Return the neuron's parameters as a dataclass with the values that they have here."""
    params, kind = subject.params, type(subject.params)
    lines = ["@dataclass(frozen=True)", f"class {kind.__name__}:"]
    lines.append(f'    """{(kind.__doc__ or "The parameters.").splitlines()[0]}"""\n')
    for name, field in kind.model_fields.items():
        value = getattr(params, name)
        lines += [f"    # {field.description}"] if field.description else []
        lines.append(f"    {name}: {type(value).__name__} = {value!r}".replace("'", '"'))
    origin = source(kind.__module__)
    node = origin.definitions.get(kind.__name__)
    for member in getattr(node, "body", []):
        if isinstance(member, ast.FunctionDef) and _is_property(member):
            first = min(member.lineno, *(d.lineno for d in member.decorator_list))
            text = b"".join(origin.lines[first - 1 : member.end_lineno]).decode().rstrip()
            lines.append("\n" + text)
    return "\n".join(lines)


def _is_property(member: ast.FunctionDef) -> bool:
    return any(ast.unparse(d) == "property" for d in member.decorator_list)


def averaging(graph: Graph, neurons: Mapping[str, Neuron[object]]) -> dict[str, list[str]]:
    """Return the sites whose spikes only sites read through linear operations, with those sites.

    Their mean is enough where all of these neurons average; whether they do is asked when it runs.
    """
    mixing = {name for name, neuron in neurons.items() if "averages" in vars(type(neuron))}
    found: dict[str, list[str]] = {}
    for site in graph.sites:
        readers = _readers(graph, site.name)
        if readers and readers <= mixing:
            found[site.name] = [each.name for each in graph.sites if each.name in readers]
    return found


def _readers(graph: Graph, name: str) -> set[str]:
    """Return the sites that read a value through linear operations; none if others read it."""
    if name == graph.output:
        return set()
    found: set[str] = set()
    for node in graph.consumers(name):
        match OPS[node.op].role:
            case Role.SITE:
                found.add(node.name)
            case Role.MAX | Role.ANALOG | Role.STEPWISE | Role.GATE:  # each step for itself
                return set()
            case _:
                behind = _readers(graph, node.name)
                if not behind:
                    return set()
                found |= behind
    return found
