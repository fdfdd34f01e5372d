import pytest
import torch
from helpers.layers import layer
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based.neuron import IFNode

sixteenths = st.integers(-64, 96).map(lambda k: k / 16)
thetas = st.integers(1, 64).map(lambda k: k / 16)


def constant(current, theta, timesteps, v0):
    """Spikes under a constant current."""
    return layer("if", theta, v0=v0)(torch.full((timesteps, 1, 1), current))[0]


@pytest.mark.parametrize("v0", [0, 0.5])
@settings(deadline=None, max_examples=50)
@given(sixteenths, thetas, st.integers(1, 40))
def test_the_count_under_a_constant_current(v0, current, theta, timesteps):
    counts = constant(current, theta, timesteps, v0).counts
    expected = (v0 * theta + timesteps * current) // theta
    assert counts.sum() == min(max(expected, 0), timesteps)


@settings(deadline=None, max_examples=50)
@given(sixteenths, thetas, st.integers(1, 40))
def test_half_a_threshold_to_start_with_gives_the_qcfs_activation(x, theta, timesteps):
    values = constant(x, theta, timesteps, 0.5).values
    quantised = min(max((x * timesteps / theta + 0.5) // 1, 0), timesteps)
    assert values.sum() == theta * quantised


def test_half_a_threshold_is_the_default():
    assert layer("if").params.v0 == 0.5


def test_it_fires_when_the_threshold_is_reached_exactly():
    counts = constant(0.25, 1.0, 8, 0).counts.flatten().tolist()
    assert counts == [0, 0, 0, 1, 0, 0, 0, 1]


def test_what_is_above_the_threshold_is_kept():
    (counts, values), state = layer("if", 2.0, v0=0)(torch.tensor([3.5, 0, 0.5]).view(3, 1, 1))
    assert counts.flatten().tolist() == [1, 0, 1]
    assert values.flatten().tolist() == [2, 0, 2]
    assert state.potential.item() == 0


@pytest.mark.parametrize("theta", [1.0, 0.3, 2.7])
def test_spikes_are_those_of_spikingjelly(theta):
    node = IFNode(v_threshold=theta, v_reset=None, step_mode="m")
    currents = theta * (torch.randn(50, 4, 3, 5) + 0.2)
    theirs = node(currents)
    (counts, _), state = layer("if", theta, v0=0)(currents)
    assert torch.equal(counts, theirs)
    assert torch.equal(state.potential, node.v)
    assert 0.1 < theirs.mean() < 0.9


def test_the_gradient_of_one_step():
    # v = 0.5 + 0.25: the triangle's height there is 1 - 0.25 / 1, and the reset passes it on
    currents = torch.tensor([0.25, 0.0]).view(2, 1, 1).requires_grad_()
    (_, values), _ = layer("if")(currents)
    gradient = torch.autograd.grad(values.sum(), currents)[0].flatten()
    h = 0.75
    assert gradient.tolist() == [h + (1 - h) * h, h]
