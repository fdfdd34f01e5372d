"""A neuron's fast path: its step and the gradient of the step, as plain functions of numbers.

The engine compiles both into one loop over neurons and time
(:mod:`snnconv.engine.neurons.scan`), so that a neuron file has nothing to do with blocks, masks,
sums or memory. A kernel is a class attribute, ``KERNEL``, of the neuron whose ``step`` it defines;
a subclass that defines another ``step`` does not inherit it. A neuron without a kernel runs its own
``run``, which is slower.

All numbers are ``np.float32``. Write ``np.float32(0.5)``, not ``0.5``, which is a float64 and turns
every later result into float64: the engine refuses a kernel that gives float64. A kernel may call
other plain functions that its module imports by name. If it does the operations of the class in the
same order, spikes are the same, bit by bit; the tests check this for every neuron.

::

    def step(current, keep, constants, schedule, state):
        return count, value, state after the step

    def gradient(
        current, keep, constants, schedule, state, of_count, of_value, of_state, slope, shape
    ):
        return gradients by the current, by the state before the step, by the schedule

``state``, ``constants`` and ``schedule`` are tuples, ``(x,)`` if they have one number.

- ``current``: the current of the neuron at this step.
- ``keep``: 0 if spike confidence suppresses a spike, else 1; multiply the count by it.
- ``constants``: numbers of the neuron, the same at all steps; :meth:`.Neuron.constants` gives them.
- ``schedule``: numbers of the step, the same for all neurons; :meth:`.Neuron.schedule` gives it.
- ``state``: the state before the step, in the order of :attr:`Kernel.states`.
- ``of_count``, ``of_value``, ``of_state``: the gradient of the loss with respect to the results
  of the step, including the state after it.
- ``slope``, ``shape``: ``slope(potential, threshold, shape)`` stands for the derivative of a spike
  by the potential. It is the surrogate that training has chosen
  (:mod:`snnconv.neurons.surrogates.base`). A neuron with a surrogate of its own
  (:attr:`.Neuron.surrogate_of_its_own`) is not given these two.

Shape:
    Everything here is a number of one neuron at one step.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Number = np.float32
Numbers = tuple[Number, ...]
Slope = Callable[[Number, Number, Numbers], Number]
ZERO, ONE = Number(0), Number(1)


@dataclass(frozen=True)
class Kernel:
    """The scalar functions of a neuron, see above.

    Attributes:
        step: one neuron, one step.
        gradient: of that step; none if training should use the neuron's own ``run``.
        states: the fields of the neuron's state that a step changes, tensors ``[B, *N]``.
        learned: how many numbers at the start of the schedule have a gradient; ``gradient`` gives
            as many.
        silent: whether a neuron surely does not fire at a step, of ``(current, constants, schedule,
            state)``; for a costly step, if this is cheap to tell. It may be False for a
            neuron that does not fire, but never True for one that fires.
        settled: the state behind a step, of ``(value, current, constants, schedule, state)``, value
            being what ``step`` gives, 0 of a silent neuron; with ``silent``, and only then.
    """

    step: Callable[..., tuple[Any, ...]]
    gradient: Callable[..., tuple[Any, ...]] | None = None
    states: tuple[str, ...] = ("potential",)
    learned: int = 0
    silent: Callable[..., bool] | None = None
    settled: Callable[..., tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        if (self.silent is None) != (self.settled is None):
            raise TypeError("a kernel states both silent and settled, or neither")
