from itertools import product

import pytest
import torch
from helpers.layers import VARIANTS, layer, parts, run, same

from snnconv.engine.dispatch import compiled, fire
from snnconv.engine.layer_output import Wants
from snnconv.neurons.base import NEURONS
from snnconv.testing.neurons import tensors

LEARNING = [n for n in NEURONS.names() if compiled(NEURONS.load(n), True) is not None]
KINDS = [(n, p) for n in LEARNING for p in VARIANTS[n]]
T, B, C = 6, 3, 5


def images(channels_last):
    currents = torch.randn(T * B, C, 4, 7) + 0.3
    if channels_last:
        currents = currents.contiguous(memory_format=torch.channels_last)
    return currents.unflatten(0, (T, B))


CURRENTS = {
    "flat": lambda: torch.randn(T, B, C) + 0.3,
    "images": lambda: images(False),
    "channels-last": lambda: images(True),
    "double": lambda: torch.randn(T, B, C, 9, dtype=torch.float64),
}


POTENTIALS = ("potential", "after", "dendrite", "soma")
"""What a gradient passes through from step to step, as the kinds' states call it."""


MIXED = {"lm-ht"}
"""Kinds whose gradient by a current is a sum over steps."""


def learned(neurons):
    """The parameters that a gradient is asked for; MSAT's V_T by layer learns nothing."""
    return [parameter for parameter in neurons.parameters() if parameter.requires_grad]


def gradients(neurons, run_it, currents, potentials, weights, masks, counted):
    """Everything that comes out of two chunks, and the gradients of a function of all of it."""
    currents = currents.detach().requires_grad_()
    state, out = neurons.initial(currents[0]), []
    fields = [name for name in POTENTIALS if name in state._fields]
    starts = [(potentials * (k + 1)).detach().requires_grad_() for k in range(len(fields))]
    state = state._replace(**dict(zip(fields, starts, strict=True)))
    for part, mask in zip(currents.split(4 if neurons.causal else T), masks, strict=False):
        spikes, state = run_it(neurons, part, state, mask)
        out.append(spikes)
    values = torch.cat([spikes.values for spikes in out])
    counts = torch.cat([spikes.counts for spikes in out])
    ends = [getattr(state, name) for name in fields]
    loss = (weights * values).sum() + sum((weights[0] * end).sum() for end in ends)
    if counted:
        loss = loss + (weights.square() * counts).sum()
    wanted = [currents, *starts, *learned(neurons)]
    state = tuple(x.detach() if isinstance(x, torch.Tensor) else x for x in state)
    return counts, values, state, torch.autograd.grad(loss, wanted, materialize_grads=True)


def test_these_neurons_have_a_compiled_gradient():
    assert set(LEARNING) >= {"if", "lif", "lm-h", "lm-ht", "msat"}


@pytest.mark.parametrize(("name", "params"), KINDS)
@pytest.mark.parametrize("shape", CURRENTS)
def test_values_and_gradients_are_those_of_the_neuron(name, params, shape):
    for masked, counted in product((False, True), (False, True)):
        check(name, params, CURRENTS[shape](), masked, counted)


def check(name, params, currents, masked, counted):
    """Compare what the compiled scan gives with what autograd finds in the neuron's own file."""
    neurons = layer(name, torch.rand(C) + 0.3, currents.dtype, T, **params)
    with torch.no_grad():
        for parameter in learned(neurons):
            parameter += 0.3 * torch.randn(parameter.shape)
    keep = (torch.rand(currents.shape) < 0.6).to(currents.dtype)
    masks = keep.split(4 if neurons.causal else T) if masked else (None, None)
    potentials = torch.rand_like(currents[0])
    weights = torch.randn_like(currents)
    given = (currents, potentials, weights, masks, counted)

    def reference(neurons, part, state, mask):
        return neurons.run(part, state, mask)

    expected = gradients(neurons, reference, *given)
    exact = len(expected[3]) - len(learned(neurons))
    assert expected[3][0].any()
    assert all(theirs.any() for theirs in expected[3][exact:])
    found = gradients(neurons, run, *given)
    assert same(found[:3], expected[:3])
    pairs = list(zip(found[3], expected[3], strict=True))
    assert all(same(*pair) for pair in pairs[name in MIXED : exact])
    # sums over steps, and those over neurons, in an order of their own
    for ours, theirs in [*pairs[: name in MIXED], *pairs[exact:]]:
        torch.testing.assert_close(ours, theirs)


def by_itself(neurons, *given):
    """As the neuron's own file has it."""
    return neurons.run(*given)


FIRST = [(name, VARIANTS[name][0]) for name in LEARNING]
"""A layer of each kind."""


def test_compiled_scans_are_taken_where_they_can_be():
    for name, params in FIRST:
        for dtype, taken in ((torch.float32, True), (torch.float64, False)):
            currents = torch.randn(3, 2, 30, dtype=dtype).requires_grad_()
            spikes, _ = run(layer(name, 0.7, dtype, 3, **params), currents, None, None)
            made_by = spikes.values.grad_fn.name()
            assert (made_by == "_ScanBackward") is taken, made_by


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("name", "params"), FIRST)
@pytest.mark.usefixtures("smallest_pieces")
def test_threads_change_no_gradient(name, params, threads):
    currents, before = torch.randn(6, 3, 5, 31, 37).requires_grad_(), torch.get_num_threads()
    neurons, found = layer(name, 1.0, torch.float32, 6, **params), []
    for n in (1, threads):
        torch.set_num_threads(n)
        try:
            spikes, _ = run(neurons, currents, None, None)
            loss = (spikes.values * currents.detach()).sum()
            found.append(torch.autograd.grad(loss, [currents, *learned(neurons)]))
        finally:
            torch.set_num_threads(before)
    assert same(*found)
    assert all(gradient.any() for gradient in found[0])


@pytest.mark.parametrize(("name", "params"), FIRST)
def test_only_some_results_need_a_gradient(name, params):
    neurons = layer(name, 1.0, torch.float32, 4, **params)
    for wanted in (
        lambda s, end: s.values[2],
        lambda s, end: s.counts[1],
        lambda s, end: tensors(end)[0],
    ):
        grads = []
        for how in (run, by_itself):
            torch.manual_seed(0)
            currents = torch.randn(4, 2, 30).requires_grad_()
            result = wanted(*how(neurons, currents, neurons.initial(currents[0]), None))
            grads.append(torch.autograd.grad(result.sum(), currents)[0])
        torch.testing.assert_close(*grads)
        assert name in MIXED or torch.equal(*grads)
        assert grads[0].any()


@pytest.mark.parametrize(("name", "params"), FIRST)
def test_constant_currents_sum_their_gradient(name, params):
    neurons = layer(name, 0.7, torch.float32, 5, **params)
    grads = []
    for how in (run, by_itself):
        torch.manual_seed(0)
        current = torch.randn(1, 2, 30).requires_grad_()
        given = current.expand(5, -1, -1)
        spikes, _ = how(neurons, given, neurons.initial(given[0]), None)
        grads.append(torch.autograd.grad(spikes.values.sum(), [current, *learned(neurons)]))
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert name in MIXED or torch.equal(grads[0][0], grads[1][0])


@pytest.mark.parametrize(("name", "params"), FIRST)
def test_what_does_not_learn_changes_no_gradient_of_currents(name, params):
    grads = []
    for learns in (True, False):
        torch.manual_seed(0)
        neurons = layer(name, 0.7, torch.float32, 4, **params).requires_grad_(learns)
        currents = torch.randn(4, 2, 300).requires_grad_()
        spikes, _ = run(neurons, currents, None, None)
        spikes.values.square().sum().backward()
        grads.append(currents.grad)
        assert all((x.grad is not None) is learns for x in neurons.parameters())
    assert torch.equal(*grads)
    assert grads[0].any()


@pytest.mark.parametrize(("name", "params"), FIRST)
@pytest.mark.parametrize("learns", [True, False])
def test_counts_that_are_not_asked_for_change_nothing_else(name, params, learns):
    neurons, found = layer(name, 0.7, torch.float32, 4, **params), []
    for counted in (True, False):
        torch.manual_seed(0)
        currents = torch.randn(4, 2, 300).requires_grad_(learns)
        with torch.set_grad_enabled(learns):
            output, state = fire(neurons, currents, None, None, Wants(counts=counted))
        if learns:
            output.values.square().sum().backward()
        assert (output.counts is not None) == counted
        found.append((output.values, parts(state), currents.grad))
    assert same(*found)


@pytest.mark.parametrize(("name", "params"), KINDS)
def test_currents_of_another_type_than_the_threshold_keep_theirs(name, params):
    neurons = layer(name, 0.7, torch.float32, 3, **params)
    currents = torch.randn(3, 2, 30).double().requires_grad_()
    spikes, state = run(neurons, currents, None, None)
    (gradient,) = torch.autograd.grad(spikes.values.sum(), currents)
    assert {x.dtype for x in (*spikes, *tensors(state), gradient)} == {torch.float64}
