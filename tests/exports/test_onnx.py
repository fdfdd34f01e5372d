"""An ONNX step, run T times in onnxruntime, is the simulation; so is a network unrolled."""

from dataclasses import replace

import pytest
import torch
from helpers.exports import subject_of as subject
from helpers.exports import trained_stepwise
from helpers.networks import IMAGE, NETS, checkpoint

from snnconv.core.metadata import ConfidenceInfo, DataInfo
from snnconv.exports.onnx import Onnx, Params
from snnconv.exports.parts.step import Count, CountError, traced
from snnconv.neurons.base import NEURONS
from snnconv.simulation.simulate import simulate

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def made(net="max", **how):
    return checkpoint(NETS[net](), theta=0.5, **{"timesteps": 5, **how})


def both(file, folder, params=None, batch=3):
    """What this tool and onnxruntime give, for a batch of another size than the traced one."""
    one, form = subject(file), Onnx(params or Params())
    assert form.obstacles(one) == []
    path = folder / "net.onnx"
    path.write_bytes(form.files(one, "net")[".onnx"])
    assert b".py" not in path.read_bytes(), "where the tracer found the code"
    x, samples, T = torch.rand(1, batch, *IMAGE), torch.arange(batch), form.timesteps(one)
    values = {}

    def observe(name, start, output):
        values[name] = output.values

    own = simulate(one.network, x, samples, T, T, observe)
    return own, values, form.run(path, one, x, samples, T, T)


def agree(own, values, other):
    """Few potentials lie at a threshold but for rounding: weights and inputs are no multiples."""
    torch.testing.assert_close(other.logits, own[-len(other.logits) :], rtol=1e-4, atol=1e-4)
    for name, found in other.spikes.items():
        torch.testing.assert_close(found, values[name], rtol=1e-4, atol=1e-4)


def test_msat_whose_first_step_is_another(tmp_path):
    own, values, other = both(made(neuron="msat"), tmp_path)
    agree(own, values, other)
    assert set(other.spikes) == {"1", "4"}
    assert own.abs().max() > 0


@pytest.mark.parametrize("params", [None, pytest.param(Params(unroll=6), marks=pytest.mark.long)])
def test_factors_of_steps_gates_and_norms_of_potentials(tmp_path, params):
    agree(*both(trained_stepwise(), tmp_path, params))


def test_a_network_unrolled(tmp_path):
    file = made("identity", neuron="lm-ht", timesteps=3)
    agree(*both(file, tmp_path, Params(unroll=3)))


# the test above has MSAT: its logarithms take thousands of nodes
CAUSAL = sorted(set(NEURONS.names()) - {"cos", "lm-ht", "msat", "srp", "tpp"})
# a network and a neuron are traced independently of each other, so one of each is enough
PAIRS = [(net, CAUSAL[k % len(CAUSAL)]) for k, net in enumerate(NETS)]


@pytest.mark.long
@pytest.mark.parametrize(("net", "neuron"), PAIRS)
def test_every_network_and_every_causal_neuron(net, neuron, tmp_path):
    agree(*both(made(net, neuron=neuron), tmp_path))


def test_what_a_step_can_not_say_is_named_at_once():
    file = made("vgg", neuron="lm-ht")
    keep = {site.name: 0.5 for site in file.graph.sites}
    spiking = file.spiking.model_copy(update={"confidence": ConfidenceInfo(early=2, keep=keep)})
    found = Onnx(Params()).obstacles(subject(replace(file, spiking=spiking)))
    assert [each.place for each in found] == ["spike confidence", "neuron 'lm-ht'"]
    assert "--param unroll=5" in found[1].remedy
    (fixed,) = Onnx(Params(unroll=4)).obstacles(subject(file))
    assert fixed.found == "made for T = 5"
    assert Onnx(Params()).obstacles(subject(made(neuron="lm-h", params={"scalars": "step"}))) == []
    data = DataInfo.model_validate({**file.data.model_dump(), "frames": 5})
    frames = replace(made(), data=data)
    assert [each.place for each in Onnx(Params(unroll=5)).obstacles(subject(frames))] == ["input"]
    assert Onnx(Params()).obstacles(subject(frames)) == []


def test_states_are_those_of_the_first_step_whatever_is_given():
    whole = traced(subject(made(neuron="signed")))
    x = torch.rand(2, *IMAGE)
    zeros = [torch.zeros_like(state) for state in whole.arguments[2]]
    noise = [torch.randn_like(state) for state in whole.arguments[2]]
    with torch.no_grad():
        one, other = (whole.module(x, torch.tensor(0), states) for states in (zeros, noise))
        later = whole.module(x, torch.tensor(1), noise)
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[0], later[0])
    assert len(whole.states) == len(set(whole.states)) == len(zeros)


def test_a_count_answers_what_a_graph_can():
    count = Count(torch.tensor(3.0))
    assert 1 / (count + 1) == 0.25
    assert (2 * count).item() == (count * 2).item() == 6
    assert not count == 0  # noqa: SIM201
    assert count.asked
    for wrong in (lambda: count == 1, lambda: bool(count), lambda: [0, 1][count]):
        with pytest.raises(CountError):
            wrong()
