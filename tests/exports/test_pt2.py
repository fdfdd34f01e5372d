"""An exported program, run T times, is the simulation, bit for bit; for a batch of any size."""

import pytest
import torch
from helpers.exports import PLACES, T, over_places, subject, subject_of, trained_stepwise
from helpers.networks import IMAGE, NETS

from snnconv.core.metadata import Parameters
from snnconv.exports.parts import step
from snnconv.exports.pt2 import Pt2
from snnconv.simulation.simulate import simulate


def test_a_program_is_the_network_step_by_step(tmp_path):
    one, form, x = (
        subject(NETS["max"](), neuron="msat"),
        Pt2(Parameters()),
        torch.rand(1, 5, *IMAGE),
    )
    assert form.obstacles(one) == []
    (content,) = form.files(one, "net").values()
    file = tmp_path / "net.pt2"
    file.write_bytes(content)
    assert str(tmp_path).encode() not in content
    samples, values = torch.arange(5), {}

    def observe(name, start, output):
        values.setdefault(name, []).append(output.values)

    own = simulate(one.network, x, samples, T, 1, observe)
    found = form.run(file, one, x, samples, T, 1)
    assert torch.equal(found.logits, own)
    assert own.abs().max() > 0
    for name, each in found.spikes.items():
        assert torch.equal(each, torch.cat(values[name]))
    order = torch.tensor([3, 0, 4, 1, 2])
    assert torch.equal(form.run(file, one, x[:, order], samples, T, 1).logits, own[:, order])


@pytest.mark.parametrize("neuron", ["lif", "glif"])
def test_a_step_may_know_which_it_is(neuron):
    """Factors and conductances of steps, gates, and norms of potentials."""
    stepped(subject_of(trained_stepwise(neuron)), torch.rand(1, 3, *IMAGE))


def test_what_is_traced_rounds_as_the_network_does():
    """Sums over places go in the same order of memory."""
    stepped(subject(over_places(), PLACES, neuron="msat"), torch.rand(1, 3, *PLACES))


def stepped(one, x):
    """What is traced gives the network's logits, bit for bit."""
    assert Pt2(Parameters()).obstacles(one) == []
    own = simulate(one.network, x, torch.arange(3), T, 1)
    traced = step.traced(one)
    states, total = [each.new_zeros(3, *each.shape[1:]) for each in traced.arguments[2]], 0
    with torch.no_grad():
        for t in range(T):
            currents, states, _ = traced.module(x[0], torch.tensor(t), states)
            total = total + currents.double()
            assert torch.equal(total / (t + 1), own[t])
