"""The network that a graph is traced from: one step with its states, or T steps unrolled.

It is the module that ``--to torch`` writes, so a neuron is stated in its own file alone. A neuron
may count its steps; in one step that works for all, the count is an input of the graph. Where a
neuron asks whether a step is its first, both answers are computed, and the count picks one.

Shape:
    A step: ``x [B, *input]``, ``step []`` and states ``[B, *N] -> [B, classes]``, next states and
    spikes ``[B, *N]``. Unrolled: ``x [B, *input] -> [B, classes]``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnconv.core.runtime import generators_kept
from snnconv.errors import Obstacle
from snnconv.exports.base import Subject
from snnconv.exports.parts.source import UnreadableSourceError
from snnconv.exports.parts.torch_definitions import definitions
from snnconv.exports.parts.torch_module import Writer
from snnconv.graph.ops import OPS, Role
from snnconv.simulation.stepwise import has_stepwise


class CountError(Exception):
    """A neuron that uses the number of steps in a way that no graph can."""


class Count:
    """The number of steps done before this one, in a graph: not the first.

    Attributes:
        asked: whether somebody asked if it is 0.
    """

    def __init__(self, value: Tensor, asked: list[bool] | None = None) -> None:
        self.value = value
        self.asked = [] if asked is None else asked

    def __eq__(self, other: object) -> bool:
        if other != 0:
            raise CountError(f"a comparison of its number of steps with {other}")
        self.asked.append(True)
        return False

    __hash__ = None  # type: ignore[assignment]

    def __ge__(self, other: object) -> bool:
        raise CountError(f"a comparison of its number of steps with {other}")

    __gt__ = __le__ = __lt__ = __ge__

    def __add__(self, other: Any) -> Any:
        """Add a count of more steps; for whole numbers one a step, append these rows."""
        if isinstance(other, Tensor):
            return self.value.to(other.dtype) + other
        return Count(self.value + other, self.asked)

    __radd__ = __add__

    def __rtruediv__(self, other: float) -> Tensor:
        return other / self.value

    def __mul__(self, other: Tensor | float) -> Tensor:
        return self.value * other

    __rmul__ = __mul__

    def __bool__(self) -> bool:
        raise CountError("a condition on its number of steps")

    def __index__(self) -> int:
        raise CountError("a row by its number of steps, which of_steps takes")


def _chosen(first: Tensor, one: Any, other: Any) -> Any:
    """Choose one state at the first step, and the other later; counts are those of later."""

    def choose(some: Any, rest: Any) -> Any:
        return torch.where(first, some, rest) if isinstance(rest, Tensor) else rest

    return pytree.tree_map(choose, one, other, is_leaf=lambda leaf: isinstance(leaf, Count))


class _Neuron(nn.Module):
    """A layer of neurons at any step.

    Args:
        neuron: a neuron of a module file.
        step: tells the number of steps done, float32.
    """

    def __init__(self, neuron: nn.Module, step: "Step") -> None:
        super().__init__()
        self.neuron = neuron
        self.whole = [step]  # not a part of this module
        self.spikes = torch.empty(0)

    def forward(self, currents: Tensor, state: Any, keep: Tensor | None = None) -> tuple[Any, Any]:
        """Run one step, ``[1, B, *N]``."""
        done = self.whole[0].done
        first, asked = done == 0, list[bool]()
        start = self.neuron.initial(currents[0])  # type: ignore[operator]

        def counted(given: Any, initial: Any) -> Any:
            if isinstance(initial, int):
                return Count(done, asked)
            return torch.where(first, initial, given)

        later = pytree.tree_map(counted, state, start)
        spikes, after = self.neuron(currents, later, keep)
        if asked:
            begun, then = self.neuron(currents, start, keep)
            spikes, after = _chosen(first, (begun, then), (spikes, after))
        self.spikes = spikes.values[0]
        return spikes, after


@dataclass(frozen=True)
class Traced:
    """What a graph is made of.

    Attributes:
        module: the module to trace.
        arguments: examples of its inputs.
        states: the names of the states.
        sites: the names of the sites.
    """

    module: nn.Module
    arguments: tuple[Any, ...]
    states: tuple[str, ...]
    sites: tuple[str, ...]


class Step(nn.Module):
    """One step.

    Args:
        network: the network of a module file.
        names: the names of its sites.
        example: its state after a step.
        stepwise: whether it has operations whose value depends on the step.
    """

    def __init__(
        self, network: nn.Module, names: Mapping[str, str], example: Any, stepwise: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.stepwise = stepwise
        self.own = {key: value for key, value in example.items() if key != "steps"}
        leaves, self.form = pytree.tree_flatten(self.own)
        self.kept = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        self.layers = [_Neuron(getattr(network, name), self) for name in names.values()]
        for name, layer in zip(names.values(), self.layers, strict=True):
            setattr(network, name, layer)
        self.sites = frozenset(names.values())
        self.done = torch.zeros(())

    def forward(self, x: Tensor, step: Tensor, states: list[Tensor]) -> tuple[Any, ...]:
        """Run a step: the currents, the states after it, and the spikes."""
        self.done = step.to(torch.float32)
        leaves: list[Any] = [0] * self.form.num_leaves
        for k, state in zip(self.kept, states, strict=True):
            leaves[k] = state
        before = pytree.tree_unflatten(leaves, self.form)
        for name in before:
            if name not in self.sites:  # sums of a max pooling start at 0
                before[name] = pytree.tree_map(
                    lambda v: torch.where(self.done == 0, torch.zeros_like(v), v), before[name]
                )
        steps = Count(self.done) if self.stepwise else 0
        currents, after = self.network.steps(x[None], 1, {**before, "steps": steps})  # type: ignore[operator]
        found = pytree.tree_leaves({name: after[name] for name in before})
        kept = [found[k] for k in self.kept]
        return currents[0], kept, [layer.spikes for layer in self.layers]


class Unrolled(nn.Module):
    """T steps from the first on, and the mean of their currents."""

    def __init__(self, network: nn.Module, timesteps: int) -> None:
        super().__init__()
        self.network = network
        self.timesteps = timesteps
        for layer in network.modules():
            if hasattr(layer, "initial"):  # a neuron, asked here once, because a graph can't ask
                averages: bool = layer.averages()  # type: ignore[operator]
                vars(layer)["averages"] = lambda answer=averages: answer

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits ``[B, classes]``."""
        shown = self.network.shown(x, self.timesteps)  # type: ignore[operator]
        currents, _ = self.network.steps(shown, self.timesteps)  # type: ignore[operator]
        mean: Tensor = currents.mean(0)
        return mean


def module(subject: Subject) -> tuple[nn.Module, Writer]:
    """Return the network as a module file has it, and what wrote that."""
    writer = Writer(subject)
    namespace = {"__name__": __name__}  # an existing module, which dataclasses look up
    exec(compile(writer.text("exported"), "exported", "exec"), namespace)
    with generators_kept():  # layers draw their first weights
        network: nn.Module = namespace["Network"]()  # type: ignore[operator]
    network.load_state_dict(writer.tensors())
    if writer.images:  # as the file's own `load` does: a convolution rounds by its layout
        network = network.to(memory_format=torch.channels_last)
    return network.eval(), writer


@torch.no_grad()
def traced(subject: Subject, batch: int = 2) -> Traced:
    """Return one step of a network, to be traced.

    Raises:
        CountError: a neuron that uses the number of its steps in a way that no graph can.
    """
    network, writer = module(subject)
    names = {site: writer.names[site] for site in subject.network.neurons}
    x = torch.zeros(batch, *subject.checkpoint.graph.input_shape)
    _, example = network.steps(x[None], 1)  # type: ignore[operator]
    one = Step(network, names, example, has_stepwise(subject.network.network.graph)).eval()
    flat = pytree.tree_flatten_with_path(one.own)[0]
    found = [(_name(path), leaf) for path, leaf in flat if isinstance(leaf, Tensor)]
    states = [leaf.clone() for _, leaf in found]
    arguments = (x, torch.ones((), dtype=torch.int64), states)
    one(*arguments)
    return Traced(one, arguments, tuple(name for name, _ in found), tuple(names.values()))


def _name(path: Any) -> str:
    """Return ``relu_potential`` for the field of a state, ``pool_0`` for a part of another."""
    parts = [getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))) for key in path]
    return "_".join(map(str, parts))


def unwritten(subject: Subject) -> list[Obstacle]:
    """Return the obstacle of a neuron whose source can't stand alone."""
    try:
        needed = definitions(subject)
        needed.text()
        needed.imports()
    except UnreadableSourceError as error:
        remedy = "write the neuron in its own file, with torch alone"
        return [Obstacle(_neuron(subject), str(error), remedy)]
    return []


def drawn(subject: Subject) -> list[Obstacle]:
    """Return the obstacle of random numbers, which a graph does not draw."""
    found = []
    if subject.network.confidence is not None:
        remedy = "convert with --confidence off"
        found.append(Obstacle("spike confidence", "random numbers", remedy))
    if subject.network.draws:
        remedy = "convert to other neurons: snnconv convert --neuron signed"
        found.append(Obstacle(_neuron(subject), "numbers drawn for each spike", remedy))
    return found


def obstacles(subject: Subject, whole: str) -> list[Obstacle]:
    """Return what a graph of one step can't say.

    Args:
        subject: one whose neurons are written.
        whole: what writes all steps at once.
    """
    found, network, neuron = drawn(subject), subject.network, _neuron(subject)
    if network.lead:
        return [*found, Obstacle(neuron, f"{network.lead} steps before the T steps", whole)]
    if any(not each.causal or each.remembers for each in network.neurons.values()):
        return [*found, Obstacle(neuron, "steps that depend on the currents of other steps", whole)]
    for node in network.analysis.cumulative:
        if OPS[node.op].role is Role.ANALOG:
            found.append(Obstacle(node.name, f"the function {node.op}, at every step", whole))
    if not found:
        try:
            traced(subject)
        except CountError as error:
            found.append(Obstacle(neuron, str(error), whole))
    return found


def _neuron(subject: Subject) -> str:
    return f"neuron '{subject.info.neuron}'"
