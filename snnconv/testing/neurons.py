"""The laws of neurons.

Currents and thresholds are sixteenths, which floating point adds up exactly, so that most laws
hold bit by bit.

Shape:
    Currents ``[T, B, C, *places]``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from snnconv.engine.dispatch import fire
from snnconv.neurons.base import NEURONS, Neuron
from snnconv.testing.base import Kind, Law, described, in_words, variants

_few = settings(
    deadline=None,
    max_examples=8,
    database=None,
    report_multiple_bugs=False,
    phases=[phase for phase in Phase if phase is not Phase.explain],
)


@dataclass(frozen=True)
class Layers:
    """Makes layers of one kind of neuron with one setting of its parameters."""

    kind: type[Neuron[Any]]
    params: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self, theta: Any = 1.0, dtype: torch.dtype = torch.float32, steps: int = 1
    ) -> Neuron[Any]:
        """A layer with a threshold ``[]``, ``[1]`` or ``[C]``, made for ``steps`` steps."""
        params = self.kind.params_type(**self.params)
        return self.kind(params, torch.as_tensor(theta, dtype=dtype), steps)


def subjects(kind: type[Neuron[Any]]) -> Iterator[tuple[str, Layers]]:
    """A neuron with each of its settings."""
    for params in variants(kind.params_type):
        yield in_words(params), Layers(kind, params)


@dataclass(frozen=True)
class Sequence:
    """What a layer is given.

    Attributes:
        currents: ``[T, B, C, *places]``.
        theta: the threshold ``[]``, ``[1]`` or ``[C]``.
        keep: 1 where a spike may be elicited, as the currents; none if it may everywhere.
    """

    currents: Tensor
    theta: Tensor
    keep: Tensor | None

    def part(self, index: Any) -> tuple[Tensor, Tensor | None]:
        """Some of the currents and what belongs to them of ``keep``."""
        return self.currents[index], None if self.keep is None else self.keep[index]

    def to(self, dtype: torch.dtype) -> "Sequence":
        """The same in another type."""
        keep = None if self.keep is None else self.keep.to(dtype)
        return Sequence(self.currents.to(dtype), self.theta.to(dtype), keep)


@st.composite
def sequences(draw: st.DrawFn) -> Sequence:
    """Currents and a threshold in sixteenths, and where spikes are kept."""
    places = draw(st.sampled_from([(), (2,), (2, 3)]))
    channels = draw(st.integers(1, 3))
    shape = (draw(st.integers(1, 8)), draw(st.integers(1, 3)), channels, *places)
    currents = draw(arrays(np.int64, shape, elements=st.integers(-40, 64)))
    rank: tuple[int, ...] = draw(st.sampled_from([(), (1,), (channels,)]))
    theta = draw(arrays(np.int64, rank, elements=st.integers(1, 48)))
    keep = draw(arrays(np.bool_, shape)) if draw(st.booleans()) else None
    return Sequence(
        torch.from_numpy(currents).float() / 16,
        torch.from_numpy(np.asarray(theta)).float() / 16,
        None if keep is None else torch.from_numpy(keep).float(),
    )


def _layer(layers: Layers, sequence: Sequence) -> Neuron[Any]:
    return layers(sequence.theta, sequence.currents.dtype, len(sequence.currents))


def tensors(state: Any) -> list[Tensor]:
    """The tensors in a state: one, or some of a tuple's."""
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, tuple | list):
        return [tensor for part in state for tensor in tensors(part)]
    return []


def same(one: Any, other: Any) -> bool:
    """Whether two results (tensors, numbers or tuples of them) are equal, bit by bit."""
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if is_dataclass(one):
        return same(list(vars(one).values()), list(vars(other).values()))
    return bool(one == other)


def copied(state: Any) -> Any:
    """A state whose tensors share no memory with those of the one given."""
    if isinstance(state, Tensor):
        return state.detach().clone()
    return tuple(map(copied, state)) if isinstance(state, tuple | list) else state


@_few
@given(sequences(), st.data())
def chunks_of_time_change_nothing(layers: Layers, sequence: Sequence, data: st.DataObject) -> None:
    """A causal neuron gives the same for a sequence as for its pieces, one after the other."""
    neuron, T = _layer(layers, sequence), len(sequence.currents)
    cuts = sorted(data.draw(st.sets(st.integers(1, T))) | {0, T})
    state, pieces = None, []
    for start, stop in pairwise(cuts):
        currents, keep = sequence.part(slice(start, stop))
        spikes, state = neuron(currents, state, keep)
        pieces.append(spikes)
    whole, end = neuron(sequence.currents, None, sequence.keep)
    assert same(tuple(map(torch.cat, zip(*pieces, strict=True))), tuple(whole))
    assert same(state, end)


@_few
@given(sequences(), st.randoms(use_true_random=False))
def samples_do_not_see_each_other(layers: Layers, sequence: Sequence, random: Any) -> None:
    """A sample's spikes and potential do not depend on its batch."""
    neuron = _layer(layers, sequence)
    whole, end = neuron(sequence.currents, None, sequence.keep)
    order = list(range(sequence.currents.shape[1]))
    random.shuffle(order)
    for part in (order, *([b] for b in order)):
        index = (slice(None), part)
        currents, keep = sequence.part(index)
        spikes, after = neuron(currents, None, keep)
        assert same(tuple(spikes), tuple(x[index] for x in whole)), f"samples {part} alone"
        alone, together = neuron.membrane(after), neuron.membrane(end)
        if alone is not None and together is not None:
            assert same(alone, together[part]), f"the potential of samples {part} alone"


@_few
@given(sequences())
def nothing_is_hidden_and_nothing_given_is_changed(layers: Layers, sequence: Sequence) -> None:
    """The result depends on the arguments only, and the arguments stay as they were."""
    neuron = _layer(layers, sequence)
    currents, keep = sequence.currents, sequence.keep
    state = neuron.initial(currents[0])
    if neuron.causal and len(currents) > 1:
        _, state = neuron(*_given(sequence.part(slice(1)), None))
        currents, keep = sequence.part(slice(1, None))
    before, given_currents = copied(state), currents.clone()
    first = neuron(currents, state, keep)
    assert same(copied(state), before), "the state that was given has changed"
    assert torch.equal(currents, given_currents), "the currents that were given have changed"
    assert same(neuron(currents, state, keep), first), "a second call gives something else"


def _given(part: tuple[Tensor, Tensor | None], state: Any) -> tuple[Tensor, Any, Tensor | None]:
    currents, keep = part
    return currents, state, keep


@_few
@given(sequences())
def counts_are_integers_up_to_the_levels(layers: Layers, sequence: Sequence) -> None:
    """Counts are integers in ``0..levels``, or ``-levels..levels`` if the neuron is signed."""
    neuron = _layer(layers, sequence)
    (counts, values), _ = neuron(sequence.currents, None, sequence.keep)
    assert torch.equal(counts, counts.round()), "a count is no integer"
    least = -neuron.levels if neuron.signed else 0
    assert ((counts >= least) & (counts <= neuron.levels)).all(), f"beyond {least}, {neuron.levels}"
    assert torch.equal(counts.sign(), values.sign()), "a count and its value differ in sign"
    if sequence.keep is not None:
        assert not (counts * (1 - sequence.keep)).any(), "a suppressed spike is counted"


@_few
@given(sequences())
def the_amplitude_times_the_count_is_the_value(layers: Layers, sequence: Sequence) -> None:
    """If each spike carries the same, values are counts times that."""
    neuron = _layer(layers, sequence)
    amplitude = neuron.amplitude()
    (counts, values), _ = neuron(sequence.currents, None, sequence.keep)
    assert amplitude is not None
    if amplitude.dim():
        amplitude = amplitude.view(-1, *[1] * (counts.dim() - 3))
    torch.testing.assert_close(values, counts * amplitude)


@_few
@given(sequences(), st.sampled_from([torch.float32, torch.float64]))
def the_type_of_the_currents_is_kept(
    layers: Layers, sequence: Sequence, dtype: torch.dtype
) -> None:
    """Whatever type the threshold has, spikes and state have the type and shape of the currents."""
    neuron, asked = _layer(layers, sequence), sequence.to(dtype)
    spikes, state = neuron(asked.currents, None, asked.keep)
    assert {tensor.dtype for tensor in [*spikes, *tensors(state)]} == {dtype}
    assert {tensor.shape for tensor in spikes} == {asked.currents.shape}


def _balance(layers: Layers, sequence: Sequence) -> None:
    """``v[t] = retention[t]*v[t-1] + charge[t] - values[t]`` from the first step to the last."""
    exact = sequence.to(torch.float64)
    neuron, T = _layer(layers, exact), len(exact.currents)
    (_, values), state = neuron(exact.currents, None, exact.keep)
    potential = neuron.membrane(neuron.initial(exact.currents[0]))
    assert potential is not None
    kept = neuron.retention().double().expand(T)
    for share, charge, value in zip(kept, neuron.charge(exact.currents), values, strict=True):
        potential = share * potential + charge - value
    torch.testing.assert_close(neuron.membrane(state), potential, rtol=0, atol=1e-9)


@_few
@given(sequences())
def what_a_membrane_is_given_it_keeps_or_puts_out(layers: Layers, sequence: Sequence) -> None:
    """Charge is conserved: the potential at the end is what came in, less what went out."""
    _balance(layers, sequence)


@_few
@given(sequences())
def a_suppressed_spike_neither_propagates_nor_resets(layers: Layers, sequence: Sequence) -> None:
    """Where no spike may be elicited, nothing is put out, and the potential keeps it all."""
    none = Sequence(sequence.currents, sequence.theta, torch.zeros_like(sequence.currents))
    (counts, values), _ = _layer(layers, none)(none.currents, None, none.keep)
    assert not counts.any(), "a suppressed spike is counted"
    assert not values.any(), "a suppressed spike has a value"
    _balance(layers, none)


def gradients_stay_bounded_however_long_the_run(layers: Layers) -> None:
    """The gradient of the sum of values by a current is at least 0 and at most ``gain``."""
    for steps in (4, 64):
        for centre in (-0.5, 0.1, 1.0):
            noise = torch.randn(steps, 20, 3, generator=torch.Generator().manual_seed(0))
            currents = (noise.double() + centre).requires_grad_()
            neuron = layers(0.75, torch.float64, steps)
            spikes, _ = neuron(currents)
            (gradient,) = torch.autograd.grad(spikes.values.sum(), currents)
            assert gradient.min() >= 0, f"{gradient.min():.4g}"
            bound = neuron.gain(steps)
            assert gradient.max() <= bound + 1e-6, f"{gradient.max():.4g} where gain is {bound:.4g}"


def extreme_currents_give_finite_values_and_gradients(layers: Layers) -> None:
    """No current from -1e6 to 1e6 makes anything infinite or not a number."""
    for current in (-1e6, -30.0, 0.0, 1e6):
        currents = torch.full((50, 2, 3), current)
        currents[::7] += 0.5
        currents.requires_grad_()
        spikes, state = layers(0.7, steps=len(currents))(currents)
        (gradient,) = torch.autograd.grad(spikes.values.sum(), currents)
        for tensor in (*spikes, *tensors(state), gradient):
            assert tensor.isfinite().all(), f"currents of {current:g}"


@_few
@given(sequences(), st.booleans())
def the_engine_fires_what_the_neuron_fires(
    layers: Layers, sequence: Sequence, learns: bool
) -> None:
    """A compiled scan gives the spikes and the state of the neuron's own file, bit by bit."""
    neuron = _layer(layers, sequence)
    given_ = sequence.currents, neuron.initial(sequence.currents[0]), sequence.keep
    with torch.set_grad_enabled(learns):
        currents = sequence.currents.clone().requires_grad_(learns)
        output, after = fire(neuron, currents, *given_[1:])
        spikes, state = type(neuron).run(neuron, *given_)
    found, expected = (output.counts, output.values, after), (*spikes, state)
    assert same(copied(found), copied(expected))


def every_parameter_has_a_default_and_a_description(layers: Layers) -> None:
    """A layer can be made without a parameter, and help says what each parameter is."""
    described(layers.kind.params_type)


def _is_causal(layers: Layers) -> str:
    return "" if layers().causal else "it must be given all steps at once"


def _has_a_potential(layers: Layers) -> str:
    neuron = layers()
    found = neuron.membrane(neuron.initial(torch.zeros(1, 1)))
    return "" if found is not None else "its state has no potential: see Neuron.membrane"


def _has_one_amplitude(layers: Layers) -> str:
    return "" if layers().amplitude() is not None else "its spikes carry different values"


_LAWS: tuple[Law[Layers], ...] = (
    Law(every_parameter_has_a_default_and_a_description),
    Law(chunks_of_time_change_nothing, unless=_is_causal),
    Law(samples_do_not_see_each_other),
    Law(nothing_is_hidden_and_nothing_given_is_changed),
    Law(counts_are_integers_up_to_the_levels),
    Law(the_amplitude_times_the_count_is_the_value, unless=_has_one_amplitude),
    Law(the_type_of_the_currents_is_kept),
    Law(what_a_membrane_is_given_it_keeps_or_puts_out, unless=_has_a_potential),
    Law(a_suppressed_spike_neither_propagates_nor_resets, unless=_has_a_potential),
    Law(gradients_stay_bounded_however_long_the_run),
    Law(extreme_currents_give_finite_values_and_gradients),
    Law(the_engine_fires_what_the_neuron_fires),
)

KIND = Kind(NEURONS, _LAWS, subjects)
