import math

import pytest
import torch
from helpers.layers import layer, same
from pydantic import ValidationError
from spikingjelly.activation_based.neuron import LIFNode

from snnconv.errors import UsageError
from snnconv.neurons.lm_h import Params


def lm_h(theta=1.0, steps=1, dtype=torch.float64, **params):
    return layer("lm-h", theta, dtype, steps, **params)


def set_to(neurons, mu_d=0.0, mu_s=0.0, lambda_s=1.0, lambda_d=1.0):
    """Give the scalars values, one a layer or one a step."""
    with torch.no_grad():
        for name, value, middle in (
            ("mu_d", mu_d, 0),
            ("mu_s", mu_s, 0),
            ("lambda_s", lambda_s, 1),
            ("lambda_d", lambda_d, 1),
        ):
            share = torch.as_tensor(value, dtype=torch.float64) - middle + 0.5
            getattr(neurons, name).copy_((share / (1 - share)).log())
    return neurons


def by_hand(currents, theta, v0, mu_d, mu_s, lambda_s, lambda_d):
    """Spikes, and both potentials after each step, for one neuron."""
    dendrite, soma, rows = 0.0, v0 * theta, []
    for t, current in enumerate(currents):
        dendrite = mu_d[t] * dendrite + mu_s[t] * soma + current
        before = lambda_s[t] * soma + lambda_d[t] * dendrite
        fired = before >= theta
        soma = before - theta * fired
        rows.append((int(fired), dendrite, soma))
    return rows


@pytest.mark.parametrize("scalars", ["layer", "step"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("v0", [0.0, 0.5])
def test_at_the_start_it_is_if(scalars, dtype, v0):
    currents, theta = torch.randn(16, 5, 4, 7, dtype=dtype), torch.rand(4) + 0.1
    keep = (torch.rand(currents.shape) < 0.7).to(dtype)
    for mask in (None, keep):
        ours, state = lm_h(theta, 16, dtype, scalars=scalars, v0=v0)(currents, None, mask)
        theirs, other = layer("if", theta, dtype, v0=v0)(currents, None, mask)
        assert same(tuple(ours), tuple(theirs))
        assert torch.equal(state.soma, other.potential)
        assert 0.05 < theirs.counts.mean() < 0.9


def test_at_the_start_its_gradients_are_those_of_if():
    currents = torch.randn(8, 5, 4).double()
    weights = torch.randn_like(currents)
    found = []
    for neurons in (lm_h(0.7, reset="through"), layer("if", 0.7, torch.float64)):
        given = currents.clone().requires_grad_()
        (weights * neurons(given)[0].values).sum().backward()
        found.append(given.grad)
    assert torch.equal(*found)


@pytest.mark.parametrize("leak", [0.6, 0.75, 0.9])
def test_with_a_leak_it_is_lif(leak):
    currents, theta = torch.randn(40, 300).double() + 0.3, 0.8
    (counts, _), state = lm_h(theta, leak=leak, v0=0)(currents[:, :, None])
    potential, expected = torch.zeros(300).double(), []
    for current in currents:
        potential = leak * potential + current
        fired = (potential >= theta).double()
        potential = potential - fired * theta
        expected.append(fired)
    assert torch.equal(counts[..., 0], torch.stack(expected))
    # the leak is the sigmoid of a float32
    torch.testing.assert_close(state.soma[:, 0], potential, rtol=0, atol=1e-6)


@pytest.mark.parametrize("leak", [0.6, 0.75, 0.9])
def test_with_a_leak_its_spikes_are_those_of_spikingjelly(leak):
    node = LIFNode(
        tau=1 / (1 - leak), v_threshold=0.8, v_reset=None, decay_input=False, step_mode="m"
    )
    currents = torch.randn(40, 3, 100).double() + 0.3
    (counts, _), state = lm_h(0.8, leak=leak, v0=0)(currents)
    theirs = node(currents)
    assert torch.equal(counts, theirs)
    torch.testing.assert_close(state.soma, node.v, rtol=0, atol=1e-6)
    assert 0.1 < theirs.mean() < 0.9


def test_two_steps_in_numbers():
    # theta 2, v_S = 1 at first: v_D = 1/4*1 + 1 = 5/4, m = 5/4*1 + 3/4*5/4 = 35/16: a spike,
    # v_S = 3/16; then v_D = -1/4*5/4 + 1/4*3/16 + 2 = 111/64, m = 5/4*3/16 + 3/4*111/64 = 393/256
    neurons = set_to(lm_h(2.0), mu_d=-0.25, mu_s=0.25, lambda_s=1.25, lambda_d=0.75)
    (counts, values), state = neurons(torch.tensor([1.0, 2.0]).double().view(2, 1, 1))
    assert counts.flatten().tolist() == [1, 0]
    assert values.flatten().tolist() == [2, 0]
    assert state.dendrite.item() == pytest.approx(111 / 64, abs=1e-6)
    assert state.soma.item() == pytest.approx(393 / 256, abs=1e-6)


@pytest.mark.parametrize("scalars", ["layer", "step"])
def test_many_steps_by_hand(scalars):
    T, theta = 16, 0.7
    generator = torch.Generator().manual_seed(3)
    drawn = 0.8 * torch.rand(4, T, generator=generator).double() - 0.4
    if scalars == "layer":
        drawn = drawn[:, :1]
    drawn[2:] += 1
    currents = (torch.randn(T, generator=generator).double() + 0.6) * theta
    neurons = set_to(lm_h(theta, T, scalars=scalars), *drawn)
    rows = by_hand(currents.tolist(), theta, 0.5, *drawn.expand(4, T).tolist())
    state, found = None, []
    for current in currents:
        (counts, _), state = neurons(current.view(1, 1, 1), state)
        found.append((counts.item(), state.dendrite.item(), state.soma.item()))
    for one, other in zip(found, rows, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert 2 < sum(fired for fired, *_ in rows) < T


def test_charge_is_conserved_up_to_what_the_slides_call_delta():
    # sum of x = sum of I - sum of (1 - lambda_D)*v_D[t] - mu_D*v_D[t-1]
    #                    - sum of v_S[t] - (lambda_S + mu_S)*v_S[t-1]
    T, theta = 20, 0.7
    neurons = set_to(lm_h(theta), mu_d=0.3, mu_s=-0.2, lambda_s=0.8, lambda_d=1.3)
    currents = torch.randn(T, 4, 50).double() + 0.3
    state = neurons.initial(currents[0])
    dendrites, somata, values = [state.dendrite], [state.soma], []
    for current in currents:
        spikes, state = neurons(current[None], state)
        dendrites.append(state.dendrite)
        somata.append(state.soma)
        values.append(spikes.values[0])
    mu_d, mu_s, lambda_s, lambda_d = neurons.scalars()[0].double()
    dendrite, soma = torch.stack(dendrites), torch.stack(somata)
    lost = (1 - lambda_d) * dendrite[1:] - mu_d * dendrite[:-1]
    lost = lost + soma[1:] - (lambda_s + mu_s) * soma[:-1]
    torch.testing.assert_close(torch.stack(values).sum(0), (currents - lost).sum(0))
    # and the dendrite is a sum over all that came before
    powers = mu_d ** torch.arange(T - 1, -1, -1).double()
    seen = mu_s * soma[:-1] + currents
    torch.testing.assert_close(dendrite[-1], torch.einsum("t,tbn->bn", powers, seen))


def test_the_surrogate_on_a_grid():
    theta = torch.tensor(0.8).double()
    potential = torch.linspace(-1, 3, 1601).double().requires_grad_()
    spike = layer("lm-h").spike
    (found,) = torch.autograd.grad((spike(potential, theta) * theta).sum(), potential)
    expected = (1 - ((potential - theta) / theta).abs()).clamp(min=0)
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-12)
    # and the neuron's own, at its first step: lambda_D*H'(lambda_S*v0*theta + lambda_D*I)
    neurons = set_to(lm_h(0.8), lambda_s=0.9, lambda_d=1.2)
    currents = potential.detach().view(1, 1, -1).requires_grad_()
    (found,) = torch.autograd.grad(neurons(currents)[0].values.sum(), currents)
    before = 0.9 * 0.4 + 1.2 * currents.detach()
    expected = 1.2 * (1 - ((before - theta) / theta).abs()).clamp(min=0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scalars", ["layer", "step"])
@pytest.mark.parametrize("reset", ["detached", "through"])
def test_gradients_against_the_formula(reset, scalars):
    T, theta = 5, 0.8
    neurons = lm_h(theta, T, scalars=scalars, reset=reset)
    names = ("mu_d", "mu_s", "lambda_s", "lambda_d")
    with torch.no_grad():
        for parameter in neurons.parameters():
            parameter += 0.5 * torch.rand(parameter.shape)
    currents = (0.8 * torch.rand(T, 4, 9)).double().requires_grad_()
    (_, values), _ = neurons(currents)
    weights = torch.randn_like(values)
    wanted = [currents, *(getattr(neurons, name) for name in names)]
    found = torch.autograd.grad((weights * values).sum(), wanted)

    mu_d, mu_s, lambda_s, lambda_d = (
        (torch.sigmoid(getattr(neurons, name)) + add).expand(T).double()
        for name, add in zip(names, (-0.5, -0.5, 0.5, 0.5), strict=True)
    )
    dendrite, soma, out = torch.zeros(4, 9).double(), torch.full((4, 9), 0.4).double(), []
    for t in range(T):
        dendrite = mu_d[t] * dendrite + mu_s[t] * soma + currents[t]
        before = lambda_s[t] * soma + lambda_d[t] * dendrite
        slope = (1 - ((before - theta) / theta).abs()).clamp(min=0).detach()
        x = theta * (before >= theta) + slope * (before - before.detach())
        soma = before - (x.detach() if reset == "detached" else x)
        out.append(x)
    expected = torch.autograd.grad((weights * torch.stack(out)).sum(), wanted)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
        assert theirs.abs().max() > 0


def test_the_scalars_at_the_start_and_their_bounds():
    found = lm_h(steps=3, scalars="step", leak=0.9).scalars()
    torch.testing.assert_close(found, torch.tensor([[0, 0, 0.9, 1]]).expand(3, 4))
    assert lm_h().scalars().tolist() == [[0, 0, 1, 1]]
    neurons = lm_h()
    with torch.no_grad():
        for parameter in neurons.parameters():
            parameter.fill_(-math.inf)
    assert neurons.scalars().tolist() == [[-0.5, -0.5, 0.5, 0.5]]


def test_steps_beyond_those_it_has_scalars_for():
    currents = torch.zeros(3, 1, 1).double()
    _, state = lm_h(steps=3, scalars="step")(currents)
    with pytest.raises(UsageError, match="each of T = 3"):
        lm_h(steps=3, scalars="step")(currents, state)
    assert lm_h(steps=3)(currents, state)[1].steps == 6


def test_which_of_them_run_for_one_T_only():
    assert [Params(scalars=kind).fixed for kind in ("layer", "step")] == [False, True]


@pytest.mark.parametrize("bad", [{"leak": 0.5}, {"scalars": "neuron"}, {"reset": ""}, {"v0": 1}])
def test_parameters_that_can_not_be(bad):
    with pytest.raises(ValidationError):
        Params(**bad)


def test_what_it_learns_is_told_within_its_bounds():
    found = lm_h(leak=0.9, steps=2, scalars="step").learnables()
    start = {"mu_D": [0.0] * 2, "mu_S": [0.0] * 2, "lambda_S": [0.9] * 2, "lambda_D": [1.0] * 2}
    assert found.keys() == start.keys()
    for name, values in found.items():
        assert values.tolist() == pytest.approx(start[name])
    neurons = set_to(lm_h(), mu_d=0.25, mu_s=-0.125, lambda_s=0.75, lambda_d=1.25)
    found = {name: float(values) for name, values in neurons.learnables().items()}
    assert found == pytest.approx(
        {"mu_D": 0.25, "mu_S": -0.125, "lambda_S": 0.75, "lambda_D": 1.25}
    )
    with torch.no_grad():
        neurons.lambda_s.fill_(1000.0)
    assert float(neurons.learnables()["lambda_S"]) == 1.5
