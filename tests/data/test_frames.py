"""Input that changes over time, shown to small networks."""

import pytest
import torch
from helpers.networks import NETS, dyadic, images, measured, mlp, recorded, spiking, vgg
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from snnconv.core.metadata import ConfidenceInfo, DataInfo
from snnconv.data.dataset import batches
from snnconv.data.frames import frames_per_run, frames_shown, mean_frame, merge
from snnconv.data.split import ArraySplit
from snnconv.engine.event_conv import plan
from snnconv.errors import UsageError
from snnconv.graph.network import ann_inputs
from snnconv.neurons.confidence import uniform
from snnconv.neurons.if_ import IF
from snnconv.neurons.if_ import Params as IFParams
from snnconv.neurons.lm_ht import LMHT
from snnconv.neurons.lm_ht import Params as LMHTParams
from snnconv.neurons.msat import MSAT
from snnconv.neurons.msat import Params as MSATParams

KINDS = {
    "if": (IF, IFParams()),
    "msat": (MSAT, MSATParams()),
    "lm-ht": (LMHT, LMHTParams(levels=2)),
    "lm-ht, causal": (LMHT, LMHTParams(levels=2, omega="causal")),
}


def moving(count, frames, seed=3):
    """Frames ``[f, B, *image]``, exact in float32."""
    return images(frames * count, seed=seed).unflatten(0, (frames, count))


# Which frame a step shows


@pytest.mark.parametrize(
    ("frames", "timesteps", "hold", "shown"),
    [(6, 6, 1, 6), (6, 12, 1, 6), (6, 3, 1, 3), (6, 1, 1, 1), (6, 6, 2, 3), (6, 24, 4, 6)],
)
def test_how_many_frames_are_shown(frames, timesteps, hold, shown):
    assert frames_per_run(frames, timesteps, hold) == shown


@pytest.mark.parametrize("timesteps", [1, 7, 100])
def test_a_constant_input_is_one_frame_at_any_T(timesteps):
    assert frames_per_run(None, timesteps, 1) == 1


@pytest.mark.parametrize(
    ("frames", "timesteps", "hold", "fitting"),
    [
        (6, 4, 1, "1, 2, 3, 6, 12, ..."),
        (6, 9, 1, "1, 2, 3, 6, 12, ..."),
        (6, 7, 2, "2, 4, 6, 12, 24, ..."),
    ],
)
def test_another_T_is_refused_and_those_that_fit_are_named(frames, timesteps, hold, fitting):
    with pytest.raises(UsageError, match=f"can't be shown in T = {timesteps} steps") as caught:
        frames_per_run(frames, timesteps, hold)
    assert fitting in caught.value.remedy
    assert ("each shown for 2 steps" in caught.value.problem) == (hold == 2)


@given(st.integers(1, 4), st.integers(0, 3), st.integers(1, 3), st.integers(0, 2**16))
def test_the_mean_over_all_steps_is_the_mean_of_the_frames(odd, power, times, seed):
    frames = odd * 2**power
    samples = dyadic((2, frames, 3), seed).double()
    fitting = [n for n in range(1, frames + 1) if frames % n == 0] + [times * frames]
    for timesteps in fitting:
        for hold in (1, 3):
            shown = merge(samples, frames_per_run(frames, hold * timesteps, hold)).transpose(0, 1)
            steps = frames_shown(shown, 0, hold * timesteps, hold)
            assert len(steps) == hold * timesteps
            torch.testing.assert_close(steps.mean(0), samples.mean(1))
            torch.testing.assert_close(mean_frame(shown), samples.mean(1))


def test_a_step_shows_its_frame():
    frames = torch.arange(3.0).view(3, 1, 1)
    assert frames_shown(frames, 2, 5, 1).flatten().tolist() == [2, 0, 1, 2, 0]
    assert frames_shown(frames, 1, 6, 2).flatten().tolist() == [0, 1, 1, 2, 2, 0]


# From a data set


def batch(frames_per_run, frames=4, augment=None, mean=(0.5,)):
    pixels = torch.randint(0, 256, (5, frames, 2, 3, 3), dtype=torch.uint8)
    split = ArraySplit(pixels, torch.arange(5) % 2, 255.0)
    known = DataInfo(
        spec="own", shape=(2, 3, 3), classes=("a", "b"), mean=mean, std=(0.25,), frames=frames
    )
    ((indices, x, _),) = batches(split, known, torch.tensor([3, 1]), 9, augment, frames_per_run)
    assert indices.tolist() == [3, 1]
    return (pixels[[3, 1]] / 255 - torch.tensor(mean).view(-1, 1, 1)) / 0.25, x


def test_an_ann_is_given_the_mean_of_the_frames():
    samples, x = batch(None, mean=(0.5, 0.25))
    torch.testing.assert_close(x, samples.mean(1))


@pytest.mark.parametrize("shown", [1, 2, 4])
def test_a_simulation_is_given_frames_time_first(shown):
    samples, x = batch(shown, mean=(0.5, 0.25))
    assert x.shape == (shown, 2, 2, 3, 3)
    torch.testing.assert_close(x, merge(samples, shown).transpose(0, 1))
    torch.testing.assert_close(mean_frame(x), samples.mean(1))


def test_frames_of_a_sample_are_augmented_alike():
    seen = []

    def flip(images):
        seen.append(images.shape)
        return images.flip(-1)

    samples, x = batch(4, augment=flip)
    torch.testing.assert_close(x, samples.transpose(0, 1).flip(-1))
    assert seen == [(2, 4, 2, 3, 3)]  # a sample is one image of the augmentation, whatever its rank


# What a network makes of it


@pytest.mark.parametrize("net", sorted(NETS))
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_frames_that_do_not_change_give_the_spikes_of_a_constant_input(net, kind):
    neuron, params = KINDS[kind]
    x = images(3)
    logits, spikes = recorded(spiking(NETS[net](), kind=neuron, params=params, T=6), x, 6)
    snn = spiking(NETS[net](), kind=neuron, params=params, T=6, hold=1)
    same, found = recorded(snn, x.expand(3, *x.shape), 6)
    assert torch.equal(same, logits)
    for name, one in spikes.items():
        assert torch.equal(found[name].counts, one.counts), name
        assert torch.equal(found[name].values, one.values), name
    assert any(one.counts.any() for one in spikes.values())


@pytest.mark.parametrize("net", sorted(NETS))
@pytest.mark.parametrize("kind", ["if", "msat", "lm-ht, causal"])
@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_chunks_change_no_spike(net, kind, chunk):
    neuron, params = KINDS[kind]
    snn = spiking(NETS[net](), kind=neuron, params=params, T=8, hold=1)
    x = moving(3, 4)
    whole, spikes = recorded(snn, x, 8)
    parts, found = recorded(snn, x, 8, chunk)
    torch.testing.assert_close(parts, whole)
    for name, one in spikes.items():
        assert torch.equal(found[name].counts, one.counts), name


def test_the_order_of_frames_matters():
    snn, x = spiking(vgg(), hold=1), moving(3, 4)
    counts = [recorded(snn, frames, 4)[1]["4"].counts for frames in (x, x.flip(0))]
    assert not torch.equal(counts[0].sum(0), counts[1].sum(0))


def test_lm_ht_whose_matrix_is_uniform_sees_the_mean_of_the_frames():
    x = moving(3, 4)
    of = {"kind": LMHT, "params": LMHTParams(levels=2), "T": 4}
    _, spikes = recorded(spiking(mlp(), hold=1, **of), x, 4)
    _, still_ones = recorded(spiking(mlp(), **of), x.mean(0), 4)
    assert spikes["2"].counts.any()
    assert torch.equal(spikes["2"].counts, still_ones["2"].counts)


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_a_max_pooling_of_the_input_gives_the_pool_of_the_mean(chunk):
    """Its sums run over steps, as those of spikes do."""
    pool = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Flatten(), nn.Linear(18, 4))
    head = nn.Sequential(*pool, nn.ReLU(), nn.Linear(4, 4))
    snn, x = spiking(head, hold=1), moving(3, 4)
    seen, original = [], IF.run

    def watched(self, currents, state, keep):
        seen.append(currents)
        return original(self, currents, state, keep)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IF, "run", watched)
        patch.setattr("snnconv.engine.dispatch.compiled", lambda *kind: None)
        recorded(snn, x, 8, chunk)
    first = snn.network.tensors()
    pooled = nn.functional.max_pool2d(x.mean(0), 3, 2, 1).flatten(1)
    expected = nn.functional.linear(pooled, first["2.weight"], first["2.bias"])
    torch.testing.assert_close(torch.cat(seen).mean(0), expected)


@pytest.mark.parametrize("hold", [1, 2])
def test_as_T_grows_the_network_comes_to_its_ann_on_the_mean(hold):
    """For IF: the input up to t stays within one recording of t times its mean."""
    snn, x = spiking(mlp(), theta=8.0, hold=hold), moving(6, 4)
    ann = ann_inputs(snn.network, mean_frame(x))[0]
    errors = [float((recorded(snn, x, T)[0][-1] - ann).norm() / ann.norm()) for T in (16, 1024)]
    assert errors[1] < errors[0] / 8


def test_confidence_acts_on_frames_whatever_the_chunk():
    act = ConfidenceInfo(early=5, keep={"1": 0.5})
    snn, x = spiking(vgg(), hold=1, confidence=act), moving(3, 4)
    whole, parts = (recorded(snn, x, 8, chunk)[1]["1"].counts for chunk in (8, 3))
    assert torch.equal(whole, parts)
    drawn = uniform(0, "1", torch.arange(3), range(1, 6), tuple(whole.shape[2:]))
    assert not whole[:5][drawn >= 0.5].any()


# Counting


def rows_of_first_layer(snn, x, timesteps, chunk):
    """How often the first layer was computed, seen from outside: rows through it / batch."""
    first = next(node.name for node in snn.network.graph.nodes if node.tensors)
    rows, compute = [], plan.compute

    def watched(network, node, inputs, *how):
        if node.name == first:
            rows.append(len(inputs[0]))
        return compute(network, node, inputs, *how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "compute", watched)
        recorded(snn, x, timesteps, chunk)
    return sum(rows) / (x.shape[0] if snn.hold is None else x.shape[1])


LABELS = torch.zeros(3, dtype=torch.int64)


def figures(snn, x, timesteps):
    return measured(snn, x, LABELS, timesteps, ["synops", "energy"]).totals


@pytest.mark.parametrize("net", ["vgg", "mlp"])
def test_the_first_layer_counts_as_often_as_it_is_computed(net):
    constant, frames = spiking(NETS[net]()), spiking(NETS[net](), hold=1)
    assert rows_of_first_layer(constant, images(3), 8, 8) == 1
    assert figures(constant, images(3), 8)["first_layer_passes"] == 1
    assert rows_of_first_layer(frames, moving(3, 4), 8, 3) == 8
    found = figures(frames, moving(3, 4), 8)
    assert found["first_layer_passes"] == 8
    first = 4.6e-9 * found["first_layer_macs_per_sample"]
    assert found["energy_total_mj"] == pytest.approx(found["energy_synaptic_mj"] + 8 * first)
    assert found["energy_total_mj"] == pytest.approx(found["energy_total_every_step_mj"])
    by_step = [
        0.9e-9 * sops + t * first for t, sops in enumerate(found["sops_per_sample_steps"], start=1)
    ]
    assert found["energy_total_mj_steps"] == pytest.approx(by_step)


def test_a_frame_that_is_held_counts_once():
    found = figures(spiking(vgg(), hold=2), moving(3, 4), 8)
    assert found["first_layer_passes"] == 4
    first = 4.6e-9 * found["first_layer_macs_per_sample"]
    assert found["energy_total_mj_steps"][2] == pytest.approx(
        0.9e-9 * found["sops_per_sample_steps"][2] + 2 * first  # at step 3 the second frame
    )


def test_macs_are_those_of_the_same_network_under_constant_input():
    one = figures(spiking(vgg()), images(3), 4)
    found = figures(spiking(vgg(), hold=1), moving(3, 4), 4)
    for key in ("first_layer_macs_per_sample", "analog_macs_per_sample", "ann_macs_per_sample"):
        assert found[key] == one[key]


@pytest.mark.parametrize("chunk", [1, 4])
def test_spikes_are_counted_one_by_one(chunk):
    """Against a walk over every single spike of a fully connected network."""
    snn, x = spiking(mlp(), hold=1), moving(3, 4)
    _, spikes = recorded(snn, x, 8, chunk)
    operations = [0] * 8
    for name, cost in (("2", 7), ("4", 4)):
        for t, *_ in torch.nonzero(spikes[name].counts).tolist():
            operations[t] += cost
    found = figures(snn, x, 8)["sops_per_sample_steps"]
    assert found == [sum(operations[: t + 1]) / 3 for t in range(8)]
    assert found[-1] > 0
