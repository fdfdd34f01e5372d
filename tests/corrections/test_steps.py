"""Step-wise correction: the mean of every step is the ANN's, as nearly as whole spikes come."""

import pytest
import torch
from helpers.corrections import (
    LARGE,
    T,
    activations,
    after,
    converted,
    deep,
    fitted,
    given_inputs,
    line,
    means,
    samples,
    simulated,
)
from helpers.networks import IMAGE, NETS, checkpoint

from snnconv.errors import UsageError


@pytest.mark.parametrize("neuron", ["if", "msat", "lm-h"])
def test_every_steps_mean_is_equal_to_1e_5(neuron):
    """Within half a spike, if that is more: a step has a T-th of the spikes of all steps."""
    network, given = checkpoint(deep(), LARGE, 0.5, neuron, {}, T), samples(400, LARGE)
    wanted = activations(network, given)
    values, _ = simulated(after(network, "steps", given), given)
    uncorrected, _ = simulated(network, given)
    for name, activation in wanted.items():
        target, spike = means(activation), 0.5 / activation[:, 0].numel()
        near = max(1e-5, 0.51 * spike) if neuron != "msat" else 5e-5
        for t in range(T):
            assert (means(values[name][t]) - target).abs().max() <= near, (name, t)
        errors = [(means(step) - target).abs().max() for step in uncorrected[name]]
        assert max(errors) > 20 * near


def test_by_hand():
    """theta = 1, v0 = 1/2, T = 2, four samples of currents 1/16, 1/8, 1/4, 9/16: a mean of 1/4.

    Potentials at step 1 are 9/16, 5/8, 3/4, 17/16: one of four fires, and it is a quarter. At
    step 2 they are 5/8, 3/4, 1, 10/16 (after its spike): the third fires, again a quarter. Nothing
    is to be added. Under v0 = 0 none fires at step 1 and the largest is to: a current from 7/16.
    """
    network, given = line(1.0, T=2), given_inputs(1 / 16, 1 / 8, 1 / 4, 9 / 16)
    assert fitted(network, "steps", given)[("current", "2")].tolist() == [[0.0], [0.0]]
    network = line(1.0, T=2, v0=0.0)
    found = fitted(network, "steps", given)[("current", "2")]
    values, _ = simulated(after(network, "steps", given), given)
    assert values["2"].flatten(1).sum(1).tolist() == [1.0, 1.0]
    assert values["2"][0].flatten().tolist() == [0.0, 0.0, 0.0, 1.0]
    assert 7 / 16 <= float(found[0]) < 3 / 4


@pytest.mark.parametrize("net", NETS)
def test_every_wiring_in_any_chunk(net):
    network, given = converted(NETS[net](), IMAGE, 0.5), samples(20, IMAGE, unit=1 / 8)
    found = fitted(network, "steps", given)
    sites = {site.name for site in network.graph.sites}
    assert {(part, name, len(tensor)) for (part, name), tensor in found.items()} == {
        ("current", name, T) for name in sites
    }
    corrected = after(network, "steps", given)
    assert torch.isfinite(simulated(corrected, given)[1]).all()


def test_half_of_the_way():
    network, given = converted(NETS["mlp"](), IMAGE, 0.5), samples(20, IMAGE)
    whole, half = (fitted(network, "steps", given, share=share) for share in (1.0, 0.5))
    first = next(iter(whole))
    assert torch.allclose(half[first][0], whole[first][0] / 2)


def test_neurons_that_need_all_steps_are_refused():
    network = converted(NETS["mlp"](), IMAGE, 0.5, "lm-ht")
    with pytest.raises(
        UsageError, match="lm-ht neurons can't be corrected by this method"
    ) as caught:
        fitted(network, "steps", samples(4, IMAGE))
    assert "--method bias" in caught.value.remedy
    causal = converted(NETS["mlp"](), IMAGE, 0.5, "lm-ht", omega="causal")
    assert fitted(causal, "steps", samples(4, IMAGE))
