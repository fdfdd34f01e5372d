"""What corrections add to a simulation: nothing, if they are zero, on every path of the engine."""

from dataclasses import replace

import pytest
import torch
from helpers.corrections import converted, samples, simulated, step_by_step, with_parts, zeros
from helpers.networks import IMAGE, NETS, residual
from torch import nn

from snnconv.engine.layer_output import NOTHING
from snnconv.errors import UsageError
from snnconv.simulation.build import spiking_network, timesteps
from snnconv.simulation.corrected import Added, slowed, without_weights

NEURONS = {
    "if": {},
    "msat": {},
    "lm-h": {},
    "lm-ht": {"levels": 2},
}


@pytest.mark.parametrize("neuron", NEURONS)
@pytest.mark.parametrize("net", NETS)
def test_a_correction_of_zero_changes_no_spike(net, neuron):
    network = converted(NETS[net](), IMAGE, 0.5, neuron, **NEURONS[neuron])
    given = samples(5, IMAGE, unit=1 / 8)
    before, logits = simulated(network, given)
    for found in (zeros(network), step_by_step(network)):
        values, again = simulated(with_parts(network, found), given)
        assert torch.equal(logits, again)
        assert all(torch.equal(before[name], values[name]) for name in before)


class Wide(nn.Module):
    """Layers that go by events, packed between them, and an addition before a site."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(2, 64, 3, padding=1)
        self.second = nn.Conv2d(64, 64, 3, padding=1)
        self.third = nn.Conv2d(64, 64, 3, padding=1)
        self.relus = nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.ReLU()])
        self.last = nn.Linear(64 * 36, 4)

    def forward(self, x):
        x = self.relus[0](self.first(x))
        y = self.relus[1](self.second(x))
        return self.last(self.relus[2](self.third(y) + x).flatten(1))


@pytest.fixture(scope="module")
def wide():
    return converted(Wide(), IMAGE, 1.0)


def any_of(network, part, seed=0):
    """Random dyadic tensors of one part at every site."""
    generator = torch.Generator().manual_seed(seed)
    found = step_by_step(network) if part == "steps" else zeros(network)
    part = "current" if part == "steps" else part
    return {
        where: torch.randint(-3, 4, tensor.shape, generator=generator) / 8
        for where, tensor in found.items()
        if where[0] == part
    }


@pytest.mark.parametrize("part", ["current", "steps", "potential", "amplitude", "weight"])
def test_every_engine_and_any_batch_and_chunk_give_the_same(wide, part):
    network, given = with_parts(wide, any_of(wide, part)), samples(6, IMAGE, unit=1 / 8)
    plain, logits = simulated(network, given, engine="dense")
    assert not torch.equal(logits, simulated(wide, given, engine="dense")[1])
    for ways in ({"engine": "event"}, {"batch": 2}, {"chunk": 1}, {"chunk": 3, "batch": 4}):
        values, again = simulated(network, given, **ways)
        assert torch.equal(logits, again), ways
        assert all(torch.equal(plain[name], values[name]) for name in plain), ways
    # nobody looks: between convolutions by events spikes are bits
    _, again = simulated(network, given, engine="event", needs=NOTHING)
    assert torch.equal(logits, again)


def test_a_current_is_added_before_the_neurons(wide):
    """Of one layer, by hand: ``v0 + t*(I + c)`` crosses theta as often."""
    name = "relus.0"
    network = with_parts(wide, {("current", name): torch.full((64,), 0.25)})
    given = samples(3, IMAGE, unit=1 / 8)
    values, _ = simulated(network, given)
    current = spiking_network(wide).network.compute(wide.graph["first"], [given.x[0]]) + 0.25
    for t in range(1, 5):
        count = ((0.5 + t * current) / 1.0).floor().clamp(0, t)
        assert torch.equal(values[name][:t].sum(0), count)


def test_a_current_of_one_step_is_added_at_that_step(wide):
    name, T = "relus.0", wide.spiking.timesteps
    currents = torch.zeros(T, 64)
    currents[2] = 100.0
    values, _ = simulated(
        with_parts(wide, {("current", name): currents}), samples(2, IMAGE, unit=1 / 8)
    )
    plain, _ = simulated(wide, samples(2, IMAGE, unit=1 / 8))
    assert torch.equal(values[name][:2], plain[name][:2])
    assert (values[name][2:] == 1.0).all()


def test_a_potential_is_that_of_each_neuron(wide):
    name = "relus.0"
    raised = torch.zeros(64, 6, 6)
    raised[3, 2, 1] = 40.0
    values, _ = simulated(
        with_parts(wide, {("potential", name): raised}), samples(2, IMAGE, unit=1 / 8)
    )
    plain, _ = simulated(wide, samples(2, IMAGE, unit=1 / 8))
    differs = (values[name] != plain[name]).any(0).any(0)
    assert differs.nonzero().tolist() in ([[3, 2, 1]], [])
    assert (values[name][:, :, 3, 2, 1] == 1.0).all()


@pytest.mark.parametrize(
    ("neuron", "fields"), [("if", ["potential"]), ("msat", ["before", "after"]), ("lm-h", ["soma"])]
)
def test_a_potential_is_raised_where_the_neuron_has_it(neuron, fields):
    network = converted(residual(), IMAGE, 1.0, neuron)
    site = next(iter(spiking_network(network).neurons.values()))
    state = site.initial(torch.zeros(2, 3, 6, 6))
    raised = site.raised(state, torch.full((3, 6, 6), 0.25))
    for field in state._fields:
        change = 0.25 if field in fields else 0.0
        before, after = getattr(state, field), getattr(raised, field)
        assert after is before if change == 0 else torch.equal(after, before + change)


def test_neurons_without_a_potential_say_so():
    network = converted(residual(), IMAGE)
    site = next(iter(spiking_network(network).neurons.values()))
    with pytest.raises(UsageError, match="can't be corrected"):
        site.raised(torch.zeros(2), torch.zeros(2))


def test_an_amplitude_scales_what_spikes_carry(wide):
    name = "relus.0"
    share = torch.arange(64) / 64 - 0.25
    values, _ = simulated(
        with_parts(wide, {("amplitude", name): share}), samples(2, IMAGE, unit=1 / 8)
    )
    plain, _ = simulated(wide, samples(2, IMAGE, unit=1 / 8))
    assert torch.equal(values[name], plain[name] * (1 + share).view(-1, 1, 1))
    amplitude = Added(amplitude=share).to_amplitude(torch.ones(1))
    assert torch.equal(amplitude, 1 + share)
    assert Added(amplitude=share).to_amplitude(None) is None


def test_corrections_add_up_and_can_be_taken_off(wide):
    first, second = any_of(wide, "current", 1), any_of(wide, "current", 2)
    once = {where: first[where] + second[where] for where in first}
    given = samples(3, IMAGE, unit=1 / 8)
    twice = with_parts(with_parts(wide, first), second)
    assert torch.equal(simulated(twice, given)[1], simulated(with_parts(wide, once), given)[1])
    bare = replace(twice, corrected=(), corrections={})
    assert torch.equal(simulated(bare, given)[1], simulated(wide, given)[1])


def test_the_gradient_passes_through(wide):
    """Fine-tuning learns the weights, with the corrections where they are."""
    snn = spiking_network(with_parts(wide, any_of(wide, "current")), folded=False)
    logits, _ = snn(samples(2, IMAGE).x, 4, torch.arange(2))
    logits.sum().backward()
    assert snn.network.tensor("second.weight").grad.abs().sum() > 0
    assert not [name for name, _ in snn.named_parameters() if "added" in name]
    assert not [name for name in snn.state_dict() if "added" in name]


def test_a_network_corrected_for_one_timesteps_runs_for_no_other(wide):
    network = with_parts(wide, any_of(wide, "current"))
    assert timesteps(network, None) == timesteps(network, 4) == 4
    with pytest.raises(UsageError, match="correction 'bias' can't run for T = 8") as caught:
        timesteps(network, 8)
    assert caught.value.found == "the correction was made for T = 4"
    free = replace(
        network, corrected=(network.corrected[0].model_copy(update={"timesteps": None}),)
    )
    assert timesteps(free, 8) == 8


@pytest.mark.parametrize("part", ["current", "steps", "potential", "amplitude"])
def test_single_thresholds_take_corrections_over(part):
    """One layer of L levels, and of one level over L times as many steps: equal in windows."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    L, T = 2, 3
    network = converted(module, (2, 2, 2), 4.0, "lm-ht", T, levels=L, omega="identity")
    small = {where: tensor.abs() / 4 for where, tensor in any_of(network, part).items()}
    network, given = with_parts(network, small), samples(20, (2, 2, 2), unit=1 / 8)
    snn = spiking_network(network)
    site = "2"
    twin = snn.neurons[site].single_threshold()
    current = snn.network.compute(network.graph["1"], [given.x[0].flatten(1)])[None]
    positive = current.abs().expand(T, -1, -1)
    values = of_site(snn.neurons[site], snn.added[site], positive, T)
    added = spiking_network(
        replace(slowed(network, L), spiking=network.spiking.model_copy(update={"timesteps": T * L}))
    ).added[site]
    single = of_site(twin, added, positive.repeat_interleave(L, 0), T * L)
    assert torch.equal(single.unflatten(0, (T, L)).sum(1), values * L)


def of_site(neuron, added, currents, steps):
    """Values of one layer with what is added."""
    from snnconv.engine.dispatch import fire

    given = added.to_currents(currents, 0, steps)
    with torch.no_grad():
        output, _ = fire(neuron, given, added.initial(neuron, given), None)
    return added.to_output(output).values


def test_what_was_trained_takes_its_weights_along(wide):
    network = with_parts(
        with_parts(wide, any_of(wide, "weight"), "weights"), any_of(wide, "current")
    )
    kept = without_weights(network)
    assert [made.method for made in kept.corrected] == ["bias"]
    assert {key.split("/")[0] for key in kept.corrections} == {"1"}
    assert not [key for key in kept.corrections if "weight/" in key]
