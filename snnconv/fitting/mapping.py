"""Map layers to cores, greedily: another order may fit where this one does not.

If a core computes one layer, the layers for which the fewest cores have room come first, and each
takes the smallest core that is left. If cores share a layer's neurons, each layer takes as many
cores as its neurons or its weights require, one layer after the other.

Reference:
    sinabs's ``memory_summary`` for memories of powers of two.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from snnconv.fitting.demand import OUTPUT, Demand, Layer, Synapses
from snnconv.fitting.rules import SMALLER, Misfit, kernel_of, pair
from snnconv.fitting.target import Target

MEMORIES = ("weight_memory", "neuron_memory", "bias_memory")


@dataclass
class Mapped:
    """The cores of all layers.

    Attributes:
        cores: the cores of each layer.
        used: what each core holds, by memory.
        misfits: what has no place.
        how: the rule in a line; empty if the target's figures do not say what a core holds.
    """

    cores: dict[str, list[int]] = field(default_factory=dict)
    used: dict[int, dict[str, int]] = field(default_factory=dict)
    misfits: list[Misfit] = field(default_factory=list)
    how: str = ""


def mapped(target: Target, asked: Demand) -> Mapped:
    """Map layers to cores, as far as the target's figures say what a core holds."""
    if target.one_layer_per_core and target.one_layer_per_core.value and target.cores:
        return _whole(target, asked, target.cores.value)
    if target.cores and (target.neurons_per_core or target.synapses_per_core):
        return _shared(target, asked, target.cores.value)
    return Mapped()


def needed(target: Target, layer: Layer) -> dict[str, int]:
    """Return the entries of memory that a layer takes on its core, by memory."""
    filled = bool(target.powers_of_two and target.powers_of_two.value)
    places = pair(layer.shape[1:], 1)
    neurons = layer.shape[0] * math.prod(map(_power, places)) if filled else layer.neurons
    return {
        "weight_memory": sum(_weights(target, each, filled) for each in layer.synapses),
        "neuron_memory": neurons,
        "bias_memory": sum(each.biases for each in layer.synapses),
    }


def _weights(target: Target, each: Synapses, filled: bool) -> int:
    kernel = kernel_of(each, target)
    if not filled or kernel is None:
        return each.weights
    channels = kernel.channels // each.groups
    return channels * _power(math.prod(kernel.kernel)) * _power(each.gives[0])


def _power(number: int) -> int:
    """Return the least power of two that has room for a number."""
    return 1 << (number - 1).bit_length()


def _whole(target: Target, asked: Demand, cores: int) -> Mapped:
    """Map each layer to one core."""
    found = Mapped(how="greedily: the layers that fit the fewest cores first, each on the smallest")
    if len(asked.layers) > cores:
        layers = f"{len(asked.layers)} layers, the output among them"
        fewer = "take a network of fewer layers, or several chips"
        found.misfits.append(Misfit("network", "cores", layers, f"{cores}, a layer each", fewer))
    wants = {layer.name: needed(target, layer) for layer in asked.layers}
    rooms = {
        core: {k: sizes[core] for k, sizes in target.memories.items()} for core in range(cores)
    }
    fits = {
        name: [core for core, room in rooms.items() if _has_room(room, want)]
        for name, want in wants.items()
    }
    for name in sorted(wants, key=lambda name: (len(fits[name]), -sum(wants[name].values()))):
        if not fits[name]:
            found.misfits += _too_large(name, wants[name], rooms)
            continue
        free = [core for core in fits[name] if core not in found.used]
        if not free:
            held = f"the {len(fits[name])} cores with room for it are taken"
            other = "take fewer or smaller layers; another order may fit it, too"
            found.misfits.append(Misfit(name, "cores", held, "a free core", other))
            continue
        core = min(free, key=lambda core: (sum(rooms[core].values()), core))
        found.cores[name], found.used[core] = [core], wants[name]
    return found


def _has_room(room: Mapping[str, int], want: Mapping[str, int]) -> bool:
    return all(want[memory] <= size for memory, size in room.items())


def _too_large(
    name: str, want: Mapping[str, int], rooms: Mapping[int, Mapping[str, int]]
) -> list[Misfit]:
    """Return the memories that are too small on every core; all, if no core has room in each."""
    largest = {memory: max(room[memory] for room in rooms.values()) for memory in rooms[0]}
    over = [memory for memory, size in largest.items() if want[memory] > size]
    both = "" if over else ", and no core has room for all of it"
    return [
        Misfit(name, memory, f"{want[memory]:,} entries{both}", f"{largest[memory]:,}", SMALLER)
        for memory in over or [each for each in largest if each != "bias_memory"]
    ]


def _shared(target: Target, asked: Demand, cores: int) -> Mapped:
    """Map each layer to several cores."""
    found, free = Mapped(how="greedily: layer after layer, each on the next cores"), 0
    limits = {
        "neurons": target.neurons_per_core.value if target.neurons_per_core else None,
        "weights": target.synapses_per_core.value if target.synapses_per_core else None,
    }
    for layer in asked.layers:
        if layer.name == OUTPUT and not layer.synapses:
            continue
        has = {"neurons": layer.neurons, "weights": layer.weights}
        counts = [math.ceil(has[k] / most) for k, most in limits.items() if most]
        taken = list(range(free, free + max(counts)))
        found.cores[layer.name] = taken
        for core in taken:
            found.used[core] = {k: math.ceil(has[k] / len(taken)) for k, v in limits.items() if v}
        free += len(taken)
    if free > cores:
        fewer = "take a smaller network, or several chips"
        found.misfits.append(Misfit("network", "cores", f"{free} cores", str(cores), fewer))
    return found
