import pytest
import torch

from snnconv.neurons.surrogate import spike


def slope(potential, threshold):
    potential = potential.clone().requires_grad_()
    return torch.autograd.grad(spike(potential, threshold).sum(), potential)[0]


def test_it_fires_from_the_threshold_on():
    potential = torch.tensor([-1.0, 0.7499, 0.75, 0.7501, 5.0])
    assert spike(potential, torch.tensor(0.75)).tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("V", [0.25, 1.0, 3.0])
def test_the_slope_is_the_triangle_of_the_docstring(V, dtype):
    v = torch.arange(-256, 1025, dtype=dtype) / 256 * V
    u = (v - V) / V
    expected = torch.where(u.abs() < 1, (1 - u.abs()) / V, 0)
    found = slope(v, torch.tensor([V], dtype=dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)
    assert not found[(v <= 0) | (v >= 2 * V)].any()
    assert found[v == V] == found.max()
    area = found.sum() * (v[1] - v[0])
    assert area.item() == pytest.approx(1, abs=1e-3)


def test_a_threshold_a_neuron():
    v, V = torch.randn(4, 3), torch.rand(4, 3) + 0.1
    each = [slope(a, b) for a, b in zip(v.flatten(), V.flatten(), strict=True)]
    assert torch.equal(slope(v, V), torch.stack(each).reshape(4, 3))


def test_the_gradient_that_comes_in_scales_it():
    v, V = torch.linspace(0, 2, 9, requires_grad=True), torch.tensor(1.0)
    weights = torch.arange(9.0)
    (found,) = torch.autograd.grad((spike(v, V) * weights).sum(), v)
    assert torch.equal(found, weights * slope(v.detach(), V))


def test_the_threshold_takes_no_gradient():
    v, V = torch.ones(3), torch.ones(3, requires_grad=True)
    v.requires_grad_()
    assert torch.autograd.grad(spike(v, V).sum(), V, allow_unused=True) == (None,)


def test_a_threshold_that_underflowed_has_no_slope():
    assert slope(torch.tensor([-5.0, 0.0, 5.0]), torch.zeros(3)).tolist() == [0, 0, 0]


def test_functional_transforms_know_it():
    found = torch.func.grad(lambda v: spike(v, torch.tensor(1.0)).sum())(torch.tensor([0.5, 3.0]))
    assert found.tolist() == [0.5, 0]
