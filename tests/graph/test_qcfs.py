import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from snnconv.graph.operations.activation import quantize
from snnconv.neurons.if_ import IF, Params

sixteenths = st.integers(-64, 96).map(lambda k: k / 16)


@given(
    st.lists(sixteenths, min_size=1, max_size=20),
    st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]),
    st.sampled_from([1, 2, 4, 8]),
)
def test_it_is_what_an_if_neuron_puts_out_in_as_many_steps(values, theta, levels):
    x = torch.tensor([values])
    neuron = IF(Params(v0=0.5), torch.tensor([theta]))
    spikes, _ = neuron(x.expand(levels, *x.shape))
    assert torch.equal(quantize(x, torch.tensor([theta]), levels), spikes.values.mean(0))


def by_hand(x, theta, levels):
    """Value, derivative by x and derivative by theta, of one number."""
    u = x * levels / theta + 0.5
    if u < 0:
        return 0.0, 0.0, 0.0
    if u >= levels:
        return theta, 0.0, 1.0
    value = theta * (u // 1) / levels
    return value, 1.0, (value - x) / theta


@pytest.mark.parametrize("levels", [1, 3, 4, 8])
@pytest.mark.parametrize("theta", [0.7, 1.0, 2.5])
def test_values_and_gradients_are_their_formulas_on_a_grid(levels, theta):
    grid = torch.linspace(-1.03, 4.07, 401, dtype=torch.float64)
    x = grid[None].clone().requires_grad_()
    scale = torch.tensor([theta], dtype=torch.float64, requires_grad=True)
    value = quantize(x, scale, levels)
    (to_x,) = torch.autograd.grad(value.sum(), x, retain_graph=True)
    to_theta = torch.stack(
        [torch.autograd.grad(one, scale, retain_graph=True)[0] for one in value[0]]
    )
    expected = torch.tensor([by_hand(v, theta, levels) for v in grid.tolist()]).double()
    for found, column in zip((value[0], to_x[0], to_theta[:, 0]), expected.T, strict=True):
        assert torch.allclose(found, column, atol=1e-7)
    assert set(expected[:, 1].tolist()) == {0.0, 1.0}  # both sides of the clip were seen


def test_a_theta_a_channel_takes_the_gradients_of_its_own():
    x = torch.tensor([[[3.0, 3.0], [3.0, 0.4]]])
    theta = torch.tensor([1.0, 2.0], requires_grad=True)
    value = quantize(x, theta, 2)
    assert value.tolist() == [[[1.0, 1.0], [2.0, 0.0]]]
    value.sum().backward()
    assert theta.grad.tolist() == pytest.approx([2.0, 1.0 + (0.0 - 0.4) / 2])


def test_with_very_many_levels_it_is_a_clip():
    x = torch.tensor([[-0.3, 0.2, 0.55, 3.0]], dtype=torch.float64, requires_grad=True)
    theta = torch.tensor([1.0], dtype=torch.float64)
    assert torch.allclose(quantize(x, theta, 2**30), x.clamp(0, 1), atol=1e-8)
    assert gradcheck(lambda v: quantize(v, theta, 2**30), x, atol=1e-3)


def test_under_bfloat16_levels_stay_exact():
    x = torch.tensor([[0.5, 0.25]], dtype=torch.bfloat16)
    assert quantize(x, torch.tensor([1.0]), 64).dtype is torch.float32
