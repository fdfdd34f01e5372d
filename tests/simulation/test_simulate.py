import pytest
import torch
from helpers.networks import NETS, Foreseeing, LevelParams, images, recorded, spiking, vgg

from snnconv.neurons.msat import MSAT, Params
from snnconv.simulation.simulate import simulate


@pytest.mark.parametrize("name", sorted(NETS))
def test_logits_are_the_mean_of_the_currents_so_far(name):
    snn, x = spiking(NETS[name]()), images(3)
    with torch.no_grad():
        currents, _ = snn(x[None], 8, torch.arange(3))
    logits, _ = recorded(snn, x, 8)
    assert logits.dtype == torch.float64
    assert logits.shape == (8, 3, 4)
    for t in range(8):
        assert torch.equal(logits[t], currents[: t + 1].double().sum(0) / (t + 1))


@pytest.mark.parametrize("name", sorted(NETS))
@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_chunks_change_no_spike(name, chunk):
    snn, x = spiking(NETS[name]()), images(3)
    whole, all_spikes = recorded(snn, x, 8)
    logits, spikes = recorded(snn, x, 8, chunk)
    assert torch.equal(logits, whole)
    assert spikes.keys() == all_spikes.keys()
    for node, found in spikes.items():
        assert torch.equal(found.counts, all_spikes[node].counts)
        assert torch.equal(found.values, all_spikes[node].values)


def test_chunks_change_no_spike_of_an_adaptive_threshold():
    snn, x = spiking(NETS["mlp"](), kind=MSAT, params=Params()), images(3)
    counts = [recorded(snn, x, 8, chunk)[1] for chunk in (8, 1, 3)]
    for site in snn.neurons:
        assert all(torch.equal(counts[0][site].counts, other[site].counts) for other in counts)


def test_fewer_steps_are_the_beginning_of_more():
    snn, x = spiking(vgg()), images(3)
    assert torch.equal(recorded(snn, x, 3)[0], recorded(snn, x, 8)[0][:3])


def test_a_neuron_that_is_not_causal_sees_all_steps_at_once():
    snn, starts = spiking(vgg(), kind=Foreseeing, params=LevelParams()), []

    def observe(name, start, spikes):
        starts.append((start, len(spikes.counts)))

    simulate(snn, images(2)[None], torch.arange(2), 8, 3, observe)
    assert set(starts) == {(0, 8)}


def test_nothing_keeps_a_gradient():
    logits, seen = recorded(spiking(vgg()), images(2), 4)
    assert not logits.requires_grad
    assert not any(spikes.values.requires_grad for spikes in seen.values())
