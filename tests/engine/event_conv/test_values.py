"""Spikes as bits, against the same spikes as float32."""

import pytest
import torch
from helpers.layers import EVERY_LAYER, fired, layer, same
from hypothesis import assume, given
from hypothesis import strategies as st

from snnconv.engine.dispatch import fire
from snnconv.engine.event_conv.events import laid_out
from snnconv.engine.event_conv.values import (
    Deferred,
    Packed,
    Window,
    add_deferred,
    concatenated,
    unpacked,
)
from snnconv.engine.layer_output import Wants
from snnconv.neurons.if_ import IF, Params

channels = st.sampled_from([16, 32, 48, 64, 80, 144])
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def counted(packed):
    """As numpy unpacks bits."""
    T, B, C, H, W = packed.shape
    rows = torch.from_numpy(packed.bits.copy())[..., None].bitwise_right_shift(torch.arange(8)) & 1
    return rows.reshape(T, B, H, W, C).movedim(-1, 2).float()


@given(st.integers(1, 4), st.integers(1, 3), channels, pairs, st.integers(0, 99))
def test_a_bit_stands_for_the_amplitude_of_its_channel(T, B, C, size, seed):
    packed, values = fired(T, B, C, *size, seed=seed)
    assert isinstance(packed, Packed)
    assert packed.shape == values.shape
    amplitude = torch.from_numpy(packed.amplitude)
    assert torch.equal(counted(packed) * amplitude[:, None, None], values)
    assert torch.equal(packed.tensor(), values)
    assert torch.equal(unpacked(packed), unpacked(values))


@pytest.mark.parametrize("amplitude", [torch.tensor(0.7), torch.tensor([0.7])])
def test_one_amplitude_for_all_channels(amplitude):
    packed, values = fired(3, 2, 32, 4, 5, amplitude)
    assert packed.amplitude.shape == (32,)
    assert torch.equal(packed.tensor(), values)


@pytest.mark.parametrize("kind", EVERY_LAYER, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("masked", [False, True])
@torch.no_grad()
@pytest.mark.usefixtures("smallest_pieces")
def test_every_neuron_of_one_amplitude_fires_in_bits(kind, threads, masked):
    name, params = kind
    T, B, C = 5, 3, 48
    neurons = layer(name, torch.rand(C) + 0.3, torch.float32, T, **params)
    currents = torch.randn(T, B, 5, 7, C).movedim(-1, 2)
    keep = (torch.rand(T, B, 5, 7, C) < 0.7).float().movedim(-1, 2) if masked else None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected, end = fire(neurons, currents, None, keep)
        found, state = fire(neurons, currents, None, keep, Wants(packed=True))
    finally:
        torch.set_num_threads(before)
    one = neurons.amplitude() is not None and neurons.levels == 1 and not neurons.signed
    one = one and neurons.KERNEL is not None  # the compiled scan writes bits
    assert (found.packed is not None, found.values is not None) == (one, not one)
    assert torch.equal(unpacked(found.carried), expected.values)
    assert torch.equal(found.counts, expected.counts)
    assert same(state, end)


def test_which_neurons_have_one_amplitude():
    names = {
        str(kind)
        for kind in EVERY_LAYER
        if layer(kind[0], torch.ones(1), **kind[1]).amplitude() is not None
    }
    kinds = {name for name, _ in EVERY_LAYER}
    assert kinds - {kind for kind in kinds if any(f"'{kind}'" in name for name in names)} == {
        "msat"
    }


@pytest.mark.parametrize("shape", [(5, 2, 17, 3, 3), (5, 2, 16), (5, 2, 16, 9), (5, 2, 8, 4, 4)])
@torch.no_grad()
def test_what_does_not_fill_vectors_of_channels_stays_float(shape):
    wants = Wants(packed=True)
    found, _ = fire(IF(Params(), torch.ones(())), torch.randn(shape), None, None, wants)
    assert found.packed is None
    assert found.values.shape == shape


@given(
    st.integers(1, 3),
    st.integers(1, 2),
    channels,
    st.integers(0, 99),
    st.sampled_from([16, 24, 64, 80, 130]),
    pairs,
    pairs,
    pairs,
    pairs,
    st.integers(1, 2),
)
def test_a_convolution_of_bits_is_that_of_values(
    T, B, C, seed, out, kernel, stride, padding, dilation, groups
):
    H, W = 6, 5
    windows = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    assume(all(w <= s + 2 * p for w, s, p in zip(windows, (H, W), padding, strict=True)))
    packed, values = fired(T, B, C, H, W, seed=seed)
    weight, bias = torch.randn(out, C // groups, *kernel), torch.randn(out)
    window = (stride, padding, dilation, groups)
    ways = ("gather", "scatter") if groups == 1 and out % 16 == 0 else ("scatter",)
    for way in ways:
        expected = laid_out(weight, bias, Window(*window), way=way)(values.flatten(0, 1))
        amplitude = torch.from_numpy(packed.amplitude)
        convolution = laid_out(weight, bias, Window(*window), amplitude, way)
        assert torch.equal(convolution(packed), expected)
        lines, wide = convolution.places((H, W))
        for above in range(lines):
            rows = torch.empty(T, (lines - above + 1) // 2, wide, out)
            convolution.images(packed)(B - 1, B, above, T, rows.numpy())
            last = expected.unflatten(0, (T, B))[:, -1, :, above : above + rows.shape[1]]
            assert torch.equal(rows.permute(0, 3, 1, 2), last)


@torch.no_grad()
def test_currents_of_bits_with_bits_added():
    T, B, C = 6, 5, 32
    (packed, values), (shortcut, other) = fired(T, B, C, 7, 5), fired(T, B, 48, 7, 5, seed=1)
    weight, bias = torch.randn(48, C, 3, 3) / 5, torch.randn(48) / 4
    plain, bits = (
        Deferred(laid_out(weight, bias, Window(padding=(1, 1)), amplitude), x)
        for amplitude, x in ((None, values), (torch.from_numpy(packed.amplitude), packed))
    )
    both, expected = add_deferred([shortcut, bits]), add_deferred([plain, other])
    assert both.shape == expected.shape
    assert torch.equal(both.tensor(), expected.tensor())
    neurons = IF(Params(), torch.rand(48) + 0.3)
    for packed in (False, True):
        wants = Wants(packed=packed)
        pairs = (fire(neurons, x, None, None, wants) for x in (both, expected))
        (found, state), (wished, end) = pairs
        assert torch.equal(unpacked(found.carried), unpacked(wished.carried))
        assert same(state, end)


@given(st.lists(channels, min_size=1, max_size=3))
def test_joined_channels(sizes):
    packed, values = zip(*(fired(3, 2, C, 4, 3, seed=k) for k, C in enumerate(sizes)), strict=True)
    found = concatenated(packed)
    assert torch.equal(found.tensor(), torch.cat(values, 2))
    amplitude = torch.from_numpy(found.amplitude)
    weight = torch.randn(20, sum(sizes), 3, 3)  # it reads to the last word, and beyond
    convolution = laid_out(weight, None, Window(padding=(1, 1)), amplitude)
    expected = laid_out(weight, None, Window(padding=(1, 1)))(torch.cat(values, 2).flatten(0, 1))
    assert torch.equal(convolution(found), expected)
