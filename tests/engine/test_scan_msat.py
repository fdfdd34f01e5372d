import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from snnconv.core.jit import compiled
from snnconv.engine.neurons.adapting import look, settle
from snnconv.engine.simd import LANES

small = st.floats(0, 4, width=32)
signed = st.floats(-4, 4, width=32)
reach = st.floats(-200, 200, width=32)
dtts = st.none() | st.tuples(st.floats(0.125, 8, width=32), small, signed, signed)
dets = st.none() | st.tuples(st.floats(-8, -0.0625, width=32), small)


@compiled
def looked(current, after, before, mean, theta, inverse, rise, near, sees_input, dtt, det):
    places = (current.ctypes.data, after.ctypes.data, before.ctypes.data, mean.ctypes.data)
    others = (theta.ctypes.data, inverse.ctypes.data, rise.ctypes.data, near.ctypes.data)
    look(len(current) // LANES, *places, *others, sees_input, dtt, det)


@compiled
def settled(before, value, after, mean, share, out):
    places = (before.ctypes.data, value.ctypes.data, after.ctypes.data, mean.ctypes.data)
    settle(len(before) // LANES, *places, share, out.ctypes.data)


def single(constants, number):
    return tuple(np.float32(x) for x in constants or [0] * number)


def near(current, after, before, mean, theta, dtt, det, sees_input=False):
    """Which may fire, the potentials, and the rises; of numbers that are the same in all lanes."""
    given = [np.full(LANES, x, np.float32) for x in (current, after, before, mean, theta)]
    given += [1 / given[-1], np.zeros(LANES, np.float32)]
    found = np.zeros(LANES // 8, np.uint8)
    looked(*given, found, sees_input, single(dtt, 4), single(det, 2))
    bits = np.unpackbits(found)
    assert bits.all() or not bits.any()
    return bool(bits[0]), given[2][0], given[6][0]


def sigmoid(x):
    return 1 / (1 + math.exp(-min(max(x, -60), 60)))


def threshold(deviation, rise, dtt, det):
    """Over theta, as the neuron's file has it, in float64."""
    drive = 0.0
    if dtt is not None:
        z = deviation * dtt[0]
        softplus = max(z, 0) + math.log1p(math.exp(-abs(z)))
        drive += softplus * dtt[1] + deviation * dtt[2] + dtt[3]
    if det is not None:
        drive += math.exp(min(max(rise * det[0], -60), 60)) * det[1]
    return sigmoid(drive)


@given(reach, reach, dtts, dets, st.sampled_from([0.25, 1, 8]))
def test_who_is_at_its_threshold_is_looked_at(deviation, rise, dtt, det, theta):
    """At v = 0, with the mean, the input and the step before as they have to be for that."""
    least = np.float32(threshold(deviation, rise, dtt, det) * theta)
    scale = np.float32(theta)
    mean = -np.float32(deviation) * scale
    found, potential, risen = near(
        least, 0, least - np.float32(rise) * scale, mean, theta, dtt, det
    )
    assert potential == least
    # what was taken from the potential has a rounding of its own
    actual = threshold(-float(mean) / theta, float(risen) / theta, dtt, det) * theta
    assert found or float(least) < actual * (1 - 1e-6)


@given(reach, reach, reach, st.booleans())
def test_potentials_and_rises_are_those_of_the_neuron(current, after, before, sees_input):
    current, after, before = (np.float32(x) for x in (current, after, before))
    _, potential, rise = near(current, after, before, 0, 1, None, None, sees_input)
    assert potential == after + current
    assert rise == (current if sees_input else potential - before)


def test_at_rest_most_neurons_are_spared():
    """Table 2's constants for VGG-16: a threshold of 0.667 theta."""
    dtt, det = (1, 1, 0.03, -1), (-0.2, 1)
    least = threshold(0, 0, dtt, det)
    assert 0.66 < least < 0.67
    assert not near(0, 0.6, 0.6, 0.6, 1, dtt, det)[0]
    assert near(0, least, least, least, 1, dtt, det)[0]


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", range(5))
def test_what_is_no_number_is_looked_at(special, place):
    given = [0.1, 0.2, 0.1, 0.1, 1]
    given[place] = special
    dtt, det = (1, 1, 0.03, -1), (-0.2, 1)
    with np.errstate(all="ignore"):
        found, potential, rise = near(*given, dtt, det)
        numbers = potential, rise, (given[1] - given[3]) / given[4]
    if np.isnan(numbers).any():
        assert found


@given(st.lists(reach, min_size=LANES, max_size=LANES), reach, st.floats(0, 1, width=32))
def test_how_a_step_ends(potentials, mean, share):
    before = np.array(potentials, np.float32)
    value = np.where(before > 0, np.float32(0.7), np.float32(0))
    after, means, share = np.zeros_like(before), np.full_like(before, mean), np.float32(share)
    out, spent = np.full_like(before, 7), value.copy()
    settled(before, value, after, means, share, out)
    assert np.array_equal(out, spent)
    assert not value.any()
    assert np.array_equal(after, before - spent)
    old = np.full_like(before, mean)
    assert np.array_equal(means, old + (after - old) * share)
