"""What every neuron in the room obeys."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.layers import (
    CHARGE,
    CHUNKED,
    EVERY_LAYER,
    GAIN,
    RESIDUAL,
    VARIANTS,
    layer,
    parts,
    same,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from snnconv.neurons.base import NEURONS

every_layer = pytest.mark.parametrize(("name", "params"), EVERY_LAYER)
laws = settings(deadline=None, max_examples=8)


@st.composite
def sequences(draw, kept=True):
    """Currents in sixteenths, a threshold in sixteenths, and where spikes are kept."""
    places = draw(st.sampled_from([(), (2,), (2, 3)]))
    channels = draw(st.integers(1, 3))
    shape = (draw(st.integers(1, 8)), draw(st.integers(1, 3)), channels, *places)
    currents = draw(arrays(np.int64, shape, elements=st.integers(-40, 64)))
    rank = draw(st.sampled_from([(), (1,), (channels,)]))
    theta = draw(arrays(np.int64, rank, elements=st.integers(1, 48)))
    keep = draw(arrays(np.bool_, shape)) if kept and draw(st.booleans()) else None
    return (
        torch.from_numpy(currents).float() / 16,
        torch.from_numpy(theta).float() / 16,
        None if keep is None else torch.from_numpy(keep).float(),
    )


def chosen(keep, index):
    return None if keep is None else keep[index]


def test_the_room():
    assert NEURONS.names() == ["if", "lm-h", "lm-ht", "msat"]
    assert sorted(VARIANTS) == NEURONS.names()


@pytest.mark.parametrize(("name", "params"), CHUNKED)
@laws
@given(sequences(), st.data())
def test_chunks_of_time_change_nothing(name, params, sequence, data):
    currents, theta, keep = sequence
    neurons = layer(name, theta, steps=len(currents), **params)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(currents)))) | {0, len(currents)})
    state, pieces = None, []
    for start, stop in pairwise(cuts):
        piece = slice(start, stop)
        spikes, state = neurons(currents[piece], state, chosen(keep, piece))
        pieces.append(spikes)
    whole, end = neurons(currents, None, keep)
    assert same(tuple(map(torch.cat, zip(*pieces, strict=True))), tuple(whole))
    assert same(state, end)


@every_layer
@laws
@given(sequences(), st.randoms(use_true_random=False))
def test_samples_do_not_see_each_other(name, params, sequence, random):
    currents, theta, keep = sequence
    neurons = layer(name, theta, steps=len(currents), **params)
    whole, _ = neurons(currents, None, keep)
    order = list(range(currents.shape[1]))
    random.shuffle(order)
    for part in (order, *([b] for b in order)):
        index = (slice(None), part)
        spikes, _ = neurons(currents[index], None, chosen(keep, index))
        assert same(tuple(spikes), tuple(x[index] for x in whole))


@every_layer
@laws
@given(sequences())
def test_nothing_is_hidden_and_nothing_given_is_changed(name, params, sequence):
    currents, theta, keep = sequence
    neurons = layer(name, theta, steps=len(currents), **params)
    state = neurons.initial(currents[0])
    if neurons.causal and len(currents) > 1:
        _, state = neurons(currents[:1], None, chosen(keep, slice(1)))
        currents, keep = currents[1:], chosen(keep, slice(1, None))
    before, given_currents = parts(state), currents.clone()
    first = neurons(currents, state, keep)
    assert same(parts(state), before)
    assert torch.equal(currents, given_currents)
    assert same(neurons(currents, state, keep), first)


@every_layer
@laws
@given(sequences())
def test_counts_are_integers_up_to_the_levels(name, params, sequence):
    currents, theta, keep = sequence
    neurons = layer(name, theta, steps=len(currents), **params)
    (counts, values), _ = neurons(currents, None, keep)
    assert torch.equal(counts, counts.round())
    assert ((counts >= 0) & (counts <= neurons.levels)).all()
    assert torch.equal(counts > 0, values > 0)
    assert keep is None or not (counts * (1 - keep)).any()


@every_layer
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@laws
@given(sequences())
def test_the_type_of_the_currents_is_kept(name, params, dtype, sequence):
    currents, theta, keep = sequence
    keep = None if keep is None else keep.to(dtype)
    spikes, state = layer(name, theta, steps=len(currents), **params)(
        currents.to(dtype), None, keep
    )
    tensors = [*spikes, *(x for x in state if isinstance(x, torch.Tensor))]
    assert {tensor.dtype for tensor in tensors} == {dtype}
    assert {tensor.shape for tensor in spikes} == {currents.shape}


@every_layer
@laws
@given(sequences())
def test_charge_is_conserved(name, params, sequence):
    currents, theta, keep = sequence
    currents = currents.double()
    neurons = layer(name, theta, torch.float64, len(currents), **params)
    (_, values), state = neurons(currents, None, None if keep is None else keep.double())
    charge = CHARGE[name](neurons, currents) if name in CHARGE else currents
    given_charge = RESIDUAL[name](neurons.initial(currents[0])) + charge.sum(0)
    found = values.sum(0) + RESIDUAL[name](state)
    exact = name in ("if", "lm-h")  # the thresholds of MSAT are no dyadic numbers
    torch.testing.assert_close(found, given_charge, rtol=0, atol=0 if exact else 1e-9)


@every_layer
@laws
@given(sequences(kept=False))
def test_a_suppressed_spike_neither_propagates_nor_resets(name, params, sequence):
    currents, theta, _ = sequence
    neurons = layer(name, theta, steps=len(currents), **params)
    (counts, values), state = neurons(currents, None, torch.zeros_like(currents))
    assert not counts.any()
    assert not values.any()
    potential = RESIDUAL[name](neurons.initial(currents[0]))
    for charge in CHARGE[name](neurons, currents) if name in CHARGE else currents:
        potential = potential + charge
    assert torch.equal(RESIDUAL[name](state), potential)


@every_layer
def test_gradients_of_what_comes_out_stay_between_0_and_1_however_long_the_run(name, params):
    for steps in (4, 64):
        for centre in (-0.5, 0.1, 1.0):
            currents = torch.randn(steps, 20, 3).double() + centre
            currents.requires_grad_()
            neurons = layer(name, 0.75, torch.float64, steps, **params)
            spikes, _ = neurons(currents)
            (gradient,) = torch.autograd.grad(spikes.values.sum(), currents)
            assert gradient.min() >= 0
            assert gradient.max() <= (GAIN[name](neurons) if name in GAIN else 1) + 1e-6


@every_layer
@pytest.mark.parametrize("current", [-1e6, -30.0, 0.0, 1e6])
def test_extreme_currents_give_finite_values_and_gradients(name, params, current):
    currents = torch.full((50, 2, 3), current)
    currents[::7] += 0.5
    currents.requires_grad_()
    spikes, state = layer(name, 0.7, steps=len(currents), **params)(currents)
    (gradient,) = torch.autograd.grad(spikes.values.sum(), currents)
    for tensor in (*spikes, *(x for x in state if isinstance(x, torch.Tensor)), gradient):
        assert tensor.isfinite().all()
