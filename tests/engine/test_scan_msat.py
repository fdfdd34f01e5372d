import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from snnconv.engine.scan_msat import below

small = st.floats(0, 4, width=32)
signed = st.floats(-4, 4, width=32)
reach = st.floats(-200, 200, width=32)
dtts = st.none() | st.tuples(st.floats(0.125, 8, width=32), small, signed, signed)
dets = st.none() | st.tuples(st.floats(-8, -0.0625, width=32), small)


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


@given(reach, reach, dtts, dets)
def test_it_is_below_every_threshold(deviation, rise, dtt, det):
    def single(constants):
        return None if constants is None else tuple(np.float32(x) for x in constants)

    found = below(np.float32(deviation), np.float32(rise), single(dtt), single(det))
    assert found <= threshold(deviation, rise, dtt, det)


def test_at_rest_it_is_near_enough_to_spare_most_neurons():
    """Table 2's constants for VGG-16: a threshold of 0.667 theta."""
    dtt = tuple(np.float32(x) for x in (1, 1, 0.03, -1))
    det = tuple(np.float32(x) for x in (-0.2, 1))
    found = below(np.float32(0), np.float32(0), dtt, det)
    assert 0.6 < found < threshold(0, 0, dtt, det)
