"""What a neuron is: a pure function of a sequence of currents and an explicit state.

A neuron puts out integer spike counts and the values that they carry: counts times an
amplitude, which is what the next layer's weights multiply and whose mean over time estimates the
ANN activation (the rate-preserving rule). No state is hidden, so nothing is ever reset: to start
again, start from :meth:`Neuron.initial`.

Shape:
    Currents, counts and values ``[T, B, *N]``; threshold ``[]``, ``[1]`` or ``[C]`` in units of the
    ANN's activation.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from snnconv.core.metadata import Parameters, SurrogateInfo
from snnconv.core.registry import REGISTRIES, Registry
from snnconv.core.shapes import per_neuron, stack_time
from snnconv.errors import UsageError
from snnconv.neurons.kernel import Kernel
from snnconv.neurons.norms.potentials import FoldedNorm, PotentialNorm
from snnconv.neurons.surrogates.base import Surrogate, make_surrogate
from snnconv.neurons.surrogates.triangle import Triangle

StateType = TypeVar("StateType")


class Spikes(NamedTuple):
    """What a neuron puts out.

    Attributes:
        counts: spikes ``[T, B, *N]``, integers in a floating tensor.
        values: what the next layer's weights multiply, ``[T, B, *N]``.
    """

    counts: Tensor
    values: Tensor


class Grid(NamedTuple):
    """What a neuron's mean output can be after T steps: ``k*unit``, ``k = 0..levels``.

    For a constant current ``a`` it is ``unit * clip(floor(a/unit + v0), 0, levels)``.

    Attributes:
        levels: T for a neuron with one level.
        v0: initial potential, in units of the grid's unit.
        end: ``levels*unit``, in units of theta.
    """

    levels: int
    v0: float
    end: float = 1.0


class NeuronParams(Parameters):
    """Parameters of a neuron; potentials are in units of theta."""

    @property
    def fixed(self) -> bool:
        """Whether a network of these neurons runs only for the T that it was made for."""
        return False

    @property
    def by_layer(self) -> Mapping[str, tuple[float, float]]:
        """Parameters that conversion finds for each layer, each between two bounds.

        The neuron has each as a parameter of its module, ``[1]``, which training does not change.
        """
        return {}

    def grid(self, timesteps: int) -> Grid:
        """Return the values that the mean output can have after T steps."""
        return Grid(timesteps, float(getattr(self, "v0", 0.0)))

    def fit(self, timesteps: int) -> Grid:
        """Return the grid that thresholds are found for."""
        return self.grid(timesteps)


class Neuron(nn.Module, ABC, Generic[StateType]):
    """A layer of neurons of one kind.

    Args:
        params: the kind's parameters.
        threshold: theta, ``[]``, ``[1]`` or ``[C]``.
        timesteps: T, for neurons that learn a parameter for each step.

    Attributes:
        causal: whether step t depends only on steps up to t, so that a simulation may come in
            chunks; a neuron that is not must see all T steps at once.
        levels: the most spikes of one neuron at one step.
        signed: whether spikes may be negative, so that counts lie in ``-levels..levels``.
        ceiling: the bound that clips the site's activation, ``[]``, ``[1]`` or ``[C]``; none if it
            is not. Theta lies at or below it.
        two_sided: whether the activation may be negative, as at a transfer site: then the sum of
            counts has no bound at 0.
        tracks: whether this kind may be used at a transfer site.
        remembers: whether the state contains the currents of all earlier steps.
        lead: steps that a network of these neurons runs before the T steps; their logits are not
            used, and :meth:`begun` says what neurons keep of them.
        draws: whether chance decides on spikes: ``keep`` is then one minus a number from ``[0,
            1)``, and a spike of probability p is emitted if that number is below p.
        KERNEL: the neuron's fast path, see :mod:`snnconv.neurons.kernel`; of this class, not of its
            subclasses.
        potentials: the fields of its state with the potential of the soma; the potential after
            firing is the last one.
        adapts: whether :meth:`firing_threshold` depends on the current and the state.
        by_channel: whether it learns numbers of channels: training gives it a threshold for each.
        surrogate_of_its_own: whether its file states the derivative of its spikes. If not, its
            spikes are those of :meth:`spike`, and training may choose their surrogate.
        surrogate: what gives :meth:`spike` a derivative; none with one of its own.
        norm: what normalises potentials before :meth:`spike`; none by default.
    """

    params_type: ClassVar[type[NeuronParams]]
    KERNEL: ClassVar[Kernel | None] = None
    causal: bool = True
    levels: int = 1
    signed: bool = False
    two_sided: bool = False
    tracks: bool = False
    remembers: bool = False
    lead: int = 0
    draws: bool = False
    potentials: ClassVar[tuple[str, ...]] = ("potential",)
    adapts: ClassVar[bool] = False
    by_channel: ClassVar[bool] = False
    surrogate_of_its_own: ClassVar[bool] = True
    surrogate: Surrogate | None
    norm: PotentialNorm | FoldedNorm | None
    threshold: Tensor
    ceiling: Tensor | None

    def __init__(self, params: NeuronParams, threshold: Tensor, timesteps: int = 1) -> None:
        super().__init__()
        self.params = params
        self.timesteps = timesteps
        self.register_buffer("threshold", threshold.detach().clone())
        self.register_buffer("ceiling", None, persistent=False)
        self.surrogate = None if self.surrogate_of_its_own else Triangle(1.0)
        self.norm = None

    def theta(self, sample: Tensor) -> Tensor:
        """Return the threshold, ``[1, 1 or C, 1, ...]``, to broadcast over one step ``[B, *N]``."""
        return per_neuron(self.threshold, sample.dim())

    def everywhere(self, value: Tensor, sample: Tensor) -> Tensor:
        """Return one value for all neurons, or one a channel, as a view ``[B, *N]``."""
        return value.to(sample.dtype).expand_as(sample)

    def firing_threshold(self, current: Tensor, state: StateType) -> Tensor:
        """Return the least potential at which a step has a spike, to broadcast over ``[B, *N]``.

        If the neuron has several levels, it is that of the first: what one spike carries, or theta
        if spikes differ.

        Args:
            current: the current of the step, ``[B, *N]``.
            state: the state before the step.
        """
        if self.norm is not None:
            return per_neuron(self.norm.threshold()[0], current.dim())
        amplitude = self.amplitude()
        return self.theta(current) if amplitude is None else per_neuron(amplitude, current.dim())

    def train_by(self, surrogate: SurrogateInfo | None, layer: str) -> None:
        """Take a surrogate for training.

        Args:
            surrogate: the surrogate; None for the default.
            layer: the name of the neurons' site.

        Raises:
            UsageError: these neurons have one of their own.
        """
        if surrogate is None:
            return
        if self.surrogate_of_its_own:
            raise UsageError(
                f"{type(self).__name__} neurons can't be trained by another surrogate",
                f"'{surrogate.name}', where their file states the derivative of their spikes",
                "drop --surrogate, or take other neurons: --neuron if, lif, lm-h, ...",
            )
        self.surrogate = make_surrogate(surrogate, layer)

    def spike(self, potential: Tensor, threshold: Tensor) -> Tensor:
        """Return 1 where the potential has reached the threshold, else 0, in the potential's type.

        In training, the surrogate stands for its derivative by the potential.
        """
        assert self.surrogate is not None
        if self.norm is not None:
            return self.norm.spike(potential, self.surrogate)
        fired: Tensor = self.surrogate(potential, threshold)
        return fired

    def kept(self) -> dict[str, Tensor]:
        """Return what a checkpoint keeps of it: its parameters, and the tensors of its norm."""
        found = dict[str, Tensor](self.named_parameters())
        if isinstance(self.norm, PotentialNorm):  # what it is folded into follows from it
            found |= self.norm.state_dict(prefix="norm.", keep_vars=True)
        return found

    @abstractmethod
    def initial(self, sample: Tensor) -> StateType:
        """Return the state before the first step, for one step's currents ``[B, *N]``."""

    def begun(self, state: StateType) -> StateType:
        """Return the state before the T steps, from that after the :attr:`lead`."""
        return state

    def raised(self, state: StateType, potential: Tensor) -> StateType:
        """Return the state with this potential added to each neuron.

        Args:
            state: from :meth:`initial`; it is not changed.
            potential: ``[*N]``.

        Raises:
            UsageError: it has no potential that could be raised.
        """
        fields = getattr(state, "_fields", ())
        if not self.potentials or not set(self.potentials) <= set(fields):
            raise UsageError(
                "the initial potential of these neurons can't be corrected",
                f"a state of {type(self).__name__} neurons without {' or '.join(self.potentials)}",
                "take another correction: snnconv ls corrections",
            )
        changed = {name: getattr(state, name) + potential for name in self.potentials}
        raised: StateType = state._replace(**changed)  # type: ignore[attr-defined]
        return raised

    @abstractmethod
    def run(
        self, currents: Tensor, state: StateType, keep: Tensor | None
    ) -> tuple[Spikes, StateType]:
        """Run all steps of a sequence.

        Args:
            currents: ``[T, B, *N]``.
            state: from :meth:`initial` or from the previous chunk; it is not changed.
            keep: 1 where a spike may be emitted, 0 where spike confidence suppresses it,
                ``[T, B, *N]``; none if confidence is off.
        """

    def amplitude(self) -> Tensor | None:
        """Return what each spike carries, ``[]``, ``[1]`` or ``[C]``; None if spikes differ."""
        return None

    def held(self, state: StateType) -> Tensor | None:
        """Return the potential after firing in a state, ``[B, *N]``; None if the state has none.

        For neurons that need all currents at once it is the :meth:`membrane`, which can be followed
        from step to step.
        """
        if not self.causal:
            return self.membrane(state)
        found: Tensor | None = getattr(state, (self.potentials or ("",))[-1], None)
        return found

    def membrane(self, state: StateType) -> Tensor | None:
        """Return the membrane potential in a state, ``[B, *N]``; None if it has no ``potential``.

        With :meth:`charge` and :meth:`retention`, a new layer obeys ``v[t] =
        retention[t]*v[t-1] + charge[t] - values[t]``.
        """
        potential: Tensor | None = getattr(state, "potential", None)
        return potential

    def charge(self, currents: Tensor) -> Tensor:
        """Return what each step adds to the potential, from all currents ``[T, B, *N]``."""
        return currents

    def retention(self) -> Tensor:
        """Return the share of the membrane potential that each step keeps, ``[1]`` or ``[T]``."""
        return torch.ones(1)

    def gain(self, timesteps: int) -> float:
        """Return the largest gradient of the sum of a neuron's values by one of its currents.

        It is at most 1 if gradients pass through the reset, for any number of steps.
        """
        return 1.0

    def constants(self, sample: Tensor) -> tuple[Tensor, ...]:
        """Return numbers for :attr:`KERNEL` for each neuron, to broadcast to one step ``[B, *N]``.

        This is the threshold, unless a neuron overrides it.
        """
        return (self.theta(sample),)

    def schedule(self, state: StateType, steps: int) -> Tensor:
        """Return numbers for :attr:`KERNEL` for each next step, ``[steps, p]``; none by default.

        A gradient passes through its first :attr:`.Kernel.learned` columns.
        """
        return torch.empty(steps, 0)

    def mixing(self, state: StateType, steps: int) -> Tensor | None:
        """Return Omega ``[steps, S]``, which mixes the :meth:`seen` currents; None by default."""
        return None

    def seen(self, currents: Tensor, state: StateType) -> Tensor:
        """Return the currents ``[S, B, *N]`` that the next steps depend on; their own come last."""
        return currents

    def continued(
        self, state: StateType, changed: Mapping[str, Tensor], steps: int, seen: Tensor | None
    ) -> StateType:
        """Return the state after some steps of :attr:`KERNEL`.

        Args:
            state: the state before them.
            changed: the fields that the kernel has changed.
            steps: the number of steps. A field ``steps`` counts them.
            seen: the currents, see :meth:`seen`; none if the neuron remembers none.
        """
        counted = {"steps": state.steps + steps} if hasattr(state, "steps") else {}
        return state._replace(**changed, **counted)  # type: ignore[attr-defined,no-any-return]

    def averages(self) -> bool:
        """Whether the neuron uses only the mean of the currents of all steps."""
        return False

    def answers(self, timesteps: int) -> Tensor:
        """Return after which of T steps the output so far is final, bool ``[T]``.

        It is final at step t if no output at steps 1..t depends on a later current.
        """
        return torch.ones(timesteps, dtype=torch.bool)

    def waits(self, timesteps: int) -> int:
        """Return how many of T steps the output is later than its currents: 0 if it streams.

        If steps 1..t can be answered only together, output starts when all their currents have
        arrived: late by the number of steps of the longest window.
        """
        ends = (self.answers(timesteps).nonzero().flatten() + 1).tolist()
        longest = max(end - start for start, end in pairwise([0, *ends]))
        return 0 if longest == 1 else int(longest)

    def single_threshold(self) -> "Neuron[Any] | None":
        """Return the same with neurons of one level and more steps; None if it has one level."""
        return None

    def learnables(self) -> dict[str, Tensor]:
        """Return what it learns, by the names of its equations, for logs and plots."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    def forward(
        self, currents: Tensor, state: StateType | None = None, keep: Tensor | None = None
    ) -> tuple[Spikes, StateType]:
        """Run the neurons with :meth:`run`, from the initial state if none is given."""
        return self.run(currents, self.initial(currents[0]) if state is None else state, keep)


class CausalNeuron(Neuron[StateType]):
    """A neuron that defines one step, from which the sequence follows."""

    @abstractmethod
    def step(
        self, current: Tensor, state: StateType, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, StateType]:
        """Run one step; return counts ``[B, *N]``, values ``[B, *N]`` and the next state."""

    def run(
        self, currents: Tensor, state: StateType, keep: Tensor | None
    ) -> tuple[Spikes, StateType]:
        """Run step after step."""
        counts, values = [], []
        for t, current in enumerate(currents):
            count, value, state = self.step(current, state, None if keep is None else keep[t])
            counts.append(count)
            values.append(value)
        return Spikes(stack_time(counts), stack_time(values)), state


def _fault(found: object) -> str:
    """Say what is wrong with a neuron from outside; empty if nothing is."""
    if not (isinstance(found, type) and issubclass(found, Neuron)):
        return f"{found!r:.40}, which is no subclass of snnconv.neurons.base.Neuron"
    if missing := sorted(found.__abstractmethods__):
        return f"a class without {', '.join(missing)}"
    kind = getattr(found, "params_type", None)
    if not (isinstance(kind, type) and issubclass(kind, NeuronParams)):
        return "no params_type, a subclass of snnconv.neurons.base.NeuronParams"
    return ""


NEURONS: Registry[type[Neuron[Any]]] = replace(REGISTRIES["neurons"], fault=_fault)
