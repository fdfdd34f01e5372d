"""A layer of neurons by the compiled loop of their kernel: parameters and states, laid out for it.

What compiled code reads and writes is checked here, at its door: numbers of another type, order or
shape are an error, never a wrong result.

Shape:
    ``[T, B, *N] -> [T, B, *N]``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from snnconv.engine.memory_layout import Flat, checked
from snnconv.engine.neurons.kernels import Run, Scan, small
from snnconv.engine.neurons.scan import BLOCK, forward
from snnconv.neurons.base import Neuron
from snnconv.neurons.kernel import Kernel

Floats = NDArray[np.float32]


def kernel_of(kind: type[Neuron[Any]]) -> Kernel | None:
    """A neuron's own kernel; none if its class states none, whatever the classes above it do."""
    found: Kernel | None = vars(kind).get("KERNEL")
    return found


def name_of(kind: type[Neuron[Any]]) -> str:
    """For the files that keep compiled code."""
    return "".join(letter if letter.isalnum() else "_" for letter in kind.__qualname__)


def prepare(neuron: Neuron[Any], layer: Run, state: Any) -> Scan:
    """Lay out a layer from a state."""
    kernel, steps = kernel_of(type(neuron)), layer.steps
    assert kernel is not None
    fields = kernel.states
    starts = [getattr(state, field) for field in fields]
    omega, schedule = neuron.mixing(state, steps), neuron.schedule(state, steps)
    scan = laid_out(neuron, layer, omega, schedule, starts)

    def end(seen: Tensor | None) -> Any:
        changed = dict(zip(fields, scan.state(None), strict=True))
        return neuron.continued(state, changed, steps, seen)

    return replace(scan, state=end, sees=lambda currents: neuron.seen(currents, state))


def laid_out(
    neuron: Neuron[Any],
    layer: Run,
    omega: Tensor | None,
    schedule: Tensor,
    starts: Sequence[Tensor],
) -> Scan:
    """The same by what the neuron makes of the state; its states are tensors ``[B, *N]``."""
    kernel, flat, steps = kernel_of(type(neuron)), layer.flat, layer.steps
    assert kernel is not None
    loop = forward(kernel, name_of(type(neuron)))
    states = [flat.own(start) for start in starts]
    out = layer.outputs(neuron.amplitude(), layer.wants.mean)
    sees = steps if omega is None else omega.shape[1]
    arrays = (
        None if omega is None else checked(small(omega), (steps, sees)),
        masks(flat, layer.keep, steps),
        by_neuron(flat, neuron.constants(starts[0])),
        by_step(schedule, steps),
        tuple(checked(state.array, (flat.size,), writeable=True) for state in states),
        steps,
        out.bits,
    )

    def run(start: int, stop: int, currents: Floats, first: int) -> None:
        checked(currents, ((1, sees), range(stop - first, flat.size + 1)))
        to = out.of_samples(start, stop)
        sums = np.zeros(to.shape, np.int64)
        loop(start, stop, currents, first, *arrays, out.counts, out.values, out.weights, sums)
        out.add(to, sums)

    return Scan(run, out, lambda _: [state.tensor for state in states])


def by_neuron(flat: Flat, values: Iterable[Tensor]) -> tuple[Floats, ...]:
    """What broadcasts to ``[B, *N]``: ``[n]`` each, or a block of one number if all have it."""
    found = (flat.neurons(value)[0] for value in values)
    return tuple(np.full(BLOCK, array[0]) if array.size == 1 else array for array in found)


def by_step(schedule: Tensor, steps: int) -> tuple[Floats, ...]:
    """``[T, p]``: of each step, ``[T]`` each."""
    return tuple(checked(column, (steps,)) for column in small(schedule.mT))


def masks(flat: Flat, keep: Tensor | None, steps: int) -> Floats:
    """Keep as an array ``[T, n]``, or ``[0, n]``."""
    return np.empty((0, flat.size), np.float32) if keep is None else flat.steps(keep, steps)
