import math

import numpy as np
import pytest
import torch
from helpers.layers import VARIANTS, layer, run, same
from spikingjelly.activation_based import surrogate as theirs

from snnconv.core.metadata import SurrogateInfo
from snnconv.errors import UsageError
from snnconv.neurons.base import NEURONS
from snnconv.neurons.surrogates.base import SURROGATES, make_surrogate
from snnconv.testing.base import described, variants


def surrogate(name, layer="", **params):
    return make_surrogate(SurrogateInfo(name=name, params=params), layer)


def dspike(u, b):
    z = (u + 1) / 2
    slope = b * (1 - torch.tanh(b * (z - 0.5)) ** 2) / (2 * math.tanh(b / 2)) / 2
    return torch.where((z >= 0) & (z <= 1), slope, 0)


def sigmoid(u, alpha):
    y = torch.sigmoid(alpha * u)
    return alpha * y * (1 - y)


FORMULAS = {
    "asgl": lambda u, w: (u.abs() < w / 2).double() / w,
    "atan": lambda u, alpha: alpha / 2 / (1 + (math.pi / 2 * alpha * u) ** 2),
    "dspike": dspike,
    "rectangle": lambda u, a: (u.abs() < a).double() / (2 * a),
    "sigmoid": sigmoid,
    "triangle": lambda u, g: (g - u.abs()).clamp(min=0) / g**2,
}
OWN = [(name, p) for name in FORMULAS for p in variants(SURROGATES.load(name).params_type)]
FIRST = [(name, {}) for name in FORMULAS]


def slope(spike, potential, threshold):
    potential = potential.clone().requires_grad_()
    return torch.autograd.grad(spike(potential, threshold).sum(), potential)[0]


def test_these_are_the_surrogates():
    assert SURROGATES.own() == sorted(FORMULAS)
    for name in FORMULAS:
        described(SURROGATES.load(name).params_type)


@pytest.mark.parametrize("V", [0.25, 3.0])
@pytest.mark.parametrize(("name", "params"), OWN)
def test_the_slope_is_that_of_the_formula(name, params, V):
    made_of = surrogate(name, **params).eval().double()
    v = (torch.arange(-300, 900, dtype=torch.float64) / 256 + 1e-4) * V
    found = slope(made_of, v, torch.tensor([V]).double())
    formula = FORMULAS[params.get("curve", name)]
    value = 1 / made_of.value if "curve" in params else made_of.value  # a width, not a steepness
    torch.testing.assert_close(found, formula((v - V) / V, value) / V)
    if formula not in (FORMULAS["atan"], sigmoid):  # their tails are longer than this
        area = found.sum() * (v[1] - v[0])
        assert area.item() == pytest.approx(1, abs=2e-2)


@pytest.mark.parametrize(("name", "params"), [x for x in OWN if x[0] != "asgl"])
def test_one_number_has_the_bits_of_a_tensor(name, params):
    made_of = surrogate(name, **params)
    u = torch.linspace(-2.5, 2.5, 401)
    numbers = tuple(map(np.float32, made_of.numbers()))
    each = [type(made_of).derivative_at(np.float32(x), numbers) for x in u.numpy()]
    assert {type(x) for x in each} == {np.float32}
    assert torch.equal(made_of.derivative(u), torch.from_numpy(np.array(each)))


@pytest.mark.parametrize(
    ("name", "params", "other"),
    [
        ("sigmoid", {"alpha": 3.0}, theirs.Sigmoid(3.0)),
        ("atan", {"alpha": 3.0}, theirs.ATan(3.0)),
        ("triangle", {"width": 0.5}, theirs.PiecewiseQuadratic(2.0)),
        ("rectangle", {"width": 0.25}, theirs.Rect(2.0)),
    ],
)
def test_spikes_and_slopes_are_those_of_spikingjelly(name, params, other):
    v, V = torch.randn(1000, dtype=torch.float64), torch.tensor(1.0).double()
    ours = surrogate(name, **params)
    assert torch.equal(ours(v, V), other(v - V))
    torch.testing.assert_close(slope(ours, v, V), slope(lambda v, V: other(v - V), v, V))


@pytest.mark.parametrize(("name", "params"), FIRST)
def test_it_fires_from_the_threshold_on(name, params):
    potential = torch.tensor([-1.0, 0.7499, 0.75, 0.7501, 5.0])
    fired = surrogate(name, **params).eval()(potential, torch.tensor(0.75))
    assert fired.tolist() == [0, 0, 1, 1, 1]


def test_a_threshold_a_neuron():
    spike = surrogate("triangle")
    v, V = torch.randn(4, 3), torch.rand(4, 3) + 0.1
    each = [slope(spike, a, b) for a, b in zip(v.flatten(), V.flatten(), strict=True)]
    assert torch.equal(slope(spike, v, V), torch.stack(each).reshape(4, 3))


def test_the_threshold_takes_no_gradient():
    v, V = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    fired = surrogate("triangle")(v, V)
    assert torch.autograd.grad(fired.sum(), V, allow_unused=True) == (None,)


def test_a_threshold_that_underflowed_has_no_slope():
    for name in FORMULAS:
        if name != "asgl":  # its width learns, so its formula is differentiated as it is
            found = slope(surrogate(name), torch.tensor([-5.0, 0.0, 5.0]), torch.zeros(3))
            assert found.tolist() == [0, 0, 0]


def test_functional_transforms_know_it():
    spike = surrogate("triangle")
    found = torch.func.grad(lambda v: spike(v, torch.tensor(1.0)).sum())(torch.tensor([0.5, 3.0]))
    assert found.tolist() == [0.5, 0]


# Layers of their own


def test_a_layer_may_have_a_value_of_its_own():
    values = [surrogate("triangle", at, width=2.0, layers={"b": 0.5}).value for at in "ab"]
    assert values == [2.0, 0.5]


# ASGL


def test_asgl_sends_parts_of_spikes_in_training_only():
    v, V = torch.linspace(-1, 3, 4000), torch.tensor(1.0)
    spike = surrogate("asgl", smooth=0.3, width=2.0)
    smooth = ((v - 1) / 2 + 0.5).clamp(0, 1)
    torch.manual_seed(0)
    sent = spike(v, V).detach()
    parts = sent != (v >= V)
    assert torch.equal(sent[parts], smooth[parts])
    assert parts.float().mean().item() == pytest.approx(0.3 * 0.5, abs=0.02)  # 0.5 lie on the slope
    assert torch.equal(spike.eval()(v, V), (v >= V).float())


@pytest.mark.parametrize("smooth", [0.0, 0.3])
@pytest.mark.parametrize("curve", ["ramp", "sigmoid"])
def test_asgl_is_the_function_of_its_authors(curve, smooth):
    """What they send, with a mask of the same draws; its gradients by the potential and width."""
    u, out = torch.randn(2, 500, dtype=torch.float64)
    spike = surrogate("asgl", smooth=smooth, width=2.0, curve=curve).double()
    ours, theirs = u.clone().requires_grad_(), u.clone().requires_grad_()
    alpha = torch.tensor([-math.log(2)], dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    sent = spike(ours + 1, torch.tensor(1.0).double())
    torch.manual_seed(1)
    mask = (torch.rand(500, dtype=torch.float64) >= smooth).double()
    along = alpha.exp() * theirs
    phi = torch.sigmoid(along) if curve == "sigmoid" else torch.clamp(along + 0.5, 0, 1)
    expected = phi + (((theirs >= 0).double() - phi) * mask).detach()
    torch.testing.assert_close(sent, expected)
    found = torch.autograd.grad((sent * out).sum(), (ours, spike.alpha))
    torch.testing.assert_close(found, torch.autograd.grad((expected * out).sum(), (theirs, alpha)))
    assert all(gradient.any() for gradient in found)


# Neurons


def test_neurons_that_do_not_state_their_own_take_any():
    taking = [n for n in NEURONS.own() if not NEURONS.load(n).surrogate_of_its_own]
    assert set(taking) >= {"cos", "if", "lif", "lm-h", "msat", "srp"}
    for name in taking:
        neurons = layer(name, 0.75, torch.float64, 4, **VARIANTS[name][0])
        neurons.train_by(SurrogateInfo(name="rectangle", params={"width": 0.01}), "")
        currents = torch.full((4, 1, 1), 0.2).double().requires_grad_()
        (spikes, _) = neurons(currents)
        (found,) = torch.autograd.grad(spikes.counts.sum(), currents, allow_unused=True)
        assert found is None or not found.any(), name  # no potential comes near the threshold


def test_neurons_with_their_own_refuse_another():
    with pytest.raises(UsageError, match="can't be trained by another surrogate"):
        layer("lm-ht").train_by(SurrogateInfo(name="atan", params={}), "")


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["dspike", "asgl"])
def test_the_engine_takes_it(name):
    """Compiled where it has code for one number, else as the neuron's file has it."""
    results = []
    for how in (run, lambda neurons, *given: neurons.run(*given)):
        torch.manual_seed(0)
        neurons = layer("lif", torch.tensor([0.7, 1.0, 1.3]))
        neurons.train_by(SurrogateInfo(name=name, params={}), "")
        currents = torch.randn(5, 2, 3, 7).requires_grad_()
        spikes, _ = how(neurons, currents, neurons.initial(currents[0]), None)
        (spikes.values * currents.detach()).sum().backward()
        compiled = spikes.values.grad_fn.name() == "_ScanBackward"
        results.append((spikes.values.detach(), currents.grad))
        assert compiled is (how is run and name != "asgl")
    assert same(*results)
    assert results[0][1].any()
