"""A NIR graph, read back and run, elicits the network's spikes; so do other programs' neurons."""

import io

import pytest
import torch
from helpers.networks import IMAGE, NETS, checkpoint, dyadic
from torch import nn

from snnconv.errors import CheckFailedError
from snnconv.exports.base import Subject
from snnconv.exports.nir import Nir, Params
from snnconv.exports.nir_run import read
from snnconv.simulation.build import spiking_network
from snnconv.simulation.simulate import simulate

nir = pytest.importorskip("nir")
T, BATCH = 6, 3


class Residual(nn.Module):
    """Shortcuts by identity and by convolution, groups, both kinds of average pooling."""

    def __init__(self):
        super().__init__()
        self.first, self.relu0 = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()
        self.conv1, self.relu1 = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.ReLU()
        self.pool, self.conv3 = nn.AvgPool2d(2), nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.shortcut, self.relu3 = nn.Conv2d(4, 6, 1, stride=2), nn.ReLU()
        self.mean, self.last = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 4)

    def forward(self, x):
        x = self.relu0(self.first(x))
        x = self.pool(self.relu2(self.conv2(self.relu1(self.conv1(x))) + x))
        x = self.relu3(self.conv3(x) + self.shortcut(x))
        return self.last(self.mean(x).flatten(1))


def wave():
    return nn.Sequential(
        nn.Conv1d(1, 4, 5, stride=2),
        nn.ReLU(),
        nn.AvgPool1d(2),
        nn.Conv1d(4, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def subject(module, shape=IMAGE, **how):
    made = checkpoint(module.eval(), theta=0.375, timesteps=T, shape=shape, **how)
    network = spiking_network(made, engine="dense").eval()
    sizes = network.analysis.shapes
    for k, (name, neuron) in enumerate(network.neurons.items()):  # others a site and channel
        neuron.threshold = dyadic((sizes[name][0],), seed=k, low=2, high=9)
    return Subject(made, network, "A network", "0" * 64)


def both(one, folder, shape=IMAGE, **params):
    form = Nir(Params(**params))
    assert form.obstacles(one) == []
    file = folder / "net.nir"
    file.write_bytes(form.files(one, "net")[".nir"])
    x, values = torch.rand(1, BATCH, *shape), {}

    def observe(name, start, output):
        values[name] = output.values

    own = simulate(one.network, x, torch.arange(BATCH), T, T, observe)
    return own, values, form.run(file, one, x, torch.arange(BATCH), T, T), (form, file, x)


def same(own, values, found):
    torch.testing.assert_close(found.logits, own, rtol=1e-5, atol=1e-5)
    assert set(found.spikes) == set(values)
    assert own.abs().max() > 0
    for name, each in found.spikes.items():
        torch.testing.assert_close(each, values[name], rtol=1e-5, atol=1e-5)


IF = {"neuron": "if", "params": {"v0": 0}}
LEAKY = {"neuron": "lif", "params": {"v0": 0, "decay": 0.75, "reset": "hard"}}
SCALED = {"neuron": "lif", "params": {"v0": 0, "decay": 0.5, "input": "scaled"}}


@pytest.mark.parametrize("how", [IF, LEAKY, SCALED], ids=["if", "leaky", "scaled"])
@pytest.mark.parametrize("pool", ["average", "sum"])
def test_a_residual_network_of_other_thresholds_everywhere(how, pool, tmp_path):
    one = subject(Residual(), **how)
    own, values, found, _ = both(one, tmp_path, pool=pool)
    same(own, values, found)


def test_a_network_of_one_axis(tmp_path):
    own, values, found, _ = both(subject(wave(), (1, 20), **IF), tmp_path, (1, 20))
    same(own, values, found)


def test_what_was_read_is_written_again_byte_by_byte(tmp_path):
    *_, (_, file, _) = both(subject(Residual(), **IF), tmp_path)

    def again(graph):
        content = io.BytesIO()
        nir.write(content, graph)
        (tmp_path / "again.nir").write_bytes(content.getvalue())
        return tmp_path / "again.nir"

    once = again(nir.read(file)).read_bytes()  # HDF5 lists the nodes by name
    assert again(nir.read(tmp_path / "again.nir")).read_bytes() == once
    first, second = nir.read(file), nir.read(tmp_path / "again.nir")
    assert first.edges == second.edges
    assert str(first.metadata) == str(second.metadata)
    for name, node in first.nodes.items():
        for key, value in node.to_dict().items():
            assert str(value) == str(second.nodes[name].to_dict()[key]), f"{name}.{key}"


@pytest.mark.parametrize("name", ["sinabs", "snntorch"])
def test_neurons_of_other_programs_elicit_the_same_spikes(name, tmp_path):
    pytest.importorskip(name)
    own, values, found, (form, file, x) = both(subject(Residual(), **LEAKY), tmp_path)
    peers = {peer.name: peer for peer in form.peers(file, subject(Residual(), **LEAKY), x, T)}
    (ruled,) = [each for called, each in peers.items() if called.startswith(name) and "," in called]
    assert ruled.result is not None, ruled.cause
    same(own, values, found)
    torch.testing.assert_close(ruled.result.logits, own, rtol=1e-5, atol=1e-5)


def test_what_nir_has_no_words_for_is_named_at_once():
    signed = checkpoint(NETS["max"](), theta=0.5, neuron="signed", timesteps=T)
    one = Subject(signed, spiking_network(signed, engine="dense").eval(), "A network", "0" * 64)
    found = Nir(Params()).obstacles(one)
    assert found[0].place == "neuron 'signed'"
    assert any("max pooling" in each.found for each in found)
    assert all(each.remedy for each in found)
    half = checkpoint(NETS["max"](), theta=0.5, neuron="if", timesteps=T)
    one = Subject(half, spiking_network(half, engine="dense").eval(), "A network", "0" * 64)
    assert "--param v0=0" in Nir(Params()).obstacles(one)[0].remedy


def test_a_file_that_is_cut_is_refused(tmp_path):
    *_, (_, file, _) = both(subject(wave(), (1, 20), **IF), tmp_path, (1, 20))
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CheckFailedError, match="can't be read back by nir"):
        read(file)
